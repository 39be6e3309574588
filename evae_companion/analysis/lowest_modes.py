r"""Lowest eigenvalues of the energy's Hessian at a relaxed state: is it a minimum, a saddle point, and what is soft.

On unit spins the second derivative of the energy along tangent fields v is

.. math:: v^T A v = \sum_{ij} v_i^T \frac{\partial^2 E}{\partial S_i\partial S_j} v_j - \sum_i (S_i\cdot g_i)\,|v_i|^2

with g = dE/dS; the second term is the curvature of the spheres. A acts on the two components that v_i has in a tangent
frame of S_i. See G. P. Muller et al., Phys. Rev. Lett. 121, 197202 (2018).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import block_diag, coo_array, csc_array, eye_array, kron, vstack
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, SuperLU, eigsh, splu
from torch import Tensor
from torch.nn.functional import normalize

from evae_core.annealing.lbfgs import tangent_frame
from evae_core.bonds import bond_matrix, shifted
from evae_core.hamiltonian import Hamiltonian, check_hamiltonian, check_spins
from evae_core.validation import check_count, check_number

REST = 1e-4  # J: largest torque of a state that counts as relaxed
SOFT = 1e-6  # J: an eigenvalue below counts as zero
DENSE = 400  # rows up to which the whole matrix is made and diagonalised
EXACT = 1e-9  # J: tolerance of the Lanczos iteration


@dataclass(frozen=True, eq=False)
class LowestModes:
    """Eigenvalues and modes, lowest first.

    Attributes
    ----------
    eigenvalues : (k,) float64, J (per rad^2).
    vectors : (k, 3, Ny, Nx) float64, tangent fields, orthonormal over all spins; zero on non-magnetic sites.
    residual : largest length of A v - lambda v, J.
    """

    eigenvalues: Tensor
    vectors: Tensor
    residual: float

    def negative(self, tolerance: float = SOFT) -> int:
        """Return how many of the k eigenvalues are below -tolerance: 0 at a minimum, 1 at a saddle of first order."""
        return int((self.eigenvalues < -check_number("tolerance", tolerance, equal=True)).sum())

    def soft(self, tolerance: float = SOFT) -> int:
        """Return how many of the k eigenvalues are within tolerance of zero, as of a texture that may glide."""
        return int((self.eigenvalues.abs() <= check_number("tolerance", tolerance, equal=True)).sum())


def lowest_modes(H: Hamiltonian, state: Tensor, k: int) -> LowestModes:
    """Return the k lowest eigenvalues and modes of the Hessian of the total energy at a relaxed state.

    Small samples are diagonalised whole. Larger ones are solved by inverse iteration with the sparse matrix (ARPACK),
    or by the plain Lanczos method where a term is not bilinear: that takes some 50 times as long at 128 x 128. An
    eigenvalue that occurs several times is found as often.

    Parameters
    ----------
    H : any terms that are twice differentiable.
    state : (3, Ny, Nx), relaxed to a torque of at most 1e-4 J, also a saddle point.
    k : number of modes, at most twice the number of magnetic sites.

    Raises
    ------
    TypeError, ValueError
        a state that is not of unit spins, of another shape or not relaxed; k out of range.
    RuntimeError
        the iteration does not converge, or a pivot of the Hessian vanishes.
    """
    check_hamiltonian(H)
    check_spins(state, "state", unit=True, magnetic=None if H.mask is None else H.mask.copy())
    if state.ndim != 3:
        raise ValueError(f"state must be one configuration (3, Ny, Nx), got shape {tuple(state.shape)}")
    size = 2 * H.sites(state.shape[-2:])
    check_count("k", k, 1, size)
    hessian = Hessian(H, state)
    torque = float(H.torque(hessian.spins).max())
    if torque > REST:
        raise ValueError(f"state must be relaxed to a torque of at most {REST:g} J, got {torque:.2g} J; use "
                         "lbfgs_refine(H, state)")
    if size <= DENSE or 2 * k > size:
        matrix = np.stack([hessian.times(row) for row in np.eye(size)])
        values, rows = np.linalg.eigh((matrix + matrix.T) / 2)
        values, rows = values[:k], rows[:, :k].T
    elif H.unknown:
        values, rows = _lanczos(hessian, size, k)
    else:
        values, rows = _inverse_iterations(hessian.matrix(), k)
    residual = max(float(np.linalg.norm(hessian.times(row) - value * row))
                   for value, row in zip(values, rows, strict=True))
    return LowestModes(torch.from_numpy(values.copy()), torch.stack([hessian.field(row) for row in rows]), residual)


class Hessian:
    """A as a product with coordinates (2 N,) in the tangent frames of the magnetic sites."""

    def __init__(self, H: Hamiltonian, state: Tensor):
        magnetic = torch.ones(state.shape[-2:], dtype=torch.bool) if H.mask is None else torch.from_numpy(H.mask.copy())
        self.spins, self.magnetic = normalize(state.detach().cpu().double() * magnetic, dim=0), magnetic
        self.frame = torch.stack(tangent_frame(self.spins))
        self.hamiltonian = H
        self.constant = H.field(torch.zeros_like(self.spins))
        if H.unknown:
            self.leaf = self.spins.clone().requires_grad_()
            with torch.enable_grad():
                (self.slope,) = torch.autograd.grad(H.energy(self.leaf), self.leaf, create_graph=True)
        self.along = -(self.spins * H.field(self.spins)).sum(0)

    def field(self, row: np.ndarray) -> Tensor:
        """Return the tangent field (3, Ny, Nx) of coordinates."""
        parts = self.spins.new_zeros(2, *self.magnetic.shape)
        parts[:, self.magnetic] = torch.from_numpy(row.copy()).reshape(2, -1)
        return (parts[:, None] * self.frame).sum(0)

    def row(self, field: Tensor) -> np.ndarray:
        """Return the coordinates of a field (3, Ny, Nx)."""
        return (field * self.frame).sum(1)[:, self.magnetic].numpy().reshape(-1)

    def times(self, row: np.ndarray) -> np.ndarray:
        """Return A times coordinates."""
        field = self.field(row)
        if self.hamiltonian.unknown:
            (turned,) = torch.autograd.grad(self.slope, self.leaf, field, retain_graph=True)
        else:  # h is affine in S: some 20 times faster than by autograd
            turned = self.constant - self.hamiltonian.field(field)
        return self.row(turned - self.along * field)

    def matrix(self) -> csc_array:
        """Return A as a sparse matrix, where every term is bilinear."""
        H, n = self.hamiltonian, int(self.magnetic.sum())
        number = torch.zeros(self.magnetic.shape, dtype=torch.long)  # of magnetic sites, from 1 on; 0: none
        number[self.magnetic] = torch.arange(1, n + 1)
        along = self.along[self.magnetic].numpy()
        blocks = block_diag(-2 * np.array(H.couplings.matrix) - along[:, None, None] * np.eye(3), format="csr")
        for bond in H.couplings.bonds:
            other = shifted(number, bond.dy, bond.dx, H.periodic_axes)[self.magnetic].numpy()
            one = np.flatnonzero(other)
            there = coo_array((np.ones(one.size), (one, other[one] - 1)), (n, n))
            pairs = kron(there, -bond_matrix(bond), format="csr")
            blocks = blocks + pairs + pairs.T
        frames = vstack([block_diag(part[:, self.magnetic].T.reshape(n, 1, 3).numpy(), format="csr")
                         for part in self.frame])
        return csc_array(frames @ blocks @ frames.T)


def _inverse_iterations(matrix: csc_array, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the k lowest eigenvalues of a sparse matrix and their coordinates (k, rows), by inverse iteration.

    Soft modes are found from just below zero; those further down, at a saddle, from below them all.
    """
    near = -1e-3 * (float(abs(matrix).max()) or 1.0)
    factors = factorised(matrix, near)
    negative, found = negative_pivots(factors), []
    if negative:
        deep = 2 * near
        while negative_pivots(below := factorised(matrix, deep)):
            deep *= 2
        found.append(_above(matrix, deep, below, 0, min(negative, k)))
    if k > negative:
        found.append(_above(matrix, near, factors, negative, k - negative))
    return np.concatenate([values for values, _ in found]), np.concatenate([rows for _, rows in found])


