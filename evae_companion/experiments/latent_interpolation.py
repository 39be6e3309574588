"""Fig. 4: a skyrmion lattice and the lattice with an interstitial skyrmion, and the straight line in latent space.

Both textures are constructed and then mapped into latent space.
"""

from __future__ import annotations

from functools import partial
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
from evae_companion.store.packed_spins import pack, unpack
from evae_companion.store.serialization import load_arrays, load_table, read_json, save_arrays, save_table, write_json
from evae_companion.store.store import Store
from evae_companion.sweeps import models, train_stages
from evae_companion.trained import stage_spec
from evae_core.latent import K_STEPS, interpolate, inverse_map
from evae_core.observables import topological_charge
from evae_core.training.stages import Stage

PLACES = 8  # positions of the defect in the box: no network here is exactly translation invariant
FRAMED = (0.0, 100.0)  # gammas whose frames are shown, and which trainings other than the first compare
OF_PATH = ("height", "width", "start", "end", "extra", "change")  # measures of one path


def gammas_of(seed: int) -> tuple[float, ...]:
    """Return the gammas of the paths of a training: of the first all, of the others two, as mapping takes long."""
    return FRAMED if seed else plans.WALK


def spec(p: RunPreset, beta: float, seed: int = 0, data: DataSpec | None = None) -> dict[str, Any]:
    """Return the cache key of :func:`run`."""
    gammas = gammas_of(seed)
    stages = [stage_spec(stage, data or data_spec(p, seed)) for stage in plans.compared(p, beta, gammas, seed)]
    return {"kind": "walk", "version": result_cache.VERSION, "stages": stages, "invert_steps": p.invert_steps,
            "places": PLACES, "K": K_STEPS}


def places(p: RunPreset) -> list[tuple[int, int]]:
    """Return the positions that are tried, as shifts in rows and columns."""
    rng = np.random.default_rng(0)
    return [(int(y), int(x)) for y, x in (rng.integers(0, p.size, 2) for _ in range(PLACES))]


def inverse_spec(p: RunPreset, stage: Stage, data: DataSpec | None = None) -> dict[str, Any]:
    """Return the cache key of the inverse mapping by one network."""
    return {"kind": "inverse", "version": result_cache.VERSION,
            "stage": stage_spec(stage, data or data_spec(p, stage.seed)), "steps": p.invert_steps,
            "places": [list(place) for place in places(p)]}


def _inverse(p: RunPreset, stage: Stage, data: DataSpec, device: str, report: result_cache.Report) -> dict[str, Any]:
    """Return the latent vectors z (2 PLACES, latent) of both textures at every position, the interstitial first."""
    def make(folder: Path) -> None:
        lattice, interstitial = result_cache.interstitial(data)
        (trained,) = train_stages([stage], data, device=device, report=report)
        targets = torch.stack([spins.roll(place, (-2, -1)) for spins in (interstitial, lattice) for place in places(p)])
        inverse = inverse_map(trained.model(device), targets, steps=p.invert_steps)
        save_arrays(folder / "inverse.npz", {
            "z": inverse.z.cpu().numpy(), "error": inverse.error.numpy(), "steps": np.array(inverse.steps),
            "saturated": np.array(inverse.saturated)})

    return load_arrays(Store().get(inverse_spec(p, stage, data), make) / "inverse.npz")


