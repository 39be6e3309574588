"""The same gamma sweep on three kinds of data, to see on which of them the collapse ends in the ground state."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from evae_companion import training_plans as plans
from evae_companion.analysis.order import order
from evae_companion.data_specs import data_spec
from evae_companion.dataset import load_data
from evae_companion.experiments import result_cache, stage_table
from evae_companion.presets import RunPreset
from evae_companion.store.serialization import load_arrays, load_table, read_json, save_arrays, save_table, write_json
from evae_companion.sweeps import train_sweeps
from evae_companion.trained import stage_spec

FEW = 200  # states of each set whose order is measured


def spec(p: RunPreset) -> dict[str, Any]:
    """Return the cache key of :func:`run`."""
    last = [stage_spec(ladder[-1], data) for ladder, data in plans.orders(p).values()]
    return {"kind": "data_decides", "version": result_cache.VERSION, "last": last, "few": FEW}


def run(p: RunPreset, device: str = "auto", report: result_cache.Report = print) -> SimpleNamespace:
    """Train one sweep on data as in the paper, on nearly perfect lattices, and on these with the lowest state.

    Returns
    -------
    names : of the three data sets.
    lowest : E/N (J) of the lowest state known.
    data : {name: dict}, :func:`~evae_companion.analysis.order.order` of the first FEW training states, with left_out
        (number of configurations), lowest (E/N in J of all training states) and kspace_mse.
    rows : {name: :func:`~evae_companion.experiments.stage_table.columns` of the sweep}.
    last : {name: (3, N, N)}, a state generated after the last stage.
    """
    kinds = plans.orders(p)

    def make(folder: Path) -> None:
        climbed = train_sweeps([ladder for ladder, _ in kinds.values()], [data for _, data in kinds.values()],
                               device=device, report=report)
        numbers, rows, last = {}, [], []
        for (name, (_, spec)), run in zip(kinds.items(), climbed, strict=True):
            data = load_data(spec, device=device, report=report)
            numbers[name] = order(spec.hamiltonian, data.train[:FEW]) | {
                "left_out": data.left_out, "lowest": float(data.train.statistics["energy"].min()),
                "kspace_mse": run[-1].measured["data"]["kspace_mse"]}
            rows.append(stage_table.columns(run))
            last.append(result_cache.generate(run[-1].model(device), 1, seed=4)[0])
        write_json(folder / "data_decides.json", numbers)
        save_table(folder / "data_decides.csv", {
            "data": np.concatenate([[name] * len(r["gamma"]) for name, r in zip(kinds, rows, strict=True)]),
            **{key: np.concatenate([r[key] for r in rows]) for key in stage_table.COLUMNS}})
        save_arrays(folder / "data_decides_states.npy", result_cache.as_half(torch.stack(last)))

    folder, _ = result_cache.get(p, spec(p), make, report)
    table = load_table(folder / "data_decides.csv")
    states = result_cache.as_spins(np.asarray(load_arrays(folder / "data_decides_states.npy")))
    return SimpleNamespace(
        names=list(kinds), lowest=data_spec(p).lowest, data=read_json(folder / "data_decides.json"),
        rows={name: {key: table[key][table["data"] == name] for key in stage_table.COLUMNS} for name in kinds},
        last=dict(zip(kinds, states, strict=True)))
