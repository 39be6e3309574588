"""Fig. 4: a skyrmion lattice and the lattice with an interstitial skyrmion, and the straight line in latent space.

Both textures are constructed and then mapped into latent space.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from evae_companion import training_plans as plans
from evae_companion.analysis.barrier import barrier
from evae_companion.data_specs import DataSpec, data_spec
from evae_companion.experiments import result_cache
from evae_companion.presets import RunPreset
from evae_companion.store.serialization import load_arrays, load_table, read_json, save_arrays, save_table, write_json
from evae_companion.store.store import Store
from evae_companion.sweeps import models, train_stages
from evae_companion.trained import stage_spec
from evae_core.latent import K_STEPS, interpolate, inverse_map
from evae_core.observables import topological_charge
from evae_core.textures import interstitial_pair
from evae_core.training.stages import Stage

PLACES = 8  # positions in the box that are tried, since no network here is exactly translation invariant
FRAMED = (0.0, 100.0)  # gammas whose frames are shown


def spec(p: RunPreset, beta: float, seed: int = 0, gammas: tuple[float, ...] = plans.WALK) -> dict[str, Any]:
    """Return the cache key of :func:`run`."""
    stages = [stage_spec(stage, data_spec(p)) for stage in plans.compared(p, beta, gammas, seed)]
    return {"kind": "walk", "version": result_cache.VERSION, "stages": stages, "invert_steps": p.invert_steps,
            "places": PLACES, "K": K_STEPS}


def pair(data: DataSpec) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the best skyrmion lattice that can hold an interstitial skyrmion, and the lattice with it, cached."""
    def make(folder: Path) -> None:
        names = ("lattice", "interstitial")
        textures = interstitial_pair(data.hamiltonian, data.shape)
        save_arrays(folder / "pair.npz", {name: spins.numpy() for name, spins in zip(names, textures, strict=True)})

    textures = load_arrays(Store().get(result_cache.system("pair", data), make) / "pair.npz")
    return torch.from_numpy(textures["lattice"]), torch.from_numpy(textures["interstitial"])


def places(p: RunPreset) -> list[tuple[int, int]]:
    """Return the positions that are tried, as shifts in rows and columns."""
    rng = np.random.default_rng(0)
    return [(int(y), int(x)) for y, x in (rng.integers(0, p.size, 2) for _ in range(PLACES))]


def inverse_spec(p: RunPreset, stage: Stage) -> dict[str, Any]:
    """Return the cache key of the inverse mapping by one network."""
    return {"kind": "inverse", "version": result_cache.VERSION, "stage": stage_spec(stage, data_spec(p)),
            "steps": p.invert_steps, "places": [list(place) for place in places(p)]}


def _inverse(p: RunPreset, stage: Stage, data: DataSpec, device: str, report: result_cache.Report) -> dict[str, Any]:
    """Return the latent vectors z (2 PLACES, latent) of both textures at every position, the interstitial first."""
    def make(folder: Path) -> None:
        lattice, interstitial = pair(data)
        (trained,) = train_stages([stage], data, device=device, report=report)
        targets = torch.stack([spins.roll(place, (-2, -1)) for spins in (interstitial, lattice) for place in places(p)])
        inverse = inverse_map(trained.model(device), targets, steps=p.invert_steps)
        save_arrays(folder / "inverse.npz", {
            "z": inverse.z.cpu().numpy(), "error": inverse.error.numpy(), "steps": np.array(inverse.steps),
            "saturated": np.array(inverse.saturated)})

    return load_arrays(Store().get(inverse_spec(p, stage), make) / "inverse.npz")


