"""One row per stage of a sweep: the losses, and energies of reconstructed and generated states, decoded and relaxed."""

from __future__ import annotations

from typing import Any

import numpy as np

from evae_companion.evaluation import SCALES
from evae_companion.trained import TrainedStage, history_table
from evae_core.losses import energy_per_spin

SCALED = tuple(f"kspace_mse_scaled_{scale:g}" for scale in SCALES)
COLUMNS = ("gamma", "reconstruction", "reconstruction_validation", "kl", "variance", "energy_x_mu", "kspace_mse_x_mu",
           *SCALED,
           *(f"{name}_{of}" for of in ("x_out", "generated") for name in (
               "energy", "spread", "kspace_mse", "rest_low", "rest_high", "charge_low", "charge_high")))


def columns(run: list[TrainedStage]) -> dict[str, np.ndarray]:
    """Return COLUMNS, each an array (stages,).

    gamma, kl; reconstruction, of training and of validation states; variance, of the aggregated posterior per latent
    variable (1 for the prior).

    The others exist for X_out ("x_out", from training states) and for X'_out ("generated"). These are energy (mean
    E/N, J), its spread over states, and kspace_mse; rest_low and rest_high (E/N, J), charge_low and charge_high are of
    some states after relaxation. energy_x_mu and kspace_mse_x_mu are of training states decoded from mu; and
    kspace_mse_scaled_2, for example, is of states decoded from draws from the prior times 2.
    """
    t, data = history_table(run), run[0].data
    H, shape = data.hamiltonian, data.shape
    unit = float(energy_per_spin(H, 1.0, shape) - energy_per_spin(H, 0.0, shape))
    result: dict[str, Any] = {name: t[name] for name in ("gamma", "reconstruction", "kl", "variance")}
    result |= {"energy_x_mu": energy_per_spin(H, t["energy_x_mu"], shape), "kspace_mse_x_mu": t["kspace_mse_x_mu"],
               **dict(zip(SCALED, t["kspace_mse_scaled"].T, strict=True))}
    result["reconstruction_validation"] = t["validation"]["reconstruction"]
    for of, energy, mse in (("x_out", "energy", "kspace_mse_x_out"), ("generated", "energy_generated", "kspace_mse")):
        result |= {f"energy_{of}": energy_per_spin(H, t[energy], shape), f"spread_{of}": unit * t[f"spread_{of}"],
                   f"kspace_mse_{of}": t[mse]}
        for name, values in (("rest", t[f"rest_{of}"]), ("charge", t[f"charge_{of}"])):
            result |= {f"{name}_low_{of}": values.min(1), f"{name}_high_{of}": values.max(1)}
    return {name: result[name] for name in COLUMNS}