def run(p: RunPreset, beta: float = plans.BETA, device: str = "auto", report: result_cache.Report = print,
        seed: int = 0, networks: bool = True, data: DataSpec | None = None) -> SimpleNamespace:
    """Decode the path z(k) from the interstitial (k = 0) to the lattice (k = K), and measure its energy and charge.

    The defect is put at 8 positions in the box. What is measured is kept of all of them; a profile and frames are
    shown of the one that a network reproduces best.

    Parameters
    ----------
    seed : of their training and its data.
    networks : whether to load those that ``frame`` needs.
    data : other than the preset's.

    Returns
    -------
    gammas : of :func:`gammas_of`.
    energy, charge : of the two textures, {name: number}.
    place : {gamma: (rows, columns)}, the shift of the textures.
    error, steps, saturated : {gamma: value} of the mapping; error is the squared chord per spin of the interstitial
        and of the lattice.
    profile, charges : {gamma: (K + 1,)}, E/N (J) and charge along the path.
    paths : {name of OF_PATH: (gammas, places)}, see :func:`of_path`.
    ends : {gamma: (2, 3, N, N)}, decoded from z(0) and z(K) and shifted back; of the first training alone, as are
    lattice, interstitial : (3, N, N).
    frame : frame(gamma, k), the state at step k for gamma = 0 and 100, shifted back.
    """
    gammas = gammas_of(seed)
    data, stages = data or data_spec(p, seed), plans.compared(p, beta, gammas, seed)
    H = data.hamiltonian

    def make(folder: Path) -> None:
        mapped = [_inverse(p, stage, data, device, report) for stage in stages]
        names = dict(zip(("lattice", "interstitial"), result_cache.interstitial(data), strict=True))
        numbers: dict[str, Any] = {
            "gammas": gammas, "place": [], "error": [], "steps": [], "saturated": [],
            "paths": {name: [] for name in OF_PATH},
            "energy": {name: float(H.energy_per_spin(s.double())) for name, s in names.items()},
            "charge": {name: float(topological_charge(s)) for name, s in names.items()}}
        table: dict[str, np.ndarray] = {"k": np.arange(K_STEPS + 1)}
        ends, z = [], []
        climbed = train_stages(stages, data, device=device, report=report)
        for g, inverse, trained in zip(gammas, mapped, climbed, strict=True):
            both = np.stack((inverse["error"][:PLACES], inverse["error"][PLACES:]))
            best, model, measured = int(both.sum(0).argmin()), trained.model(device), []
            for number, place in enumerate(places(p)):
                pair_z = torch.from_numpy(inverse["z"][[number, PLACES + number]])
                path = interpolate(model, *pair_z.to(next(model.parameters()).device))
                energy, charge = H.energy_per_spin(path.double()).numpy(), topological_charge(path).numpy()
                measured.append(of_path(energy, charge))
                if number == best:
                    z.append(pair_z)
                    table |= {f"E/N (J), gamma {g:g}": energy, f"charge, gamma {g:g}": charge}
                    ends.append(path[[0, -1]].roll([-d for d in place], (-2, -1)))
            for name in OF_PATH:
                numbers["paths"][name].append([of_one[name] for of_one in measured])
            for name, value in (("place", places(p)[best]), ("error", both[:, best].tolist()),
                                ("steps", int(inverse["steps"])), ("saturated", bool(inverse["saturated"]))):
                numbers[name].append(value)
        write_json(folder / "interpolation.json", numbers)
        save_table(folder / "interpolation.csv", table)
        shown = {} if seed else {"ends": torch.stack(ends), **names}
        save_arrays(folder / "interpolation_states.npz", {
            "z": torch.stack(z).numpy(), **{name: pack(spins) for name, spins in shown.items()}})

    folder, is_recorded = result_cache.get(p, spec(p, beta, seed, data), make, report)
    numbers, table = read_json(folder / "interpolation.json"), load_table(folder / "interpolation.csv")
    states = load_arrays(folder / "interpolation_states.npz")
    by_gamma = {name: dict(zip(gammas, numbers.pop(name), strict=True))
                for name in ("place", "error", "steps", "saturated")}
    framed = [stage for stage in stages if stage.gamma in FRAMED]
    decoders = dict(zip(FRAMED, models(p, framed, data, is_recorded, device, report), strict=True)) if networks else {}
    z = dict(zip(gammas, torch.from_numpy(states.pop("z")), strict=True))
    ends = {} if seed else dict(zip(gammas, unpack(states.pop("ends")), strict=True))
    paths: dict[float, torch.Tensor] = {}

    def frame(gamma: float, k: int) -> torch.Tensor:
        if gamma not in paths:
            paths[gamma] = interpolate(decoders[gamma], *z[gamma])
        return paths[gamma][k].roll([-d for d in by_gamma["place"][gamma]], (-2, -1))

    return SimpleNamespace(
        **numbers, **by_gamma, ends=ends, frame=frame,
        profile={g: table[f"E/N (J), gamma {g:g}"] for g in gammas},
        charges={g: table[f"charge, gamma {g:g}"] for g in gammas},
        **{} if seed else {name: unpack(codes) for name, codes in states.items()})


def run_seeds(p: RunPreset, beta: float = plans.BETA, device: str = "auto", report: result_cache.Report = print
              ) -> list[SimpleNamespace]:
    """Return :func:`run` of every training; what is missing is computed at the same time.

    Only the first brings its networks.
    """
    result_cache.compute(p, [(spec(p, beta, seed), partial(run, p, beta, device, seed=seed, networks=False))
                             for seed in range(p.seeds)], report)
    return [run(p, beta, device, report, seed, networks=not seed) for seed in range(p.seeds)]


def around_the_defect(found: SimpleNamespace, frames: torch.Tensor, side: int) -> torch.Tensor:
    """Return squares (..., 3, side, side) of frames (..., 3, N, N), the extra skyrmion in the middle.

    The middle is where interstitial and lattice differ most: the circular mean of their squared distance.
    """
    weight = (found.interstitial - found.lattice).square().sum(-3)
    n = weight.shape[-1]
    turn = torch.exp(2j * torch.pi * torch.arange(n) / n)
    middle = [round(float(torch.angle((weight.sum(axis) * turn).sum())) / (2 * np.pi) * n) for axis in (1, 0)]
    half = side // 2
    return frames.roll([half - middle[0], half - middle[1]], (-2, -1))[..., :side, :side]


def of_path(energy: np.ndarray, charge: np.ndarray) -> dict[str, float]:
    """Return the measures OF_PATH of one path from the interstitial to the lattice.

    height, width, start and end are those of :func:`~evae_companion.analysis.barrier.barrier`. extra is |charge| at
    R = 2 minus that of the path's end, 1 with the extra skyrmion and 0 without; change the first R at which it is below
    1/2. NaN where the path does not reach R = 2, or the charge never changes.
    """
    read = barrier(energy)
    extra = np.abs(charge) - abs(charge[-1])
    at, gone = int(2 - read.R[0]), np.flatnonzero(extra < 0.5)
    return {"height": read.height, "width": read.width, "start": read.start, "end": read.end,
            "extra": float(extra[at]) if at < len(extra) else float("nan"),
            "change": float(read.R[gone[0]]) if len(gone) and gone[0] else float("nan")}
