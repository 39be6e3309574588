"""Fig. 3: the angle theta between spin and local field, for reconstructions and for generated states."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from evae_core import runs
from evae_core.dataset import data_spec, load_data
from evae_core.files import load_arrays, load_table, read_json, save_arrays, save_table, write_json
from evae_core.observables import theta, theta_density
from evae_core.presets import Preset
from evae_core.results import kept
from evae_core.training import climb, stage_spec

SHOWN = 6  # test states kept with their reconstructions
NAMES = ("X_out", "X'_out")
FINE = np.radians(np.arange(0, 180.01, 0.25))  # bins that peaks are read from


def spec(p: Preset, beta: float, seed: int = 0) -> dict[str, Any]:
    """What :func:`noise` depends on."""
    stages = [stage_spec(stage, data_spec(p)) for stage in runs.compared(p, beta, runs.NOISE, seed)]
    return {"kind": "noise", "version": kept.VERSION, "stages": stages, "samples": min(p.samples, p.test)}


def noise(p: Preset, beta: float = runs.BETA, device: str = "auto", report: kept.Report = print,
          seed: int = 0) -> SimpleNamespace:
    """Theta of as many test states' reconstructions, and of as many generated states, at gamma = 0, 1 and 100, of the
    training ``seed``.

    Returns
    -------
    gammas; edges (bins + 1,), radians; density {name: [(bins,) a gamma]}, per radian, for the names "X_out" and
    "X'_out"; median, peak (radians) and height (per radian) of densities over bins of 0.25 degrees, {name: one number
    a gamma}; given (k, 3, N, N) and x_out (gammas, k, 3, N, N), test states and their reconstructions; models, the
    networks, one a gamma.
    """
    data, stages = data_spec(p), runs.compared(p, beta, runs.NOISE, seed)
    H, n = data.hamiltonian, min(p.samples, p.test)
    columns = [(name, g, f"{name}, gamma {g:g}") for name in NAMES for g in runs.NOISE]

    def make(folder: Path) -> None:
        test = load_data(data, device=device, report=report).test
        models = [trained.model(device) for trained in climb(stages, data, device=device, report=report)]
        states = dict(zip(NAMES, ([kept.reconstruct(model, test[:n]) for model in models],
                                  [kept.generate(model, n, seed=3) for model in models]), strict=True))
        edges = theta_density(H, test[:1], bins=80, log=True, lowest=1e-4)[0]
        table = {"theta from (rad)": edges[:-1], "theta to (rad)": edges[1:]}
        numbers: dict[str, Any] = {"gammas": runs.NOISE, "states": n, "median": {}, "peak": {}, "height": {}}
        for name in NAMES:
            fine = [theta_density(H, spins, bins=FINE)[1] for spins in states[name]]
            numbers["median"][name] = [float(theta(H, spins).median()) for spins in states[name]]
            numbers["peak"][name] = [float((FINE[1:] + FINE[:-1])[d.argmax()] / 2) for d in fine]
            numbers["height"][name] = [float(d.max()) for d in fine]
        for name, g, column in columns:
            table[column] = theta_density(H, states[name][runs.NOISE.index(g)], bins=edges)[1]
        write_json(folder / "theta.json", numbers)
        save_table(folder / "theta_densities.csv", table)
        x_out = torch.stack([spins[:SHOWN] for spins in states["X_out"]])
        save_arrays(folder / "theta_states.npz", {"given": kept.as_half(test[:min(SHOWN, n)]),
                                                  "x_out": kept.as_half(x_out)})

    folder, is_recorded = kept.get(p, spec(p, beta, seed), make, report)
    table = load_table(folder / "theta_densities.csv")
    states = {name: kept.as_spins(half) for name, half in load_arrays(folder / "theta_states.npz").items()}
    return SimpleNamespace(
        **read_json(folder / "theta.json"), **states,
        edges=np.append(table["theta from (rad)"], table["theta to (rad)"][-1]),
        density={name: [table[column] for other, _, column in columns if other == name] for name in NAMES},
        models=kept.models(p, stages, data, is_recorded, device, report))
