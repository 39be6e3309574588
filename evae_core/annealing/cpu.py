"""The CPU backend: replicas in blocks, seeded, loaded and swept by the kernels of ``kernels.py``.

Their descent is that of ``descent.cpp``, or of ``kernels.py`` where there is no C++ compiler: the same steps, some
three times slower.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import torch

from evae_core.annealing.kernels import descend, sweep
from evae_core.annealing.schedule import PATIENCE, ROUGH, SLACK, STRIDE
from evae_core.annealing.threads import in_threads, seed_streams, workers
from evae_core.cpp_extension import Library, argument
from evae_core.hamiltonian import Hamiltonian

COMPILED = Library("descent", [Path(__file__).with_name("descent.cpp")])
WIDTH = 16  # of a vector of descent.cpp


def lanes(shape) -> int:
    """Replicas a block: rows of at least 256 numbers, as far as a block's spins stay below 1 MiB of cache."""
    ny, nx = shape
    sites = (nx + 1) // 2
    W = 1
    while W < 16 and W * sites < 256 and 2 * W * ny * sites * 24 < 2**20:
        W *= 2
    return W


def _zeros(shape, dtype) -> np.ndarray:
    """Zeros that begin on a cache line, as torch's do and numpy's need not."""
    return torch.zeros(shape, dtype=torch.float64 if dtype == np.float64 else torch.float32).numpy()


def supports(H: Hamiltonian) -> bool:
    """Whether these kernels know all of ``H``: J, D, B and K on nearest neighbours."""
    return H.plain


