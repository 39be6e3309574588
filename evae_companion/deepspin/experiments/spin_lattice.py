"""Learned against explicit spin-lattice Hamiltonian, for notebook 12: learning curve, spectra and magnetisation.

Frames, trainings, spectra and magnetisations are separate artifacts of the store, so that a killed run can continue.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from evae_companion import places
from evae_companion.deepspin import magnet
from evae_companion.deepspin.data import Frames, read_deepmd, write_deepmd
from evae_companion.deepspin.model import ModelSpec
from evae_companion.deepspin.potential import Potential, evaluate
from evae_companion.deepspin.reference import SpinLattice
from evae_companion.deepspin.spectra import linear_modes, magnetisation, peaks, spectra, thermally_displaced
from evae_companion.deepspin.training import Trained, TrainSpec, artifact, train
from evae_companion.experiments.result_cache import Report, run_jobs
from evae_companion.presets import RunPreset
from evae_companion.store.serialization import load_arrays, save_arrays
from evae_companion.store.store import Store

HELD_OUT = 12  # frames of NiO that are not trained on
NICKEL = 0.4 / 1.2737  # angstrom/mu_B: puts virtual atoms 0.4 angstrom from theirs
# Loss weights for the magnet, whose magnetic forces (eV/mu_B) are in numbers a twentieth of its forces (eV/angstrom).
FORCE_MAG = 5e5, 500.0
FILES = {"deepspin-magnetisation": "magnetisation.npy", "deepspin-spectra": "spectra.npz"}
VERSION = 1  # raise when what is computed changes: older results are then computed again


@dataclass(frozen=True)
class Size:
    """Every number of notebook 12 at one preset."""

    temperatures: tuple[float, ...]  # K, of the dynamics from which labelled frames are taken
    each: int  # training frames per temperature
    validation: int  # validation frames per temperature
    counts: tuple[int, ...]  # numbers of frames of the trainings, a random choice of all
    steps: int  # of every training after the linear fit; 0 if that fit suffices
    crystal: tuple[int, int, int]  # size of the crystal whose spectra are computed, in cubes of four atoms
    motion: int  # time steps of the spectra
    step: float  # ps; hardly trained networks have huge fields and need short steps
    block: tuple[int, int, int]  # size of the crystal that is heated, in the same cubes
    heated: tuple[float, ...]  # K
    settle: int  # time steps to settle at each temperature
    measure: int  # time steps averaged over
    nio_frames: int  # training frames of NiO
    nio_steps: int  # training steps for NiO


SIZES = {
    "smoke": Size((50.0, 200.0), 3, 1, (2, 6), 20, (2, 1, 1), 60, 5e-4, (1, 1, 1), (50.0, 200.0), 4, 12, 2, 5),
    "laptop": Size((20.0, 60.0, 100.0, 150.0, 200.0, 280.0), 10, 4, (4, 15, 60), 0, (6, 2, 2), 800, 4e-3,
                   (3, 3, 3), (20.0, 70.0, 120.0, 160.0, 200.0, 260.0), 100, 240, 48, 0),
    "paper": Size((20.0, 60.0, 100.0, 150.0, 200.0, 280.0), 40, 16, (4, 15, 60, 240), 12_000, (12, 3, 3), 4000, 4e-3,
                  (6, 6, 6), (20.0, 60.0, 100.0, 130.0, 150.0, 170.0, 190.0, 210.0, 250.0, 300.0), 1000, 4000, 48,
                  40_000),
}
SIZES["desktop"] = SIZES["laptop"]  # the magnet does not grow with the lattice of the other notebooks


def labels(p: RunPreset) -> tuple[Frames, Frames]:
    """Return training and validation frames, 32 atoms each, from the dynamics of the magnet at several temperatures."""
    size, frames = SIZES[p.name], []
    for seed, each in ((0, size.each), (1, size.validation)):
        def make(folder: Path, seed: int = seed, each: int = each) -> None:
            write_deepmd(magnet.thermal_frames(size.temperatures, each, seed=seed), folder / "frames")
        folder = Store().get({"kind": "deepspin-frames", "version": VERSION, "engine": _plain(magnet.ENGINE),
                              "temperatures": list(size.temperatures), "each": each, "seed": seed}, make)
        frames.append(read_deepmd(folder / "frames"))
    return frames[0], frames[1]


def learning(p: RunPreset, device: str = "cpu", report: Report = print) -> dict[int, Trained]:
    """Train on ``counts`` of the frames; return {number of frames: training}, the largest number last."""
    size = SIZES[p.name]
    frames, validation = labels(p)
    order = np.random.default_rng(0).permutation(len(frames)).tolist()
    spec = TrainSpec(steps=size.steps, segments=1, force_mag=FORCE_MAG)
    shown = {count: frames[order[:count]] for count in size.counts}
    missing = [few for few in reversed(shown.values())  # longest job first
               if Store().find(artifact(few, validation, magnet.MODEL, spec)) is None]
    run_jobs(p, [partial(_learned, few, validation, spec, device) for few in missing], report)
    return {count: _learned(few, validation, spec, device, report) for count, few in shown.items()}


def _learned(frames: Frames, validation: Frames, spec: TrainSpec, device: str, report: Report) -> Trained:
    return train(frames, validation, magnet.MODEL, spec, device=device,
                 report=lambda line: report(f"{len(frames)} frames, {line}"))


def compared(trained: Trained, frames: Frames) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return {quantity: (labels, predictions)} of frames that have labels.

    Returns
    -------
    energy : meV per atom, relative to the mean of the labels.
    force, force_mag : components; force_mag of magnetic atoms only.
    """
    energies, forces, force_mags = frames.energies, frames.forces, frames.force_mags
    if energies is None or forces is None or force_mags is None:
        raise ValueError("frames must have energies, forces and force_mags to compare with")
    ours, magnetic = evaluate(trained.model(), frames), torch.isin(frames.types, torch.tensor(frames.magnetic_types()))

    def milli(x: torch.Tensor) -> np.ndarray:
        return 1e3 * (x - energies.mean()).numpy() / frames.atoms

    return {"energy": (milli(energies), milli(ours.energies)),
            "force": (forces.numpy().ravel(), ours.forces.numpy().ravel()),
            "force_mag": (force_mags[:, magnetic].numpy().ravel(), ours.force_mags[:, magnetic].numpy().ravel())}


