r"""The term of the grains' number in a measured autocorrelation, which every estimator of the published law needs taken
off.

.. math::
    A_{\mathrm{measured}} = \frac{h}{1 + T(0)}\,\big[|M|^2 P^2 + T\big], \qquad
    T(q) = \frac{1}{N}\,\frac{\langle r^4\,\mathrm{Jinc}^2(qr)\rangle}{\langle r^2\rangle^2}

(see the module law; h: the height beside lag 0). T is not multiplied by |M|^2, so from about the beam's fifth ring on
(5000 grains) it is as large as the rest. It is taken off the autocorrelation itself, before the reduction divides
|M|^2 out. First comes T of the log-normal that with its own T fits the data best (:meth:`Crowd.start`; from an
estimate that takes T for sizes few grains do not settle), then T of the networks' answers, as long as law and term
together fit better, PASSES at most.
NNLS's own answers, with spurious fine grains, make <r^4> / <r^2>^2 a hundred times too large.

Where the number of grains is not known but the share c of the lit area S that they cover is, N = c S / (pi <r^2>), and
T = (pi / c S) sum_j a_j r_j^2 Jinc^2(q r_j) in the area weights a, which does not need the number of the smallest.

Grains side by side: every size's part times the structure factor of hard discs at that coverage (law.packing), known as
such or as N pi <r^2> / S.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from scipy.optimize import least_squares

from evae_companion.peace.calibration import rescaled
from evae_companion.peace.camera_transfer import points
from evae_companion.peace.inverse import whitening
from evae_companion.peace.law import Law, jinc, packing
from evae_companion.peace.learning import squared_of
from evae_companion.peace.measured import Measured, reduction_of
from evae_companion.peace.optics import Optics
from evae_companion.peace.sizes import AREA, TRUSTED, lognormal, quantile, weighted

PASSES = 3  # terms that are tried after the log-normal's
HEIGHT = 0.1  # standard deviation of ln h, which the start finds too
DENSEST = 0.7  # coverage from which discs in equilibrium freeze: beyond it the term is taken as there
TRIM = 0.1  # share of the area whose grains' sizes are not believed one by one


@dataclass(frozen=True)
class Crowd:
    """``grains`` lit in a frame, or ``coverage``, the share of the lit area that they cover; one of the two.
    ``overlap``: grains at random; False: none over another."""

    grains: float | None
    coverage: float | None
    overlap: bool

    def independent(self, optics: Optics, p: np.ndarray, radii: np.ndarray) -> tuple[float, float]:
        """(N / k, share of the lit area covered), for shares p (s,) by number at radii (m), k = <r^4> / <r^2>^2: as
        many equal grains at random make the same T(0)."""
        area = weighted(p, radii, AREA)
        second = float(area @ radii**2)
        if self.grains is not None:
            # <r^4> / <r^2>^2 = sum(a r^2) sum(a / r^2): a few grains at the grid's fine end must not make the sum
            fine = np.maximum(radii, quantile(area, radii, TRIM))
            inverse = float(area @ fine**-2.0)  # 1 / <r^2>
            return self.grains / (second * inverse), self.grains * np.pi / inverse / optics.lit_area
        if self.coverage is not None:
            return self.coverage * optics.lit_area / (np.pi * second), self.coverage
        raise ValueError("a crowd needs grains or coverage")

    def term(self, optics: Optics, scale: float, crop: int | None, lags: Any, p: np.ndarray, radii: np.ndarray,
             ) -> tuple[np.ndarray, float]:
        """(T at the points of an image of side ``crop`` or of a cut at ``lags``, T(0)) with wave numbers ``scale``
        times those of the optics."""
        there = rescaled(optics if crop is None else replace(optics, crop=crop), scale)
        count, dense = self._packed(optics, p, radii)
        law = Law(there, radii / optics.radius(1.0), lags)
        found, whole = law.number_term(torch.from_numpy(p), 1.0, dense)
        height = (1.0 if dense is None else float(packing(0.0, dense))) / count
        return found.numpy() * (height / float(whole)), height

    def _packed(self, optics: Optics, p: np.ndarray, radii: np.ndarray) -> tuple[float, float | None]:
        """(N / k, coverage of the structure factor, None for grains at random): see :meth:`independent`."""
        count, covered = self.independent(optics, p, radii)
        return count, None if self.overlap else round(min(covered, DENSEST), 2)

    def at_nodes(self, optics: Optics, data: Measured, p: np.ndarray, radii: np.ndarray) -> np.ndarray:
        """T as the reduction sees it, (nodes,): what it adds to P^2."""
        count, dense = self._packed(optics, p, radii)
        fourth = weighted(p, radii, 4.0)
        return _kernel(optics, data.crop, data.lags, tuple(data.nodes), tuple(radii), dense) @ fourth / count

    def start(self, optics: Optics, data: Measured, radii: np.ndarray) -> np.ndarray:
        """Shares by number (s,) of the log-normal whose law and term are nearest to P^2 that still holds the term."""
        seen = data.seen
        white = whitening(data.noise[np.ix_(seen, seen)])

        def apart(x: Any) -> np.ndarray:
            p = lognormal(radii, np.exp(x[0]), np.exp(x[1]))
            made = squared_of(p, radii, data.nodes) + self.at_nodes(optics, data, p, radii)
            return np.append(white @ (np.exp(x[2]) * made - data.squared)[seen], x[2] / HEIGHT)

        low, high = np.log(TRUSTED)
        starts = [np.array((m, w, 0.0)) for m in np.linspace(low, high, 14) for w in np.log((0.1, 0.25, 0.5))]
        starts = sorted(starts, key=lambda x: float((apart(x) ** 2).sum()))[:3]
        bounds = ((low - 1, np.log(0.03), -0.5), (high + 0.2, np.log(0.8), 0.5))
        fits = [least_squares(apart, x, bounds=bounds, x_scale=(0.1, 0.3, 0.01)) for x in starts]
        return lognormal(radii, *np.exp(min(fits, key=lambda fit: fit.cost).x[:2]))

    def better(self, optics: Optics, data: Measured, old: np.ndarray, new: np.ndarray, radii: np.ndarray) -> bool:
        """Whether law and term of ``new`` fit better than those of ``old``, whose term is taken off in ``data``."""
        seen = data.seen
        white = whitening(data.noise[np.ix_(seen, seen)])
        left = [squared_of(p, radii, data.nodes) - data.squared for p in (old, new)]
        left[1] += self.at_nodes(optics, data, new, radii) - self.at_nodes(optics, data, old, radii)
        before, now = (float(((white @ x[seen]) ** 2).sum()) for x in left)
        return now < before


@lru_cache(8)
def _kernel(optics: Optics, crop: int | None, lags: tuple[float, ...] | None, nodes: tuple[float, ...],
            radii: tuple[float, ...], dense: float | None) -> np.ndarray:
    """(nodes, s): what the reduction makes of Jinc^2(q r), times the structure factor at the coverage ``dense``."""
    unique, where = np.unique(points(optics, crop, lags)[0], return_inverse=True)
    matrix = np.zeros((len(nodes), len(unique)))
    np.add.at(matrix.T, where.ravel(), reduction_of(optics, crop, lags, nodes).matrix.T)
    x = unique[:, None] * np.array(radii)
    return matrix @ (jinc(x) ** 2 if dense is None else jinc(x) ** 2 * packing(x, dense))
