r"""Which atoms see which: neighbours within a range, sorted into rectangular tables by pairs of types.

The pairs are found by vesin's cell lists (time linear in the number of atoms, periodic images counted as often as they
lie within reach, triclinic cells). The tables hold indices only: displacements are computed from positions, so that
energies can be derived by them. One table serves many frames of the same atoms (pairs within reach in any of them) and,
with a skin, a trajectory: pairs out of range contribute exactly zero.

Moments do not enter: a virtual atom lies within ``reach`` of its real atom, so its table is the real one's with the
range lengthened by that. Spins may turn freely without a new search.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import vesin
from torch import Tensor

from evae_companion.deepspin.data import check_cells
from evae_core.validation import check_is, check_number, check_numbers

Array = np.ndarray[Any, Any]
TOO_CLOSE = 0.3  # angstrom; the shortest bond there is (H2) has 0.74
# Lattice planes closer than cutoff / MAX_IMAGES: more than twice that many images of one atom on a line through it.
# Primitive cells of real crystals stay below 4 at a cut-off of 6 angstrom; beyond, the unit of length is wrong.
MAX_IMAGES = 6


@dataclass(frozen=True, eq=False)
class Section:
    """Neighbours of one type around the n atoms of another, K places each, nearest first.

    ``shifts`` are numbers of lattice vectors; ``padding`` moves empty places (which name the atom itself) beyond any
    range. The first ``real`` places hold all pairs within the range of real atoms, the rest only virtual ones.
    """

    centre: int
    neighbour: int
    atoms: Tensor  # (n,)
    index: Tensor  # (n, K)
    shifts: Tensor  # (n, K, 3)
    padding: Tensor  # (n, K, 3)
    real: int


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Tables for N atoms of ``types``: at most one section for a pair of types.

    ``reach``: for every type the largest distance (angstrom) of a virtual atom from its real one that is covered.
    ``anchors``: the positions and cells the search was made with, for :meth:`covers`.
    """

    types: Tensor
    sections: tuple[Section, ...]
    cutoff: float
    reach: tuple[float, ...]
    skin: float
    anchors: tuple[Tensor, Tensor]

    @property
    def pairs(self) -> int:
        """Number of places in all tables, empty ones included."""
        return sum(section.index.numel() for section in self.sections)

    def of_centre(self, centre: int) -> tuple[Section, ...]:
        """The sections around atoms of a type."""
        return tuple(section for section in self.sections if section.centre == centre)

    def first_of_centres(self) -> tuple[Section, ...]:
        """One section for each type that has atoms: for what is done once an atom."""
        return tuple({section.centre: section for section in reversed(self.sections)}[a]
                     for a in sorted({section.centre for section in self.sections}))

    def covers(self, positions: Tensor, cells: Tensor) -> bool:
        """Whether every pair of these positions (1, N, 3) within range is in the tables still.

        True as long as no atom has moved by more than half the skin and the cell is the same.
        """
        before, cell = self.anchors
        if cells.shape != cell.shape or not torch.equal(cells.to(cell), cell):
            return False
        return bool((positions.to(before) - before).norm(dim=-1).max() <= self.skin / 2)

    def to(self, device: str | torch.device, dtype: torch.dtype) -> Neighbours:
        """The same tables on a device, with floating-point numbers of ``dtype``."""
        moved = tuple(replace(s, atoms=s.atoms.to(device), index=s.index.to(device), shifts=s.shifts.to(device, dtype),
                              padding=s.padding.to(device, dtype)) for s in self.sections)
        return replace(self, types=self.types.to(device), sections=moved)

    def split(self, rows: int) -> Iterator[Neighbours]:
        """Parts with at most ``rows`` central atoms each; their energies add up, and each needs little memory."""
        for first in self.first_of_centres():
            for start in range(0, len(first.atoms), rows):
                part = slice(start, start + rows)
                yield replace(self, sections=tuple(
                    replace(s, atoms=s.atoms[part], index=s.index[part], shifts=s.shifts[part], padding=s.padding[part])
                    for s in self.of_centre(first.centre)))


def displacements(section: Section, positions: Tensor, cells: Tensor, strain: Tensor | None = None) -> Tensor:
    """(F, n, K, 3): from each central atom to each of its neighbours, R_j + shift - R_i, times (1 + strain)."""
    flat = positions.index_select(1, section.index.reshape(-1)).unflatten(1, section.index.shape)
    found = flat - positions.index_select(1, section.atoms)[:, :, None] + section.padding
    found = found + torch.einsum("nkc,fcx->fnkx", section.shifts, cells)
    return found if strain is None else found + torch.einsum("fnky,fyx->fnkx", found, strain)


