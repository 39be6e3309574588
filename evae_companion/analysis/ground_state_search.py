"""Ground-state search for a Hamiltonian in a box, independent of any network, with a list of all states it found.

The search relaxes trial states (:mod:`~evae_companion.analysis.trial_states`), then annealings from random states.
Basin hopping from the best follows: a kick and a descent, and a lower result stays
(D. J. Wales and J. P. K. Doye, J. Phys. Chem. A 101, 5111 (1997)). The lowest candidate is lower than every other
state known to us; that it is the ground state is not proven.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from evae_companion.analysis.descent import at_rest, charge, descended, energies
from evae_companion.analysis.luttinger_tisza import coupling
from evae_companion.analysis.trial_states import trial_states_of
from evae_core.annealing import Schedule, anneal, lbfgs_refine, replicas_from
from evae_core.hamiltonian import Hamiltonian

SAME = 1e-8  # E/N, J: two relaxed states that are closer, with the same charge, are one candidate
ALIKE = 2e-7  # E/N, J: the same for states that are only roughly relaxed
SAME_CHARGE = 0.05
POPULATION = 4  # candidates that are kicked
FILLS = ("heated", "emptied", "reversed")  # new content of a disc: random spins, the background, its opposite
WARM = (0.15, 0.7)  # highest temperature of a warm kick, as a share of where annealing begins
COLD = 0.01  # lowest temperature of a warm kick, in units of the largest coupling


@dataclass(frozen=True)
class Search:
    """Length of a search.

    Parameters
    ----------
    anneals, schedule : annealings from random states.
    rounds, kicks : rounds of basin hopping, and kicks per round, half of them in a disc and half warm ones.
    warm_sweeps : sweeps of a warm kick.
    keep : candidates of each kind that are relaxed.
    seed : of all random numbers.
    """

    anneals: int = 64
    schedule: Schedule = field(default_factory=lambda: Schedule(T_start=1.0, sweeps=300))
    rounds: int = 4
    kicks: int = 32
    warm_sweeps: int = 200
    keep: int = 4
    seed: int = 0

    def spec(self) -> dict[str, Any]:
        """The numbers as plain JSON values. The constants of this module are not among them."""
        return {"anneals": self.anneals, "sweeps": self.schedule.sweeps, "overrelax": self.schedule.overrelax,
                "T_start": self.schedule.T_start, "T_end": self.schedule.T_end, "rounds": self.rounds,
                "kicks": self.kicks, "warm_sweeps": self.warm_sweeps, "keep": self.keep, "seed": self.seed}


@dataclass
class Candidate:
    """A relaxed state.

    Attributes
    ----------
    kind, description : the try that found it first.
    energy, torque : E/N and the largest torque left, in J.
    charge : topological charge.
    found, origins : number of tries that relaxed to it, in total and {kind: number}.
    """

    kind: str
    description: str
    energy: float
    charge: float
    torque: float
    found: int
    origins: dict[str, int]


@dataclass(frozen=True)
class Gap:
    """How far a given state lies above the best candidate, E/N in J, as it is (``raw``) and relaxed.

    A negative gap means lower than every state that the search knows.
    """

    raw: float
    relaxed: float
    torque: float  # J, the largest one left after the relaxation
    charge: float  # after the relaxation


@dataclass(frozen=True, eq=False)
class GroundStateCandidates:
    """Result of a search.

    Attributes
    ----------
    candidates : lowest first.
    spins : (3, Ny, Nx) float64, of the lowest.
    tries : {kind: number of tries}.
    """

    H: Hamiltonian
    candidates: list[Candidate]
    spins: Tensor
    tries: dict[str, int]

    @property
    def best(self) -> Candidate:
        return self.candidates[0]

    def gap(self, state: Tensor) -> Gap:
        """Return the :class:`Gap` of one configuration (3, Ny, Nx)."""
        rest, torque = at_rest(self.H, state)
        raw, low = (float(energies(self.H, s)) for s in (state, rest))
        return Gap(raw - self.best.energy, low - self.best.energy, torque, charge(self.H, rest))


class _Pool:
    """All distinct states found so far. Tries arrive roughly relaxed; the lowest are relaxed fully."""

    def __init__(self, H: Hamiltonian):
        self.H = H
        self.candidates: list[tuple[Candidate, Tensor]] = []
        self.tries: dict[str, int] = {}

    def take(self, kind: str, spins: Tensor, descriptions: list[str], keep: int, among: int | None = None) -> None:
        """Merge roughly relaxed tries (n, 3, Ny, Nx) of one kind; the ``keep`` lowest new states become candidates.

        With ``among``, a new state must also belong to that many lowest candidates.
        """
        self.tries[kind] = self.tries.get(kind, 0) + len(spins)
        E = energies(self.H, spins).numpy()
        charges = [charge(self.H, s) for s in spins]
        groups: list[list[int]] = []
        for k in np.argsort(E, kind="stable"):
            if groups and self._alike(E[k], charges[k], E[groups[-1][-1]], charges[groups[-1][0]], ALIKE):
                groups[-1].append(int(k))
            else:
                groups.append([int(k)])
        new = 0
        for group in groups:
            first = group[0]
            known = next((c for c, _ in self.candidates if self._alike(
                E[first], charges[first], c.energy, c.charge, ALIKE)), None)
            high = among is not None and len(self.candidates) >= among and (
                E[first] > self.candidates[among - 1][0].energy)
            if known is None and new < keep and not high:
                state, torque = lbfgs_refine(self.H, spins[first])
                candidate = Candidate(kind, descriptions[first], float(energies(self.H, state)),
                                      charge(self.H, state), torque, 0, {})
                known = next((c for c, _ in self.candidates if self._alike(
                    candidate.energy, candidate.charge, c.energy, c.charge, SAME)), None)
                if known is None:
                    self.candidates.append((candidate, state))
                    known, new = candidate, new + 1
            if known is not None:
                known.found += len(group)
                known.origins[kind] = known.origins.get(kind, 0) + len(group)
        self.candidates.sort(key=lambda pair: pair[0].energy)

    @staticmethod
    def _alike(energy: float, q: float, other_energy: float, other_q: float, tolerance: float) -> bool:
        return abs(energy - other_energy) < tolerance and abs(q - other_q) < SAME_CHARGE


def ground_state_candidates(H: Hamiltonian, shape: Sequence[int], search: Search | None = None, device: str = "auto",
                            report: Callable[[str], None] | None = None) -> GroundStateCandidates:
    """Search the lowest states of H in a box of ``shape``; periodic axes need an even length (as for :func:`anneal`).

    Every candidate is relaxed to a torque below 1e-6 J, or states the torque that is left. Relaxed does not mean
    stable: a trial state of high symmetry may end on a saddle point. The same ``search`` gives the same bytes on the
    same device. ``report`` is called with one line after each part.
    """
    shape, search = H.check_shape(shape), search or Search()
    pool = _Pool(H)

    def say(part: str) -> None:
        if report is not None:
            best = pool.candidates[0][0]
            report(f"{part}: {len(pool.candidates)} candidates, lowest {best.energy:.8f} J ({best.kind}: "
                   f"{best.description}; charge {best.charge:.2f})")

    made = trial_states_of(H, shape, search.seed)
    for kind in dict.fromkeys(one.kind for one in made):
        of_kind = [one for one in made if one.kind == kind]
        spins = descended(H, torch.stack([one.spins for one in of_kind]), device)
        pool.take(kind, spins, [one.description for one in of_kind], search.keep)
        say(f"{len(of_kind)} x {kind}")
    spins = anneal(H, shape, search.anneals, seed=search.seed, device=device, schedule=search.schedule)
    pool.take("annealed", spins, [f"replica {k}" for k in range(len(spins))], search.keep)
    say(f"{search.anneals} x annealed")
    length = wave_length(H, shape)
    for number in range(search.rounds):
        _hop(pool, search, number, length, device)
        say(f"round {number + 1} of basin hopping")
    return GroundStateCandidates(H, [c for c, _ in pool.candidates], pool.candidates[0][1], pool.tries)


def _hop(pool: _Pool, search: Search, number: int, length: float, device: str) -> None:
    """One round of basin hopping: kick the POPULATION best candidates, relax them, and add new states to the pool.

    Discs have radii of 0.3 to 1.2 ``length``.
    """
    H, rng = pool.H, np.random.default_rng([search.seed, 2, number])
    starts = torch.stack([state for _, state in pool.candidates[:POPULATION]]).float()
    chosen = torch.arange(search.kicks) % len(starts)
    kicked = starts[chosen]
    half = search.kicks // 2
    names = [FILLS[k % len(FILLS)] + " disc" for k in range(half)]
    for k in range(half):
        kicked[k] = _disc(H, kicked[k], FILLS[k % len(FILLS)], length, rng)
    # Each quarter of the warm kicks has a temperature of its own.
    for part in np.array_split(np.arange(half, search.kicks), 4):
        if len(part):
            T = search.schedule.T_start * rng.uniform(*WARM)
            replicas = replicas_from(H, kicked[part], seed=int(rng.integers(2**62)), device=device)
            cold = COLD * H.largest_coupling
            replicas.sweep(1 / np.linspace(max(T, cold), cold, search.warm_sweeps), search.schedule.overrelax)
            kicked[part] = normalize(replicas.spins().cpu(), dim=-3)
            names += [f"warmed to {T:.2f} J"] * len(part)
    descriptions = [f"candidate {int(c) + 1} {name}, round {number + 1}" for c, name in zip(chosen, names, strict=True)]
    pool.take("hopped", descended(H, kicked, device), descriptions, search.keep, among=3 * POPULATION)


def wave_length(H: Hamiltonian, shape: Sequence[int]) -> float:
    """Return 2 pi / |k| of the most favourable wave vector, in sites; for k = 0, the longer side of the box."""
    ny, nx = shape
    y, x = np.unravel_index(np.linalg.eigvalsh(coupling(H, shape))[..., -1].argmax(), shape)
    k = math.hypot(min(y, ny - y) / ny, min(x, nx - x) / nx)
    return 1 / k if k else float(max(shape))


def _disc(H: Hamiltonian, spins: Tensor, fill: str, length: float, rng: np.random.Generator) -> Tensor:
    """Return the state with new spins in a disc around a random magnetic site."""
    ny, nx = shape = spins.shape[-2:]
    sites = np.argwhere(np.ones(shape, bool) if H.mask is None else H.mask)
    cy, cx = sites[rng.integers(len(sites))]
    radius = length * rng.uniform(0.3, 1.2)
    y, x = np.mgrid[:ny, :nx]
    dy, dx = abs(y - cy), abs(x - cx)
    wraps_y, wraps_x = H.periodic_axes
    dy, dx = np.minimum(dy, ny - dy) if wraps_y else dy, np.minimum(dx, nx - dx) if wraps_x else dx
    disc = torch.from_numpy((np.hypot(dy, dx) < radius) & (np.ones(shape, bool) if H.mask is None else H.mask))
    up = -1.0 if H.B < 0 else 1.0
    new = {"heated": torch.from_numpy(rng.normal(size=(3, ny, nx)).astype(np.float32)),
           "emptied": torch.tensor([0.0, 0, up])[:, None, None].expand(3, ny, nx),
           "reversed": torch.tensor([0.0, 0, -up])[:, None, None].expand(3, ny, nx)}[fill]
    return normalize(torch.where(disc, new, spins), dim=0)
