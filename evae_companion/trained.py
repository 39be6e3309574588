"""A trained stage as an artifact of the store: its weights, the losses of every step, and what was measured after
it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evae_companion.data_specs import DataSpec
from evae_companion.store import weights
from evae_companion.store.serialization import load_arrays, read_json
from evae_core.losses import LOSSES, LearnedEnergy
from evae_core.model import VAE
from evae_core.training import checkpoint
from evae_core.training.numerics import pick_device
from evae_core.training.stages import Stage

ROWS = 100  # of a history, at most
NETWORK = 3  # raise when the network, the losses or the loop change their results: older stages are then made anew


@dataclass(frozen=True)
class TrainedStage:
    """A finished stage in the store.

    ``measured`` holds, after the stage and in evaluation mode: the losses of ``train`` and ``validation`` (dicts of
    reconstruction, kl, energy); of ``generated`` samples X'_out (energy, their mean L_H; best, the lowest; kspace_mse,
    C1's measure, kspace_mse_complex); of the ``data`` (energy, best), all L_H in the units of the loss; of the
    ``x_out`` of training states (spread and best of L_H, kspace_mse); of the aggregated ``posterior``, averaged over
    the latents, mean_square of its mean and its variance (1 for the prior); ``relaxed``: where RELAXED states of each
    kind come to rest (:func:`~evae_companion.evaluation.at_rest`). And of the training: ``seconds``, ``device``,
    ``mode`` (eager, compiled, graph), ``precision``, ``threads`` and ``starts``, the L_RC by which one of several
    random starts was chosen; ``parent_weights`` where the stage before it was carried here; ``diverged`` where it was
    begun again with a lower learning rate (:mod:`evae_core.training.divergence`).
    """

    stage: Stage
    data: DataSpec
    folder: Path

    @property
    def measured(self) -> dict[str, Any]:
        return read_json(self.folder / "measured.json")

    @property
    def history(self) -> np.ndarray:
        """(steps, 4): reconstruction, kl, energy and total loss of every step's batch; block means if carried here."""
        return load_arrays(self.folder / "history.npy")

    def model(self, device: str = "cpu") -> VAE:
        """The network as trained, in evaluation mode; as far as it was carried, where it was (``weights``)."""
        model = VAE(self.data.shape, boundary=self.data.hamiltonian.boundary,
                    config=self.stage.config)
        checkpoint.load(model, weights.file_in(self.folder))
        return model.to(pick_device(device)).eval()


def stage_spec(stage: Stage, data: DataSpec, guide: LearnedEnergy | None = None) -> dict[str, Any]:
    """What a stage's artefact depends on; a ``guide`` counts for it and all before it that have gamma > 0."""
    guided = {} if guide is None or not stage.gamma else {"guide": dict(guide.about)}
    return {"kind": "stage", "network": NETWORK, "data": data.spec()} | guided | stage.spec()


def history_table(run: Sequence[TrainedStage]) -> dict[str, Any]:
    """What was measured along a sequence of stages, as arrays with one entry a stage.

    beta, gamma; reconstruction, kl, energy (training data), validation (a dict of the same three); of generated
    states energy_generated, best_generated, spread_generated, magnetisation, kspace_mse, kspace_mse_complex; of X_out
    spread_x_out, kspace_mse_x_out; variance, of the aggregated posterior; rest_x_out and rest_generated (stages,
    RELAXED), E/N (J) of states that have come to rest, charge_x_out and charge_generated, theirs. Numbers: data_energy,
    data_best (L_H of the training data), data_kspace_mse.
    """
    measured = [trained.measured for trained in run]
    found: dict[str, Any] = {name: np.array([getattr(t.stage, name) for t in run]) for name in ("beta", "gamma")}
    found |= {name: np.array([m["train"][name] for m in measured]) for name in LOSSES[:3]}
    found["validation"] = {name: np.array([m["validation"][name] for m in measured]) for name in LOSSES[:3]}
    for name, key in (("energy_generated", "energy"), ("best_generated", "best"), ("magnetisation",) * 2,
                      ("kspace_mse",) * 2, ("kspace_mse_complex",) * 2, ("spread_generated", "spread")):
        found[name] = np.array([m["generated"][key] for m in measured])
    for key in ("spread", "kspace_mse"):
        found[f"{key}_x_out"] = np.array([m["x_out"][key] for m in measured])
    found["variance"] = np.array([m["posterior"]["variance"] for m in measured])
    for of in ("x_out", "generated"):
        found[f"rest_{of}"] = np.array([m["relaxed"][of]["energies"] for m in measured])
        found[f"charge_{of}"] = np.array([m["relaxed"][of]["charges"] for m in measured])
    return found | {"data_" + key: value for key, value in measured[0]["data"].items()}


def block_means(history: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Means (n, 4) of a stage's history over n <= ROWS blocks of equally many steps, and the last step of each (n,).

    A history that was thinned so already stays as it is; ValueError for any other that has not ``steps`` rows.
    """
    block = -(-steps // ROWS)
    last = np.minimum(np.arange(block, steps + block, block), steps)
    if len(history) != steps and len(history) != len(last):
        raise ValueError(f"history must have {steps} rows, or {len(last)} where it is thinned, got {len(history)}")
    if len(history) == len(last):
        return last, history
    first = np.append(0, last[:-1])
    sums = np.add.reduceat(history.astype(np.float64), first)
    return last, (sums / (last - first)[:, None]).astype(np.float32)
