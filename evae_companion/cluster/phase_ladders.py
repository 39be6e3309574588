"""Plan of the phase diagram: a small data set and two short sweeps for every D and field.

Both start from one stage at beta = 1e-3, gamma = 0. One raises gamma to the collapse, the other raises beta to
posterior collapse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from evae_companion.data_specs import DataSpec, ordered_schedule
from evae_companion.experiments.systems import AT_REST
from evae_companion.presets import RunPreset
from evae_core.hamiltonian import Hamiltonian
from evae_core.training.stages import Stage, chained

GAMMAS = (100.0, 300.0, 1e3, 3e3)
BETAS = (1e-2, 3e-2, 1e-1, 3e-1)


def small_data(p: RunPreset, D: float, B: float, size: int | None = None, seed: int = 0) -> DataSpec:
    """Return the data set of one point of a diagram: ``excess_train`` states of a periodic square, J = the preset's."""
    side = p.excess_size if size is None else size
    return DataSpec(Hamiltonian(J=p.J, D=D, B=B), (side, side), p.excess_train, max(1, p.excess_train // 10), 0,
                    p.shard, ordered_schedule(p, AT_REST), seed)


def to_collapse(p: RunPreset, beta: float, seed: int = 0, gammas: Sequence[float] = GAMMAS) -> list[Stage]:
    """Return the gamma sweep: gamma = 0 from random weights, then ``gammas`` of ``phase_steps`` each, at phase_rate."""
    (first,) = chained([(beta, 0.0, p.phase_first)], p, seed)
    rungs = [(beta, gamma, p.phase_steps) for gamma in gammas]
    return [first, *chained(rungs, replace(p, learning_rate=p.phase_rate), seed, first)]


def to_posterior_collapse(p: RunPreset, beta: float, seed: int = 0, betas: Sequence[float] = BETAS) -> list[Stage]:
    """Return the beta sweep: the same first stage, then ``betas`` above ``beta``, half of ``phase_steps`` each."""
    steps = max(1, p.phase_steps // 2)
    above = [(higher, 0.0, steps) for higher in betas if higher > beta]
    return chained([(beta, 0.0, p.phase_first), *above], p, seed)
