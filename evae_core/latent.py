"""The latent space: from a spin texture to its latent vector and along straight lines between two of them.

The paper maps textures back by optimising z with the decoder frozen, and walks from an ideal skyrmion lattice to one
with an interstitial: z(k) = (1 - k/K) z_i + (k/K) z_f (Kwon et al., Advanced Science 2021, Fig. 4; the formula is a
reconstruction, the text only names the interpolation).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from evae_core.hamiltonian import Hamiltonian, check_spins
from evae_core.model import VAE
from evae_core.validation import check_count, check_is, check_number

K_STEPS = 200
MAX_STEPS = 10**6
PATIENCE = 100  # the mapping has saturated when this many steps gain less than ...
GAIN = 0.05  # ... this share of the remaining error


class Inverse(NamedTuple):
    """Latent vectors z (n, latent), what they decode to (n, 3, Ny, Nx), and its squared chord per spin (n,).

    ``steps`` were taken; ``saturated`` is False where the limit on them ended the search.
    """

    z: Tensor
    spins: Tensor
    error: Tensor
    steps: int
    saturated: bool


def inverse_map(model: VAE, targets: Tensor, steps: int = 1000, learning_rate: float = 0.05) -> Inverse:
    r"""z* that minimises (1/N) sum_i |S_i(z) - S_i(target)|^2 for each target, the decoder frozen.

    z starts at the encoder's mu (Adam, eval mode); it ends when ``PATIENCE`` steps gain less than ``GAIN`` of the
    error, at the latest after ``steps``. Of every target the best z on the way is kept.

    Parameters
    ----------
    targets : (n, 3, Ny, Nx) unit spins.

    Raises
    ------
    TypeError, ValueError
        targets of another size than the model's, or not unit spins; steps below 1.
    """
    _check(model, steps)
    check_number("learning_rate", learning_rate, 0.0, 1e3, equal=True)  # z is of order 1
    H = Hamiltonian(boundary=model.boundary)
    check_spins(targets, "targets", unit=True, magnetic=H.mask)
    if targets.ndim != 4 or tuple(targets.shape[-2:]) != model.size:
        raise ValueError(f"targets must have shape (n, 3, {model.size[0]}, {model.size[1]}), "
                         f"got {tuple(targets.shape)}")
    if not len(targets):
        raise ValueError("targets must hold at least one configuration, got none")
    device = next(model.parameters()).device
    targets = targets.to(device, torch.float32)
    z = model.encode(targets)[0].detach().requires_grad_()
    optimizer = torch.optim.Adam([z], lr=learning_rate)
    best = torch.full((len(targets),), float("inf"), device=device)
    best_z = z.detach().clone()
    trail, saturated = [], False
    for number in range(1, steps + 1):
        error = (model.decode(z) - targets).square().sum((1, 2, 3)) / model.sites
        better = error.detach() < best
        best = torch.where(better, error.detach(), best)
        best_z[better] = z.detach()[better]
        trail.append(float(best.sum()))
        if number > PATIENCE and trail[-1 - PATIENCE] - trail[-1] < GAIN * trail[-1]:
            saturated = True
            break
        (z.grad,) = torch.autograd.grad(error.sum(), z)  # of z alone: the model's own gradients stay as they are
        optimizer.step()
    with torch.no_grad():
        return Inverse(best_z, model.decode(best_z).cpu(), best.cpu(), number, saturated)


def _check(model: VAE, steps: Any) -> None:
    check_is("model", model, VAE)
    if model.training:
        raise ValueError("model must be in eval mode, or a decoded state depends on its neighbours; call model.eval()")
    check_count("steps", steps, 1, MAX_STEPS)


@torch.no_grad()
def interpolate(model: VAE, z_start: Tensor, z_end: Tensor, steps: int = K_STEPS) -> Tensor:
    """Spins (steps + 1, 3, Ny, Nx) decoded from z(k) = (1 - k/K) z_start + (k/K) z_end, k = 0 ... K = steps.

    Raises ValueError unless both are (latent,) vectors of the model and steps is at least 1.
    """
    _check(model, steps)
    for name, z in (("z_start", z_start), ("z_end", z_end)):
        check_is(name, z, Tensor)
        if tuple(z.shape) != (model.latent,) or not bool(torch.isfinite(z).all()):
            raise ValueError(f"{name} must be finite, of shape ({model.latent},), got shape {tuple(z.shape)}")
    share = torch.linspace(0, 1, steps + 1, device=z_start.device)[:, None]
    z = torch.lerp(z_start[None], z_end[None], share)
    return torch.cat([model.decode(part) for part in z.split(100)]).cpu()
