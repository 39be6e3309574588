"""A learned energy in the place of the Hamiltonian in an E-VAE's loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evae_companion.deepspin.lattice import LatticeSpin, from_neel, to_neel
from evae_core.hamiltonian import Hamiltonian, check_spins

AT_ONCE = 8  # configurations whose energy and gradient are found together: fewer pay for calls, more leave the cache


class Guide:
    """L_H by a learned potential; give it to ``make_step(hamiltonian=...)`` or ``climb(guide=...)``.

    Parameters
    ----------
    potential : energies in Neel's frame; evaluated in float32.
    known : the sample's Hamiltonian, of which only this is used: the sample's shape and boundary, E_0 and the factor
        (0.3/D)^2 of L_H, which are a zero and a unit, and in which of the two frames its spins are written.
    about : what the potential depends on, plain JSON values: part of the spec of every stage it guides.
    name : what lines of progress call it.
    """

    mask: np.ndarray | None = None

    def __init__(self, potential: LatticeSpin, known: Hamiltonian, about: Mapping[str, Any],
                 name: str = "a learned energy") -> None:
        if not known.periodic:
            raise ValueError(f"known must be periodic, as the potential is, got boundary {known.boundary!r}")
        self.potential = deepcopy(potential).float().requires_grad_(False)
        self.known, self.about, self.name = known, dict(about), name
        self.D, self.boundary, self.periodic = known.D, known.boundary, True

    def energy(self, spins: Tensor, *, check: bool = True) -> Tensor:
        """Total energy (...,) in J of unit spins (..., 3, Ny, Nx) in the Hamiltonian's own frame; differentiable once.
        """
        if check:
            check_spins(spins, unit=True)
        return _Energy.apply(spins, self)  # type: ignore[no-untyped-call]  # torch's own

    def energy_per_spin(self, spins: Tensor) -> Tensor:
        """E/N, (...,) in J."""
        return self.energy(spins) / self.sites(spins.shape[-2:])

    def reference_energy(self, shape: Sequence[int]) -> float:
        """E_0 of :meth:`Hamiltonian.reference_energy`: where L_H has its zero."""
        return self.known.reference_energy(shape)

    def sites(self, shape: Sequence[int]) -> int:
        """Number of sites of a lattice of ``shape``."""
        return self.known.sites(shape)


class _Energy(torch.autograd.Function):
    """Energy and gradient found together, a few configurations at a time."""

    @staticmethod
    def forward(ctx: Any, spins: Any, guide: Guide) -> Tensor:
        potential = guide.potential.to(spins.device)
        flat, energies, slopes = spins.detach().reshape(-1, *spins.shape[-3:]), [], []
        bloch = guide.known.dmi == "bloch"
        for part in flat.split(AT_ONCE):
            part = part.float()
            energy, slope = potential.slopes(to_neel(part) if bloch else part)
            energies.append(energy)
            slopes.append(from_neel(slope) if bloch else slope)
        ctx.save_for_backward(torch.cat(slopes).reshape(spins.shape).to(spins.dtype))
        return torch.cat(energies).reshape(spins.shape[:-3]).to(spins.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Any) -> tuple[Tensor, None]:
        return grad[..., None, None, None] * ctx.saved_tensors[0], None
