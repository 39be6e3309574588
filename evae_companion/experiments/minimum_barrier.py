"""The minimum-energy path from the lattice with an interstitial skyrmion to the lattice, beside the latent walks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from evae_companion.analysis import lowest_modes, saddle_point
from evae_companion.analysis.descent import charge
from evae_companion.analysis.saddle_point import at_rest
from evae_companion.data_specs import data_spec
from evae_companion.experiments import result_cache
from evae_companion.presets import RunPreset
from evae_companion.store.packed_spins import pack, unpack
from evae_companion.store.serialization import load_arrays, load_table, read_json, save_arrays, save_table, write_json
from evae_core.annealing import lbfgs_refine
from evae_core.hamiltonian import Hamiltonian
from evae_core.observables import skyrmion_centres

VERSION = 2  # raise when what is computed changes
IMAGES = 41
SHOWN = 5  # states of the path that are kept: the ends, the saddle, and one between on either side
MODES = 3
WAYS = ("merger", "collapse")
KICK = 0.5  # rad along a mode that leads down from a state at rest


def spec(p: RunPreset) -> dict[str, Any]:
    """Return the cache key of :func:`run`."""
    return result_cache.system("minimum_barrier", data_spec(p)) | {"barrier_version": VERSION, "images": IMAGES}


def run(p: RunPreset, report: result_cache.Report = print) -> SimpleNamespace:
    """Find the saddle points by which the interstitial skyrmion merges with a neighbour, and by which it collapses.

    Returns
    -------
    energy : {"interstitial", "lattice"}: of the two textures at rest, J of the whole sample.
    modes : of the same, their lowest eigenvalues, J.
    ways : {name of WAYS: namespace}, only those found, the lowest barrier first: energies (J above the lattice) and
        distances (rad) along the path; charges of its two ends; modes (the lowest eigenvalues at the saddle, J),
        torque there (J), there and back (barriers above the interstitial and the lattice, J), ends (energies of the
        minima below the two ends of the path above those of the two textures, J per spin) and states (SHOWN, 3, N, N).
    missing : {name: why}, of the others.
    sites : the number of magnetic ones.
    """
    data = data_spec(p)
    H = data.hamiltonian

    def make(folder: Path) -> None:
        lattice, start = (lbfgs_refine(H, spins)[0] for spins in result_cache.interstitial(data))
        low, high = float(H.energy(lattice)), float(H.energy(start))
        numbers: dict[str, Any] = {
            "energy": {"interstitial": high, "lattice": low}, "ways": {}, "missing": {}, "sites": H.sites(data.shape),
            "modes": {name: lowest_modes(H, spins, MODES).eigenvalues.tolist()
                      for name, spins in (("interstitial", start), ("lattice", lattice))}}
        table: dict[str, np.ndarray] = {}
        states: dict[str, np.ndarray] = {}
        for name, towards in first_turns(H, start).items():
            try:
                found = saddle_point(H, start, towards, IMAGES, MODES, partial(_told, report, name))
                ends = [minimum_below(H, spins) for spins in found.ends]
            except RuntimeError as error:
                numbers["missing"][name] = str(error)
                continue
            top = float(found.energies[found.saddle])
            numbers["ways"][name] = {
                "modes": found.modes.eigenvalues.tolist(), "torque": found.torque, "there": top - high,
                "back": top - low, "charges": [charge(H, spins) for spins in ends],
                "ends": [(float(H.energy(spins)) - energy) / numbers["sites"]
                         for spins, energy in zip(ends, (high, low), strict=True)]}
            table |= {f"E (J), {name}": (found.energies - low).numpy(),
                      f"distance (rad), {name}": found.distances.numpy()}
            last = len(found.path) - 1
            shown = [0, found.saddle // 2, found.saddle, (found.saddle + last) // 2, last]
            states[name] = pack(found.path[shown])
        write_json(folder / "barrier.json", numbers)
        save_table(folder / "barrier.csv", {"image": np.arange(IMAGES), **table})
        save_arrays(folder / "barrier_states.npz", {"lattice": pack(lattice), **states})

    folder, _ = result_cache.get(p, spec(p), make, report)
    numbers, table = read_json(folder / "barrier.json"), load_table(folder / "barrier.csv")
    states = load_arrays(folder / "barrier_states.npz")
    ways = {name: SimpleNamespace(**way, energies=table[f"E (J), {name}"], distances=table[f"distance (rad), {name}"],
                                  states=unpack(states[name]))
            for name, way in sorted(numbers.pop("ways").items(), key=lambda item: item[1]["there"])}
    return SimpleNamespace(**numbers, ways=ways)


def _told(report: result_cache.Report, name: str, line: str) -> None:
    report(f"{name}: {line}")


def first_turns(H: Hamiltonian, start: Tensor) -> dict[str, Tensor]:
    """Return what the first turn from the interstitial state leads to, by the nearest two skyrmions.

    The spins between their centres are turned against the field: the two merge. Or those of one of them are turned
    along it: it is gone.
    """
    sign = 1.0 if H.B >= 0 else -1.0
    centres = torch.as_tensor(skyrmion_centres(sign * start)).double()
    if len(centres) < 2:
        raise RuntimeError(f"the interstitial state must have at least two skyrmions, got {len(centres)}")
    size = torch.tensor([start.shape[-1], start.shape[-2]]).double()
    apart = (centres[:, None] - centres + size / 2) % size - size / 2
    length = apart.norm(dim=-1).fill_diagonal_(torch.inf)
    one, other = divmod(int(length.argmin()), len(centres))
    ys, xs = torch.meshgrid(*(torch.arange(n).double() for n in start.shape[-2:]), indexing="ij")
    away = (torch.stack((xs, ys), -1) - centres[one] + size / 2) % size - size / 2
    between = apart[other, one]
    share = ((away @ between) / between.square().sum()).clamp(0, 1)
    up, near = sign * start.new_tensor([0.0, 0.0, 1.0])[:, None, None], float(length.min())
    bar = (away - share[..., None] * between).norm(dim=-1) < near / 5
    disc = away.norm(dim=-1) < near / 2
    return {"merger": torch.where(bar, -up, start), "collapse": torch.where(disc, up, start)}


def minimum_below(H: Hamiltonian, spins: Tensor) -> Tensor:
    """Return a local minimum below a state at rest, which may be a saddle where the texture can glide."""
    for _ in range(5):
        modes = lowest_modes(H, spins, 1)
        if not modes.negative():
            return spins
        spins = at_rest(H, normalize(spins + KICK * modes.vectors[0], dim=0))
    raise RuntimeError("no minimum within five steps down from a state at rest")


def over_walks(result: SimpleNamespace, profiles: Mapping[float, Any]) -> dict[float, dict[str, float]]:
    """Return how far the top of every latent walk passes above the lowest saddle.

    Parameters
    ----------
    result : of :func:`run`.
    profiles : {gamma: E/N (J) along the walk}, as ``profile`` of
        :func:`~evae_companion.experiments.latent_interpolation.run`.

    Returns
    -------
    {gamma: {"total", "per_spin"}}, J; empty where no saddle was found.
    """
    if not result.ways:
        return {}
    saddle = result.energy["lattice"] + min(way.back for way in result.ways.values())
    above = {gamma: float(np.max(profile)) * result.sites - saddle for gamma, profile in profiles.items()}
    return {gamma: {"total": value, "per_spin": value / result.sites} for gamma, value in above.items()}
