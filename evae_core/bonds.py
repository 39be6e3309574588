r"""Bonds and terms: how every part of a Hamiltonian is stated, once, for all backends.

A bond couples every site i with the site j = i + (dy, dx) by a 3x3 matrix,

.. math:: E_{ij} = -S_i^T M S_j = -J\, S_i\cdot S_j - D\cdot(S_i\times S_j) - S_i^T \Gamma S_j

exchange J, a DM vector D, and a symmetric matrix :math:`\Gamma`, so that i feels :math:`J S_j + S_j\times D + \Gamma
S_j` and j feels :math:`J S_i - S_i\times D + \Gamma S_i`. Seen from j it is the bond (-dy, -dx) with -D; the one of the
two with dy > 0, or dy = 0 and dx > 0, is kept.

:class:`Couplings` is the whole Hamiltonian in this form: its bonds, one vector and one symmetric matrix per site,
:math:`E_i = -b\cdot S_i - S_i^T A S_i`. Every backend reads it, and says by ``supports(H)`` whether it knows all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from math import inf, isfinite
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from evae_core.validation import check_array, check_count, check_number

MAX_STEPS = 2**20  # rows or columns that a bond may span; none does that lies in a sample

Axes = tuple[bool, bool]  # whether the lattice is periodic along y, and along x
Matrix = tuple[tuple[float, float, float], ...]
NONE: Matrix = ((0.0, 0.0, 0.0),) * 3


class Bond(NamedTuple):
    """The bonds from every site to the one ``dy`` rows and ``dx`` columns on; all couplings in units of J."""

    dy: int
    dx: int
    J: float
    dm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    gamma: Matrix = NONE  # symmetric exchange beside J


class Couplings(NamedTuple):
    """A Hamiltonian's bilinear terms, in units of J: each bond once, b (3,) and A (3, 3) per site."""

    bonds: tuple[Bond, ...]
    vector: tuple[float, float, float]
    matrix: Matrix


class Term:
    """A term of the Hamiltonian beside the paper's: subclass it as a frozen dataclass of its parameters.

    A bilinear term overrides :meth:`bonds`, :attr:`vector` or :attr:`matrix`; every backend then knows it. Any other
    term overrides :meth:`energy_density`: energies, fields and training know it, and annealers refuse it by name.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Kitaev(Term):
    ...     K: float
    ...     def bonds(self):
    ...         return [(0, 1, np.diag([self.K, 0, 0])), (1, 0, np.diag([0, self.K, 0]))]
    >>> Kitaev(0.2).spec()
    {'term': 'Kitaev', 'K': 0.2}
    """

    def bonds(self) -> Sequence[tuple[int, int, Any]]:
        """(dy, dx, M) each, E = -S_i^T M S_j with the site j = i + (dy, dx); M (3, 3) in units of J."""
        return ()

    @property
    def vector(self) -> Any:
        """b (3,) of E = -b.S_i, in units of J."""
        return (0.0, 0.0, 0.0)

    @property
    def matrix(self) -> Any:
        """A (3, 3), symmetric, of E = -S_i^T A S_i, in units of J."""
        return NONE

    def energy_density(self, spins: Tensor) -> Tensor | None:
        """(..., Ny, Nx), differentiable: the energy of every site, where the term is not bilinear; else None."""
        return None

    @property
    def bilinear(self) -> bool:
        """Whether bonds, vector and matrix are all there is."""
        return type(self).energy_density is Term.energy_density

    def spec(self) -> dict[str, Any]:
        """The term as plain JSON values."""
        return {"term": type(self).__name__} | (asdict(self) if is_dataclass(self) else {})


