"""The same gamma sweep on four kinds of data, to see on which of them the collapse ends in the ground state."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from evae_companion import claims, published
from evae_companion import training_plans as plans
from evae_companion.analysis.order import order
from evae_companion.data_specs import data_spec
from evae_companion.dataset import load_data
from evae_companion.experiments import collapse, latent_interpolation, noise_reduction, result_cache, stage_table
from evae_companion.presets import RunPreset
from evae_companion.store.packed_spins import pack, unpack
from evae_companion.store.serialization import load_arrays, load_table, read_json, save_arrays, save_table, write_json
from evae_companion.store.store import Store
from evae_companion.sweeps import train_sweeps
from evae_companion.trained import history_table, stage_spec
from evae_core.training.stages import control_stages

FEW = 200  # states of each set whose order is measured
PAST = 1e5  # gamma at which L_KL is compared with that at 100


def sweeps(p: RunPreset) -> dict[tuple[str, int], plans.Sweep]:
    """Return {(kind of data, seed): sweep}."""
    return {(kind, seed): sweep for seed in range(p.seeds) for kind, sweep in plans.orders(p, seed).items()}


def spec(p: RunPreset) -> dict[str, Any]:
    """Return the cache key of :func:`run`."""
    last = [stage_spec(stages[-1], data) for stages, data in sweeps(p).values()]
    return {"kind": "data_order", "version": result_cache.VERSION, "last": last, "few": FEW, "samples": p.samples}


def is_known(p: RunPreset) -> bool:
    """Return whether the store or data/known hold the result: ``evae study`` makes it in hours at the paper's lattice.
    """
    return Store().find(spec(p)) is not None or published.find(p.name, spec(p)) is not None


def run(p: RunPreset, device: str = "auto", report: result_cache.Report = print) -> SimpleNamespace:
    """Train the gamma sweep of every seed on each kind of data.

    Returns
    -------
    kinds : names of the kinds of data.
    lowest : E/N (J) of the lowest state known.
    data : {kind: dict}, :func:`~evae_companion.analysis.order.order` of the first FEW training states of seed 0, with
        left_out (number of configurations), lowest (E/N in J of all training states) and kspace_mse.
    ends : {kind: list of dicts, one per seed}. Keys gamma_c; energy, relaxed, charge, defects and best_data of the
        states generated at the largest gamma (:func:`~evae_companion.experiments.collapse.final_state`); kl_growth,
        L_KL at PAST over that at 100; x_out_share, k-space MSE of X_out there as a share of the data's; noise and
        paths, the arguments of ``claims.noise_reduction`` and ``claims.latent_interpolation``.
    rows : {(kind, seed): :func:`~evae_companion.experiments.stage_table.columns` of the sweep}.
    last : {kind: (3, N, N)}, the state of median energy generated after the last stage of seed 0.
    """
    planned = sweeps(p)
    kinds = list(dict.fromkeys(kind for kind, _ in planned))

    def make(folder: Path) -> None:
        control = {key: (control_stages(p, plans.BETA, key[1]), data) for key, (_, data) in planned.items()}
        jobs = [*planned.values(), *control.values()]
        climbed = train_sweeps([stages for stages, _ in jobs], [data for _, data in jobs], device=device, report=report)
        numbers: dict[str, Any] = {"data": {}, "ends": {kind: [] for kind in kinds}}
        rows, last = [], {}
        for (kind, seed), run in zip(planned, climbed, strict=False):
            of, table = run[0].data, history_table(run)
            final, state = collapse.final_state(run[-1], p.samples, device)
            if seed == 0:
                data = load_data(of, device=device, report=report)
                numbers["data"][kind] = order(of.hamiltonian, data.train[:FEW]) | {
                    "left_out": data.left_out, "lowest": float(data.train.statistics["energy"].min()),
                    "kspace_mse": table["data_kspace_mse"]}
                last[kind] = state
            past, early = (int(np.argmin(np.abs(table["gamma"] - gamma))) for gamma in (PAST, 100.0))
            theta = noise_reduction.run(p, plans.BETA, device, report, seed, data=of)
            walk = latent_interpolation.run(p, plans.BETA, device, report, seed, networks=False, data=of)
            numbers["ends"][kind].append(final | collapse.best_of(of, device) | {
                "gamma_c": claims.critical(table["gamma"], table["kspace_mse"], table["data_kspace_mse"]),
                "kl_growth": float(table["kl"][past] / table["kl"][early]),
                "x_out_share": float(table["kspace_mse_x_out"][-1] / table["data_kspace_mse"]),
                "noise": noise_reduction.judged(theta), "paths": walk.paths})
            rows.append(stage_table.columns(run))
        write_json(folder / "data_order.json", numbers)
        save_table(folder / "data_order.csv", {
            "data": np.concatenate([[kind] * len(r["gamma"]) for (kind, _), r in zip(planned, rows, strict=True)]),
            "seed": np.concatenate([[seed] * len(r["gamma"]) for (_, seed), r in zip(planned, rows, strict=True)]),
            **{key: np.concatenate([r[key] for r in rows]) for key in stage_table.COLUMNS}})
        save_arrays(folder / "data_order_states.npy",
                    pack(torch.stack([last[kind] for kind in kinds])))

    folder, _ = result_cache.get(p, spec(p), make, report)
    table = load_table(folder / "data_order.csv")
    states = unpack(np.asarray(load_arrays(folder / "data_order_states.npy")))
    of_sweep = {key: (table["data"] == key[0]) & (table["seed"].astype(int) == key[1]) for key in planned}
    return SimpleNamespace(
        kinds=kinds, lowest=data_spec(p).lowest, **read_json(folder / "data_order.json"),
        rows={key: {name: table[name][own] for name in stage_table.COLUMNS} for key, own in of_sweep.items()},
        last=dict(zip(kinds, states, strict=True)))
