r"""The forward law: size distribution -> ensemble-averaged autocorrelation of the speckle. float64, differentiable.

.. math::
    \langle A(q)\rangle = |M(q)|^2 \Big[\frac{\int r^2\,\mathrm{Jinc}(qr)\,p(r)\,dr}{\int r^2 p(r)\,dr}\Big]^2
    + \frac{1}{N}\,\frac{\langle r^4\,\mathrm{Jinc}^2(qr)\rangle}{\langle r^2\rangle^2}, \qquad
    \mathrm{Jinc}(x) = \frac{2 J_1(x)}{x}

A: background-free normalised autocovariance of the image in a lens's Fourier plane, A(0) = 1; p: number density of the
grains' radius r; q = 2 pi (shift on the camera) / (wavelength focal length); M: Fourier transform of the beam's
intensity on the powder, M(0) = 1. A grain whose centre is lit radiates incoherently over its whole disc, and Gaussian
statistics (Siegert) square the coherence. The second term, off by default, is that of N grains at random; the sum is
then divided by its value at q = 0. The first is that of "PEACE" (arXiv:2204.09516); the second is derived here and
checked by simulation. Grains that lie side by side are placed more evenly, and each r^4 Jinc^2(q r) counts times the
structure factor of hard discs, :func:`packing`, a sixth to a tenth in a bed where q is small, about 1 where q r > 2.5.

With the area weights a_j ~ r_j^2 p_j the square root of A / |M|^2 is a matrix: P(q_i) = sum_j Jinc(q_i r_j) a_j.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from scipy.special import j0, j1
from torch import Tensor

from evae_companion.peace.optics import Optics
from evae_core.validation import check_array, check_device, check_is, check_number


def jinc(x: Any) -> np.ndarray:
    """2 J1(x) / x of an array, 1 at x = 0, float64."""
    x = np.asarray(x, dtype=np.float64)
    small = np.abs(x) < 1e-4
    safe = np.where(small, 1.0, x)
    return np.where(small, 1 - x**2 / 8, 2 * j1(safe) / safe)  # the series' next term is 1e-18


def packing(x: Any, coverage: float) -> np.ndarray:
    r"""Structure factor S(q) of equal hard discs of radius r, x = q r, that cover the share ``coverage`` of the plane.

    .. math::
        S^{-1} = 1 + 4\eta\Big[A\frac{J_1^2(x)}{x^2} + B\frac{J_0(x) J_1(x)}{x} + G\frac{J_1(2x)}{x}\Big],\qquad
        S(0) = \frac{(1-\eta)^3}{1+\eta}

    of Rosenfeld's fundamental measures (Phys. Rev. A 42, 5978 (1990)) with G = (1 - eta)^(-3/2), chi = 1 / S(0),
    A = [1 + (2 eta - 1) chi + 2 eta G] / eta, B = [(1 - eta) chi - 1 - 3 eta G] / eta: a fluid in equilibrium. For
    sizes that differ, each is taken as if all were its own (local monodisperse approximation, Pedersen 1994).
    """
    x = np.maximum(np.asarray(x, np.float64), 1e-4)
    eta, chi, g = coverage, (1 + coverage) / (1 - coverage) ** 3, (1 - coverage) ** -1.5
    a, b = (1 + (2 * eta - 1) * chi + 2 * eta * g) / eta, ((1 - eta) * chi - 1 - 3 * eta * g) / eta
    one = j1(x) / x
    return 1 / (1 + 4 * eta * (a * one**2 + b * j0(x) * one + g * j1(2 * x) / x))


def beam(optics: Optics, qx: Any, qy: Any) -> np.ndarray:
    """|M|^2 on the grid of wave numbers ``qy`` (rows) and ``qx`` (columns) in 1/m: (len(qy), len(qx)) float64."""
    return np.abs(amplitude(optics, qx, qy)) ** 2


def amplitude(optics: Optics, qx: Any, qy: Any) -> np.ndarray:
    """M on the grid of :func:`beam`: float64 for the clear circle, complex128 for a mask."""
    qx, qy = np.atleast_1d(np.asarray(qx, np.float64)), np.atleast_1d(np.asarray(qy, np.float64))
    if optics.mask is None:
        return jinc(optics.beam_diameter / 2 * np.hypot(qy[:, None], qx))
    my, mx = optics.mask.shape
    x, y = (np.arange(mx) - mx // 2) * optics.mask_spacing, (np.arange(my) - my // 2) * optics.mask_spacing
    for name, q in (("columns", qx), ("rows", qy)):
        if np.abs(q).max() * optics.mask_spacing > math.pi:
            raise ValueError(f"mask_spacing {optics.mask_spacing:g} m is too coarse for the lags along the {name}: "
                             f"at most {math.pi / np.abs(q).max():.3g} m")
    m = np.exp(-1j * qy[:, None] * y) @ optics.mask @ np.exp(-1j * x[:, None] * qx)
    pixel = np.sinc(qy[:, None] * optics.mask_spacing / 2 / math.pi) * np.sinc(qx * optics.mask_spacing / 2 / math.pi)
    return m * pixel / optics.mask.sum()  # square pixels, not points


class Law:
    """The forward law at fixed lags for distributions on fixed ``sizes``.

    Parameters
    ----------
    optics : beam, lens, camera.
    sizes : (s,) in metres, by the convention ``optics.size``; a distribution is its numbers of grains at these sizes,
        in any unit: p (..., s), >= 0.
    lags : (n,) of a cut along one axis (x) in camera pixels, need not be whole; None: the cropped image,
        (crop, crop), lag 0 at [crop // 2, crop // 2].

    Attributes (numpy, float64): ``q`` and ``beam2`` = |M|^2, of the shape of the lags; ``radii`` (s,), the law's r in
    m.

    Raises
    ------
    TypeError, ValueError
        sizes that are not positive, finite and increasing; lags that are not finite numbers; a mask too coarse for
        them.
    """

    def __init__(self, optics: Optics, sizes: Any, lags: Any = None, device: Any = "cpu"):
        check_is("optics", optics, Optics)
        check_device(device)
        sizes = check_array("sizes", sizes, (None,))
        if sizes[0] <= 0 or (np.diff(sizes) <= 0).any():
            raise ValueError(f"sizes must be positive and increasing, in metres, got {sizes!r:.60}")
        self.optics, self.radii = optics, optics.radius(sizes)
        if lags is None:
            axis = optics.lags() * optics.q_step
            self.q, self.beam2 = np.hypot(axis[:, None], axis), beam(optics, axis, axis)
        else:
            lags = check_array("lags", lags, (None,))
            self.q = np.abs(lags) * optics.q_step
            self.beam2 = beam(optics, lags * optics.q_step, 0.0)[0]
        self._unique, where = np.unique(self.q, return_inverse=True)  # an image has eight pixels at most radii
        self._where = torch.from_numpy(where.reshape(self.q.shape)).to(device)
        self._beam2 = torch.from_numpy(self.beam2).to(device)
        self._kernel = torch.from_numpy(jinc(self._unique[:, None] * self.radii)).to(device)
        self._r2 = torch.from_numpy((self.radii / self.radii.max()) ** 2).to(device)  # a unit drops out

    def area(self, p: Tensor) -> Tensor:
        """Area weights r^2 p / sum(r^2 p) of numbers p (..., s)."""
        return p * self._r2 / (p * self._r2).sum(-1, keepdim=True)

    def coherence(self, p: Tensor) -> Tensor:
        """P = sum_j Jinc(q r_j) a_j at the lags: (..., *lags), float64."""
        return self._at(self.area(self._numbers(p)) @ self._kernel.T)

    def __call__(self, p: Tensor, grains: float | None = None, coverage: float | None = None) -> Tensor:
        """A at the lags, (..., *lags) float64, of numbers p (..., s); with the term of ``grains`` grains at random or,
        where they lie side by side and cover the share ``coverage`` of the surface, of these.

        Raises ValueError for p of another length, negative, not finite or all zero, for grains that is not positive,
        and for coverage that is not between 0 and 1 or has no grains beside it.
        """
        p = self._numbers(p)
        if coverage is not None and grains is None:
            raise ValueError("coverage says how grains lie side by side; give their number, grains, too")
        found = self._beam2 * self._at(self.area(p) @ self._kernel.T) ** 2
        if grains is None:
            return found
        term, whole = self.number_term(p, grains, coverage)
        return (found + term) / (1 + whole.reshape(whole.shape + (1,) * self.q.ndim))

    def number_term(self, p: Tensor, grains: float, coverage: float | None = None) -> tuple[Tensor, Tensor]:
        """The second term of the law at the lags, (..., *lags), and at q = 0, (...), of numbers p (..., s)."""
        p = self._numbers(p)
        weights = p * self._r2**2 / p.sum(-1, keepdim=True) / check_number("grains", grains)
        weights = weights / ((p * self._r2).sum(-1, keepdim=True) / p.sum(-1, keepdim=True)) ** 2
        if coverage is None:
            return self._at(weights @ (self._kernel**2).T), weights.sum(-1)
        check_number("coverage", coverage, below=1.0)
        even = torch.from_numpy(packing(self._unique[:, None] * self.radii, coverage)).to(weights.device)
        return self._at(weights @ (even * self._kernel**2).T), weights.sum(-1) * float(packing(0.0, coverage))

    def _at(self, values: Tensor) -> Tensor:
        return values[..., self._where]

    def _numbers(self, p: Any) -> Tensor:
        if not isinstance(p, Tensor):
            p = torch.from_numpy(check_array("p", p))
        elif p.is_complex():
            raise ValueError("p must be real numbers, got complex ones")
        p = p.to(self._kernel.device, torch.float64)
        if p.ndim == 0 or p.shape[-1] != len(self.radii):
            raise ValueError(f"p must have {len(self.radii)} numbers along its last axis, got shape {tuple(p.shape)}")
        if not bool(torch.isfinite(p).all()) or bool((p < 0).any()) or bool((p.sum(-1) == 0).any()):
            raise ValueError("p must be finite, not negative and not all zero")
        return p
