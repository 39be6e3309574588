"""Whether the states that networks decode lie above minima or saddle points: the lowest modes of what they relax to."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from evae_companion import training_plans as plans
from evae_companion.analysis import at_rest, lowest_modes
from evae_companion.analysis.lowest_modes import REST
from evae_companion.data_specs import data_spec
from evae_companion.dataset import load_data
from evae_companion.experiments import result_cache
from evae_companion.presets import RunPreset
from evae_companion.store.serialization import load_table, save_table
from evae_companion.sweeps import train_stages
from evae_companion.trained import stage_spec
from evae_core.hamiltonian import Hamiltonian
from evae_core.training.stages import Stage

VERSION = 1  # raise when what is computed changes
GAMMAS = (100.0, 1000.0, 5000.0)  # besides the control and the largest
KINDS = ("X_out", "X'_out")
LEFT = 3  # modes of a state that are kept besides the two translations
TOLERANCE = 1e-5  # J: an eigenvalue below -TOLERANCE makes a saddle
COLUMNS = ("gamma", "kind", "torque", "mode 1", "mode 2", "mode 3", "glide 1", "glide 2")


def sizes(p: RunPreset) -> int:
    """Return how many states of each kind are looked at: one of large ones, whose modes take minutes."""
    return min(p.samples, p.validation, 4 if p.size <= 64 else 1)


def stages(p: RunPreset) -> list[Stage]:
    """Return the stages whose states are looked at, gamma = 0 (the control) first."""
    return plans.compared(p, plans.BETA, (0.0, *GAMMAS, p.gammas[-1]))


def spec(p: RunPreset) -> dict[str, Any]:
    """Return the cache key of :func:`run`."""
    return {"kind": "stability", "version": VERSION, "stages": [stage_spec(one, data_spec(p)) for one in stages(p)],
            "states": sizes(p), "modes": LEFT}


def run(p: RunPreset, device: str = "auto", report: result_cache.Report = print) -> SimpleNamespace:
    """Relax a few X_out (of validation states) and X'_out of every network, and find their lowest modes.

    Returns
    -------
    table : {column of COLUMNS: one entry per state}: the torque that is left (J), three lowest eigenvalues but for the
        translations (J), and those of the translations; NaN where a state did not come to rest or a translation is not
        among the lowest modes.
    states : how many of each kind and gamma.
    """
    data, number = data_spec(p), sizes(p)

    def make(folder: Path) -> None:
        shown = load_data(data, device=device, report=report).validation[:number]
        rows: list[list[Any]] = []
        for trained in train_stages(stages(p), data, device=device, report=report):
            model = trained.model(device)
            decoded = (result_cache.reconstruct(model, shown, seed=8), result_cache.generate(model, number, seed=8))
            for kind, spins in zip(KINDS, decoded, strict=True):
                for state in spins:
                    rest, torque = at_rest(data.hamiltonian, state, device)
                    modes = softest(data.hamiltonian, rest) if torque <= REST else [np.nan] * (LEFT + 2)
                    rows.append([trained.stage.gamma, kind, torque, *modes])
                report(f"stability: gamma = {trained.stage.gamma:g}, {kind}")
        save_table(folder / "stability.csv", {
            name: np.array([row[k] for row in rows]) for k, name in enumerate(COLUMNS)})

    folder, _ = result_cache.get(p, spec(p), make, report)
    return SimpleNamespace(table=load_table(folder / "stability.csv"), states=number)


def softest(H: Hamiltonian, spins: Tensor) -> list[float]:
    """Return the LEFT lowest eigenvalues of a state at rest but for its translations, then those of the translations.

    A mode counts as a translation if most of it lies in the span of the texture's derivatives; on a lattice that pins
    textures these have small eigenvalues, not zero. NaN for one that is not among the lowest modes.
    """
    modes = lowest_modes(H, spins, LEFT + 2)
    spins = normalize(spins.double(), dim=0)
    moved = torch.stack([spins.roll(-1, axis) - spins.roll(1, axis) for axis in (-1, -2)])
    moved = moved - (moved * spins).sum(1, keepdim=True) * spins
    along, sizes_, _ = torch.linalg.svd(moved.flatten(1).T, full_matrices=False)
    along = along[:, sizes_ > 1e-6]  # none for a uniform state
    share = (modes.vectors.flatten(1) @ along).square().sum(1)
    glides = [k for k in share.argsort(descending=True).tolist()[:2] if share[k] > 0.5]
    values = modes.eigenvalues.tolist()
    others = [value for k, value in enumerate(values) if k not in glides]
    return [*others[:LEFT], *([values[k] for k in sorted(glides)] + [np.nan] * 2)[:2]]
