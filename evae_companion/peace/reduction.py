r"""Any autocorrelation -> P^2 at fixed wave numbers, with its noise: what every estimator takes.

The law of a beam is A = |M(q)|^2 P(q)^2 with P radial, whatever the beam. At every node q_b, |M|^2 (alpha + beta t)
with t = (q^2 - q_b^2) / (2 q_b h), P^2 being smooth in q^2, is fitted to the points with |q - q_b| < h by least squares
with weights w = 1 - |q - q_b| / h; alpha is P^2 at the node:

.. math::
    \hat P^2_b = \sum_i G_{bi} A_i, \qquad
    G_{bi} = w_i |M_i|^2\,\frac{S_2 - S_1 t_i}{S_0 S_2 - S_1^2}, \quad S_k = \sum_i w_i |M_i|^4 t_i^k

so a ring of an image counts by what the beam lets it tell, nothing is divided by the zeros of M, and image and cut,
clear beam and mask, 96 pixels and another crop give the same numbers in the same places.

Noise, with lag 0 and its part in the normalisation, both measured against the simulator in the tests:

* speckle, of a frame of n pixels (Gaussian statistics): cov(A(u), A(v)) = [R(u - v) + R(u + v)] / n with R = A * A, the
  autocorrelation of the autocorrelation;
* surface, of N independent grains a frame: W's transform moves by d with <d(u) d*(v)> = (k / N) M(u - v), k =
  <r^4> / <r^2>^2, and A by 2 Re(M* d): cov = (2 k / N) Re[M*(u) M(v) M(u - v) + M*(u) M*(v) M(u + v)]. Grains that do
  not overlap are placed more evenly and count as several times their number.

Both are correlated over several pixels and fall as 1 / frames; they are taken at P = 1, that is for small grains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import fft

from evae_companion.peace.law import amplitude, beam
from evae_companion.peace.optics import Optics

RIDGE = 1e-3  # of the slope beta, which a lone point, or points on one side, do not hold


@dataclass(frozen=True)
class Reduction:
    """``matrix`` (nodes, points): P^2 = matrix @ A, rows of zeros where no point is near; ``seen`` (nodes,) bool;
    ``speckle`` (nodes, nodes): covariance of P^2 for one frame of the optics' camera; ``surface`` (nodes, nodes): for k
    / N = 1; ``beam2`` (nodes,), the root mean square of |M|^2 over a node's points, so that beam2 * P^2 is the
    autocorrelation there; ``nodes`` in 1/m."""

    nodes: np.ndarray
    matrix: np.ndarray
    seen: np.ndarray
    speckle: np.ndarray
    surface: np.ndarray
    beam2: np.ndarray

    def covariance(self, frames: float, grains: float) -> np.ndarray:
        """(nodes, nodes) of the average of so many frames that show so many independent grains (N / k) in all."""
        return self.speckle / frames + self.surface / grains

    def __call__(self, values: Any) -> np.ndarray:
        """P^2 (..., nodes) of autocorrelations (..., *shape of the lags); NaN at nodes that are not seen."""
        values = np.asarray(values, np.float64)
        values = values.reshape(*values.shape[:-2], -1) if values.shape[-1] != self.matrix.shape[1] else values
        found = values @ self.matrix.T
        return np.where(self.seen, found, np.nan)


def node_numbers(optics: Optics | None = None, count: int = 47) -> np.ndarray:
    """The wave numbers (1/m) at which P^2 is taken: the lags 1, 2, ... of a camera pixel of ``optics`` (the
    default's)."""
    return (optics or Optics()).q_step * np.arange(1, count + 1)


def width_of(step: float, nodes: np.ndarray) -> float:
    """h for points ``step`` apart: neighbours are reached, but not over more than two nodes' distance."""
    apart = nodes[1] - nodes[0]
    return min(max(step, apart), 2 * apart)


def weights(q: Any, beam2: Any, nodes: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """G (nodes, points) of the formula above for points at wave numbers q with |M|^2 = beam2, zeros where none is near;
    and the root mean square of |M|^2 over each node's points."""
    q, beam2 = np.ravel(q), np.ravel(beam2)
    w = np.where(q > 0, np.clip(1 - np.abs(q - nodes[:, None]) / width, 0, None), 0.0)  # lag 0 is 1, it says nothing
    t = (q**2 - nodes[:, None] ** 2) / (2 * nodes[:, None] * width)
    s0, s1, s2 = ((w * beam2**2 * t**k).sum(1) for k in range(3))
    s2 = s2 + RIDGE * s0
    below = s0 * s2 - s1**2
    safe = np.where(below > 0, below, 1.0)
    g = np.where((below > 0)[:, None], w * beam2 * (s2[:, None] - s1[:, None] * t) / safe[:, None], 0.0)
    return g, np.sqrt(s0 / np.maximum(w.sum(1), 1e-300))


def matrix_of(optics: Optics, nodes: np.ndarray, crop: int | None = None, lags: Any = None,
              ) -> tuple[np.ndarray, np.ndarray]:
    """:func:`weights` of an image of side ``crop``, or of a cut at ``lags`` in pixels."""
    if lags is None:
        axis = optics.lags(crop) * optics.q_step
        return weights(np.hypot(axis[:, None], axis), beam(optics, axis, axis), nodes, width_of(optics.q_step, nodes))
    q = np.abs(lags) * optics.q_step
    apart = float(np.diff(np.unique(q)).max(initial=0.0))
    return weights(q, beam(optics, lags * optics.q_step, 0.0)[0], nodes, width_of(apart, nodes))


def reduce_image(optics: Optics, crop: int, nodes: np.ndarray) -> Reduction:
    """For images of the autocorrelation of side ``crop``, lag 0 at [crop // 2, crop // 2]."""
    g, amplitude_of = matrix_of(optics, nodes, crop)
    covariances = image_covariances(optics, crop, g, np.ones(len(g)))
    return Reduction(nodes, g, np.any(g != 0, axis=1), *covariances, amplitude_of)


def image_covariances(optics: Optics, crop: int, rows: np.ndarray, heights: Any = None,
                      ) -> tuple[np.ndarray, np.ndarray]:
    """Covariances (k, k), speckle and surface, of sums ``rows`` (k, crop * crop) over A / A(0), whose own values are
    ``heights`` (k,); default: what P = 1 makes of them. A(u) / A(0) moves by n(u) - A(u) n(0)."""
    # sum_ij g_i R(u_i - u_j) h_j = (g * A) . (h * A), with * a convolution: by FFT on twice the lags
    wide = optics.lags(2 * crop) * optics.q_step
    m = amplitude(optics, wide, wide)
    maps = np.zeros((len(rows) + 1, crop, crop))
    maps[:-1] = rows.reshape(-1, crop, crop)
    maps[-1, crop // 2, crop // 2] = 1.0  # lag 0
    speckle = _smoothed(maps, np.abs(m) ** 2)
    inner = m[crop // 2:crop // 2 + crop, crop // 2:crop // 2 + crop]
    lit = maps * inner
    surface = np.einsum("iyx,jyx->ij", lit.conj(), _smoothed(lit, m)[:, :crop, :crop]).real
    speckle = speckle.reshape(len(maps), -1)
    heights = rows @ (np.abs(inner) ** 2).ravel() if heights is None else heights
    return _normalised(heights, 2 * speckle @ speckle.T / optics.pixels, 4 * surface)


def _smoothed(maps: Any, by: Any) -> np.ndarray:
    """Convolution of maps (k, n, n), lag 0 at [n // 2, n // 2], with ``by`` (2 n, 2 n), lag 0 at [n, n]: (k, 2 n, 2 n),
    placed as the maps are; real where both are."""
    real = np.isrealobj(by)
    forward, back = (fft.rfft2, fft.irfft2) if real else (fft.fft2, fft.ifft2)
    return back(forward(maps, by.shape) * forward(fft.ifftshift(by)), by.shape)


def reduce_cut(optics: Optics, lags: Any, nodes: np.ndarray) -> Reduction:
    """For a cut along x at ``lags`` (n,) in pixels, which need not be whole."""
    lags = np.asarray(lags, np.float64)
    g, amplitude_of = matrix_of(optics, nodes, lags=lags)
    covariances = cut_covariances(optics, lags, g, np.ones(len(g)))
    return Reduction(nodes, g, np.any(g != 0, axis=1), *covariances, amplitude_of)


def cut_covariances(optics: Optics, lags: Any, rows: np.ndarray, heights: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """The same as :func:`image_covariances` for sums ``rows`` (k, n) over a cut at ``lags`` (n,)."""
    far = 2 * int(np.ceil(np.abs(lags).max())) + 4
    wide = (np.arange(4 * far) - 2 * far) * optics.q_step
    r = fft.irfft2(np.abs(fft.rfft2(fft.ifftshift(beam(optics, wide, wide)))) ** 2)[0, :2 * far]
    at = np.append(np.abs(lags), 0.0)

    def spread(u: Any) -> np.ndarray:
        return np.interp(np.abs(u), np.arange(len(r)), r)

    def along(u: Any) -> np.ndarray:  # M of wave numbers, its real part where the mask is not symmetric
        return np.real(amplitude(optics, u.ravel() * optics.q_step, 0.0)).reshape(u.shape)

    apart, sums = at[:, None] - at, at[:, None] + at
    speckle = (spread(apart) + spread(sums)) / optics.pixels
    surface = 2 * along(at)[:, None] * along(at) * (along(apart) + along(sums))
    wider = np.zeros((len(rows) + 1, len(at)))
    wider[:-1, :-1], wider[-1, -1] = rows, 1.0
    heights = rows @ beam(optics, lags * optics.q_step, 0.0)[0] if heights is None else heights
    return _normalised(heights, wider @ speckle @ wider.T, wider @ surface @ wider.T)


def _normalised(heights: Any, *covariances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From covariances of sums over A and of A(0) (last) to those of the sums over A / A(0)."""
    by = np.hstack((np.eye(len(heights)), -np.reshape(heights, (-1, 1))))
    first, second = (by @ c @ by.T for c in covariances)
    return first, second
