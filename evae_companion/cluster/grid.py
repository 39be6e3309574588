"""Plan of an ensemble: the sweeps of seeds x betas x D x B x sizes, with their data sets and stages."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from evae_companion.cluster.phase_ladders import small_data, to_collapse, to_posterior_collapse
from evae_companion.data_specs import DataSpec, data_spec
from evae_companion.presets import RunPreset
from evae_core.training.stages import Stage, stage_schedule
from evae_core.validation import check_count


@dataclass(frozen=True)
class Sweep:
    """One sweep of an ensemble: over gamma at one ``beta``, or over beta (``beta`` None).

    ``D`` and ``B`` (J), ``size`` (sites per side) and ``seed`` are its point in the ensemble.
    """

    D: float
    B: float
    size: int
    seed: int
    beta: float | None
    data: DataSpec
    stages: tuple[Stage, ...]
    samples: int


def numbers(text: str, name: str) -> list[float]:
    """Parse "1e-4,1e-3" or "0.2:0.4:5", five numbers from 0.2 to 0.4.

    Raises
    ------
    ValueError
        another form, or numbers that are equal or not finite; the message names ``name``.
    """
    try:
        result = []
        for part in text.split(","):
            if ":" in part:
                first, last, count = part.split(":")
                if int(count) < 2:
                    raise ValueError
                step = (float(last) - float(first)) / (int(count) - 1)
                result += [round(float(first) + k * step, 12) for k in range(int(count))]
            else:
                result.append(float(part))
        if not all(math.isfinite(value) for value in result) or len(set(result)) != len(result):
            raise ValueError
    except ValueError:
        raise ValueError(f"{name} must be different numbers as 1e-4,1e-3 or first:last:count as 0.2:0.4:5, "
                         f"got {text!r:.60}") from None
    return result


def chains(p: RunPreset, seeds: int, betas: Sequence[float], D: Sequence[float], B: Sequence[float] | None = None,
           reduced: bool = False, sizes: Sequence[int] = (), short: bool = False) -> list[Sweep]:
    """Return every sweep of the ensemble: per point and seed one over beta and, for each of ``betas``, one over gamma.

    Parameters
    ----------
    seeds : number of trainings of every sweep.
    B : fields in units of J, or of D^2/J where ``reduced``; None: the preset's B J/D^2 at every D.
    sizes : sides of the lattices, multiples of 16; none: the preset's (``excess_size`` for short sweeps).
    short : the sweeps of the phase diagram, five stages on ``excess_train`` states, instead of the preset's own.

    Raises
    ------
    ValueError
        no seed, a beta that the preset's sweep does not hold, or a size or D at which nothing can be annealed.
    """
    check_count("seeds", seeds, 1)
    if B is None:
        B, reduced = [p.B * p.J / p.D**2], True
    if not all(D):
        raise ValueError("D must not be 0: without it there is no length to measure the field in")
    sweeps = []
    for strength, field, size in itertools.product(D, B, sizes or [p.excess_size if short else p.size]):
        if size < 16 or size % 16:
            raise ValueError(f"sizes must be multiples of 16, got {size}")
        H_B = field * strength**2 / p.J if reduced else field
        point = replace(p, D=strength, B=H_B, size=size)
        if (strength, H_B, size) != (p.D, p.B, p.size):
            point = replace(point, lowest=None)  # the lowest state of that box is unknown
        data = small_data(p, strength, H_B, size) if short else data_spec(point)
        for seed in range(seeds):
            if short:
                ladders = [(None, to_posterior_collapse(p, betas[0], seed)),
                           *((beta, to_collapse(p, beta, seed)) for beta in betas)]
            else:
                ladders = [(None, stage_schedule(point, seed=seed)),
                           *((beta, stage_schedule(point, beta, seed)) for beta in betas)]
            sweeps += [Sweep(strength, H_B, size, seed, beta, data, tuple(stages), p.samples)
                       for beta, stages in ladders]
    return sweeps
