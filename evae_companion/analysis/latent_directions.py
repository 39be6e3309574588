"""What small steps of the latent vector do to the decoded texture: do they translate it?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evae_core.model import VAE
from evae_core.validation import check_is

WEAKEST = 1e-3  # singular values of the Jacobian below this share of the largest are no direction
STEP = 1e-2  # of z, for central differences
MODES = 2  # waves of the box, along each axis, of a smooth displacement


@dataclass(frozen=True)
class LatentDirections:
    """What small steps of z do to decoded states, at n latent vectors of d components.

    J = dX/dz is the Jacobian of the decoder, (2N, d) in the tangent planes of N unit spins.

    Attributes
    ----------
    motion : (n,) angle by which spins turn per unit of z (rad, rms over spins and directions), |J| / sqrt(d N).
    number : (n,) participation number of the directions, (sum s^2)^2 / sum s^4 of the singular values s of J.
    shares : {"along x": (n,), "along y": (n,), "displacement": (n,)}; the share |P t|^2 / |t|^2 of the change t that a
        small translation makes, or a smooth displacement, where P projects on the range of J. A random change has
        about d / 2N.
    cost : {"along x": (n,), "along y": (n,)}; the least |dz| that makes this share of a translation, per lattice site.
        Vectors of the prior have a length of sqrt(d).
    """

    motion: Tensor
    number: Tensor
    shares: dict[str, Tensor]
    cost: dict[str, Tensor]


def latent_directions(model: VAE, z: Tensor) -> LatentDirections:
    """Compare what small steps of z do to the decoded state with what moves it in its periodic box.

    A translation changes the spins by t = dS/dx. It is measured against a smooth displacement u of the texture that is
    random, t = (u . grad) S with waves 1 to MODES of the box: a network that has learned the translation can do more of
    it than of that.

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
    motion, number = torch.stack([one[0] for one in found]), torch.stack([one[1] for one in found])
    shares = {name: torch.stack([one[2][name][0] for one in found]) for name in found[0][2]}
    return LatentDirections(motion, number, shares, {
        name: torch.stack([one[2][name][1] for one in found]) for name in ("along x", "along y")})


@torch.no_grad()
def jacobian(model: VAE, z: Tensor) -> Tensor:
    """Return dX/dz (d, 3, Ny, Nx) at one latent vector z (d,), by central differences."""
    steps = STEP * torch.eye(len(z), dtype=z.dtype, device=z.device)
    return (model.decode(z + steps) - model.decode(z - steps)) / (2 * STEP)


def movements(spins: Tensor) -> dict[str, Tensor]:
    """Return {name: t}: how translations and a random smooth displacement, by a site rms, change spins (3, Ny, Nx).

    Each t (3, Ny, Nx) is perpendicular to every spin.
    """
    dx, dy = (_derivative(spins, axis) for axis in (-1, -2))
    u = _smooth(spins)
    changes = {"along x": dx, "along y": dy, "displacement": u[0] * dx + u[1] * dy}
    return {name: change - (change * spins).sum(0) * spins for name, change in changes.items()}


def _derivative(spins: Tensor, axis: int) -> Tensor:
    """Differentiate the periodic field through its Fourier transform, as a translation by less than a site does."""
    n = spins.shape[axis]
    q = 2j * torch.pi * torch.fft.fftfreq(n, dtype=spins.dtype)
    q[n // 2] = 0  # of an even n: its sign is open
    return torch.fft.ifft(torch.fft.fft(spins, dim=axis) * q.reshape(-1, *[1] * (-axis - 1)), dim=axis).real


def _smooth(spins: Tensor) -> Tensor:
    """Return a displacement field (2, Ny, Nx) with waves up to MODES along each axis and none of zero, rms 1."""
    ny, nx = spins.shape[-2:]
    waves = torch.zeros(2, ny, nx, dtype=torch.complex128)
    index = torch.arange(-MODES, MODES + 1)
    block = torch.randn(2, len(index), len(index), dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    block[:, MODES, MODES] = 0
    waves[:, (index % ny)[:, None], index % nx] = block
    u = torch.fft.ifft2(waves).real
    return (u / u.square().sum(0).mean().sqrt()).to(spins.dtype)


def _at(model: VAE, z: Tensor) -> tuple[Tensor, Tensor, dict[str, tuple[Tensor, Tensor]]]:
    """Return motion, number, and {name: (share, least |dz|)} at one latent vector."""
    with torch.no_grad():
        spins = model.decode(z[None])[0].double().cpu()
    J = jacobian(model, z).double().cpu()
    left, s, _ = torch.linalg.svd(J.flatten(1).T, full_matrices=False)
    strong = s > WEAKEST * s[0]
    found = {}
    for name, change in movements(spins).items():
        along = left[:, strong].T @ change.flatten()
        found[name] = along.square().sum() / change.square().sum(), (along / s[strong]).norm()
    return (s.square().sum() / (len(z) * spins[0].numel())).sqrt(), s.square().sum() ** 2 / (s**4).sum(), found
