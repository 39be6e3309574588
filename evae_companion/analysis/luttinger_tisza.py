r"""Luttinger-Tisza method: a proven lower bound on the energy of a Hamiltonian, and spirals made of one plane wave.

With :math:`S_r = \sum_q s_q e^{iq\cdot r}` on a periodic lattice of N sites

.. math::
    E/N = \sum_q s_q^\dagger \Lambda(q) s_q - B s_0^z, \qquad
    \Lambda(q) = -\tfrac12\sum_b (M_b e^{iq\cdot b} + M_b^T e^{-iq\cdot b}) - K \hat z\hat z^T

with one 3x3 matrix M_b per bond, :math:`\Lambda(q) \ge \lambda` (its least eigenvalue over all q of the box) and
:math:`\sum_q |s_q|^2 = 1` for unit spins: the method of J. M. Luttinger and L. Tisza, Phys. Rev. 70, 954 (1946).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from evae_core.hamiltonian import Hamiltonian, check_hamiltonian
from evae_core.validation import check_count

EQUAL = 1e-9  # eigenvalues closer than this, in units of the largest, are one


def coupling(H: Hamiltonian, shape: Sequence[int]) -> np.ndarray:
    """Return A(k) on the wave vectors of a periodic box, (Ny, Nx, 3, 3) complex Hermitian, in J; k as in numpy's fft2.

    A wave S_r = v exp(i k.r) has the field A(k) v exp(i k.r) and the energy -v*.A(k) v / 2 per spin.

    A(k) is computed from the fields of single spins in the bulk. It ignores edges and mask, and the uniform field.
    """
    bulk = replace(H, boundary="periodic")
    ny, nx = bulk.check_shape(shape)
    single = torch.zeros(4, 3, ny, nx, dtype=torch.float64)
    single[range(3), range(3), 0, 0] = 1.0
    fields = bulk.field(single)
    own = (fields[:3] - fields[3]).numpy()  # [a, b]: component b of the field of a spin along a
    return np.fft.fft2(own).transpose(2, 3, 1, 0)


def _waves(H: Hamiltonian, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return wave vectors (Ny Nx, 2), radians per site (y, x), with eigenvalues and eigenvectors of Lambda = -A/2."""
    check_hamiltonian(H)
    if not H.periodic:
        raise ValueError('H must have boundary="periodic": at an edge waves are no solutions')
    ny, nx = H.check_shape(shape)
    q = 2 * np.pi * np.stack(np.meshgrid(np.fft.fftfreq(ny), np.fft.fftfreq(nx), indexing="ij"), -1).reshape(-1, 2)
    return q, *np.linalg.eigh(-0.5 * coupling(H, shape).reshape(-1, 3, 3))


def lower_bound(H: Hamiltonian, shape: Sequence[int]) -> float:
    r"""Return a lower bound of E/N (J) for all states of the periodic box.

    .. math:: E/N \ge \lambda + \min_{|m|\le1} [m^T (\Lambda(0) - \lambda) m - b\cdot m]

    Here m is the uniform wave and b the field. All other waves cost at least lambda, the lowest eigenvalue of all
    Lambda(q). A state of this energy is a ground state: helices at B = K = 0, spirals of pure exchange in any field.
    Elsewhere no state may reach it, because spins must be unit vectors at every site.

    Raises
    ------
    ValueError
        a sample with edges, or terms that are not bilinear.
    """
    check_hamiltonian(H)
    if H.unknown:
        raise ValueError(f"H must be bilinear for this bound, and {type(H.unknown[0]).__name__} is not")
    lowest = float(_waves(H, shape)[1].min())
    stiffness, axes = np.linalg.eigh(-0.5 * coupling(H, shape)[0, 0].real - lowest * np.eye(3))
    stiffness, half = stiffness.clip(0), axes.T @ np.array(H.couplings.vector) / 2
    most = float(np.linalg.norm(half))
    if most < 1e-100:  # no field, or one too small to divide by
        return lowest - 2 * most
    half[np.abs(half) <= 1e-12 * most] = 0.0  # rounding

    def m(multiplier: float) -> np.ndarray:
        """Return m at which the gradient of the bracket is -2 multiplier m; on |m| = 1 the multiplier is positive."""
        return np.divide(half, stiffness + multiplier, out=np.zeros(3), where=half != 0)

    def outside(multiplier: float) -> float:
        return float(np.linalg.norm(m(multiplier))) - 1

    least = 0.0 if (stiffness[half != 0] > 0).all() else 1e-13 * most
    best = m(least) if outside(least) <= 0 else m(brentq(outside, least, 2 * most, xtol=1e-15))
    return lowest + float(stiffness @ best**2 - 2 * half @ best)


def spirals(H: Hamiltonian, shape: Sequence[int], n: int = 4) -> list[tuple[str, Tensor]]:
    """Return n states of one plane wave each, for the wave vectors with the lowest eigenvalues (one of +q and -q).

    S_r is the direction of Re(v exp(i q.r)), v an eigenvector of Lambda(q). If several have the lowest eigenvalue,
    v = u + i w of two of them, a spiral in their plane. At B = K = 0 all spins have the same length before
    normalisation, and the energy is the eigenvalue.

    Returns
    -------
    list of (name, (3, Ny, Nx) float64) : not relaxed; the name holds the turns along x and y.

    Raises
    ------
    ValueError
        a sample with edges, or n below 1.
    """
    check_count("n", n, 1)
    q, values, vectors = _waves(H, shape)
    ny, nx = shape
    y, x = np.mgrid[:ny, :nx]
    states: list[tuple[str, Tensor]] = []
    seen: set[tuple[int, int]] = set()
    for k in np.lexsort((np.arange(len(q)), values[:, 0].round(9))):
        up, along = (int(round(t)) for t in q[k] * (ny, nx) / (2 * math.pi))
        if (-up, -along) in seen:
            continue
        seen.add((up, along))
        alike = vectors[k][:, values[k] < values[k, 0] + EQUAL * np.abs(values).max()]
        wave = alike[:, 0]
        if alike.shape[1] > 1:  # degenerate, so any two real directions at right angles will do
            real = np.linalg.qr(np.concatenate((alike.real, alike.imag), 1))[0]
            wave = real[:, 0] + 1j * real[:, 1]
        angle = q[k, 0] * y + q[k, 1] * x + 0.1  # shifted off the nodes of a wave that is not circular
        spins = (wave[:, None, None] * np.exp(1j * angle)).real
        length = np.linalg.norm(spins, axis=0)
        states.append((f"wave ({along}, {up})", torch.from_numpy(spins / np.maximum(length, 1e-12))))
        if len(states) == n:
            break
    return states
