"""Relaxation of spin states: a sweeping descent for many states at once, L-BFGS for the last digits of one."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from evae_core.annealing import lbfgs_refine, replicas_from
from evae_core.hamiltonian import Hamiltonian
from evae_core.observables import topological_charge

ROUGH = 1e-4  # torque, in units of the largest coupling, at which the sweeping descent ends
ROUGH_SWEEPS = 3000  # its most sweeps: a state that has not reached ROUGH by then is ranked as it is
BATCH = 64  # states descended at a time


def charge(H: Hamiltonian, spins: Tensor) -> float:
    """Return the topological charge of one state (3, Ny, Nx) with the mask and boundary of H."""
    return float(topological_charge(spins, mask=None if H.mask is None else H.mask.copy(), periodic=H.periodic_axes))


def at_rest(H: Hamiltonian, state: Tensor, device: str = "auto") -> tuple[Tensor, float]:
    """Relax one state to its local minimum: first the sweeping descent, then :func:`lbfgs_refine`.

    Returns
    -------
    spins, torque : (3, Ny, Nx) float64, and the torque that is left, J.
    """
    return lbfgs_refine(H, descended(H, state[None].float(), device)[0])


def energies(H: Hamiltonian, spins: Tensor) -> Tensor:
    """Return E/N (J, float64) of spins, after normalising them in float64.

    Lengths in float32 are off by 1e-7, which E/N would show.
    """
    return H.energy_per_spin(normalize(spins.double(), dim=-3))


def descended(H: Hamiltonian, spins: Tensor, device: str = "auto") -> Tensor:
    """Turn the spins of states (n, 3, Ny, Nx) float32 into their fields, to a torque of ROUGH or for ROUGH_SWEEPS."""
    relaxed = []
    for part in normalize(spins, dim=-3).split(BATCH):
        replicas = replicas_from(H, part, device=device)
        replicas.descend(ROUGH * H.largest_coupling, ROUGH_SWEEPS)
        relaxed.append(replicas.spins().cpu())
    return normalize(torch.cat(relaxed), dim=-3)