def moved(frames: Frames, **changes: Any) -> Frames:
    """Return the same atoms with other cells, positions or moments, without labels, which would be wrong."""
    return Frames(frames.names, frames.types, **({"cells": frames.cells, "positions": frames.positions,
                                                  "spins": frames.spins} | changes))


def sharp(engine: SpinLattice) -> SpinLattice:
    """Return the same Hamiltonian with a sharp cutoff, as in LAMMPS."""
    return replace(engine, smooth_from=engine.cutoff)


def free_moments(atoms: int) -> float:
    """Return the mean |sum S|/sum |S| of N = ``atoms`` free moments of one length: sqrt(8/(3 pi N)), for large N."""
    return float(np.sqrt(8 / (3 * np.pi * atoms)))


def motion(p: RunPreset, trained: Trained, report: Report = print) -> dict[str, SimpleNamespace]:
    """Run the dynamics of the explicit magnet and of the learned potential.

    Returns
    -------
    {"reference", "learned": namespace} with

    parts : (Q,), fractions of the path from Gamma to X.
    linear_phonons, linear_magnons : (Q, 3) and (Q,), THz, of the linearised dynamics.
    phonons, magnons : (Q, 3) and (Q,), THz, peaks of the spectra.
    frequencies, moments, velocities : (W,), (Q, W) and (Q, 3, W), spectra at 5 K.
    times, drift : (steps,), ps, and the change of the total energy since the start, eV per atom.
    kinetic : eV per atom.
    temperatures, magnetisation : (T,), K, and (T, 2), mean and standard error.
    """
    size = SIZES[p.name]
    potentials: dict[str, tuple[Potential, Any]] = {"reference": (magnet.ENGINE, _plain(magnet.ENGINE)),
                                                    "learned": (trained.model(), trained.folder.name)}
    specs = {(kind, name): {"kind": kind, "version": VERSION, "potential": potentials[name][1], "step": size.step} | of
             for name in ("learned", "reference")  # longest job first
             for kind, of in (("deepspin-magnetisation", {
                 "crystal": list(size.block), "steps": [size.settle, size.measure], "temperatures": list(size.heated)}),
                 ("deepspin-spectra", {"crystal": list(size.crystal), "steps": size.motion}))}
    jobs = {key: partial(_moved, spec, potentials[key[1]][0], size) for key, spec in specs.items()}
    run_jobs(p, [jobs[key] for key, spec in specs.items() if Store().find(spec) is None], report)
    result = {}
    for name in potentials:
        curve, arrays = (load_arrays(jobs[kind, name](report=report) / file) for kind, file in FILES.items())
        result[name] = SimpleNamespace(**arrays, temperatures=np.array(size.heated), magnetisation=curve)
    return result


