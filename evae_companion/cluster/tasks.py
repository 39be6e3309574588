"""Tasks of an ensemble: each reads artifacts, makes artifacts, and can run on any machine.

There are three kinds: a data shard, a run of stages that nothing branches from, and the summary of a sweep with its
final states relaxed. A task makes artifacts of the store. So running one twice is harmless, and a finished one is never
run again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evae_companion.analysis.descent import charge, descended, energies
from evae_companion.cluster.grid import Sweep
from evae_companion.data_specs import DataSpec
from evae_companion.dataset import load_data, make_shard
from evae_companion.evaluation import EVALUATED
from evae_companion.store.serialization import save_arrays, write_json
from evae_companion.store.store import Store
from evae_companion.sweeps import train_stages
from evae_companion.trained import TrainedStage, history_table, stage_spec
from evae_core.annealing import lbfgs_refine
from evae_core.training.stages import Stage

Spec = dict[str, Any]
Key = tuple[DataSpec, int | Stage]  # an artifact, cheaper to compare than its spec: a shard number or a stage
VERSION = 2  # of what a Summary measures
NEAR = 16  # number of lowest states, of the generated and of the training states each, that are roughly relaxed
# Torque, J, of the three states that are stored. Below it soft modes of skyrmions creep on for thousands of steps. They
# gain less than 1e-7 J per spin (D = 0.6, B J/D^2 = 0.55 on 32 x 32: 4e-8 J between 3e-5 and 9e-7 J, and 13 s).
TORQUE = 3e-5


@cache
def spec_of(key: Key) -> Spec:
    """Return the spec of a shard or a stage."""
    data, what = key
    return data.shards()[what] if isinstance(what, int) else stage_spec(what, data)


def shards_of(data: DataSpec) -> list[Key]:
    """Return the keys of all shards of a data set."""
    return [(data, number) for number in range(-(-(data.train + data.validation + data.test) // data.shard))]


@dataclass(frozen=True)
class Shard:
    """Task that makes one shard of a data set: configurations ``number`` x shard onwards."""

    data: DataSpec
    number: int

    def makes(self) -> list[Key]:
        """Return the shards and stages that it makes."""
        return [(self.data, self.number)]

    def reads(self) -> list[Key]:
        """Return the shards and stages that it reads."""
        return []

    def specs(self) -> list[Spec]:
        """Return the specs of all artifacts that it makes."""
        return [spec_of(key) for key in self.makes()]

    def make(self, store: Store, device: str) -> Iterator[Spec]:
        """Make what the store lacks; yield every spec once its artifact is in the store."""
        (spec,) = self.specs()
        store.get(spec, lambda folder: make_shard(self.data, spec, folder, device))
        yield spec


@dataclass(frozen=True)
class Climb:
    """Task that trains stages of one data set, each the parent of the next; the first may have a parent of its own."""

    data: DataSpec
    stages: tuple[Stage, ...]

    def makes(self) -> list[Key]:
        return [(self.data, stage) for stage in self.stages]

    def reads(self) -> list[Key]:
        parent = self.stages[0].parent
        return [*shards_of(self.data), *([(self.data, parent)] if parent else [])]

    def specs(self) -> list[Spec]:
        return [spec_of(key) for key in self.makes()]

    def make(self, store: Store, device: str) -> Iterator[Spec]:
        for stage in self.stages:
            train_stages([stage], self.data, store, device)
            yield stage_spec(stage, self.data)


@dataclass(frozen=True)
class Summary:
    """Task that stores the measurements and final states of a sweep, in one small artifact.

    It holds all that is read of the sweep afterwards. ``ending.json`` holds ``ladder``, the columns of
    :func:`evae_companion.trained.history_table`.

    With ``samples``, that many states are generated at the last stage. Three states are relaxed: the generated one of
    median energy, the lowest of the NEAR lowest generated ones, and the lowest of the NEAR lowest training states.
    ``states.npz`` holds them. ``ending.json`` then also holds their E/N, charge, magnetisation <S^z> and order |<S>|.
    Its ``plateau`` is the L_RC of the best network that returns one spin everywhere.
    """

    data: DataSpec
    stages: tuple[Stage, ...]
    samples: int = 0

    def makes(self) -> list[Key]:
        return []

    def reads(self) -> list[Key]:
        return [*shards_of(self.data), *((self.data, stage) for stage in self.stages)]

    def specs(self) -> list[Spec]:
        return [{"kind": "ending", "version": VERSION, "stage": stage_spec(self.stages[-1], self.data),
                 "stages": len(self.stages), "samples": self.samples}]

    def make(self, store: Store, device: str) -> Iterator[Spec]:
        (spec,) = self.specs()
        store.get(spec, lambda folder: self._measure(folder, store, device))
        yield spec

    def _measure(self, folder: Path, store: Store, device: str) -> None:
        climbed = train_stages(list(self.stages), self.data, store, device)
        columns = history_table(climbed)
        columns |= {f"{name}_validation": values for name, values in columns.pop("validation").items()}
        result: dict[str, Any] = {"ladder": {name: np.asarray(values).tolist() for name, values in columns.items()}}
        if self.samples:
            result |= self._states(folder, climbed[-1], store, device)
        write_json(folder / "ending.json", result)

    def _states(self, folder: Path, trained: TrainedStage, store: Store, device: str) -> dict[str, float]:
        H, model = self.data.hamiltonian, trained.model()
        train = load_data(self.data, store, device).train
        z = torch.randn(self.samples, model.latent, generator=torch.Generator().manual_seed(5))
        with torch.no_grad():
            generated = model.decode(z)
        raw = energies(H, generated)
        order, best = raw.argsort(stable=True), train.statistics["energy"].argsort(kind="stable")
        rest = {name: self._lowest(states, device) for name, states in (
            ("median", generated[order[[len(order) // 2]]]), ("lowest", generated[order[:NEAR]]),
            ("annealed", train[best[:NEAR]]))}
        save_arrays(folder / "states.npz", {name: state.float().numpy() for name, state in rest.items()})
        uniform = torch.linalg.vector_norm(train[:EVALUATED].double().mean((0, 2, 3)))
        return {"plateau": 2 - 2 * float(uniform), "raw": float(raw.mean()), "raw_lowest": float(raw.min()),
                **{f"{name}_{key}": value for name, state in rest.items()
                   for key, value in self._numbers(state).items()}}

    def _lowest(self, states: torch.Tensor, device: str) -> torch.Tensor:
        """Return the lowest of ``states`` after all are roughly relaxed, then relaxed to TORQUE."""
        H = self.data.hamiltonian
        rough = descended(H, states, device)
        return lbfgs_refine(H, rough[int(energies(H, rough).argmin())], TORQUE)[0]

    def _numbers(self, state: torch.Tensor) -> dict[str, float]:
        H = self.data.hamiltonian
        return {"energy": float(energies(H, state)), "charge": charge(H, state),
                "magnetisation": float(state[2].sum()) / H.sites(self.data.shape),
                "order": float(torch.linalg.vector_norm(state.sum((-2, -1)))) / H.sites(self.data.shape)}


Unit = Shard | Climb | Summary


def units(ladders: Sequence[tuple[DataSpec, Sequence[Stage]]]) -> list[Unit]:
    """Return the shards and runs of stages that sweeps need, each once, in the order of the sweeps.

    A run of stages ends where sweeps branch, so that none waits for another. What comes first is submitted first.
    """
    children: dict[tuple[DataSpec, Stage | None], list[Stage]] = {}
    for data, stages in ladders:
        for top in stages:
            stage: Stage | None = top
            while stage is not None and stage not in (own := children.setdefault((data, stage.parent), [])):
                own.append(stage)
                stage = stage.parent
    result: list[Unit] = []
    for data in dict.fromkeys(data for data, _ in ladders):
        result += [Shard(data, number) for number in range(len(shards_of(data)))]
        todo = list(children[data, None])
        while todo:
            run = [todo.pop(0)]
            while len(next_ := children.get((data, run[-1]), [])) == 1:
                run += next_
            result.append(Climb(data, tuple(run)))
            todo = next_ + todo
    return result


def summary_of(chain: Sweep) -> Summary:
    """Return the summary of a sweep; states are generated at the end of gamma sweeps only."""
    return Summary(chain.data, chain.stages, 0 if chain.beta is None else chain.samples)


def work(ensemble: Sequence[Sweep]) -> list[Unit]:
    """Return all tasks of an ensemble: shards, runs of stages, summaries."""
    return [*units([(chain.data, chain.stages) for chain in ensemble]), *(summary_of(chain) for chain in ensemble)]
