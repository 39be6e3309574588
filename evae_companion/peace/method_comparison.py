"""Estimators side by side on synthetic data whose truth is known: the rows of the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import fft

from evae_companion.peace import camera_transfer, inverse
from evae_companion.peace import sizes as s
from evae_companion.peace.calibration import Calibration, ScaleCalibration
from evae_companion.peace.estimator import COARSE, predict
from evae_companion.peace.law import Law, amplitude
from evae_companion.peace.learning import factor, fine_tune
from evae_companion.peace.measured import Measured, gauge_of, measure
from evae_companion.peace.network import Shape, SizeNet
from evae_companion.peace.optics import Optics
from evae_companion.peace.reduction import Reduction, cut_covariances, reduce_cut, reduce_image

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
    calibration: float = 0.0  # standard error of the scale that estimators are told; 0: they trust it
    count: int = 60
    seed: int = 1000
    powder: np.ndarray | None = None  # (s,) shares by number of every powder; None: drawn from the kind


class Data(NamedTuple):
    """``squared``, ``spread`` (count, nodes), ``doubt`` (count, 2), ``covariance`` (count, nodes, nodes) of ``each``
    (count,), see :class:`~evae_companion.peace.measured.Measured`."""

    squared: np.ndarray
    spread: np.ndarray
    doubt: np.ndarray
    covariance: np.ndarray
    each: tuple[Measured, ...]

    @classmethod
    def of(cls, each: Sequence[Measured]) -> Data:
        squared, spread, doubt, covariance = (np.stack([getattr(x, name) for x in each]) for name in cls._fields[:-1])
        return cls(squared, spread, doubt, covariance, tuple(each))

    def resample_for(self, optics: Optics, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
        """(P^2, its standard deviation), (count, nodes) each, as networks of a shape are shown them."""
        squared, spread = zip(*(camera_transfer.resample_for(optics, one, shape) for one in self.each), strict=True)
        return np.stack(squared), np.stack(spread)


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


def make(case: Case, optics: Optics, made: Reduction, radii: np.ndarray) -> tuple[np.ndarray, Data]:
    """(truth (count, s) by number, data) of a case at law's radii (m): the law of the true optics, reduced with the
    assumed ones."""
    rng = np.random.default_rng(case.seed)
    p = s.draw(case.kind, case.count, radii, rng, None if case.median is None else (case.median, case.median)) \
        if case.powder is None else np.tile(case.powder, (case.count, 1))
    true = replace(optics, focal_length=optics.focal_length * (1 + case.focal_error))
    lags = np.arange(optics.crop // 2) if case.cut else None
    crop, cut = (optics.crop, None) if lags is None else (None, tuple(map(float, lags)))
    law = Law(true, radii / optics.radius(1.0), lags)
    clean = law(torch.from_numpy(p)).numpy()
    covariance = made.covariance(case.frames, case.frames * case.grains)
    if case.calibration == 0:
        squared = made(clean) + rng.standard_normal((case.count, len(made.nodes))) @ factor(covariance).T
        found = Calibration(1.0, 0.0, 1.0, 0.0, case.frames, np.nan)
        spread = np.sqrt(np.diag(covariance).clip(0))
        return p, Data.of([Measured(made.nodes, y, spread, covariance, covariance, np.zeros(2), made.beam2, made.seen,
                                    found, (), crop, cut, 1.0) for y in squared])
    gauge = gauge_of(optics, crop, cut)
    each = []
    for one in clean:
        one = one + noise_of(gauge, case, rng).reshape(one.shape)
        each.append(measure(one / one.max(), optics, made.nodes, frames=case.frames, grains=case.grains,
                            calibration=case.calibration, lag_zero=False))
    return p, Data.of(each)


def noise_of(gauge: ScaleCalibration, case: Case, rng: np.random.Generator) -> np.ndarray:
    """One draw (points,) of the noise of an autocorrelation in a case."""
    optics = gauge.optics
    if gauge.lags is not None:
        speckle, surface = cut_covariances(optics, gauge.lags, np.eye(len(gauge.lags)))
        by = factor(speckle / case.frames + surface / (case.frames * case.grains))
        return by @ rng.standard_normal(len(by))
    side, crop = 2 * optics.crop, optics.crop
    axis = optics.lags(side) * optics.q_step
    m = np.real(amplitude(optics, axis, axis))  # of a beam with a centre of symmetry
    white = rng.standard_normal((side, side)) / np.sqrt(optics.pixels * case.frames)
    part = slice(crop - crop // 2, crop - crop // 2 + crop)
    speckle = _even(fft.irfft2(fft.rfft2(white) * np.abs(fft.rfft2(fft.ifftshift(m**2))), (side, side)))[part, part]
    # the surface: independent points of the lit area, whose transform has the covariance M(u - v)
    x, y = _points(optics, 2000, rng).T
    weight = rng.standard_normal(len(x)) / np.sqrt(len(x) * case.frames * case.grains)
    m, axis = m[part, part], axis[part]
    moved = speckle + 2 * m * ((np.exp(-1j * axis[:, None] * y) * weight) @ np.exp(-1j * x[:, None] * axis)).real
    return (moved - m**2 * moved[crop // 2, crop // 2]).ravel()


def _points(optics: Optics, count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, 2) positions in m, at random where the beam is, as dense as it is bright."""
    if optics.mask is None or optics.mask_spacing is None:
        radius, angle = optics.beam_diameter / 2 * np.sqrt(rng.random(count)), 2 * np.pi * rng.random(count)
        return np.stack((radius * np.cos(angle), radius * np.sin(angle)), 1)
    pixel = rng.choice(optics.mask.size, count, p=optics.mask.ravel() / optics.mask.sum())
    row, column = np.divmod(pixel, optics.mask.shape[1])
    middle = np.array(optics.mask.shape[::-1]) // 2
    return (np.stack((column, row), 1) - middle + rng.random((count, 2)) - 0.5) * optics.mask_spacing


