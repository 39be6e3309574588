"""The CPU backend for any bilinear Hamiltonian: the same algorithm, for any bonds, any term per site and any lattice.

Sites are updated one after the other and W replicas side by side, so that no colouring is needed: nothing is updated
together that could be coupled, whatever the bonds, and sizes may be odd. The order of the sites is random and always
the same: it prefers no direction, and descents of frustrated exchange settle sooner than in rows or colours. Each site
has a list of neighbours, with the coupling to each; a neighbour beyond an open edge is a site that holds zeros, and so
are non-magnetic ones. ``S`` has the axes (Ny Nx + 1 sites, 3 components, W replicas); its last site holds the zeros.

The functions below are compiled anew in every process (some seconds): numba's cache would not notice a change of
``kernels.py``, whose random numbers and elementary functions are compiled into them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numba import njit

from evae_core.annealing.kernels import (
    EXACT,
    FAST,
    HX,
    HY,
    HZ,
    OVER,
    S0,
    S1,
    S2,
    S3,
    SX,
    SY,
    SZ,
    WORST,
    F,
    _exp,
    _log,
    _next,
    _sin_cos,
    _unit,
    get,
    put,
)
from evae_core.annealing.schedule import PATIENCE, STRIDE
from evae_core.annealing.threads import in_threads, seed_streams, workers
from evae_core.hamiltonian import Hamiltonian

W = 16  # replicas a block: float32 vectors of the widest processors
# As cpu.SLACK, but larger: bonds of both signs stiffen the short waves. Of 0.3, 0.1 and 0.03 it settled the spirals of
# J1 = 1, J2 = -0.25, J3 = -0.2 soonest (16 and 32 sites wide), and skyrmions not later.
SLACK = 0.1
EXCHANGE, CHIRAL, SYMMETRIC = range(3)  # kinds of bonds: J alone, J and D, and Gamma besides
NOTHING, ALONG_Z, ANY = range(3)  # what the matrix A of a single spin holds

__all__ = ["Replicas", "pieces", "supports", "workers"]


@njit(inline="always")
def _field(S, at, neighbours, couplings, gammas, kinds, b, h):
    """h (3, W) = the field at site ``at`` without 2 A S: sum_k (J_k S_k + S_k x D_k + Gamma_k S_k) + b."""
    hx, hy, hz = h[0], h[1], h[2]
    for w in range(W):
        put(hx, w, HX, b[0])
        put(hy, w, HY, b[1])
        put(hz, w, HZ, b[2])
    for k in range(neighbours.shape[1]):
        j = neighbours[at, k] * 3 * W
        J, dx, dy, dz = couplings[k]
        if kinds[k] == EXCHANGE:
            for w in range(W):
                put(hx, w, HX, get(hx, w, HX) + J * get(S, j + w, SX))
                put(hy, w, HY, get(hy, w, HY) + J * get(S, j + W + w, SY))
                put(hz, w, HZ, get(hz, w, HZ) + J * get(S, j + 2 * W + w, SZ))
        else:
            for w in range(W):
                x, y, z = get(S, j + w, SX), get(S, j + W + w, SY), get(S, j + 2 * W + w, SZ)
                put(hx, w, HX, get(hx, w, HX) + J * x + (y * dz - z * dy))
                put(hy, w, HY, get(hy, w, HY) + J * y + (z * dx - x * dz))
                put(hz, w, HZ, get(hz, w, HZ) + J * z + (x * dy - y * dx))
        if kinds[k] == SYMMETRIC:
            (a, d, e), (_, c, f), (_, _, g) = gammas[k]
            for w in range(W):
                x, y, z = get(S, j + w, SX), get(S, j + W + w, SY), get(S, j + 2 * W + w, SZ)
                put(hx, w, HX, get(hx, w, HX) + (a * x + d * y + e * z))
                put(hy, w, HY, get(hy, w, HY) + (d * x + c * y + f * z))
                put(hz, w, HZ, get(hz, w, HZ) + (e * x + f * y + g * z))


@njit(inline="always")
def _rotated(A, x, y, z):
    """A S for a symmetric matrix A."""
    return (A[0, 0] * x + A[0, 1] * y + A[0, 2] * z, A[0, 1] * x + A[1, 1] * y + A[1, 2] * z,
            A[0, 2] * x + A[1, 2] * y + A[2, 2] * z)


@njit(inline="always")
def _turned(x, y, z, T, r, c, s):
    """A spin drawn from exp(S.h/T), h = (x, y, z): r uniform in (0, 1], (c, s) a direction. See ``kernels._draw_angle``
    and ``kernels._rotate``, whose formulas these are."""
    square = x * x + y * y + z * z
    gone = square < F(1e-20)  # no field: any axis serves
    x, y, z = F(0) if gone else x, F(0) if gone else y, F(1e-10) if gone else z
    inverse = F(1) / np.sqrt(F(1e-20) if gone else square)
    warmth = min(T * inverse, F(1e15))
    a = F(1) / warmth
    far = -_log(r + (F(1) - r) * _exp(F(-2) * a)) * warmth
    u = F(2) * r - F(1)
    near = (F(1) - u) - F(0.5) * a * (F(1) - u * u)
    drop = min(max(near if a < F(0.005) else far, F(0)), F(2))
    x, y, z = x * inverse, y * inverse, z * inverse
    q = np.sqrt(drop * (F(2) - drop))
    p, q, c = q * c, q * s, F(1) - drop
    sign = F(1) if z >= F(0) else F(-1)
    f = F(-1) / (sign + z)
    g = x * y * f
    return (c * x + p * (F(1) + sign * x * x * f) + q * g, c * y + p * sign * g + q * (sign + y * y * f),
            c * z - p * sign * x - q * y)


@njit(nogil=True, **FAST)
def _sweep(S, state, h, sites, neighbours, couplings, gammas, kinds, b, A, own, betas, heat):
    """One sweep for each inverse temperature of ``betas``: heat bath where ``heat`` is true, else over-relaxation.

    S : float32, flat; state : (4, W) uint32; h : (3, W) float32; sites : the magnetic ones, in the order of updates.
    own : what A (3, 3) is, NOTHING, ALONG_Z or ANY. With it every new spin is accepted with probability
    min(1, exp(beta (new.A new - old.A old))), see ``kernels._accept``.
    """
    hx, hy, hz = h[0], h[1], h[2]
    s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
    for step in range(betas.size):
        T, beta, beta_K, warm = F(1) / betas[step], betas[step], betas[step] * A[2, 2], heat[step]
        for site in sites:
            _field(S, site, neighbours, couplings, gammas, kinds, b, h)
            at = site * 3 * W
            for w in range(W):
                x, y, z = get(hx, w, HX), get(hy, w, HY), get(hz, w, HZ)
                ox, oy, oz = get(S, at + w, SX), get(S, at + W + w, SY), get(S, at + 2 * W + w, SZ)
                if warm or own != NOTHING:
                    i, j, k, m = get(s0, w, S0), get(s1, w, S1), get(s2, w, S2), get(s3, w, S3)
                if warm:
                    word, i, j, k, m = _next(i, j, k, m)
                    r = _unit(word)
                    word, i, j, k, m = _next(i, j, k, m)
                    sine, cosine = _sin_cos(word)
                    x, y, z = _turned(x, y, z, T, r, cosine, sine)
                else:
                    f = F(2) * (ox * x + oy * y + oz * z) / max(x * x + y * y + z * z, F(1e-20))
                    x, y, z = f * x - ox, f * y - oy, f * z - oz
                if own != NOTHING:
                    word, i, j, k, m = _next(i, j, k, m)
                    if own == ALONG_Z:
                        gain = beta_K * (z * z - oz * oz)
                    else:
                        (p, q, u), (p0, q0, u0) = _rotated(A, x, y, z), _rotated(A, ox, oy, oz)
                        gain = beta * ((x * p + y * q + z * u) - (ox * p0 + oy * q0 + oz * u0))
                    keep = _unit(word) <= _exp(min(gain, F(0)))
                    x, y, z = x if keep else ox, y if keep else oy, z if keep else oz
                if warm or own != NOTHING:
                    put(s0, w, S0, i)
                    put(s1, w, S1, j)
                    put(s2, w, S2, k)
                    put(s3, w, S3, m)
                put(S, at + w, SX, x)
                put(S, at + W + w, SY, y)
                put(S, at + 2 * W + w, SZ, z)


@njit(nogil=True, **EXACT)
def _descend(S, worst, overshoot, h, sites, neighbours, couplings, gammas, kinds, b, A, own, limits, sweeps):
    """``sweeps`` sweeps that turn every spin beyond its field by ``overshoot`` (W,), and the largest |S x h|^2 of each
    replica into ``worst`` (W,). limits : -2 times A's lowest eigenvalue where that is positive, else 0, and the least
    squared length that can be normalised, in the dtype of S. Why the energy cannot rise: ``kernels._align`` and
    ``kernels._descent_field``."""
    fall, tiny = limits
    K = A[2, 2]
    hx, hy, hz = h[0], h[1], h[2]
    for w in range(W):
        put(worst, w, WORST, 0)
    for step in range(sweeps + 1):
        for site in sites:
            _field(S, site, neighbours, couplings, gammas, kinds, b, h)
            at = site * 3 * W
            for w in range(W):
                sx, sy, sz = get(S, at + w, SX), get(S, at + W + w, SY), get(S, at + 2 * W + w, SZ)
                x, y = get(hx, w, HX) + fall * sx, get(hy, w, HY) + fall * sy
                if own == ANY:
                    p, q, r = _rotated(A, sx, sy, sz)
                    x, y, z = x + (p + p), y + (q + q), get(hz, w, HZ) + fall * sz + (r + r)
                else:
                    z = get(hz, w, HZ) + (fall + K + K) * sz
                if step == sweeps:
                    p, q, r = sy * z - sz * y, sz * x - sx * z, sx * y - sy * x
                    put(worst, w, WORST, max(get(worst, w, WORST), p * p + q * q + r * r))
                else:
                    factor = get(overshoot, w, OVER)
                    along = sx * x + sy * y + sz * z
                    back = along - factor * along
                    x, y, z = factor * x + back * sx, factor * y + back * sy, factor * z + back * sz
                    square = x * x + y * y + z * z
                    move = (square > tiny) & (factor > 0)
                    length = np.sqrt(max(square, tiny))
                    put(S, at + w, SX, x / length if move else sx)
                    put(S, at + W + w, SY, y / length if move else sy)
                    put(S, at + 2 * W + w, SZ, z / length if move else sz)


def supports(H: Hamiltonian) -> bool:
    """Whether this backend knows all of ``H``: everything bilinear."""
    return not H.unknown


def neighbour_table(H: Hamiltonian, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(Ny Nx, 2 bonds) int64: the sites a site is coupled to, Ny Nx where there is none; (2 bonds, 4): J, D; and
    (2 bonds, 3, 3): Gamma."""
    ny, nx = shape
    y, x = np.mgrid[:ny, :nx]
    wraps_y, wraps_x = H.periodic_axes
    sites, couplings, gammas = [np.empty((ny * nx, 0), np.int64)], [], []
    for dy, dx, J, dm, gamma in H.couplings.bonds:
        if J == 0 and not any(dm) and not np.any(gamma):
            continue
        for sign in (1, -1):
            v, u = y + sign * dy, x + sign * dx
            inside = ((0 <= v) & (v < ny) | wraps_y) & ((0 <= u) & (u < nx) | wraps_x)
            sites.append(np.where(inside, v % ny * nx + u % nx, ny * nx).reshape(-1, 1))
            couplings.append([J, *(sign * d for d in dm)])
            gammas.append(gamma)
    return (np.hstack(sites), np.array(couplings, float).reshape(-1, 4), np.array(gammas, float).reshape(-1, 3, 3))