def _moved(spec: dict[str, Any], potential: Potential, size: Size, report: Report) -> Path:
    """Return the artifact of one simulation, and run it if it is missing."""
    def make(folder: Path) -> None:
        if spec["kind"] == "deepspin-spectra":
            save_arrays(folder / FILES[spec["kind"]], _spectra(potential, size))
        else:
            save_arrays(folder / FILES[spec["kind"]], magnetisation(
                potential, magnet.crystal(size.block), size.heated, size.step, size.settle, size.measure,
                tolerance=1e-4))
        report(f"{spec['kind'].removeprefix('deepspin-')} of {type(potential).__name__}: done")

    return Store().get(spec, make)


def nio(p: RunPreset, folder: Path, device: str = "cpu", report: Report = print) -> SimpleNamespace | None:
    """Train shortly on first-principles frames of NiO; return None if ``folder`` does not hold them.

    Returns
    -------
    trained : the training.
    frames, held_out : training and test frames, split as in benchmarks/deepspin_nio.py.
    """
    if not (folder / "type.raw").is_file():
        return None
    frames = read_deepmd(folder)
    order = np.random.default_rng(0).permutation(len(frames)).tolist()
    size = SIZES[p.name]
    training, held_out = frames[order[:-HELD_OUT][:size.nio_frames]], frames[order[-HELD_OUT:]]
    spec = ModelSpec(frames.names, tuple(NICKEL if name == "Ni" else 0.0 for name in frames.names))
    trained = train(training, held_out, spec, TrainSpec(steps=size.nio_steps, segments=1), device=device,
                    report=report)
    return SimpleNamespace(trained=trained, frames=training, held_out=held_out)


def recorded_tables() -> str:
    """Return the tables of benchmarks/DEEPSPIN.md with their headings, or a line that says there are none."""
    file = places.need_repository("the recorded tables") / "benchmarks" / "DEEPSPIN.md"
    if not file.is_file():
        return "*Nothing is recorded: benchmarks/DEEPSPIN.md is missing.*"
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.startswith(("|", "#")) or not line]
    return "\n".join("#" * 3 + line.lstrip("#") if line.startswith("#") else line for line in lines)


def _spectra(potential: Potential, size: Size) -> dict[str, np.ndarray]:
    """Return the arrays of :func:`motion` that belong to the spectra."""
    state, (parts, q) = magnet.crystal(size.crystal), magnet.path(size.crystal)
    linear = linear_modes(potential, state, q)
    start = thermally_displaced(state, 5.0, 0.05, torch.Generator().manual_seed(0))
    dt, atoms = size.step, state.frames.atoms
    result = spectra(potential, start, q, dt, size.motion, sites=state.frames.positions[0], tolerance=1e-6, skin=0.3)
    return {"parts": parts, "linear_phonons": linear.phonons, "linear_magnons": linear.magnons,
            "phonons": np.sort(peaks(result.frequencies, result.velocities)),
            "magnons": peaks(result.frequencies, result.moments), "frequencies": result.frequencies,
            "moments": result.moments, "velocities": result.velocities, "times": dt * np.arange(1, size.motion + 1),
            "drift": (result.energies - result.energies[0]) / atoms, "kinetic": np.array(start.kinetic / atoms)}


def _plain(engine: Any) -> dict[str, Any]:
    """Return the numbers of an engine as plain JSON values for a spec."""
    return {key: [list(row) if isinstance(row, tuple) else row for row in value] if isinstance(value, tuple) else value
            for key, value in engine.spec().items()}
