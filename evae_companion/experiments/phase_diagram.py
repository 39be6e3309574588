"""The phase diagram over (D, field), from annealed states, from collapsed networks and from constructed states."""

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
from evae_companion.experiments.ground_state import SAME, cached_candidates
from evae_companion.experiments.ground_state import spec as candidates_spec
from evae_companion.presets import RunPreset
from evae_companion.store import preview
from evae_companion.store.deadline import DeadlineExceeded
from evae_companion.store.object_store import StoreLocation
from evae_companion.store.store import Store
from evae_core.annealing import Schedule
from evae_core.hamiltonian import Hamiltonian
from evae_core.textures import helix_period

# Search among constructed states only: no basin hopping, and annealing is another column of the diagram.
MADE = Search(anneals=1, schedule=Schedule(T_start=1.0, sweeps=30), rounds=0, kicks=0, keep=2)
LEARNED = 0.5  # a network has learned its data if L_RC at gamma = 0 is below this share of that of uniform outputs
SATURATION = math.pi**2 / 16  # B J/D^2 above which the uniform state is lower than every helix; continuum, K = 0


def ensemble(p: RunPreset) -> list[Sweep]:
    """Return the sweeps of the diagram: at every point one in beta, and one in gamma from beta = 1e-3."""
    return chains(p, 1, [plans.BETA], p.phase_D, p.phase_fields, reduced=True, short=True)


def run(p: RunPreset, device: str = "auto", report: result_cache.Report = print,
        executor: Callable[[], Executor] | None = None) -> SimpleNamespace:
    """Train every point of the diagram that is not cached, and compare it with constructed states.

    Parameters
    ----------
    executor : creates the executor that the tasks run on; by default processes of this machine.

    Returns
    -------
    endings : {chain: ending}, for both sweeps of every point.
    made : {(D, field): {phase: lowest relaxed E/N in J}}, of constructed uniform states, helices and skyrmion lattices.
    states : {(D, field): {"median", "lowest", "annealed": spins}}.
    errors : list of messages.

    Raises
    ------
    DeadlineExceeded
        the deadline passed before all points were trained.
    """
    plan, place, done = ensemble(p), StoreLocation(), 0
    units = work(plan)
    tenth = max(1, len(units) // 10)

    def tell(unit: Any) -> None:
        nonlocal done
        done += 1
        if done % tenth == 0:
            report(f"phase diagram: {done} of {len(units)} units of work are done")

    complete, errors = endings(plan, place), list[str]()
    if len(complete) < len(plan):
        preview.refuse("the phase diagram")
        outcome = run_tasks(units, executor or local(), place, device, report, tell)
        if outcome.over:
            raise DeadlineExceeded(outcome.over)
        complete, errors = endings(plan, place), list(outcome.errors.values())
    ends = [chain for chain in plan if chain.beta is not None]
    systems = [(chain.data.hamiltonian, chain.data.shape, MADE) for chain in ends]
    if missing := [system for system in systems if Store().find(candidates_spec(*system)) is None]:
        preview.refuse(candidates_spec(*missing[0]))
        with (executor or local())() as pool:
            for search in [pool.submit(cached_candidates, *system, device) for system in missing]:
                search.result()
    made = {(chain.D, field(chain)): _by_phase(chain.data.hamiltonian, chain.size**2,
                                               cached_candidates(*system, device).candidates)
            for chain, system in zip(ends, systems, strict=True)}
    return SimpleNamespace(endings=complete, made=made, errors=errors, states={
        (chain.D, field(chain)): states(chain, place) for chain in ends if chain in complete})


def _by_phase(H: Hamiltonian, sites: int, candidates: list[Candidate]) -> dict[str, float]:
    """Return the lowest E/N of the constructed candidates that are uniform, skyrmions or neither.

    Neither means helices and other states without charge. The relaxed state decides, not the construction: sums of
    waves relax to lattices, cones to uniform states.
    """
    lowest = dict.fromkeys(("uniform", "helix", "skyrmions"), math.nan)
    uniform = -2 * H.J - abs(H.B)
    for one in candidates:
        if one.kind == "annealed":
            continue
        is_ = phase(H, sites, one.charge, float(abs(one.energy - uniform) < SAME))
        lowest[is_] = min(one.energy, lowest[is_]) if lowest[is_] == lowest[is_] else one.energy
    return lowest


def evidence(row: Mapping[str, Any], collapsed: float) -> str:
    """Return "yes" if the collapse at a point shows what the Hamiltonian does, else the reason why it does not.

    A network that never left its first plateau gives the uniform state, whichever phase is right. A network that gives
    one state without the Hamiltonian shows nothing of it.

    Parameters
    ----------
    row : of :func:`~evae_companion.cluster.tables.by_chain`.
    collapsed : generated states are one below this share of the k-space MSE of the data (claims.COLLAPSED).
    """
    if not row["reconstruction"] < LEARNED * row["plateau"]:
        return "data not learned"
    if row["spread_first"] < collapsed:
        return "one state at γ = 0"
    return "yes" if row["spread"] < collapsed else "not collapsed"


def fitting(plan: list[Sweep]) -> dict[float, tuple[float, float]]:
    """Return {D: (period of the free helix, period of the lowest helix that fits the box)}, in sites, without a field.

    A helix that fits has n and m whole turns along the axes, q = 2 pi (n, m)/size, and
    E/N = -J (cos q_x + cos q_y) - |D| sqrt(sin^2 q_x + sin^2 q_y).
    """
    periods = {}
    for chain in plan:
        H = chain.data.hamiltonian
        period = helix_period(H)
        turns = range(math.ceil(chain.size / period) + 1)
        energies = {}
        for n, m in itertools.product(turns, turns):
            x, y = 2 * math.pi * n / chain.size, 2 * math.pi * m / chain.size
            energies[n, m] = -H.J * (math.cos(x) + math.cos(y)) - abs(H.D) * math.hypot(math.sin(x), math.sin(y))
        periods[chain.D] = period, chain.size / math.hypot(*min(energies, key=lambda turn: energies[turn]))
    return periods


def field(chain: Sweep) -> float:
    """Return the field B J/D^2 of a chain, rounded to the value in the preset."""
    return round(chain.B * chain.data.hamiltonian.J / chain.D**2, 9)


def boundaries(made: dict[tuple[float, float], dict[str, float]]) -> dict[tuple[str, str], dict[float, float]]:
    """Return {(lower phase, upper phase): {D: field}} where two kinds of constructed states are equally low.

    Energies are interpolated linearly between the fields of the diagram. There is no entry where they do not cross.
    """
    result: dict[tuple[str, str], dict[float, float]] = {}
    for (low, high), D in itertools.product((("helix", "skyrmions"), ("skyrmions", "uniform")),
                                            dict.fromkeys(D for D, _ in made)):
        fields = np.array(sorted(f for d, f in made if d == D))
        gap = np.array([made[D, f][high] - made[D, f][low] for f in fields])
        down = np.flatnonzero((gap[:-1] > 0) & (gap[1:] <= 0))
        if len(down):
            k = down[0]
            result.setdefault((low, high), {})[D] = float(fields[k] + (fields[k + 1] - fields[k]) * gap[k]
                                                          / (gap[k] - gap[k + 1]))
    return result
