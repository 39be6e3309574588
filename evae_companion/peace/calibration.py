r"""What the optics' numbers are off by, from the data: the scale of q, and the height of the autocorrelation.

A focal length 1 % wrong stretches q, and with it the beam's own pattern |M|^2, by 1 %. Near q = 0 that looks like
grains of radius sqrt(2 0.01) = 0.14 beam radii more in the square (340 um for 2.4 mm), and divided by the |M|^2 of a
wrong scale no P^2 is left that any powder has. But the zeros of |M|^2 stay where they are whatever the powder is, so
the scale can be read from the same autocorrelation. With rings of an image (or the points of a cut) y, each a sum
over its pixels i,

.. math::
    y = \sum_i \frac{|M(\sigma q_i)|^2}{n}\,\big[h + \sum_k z_k\,\varphi_k(\sigma q_i)\big] + \mathrm{noise},\qquad
    P^2(q) = 1 + \sum_k z_k \varphi_k(q)

phi_k are the principal functions of P^2 - 1 over the families of sizes, whose spread there is the prior of z; h is 1
where lag 0 holds nothing but speckle, and free where the camera's noise sits on it. All of z and h are integrated
out; the evidence as a function of the scale sigma gives its best value and standard error. A prior of sigma is what
the optics are trusted to. Only the product of beam width and 1 / focal length shows; the focal length is blamed. If
it is the beam's width that is off, sizes come out wrong by as many per cent, no more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.linalg import cho_factor, cho_solve

from evae_companion.peace import sizes as s
from evae_companion.peace.law import Law, beam, jinc
from evae_companion.peace.optics import Optics
from evae_companion.peace.reduction import Reduction, cut_covariances, image_covariances

WIDEST = 0.04  # of the scale: what is looked at, and what networks are trained for
TERMS = 14  # principal functions: all but 1e-9 of the variance
WEAK = 4.0  # how many times the families' variance the prior has: it guides, it does not judge
FREE = 0.5  # standard deviation of the height where it is free
RING = 1.0  # pixels, the width of a ring


@dataclass(frozen=True)
class Calibration:
    """``scale``: true q over assumed q, with its standard error; ``height``: the autocorrelation beside lag 0 is so
    many times the law's, with its standard error; ``frames``: that the noise amounts to; ``misfit``: mean squared
    whitened residual a ring, 1 where all of it is noise."""

    scale: float
    scale_error: float
    height: float
    height_error: float
    frames: float
    misfit: float


class ScaleCalibration:
    """The rings of an image of side ``crop``, or the points of a cut at ``lags``, for one optics."""

    def __init__(self, optics: Optics, crop: int | None = None, lags: np.ndarray | None = None):
        self.optics, self.crop, self.lags = optics, crop, lags
        if crop is not None:
            axis = optics.lags(crop)
            away = np.hypot(axis[:, None], axis).ravel()
            ring = np.rint(away / RING).astype(int)
            names = np.unique(ring[(ring > 0) & (away <= crop // 2)])
            self.rows = np.stack([(ring == name) / (ring == name).sum() for name in names])
            self.q = away * optics.q_step
            self.speckle, self.surface = image_covariances(optics, crop, self.rows)
        elif lags is not None:
            self.q = np.abs(lags) * optics.q_step
            self.rows = np.eye(len(lags))[self.q > 0]
            self.speckle, self.surface = cut_covariances(optics, lags, self.rows)
        else:
            raise ValueError("a gauge needs crop or lags")
        self._unique, self._where = np.unique(self.q, return_inverse=True)
        self._functions, self._spread = principal((1 + WIDEST) * float(self.q.max()))
        self.pixels = 1 / (self.rows**2).sum(1)

    def beam2(self, scale: float) -> np.ndarray:
        """|M(scale q)|^2 at the pixels."""
        if self.optics.mask is None:
            return jinc(self.optics.beam_diameter / 2 * scale * self._unique)[self._where] ** 2
        axis = (self.optics.lags(self.crop) if self.lags is None else self.lags) * self.optics.q_step * scale
        return beam(self.optics, axis, axis).ravel() if self.lags is None else beam(self.optics, axis, 0.0)[0]

    def model(self, scale: float) -> np.ndarray:
        """(rings, 1 + TERMS): what the height and each principal function make of the rings."""
        terms = self._functions(scale * self._unique)[self._where]
        return self.rows @ (self.beam2(scale)[:, None] * np.hstack((np.ones((len(terms), 1)), terms)))

    def fit(self, values: Any, *, frames: float | None, grains: float, trust: float, free_height: bool) -> Calibration:
        """The best scale, height and number of frames for an autocorrelation with 1 at lag 0.

        Parameters
        ----------
        values : (points,); frames, and independent grains a frame; None: frames are found too.
        trust : standard deviation of the scale before looking; 0: the scale is 1.
        """
        y = self.rows @ np.ravel(values)
        heights = FREE if free_height else 1e-9
        prior = np.concatenate(([heights**2], WEAK * self._spread**2))
        several = np.array([frames]) if frames is not None else np.logspace(-1, 3.5, 19)

        def solved(model: Any, count: float) -> tuple[Any, np.ndarray]:
            covariance = self.speckle / count + self.surface / (count * grains)
            covariance = covariance + np.diag(1e-2 * np.diag(covariance) + 1e-14)
            whole = covariance + (model * prior) @ model.T
            factor = cho_factor(whole, lower=True)
            return factor, y - model[:, 0]

        def evidence(scale: float, count: float, model: Any = None) -> float:
            model = self.model(scale) if model is None else model
            factor, left = solved(model, count)
            value = -0.5 * left @ cho_solve(factor, left) - np.log(np.diag(factor[0])).sum()
            return value - 0.5 * ((scale - 1) / trust) ** 2 if trust > 0 else value

        scale, error, count = 1.0, 0.0, several[0]
        widest = min(WIDEST, 4 * trust)
        scales = 1 + np.linspace(-widest, widest, 33) if trust > 0 else np.ones(1)
        table = np.array([[evidence(x, k, model) for k in several] for x in scales for model in (self.model(x),)])
        best = np.unravel_index(table.argmax(), table.shape)
        scale, count = float(scales[best[0]]), float(several[best[1]])
        if trust > 0:
            scale, error = _peak(lambda x: evidence(x, count), scale, scales[1] - scales[0])
        model = self.model(scale)
        factor, left = solved(model, count)
        told = prior[:, None] * model.T
        z = told @ cho_solve(factor, left)
        height_error = np.sqrt(max(prior[0] - told[0] @ cho_solve(factor, told[0]), 0.0))
        covariance = self.speckle / count + self.surface / (count * grains)
        apart = left - model @ z
        noise = np.sqrt(np.diag(covariance) + 1e-14)
        misfit = float(np.mean((apart / noise) ** 2))
        height = (float(1 + z[0]), float(height_error)) if free_height else (1.0, 0.0)
        return Calibration(scale, error, *height, count, misfit)


def _peak(function: Any, start: float, step: float) -> tuple[float, float]:
    """(place, standard error) of the greatest value near ``start`` of a log-probability, by parabolas."""
    at = start
    error = step
    for _ in range(12):
        low, middle, high = (function(at + d) for d in (-step, 0.0, step))
        bend = 2 * middle - low - high
        if bend <= 0:
            at = at + step if high > low else at - step
            continue
        move = float(np.clip((high - low) / (2 * bend), -2, 2)) * step
        error = step / np.sqrt(bend)
        at, before = at + move, step
        step = min(max(0.7 * error, 1e-6), before)
        if abs(move) < 0.05 * error and step > 0.5 * before:
            break
    return float(at), float(error)


@lru_cache(8)
def principal(reach: float, count: int = 700) -> tuple[CubicSpline, np.ndarray]:
    """The principal functions of P^2 - 1 up to the wave number ``reach`` (1/m), a spline (q -> (..., TERMS)), and the
    root mean square of their coefficients."""
    rng, radii = np.random.default_rng(0), s.size_grid(96)
    p = np.concatenate([s.draw(kind, count, radii, rng) for kind in s.TRAINED])
    q = np.linspace(0, reach, int(reach / 90) + 60)
    squared = (s.weighted(p, radii, s.AREA) @ jinc(q[:, None] * radii).T) ** 2 - 1
    _, strength, functions = np.linalg.svd(squared, full_matrices=False)
    return CubicSpline(q, functions[:TERMS].T), strength[:TERMS] / np.sqrt(len(p))


def rescaled(optics: Optics, scale: float) -> Optics:
    """The optics whose wave numbers are ``scale`` times as large: another focal length."""
    return replace(optics, focal_length=optics.focal_length / scale)


def responses(optics: Optics, made: Reduction, lags: Any, p: Any, radii: np.ndarray, degree: int = 8) -> np.ndarray:
    r"""B (1 + degree, 1 + nodes, nodes): what the reduction, with a scale wrong by d, makes of P^2.

    It adds sum_k d^k [1, P^2 - 1] B_k. B_0 is what averaging over a node's neighbourhood does, up to one standard
    deviation of the noise of 200 frames.

    From the law at scales up to 1 +- WIDEST, reduced with the wrong one, for distributions p (n, s) by number at radii.
    """
    places = WIDEST * np.cos(np.pi * (np.arange(2 * degree + 1) + 0.5) / (2 * degree + 1))
    area = s.weighted(np.asarray(p, np.float64), radii, s.AREA)
    clean = (area @ jinc(made.nodes[:, None] * radii).T) ** 2
    inverse = np.linalg.pinv(np.hstack((np.ones((len(area), 1)), clean - 1)), rcond=1e-7)
    moved = []
    for d in places:
        law = Law(rescaled(optics, 1 + d), radii, lags)
        unique, where = np.unique(law.q, return_inverse=True)
        matrix = np.zeros((len(made.nodes), len(unique)))
        np.add.at(matrix.T, where.ravel(), (made.matrix * law.beam2.ravel()).T)
        squared = (area @ jinc(unique[:, None] * radii).T) ** 2 @ matrix.T
        moved.append(inverse @ np.where(made.seen, squared - clean, 0.0))
    k = np.arange(degree + 1)
    powers = np.linalg.pinv((places[:, None] / WIDEST) ** k) / WIDEST ** k[:, None]
    return np.einsum("kd,dij->kij", powers, np.array(moved))
