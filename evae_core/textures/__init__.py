r"""Spin configurations made by hand: uniform, helix, skyrmions, the skyrmion lattice and its point defects.

A skyrmion is written in the stereographic coordinate of a +z background,
:math:`w = (S^x + i S^y)/(1 + S^z)`, where its core is a pole and the background w = 0:

.. math::
    w(r, \varphi) = \frac{\sinh(R/\Delta)}{\sinh(r/\Delta)} e^{i(\varphi + \gamma)}

a circular domain wall of radius R (where S^z = 0) and width Delta (H. B. Braun, Phys. Rev. B 50, 16485 (1994)).
Poles of several skyrmions add. For B < 0 every spin is reversed, which leaves exchange and DM energy as they are.
The helicity gamma is the one the DM term favours: for D > 0 pi/2 (Bloch) or pi (Neel), and + pi for D < 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import spatial
from torch import Tensor

from evae_core.annealing import relax
from evae_core.hamiltonian import Hamiltonian, check_hamiltonian, check_spins
from evae_core.observables import defects, periodic_images, skyrmion_centres, topological_charge
from evae_core.textures.commensurate_lattices import commensurate_cells
from evae_core.validation import check_array, check_choice, check_count, check_flag

__all__ = ["LatticeState", "commensurate_cells", "helix", "helix_period", "interstitial_pair", "relax",
           "skyrmion_lattice", "skyrmion_lattices", "skyrmions", "uniform", "with_interstitial"]


def helix_period(H: Hamiltonian) -> float:
    """Period of the helix, 2 pi / atan(|D|/J), in lattice sites; ValueError unless J > 0 and D != 0 alone."""
    check_hamiltonian(H)
    if not H.plain:
        raise ValueError("H must have nearest-neighbour bonds only: with further ones J and D do not give the period")
    if H.J <= 0 or H.D == 0:
        raise ValueError(f"H must have J > 0 and D != 0 to hold a helix or skyrmions, got J={H.J}, D={H.D}")
    return 2 * math.pi / math.atan(abs(H.D) / H.J)


def uniform(shape: Sequence[int], up: bool = True) -> Tensor:
    """All spins along +z, or -z; (3, Ny, Nx) float32. Raises ValueError where shape is not (Ny, Nx)."""
    spins = torch.zeros(3, *Hamiltonian(boundary="open").check_shape(shape))
    spins[2] = 1.0 if check_flag("up", up) else -1.0
    return spins


def helix(H: Hamiltonian, shape: Sequence[int], turns: int | None = None, axis: str = "x") -> Tensor:
    """Spins that turn ``turns`` times about the DM vector of the bonds along ``axis``; (3, Ny, Nx) float32.

    Not relaxed.
    At B = K = 0 and tan(2 pi turns/n) = |D|/J it is at rest, with energy -(J + sqrt(J^2 + D^2)) per spin. A helix along
    the diagonal, where that fits, is lower: -2 sqrt(J^2 + D^2/2).

    Parameters
    ----------
    turns : number of periods, a whole number so that the helix closes around the box; positive for the sense
        the DM term favours. Default: the nearest to :func:`helix_period`, at least 1.
    axis : "x" or "y".

    Raises
    ------
    TypeError, ValueError
        turns that are not a whole number, an unknown axis, a shape that does not fit H, or J <= 0 or D = 0.
    """
    period = helix_period(H)
    ny, nx = H.check_shape(shape)
    check_choice("axis", axis, ("x", "y"))
    n = nx if axis == "x" else ny
    turns = max(1, round(n / period)) if turns is None else check_count("turns", turns, -n, n)
    angle = math.copysign(2 * math.pi * turns / n, turns * H.D) * np.arange(n)
    # Spins turn about D_ij: e_ij (Bloch) or z x e_ij (Neel). The other in-plane component moves with z.
    about_x = (H.dmi == "bloch") == (axis == "x")
    sense = 1.0 if (H.dmi, axis) == ("bloch", "x") else -1.0
    wave = np.zeros((3, n))
    wave[1 if about_x else 0] = np.cos(angle)
    wave[2] = sense * np.sin(angle)
    spins = np.broadcast_to(wave[:, None, :] if axis == "x" else wave[:, :, None], (3, ny, nx))
    return _masked(H, torch.from_numpy(spins.astype(np.float32)))


def _masked(H: Hamiltonian, spins: Tensor) -> Tensor:
    return spins if H.mask is None else spins * torch.from_numpy(H.mask.copy())


def _polarity(H: Hamiltonian) -> float:
    """Direction of the background, +1 or -1: along the field."""
    return -1.0 if H.B < 0 else 1.0


def _to_plane(H: Hamiltonian, spins: Tensor) -> np.ndarray:
    """Stereographic coordinate w, (Ny, Nx) complex, of spins (3, Ny, Nx); capped near the pole at a core."""
    S = spins.detach().cpu().double().numpy() * _polarity(H)
    return (S[0] + 1j * S[1]) / np.maximum(1 + S[2], 1e-9)


def _from_plane(H: Hamiltonian, w: np.ndarray) -> Tensor:
    """Spins (3, Ny, Nx) float64 of the stereographic coordinate w."""
    square = abs(w) ** 2
    return torch.from_numpy(np.stack((2 * w.real, 2 * w.imag, 1 - square)) / (1 + square) * _polarity(H))


def _distances(H: Hamiltonian, shape: Sequence[int], centre: Any) -> tuple[np.ndarray, np.ndarray]:
    """Displacements (dx, dy) of all sites from the centre (x, y), the shortest along periodic axes; (Ny, Nx) each."""
    ny, nx = shape
    dy, dx = np.mgrid[:ny, :nx] - np.reshape(centre[::-1], (2, 1, 1))
    wraps_y, wraps_x = H.periodic_axes
    return ((dx + nx / 2) % nx - nx / 2 if wraps_x else dx, (dy + ny / 2) % ny - ny / 2 if wraps_y else dy)


def _poles(H: Hamiltonian, shape: Sequence[int], centres: np.ndarray, radius: Any) -> np.ndarray:
    """w of skyrmions at the centres (n, 2), of one radius or of n, (Ny, Nx) complex."""
    width = helix_period(H) / (2 * math.pi)  # J/D in the continuum: how fast the DM term turns the spins
    turned = math.copysign(1, H.D) * (1j if H.dmi == "bloch" else -1)  # e^{i gamma}
    w = np.zeros(shape, complex)
    for centre, size in zip(centres, np.broadcast_to(radius, len(centres)), strict=True):
        dx, dy = _distances(H, shape, centre)
        z = dx + 1j * dy
        z[abs(z) < 1e-4] = 1e-4  # a core exactly on a site
        r = abs(z)
        w += math.sinh(size / width) / np.sinh(np.minimum(r / width, 300)) / r * z  # sinh overflows at 710
    return turned * w


def skyrmions(H: Hamiltonian, shape: Sequence[int], centres: np.ndarray, radius: Any = None) -> Tensor:
    """Skyrmions at given places on a uniform background along the field; (3, Ny, Nx) float32, not relaxed.

    Parameters
    ----------
    centres : (n, 2), (x, y) in lattice sites.
    radius : where S^z crosses 0, in sites, one for all or (n,); default 0.3 helix periods, near the lowest energy.

    Raises
    ------
    ValueError
        a shape that does not fit H, centres that are not (n, 2), a radius that is not positive, J <= 0 or D = 0.
    """
    radius = 0.3 * helix_period(H) if radius is None else radius
    check_hamiltonian(H)
    shape, centres = H.check_shape(shape), check_array("centres", centres, (None, 2), empty=True)
    radii = check_array("radius", radius, empty=True)
    if radii.shape not in ((), (len(centres),)) or radii.min(initial=1) <= 0:
        raise ValueError(f"radius must be positive, one or as many as there are centres, got {radius!r:.60}")
    most = 100 * helix_period(H) / (2 * math.pi)  # 100 widths of a wall: the sinh of more overflows
    if radii.max(initial=0) > most:
        raise ValueError(f"radius must be at most {most:g} sites, 100 wall widths, got {radius!r:.60}")
    return _masked(H, _from_plane(H, _poles(H, shape, centres, radii)).float())


@dataclass(frozen=True, eq=False)
class LatticeState:
    """A relaxed skyrmion lattice: what :func:`skyrmion_lattices` ranks."""

    count: int           # skyrmions in the box
    strain: float        # distance from the triangular lattice, see commensurate_cells
    cell: np.ndarray     # (2, 2), rows (x, y): the two shortest lattice vectors as laid down
    centres: np.ndarray  # (count, 2), (x, y) of the relaxed skyrmions
    energy: float        # E/N in units of J
    charge: float        # topological charge
    spins: Tensor        # (3, Ny, Nx) float64


# Spacings searched by default, in helix periods, from the fewest skyrmions to the most. Wide on purpose: at
# B J/D^2 = 0.5556 the best density lies well below that of the nicest triangular lattice one period wide.
SPACINGS = (1.8, 0.85)
MAX_STRAIN = 0.3   # beyond the square lattice nothing is worth a try
TRIES = 4           # lattices tried at each count, the least strained ones
STAYS = 0.15        # a skyrmion that moves farther, in units of the spacing, has left the lattice
LOOSE = 0.02        # torque, in units of D, at which candidates are compared: energies off by less than 1e-6 J per spin
TOLERANCE = 5e-6    # torque of what is returned, in units of J: rounded to float32 it is still below 1e-5


def _displacement(centres: np.ndarray, places: Any, shape: Sequence[int]) -> float:
    """Largest distance between matching points of two periodic sets, up to a common translation; inf if none match."""
    box = np.array(shape[::-1])
    if len(centres) != len(places):
        return math.inf
    gaps = (centres[:, None] - places + box / 2) % box - box / 2
    nearest = np.argmin(np.hypot(*np.moveaxis(gaps, -1, 0)), axis=1)
    if len(set(nearest)) < len(places):
        return math.inf
    moves = gaps[np.arange(len(places)), nearest]
    return float(np.hypot(*(moves - moves.mean(0)).T).max())


def _relaxed(H: Hamiltonian, trials: Any, tolerance: float, device: str) -> list[LatticeState]:
    """The (count, strain, cell, places, spins) relaxed together; those that are still this lattice."""
    if not trials:
        return []
    spins = relax(H, torch.stack([trial[-1] for trial in trials]), tolerance=tolerance, device=device)
    states = []
    for (count, strain, cell, places, _), S, energy, charge in zip(
            trials, spins, H.energy_per_spin(spins), topological_charge(spins), strict=True):
        centres = skyrmion_centres(S * _polarity(H))
        moved = _displacement(centres, places, S.shape[-2:]) / np.linalg.norm(cell[0])
        if round(float(charge)) == -count * _polarity(H) and moved < STAYS:
            states.append(LatticeState(count, strain, cell, centres, float(energy), float(charge), S))
    return states


def _best(states: list[LatticeState]) -> list[LatticeState]:
    return sorted(states, key=lambda state: state.energy)


def skyrmion_lattices(H: Hamiltonian, shape: Sequence[int], counts: Any = None, keep: int = 8,
                      tolerance: float = TOLERANCE, device: str = "cpu") -> list[LatticeState]:
    """Skyrmion lattices commensurate with the periodic box, relaxed, lowest energy first.

    At every count the least strained lattices (:func:`commensurate_cells`) are laid down and relaxed loosely;
    the best ``keep`` of all are relaxed to ``tolerance`` and ranked in float64. States that lost a skyrmion, or
    where one left its place in the lattice, are dropped. That the lattice is the ground state is not assumed:
    compare with :func:`uniform` and :func:`helix`.

    Parameters
    ----------
    counts : numbers of skyrmions to try; default: all with a spacing of 0.85 ... 1.8 helix periods, and fewer
        for as long as the fewest are the best, as near the field where the uniform state takes over.
    keep : number of candidates to relax fully.
    tolerance : largest torque left, in units of J.
    device : where to relax, see :func:`~evae_core.annealing.relax`.

    Raises
    ------
    ValueError
        H that is not periodic, J <= 0 or D = 0, a shape that does not fit, counts or keep below 1.
    RuntimeError
        no candidate keeps its skyrmions, or a relaxation does not converge.
    """
    ny, nx = shape = _box(H, shape)
    check_count("keep", keep, 1)
    area = nx * ny * 2 / math.sqrt(3) / helix_period(H) ** 2  # skyrmions at a spacing of one period
    if counts is None:
        fewest, most = math.floor(area / SPACINGS[0] ** 2), math.ceil(area / SPACINGS[1] ** 2)
        search: Sequence[int] = range(max(1, fewest), most + 1)
    else:
        search = sorted(set(np.ravel(counts).tolist())) if np.asarray(counts).dtype.kind in "iu" else []
        if not search or search[0] < 1 or search[-1] > ny * nx:
            raise ValueError(f"counts must be numbers of skyrmions from 1 to {ny * nx}, got {counts!r:.60}")
    states: list[LatticeState] = []
    while search:
        for count in search:
            cells = [cell for cell in commensurate_cells(shape, count)[:TRIES] if cell[0] < MAX_STRAIN]
            radius = 0.3 * helix_period(H) * min(1.0, 0.85 * math.sqrt(area / count))
            trials = [(count, *cell, _from_plane(H, _poles(H, shape, cell[-1], radius))) for cell in cells]
            states = _best(states + _relaxed(H, trials, LOOSE * abs(H.D), device))[:keep]
        at_the_edge = counts is None and states and states[0].count == search[0]
        search = range(max(1, search[0] // 2), search[0]) if at_the_edge else ()
    trials = [(state.count, state.strain, state.cell, state.centres, state.spins) for state in states]
    ranked = _best(_relaxed(H, trials, tolerance, device))
    if not ranked:
        raise RuntimeError(f"no skyrmion lattice survives relaxation on shape {shape} with D={H.D}, B={H.B}, K={H.K}: "
                           "the field or the anisotropy is too strong, or the box too small")
    return ranked


def skyrmion_lattice(H: Hamiltonian, shape: Sequence[int], device: str = "cpu") -> Tensor:
    """The lowest-energy commensurate skyrmion lattice found, relaxed to a torque below 1e-5; (3, Ny, Nx) float32.

    The first of :func:`skyrmion_lattices`, with its errors; also where a helix or the uniform state is lower.
    """
    return skyrmion_lattices(H, shape, device=device)[0].spins.float()


def _box(H: Hamiltonian, shape: Sequence[int]) -> tuple[int, int]:
    check_hamiltonian(H)
    if not H.periodic:  # along both axes
        raise ValueError('H must have boundary="periodic" for a skyrmion lattice: the edges of other samples deform it')
    helix_period(H)  # raises where H holds no skyrmion
    return H.check_shape(shape)


def _check_lattice(H: Hamiltonian, lattice: Tensor) -> tuple[tuple[int, int], np.ndarray]:
    """Shape and skyrmion centres of a configuration that is to receive or lose a skyrmion."""
    check_spins(lattice, "lattice", unit=True)
    if lattice.ndim != 3:
        raise ValueError(f"lattice must be one configuration (3, Ny, Nx), got shape {tuple(lattice.shape)}")
    shape = _box(H, lattice.shape[-2:])
    centres = skyrmion_centres(lattice * _polarity(H))
    if not len(centres):
        raise ValueError("lattice must hold skyrmions, got none")
    return shape, centres


def _defective(H: Hamiltonian, lattice: Tensor, trials: Any, change: int, device: str, what: str) -> Tensor:
    """The first trial that relaxes to ``change`` skyrmions more than the lattice has, not all with six neighbours."""
    wanted = round(float(topological_charge(lattice)) - change * _polarity(H))
    seen = []
    for trial in trials:
        spins = relax(H, trial, tolerance=TOLERANCE, device=device)
        charge = round(float(topological_charge(spins)))
        centres = skyrmion_centres(spins * _polarity(H))
        share = defects(centres, spins.shape[-2:]) if len(centres) else 0.0
        if charge == wanted and share > 0:
            return spins.to(lattice)
        seen.append(f"charge {charge}, {share:.0%} without six neighbours")
    raise RuntimeError(f"no {what} with charge {wanted} survives relaxation in this lattice, found: {'; '.join(seen)}. "
                       "Take another of skyrmion_lattices(H, shape)")


def with_interstitial(H: Hamiltonian, lattice: Tensor, device: str = "cpu") -> Tensor:
    """The lattice with one skyrmion more, squeezed in between three others; (3, Ny, Nx), dtype of ``lattice``.

    A small skyrmion is added in the widest triangle of neighbours (if need be in the next, or a larger one) and
    everything is relaxed to a torque below 1e-5: a metastable state with a charge larger by one in magnitude.
    In some lattices it does not exist: the skyrmions rearrange until all have six neighbours again.

    Parameters
    ----------
    lattice : (3, Ny, Nx), as from :func:`skyrmion_lattice`.

    Raises
    ------
    TypeError, ValueError
        see :func:`~evae_core.hamiltonian.check_spins`; a batch, no skyrmions, or H that is not periodic.
    RuntimeError
        the defect does not survive, or the relaxation does not converge.
    """
    shape, centres = _check_lattice(H, lattice)
    ny, nx = shape
    points = periodic_images(centres, shape)
    triangles = points[spatial.Delaunay(points).simplices]
    middles = triangles.mean(1)
    widths = np.linalg.norm(triangles - middles[:, None], axis=-1).min(-1)  # from the middle to the nearest core
    inside = np.flatnonzero(((middles >= 0) & (middles < (nx, ny))).all(-1))
    widest = inside[np.argsort(-widths[inside], kind="stable")][:2]
    w = _to_plane(H, lattice)
    trials = (_from_plane(H, w + _poles(H, shape, middles[[m]], size * widths[m]))
              for size in (0.4, 0.6) for m in widest)
    return _defective(H, lattice, trials, +1, device, "interstitial")


def interstitial_pair(H: Hamiltonian, shape: Sequence[int], device: str = "cpu") -> tuple[Tensor, Tensor]:
    """The lowest of :func:`skyrmion_lattices` that can hold an interstitial, and the same with it; (3, Ny, Nx) float32.

    Errors as for both; RuntimeError where none of the ranked lattices can.
    """
    for state in skyrmion_lattices(H, shape, device=device):
        try:
            return state.spins.float(), with_interstitial(H, state.spins, device).float()
        except RuntimeError as error:
            last = error
    raise RuntimeError(f"none of the ranked skyrmion lattices on {tuple(shape)} holds an interstitial") from last
