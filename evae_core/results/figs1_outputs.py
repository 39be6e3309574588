"""Fig. S1: what the standard VAE returns at every beta."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from evae_core.dataset import data_spec, load_data
from evae_core.files import load_arrays, save_arrays
from evae_core.ladders import ladder
from evae_core.presets import Preset
from evae_core.results import kept
from evae_core.training import climb, stage_spec


def spec(p: Preset) -> dict[str, Any]:
    """What :func:`outputs` depends on."""
    return {"kind": "outputs", "version": kept.VERSION,
            "last": stage_spec(ladder(p)[-1], data_spec(p))}  # names every stage before it


def outputs(p: Preset, device: str = "auto", report: kept.Report = print) -> SimpleNamespace:
    """The first validation state, its reconstruction at every beta and a generated state.

    Returns
    -------
    given (3, N, N); x_out, generated (betas, 3, N, N): unit spins, kept in half precision.
    """
    def make(folder: Path) -> None:
        given = load_data(data_spec(p), device=device, report=report).validation[:1]
        models = [trained.model(device) for trained in climb(ladder(p), data_spec(p), device=device, report=report)]
        save_arrays(folder / "outputs_states.npz", {
            "given": kept.as_half(given[0]),
            "x_out": kept.as_half(torch.cat([kept.reconstruct(model, given) for model in models])),
            "generated": kept.as_half(torch.cat([kept.generate(model, 1, seed=1) for model in models]))})

    folder, _ = kept.get(p, spec(p), make, report)
    states = load_arrays(folder / "outputs_states.npz")
    return SimpleNamespace(**{name: kept.as_spins(half) for name, half in states.items()})
