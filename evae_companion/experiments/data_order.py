"""The same gamma sweep on four kinds of data, to see on which of them the collapse ends in the ground state."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from evae_companion import claims
from evae_companion import training_plans as plans
from evae_companion.analysis.order import order
from evae_companion.data_specs import data_spec
from evae_companion.dataset import load_data
from evae_companion.experiments import (
    collapse,
    latent_interpolation,
    noise_reduction,
    result_cache,
    stage_table,
    study,
)
from evae_companion.presets import RunPreset
from evae_companion.store.artifact import identity
from evae_companion.store.packed_spins import pack, unpack
from evae_companion.store.serialization import load_arrays, load_table, read_json, save_arrays, save_table, write_json
from evae_companion.sweeps import train_stages
from evae_companion.trained import history_table, stage_spec
from evae_core.training.stages import control_stages

FEW = 200  # states of each set whose order is measured
PAST = 1e5  # gamma at which L_KL is compared with that at 100


def parts(p: RunPreset, device: str = "auto") -> dict[tuple[str, int], study.Part]:
    """Return {(kind of data, seed): part of the study}, all kinds of one seed after those of another."""
    return {(kind, seed): study.Part(
        {"kind": "data_order", "version": result_cache.VERSION, "last": stage_spec(stages[-1], data), "few": FEW,
         "samples": p.samples, "noise": identity(noise_reduction.spec(p, plans.BETA, seed, data))[1],
         "walk": identity(latent_interpolation.spec(p, plans.BETA, seed, data))[1]},
        ((stages, data), (control_stages(p, plans.BETA, seed), data)),
        partial(_measure, p, kind, seed, device))
        for seed in range(p.seeds) for kind, (stages, data) in plans.orders(p, seed).items()}


def _measure(p: RunPreset, kind: str, seed: int, device: str, folder: Path, report: result_cache.Report) -> None:
    stages, of = plans.orders(p, seed)[kind]
    run = train_stages(stages, of, device=device, report=report)
    table, data = history_table(run), load_data(of, device=device, report=report)
    final, state = collapse.final_state(run[-1], p.samples, device)
    past, early = (int(np.argmin(np.abs(table["gamma"] - gamma))) for gamma in (PAST, 100.0))
    theta = noise_reduction.run(p, plans.BETA, device, report, seed, data=of)
    walk = latent_interpolation.run(p, plans.BETA, device, report, seed, networks=False, data=of)
    write_json(folder / "data_order.json", {
        "data": order(of.hamiltonian, data.train[:FEW]) | {
            "left_out": data.left_out, "lowest": float(data.train.statistics["energy"].min()),
            "kspace_mse": table["data_kspace_mse"]},
        "end": final | collapse.best_of(of, device) | {
            "gamma_c": claims.critical(table["gamma"], table["kspace_mse"], table["data_kspace_mse"]),
            "kl_growth": float(table["kl"][past] / table["kl"][early]),
            "x_out_share": float(table["kspace_mse_x_out"][-1] / table["data_kspace_mse"]),
            "noise": noise_reduction.judged(theta), "paths": walk.paths}})
    save_table(folder / "data_order.csv", stage_table.columns(run))
    save_arrays(folder / "data_order_state.npy", pack(state))


def run(p: RunPreset, device: str = "auto", report: result_cache.Report = print,
        done: Callable[[study.Part], None] | None = None) -> SimpleNamespace:
    """Train the gamma sweep of every seed on each kind of data; return :func:`known`.

    Parameters
    ----------
    done : called with every part of the study, as soon as it is there.
    """
    study.complete(p, list(parts(p, device).values()), device, report, done)
    return known(p)


def known(p: RunPreset) -> SimpleNamespace:
    """Return what the store and data/known hold of the study: :func:`run` trains the rest, for hours.

    Returns
    -------
    missing : number of sweeps that are not trained yet.
    kinds : names of the kinds of data on which a sweep is trained.
    lowest : E/N (J) of the lowest state known.
    data : {kind: dict}, :func:`~evae_companion.analysis.order.order` of the first FEW training states of the first
        seed, with left_out (number of configurations), lowest (E/N in J of all training states) and kspace_mse.
    ends : {kind: list of dicts, one per seed}. Keys gamma_c; energy, relaxed, charge, defects and best_data of the
        states generated at the largest gamma (:func:`~evae_companion.experiments.collapse.final_state`); kl_growth,
        L_KL at PAST over that at 100; x_out_share, k-space MSE of X_out there as a share of the data's; noise and
        paths, the arguments of ``claims.noise_reduction`` and ``claims.latent_interpolation``.
    rows : {(kind, seed): :func:`~evae_companion.experiments.stage_table.columns` of the sweep}.
    last : {kind: (3, N, N)}, the state of median energy generated after the last stage of the first seed.
    """
    planned = parts(p)
    folders = {key: folder for key, part in planned.items() if (folder := study.find(p, part)) is not None}
    kinds = [kind for kind in dict.fromkeys(kind for kind, _ in planned) if any(kind == key[0] for key in folders)]
    read: dict[tuple[str, int], Any] = {key: read_json(folder / "data_order.json") for key, folder in folders.items()}
    first = {kind: next(key for key in folders if key[0] == kind) for kind in kinds}
    return SimpleNamespace(
        missing=len(planned) - len(folders), kinds=kinds, lowest=data_spec(p).lowest,
        data={kind: read[key]["data"] for kind, key in first.items()},
        ends={kind: [one["end"] for key, one in read.items() if key[0] == kind] for kind in kinds},
        rows={key: load_table(folder / "data_order.csv") for key, folder in folders.items()},
        last={kind: unpack(load_arrays(folders[key] / "data_order_state.npy")) for kind, key in first.items()})
