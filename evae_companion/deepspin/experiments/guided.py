"""The E-VAE guided by a learned Hamiltonian: energy after the collapse against the error of the learned potential."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import safetensors.torch
import torch

from evae_companion import training_plans as plans
from evae_companion.analysis.descent import charge, descended, energies
from evae_companion.data_specs import data_spec
from evae_companion.dataset import load_data
from evae_companion.deepspin import lattice_training
from evae_companion.deepspin.guide import Guide
from evae_companion.deepspin.lattice import LatticeSpin
from evae_companion.deepspin.lattice_training import LatticeTraining, disturbed, errors, label, pieces
from evae_companion.experiments import result_cache
from evae_companion.experiments.ground_state import SAME, cached_candidates, search_of
from evae_companion.presets import RunPreset
from evae_companion.store.packed_spins import pack, unpack
from evae_companion.store.serialization import load_arrays, load_table, read_json, save_arrays, save_table, write_json
from evae_companion.store.store import Store
from evae_companion.sweeps import train_stages, train_sweeps
from evae_companion.trained import TrainedStage, stage_spec
from evae_core.observables import kspace_mse
from evae_core.training.stages import Stage, stage_schedule

VERSION = 2  # raise when what is measured changes
RUNGS = (1e3, 3e3, 1e4)  # gammas, with the preset's steps and learning rates; without 3e3 some runs do not collapse
# L-BFGS steps by preset, which give potentials from crude to good.
STEPS = {"smoke": (2, 10), "laptop": (30, 100, 300), "desktop": (30, 100, 300), "paper": (30, 100, 300, 1000)}
SEEDS = (0, 1)  # of the E-VAE
TESTED = 8  # disturbed configurations of the validation set on which potentials are tested
SEED = 21  # of the generated states
COLUMNS = ("torque_error", "energy_error", "mean", "relaxed_mean", "relaxed_lowest", "share", "charge", "spread",
           "seconds")


def stages(p: RunPreset, seed: int) -> list[Stage]:
    """Return the stages at RUNGS, from the model of beta = 1e-3 and gamma = 0 that has seen no Hamiltonian."""
    return stage_schedule(p, plans.BETA, seed, RUNGS)


def learned(p: RunPreset, training: LatticeTraining) -> tuple[Guide, dict[str, Any]]:
    """Return the potential learned for the preset's system as a guide, and its errors, both cached in the store.

    The errors are those of :func:`~evae_companion.deepspin.lattice_training.errors` on disturbed configurations of the
    validation set, at the preset's own size. ``torque_error`` is relative to the torques of the labels.
    """
    data = data_spec(p)
    spec = {"kind": "lattice-potential", "version": lattice_training.VERSION, "data": data.spec(),
            "training": training.spec()}

    def make(folder: Path) -> None:
        sets, generator = load_data(data), torch.Generator().manual_seed(training.seed)
        chosen = torch.randperm(len(sets.train), generator=generator)[:training.pieces]
        cut = pieces(disturbed(sets.train[chosen.numpy()], generator), training.side, generator)
        potential = lattice_training.train(label(data.hamiltonian, cut), training)
        tested = disturbed(sets.validation[:TESTED], torch.Generator().manual_seed(SEED))
        result = errors(potential, label(data.hamiltonian, tested))
        write_json(folder / "errors.json", result | {"torque_error": result["torque"] / result["torque_label"]})
        safetensors.torch.save_file(potential.state_dict(), folder / "weights.safetensors")

    folder = Store().get(spec, make)
    potential = LatticeSpin(training.model).double()
    potential.load_state_dict(safetensors.torch.load_file(folder / "weights.safetensors"))
    name = f"what was learned in {training.steps} steps"
    return Guide(potential, data.hamiltonian, spec, name), read_json(folder / "errors.json")


def run(p: RunPreset, device: str = "auto", report: result_cache.Report = print) -> SimpleNamespace:
    """Collapse the E-VAE under learned potentials, and under the explicit Hamiltonian with the same batches and noise.

    This is done for all SEEDS of the E-VAE, with the same potentials. The explicit Hamiltonian measures all energies
    and relaxes all states. Energies are J per spin above the lowest state known.

    Returns
    -------
    best, charge : E/N (J) of that state, and its charge.
    names : "start" (the model before any guidance), the potentials, "explicit".
    gammas : of the stages.
    table : {column: (seeds, names)} with

        * torque_error, energy_error : of the potential, relative and in J per spin; 0 if there is none;
        * mean : energy of the generated states, as decoded;
        * relaxed_mean, relaxed_lowest : energies after the descent;
        * share : of the states that relax to the lowest state known;
        * charge : median of the relaxed states;
        * spread : :func:`kspace_mse` of the generated states divided by that of the data;
        * seconds : of the stages.
    curves : {name: (seeds, gammas)}, the mean energy along the stages, for all names but "start".
    states : {name: (3, N, N)}, the relaxed state of median energy of the first seed, and "lowest known".
    """
    data = data_spec(p)
    best = cached_candidates(data.hamiltonian, data.shape, search_of(p), device)
    trainings = {f"{steps} steps": LatticeTraining(steps=steps) for steps in STEPS[p.name]}
    names, climbers = ["start", *trainings, "explicit"], [*trainings, "explicit"]
    plans = {seed: stages(p, seed) for seed in SEEDS}
    specs = {seed: {"kind": "guided", "version": VERSION, "last": stage_spec(plan[-1], data), "samples": p.samples,
                    "certificate": best.best.energy,
                    "potentials": [lattice_training.VERSION, *(training.spec() for training in trainings.values())]}
             for seed, plan in plans.items()}
    if any(Store().find(spec) is None for spec in specs.values()):
        _climb_all(p, list(plans.values()), trainings, device, report)
    tables, curves, states = [], [], []
    for seed, plan in plans.items():
        def make(folder: Path, plan: list[Stage] = plan) -> None:
            _measure(folder, p, plan, trainings, best.best.energy, device, report)

        folder, _ = result_cache.get(p, specs[seed], make, report)
        arrays = load_arrays(folder / "guided.npz")
        tables.append(load_table(folder / "guided.csv"))
        curves.append(arrays["curves"])
        states.append(dict(zip(names, unpack(arrays["states"]), strict=True)))
    return SimpleNamespace(best=best.best.energy, charge=best.best.charge, names=names, gammas=RUNGS,
                           table={key: np.stack([table[key] for table in tables]) for key in COLUMNS},
                           curves=dict(zip(climbers, np.stack(curves, 1), strict=True)),
                           states=states[0] | {"lowest known": best.spins.float()})


def _climb_all(p: RunPreset, plans: list[list[Stage]], trainings: dict[str, LatticeTraining], device: str,
               report: result_cache.Report) -> None:
    """Train all sweeps in parallel, so that :func:`_measure` finds them in the store."""
    data, guides = data_spec(p), []
    for name, training in trainings.items():
        guide, result = learned(p, training)
        report(f"potential of {name}: torque error {result['torque_error']:.1%}")
        guides.append(guide)
    train_sweeps([[plan[0].parent] if plan[0].parent else [] for plan in plans], data, device=device, report=report)
    train_sweeps([plan for plan in plans for _ in range(len(guides) + 1)], data, device=device, report=report,
                 guides=[*guides, None] * len(plans))


def _measure(folder: Path, p: RunPreset, plan: list[Stage], trainings: dict[str, LatticeTraining], zero: float,
             device: str, report: result_cache.Report) -> None:
    """Write the files of one seed: ``guided.csv``, one row per name, and ``guided.npz``, curves and states."""
    data = data_spec(p)
    of_data = kspace_mse(load_data(data).train[:p.samples])
    start = train_stages([plan[0].parent] if plan[0].parent else [], data, device=device, report=report)
    row, state = _measured(p, start[0], zero, of_data, device)
    rows, curves, states = [row | {"torque_error": 0.0, "energy_error": 0.0, "seconds": 0.0}], [], [state]
    for name in [*trainings, "explicit"]:
        guide, result = learned(p, trainings[name]) if name in trainings else (None, {})
        climbed = train_stages(plan, data, device=device, report=report, guide=guide)
        row, state = _measured(p, climbed[-1], zero, of_data, device)
        rows.append(row | {"torque_error": result.get("torque_error", 0.0), "energy_error": result.get("energy", 0.0),
                           "seconds": sum(trained.measured["seconds"] for trained in climbed)})
        curves.append([*(_mean(p, trained, device) - zero for trained in climbed[:-1]), row["mean"]])
        states.append(state)
    save_table(folder / "guided.csv", {"run": np.array(["start", *trainings, "explicit"])}
               | {key: np.array([row[key] for row in rows]) for key in COLUMNS})
    save_arrays(folder / "guided.npz", {"curves": np.array(curves),
                                        "states": pack(torch.stack(states))})


def arguments(found: SimpleNamespace) -> dict[str, Any]:
    """Return the arguments of :func:`~evae_companion.deepspin.plots.guided_collapse` from the result of :func:`run`."""
    table, inner = found.table, slice(1, -1)
    error = table["torque_error"][0, inner]
    levels = {reference: tuple(float(table[key][:, at].mean()) for key in ("mean", "relaxed_mean", "share"))
              for reference, at in (("explicit Hamiltonian", -1), ("before guidance", 0))}
    titles = dict(zip(found.names[inner], (f"torque error {one:.1%}" for one in error), strict=True))
    shown = [(titles.get(name, name), found.states[name].numpy()) for name in (*found.names[inner], "explicit")]
    return {"error": error, "decoded": table["mean"][:, inner], "relaxed": table["relaxed_mean"][:, inner],
            "share": table["share"][:, inner], "references": levels, "shown": shown}


def _mean(p: RunPreset, trained: TrainedStage, device: str) -> float:
    generated = result_cache.generate(trained.model(device), p.samples, SEED)
    return float(energies(trained.data.hamiltonian, generated).mean())


def _measured(p: RunPreset, trained: TrainedStage, zero: float, of_data: float,
              device: str) -> tuple[dict[str, float], torch.Tensor]:
    """Return a row of the table, and the relaxed state of median energy."""
    H = trained.data.hamiltonian
    generated = result_cache.generate(trained.model(device), p.samples, SEED)
    cold = descended(H, generated, device)
    relaxed = energies(H, cold) - zero
    return {"mean": float(energies(H, generated).mean()) - zero, "relaxed_mean": float(relaxed.mean()),
            "relaxed_lowest": float(relaxed.min()), "share": float((relaxed < SAME).double().mean()),
            "charge": float(np.median([charge(H, state) for state in cold])),
            "spread": kspace_mse(generated) / of_data}, cold[relaxed.argsort()[len(cold) // 2]]