def run(p: RunPreset, beta: float = plans.BETA, device: str = "auto", report: result_cache.Report = print,
        seed: int = 0, gammas: tuple[float, ...] = plans.WALK, networks: bool = True) -> SimpleNamespace:
    """Decode the path z(k) from the interstitial (k = 0) to the lattice (k = K), and measure its energy and charge.

    Of 8 positions in the box each network uses the one that it reproduces best.

    Parameters
    ----------
    gammas : of the networks that are used; they begin with 0 and contain 100.
    seed : of their training.
    networks : whether to load those that ``frame`` needs.

    Returns
    -------
    gammas : as given.
    energy, charge : of the two textures, {name: number}.
    place : {gamma: (rows, columns)}, the shift of the textures.
    error, steps, saturated : {gamma: value} of the mapping; error is the squared chord per spin of the interstitial
        and of the lattice.
    profile, charges : {gamma: (K + 1,)}, E/N (J) and charge along the path.
    ends : {gamma: (2, 3, N, N)}, decoded from z(0) and z(K) and shifted back.
    lattice, interstitial : (3, N, N).
    frame : frame(gamma, k), the state at step k for gamma = 0 and 100, shifted back.
    """
    data, stages = data_spec(p), plans.compared(p, beta, gammas, seed)
    H = data.hamiltonian

    def make(folder: Path) -> None:
        mapped = [_inverse(p, stage, data, device, report) for stage in stages]
        names = dict(zip(("lattice", "interstitial"), pair(data), strict=True))
        numbers: dict[str, Any] = {"gammas": gammas, "place": [], "error": [], "steps": [], "saturated": [],
                   "energy": {name: float(H.energy_per_spin(s.double())) for name, s in names.items()},
                   "charge": {name: float(topological_charge(s)) for name, s in names.items()}}
        table: dict[str, np.ndarray] = {"k": np.arange(K_STEPS + 1)}
        ends, z = [], []
        climbed = train_stages(stages, data, device=device, report=report)
        for g, inverse, trained in zip(gammas, mapped, climbed, strict=True):
            both = np.stack((inverse["error"][:PLACES], inverse["error"][PLACES:]))
            best = int(both.sum(0).argmin())
            model = trained.model(device)
            z.append(torch.from_numpy(inverse["z"][[best, PLACES + best]]))
            path = interpolate(model, *z[-1].to(next(model.parameters()).device))
            table[f"E/N (J), gamma {g:g}"] = H.energy_per_spin(path.double()).numpy()
            table[f"charge, gamma {g:g}"] = topological_charge(path).numpy()
            place = places(p)[best]
            ends.append(path[[0, -1]].roll([-d for d in place], (-2, -1)))
            for name, value in (("place", place), ("error", both[:, best].tolist()),
                                ("steps", int(inverse["steps"])), ("saturated", bool(inverse["saturated"]))):
                numbers[name].append(value)
        write_json(folder / "interpolation.json", numbers)
        save_table(folder / "interpolation.csv", table)
        save_arrays(folder / "interpolation_states.npz", {
            "z": torch.stack(z).numpy(), "ends": result_cache.as_half(torch.stack(ends)),
            **{name: result_cache.as_half(spins) for name, spins in names.items()}})

    folder, is_recorded = result_cache.get(p, spec(p, beta, seed, gammas), make, report)
    numbers, table = read_json(folder / "interpolation.json"), load_table(folder / "interpolation.csv")
    states = load_arrays(folder / "interpolation_states.npz")
    by_gamma = {name: dict(zip(gammas, numbers.pop(name), strict=True))
                for name in ("place", "error", "steps", "saturated")}
    framed = [stage for stage in stages if stage.gamma in FRAMED]
    decoders = dict(zip(FRAMED, models(p, framed, data, is_recorded, device, report), strict=True)) if networks else {}
    z = dict(zip(gammas, torch.from_numpy(states.pop("z")), strict=True))
    ends = dict(zip(gammas, result_cache.as_spins(states.pop("ends")), strict=True))
    paths: dict[float, torch.Tensor] = {}

    def frame(gamma: float, k: int) -> torch.Tensor:
        if gamma not in paths:
            paths[gamma] = interpolate(decoders[gamma], *z[gamma])
        return paths[gamma][k].roll([-d for d in by_gamma["place"][gamma]], (-2, -1))

    return SimpleNamespace(
        **numbers, **by_gamma, ends=ends, frame=frame,
        profile={g: table[f"E/N (J), gamma {g:g}"] for g in gammas},
        charges={g: table[f"charge, gamma {g:g}"] for g in gammas},
        **{name: result_cache.as_spins(half) for name, half in states.items()})


def measures(result: SimpleNamespace) -> dict[str, Any]:
    """Return the arguments of ``claims.latent_interpolation`` from the result of :func:`run`."""
    read = {g: barrier(result.profile[g]) for g in result.gammas}

    def extra(g: float, R: float) -> float:
        k = int(R - read[g].R[0])
        charge = np.abs(result.charges[g])
        return float(charge[k] - charge[-1]) if 0 <= k <= K_STEPS else float("nan")

    return {"gammas": result.gammas, **{key: [getattr(read[g], key) for g in result.gammas]
                                       for key in ("height", "width", "start", "end")},
            "extra": {g: (extra(g, 2), extra(g, read[g].R[0])) for g in FRAMED}}
