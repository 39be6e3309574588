"""Fig. S1: reconstructed and generated states of the standard VAE at every beta."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from evae_companion.data_specs import data_spec
from evae_companion.dataset import load_data
from evae_companion.experiments import result_cache
from evae_companion.presets import RunPreset
from evae_companion.store.packed_spins import pack, unpack
from evae_companion.store.serialization import load_arrays, save_arrays
from evae_companion.sweeps import train_stages
from evae_companion.trained import stage_spec
from evae_core.training.stages import stage_schedule


def spec(p: RunPreset) -> dict[str, Any]:
    """Return the cache key of :func:`run`."""
    return {"kind": "outputs", "version": result_cache.VERSION,
            "last": stage_spec(stage_schedule(p)[-1], data_spec(p))}  # contains the specs of all earlier stages


def run(p: RunPreset, device: str = "auto", report: result_cache.Report = print) -> SimpleNamespace:
    """Reconstruct the first validation state and generate one state at every beta.

    Returns
    -------
    given : (3, N, N), the validation state.
    x_out, generated : (betas, 3, N, N), its reconstructions, z drawn from the posterior, and the generated states.

    All are unit spins, stored in half precision.
    """
    def make(folder: Path) -> None:
        given = load_data(data_spec(p), device=device, report=report).validation[:1]
        run = train_stages(stage_schedule(p), data_spec(p), device=device, report=report)
        models = [trained.model(device) for trained in run]
        save_arrays(folder / "outputs_states.npz", {
            "given": pack(given[0]),
            "x_out": pack(torch.cat([result_cache.reconstruct(model, given, seed=1)
                                                     for model in models])),
            "generated": pack(torch.cat([result_cache.generate(model, 1, seed=1)
                                                         for model in models]))})

    folder, _ = result_cache.get(p, spec(p), make, report)
    states = load_arrays(folder / "outputs_states.npz")
    return SimpleNamespace(**{name: unpack(codes) for name, codes in states.items()})
