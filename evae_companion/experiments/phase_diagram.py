"""The phase diagram over (D, field): from annealing, from collapsed models, and from states made by hand."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from types import SimpleNamespace
from typing import Any

import numpy as np

from evae_companion import training_plans as plans
from evae_companion.analysis import Candidate, Search
from evae_companion.cluster.executors import local
from evae_companion.cluster.grid import Sweep, chains
from evae_companion.cluster.scheduler import run_tasks
from evae_companion.cluster.tables import endings, phase, states
from evae_companion.cluster.tasks import work
from evae_companion.experiments import result_cache
from evae_companion.experiments.ground_state import SAME, certified
from evae_companion.store.deadline import DeadlineExceeded
from evae_companion.store.object_store import StoreLocation
from evae_core.annealing import Schedule
from evae_core.hamiltonian import Hamiltonian
from evae_core.presets import Preset
from evae_core.textures import helix_period

# Of the states made by hand; annealings and hops are left to the columns beside it.
MADE = Search(anneals=1, schedule=Schedule(T_start=1.0, sweeps=30), rounds=0, kicks=0, keep=2)
LEARNED = 0.5  # of the plateau of uniform outputs: a network whose L_RC at gamma = 0 is below has learned its data
SATURATION = math.pi**2 / 16  # B J/D^2 from which the uniform state is lower than every helix; continuum, K = 0


def ensemble(p: Preset) -> list[Sweep]:
    """The ladders of the diagram: at every point one of beta and one of gamma from beta = 1e-3."""
    return chains(p, 1, [plans.BETA], p.phase_D, p.phase_fields, reduced=True, short=True)


def run(p: Preset, device: str = "auto", report: result_cache.Report = print,
           executor: Callable[[], Executor] | None = None) -> SimpleNamespace:
    """Train every point of the diagram that the store does not hold, and compare it with made states.

    ``executor`` makes what the work runs on; by default processes of this machine.

    Returns
    -------
    endings {chain: ending}, both ladders of every point; made {(D, field): {phase: lowest E/N in J, at rest}}, of the
    uniform states, helices and skyrmion lattices made by hand; states {(D, field): {median, lowest, annealed: spins}};
    errors, in words.
    """
    plan, place, done = ensemble(p), StoreLocation(), 0
    units = work(plan)
    tenth = max(1, len(units) // 10)

    def tell(unit: Any) -> None:
        nonlocal done
        done += 1
        if done % tenth == 0:
            report(f"phase diagram: {done} of {len(units)} units of work are done")

    outcome = run_tasks(units, executor or local(), place, device, report, tell)
    if outcome.over:
        raise DeadlineExceeded(outcome.over)
    complete = endings(plan, place)
    ends = [chain for chain in plan if chain.beta is not None]
    with (executor or local())() as pool:
        found = [pool.submit(certified, chain.data.hamiltonian, chain.data.shape, MADE, device) for chain in ends]
        made = {(chain.D, field(chain)): _by_phase(chain.data.hamiltonian, chain.size**2, one.result().candidates)
                for chain, one in zip(ends, found, strict=True)}
    return SimpleNamespace(endings=complete, made=made, errors=list(outcome.errors.values()), states={
        (chain.D, field(chain)): states(chain, place) for chain in ends if chain in complete})


def _by_phase(H: Hamiltonian, sites: int, candidates: list[Candidate]) -> dict[str, float]:
    """Lowest E/N of the made candidates that are uniform, skyrmions or neither (helices, and what has no charge). By
    what a state is at rest, not by what it was made as: sums of waves come to rest as lattices, cones as uniform."""
    found = dict.fromkeys(("uniform", "helix", "skyrmions"), math.nan)
    uniform = -2 * H.J - abs(H.B)
    for one in candidates:
        if one.kind == "annealed":
            continue
        is_ = phase(H, sites, one.charge, float(abs(one.energy - uniform) < SAME))
        found[is_] = min(one.energy, found[is_]) if found[is_] == found[is_] else one.energy
    return found


def evidence(row: Mapping[str, Any], collapsed: float) -> str:
    """"yes" where a point's collapse shows what the Hamiltonian does, or what stands against it.

    A network that never left its first plateau gives the uniform state whatever is right, and one that gives one state
    without the Hamiltonian shows nothing of it. ``row``: of :func:`by_chain`; ``collapsed``: the share of the data's
    k-space MSE below which generated states are one (claims.COLLAPSED).
    """
    if not row["reconstruction"] < LEARNED * row["plateau"]:
        return "data not learned"
    if row["spread_first"] < collapsed:
        return "one state at γ = 0"
    return "yes" if row["spread"] < collapsed else "not collapsed"


def fitting(plan: list[Sweep]) -> dict[float, tuple[float, float]]:
    """{D: (period of the free helix, period of the lowest that fits the box)}, in sites, without a field: of n and m
    whole turns along the axes, q = 2 pi (n, m)/size, E/N = -J (cos q_x + cos q_y) - |D| sqrt(sin^2 q_x + sin^2 q_y)."""
    found = {}
    for chain in plan:
        H = chain.data.hamiltonian
        period = helix_period(H)
        turns = range(math.ceil(chain.size / period) + 1)
        energies = {}
        for n, m in itertools.product(turns, turns):
            x, y = 2 * math.pi * n / chain.size, 2 * math.pi * m / chain.size
            energies[n, m] = -H.J * (math.cos(x) + math.cos(y)) - abs(H.D) * math.hypot(math.sin(x), math.sin(y))
        found[chain.D] = period, chain.size / math.hypot(*min(energies, key=lambda turn: energies[turn]))
    return found


def field(chain: Sweep) -> float:
    """B J/D^2 of a chain, as the preset writes it."""
    return round(chain.B * chain.data.hamiltonian.J / chain.D**2, 9)


def boundaries(made: dict[tuple[float, float], dict[str, float]]) -> dict[tuple[str, str], dict[float, float]]:
    """{(lower phase, upper phase): {D: field}} where two kinds of made states are equally low, straight lines between
    the fields of the diagram; no entry where they do not cross."""
    found: dict[tuple[str, str], dict[float, float]] = {}
    for (low, high), D in itertools.product((("helix", "skyrmions"), ("skyrmions", "uniform")),
                                            dict.fromkeys(D for D, _ in made)):
        fields = np.array(sorted(f for d, f in made if d == D))
        gap = np.array([made[D, f][high] - made[D, f][low] for f in fields])
        down = np.flatnonzero((gap[:-1] > 0) & (gap[1:] <= 0))
        if len(down):
            k = down[0]
            found.setdefault((low, high), {})[D] = float(fields[k] + (fields[k + 1] - fields[k]) * gap[k]
                                                         / (gap[k] - gap[k + 1]))
    return found
