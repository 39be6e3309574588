"""What the training needs: each thing that this project adds to the paper's, left out; and longer stages."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from evae_companion import claims
from evae_companion import training_plans as plans
from evae_companion.data_specs import DataSpec
from evae_companion.experiments import result_cache, study
from evae_companion.presets import RunPreset
from evae_companion.store.serialization import read_json, write_json
from evae_companion.sweeps import train_stages
from evae_companion.trained import TrainedStage, history_table, stage_spec
from evae_core.losses import energy_per_spin
from evae_core.training.stages import Stage


def parts(p: RunPreset, device: str = "auto") -> dict[Any, study.Part]:
    """Return the parts of the study by name: of a choice its words, of a stage length (gamma, times)."""
    return {name: study.Part(
        {"kind": "training_choices", "version": result_cache.VERSION, "last": stage_spec(stages[-1], data),
         "measures": "choice" if measure is _choice else "length"},
        ((stages, data),), partial(_measure, measure, stages, data, device))
        for measure, jobs in ((_choice, plans.choices(p)), (_last, plans.lengths(p)))
        for name, (stages, data) in jobs.items()}


def _measure(measure: Callable[[list[TrainedStage]], dict[str, Any]], stages: list[Stage], data: DataSpec, device: str,
             folder: Path, report: result_cache.Report) -> None:
    write_json(folder / "training_choices.json", measure(train_stages(stages, data, device=device, report=report)))


def run(p: RunPreset, device: str = "auto", report: result_cache.Report = print,
        done: Callable[[study.Part], None] | None = None) -> SimpleNamespace:
    """Train the sweeps of :func:`~evae_companion.training_plans.choices` and ``lengths``; return :func:`known`.

    Parameters
    ----------
    done : called with every part of the study, as soon as it is there.
    """
    study.complete(p, list(parts(p, device).values()), device, report, done)
    return known(p)


def known(p: RunPreset) -> SimpleNamespace:
    """Return what the store and data/known hold of the study: :func:`run` trains the rest, in hours.

    Returns
    -------
    missing : number of sweeps that are not trained yet.
    choices : table with one row per choice: choice; first and first_validation, L_RC after the first stage; beta_rc
        and beta_kl, L_RC and L_KL at beta = 1e-3; gamma_c; and after the last stage the mean E/N (J) of X'_out
        (energy), its k-space MSE as a share of the data's (share), the lowest relaxed E/N (J; rest).
    lengths : table with one row per stage: gamma, times (the preset's steps), reconstruction, kl, energy_x_out and
        energy_generated (E/N, J), share_x_out and share_generated.
    """
    planned = parts(p)
    read: dict[Any, Any] = {name: read_json(folder / "training_choices.json") for name, part in planned.items()
                            if (folder := study.find(p, part)) is not None}
    choices = [{"choice": name} | read[name] for name in plans.choices(p) if name in read]
    lengths = [{"gamma": name[0], "times": name[1]} | read[name] for name in plans.lengths(p) if name in read]
    return SimpleNamespace(missing=len(planned) - len(read), **{
        of: {key: np.array([row[key] for row in rows]) for key in (rows[0] if rows else ())}
        for of, rows in (("choices", choices), ("lengths", lengths))})


def _choice(run: list[TrainedStage]) -> dict[str, Any]:
    table, before = history_table(run), []
    stage = run[0].stage.parent
    while stage is not None:
        (trained,) = train_stages([stage], run[0].data)
        before.append(trained.measured)
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