def pieces(shape: Sequence[int], first: int, n: int) -> list[tuple[int, int]]:
    """The replicas first ... first + n - 1, divided into blocks of W: (first, n) of each."""
    return [(at, min(W, first + n - at)) for at in range(first, first + n, W)]


class Replicas:
    """Replicas of a lattice with any bonds: the parameters, methods and promises of :class:`cpu.Replicas`.

    A replica has a random stream of its own, so its spins do not depend on which others are computed beside it.
    """

    def __init__(self, H, shape, n, first=0, seed=0, dtype=np.float32):
        self.H, self.n, self.dtype = H, n, np.dtype(dtype)
        ny, nx = self.shape = H.check_shape(shape)
        alive = np.ones((ny, nx), bool) if H.mask is None else H.mask
        self.sites = np.random.default_rng(0).permutation(np.flatnonzero(alive))
        self.neighbours, couplings, gammas = neighbour_table(H, self.shape)
        self.kinds = np.where(gammas.any((1, 2)), SYMMETRIC, np.where(couplings[:, 1:].any(1), CHIRAL, EXCHANGE))
        self.couplings, self.gammas = couplings.astype(self.dtype), gammas.astype(self.dtype)
        A = np.array(H.couplings.matrix)
        self.vector, self.matrix = np.array(H.couplings.vector, self.dtype), A.astype(self.dtype)
        self.own = NOTHING if not A.any() else ALONG_Z if np.count_nonzero(A) == 1 and A[2, 2] else ANY
        self.limits = np.array([max(-2 * np.linalg.eigvalsh(A)[0], 0.0), 1e-24], self.dtype)
        blocks = -(-n // W)
        self.S = np.zeros((blocks, ny * nx + 1, 3, W), self.dtype)
        self.state = np.stack([seed_streams(seed, np.arange(first + b * W, first + (b + 1) * W), 1)[:, 0]
                               for b in range(blocks)])

    def _each(self, work) -> list[Any]:
        return in_threads(work, range(len(self.S)), min(workers(), len(self.S)))

    def _lattice(self):
        return (self.sites, self.neighbours, self.couplings, self.gammas, self.kinds, self.vector, self.matrix,
                self.own)

    def load(self, spins: torch.Tensor) -> None:
        """Take the spins of all replicas, (n, 3, Ny, Nx)."""
        spins = spins.detach().cpu().numpy().astype(self.dtype).reshape(self.n, 3, -1)
        for block, start in zip(self.S, range(0, self.n, W), strict=True):
            part = spins[start:start + W].transpose(2, 1, 0)
            block[self.sites, :, :part.shape[2]] = part[self.sites]

    def spins(self) -> torch.Tensor:
        """A copy of the spins, (n, 3, Ny, Nx), zero on non-magnetic sites."""
        spins = self.S[:, :-1].transpose(0, 3, 2, 1).reshape(-1, 3, *self.shape)[:self.n]
        return torch.from_numpy(np.ascontiguousarray(spins))

    def sweep(self, betas, overrelax: int, heat: bool = True) -> None:
        """As :meth:`cpu.Replicas.sweep`."""
        kinds = (np.arange(len(betas) * (overrelax + 1)) % (overrelax + 1) == 0) & heat
        betas = np.repeat(np.asarray(betas, np.float32), overrelax + 1)

        def work(i):
            h = np.empty((3, W), np.float32)
            _sweep(self.S[i].reshape(-1), self.state[i], h, *self._lattice(), betas, kinds)
        self._each(work)

    def descend(self, tolerance: float, max_sweeps: int) -> float:
        """As :meth:`cpu.Replicas.descend`; a block moves until all of its replicas have arrived, each stops by itself.
        """
        def work(i):
            S, h, worst = self.S[i].reshape(-1), np.empty((3, W), self.dtype), np.empty(W, self.dtype)
            moving = np.arange(W) < self.n - i * W
            torque, done, sweeps = np.zeros(W), 0, 0
            while True:
                overshoot = np.where(moving, 2 - SLACK / 2.0 ** (done // PATIENCE % 4), 0).astype(self.dtype)
                _descend(S, worst, overshoot, h, *self._lattice(), self.limits, sweeps)
                torque[moving] = np.sqrt(worst[moving])
                done += sweeps
                moving &= ~(torque <= tolerance)
                sweeps = min(STRIDE, max_sweeps - done)
                if not moving.any() or sweeps <= 0:
                    return torque.max()
        return float(np.max(self._each(work)))  # NaN, if there is one
