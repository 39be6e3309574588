r"""Skyrmions instead of grains: what of the law of speckle carries over to magnetic scattering, and what does not.

Coherent light (or X-rays, with a contrast in m_z) on a film, amplitude w(x) of the beam, sees c = (1 - S^z) / 2,
which is 0 in the uniform background. Skyrmions of radius r_j at x_j make

.. math::
    F(q) = \sum_j w(x_j)\,f_{r_j}(q)\,e^{-i q x_j}, \qquad f_r(q) = 2\pi\int c_r(\rho) J_0(q\rho)\,\rho\,d\rho

A grain of a powder is rough: its points radiate with phases of their own, the far field has no envelope, and the
grain's size shows in how fast the speckle decorrelates. A skyrmion is smooth: all of it, and all skyrmions, scatter
in phase. So

* a dilute gas at random places makes speckle too, beyond the beam's own width in q, because the places are random. Its
  autocorrelation is |M|^2 of the beam and holds no size;
* the size is in the envelope: <|F|^2> = N <f_r^2(q)>. For hard discs f_r = pi r^2 Jinc(q r), and that is the very term
  <r^4 Jinc^2> that the law of the powder has as its correction for a finite number of grains. It is linear in the
  distribution, and non-negative least squares invert it;
* a lattice is not random: <|F|^2> = f^2(q) S(q), the envelope is seen at Bragg peaks alone, and these tell the spacing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import fft, special
from scipy.optimize import nnls
from scipy.spatial import cKDTree

from evae_core.hamiltonian import Hamiltonian
from evae_core.observables import skyrmion_centres
from evae_core.textures import helix_period


def skyrmion_radii(spins: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(centres (n, 2), radii (n,)) in sites of the skyrmions of a periodic configuration (3, Ny, Nx), by counting.

    A radius is that of the circle with the area where S^z < 0; a site belongs to the nearest centre. Errors as for
    :func:`~evae_core.observables.skyrmion_centres`.
    """
    centres = skyrmion_centres(spins)
    down = spins[2].detach().cpu().numpy() < 0
    y, x = np.nonzero(down)
    if len(centres) == 0:
        return centres, np.zeros(0)
    _, owner = cKDTree(centres, boxsize=down.shape[::-1]).query(np.stack((x, y), 1))
    return centres, np.sqrt(np.bincount(owner, minlength=len(centres)) / np.pi)


def places(count: int, side: int, apart: float, rng: np.random.Generator) -> np.ndarray:
    """(count, 2) places at random in a periodic square, none nearer than ``apart`` to another.

    Raises ValueError where they find no room.
    """
    found = np.empty((0, 2))
    for _ in range(200 * count):
        at = rng.uniform(0, side, 2)
        if (np.hypot(*((found - at + side / 2) % side - side / 2).T) >= apart).all():
            found = np.vstack((found, at))
            if len(found) == count:
                return found
    raise ValueError(f"{count} places {apart:g} apart find no room in {side} x {side}; ask for fewer")


def form_factors(H: Hamiltonian, radii: Any, q: Any) -> np.ndarray:
    """f_r(q), (len(q), len(radii)), of the skyrmions of :func:`evae_core.textures.skyrmions`; q in 1 / site.

    Their contrast is c = |w|^2 / (1 + |w|^2) with |w| = sinh(r / l) / sinh(rho / l), l the helix period over 2 pi.
    """
    length = helix_period(H) / (2 * np.pi)
    radii, q = np.asarray(radii, np.float64), np.asarray(q, np.float64)
    rho = np.arange(0.05, radii.max() + 8 * length, 0.1)
    w = np.exp(np.minimum(np.log(np.sinh(radii / length)) - np.log(np.sinh(rho[:, None] / length)), 300))
    contrast = w**2 / (1 + w**2)
    return 0.1 * 2 * np.pi * (special.j0(q[:, None] * rho) * rho) @ contrast


def intensity(spins: torch.Tensor, waist: float, pad: int = 2) -> np.ndarray:
    """|F|^2 of one configuration (3, n, n) in a Gaussian beam, (pad n, pad n), q = 0 at the middle, a step 2 pi / (pad
    n). The beam's amplitude is exp(-x^2 / 2 waist^2) about the middle, so that |M|^2 = exp(-q^2 waist^2 / 2)."""
    sz = spins[2].detach().cpu().double().numpy()
    side, axis = pad * len(sz), np.arange(len(sz)) - len(sz) // 2
    beam = np.exp(-0.5 * (axis / waist) ** 2)
    return np.abs(fft.fftshift(fft.fft2(beam[:, None] * beam * (1 - sz) / 2, (side, side)))) ** 2


def rings(side: int) -> np.ndarray:
    """(side, side) number of the ring, one step of q wide, of every point of an intensity."""
    axis = np.arange(side) - side // 2
    return np.rint(np.hypot(axis[:, None], axis)).astype(int)


def envelope(image: np.ndarray) -> np.ndarray:
    """Mean over rings of an intensity, (side // 2,)."""
    ring = rings(len(image)).ravel()
    return (np.bincount(ring, image.ravel()) / np.bincount(ring))[:len(image) // 2]


def correlation(images: np.ndarray, least: int, most: int, crop: int = 33) -> np.ndarray:
    """Autocorrelation (crop, crop) of speckle (n, side, side), each over the mean envelope, between two rings; 1 at lag
    0, which is [crop // 2, crop // 2]."""
    side = images.shape[-1]
    ring = rings(side)
    mean = envelope(images.mean(0))
    inside = ((ring >= least) & (ring < most)).astype(np.float64)
    flat = images / np.append(mean, np.ones(side))[ring] * inside
    flat = flat - flat.sum((1, 2), keepdims=True) / inside.sum() * inside

    def of(x: np.ndarray) -> np.ndarray:
        return fft.irfft2(np.abs(fft.rfft2(x, (2 * side, 2 * side))) ** 2, (2 * side, 2 * side))

    lags = np.arange(crop) - crop // 2
    found, pairs = (x[np.ix_(lags, lags)] for x in (np.mean([of(one) for one in flat], 0), of(inside)))
    found = found / pairs
    return found / found[crop // 2, crop // 2]


def sizes_from_envelope(H: Hamiltonian, measured: np.ndarray, q: np.ndarray, radii: np.ndarray,
                        smooth: float = 0.02) -> np.ndarray:
    """Shares by number (s,) of skyrmion radii in sites from an envelope (k,) at q (k,) in 1 / site.

    Non-negative least squares of measured = sum_r n_r f_r(q)^2 in relative units, with ``smooth`` times the second
    difference of the scattered power beside it.
    """
    kernel = form_factors(H, radii, q) ** 2
    power = kernel[0].copy()  # what each size scatters at the first q: the unknowns are of one order then
    rough = smooth * np.sqrt(len(q)) * np.diff(np.eye(len(radii)), 2, axis=0)
    weights, _ = nnls(np.vstack((kernel / power / measured[:, None] * measured[0], rough)),
                      np.concatenate((np.full(len(q), measured[0]), np.zeros(len(rough)))) / measured[0])
    share = weights / power
    return share / share.sum()
