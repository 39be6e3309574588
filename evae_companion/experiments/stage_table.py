"""Every stage of a ladder in one row: losses, both kinds of states as they are decoded, and where they come to rest."""

from __future__ import annotations

from typing import Any

import numpy as np

from evae_companion.trained import TrainedStage, history_table
from evae_core.losses import energy_per_spin

COLUMNS = ("gamma", "reconstruction", "reconstruction_validation", "kl", "variance",
           *(f"{name}_{of}" for of in ("x_out", "generated") for name in (
               "energy", "spread", "kspace_mse", "rest_low", "rest_high", "charge_low", "charge_high")))


def columns(run: list[TrainedStage]) -> dict[str, np.ndarray]:
    """COLUMNS, an array (stages,) each.

    gamma; reconstruction of training and validation states, kl; variance, of the aggregated posterior a latent (1 for
    the prior). Of X_out ("x_out", from training states) and X'_out ("generated"): energy (mean E/N, J) and its spread
    over states, kspace_mse; of some that have come to rest rest_low and rest_high (E/N, J), charge_low and charge_high.
    """
    t, data = history_table(run), run[0].data
    H, shape = data.hamiltonian, data.shape
    unit = float(energy_per_spin(H, 1.0, shape) - energy_per_spin(H, 0.0, shape))
    found: dict[str, Any] = {name: t[name] for name in ("gamma", "reconstruction", "kl", "variance")}
    found["reconstruction_validation"] = t["validation"]["reconstruction"]
    for of, energy, mse in (("x_out", "energy", "kspace_mse_x_out"), ("generated", "energy_generated", "kspace_mse")):
        found |= {f"energy_{of}": energy_per_spin(H, t[energy], shape), f"spread_{of}": unit * t[f"spread_{of}"],
                  f"kspace_mse_{of}": t[mse]}
        for name, values in (("rest", t[f"rest_{of}"]), ("charge", t[f"charge_{of}"])):
            found |= {f"{name}_low_{of}": values.min(1), f"{name}_high_{of}": values.max(1)}
    return {name: found[name] for name in COLUMNS}
