"""A trained stage as an artifact of the store: its weights, the losses of every step, and the measurements after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evae_companion.data_specs import DataSpec
from evae_companion.store import preview, weights
from evae_companion.store.serialization import load_arrays, read_json
from evae_core.losses import LOSSES, LearnedEnergy
from evae_core.model import VAE
from evae_core.training import checkpoint
from evae_core.training.numerics import pick_device
from evae_core.training.stages import Stage

ROWS = 100  # most rows of a history that is stored as block means
NETWORK = 4  # raise when the network, the losses or the loop change their results: older stages are then trained again


@dataclass(frozen=True)
class TrainedStage:
    """A finished stage in the store.

    ``measured`` holds, after the stage and in evaluation mode (all L_H in the units of the loss):

    * ``train``, ``validation`` : losses reconstruction, kl, energy.
    * ``generated`` : of samples X'_out: energy (mean L_H), best (lowest L_H), kspace_mse (the measure of claim C1),
      kspace_mse_complex.
    * ``data`` : energy, best.
    * ``x_out`` : of reconstructed training states, z drawn as in training: energy, spread and best of L_H, kspace_mse.
    * ``x_mu`` : the same of states decoded from the means mu.
    * ``scaled`` : the same of states decoded from draws from the prior times ``scale``, one entry per scale.
    * ``posterior`` : of the aggregated posterior, averaged over the latents: mean_square of its mean, and its variance
      (1 for the prior).
    * ``relaxed`` : RELAXED states of each kind after relaxation (:func:`~evae_companion.evaluation.at_rest`).

    and of the training:

    * ``seconds``, ``device``, ``mode`` (eager, compiled, graph), ``precision``, ``threads``.
    * ``parent_weights`` : only if the parent stage was imported from a bundle.
    * ``diverged`` : only if the stage was restarted with a lower learning rate (:mod:`evae_core.training.divergence`).
    """

    stage: Stage
    data: DataSpec
    folder: Path

    @property
    def measured(self) -> dict[str, Any]:
        return read_json(self.folder / "measured.json")

    @property
    def history(self) -> np.ndarray:
        """Reconstruction, kl, energy and total loss of the batch of every step, (steps, 4); block means if imported."""
        return load_arrays(self.folder / "history.npy")

    def model(self, device: str = "cpu") -> VAE:
        """Return the trained network in evaluation mode; of an imported stage, what ``weights`` kept of it.

        Raises
        ------
        NotRecorded
            in a preview: its record keeps what was measured of a stage, not the network.
        """
        if not weights.file_in(self.folder).is_file():
            preview.refuse(f"the network of stage ({self.stage})")
        model = VAE(self.data.shape, boundary=self.data.hamiltonian.boundary, config=self.stage.config)
        checkpoint.load(model, weights.file_in(self.folder))
        return model.to(pick_device(device)).eval()


def stage_spec(stage: Stage, data: DataSpec, guide: LearnedEnergy | None = None) -> dict[str, Any]:
    """Return the cache key of a stage; a ``guide`` is part of the keys of this and earlier stages with gamma > 0."""
    guided = {} if guide is None or not stage.gamma else {"guide": dict(guide.about)}
    return {"kind": "stage", "network": NETWORK, "data": data.spec()} | guided | stage.spec()


def history_table(run: Sequence[TrainedStage]) -> dict[str, Any]:
    """Return the measurements along a sequence of stages as arrays with one entry per stage.

    Returns
    -------
    beta, gamma : of the stages.
    reconstruction, kl, energy : losses of training data; validation is a dict of the same three.
    energy_generated, best_generated, spread_generated, magnetisation, kspace_mse, kspace_mse_complex : of generated
        states.
    spread_x_out, kspace_mse_x_out : of X_out.
    energy_x_mu, kspace_mse_x_mu : of states decoded from mu.
    kspace_mse_scaled : (stages, scales), of states decoded from stretched draws.
    variance : of the aggregated posterior.
    rest_x_out, rest_generated : (stages, RELAXED), E/N (J) of relaxed states.
    charge_x_out, charge_generated : (stages, RELAXED), their charges.
    data_energy, data_best, data_kspace_mse : one number each, L_H and k-space MSE of the training data.
    """
    measured = [trained.measured for trained in run]
    table: dict[str, Any] = {name: np.array([getattr(t.stage, name) for t in run]) for name in ("beta", "gamma")}
    table |= {name: np.array([m["train"][name] for m in measured]) for name in LOSSES[:3]}
    table["validation"] = {name: np.array([m["validation"][name] for m in measured]) for name in LOSSES[:3]}
    for name, key in (("energy_generated", "energy"), ("best_generated", "best"), ("magnetisation",) * 2,
                      ("kspace_mse",) * 2, ("kspace_mse_complex",) * 2, ("spread_generated", "spread")):
        table[name] = np.array([m["generated"][key] for m in measured])
    for key in ("spread", "kspace_mse"):
        table[f"{key}_x_out"] = np.array([m["x_out"][key] for m in measured])
    for key in ("energy", "kspace_mse"):
        table[f"{key}_x_mu"] = np.array([m["x_mu"][key] for m in measured])
    table["kspace_mse_scaled"] = np.array([[one["kspace_mse"] for one in m["scaled"]] for m in measured])
    table["variance"] = np.array([m["posterior"]["variance"] for m in measured])
    for of in ("x_out", "generated"):
        table[f"rest_{of}"] = np.array([m["relaxed"][of]["energies"] for m in measured])
        table[f"charge_{of}"] = np.array([m["relaxed"][of]["charges"] for m in measured])
    return table | {"data_" + key: value for key, value in measured[0]["data"].items()}


def block_means(history: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Average the history of a stage over n <= ROWS blocks of equally many steps.

    A history that already consists of block means stays as it is.

    Returns
    -------
    last, means : (n,), the last step of each block, and (n, 4).

    Raises
    ------
    ValueError
        any other history that has not ``steps`` rows.
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
