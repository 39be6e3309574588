"""What every optimiser step of a stage uses, drawn before the first: its batch, its translations, its learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from evae_core.presets import TrainingOptions
from evae_core.training.stages import Stage

WARM_UP = 20  # steps over which the learning rate rises when trained weights are carried over to a fresh Adam
# Steps at which Adam is restarted when training starts from random weights. The first gradients are 100 times larger
# than those that follow, and Adam's second moments remember them for some 1/(1 - 0.999) = 1000 steps, in which it
# hardly moves: every output stays the uniform state. With restarts it leaves that plateau after about 100 steps
# (48 x 48, three seeds).
RESTARTS = (30, 60, 120, 240)


@dataclass(frozen=True)
class BatchSchedule:
    """``indices`` (steps, batch) int64; ``shifts`` (steps, batch, 2) int64, lattice vectors (y, x), or None;
    ``rates`` (steps,) float64; ``restarts``: steps before which Adam's moments are forgotten."""

    indices: np.ndarray
    shifts: np.ndarray | None
    rates: np.ndarray
    restarts: tuple[int, ...]

    def first(self, steps: int) -> BatchSchedule:
        """The first steps alone."""
        return BatchSchedule(self.indices[:steps], None if self.shifts is None else self.shifts[:steps],
                             self.rates[:steps], tuple(number for number in self.restarts if number < steps))


def batch_schedule(stage: Stage, configurations: int, shape: tuple[int, int],
                   rng: np.random.Generator) -> BatchSchedule:
    """The batches of a stage on a training set of so many configurations of ``shape`` (Ny, Nx).

    The learning rate falls along a cosine; it rises over the first WARM_UP steps where weights are carried over.
    """
    options = stage.options or TrainingOptions()
    indices = np.empty((stage.steps, stage.batch), np.int64)
    if not options.replacement:
        epochs = -(-indices.size // configurations)
        order = np.concatenate([rng.permutation(configurations) for _ in range(epochs)])
        indices[:] = order[:indices.size].reshape(indices.shape)
    shifts = np.empty((stage.steps, stage.batch, 2), np.int64) if stage.translate else None
    for number in range(stage.steps):
        if options.replacement:
            indices[number] = rng.integers(0, configurations, stage.batch)
        if shifts is not None:
            shifts[number] = rng.integers(0, shape, (stage.batch, 2))
    rates = np.array([_rate(stage, number, options.warm_up) for number in range(stage.steps)])
    forget = options.restarts and stage.parent is None
    return BatchSchedule(indices, shifts, rates,
                         tuple(number for number in RESTARTS if number < stage.steps) if forget else ())


def _rate(stage: Stage, number: int, warm_up: bool) -> float:
    fall = 0.5 * (1 + math.cos(math.pi * number / stage.steps))
    rate = stage.learning_rate * (stage.final_rate + (1 - stage.final_rate) * fall)
    return rate * min(1.0, (number + 1) / WARM_UP) if stage.parent and warm_up else rate
