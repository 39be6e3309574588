r"""DeepSPIN on a rigid square lattice: the same descriptor, as fast as an E-VAE's loss must be.

A film of magnetic atoms with unit moments on a square lattice (spacing 1, energies in units of J), every one above a
substrate atom that carries none. The substrate is a marker: without it up and down, and with them the handedness of an
interface, could not be told from the arrangement of atoms. Energies are sums over the film's atoms of a network of
D = A^T A_<, with :mod:`.descriptor`'s rows and embedding networks; on the rigid lattice A has few columns: real
neighbours (along e_0) and the substrate (e_0 and e_z), which are constant; the own virtual atom u; and M columns

.. math::  V_m = \sum_k s_k\,(1, \hat r_k)\,G_m(s_k), \qquad r_k = R_k + \sigma S_k

of the virtual atoms of the four nearest neighbours. What varies in D are the products of these with one another.

Which handedness it can learn. The descriptor does not change when positions and moments are turned or reflected
together *as arrows*. Neel's (interfacial) form of the Dzyaloshinskii-Moriya term, :math:`D (\hat z\times e_{ij})\cdot
(S_i\times S_j)`, has that symmetry, with :math:`\hat z` the direction from the substrate; Bloch's form
:math:`D e_{ij}\cdot(S_i\times S_j)` changes its sign, and no arrangement of atoms in this film carries that sign. But
the two are one model in two frames: turning every moment by 90 degrees about z maps Bloch's energies onto Neel's
(:func:`to_neel`), exchange and Zeeman's term unchanged. So the potential is learned, and evaluated, in Neel's frame.

A kind of neighbour at one distance has one weight, so only virtual neighbours have an embedding network. It keeps its
random weights: with them the inputs of the energy network can be brought to order one, once and for all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evae_core.deepspin.descriptor import Embedding, layers, residual, rows

BONDS = ((1, 0), (-1, 0), (0, 1), (0, -1))  # (x, y) of the nearest neighbours
# Of the embedding's first weights and biases. They are made to tell shells of neighbours apart by steps of s; here is
# one shell, and smooth functions of s suit it: straight steps leave 40 % of the torque unexplained.
SMOOTH = 0.15
FLOOR = 1e-5  # as in the model: components of the inputs are of unit variance down to this part of one's variance


@dataclass(frozen=True)
class LatticeSpec:
    """Every number of the architecture; lengths in lattice spacings.

    Parameters
    ----------
    scale : sigma, the distance of a virtual atom from its real one.
    columns, axis : M, and the number of columns of A_< among them.
    components : principal components of the products that the energy network sees.
    fitting : widths of its hidden layers.
    cutoff, smooth_from, protection : of the rows; only the virtual atoms of the four nearest neighbours may be within.
    """

    scale: float = 0.2
    columns: int = 4
    axis: int = 2
    components: int = 16
    fitting: tuple[int, ...] = (16,)
    cutoff: float = 1.21
    smooth_from: float = 1.205
    protection: float = 0.01

    def __post_init__(self) -> None:
        object.__setattr__(self, "fitting", tuple(self.fitting))
        if not 0 < self.scale or not 1 + self.scale <= self.smooth_from < self.cutoff <= 2**0.5 - self.scale:
            raise ValueError("1 + scale <= smooth_from < cutoff <= sqrt(2) - scale is needed: all virtual atoms "
                             "of nearest neighbours and no others are seen, got "
                             f"{self.scale}, {self.smooth_from}, {self.cutoff}")
        if not 1 <= self.axis <= self.columns or self.components < 1 or not self.fitting or min(self.fitting) < 1:
            raise ValueError("1 <= axis <= columns, components and fitting >= 1 are needed, got "
                             f"{self.axis}, {self.columns}, {self.components}, {self.fitting}")

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

    def __init__(self, spec: LatticeSpec | None = None, seed: int = 0) -> None:
        super().__init__()
        self.spec = spec = spec or LatticeSpec()
        generator = torch.Generator().manual_seed(seed)
        self.embedding = Embedding((spec.columns,), generator).requires_grad_(False)
        with torch.no_grad():
            for value in self.embedding.layers[0].parameters():
                value.mul_(SMOOTH)
        inputs = 1 + (3 + spec.axis) * spec.columns
        self.hidden = layers([min(spec.components, inputs), *spec.fitting], generator)
        self.last = layers([spec.fitting[-1], 1], generator)
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("whitening", torch.eye(inputs, min(spec.components, inputs)))
        self.register_buffer("bias", torch.zeros(()))  # J a site
        self.register_buffer("scale", torch.ones(()))  # J: what the network's outputs are multiplied by

    def energies(self, spins: Tensor) -> Tensor:
        """(...,) energies, units of J, of unit spins (..., 3, Ny, Nx) in Neel's frame on a periodic lattice."""
        flat = spins.reshape(-1, *spins.shape[-3:])
        inputs = (self.whitening.T @ self.products(flat).flatten(1)).T - self.mean @ self.whitening
        site = self.last[0](residual(self.hidden, inputs)).reshape(len(flat), -1)
        return (self.scale * site.sum(1) + site.shape[1] * self.bias).reshape(spins.shape[:-3])

    def products(self, spins: Tensor) -> Tensor:
        """(inputs, F, Ny, Nx): S^z; V_m's component along e_0; along e_z; u.V_m; V_m.V_m' with m' < axis.

        Maps come last everywhere, and sums over few things are written out: that is what is fast.
        """
        around, weights = self._seen(spins)
        columns = [_total(zip(weights, one, strict=True)) for one in zip(*around, strict=True)]
        zero, one = self._own(spins)
        own = spins.unbind(1)
        with_own = [zero * e + one * (own[0] * x + own[1] * y + own[2] * z) for e, x, y, z in around]  # u.row
        few = zip(*(column.unbind(0)[:self.spec.axis] for column in columns), strict=True)
        return torch.cat([own[2][None], columns[0], columns[3], _total(zip(weights, with_own, strict=True)),
                          *(_total(zip(columns, chosen, strict=True)) for chosen in few)])

    def _seen(self, spins: Tensor) -> tuple[list[tuple[Tensor, ...]], tuple[Tensor, ...]]:
        """Of the neighbours' virtual atoms the rows, 4 x 4 maps (F, Ny, Nx), and G, 4 x (M, F, Ny, Nx)."""
        ny, nx = spins.shape[-2:]
        padded = F.pad(spins, (1, 1, 1, 1), mode="circular").transpose(0, 1)
        others = torch.stack([padded[:, :, 1 + y:1 + y + ny, 1 + x:1 + x + nx] for x, y in BONDS])
        apart = spins.new_tensor([[x, y, 0.0] for x, y in BONDS])[:, :, None, None, None] + self.spec.scale * others
        found = rows(apart.movedim(1, -1), *self._limits)
        weights = self.embedding(found[..., :1]).movedim(-1, 1).contiguous().unbind(0)
        return [row.unbind(0) for row in found.movedim(-1, 1).contiguous().unbind(0)], weights

    @property
    def _limits(self) -> tuple[float, float, float]:
        return self.spec.smooth_from, self.spec.cutoff, self.spec.protection

    def _own(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """u, the row of an own virtual atom, is (zero, one * S)."""
        row = rows(like.new_tensor([[self.spec.scale, 0.0, 0.0]]), *self._limits)[0]
        return row[0], row[1]

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
    def normalise(self, spins: Tensor, energies: Tensor, torques: Tensor) -> None:
        """Set what makes inputs and outputs of the networks of order one, from configurations (F, 3, Ny, Nx), their
        energies (F,) and torques S x F_mag (F, 3, Ny, Nx), in Neel's frame: mean and spread of s, principal components
        of the products, the mean energy a site, and torques of the labels' size."""
        s = torch.stack([row[0] for row in self._seen(spins)[0]])
        self.embedding.mean.fill_(float(s.mean()))
        self.embedding.deviation.fill_(float(s.std()))
        found = self.products(spins).flatten(1).double()
        variances, axes = torch.linalg.eigh(torch.cov(found, correction=0))  # sorted from the smallest
        most = slice(-self.whitening.shape[1], None)
        self.mean.copy_(found.mean(1))
        self.whitening.copy_(axes[:, most] / (variances[most].clamp_min(0.0) + FLOOR * variances[-1]).sqrt())
        self.bias.fill_(float(energies.mean()) / (spins.shape[-2] * spins.shape[-1]))
        self.scale.fill_(1.0)
        ours = torch.linalg.cross(spins, self.fields(spins)[1], dim=-3)
        self.scale.fill_(float((torques.square().sum() / ours.square().sum()).sqrt()))


def _total(products: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """The sum of the products of pairs of maps."""
    (first, second), *rest = products
    total = first * second
    for first, second in rest:
        total = torch.addcmul(total, first, second)
    return total


def to_neel(spins: Tensor) -> Tensor:
    """All spins (..., 3, Ny, Nx) turned by +90 degrees about z: Bloch's states become Neel's of the same energy."""
    x, y, z = spins.unbind(-3)
    return torch.stack([-y, x, z], -3)
