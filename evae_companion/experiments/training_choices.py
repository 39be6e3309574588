"""What the training needs: each thing that this project adds to the paper's, left out; and longer stages."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from evae_companion import claims, published
from evae_companion import training_plans as plans
from evae_companion.experiments import result_cache
from evae_companion.presets import RunPreset
from evae_companion.store.serialization import load_table, save_table
from evae_companion.store.store import Store
from evae_companion.sweeps import train_sweeps
from evae_companion.trained import TrainedStage, history_table, stage_spec
from evae_core.losses import energy_per_spin


def spec(p: RunPreset) -> dict[str, Any]:
    """Return the cache key of :func:`run`."""
    last = [stage_spec(stages[-1], data) for stages, data in (*plans.choices(p).values(), *plans.lengths(p).values())]
    return {"kind": "training_choices", "version": result_cache.VERSION, "last": last}


def is_known(p: RunPreset) -> bool:
    """Return whether the store or data/known hold the result: ``evae study`` makes it in hours at the paper's lattice.
    """
    return Store().find(spec(p)) is not None or published.find(p.name, spec(p)) is not None


def run(p: RunPreset, device: str = "auto", report: result_cache.Report = print) -> SimpleNamespace:
    """Train the sweeps of :func:`~evae_companion.training_plans.choices` and ``lengths``.

    Returns
    -------
    choices : table with one row per choice: choice; first and first_validation, L_RC after the first stage; beta_rc
        and beta_kl, L_RC and L_KL at beta = 1e-3; gamma_c; and after the last stage the mean E/N (J) of X'_out
        (energy), its k-space MSE as a share of the data's (share), the lowest relaxed E/N (J; rest).
    lengths : table with one row per stage: gamma, times (the preset's steps), reconstruction, kl, energy_x_out and
        energy_generated (E/N, J), share_x_out and share_generated.
    """
    def make(folder: Path) -> None:
        choices, lengths = plans.choices(p), plans.lengths(p)
        jobs = [*choices.values(), *lengths.values()]
        climbed = train_sweeps([stages for stages, _ in jobs], [data for _, data in jobs], device=device, report=report)
        for file, rows in (("choices.csv", [{"choice": name} | _choice(run)
                                            for name, run in zip(choices, climbed, strict=False)]),
                           ("lengths.csv", [{"gamma": gamma, "times": times} | _last(run)
                                            for (gamma, times), run in zip(lengths, climbed[len(choices):],
                                                                           strict=True)])):
            save_table(folder / f"training_{file}", {key: [row[key] for row in rows] for key in rows[0]})

    folder, _ = result_cache.get(p, spec(p), make, report)
    return SimpleNamespace(**{name: load_table(folder / f"training_{name}.csv") for name in ("choices", "lengths")})


def _choice(run: list[TrainedStage]) -> dict[str, Any]:
    table, before = history_table(run), []
    stage = run[0].stage.parent
    while stage is not None:
        before.append(TrainedStage(stage, run[0].data, Store().held(stage_spec(stage, run[0].data))).measured)
        stage = stage.parent
    start, first = before[0], before[-1]
    return {"first": first["train"]["reconstruction"], "first_validation": first["validation"]["reconstruction"],
            "beta_rc": start["train"]["reconstruction"], "beta_kl": start["train"]["kl"],
            "gamma_c": claims.critical(table["gamma"], table["kspace_mse"], table["data_kspace_mse"]),
            "energy": _last(run)["energy_generated"], "share": _last(run)["share_generated"],
            "rest": float(np.min(table["rest_generated"][-1]))}


def _last(run: list[TrainedStage]) -> dict[str, float]:
    table, data = history_table(run[-1:]), run[-1].data
    result = {key: float(table[key][0]) for key in ("reconstruction", "kl")}
    for of, energy, mse in (("x_out", "energy", "kspace_mse_x_out"), ("generated", "energy_generated", "kspace_mse")):
        result |= {f"energy_{of}": float(energy_per_spin(data.hamiltonian, table[energy], data.shape)[0]),
                   f"share_{of}": float(table[mse][0] / table["data_kspace_mse"])}
    return result
