"""The lowest known states of a preset's systems, and the energy gap between them and the collapsed E-VAE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from evae_companion import published
from evae_companion import training_plans as plans
from evae_companion.analysis.descent import at_rest, descended, energies
from evae_companion.analysis.ground_state_search import (
    Candidate,
    GroundStateCandidates,
    Search,
    ground_state_candidates,
)
from evae_companion.data_specs import data_spec
from evae_companion.dataset import load_data
from evae_companion.experiments import result_cache
from evae_companion.presets import RunPreset
from evae_companion.store.packed_spins import pack, unpack
from evae_companion.store.serialization import load_arrays, read_json, save_arrays, write_json
from evae_companion.store.store import Store
from evae_companion.sweeps import train_sweeps
from evae_companion.trained import TrainedStage, stage_spec
from evae_core.annealing import ALGORITHM, Schedule
from evae_core.hamiltonian import Hamiltonian

VERSION = 1  # raise when a change of the search changes its results
STATE = "certificate_state.npy"
SEED = 1000  # of the searches: far from those of the data sets, which begin at 0
SAME = 1e-6  # E/N, J: a state this close to the best candidate counts as that state


def search_of(p: RunPreset, periodic: bool = True) -> Search:
    """Return the length of the search in a preset's periodic box, or in one of its many open samples."""
    schedule = Schedule(T_start=1.0, sweeps=p.search_sweeps)
    if periodic:
        return Search(p.search_anneals, schedule, p.search_rounds, p.search_kicks, keep=p.search_keep,
                      seed=SEED)
    return Search(p.strip_anneals, schedule, p.strip_rounds, p.search_kicks, keep=max(1, p.search_keep // 2),
                  seed=SEED)


def spec(H: Hamiltonian, shape: Sequence[int], search: Search) -> dict[str, Any]:
    """Return the cache key of :func:`cached_candidates`."""
    return {"kind": "certificate", "version": VERSION, "annealer": ALGORITHM, "hamiltonian": H.spec(),
            "shape": list(shape), "search": search.spec()}


def cached_candidates(H: Hamiltonian, shape: Sequence[int], search: Search, device: str = "auto",
                      report: result_cache.Report | None = None) -> GroundStateCandidates:
    """Return :func:`~evae_companion.analysis.ground_state_search.ground_state_candidates`, cached in the store."""
    def make(folder: Path) -> None:
        result = ground_state_candidates(H, shape, search, device, report)
        write_json(folder / "certificate.json", {"candidates": [asdict(c) for c in result.candidates],
                                                 "tries": result.tries})
        save_arrays(folder / STATE, result.spins.numpy())

    return _load(H, Store().get(spec(H, shape, search), make))


def _load(H: Hamiltonian, folder: Path) -> GroundStateCandidates:
    table, state = read_json(folder / "certificate.json"), load_arrays(folder / STATE)
    return GroundStateCandidates(H, [Candidate(**row) for row in table["candidates"]],
                                 unpack(state) if state.dtype == np.uint16 else torch.from_numpy(state), table["tries"])


def known_best(p: RunPreset) -> tuple[GroundStateCandidates, str] | None:
    """Return the published search of a preset's periodic box (data/known) and a line about it, or None without one.

    The search may have had another length or used older code: the line names its date and versions.

    Raises
    ------
    ValueError
        the published search is of another system.
    """
    result = published.known_search(p.name)
    if result is None:
        return None
    folder, entry = result
    known = _load(data_spec(p).hamiltonian, folder)
    if entry["spec"]["hamiltonian"] != known.H.spec() or entry["spec"]["shape"] != [p.size, p.size]:
        raise ValueError(f"the record {folder} is of another system than preset {p.name}; "
                         f"run evae search --preset {p.name}")
    return known, (f"RECORDED, not computed here: {entry['created'][:10]}, {entry['wall_seconds']:.0f} s with torch "
                   f"{entry['versions']['torch']}, evae search --preset {p.name}")


def best_stage(climbed: list[TrainedStage]) -> TrainedStage:
    """Return the stage whose generated states have the lowest mean energy.

    It need not be the last: training can throw a collapsed network out of its state.
    """
    return min(climbed, key=lambda trained: trained.measured["generated"]["energy"])


def gaps(p: RunPreset, device: str = "auto", report: result_cache.Report = print) -> SimpleNamespace:
    """Measure how far the states that the collapsed networks generate lie above the best candidate of the periodic box.

    Energies are E/N in J above that candidate.

    Returns
    -------
    candidates : the search in the periodic box.
    rows : one dict per training and stage (its last, and its best: :func:`best_stage`) with

        * run, stage, gamma;
        * mean, lowest : of the generated states, as decoded;
        * relaxed_mean, relaxed_lowest : the same after the descent, the lowest to a torque below 1e-6 J;
        * torque (J), charge : of that lowest state;
        * share : of the states that relax to within 1e-6 J of the best candidate;
        * samples : number of generated states.
    data_share : share of the first training's states that already are that candidate.
    state : {run: (3, N, N)}, the lowest relaxed state of the best stage.
    """
    data, ladders = data_spec(p), plans.collapsing(p)
    H, shape = data.hamiltonian, data.shape
    known = cached_candidates(H, shape, search_of(p), device, report)

    def make(folder: Path) -> None:
        climbed = train_sweeps([run for run, _ in ladders.values()], [of for _, of in ladders.values()], device=device,
                               report=report)
        rows, states = [], []
        for run, stages in zip(ladders, climbed, strict=True):
            for name, trained in (("last", stages[-1]), ("best", best_stage(stages))):
                generated = result_cache.generate(trained.model(device), p.samples, seed=5)
                raw = energies(H, generated)
                cold = descended(H, generated, device)
                relaxed = energies(H, cold)
                rest, torque = at_rest(H, cold[relaxed.argmin()], device)
                gap = known.gap(rest)
                zero = known.best.energy
                rows.append({"run": run, "stage": name, "gamma": trained.stage.gamma, "mean": float(raw.mean()) - zero,
                             "lowest": float(raw.min()) - zero, "relaxed_mean": float(relaxed.mean()) - zero,
                             "relaxed_lowest": gap.raw, "torque": torque, "charge": gap.charge,
                             "share": float((relaxed < zero + SAME).double().mean()), "samples": p.samples})
            states.append(rest.float())
        energy = load_data(data, device=device, report=report).train.statistics["energy"]
        write_json(folder / "gaps.json", {"rows": rows,
                                          "data_share": float((energy < known.best.energy + SAME).mean())})
        save_arrays(folder / "gaps_states.npy", pack(torch.stack(states)))

    last = [stage_spec(stages[-1], of) for stages, of in ladders.values()]
    folder = Store().get({"kind": "gaps", "version": VERSION, "last": last, "samples": p.samples,
                          "certificate": spec(H, shape, search_of(p))}, make)
    states = unpack(np.asarray(load_arrays(folder / "gaps_states.npy")))
    return SimpleNamespace(candidates=known, **read_json(folder / "gaps.json"),
                           state=dict(zip(ladders, states, strict=True)))
