"""Fig. 3: the distribution of the angle theta between spin and local field, in reconstructed and generated states."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from evae_companion import training_plans as plans
from evae_companion.analysis.skyrmion_shapes import share_near_minimum, skyrmion_shapes
from evae_companion.analysis.theta_density import theta_density
from evae_companion.data_specs import DataSpec, data_spec
from evae_companion.dataset import load_data, rest_energies
from evae_companion.experiments import result_cache
from evae_companion.presets import RunPreset
from evae_companion.store.packed_spins import pack, unpack
from evae_companion.store.serialization import load_arrays, load_table, read_json, save_arrays, save_table, write_json
from evae_companion.sweeps import train_stages
from evae_companion.trained import stage_spec
from evae_core.observables import theta
from evae_core.training.stages import Stage, stage_schedule

VERSION = 5  # as result_cache.VERSION, for this result alone
SHOWN = 3  # test states that are stored with their reconstructions, and generated states, of the first training
FEW, NEAR = 100, 1e-4  # states whose skyrmions are measured; J per spin above its minimum at which a state is near it
MEASURES = ("median", "peak", "height", "deformed", "near")
NAMES = ("X_out", "X_out from mu", "X'_out")
FINE = np.radians(np.arange(0, 180.01, 0.25))  # bins in which the peak of a density is located


def compared(p: RunPreset, beta: float, seed: int = 0) -> list[Stage]:
    """Return the standard VAE, the control trained on without the Hamiltonian, and the E-VAE at gamma = 1 and 100."""
    control, *guided = plans.compared(p, beta, plans.NOISE, seed)
    return [stage_schedule(p, beta, seed)[0].parent or control, control, *guided]


def lattice_area(data: DataSpec) -> float:
    """Return the area (sites) of a skyrmion in the best commensurate lattice."""
    lattice, H = result_cache.ideal_lattice(data), data.hamiltonian
    return float(np.median(skyrmion_shapes(lattice, H.periodic, H.B).areas))


def spec(p: RunPreset, beta: float, seed: int = 0, data: DataSpec | None = None) -> dict[str, Any]:
    """Return the cache key of :func:`run`."""
    stages = [stage_spec(stage, data or data_spec(p, seed)) for stage in compared(p, beta, seed)]
    return {"kind": "noise", "version": VERSION, "stages": stages}


def run(p: RunPreset, beta: float = plans.BETA, device: str = "auto", report: result_cache.Report = print,
        seed: int = 0, data: DataSpec | None = None) -> SimpleNamespace:
    """Measure theta in the reconstructions of all test states, and in as many generated states.

    Parameters
    ----------
    seed : of the training and its data.
    data : other than the preset's.

    Returns
    -------
    labels : of the networks: the standard VAE, its control, gamma = 1, gamma = 100.
    edges : (bins + 1,), radians.
    density : {name of NAMES: [(bins,) per network]}, per radian. z of X_out is drawn from the posterior, as in
        training; "X_out from mu" has none of that noise.
    measures : {name: {key of MEASURES: one number per network}}. Median and peak in radians, height per radian, the
        latter two of densities over bins of 0.25 degrees; of FEW states, deformed, the share of their skyrmions that
        are stretched, truncated or merged, and near, the share that lies within NEAR of its own minimum.
    given : (SHOWN, 3, N, N), test states; none for other seeds than the first, whose states no figure shows.
    x_out, generated : (networks, SHOWN, 3, N, N), their reconstructions, and as many generated states.
    """
    data, stages = data or data_spec(p, seed), compared(p, beta, seed)
    H, labels = data.hamiltonian, ["standard VAE", "γ = 0, trained on", *(f"γ = {g:g}" for g in plans.NOISE[1:])]
    columns = [(name, k, f"{name}, {label}") for name in NAMES for k, label in enumerate(labels)]

    def make(folder: Path) -> None:
        test = load_data(data, device=device, report=report).test[:]
        edges = theta_density(H, test[:1], bins=80, log=True, lowest=1e-4)[0]
        table = {"theta from (rad)": edges[:-1], "theta to (rad)": edges[1:]}
        measures: dict[str, Any] = {name: {key: [] for key in MEASURES} for name in NAMES}
        area, few = lattice_area(data), 0 if seed else SHOWN
        shown: dict[str, list[torch.Tensor]] = {name: [] for name in NAMES}
        for k, trained in enumerate(train_stages(stages, data, device=device, report=report)):
            model = trained.model(device)
            for name in NAMES:  # one after the other: a set of states at the paper's lattice takes a gigabyte
                states = (result_cache.generate(model, len(test), seed=3) if name == "X'_out"
                          else result_cache.reconstruct(model, test, seed=2 if name == "X_out" else None))
                fine = theta_density(H, states, bins=FINE)[1]
                some = states[:FEW]
                shares = skyrmion_shapes(some, H.periodic, H.B, area).shares()
                near = share_near_minimum(H.energy_per_spin(some.double()), rest_energies(H, some, device), NEAR)
                values = (theta(H, states).median(), (FINE[1:] + FINE[:-1])[fine.argmax()] / 2, fine.max(),
                          sum(shares.values()), near)
                for key, value in zip(MEASURES, values, strict=True):
                    measures[name][key].append(float(value))
                table[next(c for n, j, c in columns if (n, j) == (name, k))] = theta_density(H, states, bins=edges)[1]
                shown[name].append(states[:few])
        write_json(folder / "theta.json", {"labels": labels, "states": len(test), "measures": measures})
        save_table(folder / "theta_densities.csv", table)
        save_arrays(folder / "theta_states.npz", {
            "given": pack(test[:few]),
            **{name: pack(torch.stack(shown[of])) for name, of in (("x_out", "X_out"), ("generated", "X'_out"))}})

    folder, _ = result_cache.get(p, spec(p, beta, seed, data), make, report)
    table = load_table(folder / "theta_densities.csv")
    states = {name: unpack(codes) for name, codes in load_arrays(folder / "theta_states.npz").items()}
    return SimpleNamespace(
        **read_json(folder / "theta.json"), **states,
        edges=np.append(table["theta from (rad)"], table["theta to (rad)"][-1]),
        density={name: [table[column] for other, _, column in columns if other == name] for name in NAMES})


def run_seeds(p: RunPreset, beta: float = plans.BETA, device: str = "auto", report: result_cache.Report = print
              ) -> list[SimpleNamespace]:
    """Return :func:`run` of every training, each on data of its own; what is missing is computed at the same time."""
    result_cache.compute(p, [(spec(p, beta, seed), partial(run, p, beta, device, seed=seed))
                             for seed in range(p.seeds)], report)
    return [run(p, beta, device, report, seed) for seed in range(p.seeds)]


def judged(result: SimpleNamespace) -> dict[str, Any]:
    """Return what ``claims.noise_reduction`` needs of a result: from the control on, which had as many steps."""
    return {name: {key: row[1:] for key, row in of_name.items()} for name, of_name in result.measures.items()}
