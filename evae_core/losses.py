r"""The training loss, L = L_RC + beta L_KL + gamma L_H (Kwon et al., Advanced Science 2021).

Each of the three is a mean over the batch. The paper does not state how its sums are normalised; the choices of this
project stand at each function.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

D_PAPER = 0.3
LOSSES = ("reconstruction", "kl", "energy", "total")


@runtime_checkable
class EnergyModel(Protocol):
    """What L_H is made of: a :class:`~evae_core.hamiltonian.Hamiltonian`, or a learned energy that stands for one."""

    @property
    def D(self) -> float:
        """DM constant, J, which sets the scale of L_H."""

    @property
    def boundary(self) -> Any:
        """As :attr:`Hamiltonian.boundary`."""

    @property
    def mask(self) -> Any:
        """(Ny, Nx) bool of the magnetic sites, or None where all are."""

    def energy(self, spins: Tensor, *, check: bool = True) -> Tensor:
        """(...,) total energy of spins (..., 3, Ny, Nx), differentiable."""

    def reference_energy(self, shape: Sequence[int]) -> float:
        """E_0, where L_H has its zero."""

    def sites(self, shape: Sequence[int]) -> int:
        """Number of magnetic sites."""


class LearnedEnergy(EnergyModel, Protocol):
    """A learned energy; ``about``, plain JSON values, says what it depends on."""

    @property
    def name(self) -> str:
        """What lines of progress call it."""

    @property
    def about(self) -> Mapping[str, Any]:
        """What its parameters depend on."""


class Losses(NamedTuple):
    """The three losses and their weighted sum; each a scalar tensor, the mean over the batch."""

    reconstruction: Tensor
    kl: Tensor
    energy: Tensor
    total: Tensor


def reconstruction_loss(x_in: Tensor, x_out: Tensor, sites: int) -> Tensor:
    r"""L_RC = (1/N) sum_i \|S_in - S_out\|^2, the squared chord per spin: 0 ... 4; mean over the batch.

    Spins (n, 3, Ny, Nx), zero on non-magnetic sites; ``sites`` is N. Sum over components, mean over sites.
    """
    return (x_in - x_out).square().sum() / (sites * len(x_in))


def kl_loss(mu: Tensor, logvar: Tensor) -> Tensor:
    """L_KL = -1/2 sum_j (1 + log s_j^2 - mu_j^2 - s_j^2), nats: sum over latents, mean over the batch; (n, latent)."""
    return -0.5 * (1 + logvar - mu.square() - logvar.exp()).sum(1).mean()


def energy_loss(H: EnergyModel, x_out: Tensor) -> Tensor:
    """L_H = (E(X_out) - E0)/N x (0.3/D)^2, signed and linear; mean over the batch.

    E0 = H.reference_energy: the exchange energy of the uniform state. The last factor makes one gamma ladder
    serve every lattice: energies per spin above the uniform state scale as D^2 (it is 1 for the paper's D, and
    left out for D = 0, where no such scaling exists).
    """
    shape = x_out.shape[-2:]
    return (H.energy(x_out, check=False).mean() - H.reference_energy(shape)) * (energy_scale(H) / H.sites(shape))


def energy_scale(H: EnergyModel) -> float:
    """(0.3/D)^2, the factor between energies per spin and L_H; 1 for D = 0."""
    return (D_PAPER / H.D) ** 2 if H.D else 1.0


def loss_of_energy(H: EnergyModel, energy_per_spin: Any, shape: Sequence[int]) -> np.ndarray:
    """L_H of states with the given energies per spin (J): the formula of :func:`energy_loss`."""
    return (np.asarray(energy_per_spin) - H.reference_energy(shape) / H.sites(shape)) * energy_scale(H)


def energy_per_spin(H: EnergyModel, loss: Any, shape: Sequence[int]) -> np.ndarray:
    """E/N (J) of states with the given L_H: the inverse of :func:`loss_of_energy`."""
    return np.asarray(loss) / energy_scale(H) + H.reference_energy(shape) / H.sites(shape)
