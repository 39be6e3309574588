"""Measures of order in a set of spin textures, which quantify how the paper describes its training data.

Kwon et al. (Advanced Science 2021) call their annealed configurations locally stable, with locally ordered domains and
truncated or stretched skyrmions, and "highly unlikely" to hold redundant data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from evae_companion.analysis.sample_metrics import distances
from evae_core.hamiltonian import Hamiltonian, check_hamiltonian, check_spins
from evae_core.observables import coordination, find_skyrmions, structure_factor, theta, topological_charge

PEAKS = 6  # Bragg peaks of a triangular lattice
STRETCHED = 1.5  # elongation from which a skyrmion counts as stretched
EQUAL_ENERGY = 1e-6  # E/N, J: only states closer in energy than this are compared
NEXT = 3  # number of states next in energy with which each state is compared
EQUAL = 0.05  # chord per spin below which two states are one texture


def order(H: Hamiltonian, spins: Tensor) -> dict[str, Any]:
    """Measure the order of a set of periodic textures (n, 3, Ny, Nx).

    Returns
    -------
    energy, energy_spread, lowest : mean, standard deviation and least of E/N, J.
    charge, charge_spread : mean and standard deviation.
    bragg : mean share of the weight of S^z at k != 0 that lies in its PEAKS strongest peaks; some 0.7 for a perfect
        skyrmion lattice.
    theta_median, theta_max : degrees, over all sites.
    five, seven, other : shares of skyrmions with five, seven, and neither five, six nor seven neighbours.
    stretched : share of skyrmions with an elongation above STRETCHED.
    redundant : number of textures that are a copy of another one (:func:`copies`).

    Raises
    ------
    TypeError, ValueError
        as :func:`~evae_core.observables.theta`; an open sample.
    """
    check_hamiltonian(H)
    check_spins(spins)
    if not len(spins):
        raise ValueError("spins must hold at least one configuration, got none")
    if not H.periodic:
        raise ValueError("H must be periodic: skyrmions at an edge have fewer neighbours by nature")
    double = spins.double()
    energies, charges = H.energy_per_spin(double).numpy(), topological_charge(double).numpy()
    power = structure_factor(spins).flatten(1)
    power[:, 0] = 0
    angles = np.degrees(theta(H, spins).numpy())
    skyrmions = [find_skyrmions(one) for one in spins]
    neighbours = np.concatenate([coordination(s.centres, spins.shape[-2:]) if len(s.centres) else []
                                 for s in skyrmions])

    def share(chosen: np.ndarray) -> float:
        return float(chosen.mean()) if len(chosen) else 0.0  # no skyrmion at all

    return {"energy": float(energies.mean()), "energy_spread": float(energies.std()), "lowest": float(energies.min()),
            "charge": float(charges.mean()), "charge_spread": float(charges.std()),
            "bragg": float((power.topk(PEAKS, 1).values.sum(1) / power.sum(1).clamp_min(1e-300)).mean()),
            "theta_median": float(np.median(angles)), "theta_max": float(angles.max()),
            "five": share(neighbours == 5), "seven": share(neighbours == 7), "other": share(abs(neighbours - 6) > 1),
            "stretched": share(np.concatenate([s.elongation for s in skyrmions]) > STRETCHED),
            "redundant": copies(H, spins, energies)}


def copies(H: Hamiltonian, spins: Tensor, energies: np.ndarray) -> int:
    """Return how many of the textures (n, 3, Ny, Nx) are a copy of another one, up to the symmetries of the lattice.

    Copies have equal energies. In order of ``energies`` (n,), each texture is compared with the NEXT that follow within
    EQUAL_ENERGY, up to translations and :func:`symmetric`.
    """
    ranked = np.argsort(energies)
    is_copy = np.zeros(len(ranked), bool)
    for step in range(1, NEXT + 1):
        first, second = ranked[:-step], ranked[step:]
        near = energies[second] - energies[first] < EQUAL_ENERGY
        for a, b in zip(first[near], second[near], strict=True):
            is_copy[b] = is_copy[b] or bool(
                (distances(spins[a:a + 1], torch.stack(symmetric(H, spins[b]))) < EQUAL).any())
    return int(is_copy.sum())


def symmetric(H: Hamiltonian, spins: Tensor) -> list[Tensor]:
    """Return the textures of equal energy that rotations by 0, 90, 180, 270 degrees and a mirror make of (3, Ny, Nx).

    A rotation moves the sites and rotates the spins about z; oblong boxes allow 0 and 180 degrees only. The mirror
    x -> -x comes with S^y -> -S^y for Bloch DM, and with S^x -> -S^x for Neel DM.
    """
    ny, nx = spins.shape[-2:]
    mirror = spins.flip(-1) * torch.tensor([1.0, -1.0, 1.0] if H.dmi == "bloch" else [-1.0, 1.0, 1.0],
                                           dtype=spins.dtype, device=spins.device)[:, None, None]
    result = []
    for start in (spins, mirror):
        for k in range(0, 4, 1 if ny == nx else 2):
            x, y, z = torch.rot90(start, k, (-1, -2))
            for _ in range(k):
                x, y = -y, x
            result.append(torch.stack((x, y, z)))
    return result


def orientations(H: Hamiltonian, spins: Tensor, kept: Sequence[int]) -> Tensor:
    """Return the textures numbered ``kept`` of those that :func:`symmetric` makes of one, (len(kept), 3, Ny, Nx)."""
    made = symmetric(H, spins)
    return torch.stack([made[k] for k in kept])


def symmetries(H: Hamiltonian, shape: Sequence[int]) -> list[int]:
    """Return which of the textures that :func:`symmetric` makes have the energy of the original, the first is itself.

    They are found by the energies of one random texture: further bonds and other terms may break a symmetry.
    """
    made = symmetric(H, normalize(torch.randn(3, *shape, generator=torch.Generator().manual_seed(0),
                                              dtype=torch.float64), dim=0))
    energies = [float(H.energy(one)) for one in made]
    return [k for k, energy in enumerate(energies) if np.isclose(energy, energies[0], rtol=1e-9, atol=1e-9)]
