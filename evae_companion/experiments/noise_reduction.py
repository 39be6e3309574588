"""Fig. 3: the distribution of the angle theta between spin and local field, in reconstructed and generated states."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from evae_companion import training_plans as plans
from evae_companion.analysis.theta_density import theta_density
from evae_companion.data_specs import data_spec
from evae_companion.dataset import load_data
from evae_companion.experiments import result_cache
from evae_companion.presets import RunPreset
from evae_companion.store.serialization import load_arrays, load_table, read_json, save_arrays, save_table, write_json
from evae_companion.sweeps import models, train_stages
from evae_companion.trained import stage_spec
from evae_core.observables import theta

SHOWN = 6  # test states that are stored with their reconstructions
NAMES = ("X_out", "X'_out")
FINE = np.radians(np.arange(0, 180.01, 0.25))  # bins in which the peak of a density is located


def spec(p: RunPreset, beta: float, seed: int = 0) -> dict[str, Any]:
    """Return the cache key of :func:`run`."""
    stages = [stage_spec(stage, data_spec(p)) for stage in plans.compared(p, beta, plans.NOISE, seed)]
    return {"kind": "noise", "version": result_cache.VERSION, "stages": stages, "samples": min(p.samples, p.test)}


def run(p: RunPreset, beta: float = plans.BETA, device: str = "auto", report: result_cache.Report = print,
        seed: int = 0, networks: bool = True) -> SimpleNamespace:
    """Measure theta in reconstructed test states, and in as many generated states, at gamma = 0, 1 and 100.

    Parameters
    ----------
    seed : of the training.
    networks : whether to load them.

    Returns
    -------
    gammas : 0, 1 and 100.
    edges : (bins + 1,), radians.
    density : {"X_out", "X'_out": [(bins,) per gamma]}, per radian.
    median, peak, height : {name: one number per gamma}, in radians, and height per radian. Peak and height are of
        densities over bins of 0.25 degrees.
    given, x_out : (k, 3, N, N) test states and (gammas, k, 3, N, N), their reconstructions.
    models : the networks, one per gamma; none without ``networks``.
    """
    data, stages = data_spec(p), plans.compared(p, beta, plans.NOISE, seed)
    H, n = data.hamiltonian, min(p.samples, p.test)
    columns = [(name, g, f"{name}, gamma {g:g}") for name in NAMES for g in plans.NOISE]

    def make(folder: Path) -> None:
        test = load_data(data, device=device, report=report).test
        models = [trained.model(device) for trained in train_stages(stages, data, device=device, report=report)]
        states = dict(zip(NAMES, ([result_cache.reconstruct(model, test[:n]) for model in models],
                                  [result_cache.generate(model, n, seed=3) for model in models]), strict=True))
        edges = theta_density(H, test[:1], bins=80, log=True, lowest=1e-4)[0]
        table = {"theta from (rad)": edges[:-1], "theta to (rad)": edges[1:]}
        numbers: dict[str, Any] = {"gammas": plans.NOISE, "states": n, "median": {}, "peak": {}, "height": {}}
        for name in NAMES:
            fine = [theta_density(H, spins, bins=FINE)[1] for spins in states[name]]
            numbers["median"][name] = [float(theta(H, spins).median()) for spins in states[name]]
            numbers["peak"][name] = [float((FINE[1:] + FINE[:-1])[d.argmax()] / 2) for d in fine]
            numbers["height"][name] = [float(d.max()) for d in fine]
        for name, g, column in columns:
            table[column] = theta_density(H, states[name][plans.NOISE.index(g)], bins=edges)[1]
        write_json(folder / "theta.json", numbers)
        save_table(folder / "theta_densities.csv", table)
        x_out = torch.stack([spins[:SHOWN] for spins in states["X_out"]])
        save_arrays(folder / "theta_states.npz", {"given": result_cache.as_half(test[:min(SHOWN, n)]),
                                                  "x_out": result_cache.as_half(x_out)})

    folder, is_recorded = result_cache.get(p, spec(p, beta, seed), make, report)
    table = load_table(folder / "theta_densities.csv")
    states = {name: result_cache.as_spins(half) for name, half in load_arrays(folder / "theta_states.npz").items()}
    return SimpleNamespace(
        **read_json(folder / "theta.json"), **states,
        edges=np.append(table["theta from (rad)"], table["theta to (rad)"][-1]),
        density={name: [table[column] for other, _, column in columns if other == name] for name in NAMES},
        models=models(p, stages, data, is_recorded, device, report) if networks else [])
