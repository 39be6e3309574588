"""The same E-VAE trained on helices, merons, stripes and spirals, compared with the lowest states known of them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evae_companion import training_plans as plans
from evae_companion.analysis import Search
from evae_companion.analysis.descent import at_rest
from evae_companion.analysis.luttinger_tisza import lower_bound
from evae_companion.analysis.sample_metrics import pairs
from evae_companion.data_specs import DataSpec
from evae_companion.dataset import load_data
from evae_companion.experiments import result_cache
from evae_companion.experiments.ground_state import cached_candidates
from evae_companion.experiments.ground_state import spec as certified_spec
from evae_companion.experiments.systems import specs, way_to_collapse
from evae_companion.presets import RunPreset
from evae_companion.store.packed_spins import pack, unpack
from evae_companion.store.serialization import load_arrays, read_json, save_arrays, write_json
from evae_companion.sweeps import train_sweeps
from evae_companion.trained import TrainedStage, history_table, stage_spec
from evae_core.annealing import Schedule
from evae_core.losses import energy_per_spin
from evae_core.merons import meron_counts
from evae_core.observables import topological_charge

SEARCH = Search(anneals=64, schedule=Schedule(T_start=1.0, sweeps=240), rounds=1, kicks=16, keep=2)
SMOKE = Search(anneals=4, schedule=Schedule(T_start=1.0, sweeps=30), rounds=0, kicks=0, keep=1)  # for tests
SAME = 1e-6  # J per spin: energies closer than this are equal to the rounding of float32 spins
UNLEARNED = 1.9  # L_RC above which data were not learned; outputs unrelated to the inputs have at most 2


def spec(p: RunPreset) -> dict[str, Any]:
    """Return the cache key of :func:`run`."""
    last = {name: stage_spec(way_to_collapse(p, plans.BETA)[-1], data) for name, data in specs(p).items()}
    searched = {name: certified_spec(data.hamiltonian, data.shape, search_of(p)) for name, data in specs(p).items()}
    return {"kind": "systems", "version": result_cache.VERSION, "last": last, "samples": p.samples,
            "searched": searched}


def search_of(p: RunPreset) -> Search:
    """Return the length of the search for the lowest state of every system."""
    return SMOKE if p.name == "smoke" else SEARCH


def run(p: RunPreset, device: str = "auto", report: result_cache.Report = print) -> SimpleNamespace:
    """Train every system to its collapse and compare the final states with the lowest ones known.

    Returns
    -------
    names : of the systems.
    numbers : {name: dict} with

        * data : energy_min, energy_mean and charge of the training data;
        * bound : lower bound of E/N;
        * best, what : lowest E/N known, and which state has it;
        * candidates : {state: E/N};
        * apart_data, apart : mean distance of a pair of training states, and of generated states;
        * raw, lowest : mean and lowest E/N of generated states;
        * relaxed : E/N of the state of median energy after relaxation;
        * charge : mean of the generated states;
        * merons : {"data", "final": {kind: mean number}}.
    ladder : {name: dict of (stages,) arrays}: gamma, energy (mean E/N of generated states), reconstruction, and
        kspace_mse divided by that of the data.
    states : {name: {row: (spins, E/N)}}, for the figure.
    """
    systems, way = specs(p), way_to_collapse(p, plans.BETA)

    def make(folder: Path) -> None:
        climbed = dict(zip(systems, train_sweeps([way] * len(systems), list(systems.values()), device=device,
                                                 report=report), strict=True))
        numbers, states = {}, []
        for name, data in systems.items():
            numbers[name], shown = _system(p, data, climbed[name], device, report)
            states.append(pack(torch.stack(list(shown.values()))))
        write_json(folder / "systems.json", numbers)
        save_arrays(folder / "systems.npz", {"states": np.stack(states)})

    folder, _ = result_cache.get(p, spec(p), make, report)
    numbers = read_json(folder / "systems.json")
    states = unpack(load_arrays(folder / "systems.npz")["states"])
    ladder = {name: {key: np.array(values) for key, values in entry.pop("ladder").items()}
              for name, entry in numbers.items()}
    return SimpleNamespace(names=list(systems), numbers=numbers, ladder=ladder, states={
        name: {row: (spins, energy) for spins, (row, energy) in zip(of_system, entry["shown"].items(), strict=True)}
        for of_system, (name, entry) in zip(states, numbers.items(), strict=True)})


def _system(p: RunPreset, data: DataSpec, climbed: list[TrainedStage], device: str,
            report: result_cache.Report) -> tuple[dict[str, Any], dict[str, Any]]:
    H, shape, samples = data.hamiltonian, data.shape, p.samples
    train = load_data(data, device=device, report=report).train
    energy, few = train.statistics["energy"], train[:min(samples, len(train))]
    generated = result_cache.generate(climbed[-1].model(device), samples, seed=5)
    raw = H.energy_per_spin(generated.double())
    median = int(raw.argsort()[len(raw) // 2])
    rest, best = at_rest(H, generated[median], device)[0], train[int(energy.argmin())]
    known = cached_candidates(H, shape, search_of(p), device)
    candidates = [(f"{one.kind}: {one.description}", one.energy) for one in known.candidates]
    lowest = at_rest(H, best, device)[0]
    candidates.append(("the lowest training state at rest", float(H.energy_per_spin(lowest))))
    state = lowest if candidates[-1][1] < known.best.energy else known.spins
    candidates.sort(key=lambda one: one[1])
    what, least = candidates[0]
    measured = history_table(climbed)
    shown = {"an annealed state": (train[0], energy[0]), "lowest annealed": (best, energy.min()),
             "E-VAE, median": (generated[median], float(raw[median])),
             "the same at rest": (rest.float(), float(H.energy_per_spin(rest))),
             "lowest known": (state.float(), least)}
    numbers = {
        "data": {"energy_min": energy.min(), "energy_mean": energy.mean(), "charge": train.statistics["charge"].mean()},
        "bound": lower_bound(H, shape), "best": least, "what": what,
        "candidates": dict(candidates[:5]),
        "apart_data": _apart(few), "apart": _apart(generated), "raw": float(raw.mean()), "lowest": float(raw.min()),
        "relaxed": shown["the same at rest"][1], "charge": float(topological_charge(generated).mean()),
        "merons": {"data": _merons(few), "final": _merons(generated)},
        "ladder": {"gamma": measured["gamma"].tolist(), "reconstruction": measured["reconstruction"].tolist(),
                   "energy": energy_per_spin(H, measured["energy_generated"], shape).tolist(),
                   "kspace_mse": (measured["kspace_mse"] / measured["data_kspace_mse"]).tolist()},
        "shown": {row: value for row, (_, value) in shown.items()}}
    return numbers, {row: spins for row, (spins, _) in shown.items()}


def _apart(spins: Tensor) -> float:
    distance = pairs(spins, spins).distance
    return float((distance.sum() - distance.trace()) / (len(spins) * (len(spins) - 1)))


def _merons(spins: Tensor) -> dict[str, float]:
    return {kind: float(count.double().mean()) for kind, count in meron_counts(spins).items()}


def reading(name: str, numbers: dict[str, Any], ladder: dict[str, Any], one_state: float) -> str:
    """Return the outcome of one system as a sentence, from its numbers.

    Generated states count as one state if their k-space MSE is below the share ``one_state`` of that of the data.
    """
    share, gap = ladder["kspace_mse"][-1], numbers["relaxed"] - numbers["best"]
    proof = ("a ground state: it has the energy of the lower bound" if numbers["best"] - numbers["bound"] < SAME else
             f"{numbers['best'] - numbers['bound']:.4f} J above a bound that no state need reach")
    below = numbers["relaxed"] - numbers["data"]["energy_min"]
    clauses = [f"{name}: " + ("one state" if share < one_state else "no collapse")
               + f" at gamma = {ladder['gamma'][-1]:g} (k-space MSE {share:.2g} of the data's)",
               f"E/N = {numbers['raw']:.6f} J as generated, {numbers['relaxed']:.6f} J relaxed",
               f"lowest known {numbers['best']:.6f} J ({numbers['what']}), {proof}",
               "relaxed it is " + ("lower than every other state known to us" if gap < -SAME else
                                   "the lowest state known" if gap < SAME else f"{gap:.2g} J above it") + " and "
               + ("as low as" if abs(below) < SAME else f"{abs(below):.2g} J {'above' if below > 0 else 'below'}")
               + " the lowest training state"]
    if (learned := ladder["reconstruction"][0]) > UNLEARNED:
        clauses.append(f"the data were not learned: L_RC = {learned:.2f} at gamma = 0, 2 for unrelated spins")
    return "; ".join(clauses)
