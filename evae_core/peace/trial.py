"""Estimators side by side on synthetic data whose truth is known: the rows of the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evae_core.peace import inverse
from evae_core.peace import sizes as s
from evae_core.peace.estimator import COARSE, predict
from evae_core.peace.law import Law
from evae_core.peace.learning import factor, squared_of
from evae_core.peace.network import Shape, SizeNet
from evae_core.peace.optics import Optics
from evae_core.peace.reduction import Reduction, reduce_cut, reduce_image

LEVELS = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class Case:
    """Data of one kind: a family of distributions, what was averaged, and what is wrong with the calibration."""

    kind: str = "lognormal"
    frames: float = 200.0
    grains: float = 5000.0  # independent grains in a frame; inf: the speckle's noise alone
    median: float | None = None  # m, by volume; None: all of sizes.TRUSTED
    cut: bool = False  # a one-dimensional cut at whole pixels instead of the image
    focal_error: float = 0.0  # the true focal length is (1 + this) times that assumed
    count: int = 60
    seed: int = 1000


@dataclass(frozen=True)
class Score:
    """Of one method in one case. ``volume``, ``number``: mean L1 distance of the cumulative curves (W1 in units of the
    range 10 to 1200 um); ``d_volume``, ``d_number``: median |relative error| of d10, d50, d90; ``within``: share of the
    cumulative curve's errors by volume below twice the error told (NaN where none is told)."""

    method: str
    volume: float
    number: float
    d_volume: tuple[float, float, float]
    d_number: tuple[float, float, float]
    within: float


def reduction_of(optics: Optics, cut: bool, shape: Shape) -> Reduction:
    """The reduction of a case, at a network's nodes."""
    nodes = shape.node * np.arange(1, shape.nodes + 1)
    return reduce_cut(optics, np.arange(optics.crop // 2), nodes) if cut else reduce_image(optics, optics.crop, nodes)


def make(case: Case, optics: Optics, made: Reduction, radii) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(truth (count, s) by number, noisy P^2 (count, nodes), covariance) of a case at law's radii (m)."""
    rng = np.random.default_rng(case.seed)
    p = s.draw(case.kind, case.count, radii, rng, None if case.median is None else (case.median, case.median))
    if case.focal_error:
        true = replace(optics, focal_length=optics.focal_length * (1 + case.focal_error))
        lags = np.arange(optics.crop // 2) if case.cut else None
        law = Law(true, radii / optics.radius(1.0), lags)
        clean = np.stack([made(law(row).numpy()) for row in p])
    else:
        clean = squared_of(p, radii, made.nodes)
    covariance = made.covariance(case.frames, case.frames * case.grains)
    return p, clean + rng.standard_normal(clean.shape) @ factor(covariance).T, covariance


def compare(case: Case, networks: Mapping[str, Sequence[SizeNet]], optics: Optics | None = None, *,
            made: Reduction | None = None, least_squares: bool = True) -> list[Score]:
    """Score every ensemble of ``networks`` by name, then NNLS and Tikhonov, on the same data.

    ``made``: the case's reduction, where it is there already.
    """
    optics, first = optics or Optics(), next(iter(networks.values()))[0]
    radii = first.radii.numpy()
    made = made or reduction_of(optics, case.cut, first.shape)
    p, squared, covariance = make(case, optics, made, radii)
    spread = np.broadcast_to(np.sqrt(np.diag(covariance).clip(0)), squared.shape)
    scores = []
    for name, nets in networks.items():
        _, number, volume, errors = predict(nets, squared, spread)
        scores.append(_score(name, radii, p, number, volume, errors))
    if least_squares:
        coarse = np.linspace(radii[0], radii[-1], COARSE)
        for name, smooth in (("nnls", 0.0), ("tikhonov", None)):
            fits = np.stack([inverse.nonnegative(y, made.nodes, covariance, coarse, smooth=smooth).numbers
                             for y in squared])
            number, volume = (_finer(s.weighted(fits, coarse, power), coarse, radii) for power in (s.NUMBER, s.VOLUME))
            scores.append(_score(name, radii, p, number, volume, None))
    return scores


def _finer(w, coarse, radii) -> np.ndarray:
    """Weights (n, c) on another grid, by their cumulative curves."""
    curves = np.stack([np.interp(radii, coarse, np.cumsum(row) - row / 2) for row in w])
    found = np.diff(curves, axis=1, prepend=0.0, append=1.0)[:, :-1]
    return found / found.sum(1, keepdims=True)


def _score(name, radii, p, number, volume, errors) -> Score:
    v = s.weighted(p, radii, s.VOLUME)

    def off(found, true):
        return tuple(float(np.median(np.abs(s.quantile(found, radii, x) / s.quantile(true, radii, x) - 1)))
                     for x in LEVELS)

    wrong = np.abs(np.cumsum(volume - v, -1))
    busy = wrong > 1e-4  # where both curves are 0 or 1 nothing is tested
    within = np.nan if errors is None else float((wrong <= 2 * errors[:, 1])[busy].mean())
    return Score(name, float(s.distance(volume, v).mean()), float(s.distance(number, p).mean()), off(volume, v),
                 off(number, p), within)
