r"""What every potential here has in common: energy in, forces, magnetic forces, torques and virial out by derivation.

.. math::
    F_i = -\partial E/\partial R_i|_S, \quad F^\mathrm{mag}_i = -\partial E/\partial S_i|_R, \quad
    \tau_i = S_i\times F^\mathrm{mag}_i, \quad W = -\partial E/\partial\varepsilon \;(R \to R(1+\varepsilon))

A potential has ``names`` (of its types), ``cutoff``, ``reach(spins, types)`` (how far virtual atoms lie from real ones)
and ``energies(positions, spins, cells, neighbours, strain=None)`` -> (F,): the learned one (:mod:`.model`) and the
explicit one (:mod:`.reference`).
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from evae_companion.deepspin.data import Frames
from evae_companion.deepspin.neighbours import Neighbours, find_neighbours
from evae_core.validation import check_count, check_device, check_flag, check_is, check_number


class Potential(Protocol):
    """An energy of atoms and moments."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of its types."""

    @property
    def cutoff(self) -> float:
        """Range between real atoms, angstrom."""

    def reach(self, spins: Tensor, types: Tensor) -> tuple[float, ...]:
        """For every type the largest distance of its virtual atoms from the real ones, angstrom."""

    def energies(self, positions: Tensor, spins: Tensor, cells: Tensor, neighbours: Neighbours,
                 strain: Tensor | None = None) -> Tensor:
        """(F,) eV."""


class Evaluation(NamedTuple):
    """energies (F,) eV, forces (F, N, 3) eV/angstrom, force_mags (F, N, 3) eV/mu_B, torques S x F_mag (F, N, 3) eV,
    virials (F, 3, 3) eV or None."""

    energies: Tensor
    forces: Tensor
    force_mags: Tensor
    torques: Tensor
    virials: Tensor | None


def neighbours_of(potential: Potential, frames: Frames, skin: float = 0.0) -> Neighbours:
    """Tables for all frames at once, with the potential's ranges. ValueError as :func:`find_neighbours`, and for
    frames whose types the potential does not know, or that have moments where it has none."""
    check_types(potential, frames)
    check_number("skin", skin, equal=True)
    return find_neighbours(frames.positions, frames.cells, frames.types, potential.cutoff,
                           potential.reach(frames.spins, frames.types), skin)


def check_types(potential: Potential, frames: Frames) -> None:
    """ValueError unless the frames' types are the potential's, in the same order; TypeError for what is neither."""
    check_is("frames", frames, Frames)
    if isinstance(potential, type) or not all(hasattr(potential, name) for name in ("names", "cutoff", "energies")):
        raise TypeError(f"potential must have names, cutoff, reach() and energies(), got {type(potential).__name__}")
    if frames.names != potential.names:
        raise ValueError(f"frames have the types {frames.names}, the potential knows {potential.names}; give the "
                         "frames the same names in the same order (a type may be without atoms)")


def derive(potential: Potential, positions: Tensor, spins: Tensor, cells: Tensor, neighbours: Neighbours,
           virial: bool = False, create_graph: bool = False) -> Evaluation:
    """Energies and their derivatives for given tables; ``create_graph`` to train on them. No checks: see evaluate."""
    positions, spins = (x if x.requires_grad else x.detach().requires_grad_() for x in (positions, spins))
    strain = positions.new_zeros(len(positions), 3, 3).requires_grad_() if virial else None
    inputs = [positions, spins, *([] if strain is None else [strain])]
    with torch.enable_grad():
        energies = potential.energies(positions, spins, cells, neighbours, strain)
        slopes = torch.autograd.grad(energies.sum(), inputs, create_graph=create_graph, allow_unused=True)
    # A potential without moments, or an atom without neighbours, has no slope: that is a zero.
    forces, force_mags, *rest = [torch.zeros_like(x) if slope is None else -slope
                                 for x, slope in zip(inputs, slopes, strict=True)]
    energies = energies if create_graph else energies.detach()
    torques = torch.linalg.cross(spins if create_graph else spins.detach(), force_mags)
    return Evaluation(energies, forces, force_mags, torques, rest[0] if virial else None)


def evaluate(potential: Potential, frames: Frames, *, virial: bool = False, neighbours: Neighbours | None = None,
             dtype: torch.dtype = torch.float64, device: str | torch.device = "cpu",
             rows: int | None = None) -> Evaluation:
    """Energies, forces, magnetic forces, torques (and virials) of frames.

    Parameters
    ----------
    neighbours : from :func:`neighbours_of`; searched where None.
    dtype, device : of the computation; a learned potential must be there already (``model.to(...)``).
    rows : central atoms handled at a time, for systems whose tables would not fit into memory; None: all.

    Raises
    ------
    ValueError
        unknown types, overlapping atoms, too thin a cell: see :func:`find_neighbours`.
    """
    check_types(potential, frames)
    check_is("neighbours", neighbours, Neighbours, type(None))
    check_flag("virial", virial)
    if not isinstance(dtype, torch.dtype) or dtype not in (torch.float32, torch.float64):
        raise TypeError(f"dtype must be torch.float32 or torch.float64, got {dtype!r:.60}")
    check_device(device)
    if rows is not None:
        check_count("rows", rows, 1)
    neighbours = neighbours_of(potential, frames) if neighbours is None else neighbours
    if not torch.equal(neighbours.types.cpu(), frames.types):
        raise ValueError("neighbours were found for other atoms than these frames hold")
    neighbours = neighbours.to(device, dtype)
    positions, spins, cells = (x.to(device, dtype) for x in (frames.positions, frames.spins, frames.cells))
    parts = [neighbours] if rows is None else neighbours.split(rows)
    found = [derive(potential, positions, spins, cells, part, virial) for part in parts]
    energies, forces, force_mags, torques = (sum(values[1:], values[0]) for values in zip(*(
        part[:4] for part in found), strict=True))
    virials = [part.virials for part in found if part.virials is not None]
    return Evaluation(energies, forces, force_mags, torques, sum(virials[1:], virials[0]) if virials else None)


def label(potential: Potential, frames: Frames, virial: bool = False) -> Frames:
    """The same frames with the potential's energies, forces and magnetic forces as labels, in float64."""
    found = evaluate(potential, frames, virial=virial)
    return Frames(frames.names, frames.types, frames.cells, frames.positions, frames.spins, found.energies,
                  found.forces, found.force_mags, found.virials)
