"""States brought to rest: the sweeping descent for many at once, and L-BFGS for the last digits of one."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from evae_core.annealing import replicas_from, settle
from evae_core.hamiltonian import Hamiltonian
from evae_core.observables import topological_charge

ROUGH = 1e-4  # torque, in units of the largest coupling, to which all tries descend
ROUGH_SWEEPS = 3000  # and at most so many sweeps: what has not arrived by then is ranked as it is
BATCH = 64  # states descended at a time


def charge(H: Hamiltonian, spins: Tensor) -> float:
    """The topological charge with the edges that H has."""
    return float(topological_charge(spins, mask=None if H.mask is None else H.mask.copy(), periodic=H.periodic))


def at_rest(H: Hamiltonian, state: Tensor, device: str = "auto") -> tuple[Tensor, float]:
    """The local minimum below a state, float64, and its torque: the sweeping descent first, then :func:`settle`."""
    return settle(H, descended(H, state[None].float(), device)[0])


def energies(H: Hamiltonian, spins: Tensor) -> Tensor:
    """E/N in J, float64, of spins made exactly unit vectors: float32 lengths are 1e-7 off, which E/N would show."""
    return H.energy_per_spin(normalize(spins.double(), dim=-3))


def descended(H: Hamiltonian, spins: Tensor, device: str = "auto") -> Tensor:
    """(n, 3, Ny, Nx) float32, each turned into its field until its torque is small or ROUGH_SWEEPS are over."""
    found = []
    for part in normalize(spins, dim=-3).split(BATCH):
        replicas = replicas_from(H, part, device=device)
        replicas.descend(ROUGH * H.largest_coupling, ROUGH_SWEEPS)
        found.append(replicas.spins().cpu())
    return normalize(torch.cat(found), dim=-3)