def find_neighbours(positions: Tensor, cells: Tensor, types: Tensor, cutoff: float, reach: Sequence[float],
                    skin: float = 0.0) -> Neighbours:
    """Search the neighbours of all atoms in all frames.

    Parameters
    ----------
    positions (F, N, 3), cells (F, 3, 3), types (N,) : see :class:`Frames`.
    cutoff : range between real atoms, angstrom.
    reach : for every type, how far its virtual atoms may lie from the real ones (0 without moment), angstrom.
    skin : added to all ranges, so that the tables last while atoms move by up to half of it.

    Raises
    ------
    ValueError
        overlapping atoms (nearer than TOO_CLOSE), a cell without volume or too thin for the cut-off, wrong shapes.
    """
    for name, value in (("positions", positions), ("cells", cells), ("types", types)):
        check_is(name, value, Tensor)
        if not bool(torch.isfinite(value).all()) or value.is_complex():
            raise ValueError(f"{name} must be finite real numbers")
    check_number("cutoff", cutoff)
    check_number("skin", skin, equal=True)
    reach = check_numbers("reach", reach, 0.0)
    positions, cells = positions.detach().double().cpu(), cells.detach().double().cpu()
    if types.ndim != 1 or not len(types) or types.dtype != torch.int64 or not (0 <= types).all() \
            or int(types.max()) >= len(reach):
        raise ValueError(f"types must be integers (N,), indices into reach, which has {len(reach)} entries, got "
                         f"{types.dtype} of shape {tuple(types.shape)}")
    if positions.ndim != 3 or positions.shape[1:] != (len(types), 3) or cells.shape != (len(positions), 3, 3):
        raise ValueError(f"positions must have shape (F, {len(types)}, 3) and cells (F, 3, 3), got "
                         f"{tuple(positions.shape)} and {tuple(cells.shape)}")
    check_cells(cells)
    check_heights(cells, cutoff)
    kinds, reach_of = types.cpu().numpy(), np.asarray(reach, float)
    i, j, shift, distance = _union([_pairs(x, cell, cutoff + skin + max(reach), number) for number, (x, cell)
                                    in enumerate(zip(positions.numpy(), cells.numpy(), strict=True))])
    near = distance <= cutoff + skin + reach_of[kinds[j]]
    i, j, shift, distance = i[near], j[near], shift[near], distance[near]
    far = 3.0 * (cutoff + skin + max(reach))
    sections = []
    for a in range(len(reach_of)):
        atoms = np.flatnonzero(kinds == a)
        for b in range(len(reach_of)):
            chosen = (kinds[i] == a) & (kinds[j] == b)
            if chosen.any():
                row = np.searchsorted(atoms, i[chosen])
                real = distance[chosen] <= cutoff + skin
                sections.append(_section(a, b, atoms, row, j[chosen], shift[chosen], distance[chosen], real, far))
    # An atom alone in a range (a dilute gas) still has an own energy: an empty table keeps its place.
    for a in sorted(set(kinds.tolist()) - {section.centre for section in sections}):
        none = np.zeros(0, np.int64)
        sections.append(_section(a, a, np.flatnonzero(kinds == a), none, none, np.zeros((0, 3)), np.zeros(0),
                                 np.zeros(0, bool), far))
    return Neighbours(types.cpu(), tuple(sections), float(cutoff), tuple(map(float, reach)), float(skin),
                      (positions[:1], cells[:1]))


def check_heights(cells: Tensor, cutoff: float) -> None:
    """ValueError where lattice planes of a cell lie nearer than cutoff / MAX_IMAGES: see there."""
    heights = 1.0 / torch.linalg.inv(cells).norm(dim=-2)  # columns of the inverse: reciprocal vectors
    if float(heights.min()) < cutoff / MAX_IMAGES:
        raise ValueError(f"cells must be at least {cutoff / MAX_IMAGES:.3g} angstrom high for a cutoff of {cutoff:g}, "
                         f"got {float(heights.min()):.3g}; repeat the cell, or mind the unit of length")


def _pairs(positions: np.ndarray, cell: np.ndarray, cutoff: float, number: int) -> tuple[np.ndarray, ...]:
    search = vesin.NeighborList(cutoff=cutoff, full_list=True)
    i, j, shift, distance = search.compute(points=positions, box=cell, periodic=True, quantities="ijSd")
    i, j = i.astype(np.int64), j.astype(np.int64)
    if len(distance) and distance.min() < TOO_CLOSE:
        worst = int(distance.argmin())
        raise ValueError(f"positions of atoms {i[worst]} and {j[worst]} in frame {number} overlap: "
                         f"{distance[worst]:.3g} angstrom apart, less than {TOO_CLOSE}")
    return i, j, shift.astype(np.int64), distance


def _union(found: list[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
    """Every pair once, with its smallest distance in any frame; sorted by atom, then distance."""
    i, j, shift, distance = (np.concatenate(parts) for parts in zip(*found, strict=True))
    if len(found) > 1 and len(i):
        keys, inverse = np.unique(np.column_stack([i, j, shift]), axis=0, return_inverse=True)
        nearest = np.full(len(keys), np.inf)
        np.minimum.at(nearest, inverse.reshape(-1), distance)
        i, j, shift, distance = keys[:, 0], keys[:, 1], keys[:, 2:], nearest
    # Ties by index and image, so that the same atoms give the same tables whatever the search's order.
    order = np.lexsort((shift[:, 2], shift[:, 1], shift[:, 0], j, distance, i))
    return i[order], j[order], shift[order], distance[order]


def _section(a: int, b: int, atoms: Array, row: Array, j: Array, shift: Array, distance: Array, real: Array,
             far: float) -> Section:
    counts = np.bincount(row, minlength=len(atoms))
    place = np.arange(len(row)) - (np.cumsum(counts) - counts)[row]
    width = int(counts.max(initial=0))
    index = np.repeat(atoms[:, None], width, 1)
    shifts, padding = np.zeros((len(atoms), width, 3)), np.zeros((len(atoms), width, 3))
    padding[..., 0] = far
    index[row, place], shifts[row, place], padding[row, place] = j, shift, 0.0
    most = int(np.bincount(row[real], minlength=len(atoms)).max(initial=0))
    return Section(a, b, torch.from_numpy(atoms), torch.from_numpy(index), torch.from_numpy(shifts),
                   torch.from_numpy(padding), most)
