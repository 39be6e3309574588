"""Scores of an ensemble of spin states from any source: energies, diversity, charge, structure factor, minima."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csgraph
from torch import Tensor
from torch.nn.functional import normalize

from evae_companion.analysis.descent import energies
from evae_companion.analysis.ground_state_search import SAME_CHARGE
from evae_companion.analysis.order import EQUAL, EQUAL_ENERGY
from evae_companion.analysis.sample_metrics import (
    NEIGHBOURS,
    distances,
    manifold_measures,
    radial_structure_factor,
    total_variation,
)
from evae_companion.analysis.skyrmion_shapes import redundancy, share_near_minimum
from evae_core.annealing import relax
from evae_core.hamiltonian import Hamiltonian, check_hamiltonian, check_spins
from evae_core.observables import kspace_mse, theta, topological_charge

NEAR = 1e-4  # E/N, J: a state that loses less in relaxation counts as at its minimum
TORQUE = 1e-4  # J, left by the relaxation


@dataclass(frozen=True, eq=False)
class Judgement:
    """Scores of n states. Energies are E/N in J.

    Attributes
    ----------
    spins, relaxed : (n, 3, Ny, Nx), as given and relaxed to a torque of 1e-4 J.
    energy, relaxed_energy : (n,).
    charge, relaxed_charge : (n,).
    structure : structure factor of the states as given, in rings of |k| that are 2 pi/max(Nx, Ny) wide
        (:func:`~evae_companion.analysis.sample_metrics.radial_structure_factor`).
    measures : {name: number}

        * energy, energy_spread, energy_lowest, relaxed_energy, relaxed_energy_spread, relaxed_energy_lowest: mean,
          standard deviation and least;
        * near_minimum : share within NEAR of their own minimum;
        * kspace_mse : mean over pairs (:func:`~evae_core.observables.kspace_mse`), 0 where all are one state;
        * copies : share of states that equal another one;
        * distinct_minima : number of relaxed states that differ by more than 1e-6 J in E/N or by 0.05 in charge,
          divided by n. A texture that glides keeps its energy, and does not count twice;
        * charge, charge_spread : mean and standard deviation, as given;
        * theta : median angle between spin and field, degrees, over all states and sites;
        * period : max(Nx, Ny) over the strongest ring of ``structure`` besides k = 0, in sites;
        * with a reference, coverage, density (:func:`~evae_companion.analysis.sample_metrics.manifold_measures`), and
          structure_distance, the total variation between both structure factors.
    reference : the reference judged by the same measures, or None.
    """

    spins: Tensor
    relaxed: Tensor
    energy: np.ndarray
    relaxed_energy: np.ndarray
    charge: np.ndarray
    relaxed_charge: np.ndarray
    structure: np.ndarray
    measures: dict[str, float]
    reference: Judgement | None


def judge(H: Hamiltonian, states: Tensor, reference: Tensor | None = None, device: str = "auto") -> Judgement:
    """Score an ensemble of states, from an annealer, a diffusion model or any other source.

    States are equal if their chord per spin is at most EQUAL: up to translations and the symmetries of H on a lattice
    that is periodic along both axes (:func:`~evae_companion.analysis.skyrmion_shapes.redundancy`), site by site on
    every other one.

    Parameters
    ----------
    states, reference : (n, 3, Ny, Nx), n >= 2, unit vectors; values on non-magnetic sites are ignored. Coverage and
        density take the fifth nearest neighbour; in sets below eleven states, one in the middle of the smaller set.

    Raises
    ------
    TypeError, ValueError
        states that are not unit vectors, fewer than two, of another lattice than the reference or than H allows.
    RuntimeError
        a state that does not relax.

    Examples
    --------
    >>> H = Hamiltonian(D=0.0, B=0.5)
    >>> up = torch.zeros(3, 3, 8, 8); up[:, 2] = 1.0
    >>> judge(H, up).measures["copies"]
    1.0
    """
    check_hamiltonian(H)
    _check(H, states, "states")
    if reference is None:
        return _scores(H, states, device)
    _check(H, reference, "reference")
    if reference.shape[1:] != states.shape[1:]:
        raise ValueError(f"reference must be states of the lattice {tuple(states.shape[1:])}, got "
                         f"{tuple(reference.shape[1:])}")
    other = _scores(H, reference, device)
    return _scores(H, states, device, other)


def _check(H: Hamiltonian, spins: Tensor, name: str) -> None:
    check_spins(spins, name, unit=True, magnetic=None if H.mask is None else H.mask.copy())
    if spins.ndim != 4 or len(spins) < 2:
        raise ValueError(f"{name} must be (n, 3, Ny, Nx) with n >= 2, got shape {tuple(spins.shape)}")
    H.check_shape(spins.shape[-2:])


def _scores(H: Hamiltonian, spins: Tensor, device: str, reference: Judgement | None = None) -> Judgement:
    mask = None if H.mask is None else H.mask.copy()
    spins = normalize(spins.detach().cpu().double(), dim=1) * (1.0 if mask is None else torch.from_numpy(mask))
    rest = relax(H, spins, tolerance=TORQUE, device=device)
    energy, low = energies(H, spins).numpy(), energies(H, rest).numpy()
    charge, charge_at_rest = (topological_charge(one, mask, H.periodic_axes).numpy() for one in (spins, rest))
    single = spins.float()
    structure = radial_structure_factor(single)
    measures = {
        "energy": energy.mean(), "energy_spread": energy.std(ddof=1), "energy_lowest": energy.min(),
        "relaxed_energy": low.mean(), "relaxed_energy_spread": low.std(ddof=1), "relaxed_energy_lowest": low.min(),
        "near_minimum": share_near_minimum(energy, low, NEAR), "kspace_mse": kspace_mse(single),
        "copies": _copies(H, single), "distinct_minima": _distinct(low, charge_at_rest) / len(spins),
        "charge": charge.mean(), "charge_spread": charge.std(ddof=1),
        "theta": np.degrees(np.nanmedian(theta(H, spins).numpy())),
        "period": max(spins.shape[-2:]) / (1 + structure[1:].argmax())}
    if reference is not None:
        others = reference.spins
        between, own, of_reference = (_distances(H, a, b) for a, b in (
            (others, single), (single, single), (others, others)))
        nearest = max(1, min(NEIGHBOURS, (min(len(others), len(single)) - 1) // 2))
        manifold = manifold_measures(of_reference, own, between, nearest)
        measures |= {"coverage": manifold["coverage"], "density": manifold["density"],
                     "structure_distance": total_variation(reference.structure, structure)}
    return Judgement(single, rest.float(), energy, low, charge, charge_at_rest, structure,
                     {name: float(value) for name, value in measures.items()}, reference)


def _distances(H: Hamiltonian, a: Tensor, b: Tensor) -> Tensor:
    """Return the chord per spin of every pair, (n, m): minimal over translations if the lattice is periodic."""
    if H.periodic:
        return distances(a, b)
    return torch.cdist(a.flatten(1).double(), b.flatten(1).double()) / H.sites(a.shape[-2:]) ** 0.5


def _copies(H: Hamiltonian, spins: Tensor) -> float:
    """Return the share of states that equal another one."""
    if H.periodic:
        return redundancy(spins, H, EQUAL).share
    nearest = _distances(H, spins, spins).fill_diagonal_(torch.inf).amin(1)
    return float((nearest <= EQUAL).double().mean())


def _distinct(energy: np.ndarray, charge: np.ndarray) -> int:
    """Return the number of groups of states with one energy and charge."""
    alike = (abs(energy[:, None] - energy) <= EQUAL_ENERGY) & (abs(charge[:, None] - charge) <= SAME_CHARGE)
    return int(csgraph.connected_components(alike, directed=False)[0])
