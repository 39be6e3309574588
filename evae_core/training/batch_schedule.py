"""What every optimiser step of a stage uses, drawn before the first: its batch, its translations, its learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from evae_core.presets import TrainingOptions
from evae_core.training.stages import Stage

WARM_UP = 20  # steps over which the learning rate rises when trained weights are carried over to a fresh Adam


@dataclass(frozen=True)
class BatchSchedule:
    """``indices`` (steps, batch) int64; ``shifts`` (steps, batch, 2) int64, lattice vectors (y, x), or None;
    ``rates`` (steps,) float64."""

    indices: np.ndarray
    shifts: np.ndarray | None
    rates: np.ndarray


def batch_schedule(stage: Stage, configurations: int, shape: tuple[int, int],
                   rng: np.random.Generator) -> BatchSchedule:
    """The batches of a stage on a training set of so many configurations of ``shape`` (Ny, Nx).

    Every configuration is drawn once per epoch; an epoch may end within a batch. The learning rate falls along a
    cosine; it rises over the first WARM_UP steps where weights are carried over.
    """
    options = stage.options or TrainingOptions()
    draws = stage.steps * stage.batch
    epochs = -(-draws // configurations)
    order = np.concatenate([rng.permutation(configurations) for _ in range(epochs)])
    indices = order[:draws].reshape(stage.steps, stage.batch)
    shifts = rng.integers(0, shape, (stage.steps, stage.batch, 2)) if stage.translate else None
    rates = np.array([_rate(stage, number, options.warm_up) for number in range(stage.steps)])
    return BatchSchedule(indices, shifts, rates)


def _rate(stage: Stage, number: int, warm_up: bool) -> float:
    fall = 0.5 * (1 + math.cos(math.pi * number / stage.steps))
    rate = stage.learning_rate * (stage.final_rate + (1 - stage.final_rate) * fall)
    return rate * min(1.0, (number + 1) / WARM_UP) if stage.parent and warm_up else rate
