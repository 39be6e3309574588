"""Open squares and wires against their size: the lowest state known, and what a collapsed E-VAE finds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evae_companion import training_plans as plans
from evae_companion.analysis.descent import at_rest, descended, energies
from evae_companion.data_specs import DataSpec, confined_spec, data_spec
from evae_companion.experiments import result_cache
from evae_companion.experiments.ground_state import VERSION, best_stage, certified, search_of
from evae_companion.store.serialization import load_arrays, read_json, save_arrays, write_json
from evae_companion.store.store import Store
from evae_companion.sweeps import train_sweeps
from evae_companion.trained import TrainedStage, stage_spec
from evae_core.observables import skyrmion_centres
from evae_core.presets import Preset
from evae_core.textures import helix_period
from evae_core.training.stages import confined_stages

SAME = 1e-6  # E/N, J: E-VAE and search agree


@dataclass(frozen=True, eq=False)
class Sample:
    """One open sample. Energies E/N in J; ``size`` is a square's side or a wire's width in the bulk's spacings.

    ``origin`` names the kind of try that found the lowest state first, ``runner_up`` is the next candidate above it,
    ``annealed`` the share of annealings that came down to the lowest. The E-VAE's numbers and state, relaxed to rest,
    are None where none was trained: ``raw``, the lowest of its generated states, and ``relaxed``, the lowest after
    relaxation, with its ``relaxed_skyrmions``.
    """

    kind: str
    shape: tuple[int, int]
    size: float
    energy: float
    charge: float
    skyrmions: int
    torque: float
    origin: str
    runner_up: float
    annealed: float
    spins: Tensor
    raw: float | None = None
    relaxed: float | None = None
    relaxed_skyrmions: int | None = None
    state: Tensor | None = None

    @property
    def agrees(self) -> bool | None:
        """Whether the E-VAE's relaxed state is as low as the search's; None where there is no E-VAE."""
        return None if self.relaxed is None else abs(self.relaxed - self.energy) < SAME


def spacing(p: Preset, device: str = "auto", report: result_cache.Report | None = None) -> float:
    """Distance of neighbouring skyrmions, in sites, at the density of the lowest state known of the periodic box.

    The helix period where that state holds none.
    """
    data = data_spec(p)
    best = certified(data.hamiltonian, data.shape, search_of(p), device, report).best
    count = abs(round(best.charge))
    if count == 0:
        return helix_period(data.hamiltonian)
    return math.sqrt(2 / math.sqrt(3) * data.hamiltonian.sites(data.shape) / count)


def shapes(p: Preset, unit: float) -> list[tuple[str, tuple[int, int]]]:
    """(kind, shape) of every sample, squares first, by size; wires have the length of the preset's wire."""
    length = p.confined[-1][1]
    squares = {(round(s * unit),) * 2 for s in p.strip_squares}
    wires = {(round(w * unit), length) for w in p.strip_wires}
    for shape in (*p.confined, *p.strip_trained):
        (squares if shape[0] == shape[1] else wires).add(shape)
    return [("square", s) for s in sorted(squares)] + [("wire", s) for s in sorted(wires)]


def run(p: Preset, device: str = "auto", report: result_cache.Report = print) -> list[Sample]:
    """The samples of a preset, searched, and those with an E-VAE compared with it."""
    unit, search = spacing(p, device), search_of(p, periodic=False)
    trained = [*p.confined, *p.strip_trained]
    ladders = [confined_stages(p, plans.BETA)] * len(trained)
    climbed = train_sweeps(ladders, [confined_spec(p, shape) for shape in trained], device=device, report=report)
    by_shape = dict(zip(trained, climbed, strict=True))
    found = []
    for kind, shape in shapes(p, unit):
        H = confined_spec(p, shape).hamiltonian
        known = certified(H, shape, search, device)
        best = known.best
        network = {}
        if shape in by_shape:
            network = _network(p, confined_spec(p, shape), by_shape[shape], device)
        sample = Sample(
            kind, shape, shape[0] / unit, best.energy, best.charge, len(skyrmion_centres(known.spins, periodic=False)),
            best.torque, best.kind, known.candidates[1].energy if len(known.candidates) > 1 else math.nan,
            best.origins.get("annealed", 0) / known.tries["annealed"], known.spins.float(), **network)
        found.append(sample)
        report(f"{kind} {shape[0]} x {shape[1]}: {sample.skyrmions} skyrmions, {best.energy:.6f} J"
               + ("" if sample.relaxed is None else f"; E-VAE relaxed {sample.relaxed - best.energy:+.1e} J"))
    return found


def _network(p: Preset, data: DataSpec, stages: list[TrainedStage], device: str) -> dict[str, Any]:
    """The E-VAE's part of a :class:`Sample`, from the stage with the lowest generated energy."""
    trained, H = best_stage(stages), data.hamiltonian

    def make(folder: Path) -> None:
        generated = result_cache.generate(trained.model(device), p.samples, seed=6)
        cold = descended(H, generated, device)
        rest, torque = at_rest(H, cold[energies(H, cold).argmin()], device)
        write_json(folder / "confined.json", {
            "raw": float(energies(H, generated).min()), "relaxed": float(energies(H, rest)), "torque": torque,
            "relaxed_skyrmions": len(skyrmion_centres(rest, periodic=False))})
        save_arrays(folder / "confined_state.npy", result_cache.as_half(rest.float()))

    folder = Store().get({"kind": "confined", "version": VERSION, "stage": stage_spec(trained.stage, data),
                          "samples": p.samples}, make)
    numbers = read_json(folder / "confined.json")
    state = result_cache.as_spins(np.asarray(load_arrays(folder / "confined_state.npy")))
    return {key: numbers[key] for key in ("raw", "relaxed", "relaxed_skyrmions")} | {"state": torch.as_tensor(state)}
