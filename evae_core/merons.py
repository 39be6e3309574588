r"""Vortices of the in-plane spins and their cores: merons, halves of skyrmions.

Around a plaquette the angle of (S^x, S^y) turns by 2 pi w, w = 1 in a vortex and -1 in an antivortex; with a core along
p = sign S^z it covers half the sphere, and its topological charge is w p / 2. In an easy-plane background a vortex with
its core down and an antivortex with its core up are a bimeron of charge -1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from evae_core.hamiltonian import check_spins
from evae_core.validation import check_axes

KINDS = {"vortex up": (1, 1), "vortex down": (1, -1), "antivortex up": (-1, 1), "antivortex down": (-1, -1)}


def winding(spins: Tensor, periodic: bool | tuple[bool, bool] = True) -> tuple[Tensor, Tensor]:
    """w, (..., Ny, Nx) int64, of the plaquette to the upper right of every site, and the mean S^z of its four spins.

    ``periodic``: whether the lattice wraps around, for both axes or for (y, x); w is 0 across an open edge. If both are
    periodic, the sum of w is 0. Raises as :func:`~evae_core.hamiltonian.check_spins`.
    """
    y, x = check_axes("periodic", periodic)
    check_spins(spins, unit=True)
    angle = torch.atan2(spins.select(-3, 1).double(), spins.select(-3, 0).double())
    sz = spins.select(-3, 2).double()

    def corners(a: Tensor) -> tuple[Tensor, ...]:
        return a, a.roll(-1, -1), a.roll((-1, -1), (-1, -2)), a.roll(-1, -2)

    around = corners(angle)
    turned = sum((torch.remainder(b - a + math.pi, 2 * math.pi) - math.pi
                  for a, b in zip(around, (*around[1:], around[0]), strict=True)), torch.zeros_like(angle))
    w = (turned / (2 * math.pi)).round().long()
    w[..., -1, :] *= y
    w[..., -1] *= x
    return w, sum(corners(sz), torch.zeros_like(sz)) / 4


def meron_counts(spins: Tensor, core: float = 0.3, periodic: bool | tuple[bool, bool] = True) -> dict[str, Tensor]:
    """How many plaquettes of each of KINDS there are, (...,) int64 each, with |mean S^z| above ``core``."""
    w, sz = winding(spins, periodic)
    return {name: ((w == sign) & (sz * pole > core)).sum((-2, -1)) for name, (sign, pole) in KINDS.items()}
