r"""Estimators that learn nothing: an effective size from the curvature, non-negative least squares, Tikhonov.

P(q) = sum_j Jinc(q r_j) a_j is linear in the area weights a >= 0, sum a = 1. What is measured is P^2; its sign is taken
from the fit itself: only nodes before the first zero of P are used at first, then all, with the fit's signs, a few
times over. Residuals are whitened with the covariance of the noise. Tikhonov's weight is the largest at which the
residual is still what the noise explains (the discrepancy principle).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import nnls

from evae_companion.peace.law import jinc
from evae_companion.peace.sizes import AREA, numbers

ROUNDS = 4  # of taking the signs of P from the fit
UNIT = 300.0  # weight of sum a = 1, in standard deviations
FLOOR = 1e-3  # least eigenvalue of the noise's correlation that whitening believes in
WEIGHTS = np.logspace(4, -4, 17)  # of Tikhonov's term, the largest first


@dataclass(frozen=True)
class Fit:
    """``numbers`` (s,) shares by number at the sizes; ``misfit``: mean squared whitened residual a node (1: all is
    noise); ``weight`` of the smoothness, 0 for none."""

    numbers: np.ndarray
    misfit: float
    weight: float


def effective_radius(squared: Any, nodes: np.ndarray, covariance: np.ndarray) -> tuple[float, float]:
    r"""sqrt(<r^4> / <r^2>) in m and its standard error from the curvature: P^2 = 1 - (q^2 / 4) <r^4>/<r^2> + ...

    P^2 - 1 is fitted by the least squares of the noise to terms in q^2 and q^4, both free, over the first nodes, as
    many as keep P^2 above 0.8. (0, inf) where the curvature is not positive.
    """
    usable = np.isfinite(squared)
    q, y, covariance = nodes[usable], squared[usable], covariance[np.ix_(usable, usable)]
    last = max(4, int(np.argmax(y < 0.8)) if (y < 0.8).any() else len(y))
    q, y, white = q[:last], y[:last], whitening(covariance[:last, :last])
    scale = q[-1]
    terms = np.stack(((q / scale) ** 2, (q / scale) ** 4), 1)
    solved = np.linalg.pinv(white @ terms)
    slope = -(solved @ (white @ (y - 1)))[0]
    error = np.sqrt((solved[0] ** 2).sum())
    if slope <= 0:
        return 0.0, np.inf
    radius = 2 * np.sqrt(slope) / scale
    return radius, radius * error / (2 * slope)


def whitening(covariance: np.ndarray) -> np.ndarray:
    """W with W C W^T = 1, for C's correlations with eigenvalues of FLOOR at least."""
    scale = np.sqrt(np.diag(covariance))
    values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
    return (vectors / np.sqrt(np.maximum(values, FLOOR))).T / scale


def kernel(nodes: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Jinc(q r), (nodes, sizes) float64."""
    return jinc(np.asarray(nodes)[:, None] * np.asarray(radii))


def nonnegative(squared: Any, nodes: np.ndarray, covariance: np.ndarray, radii: np.ndarray, *,
                smooth: float | None = 0.0) -> Fit:
    """Area weights by non-negative least squares; ``smooth`` times the squared second difference is added.

    Parameters
    ----------
    squared : (nodes,) P^2, NaN where there is none; nodes (1/m); covariance (nodes, nodes) of P^2.
    radii : (s,) in m, equidistant.
    smooth : 0 is NNLS without regularisation; None: Tikhonov, chosen by the discrepancy principle.
    """
    usable = np.isfinite(squared)
    y, q = np.asarray(squared)[usable], np.asarray(nodes)[usable]
    covariance = np.asarray(covariance)[np.ix_(usable, usable)]
    radii = np.asarray(radii)
    k, rough = kernel(q, radii), np.diff(np.eye(len(radii)), 2, axis=0) * len(radii) ** 1.5
    spread = np.sqrt(np.diag(covariance))
    low = (y < 2 * spread) | (y < 0.02)
    early = np.arange(len(q)) < max(4, np.argmax(low) if low.any() else len(q))

    def solve(signs: Any, chosen: Any, weight: float) -> tuple[np.ndarray, float]:
        root = np.sqrt(np.clip(y, 0, None))
        slope = 2 * np.maximum(root, np.sqrt(spread / 2))  # dP^2 / dP, not below what the noise makes of P = 0
        plain = whitening(covariance[np.ix_(chosen, chosen)])
        white = plain * slope[chosen]
        rows = [white @ k[chosen], UNIT * np.ones((1, len(radii)))]
        right = [white @ (signs * root)[chosen], [UNIT]]
        if weight > 0:
            rows.append(np.sqrt(weight) * rough)
            right.append(np.zeros(len(rough)))
        a, _ = nnls(np.vstack(rows), np.concatenate(right), maxiter=50 * len(radii))
        return a, float(np.mean((plain @ ((k[chosen] @ a) ** 2 - y[chosen])) ** 2))

    def settle(weight: float, signs: np.ndarray | None = None) -> tuple[np.ndarray, float, np.ndarray]:
        now = np.sign(k @ solve(np.ones(len(q)), early, weight)[0]) if signs is None else signs
        for turn in range(ROUNDS):
            a, misfit = solve(now, np.ones(len(q), bool), weight)
            found = np.sign(k @ a)
            if turn == ROUNDS - 1 or np.array_equal(found, now):
                break
            now = found
        return a, misfit, now

    if smooth is not None:
        a, misfit, _ = settle(smooth)
        return Fit(_numbers(a, radii), float(misfit), smooth)
    a, best, signs = settle(WEIGHTS[-1])
    allowed = max(1.0, 1.1 * best)
    for weight in WEIGHTS:
        found, misfit, _ = settle(weight, signs)
        if misfit <= allowed:
            return Fit(_numbers(found, radii), float(misfit), float(weight))
    return Fit(_numbers(a, radii), float(best), float(WEIGHTS[-1]))


def _numbers(a: Any, radii: np.ndarray) -> np.ndarray:
    return numbers(a / a.sum(), radii, AREA)
