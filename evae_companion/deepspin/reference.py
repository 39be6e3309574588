r"""An explicit spin-lattice Hamiltonian: exact labels, at no cost, for training, tests and active learning.

.. math::
    E = \sum_{i<j} w(r)\Big[\varphi(r) - J(r)\,S_i\cdot S_j
            - \big(D(r)\,\hat r_{ij} + \hat r_{ij}\times d_f\big)\cdot(S_i\times S_j)\Big]
        + \sum_i \big[-K (S_i\cdot n)^2 + A S_i^2 + C S_i^4 - B\cdot S_i\big]

with Morse pairs :math:`\varphi = \epsilon[e^{-2\alpha(r-r_0)} - 2e^{-\alpha(r-r_0)}]`, the Bethe-Slater exchange that
LAMMPS' SPIN package uses, :math:`J = 4j(r/\delta)^2[1 - b(r/\delta)^2]e^{-(r/\delta)^2}` (Tranchida et al., J. Comput.
Phys. 372, 406, 2018), DM vectors along the bonds that fall off as :math:`D = d\,e^{-(r/\delta)^2}`, those of a film
(Rohart and Thiaville, Phys. Rev. B 88, 184422, 2013; the same for all r, as in LAMMPS), uniaxial anisotropy, a Landau
energy of the moments' length, and a field. S in mu_B, so J in eV/mu_B^2. w(r) is the descriptor's switch.
:mod:`.lammps` gives the same numbers by LAMMPS itself, for what it has.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import inf
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evae_companion.deepspin.descriptor import switch
from evae_companion.deepspin.neighbours import Neighbours, Section, displacements
from evae_core.validation import check_array, check_is, check_number, check_numbers


@dataclass(frozen=True)
class SpinLattice:
    """Parameters of the Hamiltonian above; two-dimensional ones are symmetric tables by pairs of types.

    Parameters
    ----------
    names : of the types. ``magnetic`` : whether a type carries moments.
    depth (eV), width (1/angstrom), bond (angstrom) : epsilon, alpha and r_0 of Morse.
    exchange (eV/mu_B^2) j, shape b, decay (angstrom) delta : of Bethe-Slater; j counts between magnetic types only.
    dm (eV/mu_B^2) : d, the DM strength; along +r from i to j. Between magnetic types only.
    film (eV/mu_B^2) : d_f, the DM vector of a film, along its normal. Between magnetic types only.
    anisotropy (eV/mu_B^2) K and axis n; landau (A eV/mu_B^2, C eV/mu_B^4); field (eV/mu_B) B.
    cutoff, smooth_from : r_c and r_s; equal ones cut off sharply, as LAMMPS does.
    """

    names: tuple[str, ...]
    magnetic: tuple[bool, ...]
    depth: tuple[tuple[float, ...], ...]
    width: tuple[tuple[float, ...], ...]
    bond: tuple[tuple[float, ...], ...]
    exchange: tuple[tuple[float, ...], ...]
    shape: float = 0.2171
    decay: float = 1.841
    dm: float = 0.0
    film: tuple[float, float, float] = (0.0, 0.0, 0.0)
    anisotropy: float = 0.0
    axis: tuple[float, float, float] = (0.0, 0.0, 1.0)
    landau: tuple[float, float] = (0.0, 0.0)
    field: tuple[float, float, float] = (0.0, 0.0, 0.0)
    cutoff: float = 5.0
    smooth_from: float = 4.0

    def __post_init__(self) -> None:
        for name in ("names", "magnetic"):
            check_is(name, getattr(self, name), tuple, list)
        for name in ("shape", "decay", "dm", "anisotropy", "cutoff", "smooth_from"):
            least = 0.0 if name in ("decay", "cutoff", "smooth_from") else -inf
            check_number(name, getattr(self, name), least)
        for name, length in (("axis", 3), ("film", 3), ("landau", 2), ("field", 3)):
            check_numbers(name, getattr(self, name), count=length)
        types = len(self.names)
        if not types or len(set(self.names)) != types or not all(isinstance(name, str) for name in self.names):
            raise ValueError(f"names must be different words, one a type, got {self.names!r}")
        if len(self.magnetic) != types or not all(isinstance(one, bool) for one in self.magnetic):
            raise ValueError(f"magnetic must be one bool a type, {types}, got {self.magnetic}")
        for name in ("depth", "width", "bond", "exchange"):
            table = check_array(name, getattr(self, name), (types, types))
            if not np.array_equal(table, table.T):
                raise ValueError(f"{name} must be a symmetric table, got {getattr(self, name)}")
        check_number("smooth_from", self.smooth_from, most=self.cutoff)
        if sum(x * x for x in self.axis) == 0:
            raise ValueError("axis must not be zero")

    def spec(self) -> dict[str, Any]:
        """Plain values, for the store."""
        return asdict(self)

    def reach(self, spins: Tensor, types: Tensor) -> tuple[float, ...]:
        """There are no virtual atoms: zeros. ValueError for a moment on a type without."""
        for a, name in enumerate(self.names):
            if not self.magnetic[a] and bool(spins[:, types == a].any()):
                raise ValueError(f"spins of type {name} must be zero: it is not magnetic here")
        return (0.0,) * len(self.names)

    def energies(self, positions: Tensor, spins: Tensor, cells: Tensor, neighbours: Neighbours,
                 strain: Tensor | None = None) -> Tensor:
        """(F,) eV of the atoms in the tables' rows: half of every pair's, and what each has alone."""
        total = positions.new_zeros(len(positions))
        for section in neighbours.sections:
            if section.index.shape[1]:
                total = total + 0.5 * self._pair_energies(section, positions, spins, cells, strain).sum((1, 2))
        axis = positions.new_tensor(self.axis)
        axis, field = axis / axis.norm(), positions.new_tensor(self.field)
        for section in neighbours.first_of_centres():
            if not self.magnetic[section.centre]:
                continue
            own = spins.index_select(1, section.atoms)
            square = own.square().sum(-1)
            alone = (self.landau[0] * square + self.landau[1] * square.square()
                     - self.anisotropy * (own @ axis).square() - own @ field)
            total = total + alone.sum(1)
        return total

    def _pair_energies(self, section: Section, positions: Tensor, spins: Tensor, cells: Tensor,
                       strain: Tensor | None) -> Tensor:
        """(F, n, K) eV."""
        a, b = section.centre, section.neighbour
        apart = displacements(section, positions, cells, strain)
        r = apart.norm(dim=-1)
        falling = torch.exp(-self.width[a][b] * (r - self.bond[a][b]))
        energy = self.depth[a][b] * (falling.square() - 2.0 * falling)
        if self.magnetic[a] and self.magnetic[b]:
            mine = spins.index_select(1, section.atoms)[:, :, None]
            others = spins.index_select(1, section.index.reshape(-1)).unflatten(1, section.index.shape)
            x = (r / self.decay).square()
            gaussian = torch.exp(-x)
            exchange = self.exchange[a][b] * 4.0 * x * (1.0 - self.shape * x) * gaussian
            energy = energy - exchange * (mine * others).sum(-1)
            if self.dm or any(self.film):
                twist = torch.linalg.cross(mine.expand_as(others), others) / r[..., None]
            if self.dm:
                energy = energy - self.dm * gaussian * (apart * twist).sum(-1)
            if any(self.film):
                across = torch.linalg.cross(apart, apart.new_tensor(self.film).expand_as(apart))
                energy = energy - (across * twist).sum(-1)
        if self.smooth_from < self.cutoff:
            return energy * switch(r, self.smooth_from, self.cutoff)
        return torch.where(r < self.cutoff, energy, 0.0)


def iron_like(dm: float = 0.0, anisotropy: float = 0.0, cutoff: float = 5.0, smooth_from: float = 4.0) -> SpinLattice:
    """A one-type ferromagnet with the size of iron's numbers: Morse pairs of Girifalco and Weizer (Phys. Rev. 114, 687,
    1959), the exchange of LAMMPS' iron example for moments of 2.2 mu_B. A model magnet, not iron: pair potentials and
    the smoothed cut-off do not give iron's elastic constants or Curie temperature."""
    # The paper of these numbers sums over i and j, every pair twice, and takes unit vectors: j is half of ours times
    # 2.2^2. (So does LAMMPS' documentation; its code counts pairs once: to it this magnet is j = 2 x 0.02726.)
    return SpinLattice(("Fe",), (True,), ((0.4174,),), ((1.3885,),), ((2.845,),), ((2 * 0.02726 / 2.2**2,),), dm=dm,
                       anisotropy=anisotropy, cutoff=cutoff, smooth_from=smooth_from)