def _above(matrix: csc_array, sigma: float, factors: SuperLU, below: int,
           number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest eigenvalues above sigma and their coordinates; ``below`` is the number of those below it.

    The number of negative pivots of A - sigma is that of the eigenvalues below sigma (Sylvester's law of inertia).
    So it is known when a copy of a multiple eigenvalue is missing.
    """
    inverse, wanted = LinearOperator(matrix.shape, factors.solve, dtype=np.float64), number
    while True:
        values, vectors = eigsh(matrix, wanted, sigma=sigma, OPinv=inverse, which="LA", tol=0,
                                v0=np.random.default_rng(0).normal(size=matrix.shape[0]))
        order = np.argsort(values, kind="stable")[:number]
        last = float(values[order[-1]]) - SOFT / 10
        missing = negative_pivots(factorised(matrix, last)) - below - int((values < last).sum())
        if not missing:
            return values[order], vectors[:, order].T
        wanted += abs(missing)
        if wanted >= matrix.shape[0]:
            raise RuntimeError(f"the {number} lowest modes above {sigma:g} J were not found")


def factorised(matrix: csc_array, sigma: float) -> SuperLU:
    """Return A - sigma = L U with pivots on the diagonal; raises RuntimeError where one vanishes."""
    factors = splu((matrix - sigma * eye_array(matrix.shape[0])).tocsc(), permc_spec="MMD_AT_PLUS_A",
                   diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    if not np.array_equal(factors.perm_r, factors.perm_c):
        raise RuntimeError(f"A - {sigma:g} J is singular")
    return factors


def negative_pivots(factors: SuperLU) -> int:
    """Return the number of negative pivots."""
    return int((factors.U.diagonal() < 0).sum())


def _lanczos(hessian: Hessian, size: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the k lowest eigenvalues and their coordinates (k, 2 N), of an A known by its products alone.

    One vector's Lanczos iteration may miss copies of a multiple eigenvalue. So the modes found are moved up in energy,
    and the search goes on until none that is left lies below the highest of the k.
    """
    random = np.random.default_rng(0)
    values, rows, wanted = np.empty(0), np.empty((0, size)), k
    # ARPACK's tolerance is a relative one, and an eigenvalue of exactly 0 escapes it: none is near 0 above this shift.
    shift, lift = 1.0 + 16 * hessian.hamiltonian.largest_coupling, 0.0

    def times(row: np.ndarray) -> np.ndarray:
        return hessian.times(row) + shift * row + lift * (rows.T @ (rows @ row))

    while True:
        try:
            more, vectors = eigsh(LinearOperator((size, size), times, dtype=np.float64), wanted, which="SA",
                                  v0=random.normal(size=size), ncv=min(size, max(2 * wanted + 1, 40)),
                                  maxiter=20 * size, tol=EXACT / 100)
        except ArpackNoConvergence as error:
            raise RuntimeError(f"the {k} lowest modes of this state did not converge: {error}") from None
        more = more - shift
        if len(values) >= k and more.min() > np.sort(values)[k - 1] - EXACT:
            order = np.argsort(values, kind="stable")[:k]
            return values[order], rows[order]
        values, rows = np.concatenate((values, more)), np.concatenate((rows, vectors.T))
        lift, wanted = 2 * float(np.abs(values).max()) + 1.0, 1