def _even(field: np.ndarray) -> np.ndarray:
    """(f(u) + f(-u)) / sqrt(2), 0 at [n // 2, n // 2] of an even side."""
    return (field + np.roll(field[::-1, ::-1], 1, (0, 1))) / np.sqrt(2)


def compare(case: Case, networks: Mapping[str, Sequence[SizeNet]], optics: Optics | None = None, *,
            made: Reduction | None = None, least_squares: bool = True, tune: int = 0) -> list[Score]:
    """Score every ensemble of ``networks`` by name, all of one shape, then NNLS and Tikhonov, on the same data, which
    networks are shown as their own camera would (module view).

    ``made``: the case's reduction, where it is there already; ``tune``: steps of fine-tuning of "peace" on all of the
    case's data, unlabelled, by the physics term alone, scored as "tuned".
    """
    optics, first = optics or Optics(), next(iter(networks.values()))[0]
    radii = first.radii.numpy()
    made = made or reduction_of(optics, case.cut, first.shape)
    p, data = make(case, optics, made, radii)
    squared, spread = data.resample_for(optics, first.shape)
    scores = []
    if tune:
        tuned = fine_tune(networks["peace"], squared, spread, made.beam2, data.doubt, steps=tune)
        networks = {**networks, "tuned": tuned}
    for name, nets in networks.items():
        _, number, volume, errors = predict(nets, squared, spread, data.doubt)
        scores.append(_score(name, radii, p, number, volume, errors))
    if least_squares:
        coarse = np.linspace(radii[0], radii[-1], COARSE)
        for name, smooth in (("nnls", 0.0), ("tikhonov", None)):
            fits = np.stack([inverse.nonnegative(y, made.nodes, covariance, coarse, smooth=smooth).numbers
                             for y, covariance in zip(data.squared, data.covariance, strict=True)])
            number, volume = (_finer(s.weighted(fits, coarse, power), coarse, radii) for power in (s.NUMBER, s.VOLUME))
            scores.append(_score(name, radii, p, number, volume, None))
    return scores


def _finer(w: Any, coarse: Any, radii: np.ndarray) -> np.ndarray:
    """Weights (n, c) on another grid, by their cumulative curves."""
    curves = np.stack([np.interp(radii, coarse, np.cumsum(row) - row / 2) for row in w])
    found = np.diff(curves, axis=1, prepend=0.0, append=1.0)[:, :-1]
    return found / found.sum(1, keepdims=True)


def _score(name: str, radii: np.ndarray, p: Any, number: Any, volume: Any, errors: Any) -> Score:
    v = s.weighted(p, radii, s.VOLUME)

    def off(found: np.ndarray, true: np.ndarray) -> tuple[float, float, float]:
        a, b, c = (float(np.median(np.abs(s.quantile(found, radii, x) / s.quantile(true, radii, x) - 1)))
                   for x in LEVELS)
        return a, b, c

    wrong = np.abs(np.cumsum(volume - v, -1))
    busy = wrong > 1e-4  # where both curves are 0 or 1 nothing is tested
    within = np.nan if errors is None else float((wrong <= 2 * errors[:, 1])[busy].mean())
    return Score(name, float(s.distance(volume, v).mean()), float(s.distance(number, p).mean()), off(volume, v),
                 off(number, p), within)
