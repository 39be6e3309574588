r"""The local environment of an atom as numbers that do not change when all turns, moves or is renumbered.

DeepPot-SE with virtual atoms (arXiv:2304.09606; Zhang et al., NeurIPS 2018): every neighbour, real or virtual, gives a
row :math:`s(r)\,(1, x/r, y/r, z/r)` of the matrix R and, through a small network of s(r), a row of G. Then

.. math::  A = R^T G/N_c, \qquad  D = A^T A_<

with A_< a few columns of A. s(r) is 1/r, brought to zero between r_s and r_c by a polynomial whose first and
second derivative vanish at both ends. The virtual atom of atom j lies at R_j + s_t S_j, s_t the scale of its type.

D does not change either when positions and moments are reflected together as arrows. Physics has that symmetry (parity
and time reversal); a Hamiltonian with a fixed chirality, r.(S x S') on atoms whose arrangement is not chiral, has not,
and cannot be learned: its sign must be readable from the atoms, as it is in chiral crystals and at interfaces.

Departures from the paper's code. Every kind of neighbour (real, virtual, the atom's own virtual atom) has columns of A
of its own instead of a share in common ones: in NiO the own virtual atom's row is ten times all others together, and
what the vibrations of the lattice change is a thousandth of that; apart, each can be brought to order one.

Virtual atoms are seen twice. The paper weighs them by their own distance, |R_j + s_t S_j - R_i|, which depends on how
S_j stands to the bond; an exchange that does not, J(r) S_i.S_j, is then a cancellation that the network has to learn,
and the forces show what is left of it. So there is a second row, that of the arrow from the real atom to its virtual
one, weighed by a network of the real distance: :func:`spin_channels`. Then S_i.sum_j J(r_ij) S_j is a number of D. On
NiO (47 frames, radial functions fixed) the best linear energy without these rows leaves 12 % of the forces and 46 % of
the magnetic forces it was fitted to, and 2 % and 5 % with them.

And r is
:math:`\rho = \sqrt{r^2 + p^2}` throughout, not 1/(r + p). An atom's own virtual atom reaches r = 0 when its moment
vanishes; there 1/(r + p) is finite but has a cusp, so that the magnetic force would jump from one side to the other,
while a function of r^2 is smooth. At r = 1 angstrom the two differ by 1 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn


def switch(rho: Tensor, smooth_from: float, cutoff: float) -> Tensor:
    """1 up to ``smooth_from``, u^3 (-6 u^2 + 15 u - 10) + 1 with u from 0 to 1 between there and ``cutoff``, then 0."""
    u = ((rho - smooth_from) / (cutoff - smooth_from)).clamp(0.0, 1.0)
    return u * u * u * ((15.0 - 6.0 * u) * u - 10.0) + 1.0


def rows(displacement: Tensor, smooth_from: float, cutoff: float, protection: float) -> Tensor:
    """(..., 4): s and s (x, y, z)/rho of displacements (..., 3), with rho = sqrt(r^2 + protection^2).

    Exactly zero where rho >= cutoff.
    """
    inverse = (displacement.square().sum(-1, keepdim=True) + protection**2).rsqrt()
    s = switch(1.0 / inverse, smooth_from, cutoff) * inverse
    return torch.cat([s, s * inverse * displacement], -1)


def spin_channels(row: Tensor, arrow: Tensor) -> Tensor:
    """(..., 4): s x.a/rho and s a of neighbours with ``rows`` (..., 4) and arrows a (..., 3) from them."""
    return torch.cat([(row[..., 1:] * arrow).sum(-1, keepdim=True), row[..., :1] * arrow], -1)


def contract(blocks: Sequence[Tensor], axis: int) -> Tensor:
    """D of A's blocks, one a kind of neighbour: k of (..., 4, M) -> (..., k M * k axis).

    A_< holds the first ``axis`` columns of every block.
    """
    few = torch.cat([block[..., :axis] for block in blocks], -1)
    return (torch.cat(list(blocks), -1).transpose(-1, -2) @ few).flatten(-2)


class Embedding(nn.Module):
    """The network of s that weighs neighbours of one kind: G (..., M). tanh layers, residual where the width stays or
    doubles. ``mean`` and ``deviation`` of s in the data make its input of order one."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, widths: Sequence[int], generator: torch.Generator):
        super().__init__()
        self.layers = layers([1, *widths], generator)
        with torch.no_grad():
            # Steps of s all over its range and narrow enough to tell shells of neighbours apart from the first: shells
            # have opposite couplings, and from straight lines the network takes long to learn to separate them.
            first = cast(nn.Linear, self.layers[0])
            first.weight.normal_(0.0, 3.0, generator=generator)
            first.bias.uniform_(-2.0, 2.0, generator=generator).mul_(first.weight[:, 0])
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("deviation", torch.ones(()))

    def forward(self, s: Tensor) -> Tensor:
        return residual(self.layers, (s - self.mean) / self.deviation)


def layers(widths: Sequence[int], generator: torch.Generator) -> nn.ModuleList:
    """Linear layers with weights of variance 2/(in + out), as deepmd-kit draws them, and biases of variance 1/4."""
    found = nn.ModuleList()
    for before, after in zip(widths[:-1], widths[1:], strict=True):
        layer = nn.Linear(before, after)
        with torch.no_grad():
            layer.weight.normal_(0.0, (2.0 / (before + after)) ** 0.5, generator=generator)
            layer.bias.normal_(0.0, 0.5, generator=generator)
        found.append(layer)
    return found


def kept(layer: nn.Linear) -> int:
    """How many times a layer's input is added to its output: once where the width stays, twice over where it doubles.
    """
    return {layer.in_features: 1, 2 * layer.in_features: 2}.get(layer.out_features, 0)


def residual(network: nn.ModuleList, x: Tensor) -> Tensor:
    """tanh layers, with their inputs added: :func:`kept`."""
    for layer in cast(Sequence[nn.Linear], network):
        y = torch.tanh(layer(x))
        times = kept(layer)
        x = y + torch.cat([x] * times, -1) if times else y
    return x
