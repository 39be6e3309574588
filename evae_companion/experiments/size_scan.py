"""The lowest known states of open squares and wires of many sizes, and the states that a collapsed E-VAE finds."""

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
from evae_companion.experiments.ground_state import VERSION, best_stage, cached_candidates, search_of
from evae_companion.presets import RunPreset
from evae_companion.store.packed_spins import pack, unpack
from evae_companion.store.serialization import load_arrays, read_json, save_arrays, write_json
from evae_companion.store.store import Store
from evae_companion.sweeps import train_sweeps
from evae_companion.trained import TrainedStage, stage_spec
from evae_core.observables import skyrmion_centres
from evae_core.textures import helix_period
from evae_core.training.stages import confined_stages

SAME = 1e-6  # E/N, J: E-VAE and search agree if their energies are closer than this


@dataclass(frozen=True, eq=False)
class Sample:
    """One open sample: its lowest known state and, if an E-VAE was trained on it, the state that it finds.

    Attributes
    ----------
    kind, shape : "square" or "wire", and (Ny, Nx).
    size : side of a square or width of a wire, in skyrmion spacings of the bulk.
    energy, charge, skyrmions, torque, spins : of the lowest state; E/N and torque in J.
    origin : kind of try that found the lowest state first.
    runner_up : E/N (J) of the next candidate above it.
    annealed : share of annealings that relaxed to the lowest state.
    raw, relaxed : lowest E/N (J) of the states that the E-VAE generates, as generated and after relaxation.
    relaxed_skyrmions, state : of the lowest relaxed state.

    The last four are None if no E-VAE was trained.
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
        """Whether the relaxed state of the E-VAE is as low as that of the search; None without an E-VAE."""
        return None if self.relaxed is None else abs(self.relaxed - self.energy) < SAME


def spacing(p: RunPreset, device: str = "auto", report: result_cache.Report | None = None) -> float:
    """Return the distance of neighbouring skyrmions (sites) at their density in the lowest state of the periodic box.

    If that state holds no skyrmion, it is the helix period.
    """
    data = data_spec(p)
    best = cached_candidates(data.hamiltonian, data.shape, search_of(p), device, report).best
    count = abs(round(best.charge))
    if count == 0:
        return helix_period(data.hamiltonian)
    return math.sqrt(2 / math.sqrt(3) * data.hamiltonian.sites(data.shape) / count)


def shapes(p: RunPreset, unit: float) -> list[tuple[str, tuple[int, int]]]:
    """Return (kind, shape) of every sample, squares first, by size; wires have the length of the preset's wire."""
    length = p.confined[-1][1]
    squares = {(round(s * unit),) * 2 for s in p.strip_squares}
    wires = {(round(w * unit), length) for w in p.strip_wires}
    for shape in (*p.confined, *p.strip_trained):
        (squares if shape[0] == shape[1] else wires).add(shape)
    return [("square", s) for s in sorted(squares)] + [("wire", s) for s in sorted(wires)]


def run(p: RunPreset, device: str = "auto", report: result_cache.Report = print) -> list[Sample]:
    """Search the lowest states of a preset's samples, and compare them with the E-VAE where one is trained."""
    unit, search = spacing(p, device), search_of(p, periodic=False)
    trained = [*p.confined, *p.strip_trained]
    ladders = [confined_stages(p, plans.BETA)] * len(trained)
    climbed = train_sweeps(ladders, [confined_spec(p, shape) for shape in trained], device=device, report=report)
    by_shape = dict(zip(trained, climbed, strict=True))
    samples = []
    for kind, shape in shapes(p, unit):
        H = confined_spec(p, shape).hamiltonian
        known = cached_candidates(H, shape, search, device)
        best = known.best
        network = {}
        if shape in by_shape:
            network = _network(p, confined_spec(p, shape), by_shape[shape], device)
        sample = Sample(
            kind, shape, shape[0] / unit, best.energy, best.charge, len(skyrmion_centres(known.spins, periodic=False)),
            best.torque, best.kind, known.candidates[1].energy if len(known.candidates) > 1 else math.nan,
            best.origins.get("annealed", 0) / known.tries["annealed"], known.spins.float(), **network)
        samples.append(sample)
        report(f"{kind} {shape[0]} x {shape[1]}: {sample.skyrmions} skyrmions, {best.energy:.6f} J"
               + ("" if sample.relaxed is None else f"; E-VAE relaxed {sample.relaxed - best.energy:+.1e} J"))
    return samples


def _network(p: RunPreset, data: DataSpec, stages: list[TrainedStage], device: str) -> dict[str, Any]:
    """Return the fields of a :class:`Sample` that the E-VAE gives, from the stage with the lowest generated energy."""
    trained, H = best_stage(stages), data.hamiltonian

    def make(folder: Path) -> None:
        generated = result_cache.generate(trained.model(device), p.samples, seed=6)
        cold = descended(H, generated, device)
        rest, torque = at_rest(H, cold[energies(H, cold).argmin()], device)
        write_json(folder / "confined.json", {
            "raw": float(energies(H, generated).min()), "relaxed": float(energies(H, rest)), "torque": torque,
            "relaxed_skyrmions": len(skyrmion_centres(rest, periodic=False))})
        save_arrays(folder / "confined_state.npy", pack(rest.float()))

    folder = Store().get({"kind": "confined", "version": VERSION, "stage": stage_spec(trained.stage, data),
                          "samples": p.samples}, make)
    numbers = read_json(folder / "confined.json")
    state = unpack(np.asarray(load_arrays(folder / "confined_state.npy")))
    return {key: numbers[key] for key in ("raw", "relaxed", "relaxed_skyrmions")} | {"state": torch.as_tensor(state)}
