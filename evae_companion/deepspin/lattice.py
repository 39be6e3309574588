r"""DeepSPIN on a rigid square lattice: the same descriptor, as fast as an E-VAE's loss must be.

A film of magnetic atoms with unit moments on a square lattice (spacing 1, energies in units of J), every one above a
substrate atom that carries none. The substrate is a marker: without it up and down, and with them the handedness of an
interface, could not be told from the arrangement of atoms. Energies are sums over the film's atoms of a network of
D = A^T A_<, with :mod:`.descriptor`'s rows. On the rigid lattice a kind of neighbour at one distance has one weight,
and A few columns: real neighbours (along e_0) and the substrate (e_0 and e_z), which are constant; the own virtual atom
u; and for each of two shells of neighbours the arrows to their virtual atoms,

.. math::  V_a = \sum_{k\in a} \big(s\,\hat R_k\cdot\sigma S_k,\; s\,\sigma S_k\big),
           \qquad |R_k| = 1, \sqrt 2.

What varies in D are the scalar products of these with one another. The rows of the virtual atoms' own positions,
R_k + sigma S_k, are left out: with them in the place of the arrows exchange is a cancellation, and a potential of four
such columns was no better after twice as many steps of training (5 % torque error, against 4 %), and took twice as
long to evaluate.

Which handedness it can learn. The descriptor does not change when positions and moments are turned or reflected
together *as arrows*. Neel's (interfacial) form of the Dzyaloshinskii-Moriya term, :math:`D (\hat z\times e_{ij})\cdot
(S_i\times S_j)`, has that symmetry, with :math:`\hat z` the direction from the substrate; Bloch's form
:math:`D e_{ij}\cdot(S_i\times S_j)` changes its sign, and no arrangement of atoms in this film carries that sign. But
the two are one model in two frames: turning every moment by 90 degrees about z maps Bloch's energies onto Neel's
(:func:`to_neel`), exchange and Zeeman's term unchanged. So the potential is learned, and evaluated, in Neel's frame.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import reduce
from operator import add
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evae_companion.deepspin.descriptor import kept, layers, residual, rows

# (x, y) of the neighbours of the first and of the second shell.
SHELLS = (((1, 0), (-1, 0), (0, 1), (0, -1)), ((1, 1), (-1, 1), (-1, -1), (1, -1)))
INPUTS = 1 + 3 * len(SHELLS) + 3
FLOOR = 1e-5  # components of the inputs are of unit variance down to this part of the largest


@dataclass(frozen=True)
class LatticeSpec:
    """Every number of the architecture; lengths in lattice spacings.

    Parameters
    ----------
    scale : sigma, the distance of a virtual atom from its real one.
    fitting : widths of the energy network's hidden layers.
    cutoff, smooth_from, protection : of the rows; two shells of real neighbours are within.
    """

    scale: float = 0.3
    fitting: tuple[int, ...] = (16,)
    cutoff: float = 1.9
    smooth_from: float = 1.5
    protection: float = 0.01

    def __post_init__(self) -> None:
        object.__setattr__(self, "fitting", tuple(self.fitting))
        if not 0 < self.scale < 1 or not 2**0.5 < self.smooth_from < self.cutoff <= 2:
            raise ValueError("0 < scale < 1 and sqrt(2) < smooth_from < cutoff <= 2 are needed, so that the first two "
                             f"shells are seen, got {self.scale}, {self.smooth_from}, {self.cutoff}")
        if not self.fitting or min(self.fitting) < 1:
            raise ValueError(f"fitting must be positive widths, got {self.fitting}")

    def spec(self) -> dict[str, Any]:
        """Plain values, for the store."""
        return asdict(self) | {"fitting": list(self.fitting)}


class LatticeSpin(nn.Module):
    """The potential; weights from ``seed``. Energies are defined for unit moments: what a gradient says along a moment
    means nothing. :meth:`normalise` must be called with training data before training."""

    mean: Tensor
    whitening: Tensor
    bias: Tensor
    scale: Tensor
    stencils: Tensor

    def __init__(self, spec: LatticeSpec | None = None, seed: int = 0) -> None:
        super().__init__()
        self.spec = spec = spec or LatticeSpec()
        generator = torch.Generator().manual_seed(seed)
        self.hidden = layers([INPUTS, *spec.fitting], generator)
        self.last = layers([spec.fitting[-1], 1], generator)
        self.register_buffer("mean", torch.zeros(INPUTS))
        self.register_buffer("whitening", torch.eye(INPUTS))
        self.register_buffer("bias", torch.zeros(()))  # J a site
        self.register_buffer("scale", torch.ones(()))  # J: what the network's outputs are multiplied by
        self.register_buffer("stencils", self._stencils(), persistent=False)  # :meth:`slopes` is called in every step

    def energies(self, spins: Tensor) -> Tensor:
        """(...,) energies, units of J, of unit spins (..., 3, Ny, Nx) in Neel's frame on a periodic lattice."""
        flat = spins.reshape(-1, *spins.shape[-3:])
        inputs = (self.whitening.T @ self.products(flat).flatten(1)).T - self.mean @ self.whitening
        site = self.last[0](residual(self.hidden, inputs)).reshape(len(flat), -1)
        return (self.scale * site.sum(1) + site.shape[1] * self.bias).reshape(spins.shape[:-3])

    def products(self, spins: Tensor) -> Tensor:
        """(INPUTS, F, Ny, Nx): S^z; for both shells V's component along e_0, along e_z, and u.V (of u the part along
        the moment, which alone varies, in units of sigma s); V_1.V_1, V_1.V_2, V_2.V_2.

        Maps come last everywhere, and sums over few things are written out: that is what is fast.
        """
        ny, nx = spins.shape[-2:]
        own = spins.unbind(1)
        padded = F.pad(spins, (1, 1, 1, 1), mode="circular").unbind(1)
        columns = []
        for shell in SHELLS:
            s, over = self._weights(shell)
            at = [(x, y, (..., slice(1 + y, 1 + y + ny), slice(1 + x, 1 + x + nx))) for x, y in shell]
            along = _total(over * x * padded[0][place] + over * y * padded[1][place] for x, y, place in at)
            columns.append([along, *(s * _total(component[place] for _, _, place in at) for component in padded)])
        found = [own[2]]
        for along, x, y, z in columns:
            found += [along, z, own[0] * x + own[1] * y + own[2] * z]
        for a, b in ((0, 0), (0, 1), (1, 1)):
            found.append(_total(one * other for one, other in zip(columns[a], columns[b], strict=True)))
        return torch.stack(found)

    def _weights(self, shell: tuple[tuple[int, int], ...]) -> tuple[float, float]:
        """sigma s and sigma s/rho of a shell: an arrow is (sigma s/rho R.S, sigma s S)."""
        (x, y), *_ = shell
        spec = self.spec
        row = rows(torch.tensor([float(x), float(y), 0.0], dtype=torch.float64), spec.smooth_from, spec.cutoff,
                   spec.protection)
        return spec.scale * float(row[0]), spec.scale * float(row[1:].norm()) / (x * x + y * y) ** 0.5

    def fields(self, spins: Tensor, create_graph: bool = False) -> tuple[Tensor, Tensor]:
        """(energies (...,), F_mag = -dE/dS (..., 3, Ny, Nx) without its part along the moments)."""
        spins = spins if spins.requires_grad else spins.detach().requires_grad_()
        with torch.enable_grad():
            energies = self.energies(spins)
            slope, = torch.autograd.grad(energies.sum(), spins, create_graph=create_graph)
        if not create_graph:
            energies, spins = energies.detach(), spins.detach()
        return energies, (slope * spins).sum(-3, keepdim=True) * spins - slope

    @torch.no_grad()
    def slopes(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        """(energies (F,), dE/dS (F, 3, Ny, Nx)) of unit spins (F, 3, Ny, Nx): what autograd says of :meth:`energies`,
        four times faster. Written out, with maps last throughout and the neighbours' sums as convolutions."""
        n, _, ny, nx = spins.shape
        kernel = self.stencils.to(spins)
        arrows = F.conv2d(F.pad(spins, (1, 1, 1, 1), mode="circular"), kernel).flatten(2)
        own, (first, second) = spins.flatten(2), arrows.chunk(len(SHELLS), 1)
        found = [own[:, 2]]
        for shell in (first, second):
            found += [shell[:, 0], shell[:, 3], (own * shell[:, 1:]).sum(1)]
        x = torch.stack([*found, *((a * b).sum(1) for a, b in ((first, first), (first, second), (second, second)))], 1)
        x = self.whitening.T @ x - (self.mean @ self.whitening)[:, None]
        hidden, outputs = cast(list[nn.Linear], list(self.hidden)), []
        for layer in hidden:
            outputs.append(y := (layer.weight @ x).add_(layer.bias[:, None]).tanh_())
            x = y + x.repeat(1, times, 1) if (times := kept(layer)) else y
        last = cast(nn.Linear, self.last[0])
        site = (last.weight @ x.sum(-1, keepdim=True)).reshape(n) + ny * nx * last.bias

        g = (self.scale * last.weight.T).expand(n, -1, ny * nx)
        for layer, y in zip(reversed(hidden), reversed(outputs), strict=True):
            back = layer.weight.T @ ((1 - y * y) * g)
            g = back + g.unflatten(1, (times, -1)).sum(1) if (times := kept(layer)) else back
        g = self.whitening @ g
        to_first = first * (2 * g[:, 7:8]) + second * g[:, 8:9]
        to_second = second * (2 * g[:, 9:10]) + first * g[:, 8:9]
        to_own = torch.zeros_like(own)
        to_own[:, 2] = g[:, 0]
        for shell, to_shell, (along, z, u) in ((first, to_first, g[:, 1:4].unbind(1)),
                                               (second, to_second, g[:, 4:7].unbind(1))):
            to_shell[:, 0] += along
            to_shell[:, 3] += z
            to_shell[:, 1:].addcmul_(own, u[:, None])
            to_own.addcmul_(shell[:, 1:], u[:, None])
        spread = F.pad(torch.cat([to_first, to_second], 1).unflatten(2, (ny, nx)), (1, 1, 1, 1), mode="circular")
        slope = F.conv2d(spread, kernel.transpose(0, 1).flip(2, 3)).add_(to_own.unflatten(2, (ny, nx)))
        return self.scale * site + ny * nx * self.bias, slope

    def _stencils(self) -> Tensor:
        """(8, 3, 3, 3): sums over neighbours that give both shells' V, of a map with a margin of one site."""
        kernel = torch.zeros(4 * len(SHELLS), 3, 3, 3, dtype=torch.float64)
        for block, shell in zip(kernel.split(4), SHELLS, strict=True):
            s, over = self._weights(shell)
            for x, y in shell:
                block[0, :2, 1 + y, 1 + x] = over * torch.tensor([x, y], dtype=torch.float64)
                block[1:, :, 1 + y, 1 + x] = s * torch.eye(3, dtype=torch.float64)
        return kernel

    @torch.no_grad()
    def normalise(self, spins: Tensor, energies: Tensor, torques: Tensor) -> None:
        """Set what makes inputs and outputs of the networks of order one, from configurations (F, 3, Ny, Nx), their
        energies (F,) and torques S x F_mag (F, 3, Ny, Nx), in Neel's frame: principal components of the
        products, the mean energy a site, and torques of the labels' size."""
        found = self.products(spins).flatten(1).double()
        variances, axes = torch.linalg.eigh(torch.cov(found, correction=0))  # sorted from the smallest
        self.mean.copy_(found.mean(1))
        self.whitening.copy_(axes / (variances.clamp_min(0.0) + FLOOR * variances[-1]).sqrt())
        self.bias.fill_(float(energies.mean()) / (spins.shape[-2] * spins.shape[-1]))
        self.scale.fill_(1.0)
        ours = torch.linalg.cross(spins, self.fields(spins)[1], dim=-3)
        self.scale.fill_(float((torques.square().sum() / ours.square().sum()).sqrt()))


def _total(maps: Iterable[Tensor]) -> Tensor:
    return reduce(add, maps)


def to_neel(spins: Tensor) -> Tensor:
    """All spins (..., 3, Ny, Nx) turned by +90 degrees about z: Bloch's states become Neel's of the same energy."""
    x, y, z = spins.unbind(-3)
    return torch.stack([-y, x, z], -3)


def from_neel(spins: Tensor) -> Tensor:
    """The inverse of :func:`to_neel`; also of gradients."""
    x, y, z = spins.unbind(-3)
    return torch.stack([y, -x, z], -3)
