"""Shapes of skyrmions, copies among states, and how near states lie to their own minimum.

These measure three sentences of Kwon et al. (Advanced Science 2021): the training data hold stretched and truncated
skyrmions, redundant data are highly unlikely, and stable states are generated more often.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.ndimage import zoom
from torch import Tensor

from evae_companion.analysis.order import EQUAL, STRETCHED, orientations, symmetries
from evae_companion.analysis.sample_metrics import distances
from evae_core.hamiltonian import Hamiltonian, check_hamiltonian, check_spins
from evae_core.observables import find_skyrmions
from evae_core.validation import check_array, check_flag, check_number

FINE = 5  # points per site and direction, between which S^z is interpolated; odd, so that every site is one of them
# Half axes in a ratio of 1.5, the limit of analysis.order. Skyrmions of the best lattice stay below 0.6 of it, stripes
# lie above it by a tenth and more (tests/companion/test_skyrmion_shapes.py).
ECCENTRIC = (1 - STRETCHED**-2) ** 0.5
TRUNCATED, MERGED = 0.5, 1.5  # limits of the area, in areas of a skyrmion of the lattice
ROUNDING = 1e-2  # chord per spin: distances of equal states come out smaller than this in float32
RISE = 1e-6  # E/N, J: an energy may rise that much in relaxation, by rounding
PIECE = 16  # states that are compared with one state at a time, in all orientations
NEAREST = 3  # states next by their moduli with which every state is compared, besides all that may be copies


@dataclass(frozen=True, eq=False)
class SkyrmionShapes:
    """The skyrmions of one or more states; all arrays have one entry per skyrmion.

    Attributes
    ----------
    state : number of the state that holds it.
    centres : (k, 2) of (x, y) in lattice sites.
    areas : sites with S^z against the field, with fractions of a site.
    eccentricity : sqrt(1 - (b/a)^2) with the half axes a >= b, of the second moments; 0 for a round one.
    stretched, truncated, merged : bool: eccentricity above ECCENTRIC, area below TRUNCATED and above MERGED times
        ``lattice_area``.
    lattice_area : that of a skyrmion of the lattice, in sites; NaN where there is none to compare with.
    """

    state: np.ndarray
    centres: np.ndarray
    areas: np.ndarray
    eccentricity: np.ndarray
    stretched: np.ndarray
    truncated: np.ndarray
    merged: np.ndarray
    lattice_area: float

    def shares(self) -> dict[str, float]:
        """Return the shares of stretched, truncated and merged skyrmions; 0 where there is no skyrmion."""
        return {name: float(getattr(self, name).mean()) if len(self.areas) else 0.0
                for name in ("stretched", "truncated", "merged")}


def skyrmion_shapes(spins: Tensor, periodic: bool = True, field: float = 1.0, lattice_area: float | None = None
                    ) -> SkyrmionShapes:
    """Measure the connected regions in which the spins point against the field, each a skyrmion or a stripe.

    S^z is interpolated linearly between sites, so that areas hold fractions of a site. Regions, centres and second
    moments, which are weighted by (1 - S^z)/2, are those of :func:`~evae_core.observables.find_skyrmions`, where a
    region across a periodic edge is one. A stripe around the box is stretched; a network of stripes is merged.

    Parameters
    ----------
    spins : (3, Ny, Nx) or (n, 3, Ny, Nx); sites that hold the zero vector are not magnetic.
    periodic : whether the lattice wraps around.
    field : B, of which the sign counts: a core points against it, down for 0 too.
    lattice_area : area of a skyrmion in the perfect lattice, in sites; default: the median of those found here.

    Raises
    ------
    TypeError, ValueError
        see :func:`~evae_core.hamiltonian.check_spins`; no state, or numbers out of range.
    """
    check_spins(spins)
    if spins.ndim not in (3, 4) or not len(spins):
        raise ValueError(f"spins must be (3, Ny, Nx) or (n, 3, Ny, Nx) with n >= 1, got shape {tuple(spins.shape)}")
    periodic, sign = check_flag("periodic", periodic), -1.0 if check_number("field", field, -np.inf) < 0 else 1.0
    if lattice_area is not None:
        lattice_area = check_number("lattice_area", lattice_area)
    states = (spins if spins.ndim == 4 else spins[None]).detach().cpu().double()
    found = []
    for one in states:
        fine = zoom(sign * one[2].numpy(), FINE, order=1, mode="grid-wrap" if periodic else "nearest", grid_mode=True)
        magnetic = (one != 0).any(0).numpy().repeat(FINE, 0).repeat(FINE, 1)
        layers = torch.from_numpy(np.stack((0 * fine, 0 * fine, fine * magnetic)))
        found.append(find_skyrmions(layers, periodic=periodic))
    count = np.array([len(one.areas) for one in found])
    areas = np.concatenate([one.areas for one in found]) / FINE**2
    eccentricity = np.sqrt(1 - np.concatenate([one.elongation for one in found]) ** -2)
    if lattice_area is None:
        lattice_area = float(np.median(areas)) if len(areas) else float("nan")
    return SkyrmionShapes(
        np.repeat(np.arange(len(states)), count),
        (np.concatenate([one.centres for one in found]) + 0.5) / FINE - 0.5, areas, eccentricity,
        eccentricity > ECCENTRIC, areas < TRUNCATED * lattice_area, areas > MERGED * lattice_area, lattice_area)


@dataclass(frozen=True, eq=False)
class Redundancy:
    """Copies among n states, up to the symmetries of the lattice.

    Attributes
    ----------
    pairs : (m, 2), all pairs i < j of states that are equal.
    share : share of the states that are equal to another one.
    nearest : (n,) distance that the nearest other state has at most.
    bound : (n,) distance that every other state has at least.
    """

    pairs: np.ndarray
    share: float
    nearest: np.ndarray
    bound: np.ndarray


def redundancy(spins: Tensor, H: Hamiltonian, tolerance: float = EQUAL) -> Redundancy:
    """Find the copies among states, up to translations and the rotations and mirrors that H allows.

    Distances are chords per spin (:mod:`~evae_companion.analysis.sample_metrics`), minimal over translations and
    :func:`~evae_companion.analysis.order.symmetries`. The moduli |F_z(k)| and (|F_x|^2 + |F_y|^2)^(1/2) of the Fourier
    transform do not change when a state is translated, and by the triangle inequality their distance is a lower bound
    to that of the states. Pairs with a bound above the tolerance are no copies; the others, and the NEAREST of every
    state by that bound, are compared at all translations. Two states that are close enough to a third one are equal
    without a comparison.

    Parameters
    ----------
    spins : (n, 3, Ny, Nx), unit vectors, n >= 2.
    tolerance : chord per spin up to which two states are equal; at least 0.01, since distances are in float32.

    Raises
    ------
    TypeError, ValueError
        see :func:`~evae_core.hamiltonian.check_spins`; fewer than two states, an H with edges, a tolerance out of
        range.
    """
    check_hamiltonian(H)
    check_spins(spins, unit=True)
    if spins.ndim != 4 or len(spins) < 2:
        raise ValueError(f"spins must be (n, 3, Ny, Nx) with n >= 2, got shape {tuple(spins.shape)}")
    if not H.periodic:
        raise ValueError("H must be periodic: a state of a sample with edges has no translated copies")
    tolerance = check_number("tolerance", tolerance, ROUNDING, 2.0, equal=True)
    spins, n = spins.detach().cpu().float(), len(spins)
    kept = symmetries(H, H.check_shape(spins.shape[-2:]))
    moduli = _moduli(spins)
    bounds = torch.stack([torch.cdist(moduli, _moduli(torch.cat([orientations(H, one, [k]) for one in spins])))
                          for k in kept])
    least = bounds.amin(0)
    least = torch.minimum(least, least.T).fill_diagonal_(torch.inf)
    tried = least < tolerance + ROUNDING
    tried.scatter_(1, least.topk(min(NEAREST, n - 1), largest=False).indices, True)
    tried = (tried | tried.T).triu(1)
    apart = torch.full((n, n), torch.inf, dtype=torch.float64)
    for i in tried.any(1).nonzero().flatten().tolist():
        through = (apart[:i, i, None] + apart[:i]).amin(0) if i else apart[0]  # by way of a state that both equal
        near = tried[i] & (through <= tolerance)
        apart[i, near] = through[near]
        left = (tried[i] & ~near).nonzero().flatten()
        for others in left.split(PIECE) if len(left) else ():
            copies = torch.cat([orientations(H, spins[j], kept) for j in others])
            apart[i, others] = distances(spins[i:i + 1], copies).view(len(others), len(kept)).amin(1)
    apart = torch.minimum(apart, apart.T)
    equal = apart <= tolerance
    return Redundancy(equal.triu(1).nonzero().numpy(), float(equal.any(1).double().mean()), apart.amin(1).numpy(),
                      (least.amin(1) - ROUNDING).clamp_(min=0).double().numpy())


def _moduli(spins: Tensor) -> Tensor:
    """Return the moduli of the Fourier transform of states (n, 3, Ny, Nx), (n, 2 Ny Nx); distances are per spin."""
    waves = torch.fft.fft2(spins, norm="ortho").abs() / spins.shape[-2:].numel() ** 0.5
    return torch.stack((torch.hypot(waves[:, 0], waves[:, 1]), waves[:, 2]), 1).flatten(1)


def share_near_minimum(energies: Any, rest_energies: Any, tolerance: float) -> float:
    """Return the share of states whose energy lies within ``tolerance`` of that of the minimum they relax to.

    Parameters
    ----------
    energies, rest_energies : (n,), E/N (J) of the states as they are and after relaxation.
    tolerance : J per spin.

    Raises
    ------
    TypeError, ValueError
        arrays that are empty, not finite or of unlike length, or an energy that rises in relaxation.
    """
    energies = check_array("energies", energies, (None,))
    rest_energies = check_array("rest_energies", rest_energies, energies.shape)
    lost = energies - rest_energies
    if lost.min() < -RISE:
        raise ValueError(f"rest_energies must not lie above energies, got one that does by {-lost.min():.3g} J")
    return float((lost <= check_number("tolerance", tolerance)).mean())
