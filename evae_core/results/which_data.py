"""On which data the collapse ends in the ground state: the same ladder on three kinds of them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from evae_core import runs
from evae_core.dataset import data_spec, load_data
from evae_core.files import load_arrays, load_table, read_json, save_arrays, save_table, write_json
from evae_core.order import order
from evae_core.presets import Preset
from evae_core.results import kept, stages
from evae_core.training import climb_all, stage_spec

FEW = 200  # states of each set whose order is measured


def spec(p: Preset) -> dict[str, Any]:
    """What :func:`data_decides` depends on."""
    last = [stage_spec(ladder[-1], data) for ladder, data in runs.orders(p).values()]
    return {"kind": "data_decides", "version": kept.VERSION, "last": last, "few": FEW}


def data_decides(p: Preset, device: str = "auto", report: kept.Report = print) -> SimpleNamespace:
    """One ladder on data as the paper describes them, on nearly perfect lattices, and on these with the lowest state.

    Returns
    -------
    names; lowest, E/N (J) of the lowest state known; by name: data, what :func:`~evae_core.order.order` says of the
    first FEW training states, with left_out (configurations), lowest (E/N, J, of all training states) and kspace_mse;
    rows, :func:`~evae_core.results.stages.columns` of the ladder; last, a generated state (3, N, N) of its end.
    """
    plans = runs.orders(p)

    def make(folder: Path) -> None:
        climbed = climb_all([ladder for ladder, _ in plans.values()], [data for _, data in plans.values()],
                            device=device, report=report)
        numbers, rows, last = {}, [], []
        for (name, (_, spec)), run in zip(plans.items(), climbed, strict=True):
            data = load_data(spec, device=device, report=report)
            numbers[name] = order(spec.hamiltonian, data.train[:FEW]) | {
                "left_out": data.left_out, "lowest": float(data.train.statistics["energy"].min()),
                "kspace_mse": run[-1].measured["data"]["kspace_mse"]}
            rows.append(stages.columns(run))
            last.append(kept.generate(run[-1].model(device), 1, seed=4)[0])
        write_json(folder / "data_decides.json", numbers)
        save_table(folder / "data_decides.csv", {
            "data": np.concatenate([[name] * len(r["gamma"]) for name, r in zip(plans, rows, strict=True)]),
            **{key: np.concatenate([r[key] for r in rows]) for key in stages.COLUMNS}})
        save_arrays(folder / "data_decides_states.npy", kept.as_half(torch.stack(last)))

    folder, _ = kept.get(p, spec(p), make, report)
    table = load_table(folder / "data_decides.csv")
    states = kept.as_spins(np.asarray(load_arrays(folder / "data_decides_states.npy")))
    return SimpleNamespace(
        names=list(plans), lowest=data_spec(p).lowest, data=read_json(folder / "data_decides.json"),
        rows={name: {key: table[key][table["data"] == name] for key in stages.COLUMNS} for name in plans},
        last=dict(zip(plans, states, strict=True)))
