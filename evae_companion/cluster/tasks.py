"""Units of work: each reads artefacts, makes artefacts, and can be done anywhere.

A data shard, a run of stages that nothing branches from, the end of a ladder brought to rest. What a unit makes is a
set of artefacts of the store, so doing one twice is harmless, and one that was done is never done again.
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
from evae_core.annealing import settle
from evae_core.training.stages import Stage

Spec = dict[str, Any]
Key = tuple[DataSpec, int | Stage]  # an artefact, cheaper to compare than its spec: a shard's number, or a stage
VERSION = 2  # of what an Summary measures
NEAR = 16  # of the generated states and of the training states, the lowest so many are brought roughly to rest
# Torque, J, of the three states that are kept. Below it soft modes of skyrmions creep on for thousands of steps, which
# give less than 1e-7 J a spin (D = 0.6, B J/D^2 = 0.55 on 32 x 32: 4e-8 J between 3e-5 and 9e-7 J, and 13 s).
TORQUE = 3e-5


@cache
def spec_of(key: Key) -> Spec:
    """The spec of a shard or a stage."""
    data, what = key
    return data.shards()[what] if isinstance(what, int) else stage_spec(what, data)


def shards_of(data: DataSpec) -> list[Key]:
    """All shards of a data set."""
    return [(data, number) for number in range(-(-(data.train + data.validation + data.test) // data.shard))]


@dataclass(frozen=True)
class Shard:
    """One shard of a data set: configurations ``number`` x shard onwards."""

    data: DataSpec
    number: int

    def makes(self) -> list[Key]:
        """The shards and stages that it makes."""
        return [(self.data, self.number)]

    def reads(self) -> list[Key]:
        """The shards and stages that it reads."""
        return []

    def specs(self) -> list[Spec]:
        """Specs of all artefacts that it makes."""
        return [spec_of(key) for key in self.makes()]

    def make(self, store: Store, device: str) -> Iterator[Spec]:
        """Make what the store lacks; yield every spec when its artefact is in the store."""
        (spec,) = self.specs()
        store.get(spec, lambda folder: make_shard(self.data, spec, folder, device))
        yield spec


@dataclass(frozen=True)
class Climb:
    """Stages of one data set, each the parent of the next; the first may have a parent of its own."""

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
    """What a ladder measured, and what it ends in: all that is read of it afterwards, in one small artefact.

    With ``samples``: that many states generated at its last stage; the one of median energy and the lowest of NEAR come
    to rest, beside the lowest of the NEAR lowest training states. ``ending.json`` holds their E/N, charge,
    magnetisation <S^z> and order |<S>|, and ``ladder``, the columns of :func:`training.table`; ``states.npz`` the three
    states; ``plateau``: L_RC of a network that gives one spin everywhere, the best there is.
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
        found: dict[str, Any] = {"ladder": {name: np.asarray(values).tolist() for name, values in columns.items()}}
        if self.samples:
            found |= self._states(folder, climbed[-1], store, device)
        write_json(folder / "ending.json", found)

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
        """The lowest of ``states`` once all are roughly at rest, brought to TORQUE."""
        H = self.data.hamiltonian
        rough = descended(H, states, device)
        return settle(H, rough[int(energies(H, rough).argmin())], TORQUE)[0]

    def _numbers(self, state: torch.Tensor) -> dict[str, float]:
        H = self.data.hamiltonian
        return {"energy": float(energies(H, state)), "charge": charge(H, state),
                "magnetisation": float(state[2].sum()) / H.sites(self.data.shape),
                "order": float(torch.linalg.vector_norm(state.sum((-2, -1)))) / H.sites(self.data.shape)}


Unit = Shard | Climb | Summary


def units(ladders: Sequence[tuple[DataSpec, Sequence[Stage]]]) -> list[Unit]:
    """Shards and climbs that ladders need, each once: a climb ends where ladders part, so that none waits for another.

    In the order of the ladders: what comes first is sent first.
    """
    children: dict[tuple[DataSpec, Stage | None], list[Stage]] = {}
    for data, stages in ladders:
        for top in stages:
            stage: Stage | None = top
            while stage is not None and stage not in (own := children.setdefault((data, stage.parent), [])):
                own.append(stage)
                stage = stage.parent
    found: list[Unit] = []
    for data in dict.fromkeys(data for data, _ in ladders):
        found += [Shard(data, number) for number in range(len(shards_of(data)))]
        todo = list(children[data, None])
        while todo:
            run = [todo.pop(0)]
            while len(next_ := children.get((data, run[-1]), [])) == 1:
                run += next_
            found.append(Climb(data, tuple(run)))
            todo = next_ + todo
    return found


def summary_of(chain: Sweep) -> Summary:
    """What is read of a chain afterwards; states are drawn at the end of gamma ladders alone."""
    return Summary(chain.data, chain.stages, 0 if chain.beta is None else chain.samples)


def work(ensemble: Sequence[Sweep]) -> list[Unit]:
    """All units of an ensemble: shards, climbs, endings."""
    return [*units([(chain.data, chain.stages) for chain in ensemble]), *(summary_of(chain) for chain in ensemble)]