def couplings_of(bonds: Iterable[Bond], B: float, K: float, terms: Iterable[Term] = ()) -> Couplings:
    """Everything bilinear as one statement: field B and anisotropy K along z, bonds, and what ``terms`` add.

    Raises
    ------
    TypeError, ValueError
        a term's numbers that are not finite, of another shape, or a matrix A that is not symmetric.
    """
    joined: dict[tuple[int, int], Bond] = {}
    for bond in bonds:
        joined[bond[:2]] = _sum(joined[bond[:2]], bond) if bond[:2] in joined else bond
    vector, matrix = np.array([0.0, 0.0, B]), np.diag([0.0, 0.0, K])
    for term in terms:
        name = type(term).__name__
        for dy, dx, M in term.bonds():
            bond = bond_of(dy, dx, check_array(f"{name}.bonds", M, (3, 3)))
            joined[bond[:2]] = _sum(joined[bond[:2]], bond) if bond[:2] in joined else bond
        vector = vector + check_array(f"{name}.vector", term.vector, (3,))
        own = check_array(f"{name}.matrix", term.matrix, (3, 3))
        if not np.array_equal(own, own.T):
            raise ValueError(f"{name}.matrix must be symmetric, got {own.tolist()}")
        matrix = matrix + own
    x, y, z = vector.tolist()
    return Couplings(tuple(joined.values()), (x, y, z), _tuples(matrix))


def bond_of(dy: int, dx: int, M: np.ndarray) -> Bond:
    """The bond (dy, dx) of E = -S_i^T M S_j, seen from the end that is kept: J = M_xx, D and Gamma from the rest."""
    for name, value in (("dy", dy), ("dx", dx)):
        check_count(name, value, -MAX_STEPS, MAX_STEPS)
    if (dy, dx) == (0, 0):
        raise ValueError("a term's bond must couple different sites, got displacement (0, 0)")
    if (dy, dx) < (0, 0):
        dy, dx, M = -dy, -dx, M.T
    odd, even = (M - M.T) / 2, (M + M.T) / 2
    J = float(even[0, 0])
    return Bond(dy, dx, J, (float(odd[1, 2]), float(odd[2, 0]), float(odd[0, 1])), _tuples(even - J * np.eye(3)))


def _sum(one: Bond, other: Bond) -> Bond:
    a, b, c = (float(x + y) for x, y in zip(one.dm, other.dm, strict=True))
    return Bond(one.dy, one.dx, one.J + other.J, (a, b, c), _tuples(np.array(one.gamma) + np.array(other.gamma)))


def _tuples(matrix: np.ndarray) -> Matrix:
    return tuple((float(a) + 0.0, float(b) + 0.0, float(c) + 0.0) for a, b, c in matrix)


def shell(dy: int, dx: int, J: float) -> list[tuple[int, int, float]]:
    """Exchange J to all neighbours that are as far away as (dy, dx) by symmetry of the square lattice, each bond once.

    Examples
    --------
    >>> shell(1, 1, -0.5)       # second neighbours
    [(1, -1, -0.5), (1, 1, -0.5)]
    >>> shell(0, 2, 0.1)        # third neighbours
    [(0, 2, 0.1), (2, 0, 0.1)]
    """
    for name, value in (("dy", dy), ("dx", dx)):
        check_count(name, value, -MAX_STEPS, MAX_STEPS)
    check_number("J", J, -inf)
    equal = {(a * u, b * v) for u, v in ((dy, dx), (dx, dy)) for a in (1, -1) for b in (1, -1)}
    return [(u, v, J) for u, v in sorted(equal) if (u, v) > (0, 0)]


def bond_matrix(bond: Bond) -> np.ndarray:
    """(3, 3) float64: M of E_ij = -S_i^T M S_j."""
    a, b, c = bond.dm
    return bond.J * np.eye(3) + np.array([[0, c, -b], [-c, 0, a], [b, -a, 0]]) + np.array(bond.gamma)


