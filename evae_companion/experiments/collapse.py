"""Fig. 5: beyond a critical gamma every latent vector z decodes to one and the same state."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from evae_companion import training_plans as plans
from evae_companion.data_specs import DataSpec, data_spec
from evae_companion.dataset import load_data
from evae_companion.experiments import result_cache, stage_table
from evae_companion.presets import RunPreset
from evae_companion.store.packed_spins import pack, unpack
from evae_companion.store.serialization import load_arrays, load_table, read_json, save_arrays, save_table, write_json
from evae_companion.sweeps import models, train_sweeps
from evae_companion.trained import TrainedStage, history_table, stage_spec
from evae_core.observables import defects, kspace_mse, skyrmion_centres, topological_charge
from evae_core.textures import relax

MEASURES = ("kspace_mse", "kspace_mse_complex", "data_kspace_mse", "energy_per_spin", *stage_table.COLUMNS)


def spec(p: RunPreset) -> dict[str, Any]:
    """Return the cache key of :func:`run`."""
    # The spec of a last stage contains the specs of all earlier ones.
    last = [stage_spec(run[-1], data) for run, data in plans.collapsing(p).values()]
    return {"kind": "collapse", "version": result_cache.VERSION, "last": last, "samples": p.samples}


def run(p: RunPreset, device: str = "auto", report: result_cache.Report = print) -> SimpleNamespace:
    """Generate states along the gamma sweeps of all trainings at both betas.

    Returns
    -------
    runs : {name: {column: (stages,)}}, with kspace_mse, kspace_mse_complex, energy_per_spin (mean, J), and all of
        :func:`~evae_companion.experiments.stage_table.columns`; data_kspace_mse, a number.
    data : of the first training's data: energy_min, energy_mean, energy_max (J per spin), rest_min (the lowest relaxed
        energy), kspace_mse, kspace_mse_complex.
    ideal : energy (J per spin) and charge of the best commensurate lattice.
    final : {name: dict} of the states generated at the largest gamma: their mean energy (J per spin), and relaxed
        energy, skyrmions, defects and charge of the state of median energy; best_data, E/N (J) of the lowest training
        configuration.
    twins : names of the trainings at the first beta.
    distances : (twins, twins), squared chord per spin between their states of median energy.
    shown : gammas whose states are stored.
    states : {twin: (shown, 2, 3, N, N)}.
    last : {name: (3, N, N)}, the states of median energy and the best commensurate lattice.
    model : network of the first run at the largest gamma.
    """
    data, ladders = data_spec(p), plans.collapsing(p)
    shown = (*plans.COLLAPSE, p.gammas[-1])
    twins = [name for name in ladders if name.startswith(f"β = {p.gamma_betas[0]:g},")]

    def make(folder: Path) -> None:
        runs = train_sweeps([run for run, _ in ladders.values()], [of for _, of in ladders.values()], device=device,
                            report=report)
        climbed = dict(zip(ladders, runs, strict=True))
        lattice, train = result_cache.ideal_lattice(data), load_data(data, device=device, report=report).train
        energy, few = train.statistics["energy"], train[:min(100, len(train))]
        H = data.hamiltonian
        final, last = zip(*(final_state(run[-1], p.samples, device) for run in climbed.values()), strict=True)
        states = torch.stack([last[list(climbed).index(name)] for name in twins])
        distances = (states[:, None] - states).square().sum(2).mean((-2, -1))
        write_json(folder / "collapse.json", {
            "data": {"energy_min": energy.min(), "energy_mean": energy.mean(), "energy_max": energy.max(),
                     "rest_min": train.statistics["rest_energy"].min(),
                     "kspace_mse": kspace_mse(few), "kspace_mse_complex": kspace_mse(few, complex=True)},
            "ideal": {"energy": float(H.energy_per_spin(lattice.double())),
                      "charge": float(topological_charge(lattice))},
            "final": {name: numbers | best_of(run[-1].data, device)
                      for (name, run), numbers in zip(climbed.items(), final, strict=True)},
            "distances": distances.tolist()})
        columns = {name: history_table(run) | stage_table.columns(run) for name, run in climbed.items()}
        for name, measured in columns.items():
            measured["energy_per_spin"] = measured["energy_generated"]
            measured["data_kspace_mse"] = np.full(len(climbed[name]), measured["data_kspace_mse"])
        save_table(folder / "collapse.csv", {
            "run": np.concatenate([[name] * len(run) for name, run in climbed.items()]),
            **{key: np.concatenate([columns[name][key] for name in climbed]) for key in MEASURES}})
        by_gamma = {name: {trained.stage.gamma: trained for trained in climbed[name]} for name in twins}
        drawn = [[result_cache.generate(by_gamma[name][g].model(device), 2, seed=4) for g in shown] for name in twins]
        save_arrays(folder / "collapse_states.npz", {
            "states": pack(torch.stack([torch.stack(of_run) for of_run in drawn])),
            "last": pack(torch.stack((*last, lattice)))})

    folder, is_recorded = result_cache.get(p, spec(p), make, report)
    columns, states = load_table(folder / "collapse.csv"), load_arrays(folder / "collapse_states.npz")
    numbers = read_json(folder / "collapse.json")
    first, runs = next(iter(ladders.values()))[0][-1], {}
    for name in ladders:
        runs[name] = {key: columns[key][columns["run"] == name] for key in MEASURES}
        runs[name]["data_kspace_mse"] = float(runs[name]["data_kspace_mse"][0])
    return SimpleNamespace(
        **numbers | {"distances": np.array(numbers["distances"])}, shown=shown, twins=twins, runs=runs,
        states=dict(zip(twins, unpack(states["states"]), strict=True)),
        last=dict(zip((*ladders, "best commensurate lattice"), unpack(states["last"]), strict=True)),
        model=models(p, [first], data, is_recorded, device, report)[0])


def final_state(trained: TrainedStage, samples: int, device: str) -> tuple[dict[str, Any], torch.Tensor]:
    """Return numbers of so many states that a network generates, and the state of median energy."""
    H, shape = trained.data.hamiltonian, trained.data.shape
    generated = result_cache.generate(trained.model(device), samples, seed=5)
    energies = H.energy_per_spin(generated.double())
    state = generated[energies.argsort()[len(energies) // 2]]
    centres = skyrmion_centres(state)
    return {"gamma": trained.stage.gamma, "energy": float(energies.mean()),
            "relaxed": float(H.energy_per_spin(relax(H, state).double())), "skyrmions": len(centres),
            "defects": defects(centres, shape) if len(centres) else 1.0,
            "charge": float(topological_charge(state))}, state


def best_of(data: DataSpec, device: str) -> dict[str, float]:
    """Return best_data, E/N (J) of the lowest training configuration."""
    return {"best_data": float(load_data(data, device=device).train.statistics["energy"].min())}