def pieces(shape, first: int, n: int) -> list[tuple[int, int]]:
    """The replicas first ... first + n - 1, divided into blocks: (first, n) of each."""
    W, end = lanes(shape), first + n
    edges = [first, *range((first // W + 1) * W, end, W), end]
    return [(a, b - a) for a, b in zip(edges, edges[1:], strict=False)]


class Replicas:
    """Replicas ``first`` ... ``first + n - 1`` of a lattice, and the sweeps over them.

    A replica's lane in its block is its index modulo W and its random streams are its own, so its
    spins do not depend on which other replicas are computed, nor on the number of threads.

    Parameters
    ----------
    H, shape : Hamiltonian and (Ny, Nx); even along every periodic axis.
    seed : of the random numbers. Without spins loaded, all spins are zero: begin with ``sweep([0.0], 0)``.
    dtype : np.float32, or np.float64 for an accurate descent (then without sweeps at T > 0).
    """

    def __init__(self, H, shape, n, first=0, seed=0, dtype=np.float32):
        ny, nx = self.shape = H.check_shape(shape)
        self.H, self.n, self.first, self.dtype = H, n, first, np.dtype(dtype)
        self.W = W = lanes(self.shape)
        self.columns = (nx + 1) // 2
        magnetic = np.zeros((2, ny, self.columns), bool)
        for c, p, there, here in self._quarters():
            magnetic[c, p::2, :there] = True if H.mask is None else H.mask[here]
        holes = ~magnetic.reshape(2 * ny, self.columns)
        self.holes = np.nonzero(holes)[1]
        self.starts = np.concatenate(([0], np.cumsum(holes.sum(1))))
        self.rows = self.holes.astype(np.int32), self.starts.astype(np.int32)  # for descent.cpp
        self.coupling = np.array([H.J, H.D, H.B, H.K, max(-2 * H.K, 0.0), 1e-24, 1.0], self.dtype)
        blocks = range(first // W, (first + n - 1) // W + 1)
        self.S = np.zeros((len(blocks), 2, ny + 1, 3, self.columns + 2, W), self.dtype)
        self.state = np.stack([seed_streams(seed, np.arange(b * W, (b + 1) * W), self.columns) for b in blocks])

    def _each(self, work):
        """[work(i) for every block i], in threads where there are several."""
        return in_threads(work, range(len(self.S)), min(workers(), len(self.S)))

    def _quarters(self):
        """(colour c, parity p of the rows, sites a row, their places (rows, columns) in a lattice) of its quarters."""
        for c, p in np.ndindex(2, 2):
            odd = (p + c) % 2
            yield c, p, (self.shape[1] + 1 - odd) // 2, (slice(p, None, 2), slice(odd, None, 2))

    def _blocks(self):
        """(block, its lanes that are replicas of this object, which these are)."""
        lead = self.first % self.W
        for i, block in enumerate(self.S):
            a, b = max(i * self.W - lead, 0), min((i + 1) * self.W - lead, self.n)
            yield block, slice(a + lead - i * self.W, b + lead - i * self.W), slice(a, b)

    def _lattice(self):
        return self.holes, self.starts, self.shape[0], self.W, self.H.periodic_axes, self.coupling

    def load(self, spins: torch.Tensor) -> None:
        """Take the spins of all replicas, (n, 3, Ny, Nx)."""
        spins = spins.detach().cpu().numpy().astype(self.dtype)
        if self.H.mask is not None:
            spins = np.where(self.H.mask, spins, 0)
        if self.H.dmi == "neel":
            spins = np.stack((spins[:, 1], -spins[:, 0], spins[:, 2]), 1)
        for block, w, mine in self._blocks():
            for c, p, there, here in self._quarters():
                block[c, p:-1:2, :, 1:there + 1, w] = spins[(mine, slice(None), *here)].transpose(2, 1, 3, 0)
            self._renew_ghosts(block)

    def _renew_ghosts(self, block) -> None:
        if self.H.periodic_axes[1]:
            block[..., 0, :], block[..., -1, :] = block[..., -2, :], block[..., 1, :]

    def spins(self) -> torch.Tensor:
        """A copy of the spins, (n, 3, Ny, Nx), zero on non-magnetic sites."""
        spins = np.empty((self.n, 3, *self.shape), self.dtype)
        for block, w, mine in self._blocks():
            for c, p, there, here in self._quarters():
                spins[(mine, slice(None), *here)] = block[c, p:-1:2, :, 1:there + 1, w].transpose(3, 1, 0, 2)
        if self.H.dmi == "neel":
            spins = np.stack((-spins[:, 1], spins[:, 0], spins[:, 2]), 1)
        return torch.from_numpy(np.ascontiguousarray(spins))

    def sweep(self, betas, overrelax: int, heat: bool = True) -> None:
        """A heat-bath sweep (over-relaxation where ``heat`` is false) and ``overrelax`` over-relaxation sweeps at each
        inverse temperature of ``betas``."""
        kinds = (np.arange(len(betas) * (overrelax + 1)) % (overrelax + 1) == 0) & heat
        betas = np.repeat(np.asarray(betas, np.float32), overrelax + 1)
        holes, starts, *rest = self._lattice()

        def work(i):
            buffers = np.zeros((10, self.columns * self.W), self.dtype)
            sweep(self.S[i].reshape(-1), self.state[i].reshape(4, -1), buffers, holes, starts, *rest, betas, kinds)
        self._each(work)

    def descend(self, tolerance: float, max_sweeps: int) -> float:
        """Turn the spins into their fields until no torque exceeds ``tolerance``; return the largest one left.

        Each replica stops by itself, and after ``max_sweeps`` at the latest. In float64 the way down to ``ROUGH`` is
        taken in float32, which is some two times faster.
        """
        rough = max(tolerance, ROUGH * float(np.abs(self.coupling[:4]).max()))
        down = self._descend_in_lanes if COMPILED.problem() else self._descend

        def work(i):
            S, done = self.S[i], np.zeros(self.W, np.int32)
            index = np.arange(i * self.W, (i + 1) * self.W) - self.first % self.W
            lanes = np.flatnonzero((index >= 0) & (index < self.n))
            torque = down(S, lanes, tolerance, 0, done)
            if self.dtype == np.float64 and len(far := lanes[torque[lanes] > rough]):
                single = S.astype(np.float32)
                down(single, far, rough, max_sweeps, done)
                spins = single[..., far].astype(np.float64)
                length = np.linalg.norm(spins, axis=2, keepdims=True)
                S[..., far] = np.divide(spins, length, out=spins, where=length > 0)
            return down(S, lanes, tolerance, max_sweeps, done).max()
        return float(np.max(self._each(work)))  # NaN, if there is one

    def _descend(self, S, lanes, tolerance, max_sweeps, done):
        """Descend the replicas ``lanes`` of block S, in place; return the torque of each, 0 elsewhere.

        ``done`` counts the sweeps of each replica, and goes on counting here.
        """
        ny, nc = self.shape[0], self.columns
        row = _zeros((2, ny + 1, 3, WIDTH - nc % -WIDTH + nc), S.dtype)
        sites, torque, left = row[..., WIDTH:WIDTH + nc], np.zeros(self.W), np.zeros(1, S.dtype)
        work = COMPILED.function("descend_float" if S.dtype == np.float32 else "descend_double")
        for lane in lanes:
            sites[...] = S[..., 1:-1, lane]
            work(*map(argument, (row, ny, nc, self.H.periodic_axes, *self.rows, self.coupling.astype(S.dtype))),
                 ctypes.c_double(tolerance), min(max_sweeps, 2**31 - 1), ctypes.c_double(SLACK), PATIENCE, STRIDE,
                 argument(done[lane:]), argument(left))
            S[..., 1:-1, lane] = sites
            torque[lane] = left[0]
        self._renew_ghosts(S)
        return torque

    def _descend_in_lanes(self, S, lanes, tolerance, max_sweeps, done):
        """As :meth:`_descend`, in numba: all replicas of the block side by side.

        Those that have arrived keep their place in the rows, and do not move, until half of them have: then those left
        are packed anew.
        """
        holes, starts, ny, _, periodic, coupling = self._lattice()
        coupling, torque, sweeps = coupling.astype(S.dtype), np.zeros(self.W), 0
        packed, block = lanes[:0], S[..., :0]  # nothing yet
        while True:
            if 2 * len(lanes) <= len(packed) or not len(packed):
                S[..., packed] = block[..., :len(packed)]
                packed, width = lanes, 2 ** (len(lanes) - 1).bit_length()
                block = np.zeros((*S.shape[:-1], width), S.dtype)
                block[..., :len(packed)] = S[..., packed]
                worst = np.empty(self.columns * width, S.dtype)
            factor, moving = np.zeros(width), np.isin(packed, lanes)
            factor[:len(packed)][moving] = 2 - SLACK / 2.0 ** (done[lanes] // PATIENCE % 4)
            overshoot = np.tile(factor, self.columns).astype(S.dtype)
            descend(block.reshape(-1), worst, overshoot, holes, starts, ny, width, periodic, coupling, sweeps)
            done[lanes] += sweeps
            torque[lanes] = np.sqrt(worst.reshape(-1, width).max(0))[:len(packed)][moving]
            lanes = lanes[~(torque[lanes] <= tolerance)]
            sweeps = min(STRIDE, max_sweeps - done[lanes].max(initial=0))
            if not len(lanes) or sweeps <= 0:
                S[..., packed] = block[..., :len(packed)]
                return torque
