r"""Bonds to other sites than the nearest neighbours: what a list of them may hold, and the fields they make.

A bond couples every site i with the site j = i + (dy, dx) by

.. math:: E_{ij} = -J\, S_i\cdot S_j - D\cdot(S_i\times S_j)

so that i feels :math:`J S_j + S_j\times D` and j feels :math:`J S_i - S_i\times D`. Seen from j it is the bond
(-dy, -dx) with -D; the one of the two with dy > 0, or dy = 0 and dx > 0, is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isfinite
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from evae_core.arguments import check_count, check_number

MOST_STEPS = 2**20  # rows or columns that a bond may span; none does that lies in a sample


class Bond(NamedTuple):
    """The bonds from every site to the one ``dy`` rows and ``dx`` columns on; J and the DM vector in units of J."""

    dy: int
    dx: int
    J: float
    dm: tuple[float, float, float] = (0.0, 0.0, 0.0)


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
        check_count(name, value, -MOST_STEPS, MOST_STEPS)
    check_number("J", J, -inf)
    equal = {(a * u, b * v) for u, v in ((dy, dx), (dx, dy)) for a in (1, -1) for b in (1, -1)}
    return [(u, v, J) for u, v in sorted(equal) if (u, v) > (0, 0)]


def bond_matrix(bond: Bond) -> np.ndarray:
    """(3, 3) float64: M of E_ij = -S_i^T M S_j."""
    a, b, c = bond.dm
    return bond.J * np.eye(3) + np.array([[0, c, -b], [-c, 0, a], [b, -a, 0]])


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
    found: dict[tuple[int, int], Bond] = {}
    for given in bonds:
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
        if bond[:2] in found:
            raise ValueError(f"further must hold each bond once, got ({dy}, {dx}) again (it is also ({-dy}, {-dx}) "
                             "seen from its other end)")
        found[bond[:2]] = bond
    return tuple(sorted(bond for bond in found.values() if bond.J or any(bond.dm)))


def shifted(maps: Tensor, dy: int, dx: int, periodic: bool) -> Tensor:
    """What lies ``dy`` rows and ``dx`` columns on from every site of ``maps`` (..., Ny, Nx); 0 beyond an open edge."""
    if periodic:
        return maps.roll((-dy, -dx), (-2, -1))
    ny, nx = maps.shape[-2:]
    if abs(dy) >= ny or abs(dx) >= nx:
        return torch.zeros_like(maps)
    inner = maps[..., max(dy, 0):ny + min(dy, 0), max(dx, 0):nx + min(dx, 0)]
    return torch.nn.functional.pad(inner, (max(-dx, 0), max(dx, 0), max(-dy, 0), max(dy, 0)))


def bond_field(spins: Tensor, bonds: tuple[Bond, ...], periodic: bool) -> Tensor:
    """The field that ``bonds`` make, (..., 3, Ny, Nx), of spins that are 0 on non-magnetic sites.

    A few passes over memory a bond, for all configurations at once.
    """
    field = torch.zeros_like(spins)
    for dy, dx, J, dm in bonds:
        ahead, behind = shifted(spins, dy, dx, periodic), shifted(spins, -dy, -dx, periodic)
        if J:
            field = field + J * (ahead + behind)
        if any(dm):
            vector = torch.tensor(dm, dtype=spins.dtype, device=spins.device).view(3, 1, 1)
            field = field + torch.linalg.cross(ahead - behind, vector.expand_as(ahead), dim=-3)
    return field


def count(bond: Bond, magnetic: np.ndarray, periodic: bool) -> int:
    """How many bonds of this kind there are between the sites where the bool array ``magnetic`` (Ny, Nx) is true."""
    there = torch.from_numpy(np.array(magnetic))
    return int((there & shifted(there.byte(), bond.dy, bond.dx, periodic).bool()).sum())