def check_bonds(bonds: Any) -> tuple[Bond, ...]:
    """``bonds``, (dy, dx, J) or (dy, dx, J, (Dx, Dy, Dz)) each, in their one form and order; without those that are 0.

    Raises
    ------
    TypeError, ValueError
        no such list, displacements that are not integers or both 0, couplings that are not finite numbers, the same
        two sites twice.
    """
    if isinstance(bonds, (str, dict)) or not isinstance(bonds, Sequence):
        raise TypeError(f"further must be a list of (dy, dx, J) or (dy, dx, J, (Dx, Dy, Dz)), got {bonds!r}")
    bonds_by_place: dict[tuple[int, int], Bond] = {}
    for given in bonds:
        if isinstance(given, Bond) and given.gamma != NONE:
            raise ValueError(f"further knows J and D alone, and {given} has more; use a Term")
        given = given[:4] if isinstance(given, Bond) else given
        try:
            dy, dx, J, *dm = given
            dm = tuple(dm[0]) if dm else (0.0, 0.0, 0.0)
        except (TypeError, ValueError):
            raise TypeError(f"further must hold (dy, dx, J) or (dy, dx, J, (Dx, Dy, Dz)), got {given!r}") from None
        if len(given) > 4 or len(dm) != 3:
            raise ValueError(f"further must hold (dy, dx, J) or (dy, dx, J, (Dx, Dy, Dz)), got {given!r}")
        if not all(isinstance(n, Integral) and not isinstance(n, bool) for n in (dy, dx)):
            raise TypeError(f"further must hold whole displacements (dy, dx), got {given!r}")
        if not all(isinstance(c, Real) and not isinstance(c, bool) for c in (J, *dm)):
            raise TypeError(f"further must hold real couplings, got {given!r}")
        if not all(isfinite(c) for c in (J, *dm)):
            raise ValueError(f"further must hold finite couplings, got {given!r}")
        if (dy, dx) == (0, 0):
            raise ValueError(f"further must couple different sites, got displacement (0, 0) in {given!r}")
        sign = 1 if (dy, dx) > (0, 0) else -1
        a, b, c = (sign * float(d) + 0.0 for d in dm)
        bond = Bond(sign * int(dy), sign * int(dx), float(J), (a, b, c))
        if bond[:2] in bonds_by_place:
            raise ValueError(f"further must hold each bond once, got ({dy}, {dx}) again (it is also ({-dy}, {-dx}) "
                             "seen from its other end)")
        bonds_by_place[bond[:2]] = bond
    return tuple(sorted(bond for bond in bonds_by_place.values() if bond.J or any(bond.dm)))


def padded(maps: Tensor, width: int, periodic: Axes) -> Tensor:
    """Maps (n, c, Ny, Nx) with a margin of ``width``: wrapped around along periodic axes, zeros beyond open edges."""
    y, x = (width if wraps else 0 for wraps in periodic)
    maps = pad(maps, (x, x, y, y), mode="circular") if y or x else maps
    return maps if all(periodic) else pad(maps, (width - x, width - x, width - y, width - y))


def shifted(maps: Tensor, dy: int, dx: int, periodic: Axes) -> Tensor:
    """What lies ``dy`` rows and ``dx`` columns on from every site of ``maps`` (..., Ny, Nx); 0 beyond an open edge."""
    if all(periodic):
        return maps.roll((-dy, -dx), (-2, -1))
    if any(periodic):
        maps, dy, dx = (maps.roll(-dy, -2), 0, dx) if periodic[0] else (maps.roll(-dx, -1), dy, 0)
    ny, nx = maps.shape[-2:]
    if abs(dy) >= ny or abs(dx) >= nx:
        return torch.zeros_like(maps)
    inner = maps[..., max(dy, 0):ny + min(dy, 0), max(dx, 0):nx + min(dx, 0)]
    return pad(inner, (max(-dx, 0), max(dx, 0), max(-dy, 0), max(dy, 0)))


def bond_field(spins: Tensor, bonds: tuple[Bond, ...], periodic: Axes) -> Tensor:
    """The field that ``bonds`` make, (..., 3, Ny, Nx), of spins that are 0 on non-magnetic sites.

    A few passes over memory a bond, for all configurations at once.
    """
    field = torch.zeros_like(spins)
    for dy, dx, J, dm, gamma in bonds:
        ahead, behind = shifted(spins, dy, dx, periodic), shifted(spins, -dy, -dx, periodic)
        if J:
            field = field + J * (ahead + behind)
        if any(dm):
            vector = torch.tensor(dm, dtype=spins.dtype, device=spins.device).view(3, 1, 1)
            field = field + torch.linalg.cross(ahead - behind, vector.expand_as(ahead), dim=-3)
        if gamma != NONE:
            field = field + torch.einsum("ab,...byx->...ayx", spins.new_tensor(gamma), ahead + behind)
    return field


def count(bond: Bond, magnetic: np.ndarray, periodic: Axes) -> int:
    """How many bonds of this kind there are between the sites where the bool array ``magnetic`` (Ny, Nx) is true."""
    there = torch.from_numpy(np.array(magnetic))
    return int((there & shifted(there.byte(), bond.dy, bond.dx, periodic).bool()).sum())
