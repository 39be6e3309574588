"""Size distributions on a grid: weights by number, area and volume, cumulative curves, quantiles, distances, families.

A distribution is an array p (..., s) of the share of grains (by number) at each of the ``sizes``; s**k p normalised is
its weight by length (1), area (2), volume (3).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

NUMBER, AREA, VOLUME = 0, 2, 3
LOW, HIGH, COUNT = 10e-6, 1200e-6, 192  # m: the grid of the published estimator
TRUSTED = (50e-6, 1000e-6)  # m: sizes that the estimators are trained for
TRAINED = ("lognormal", "mixture", "truncated")
UNSEEN = ("rosin_rammler", "triangle", "two_narrow")  # kinds that no estimator is trained on


def size_grid(count: int = COUNT, low: float = LOW, high: float = HIGH) -> np.ndarray:
    """Equidistant sizes in metres, (count,) float64."""
    return np.linspace(low, high, count)


def weighted(p: Any, sizes: Any, power: float) -> Any:
    """Weights by number (power 0), area (2) or volume (3) of numbers p (..., s): they sum to 1. numpy or torch."""
    scale = (sizes / sizes.max()) ** power
    w = p * scale
    return w / w.sum(-1)[..., None]


def numbers(w: Any, sizes: Any, power: float) -> Any:
    """Shares by number of weights w (..., s) by ``power``: the inverse of :func:`weighted`."""
    return weighted(w, sizes, -power)


def quantile(w: Any, sizes: Any, level: float) -> np.ndarray:
    """Size below which the share ``level`` of the weights w (..., s) lies, linear between the sizes, in metres."""
    w = np.asarray(w, np.float64)
    flat = w.reshape(-1, w.shape[-1])
    middle = np.cumsum(flat, -1) - flat / 2
    return np.array([np.interp(level, row, sizes) for row in middle]).reshape(w.shape[:-1])


def distance(w: Any, v: Any) -> np.ndarray:
    """Mean over the grid of |CDF(w) - CDF(v)|: the Wasserstein-1 distance in units of the grid's range."""
    return np.abs(np.cumsum(np.asarray(w) - np.asarray(v), -1)).mean(-1)


# Families, all by volume ----------------------------------------------------------------------------------------------

def lognormal(sizes: Any, median: Any, width: Any) -> np.ndarray:
    """Log-normal by volume, (..., s) for ``median`` (m) and ``width`` (of ln size) of shape (...): numbers."""
    median, width = np.asarray(median)[..., None], np.asarray(width)[..., None]
    return _from_volume(np.exp(-0.5 * (np.log(sizes / median) / width) ** 2) / sizes, sizes)


def _from_volume(v: Any, sizes: Any) -> np.ndarray:
    if (v.sum(-1) <= 0).any():
        raise ValueError("a distribution has no weight on the grid of sizes; it lies outside, or between two of them")
    return numbers(v / v.sum(-1, keepdims=True), sizes, VOLUME)


def draw(kind: str, count: int, sizes: Any, rng: np.random.Generator, medians: Any = None) -> np.ndarray:
    """``count`` distributions of a family, (count, s) shares by number; medians by volume uniform in ln size.

    lognormal: width 0.03 to 0.6; mixture: two or three of width 0.03 to 0.4; truncated: one of width 0.2 to 0.8, cut
    at both sides. Not for training: rosin_rammler (Weibull by volume), triangle, two_narrow (Gaussians a
    factor 1.5 to 5 apart).

    Raises ValueError for an unknown kind.
    """
    low, high = TRUSTED if medians is None else medians

    def medians_of(n: Any) -> np.ndarray:
        return np.exp(rng.uniform(math.log(low), math.log(high), n))

    if kind == "lognormal":
        return lognormal(sizes, medians_of(count), rng.uniform(0.03, 0.6, count))
    if kind == "mixture":
        parts = weighted(lognormal(sizes, medians_of((count, 3)), rng.uniform(0.03, 0.4, (count, 3))), sizes, VOLUME)
        share = rng.dirichlet((1.5, 1.5, 1.5), count)
        share[rng.random(count) < 0.7, 2] = 0.0
        return _from_volume(np.einsum("ck,cks->cs", share, parts), sizes)
    if kind == "truncated":
        middle, width = medians_of(count), rng.uniform(0.2, 0.8, count)
        v = weighted(lognormal(sizes, middle, width), sizes, VOLUME)
        cuts = np.exp(width[:, None] * np.stack((-rng.uniform(0.1, 1.5, count), rng.uniform(0.1, 1.5, count)), 1))
        cuts = np.clip(middle[:, None] * cuts, low, high)
        step = sizes[1] - sizes[0]
        inside = np.clip((sizes - cuts[:, :1]) / step + 1, 0, 1) * np.clip((cuts[:, 1:] - sizes) / step + 1, 0, 1)
        return _from_volume(v * inside, sizes)
    if kind == "rosin_rammler":
        slope = rng.uniform(2.0, 8.0, (count, 1))
        x = sizes / medians_of((count, 1)) * math.log(2) ** (1 / slope)
        return _from_volume(x ** (slope - 1) * np.exp(-(x**slope)), sizes)
    if kind == "triangle":
        middle, half = medians_of((count, 1)), rng.uniform(0.1, 0.6, (count, 1))
        return _from_volume(np.clip(1 - np.abs(sizes / middle - 1) / half, 0, None) + 1e-12, sizes)
    if kind == "two_narrow":
        one = medians_of((count, 1)) / 1.5
        one = np.clip(one, low, high / 1.5)
        two = np.minimum(one * np.exp(rng.uniform(math.log(1.5), math.log(5.0), (count, 1))), high)
        share = rng.uniform(0.25, 0.75, (count, 1))
        peaks = [np.exp(-0.5 * ((sizes - m) / (0.05 * m + 3e-6)) ** 2) for m in (one, two)]
        peaks = [v / v.sum(-1, keepdims=True) for v in peaks]
        return _from_volume(share * peaks[0] + (1 - share) * peaks[1], sizes)
    raise ValueError(f"kind must be one of {', '.join((*TRAINED, *UNSEEN))}, got {kind!r}")
