"""Which latent directions translate and rotate the decoded texture?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evae_core.model import VAE
from evae_core.validation import check_is

WEAKEST = 1e-3  # singular values of the Jacobian below this share of the largest are no direction
STEP = 1e-2  # of z, for central differences: neither curvature nor single precision shows


@dataclass(frozen=True)
class LatentDirections:
    """What small steps of z do to decoded states, at n latent vectors of d components.

    J = dX/dz is the Jacobian of the decoder, (2N, d) in the tangent planes of N unit spins.

    Attributes
    ----------
    motion : (n,) angle by which spins turn per unit of z (rad, rms over spins and directions), |J| / sqrt(d N).
    number : (n,) effective number of directions, (sum s^2)^2 / sum s^4 of the singular values s of J.
    shares : {"along x": (n,), "along y": (n,), "rotation": (n,)}; the share |P t|^2 / |t|^2 of the change t that a
        small translation or rotation makes, where P projects on the range of J.
    chance : share that the range of J has of a random change, the rank of J over 2 N; of the rotation over 2 N_disc.
    same : {name: float}, |cos| between the directions that translate or rotate at different latent vectors, mean over
        pairs; nan for n = 1. Random directions have sqrt(2 / (pi d)).
    """

    motion: Tensor
    number: Tensor
    shares: dict[str, Tensor]
    chance: dict[str, float]
    same: dict[str, float]


def latent_directions(model: VAE, z: Tensor) -> LatentDirections:
    """Compare what z can do to the decoded state with translations and a rotation of it.

    A translation changes the spins by t = dS/dx, in the periodic box. A rotation about the centre
    turns places and spins, t = (y d/dx - x d/dy) S + z^ x S, which leaves the exchange and the DM interaction
    unchanged. Since a square box with periodic edges has no such symmetry, the rotation counts within a disc of a
    quarter of the shorter side around the centre alone.

    Parameters
    ----------
    model : in eval mode.
    z : (n, d) latent vectors.

    Raises
    ------
    TypeError, ValueError
        another type, a model in training mode, or z of another shape.
    """
    check_is("model", model, VAE)
    check_is("z", z, Tensor)
    if model.training:
        raise ValueError("latent_directions needs the model in eval mode; call model.eval() first")
    if z.ndim != 2 or z.shape[1] != model.latent or not len(z):
        raise ValueError(f"z must have shape (n, {model.latent}), got {tuple(z.shape)}")
    found = [_at(model, one) for one in z]
    names = list(found[0][2])
    units = {name: torch.stack([one[3][name] for one in found]) for name in names}
    return LatentDirections(
        torch.stack([one[0] for one in found]), torch.stack([one[1] for one in found]),
        {name: torch.stack([one[2][name][0] for one in found]) for name in names},
        {name: sum(one[2][name][1] for one in found) / len(found) for name in names},
        {name: _mean_overlap(units[name]) for name in names})


@torch.no_grad()
def jacobian(model: VAE, z: Tensor) -> Tensor:
    """Return dX/dz (d, 3, Ny, Nx) at one latent vector z (d,), by central differences."""
    steps = STEP * torch.eye(len(z), dtype=z.dtype, device=z.device)
    return (model.decode(z + steps) - model.decode(z - steps)) / (2 * STEP)


def generators(spins: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Return {name: (t, mask)}: how a small translation or rotation changes spins (3, Ny, Nx), and where it counts.

    ``t`` (3, Ny, Nx) is perpendicular to every spin, per lattice site or per radian; ``mask`` is (Ny, Nx).
    """
    ny, nx = spins.shape[-2:]
    dx, dy = (_derivative(spins, axis) for axis in (-1, -2))
    y, x = (torch.arange(n, dtype=spins.dtype) - (n - 1) / 2 for n in (ny, nx))
    turned = torch.stack([-spins[1], spins[0], torch.zeros_like(spins[2])])
    changes = {"along x": dx, "along y": dy, "rotation": y[:, None] * dx - x * dy + turned}
    disc = y[:, None] ** 2 + x**2 <= (min(ny, nx) / 4) ** 2
    return {name: (change - (change * spins).sum(0) * spins, disc if name == "rotation" else torch.ones_like(disc))
            for name, change in changes.items()}


def _derivative(spins: Tensor, axis: int) -> Tensor:
    """Differentiate the periodic field through its Fourier transform, as a translation by less than a site does."""
    n = spins.shape[axis]
    q = 2j * torch.pi * torch.fft.fftfreq(n, dtype=spins.dtype)
    q[n // 2] = 0  # of an even n: its sign is open
    return torch.fft.ifft(torch.fft.fft(spins, dim=axis) * q.reshape(-1, *[1] * (-axis - 1)), dim=axis).real


def _at(model: VAE, z: Tensor) -> tuple[Tensor, Tensor, dict[str, tuple[Tensor, float]], dict[str, Tensor]]:
    """Return motion, number, {name: (share, chance)} and {name: unit vector that does it} at one latent vector."""
    with torch.no_grad():
        spins = model.decode(z[None])[0].double().cpu()
    J = jacobian(model, z).double().cpu()
    values = torch.linalg.svdvals(J.flatten(1))
    shares, units = {}, {}
    for name, (change, mask) in generators(spins).items():
        matrix, target = J[:, :, mask].flatten(1).T, change[:, mask].flatten()
        left, s, right = torch.linalg.svd(matrix, full_matrices=False)
        strong = s > WEAKEST * s[0]
        along = left[:, strong].T @ target
        shares[name] = along.square().sum() / target.square().sum(), int(strong.sum()) / (2 * int(mask.sum()))
        step = right[strong].T @ (along / s[strong])
        units[name] = step / step.norm()
    return (values.square().sum() / (len(z) * spins[0].numel())).sqrt(), (
        values.square().sum() ** 2 / (values**4).sum()), shares, units


def _mean_overlap(units: Tensor) -> float:
    """Return the mean |cos| over pairs of the n unit vectors (n, d), nan for n = 1."""
    cosines = (units @ units.T).abs()
    return float(cosines[~torch.eye(len(units), dtype=torch.bool)].mean())
