"""Leading directions of a latent space: where the encoder's means spread most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from evae_core.model import VAE
from evae_core.training.checkpoint import NoEncoder


@dataclass(frozen=True)
class Axes:
    """Orthonormal ``directions`` (n, latent) through ``middle`` (latent,), and the ``widths`` (n,) that coordinates
    along them are counted in; ``share`` (n,) of the spread, or None where the axes are not principal ones."""

    middle: Tensor
    directions: Tensor
    widths: Tensor
    share: Tensor | None

    def coordinates(self, z: Tensor) -> Tensor:
        """(n,): where ``z`` (latent,) lies along each axis, in its widths."""
        return self.directions @ (z - self.middle) / self.widths

    def moved(self, z: Tensor, axis: int, value: float) -> Tensor:
        """``z`` with its coordinate along one axis set to ``value``; all others stay."""
        step = (value - self.coordinates(z)[axis]) * self.widths[axis]
        return z + step * self.directions[axis]


@torch.no_grad()
def principal_axes(model: VAE, spins: Tensor, n: int) -> Axes:
    """The ``n`` leading principal axes of the means mu that the encoder gives ``spins`` (m, 3, Ny, Nx).

    Raises
    ------
    ValueError
        fewer than two states, more axes than they span, or means that do not differ along them.
    """
    if not 1 <= n <= min(len(spins) - 1, model.latent):
        raise ValueError(f"n must be between 1 and {min(len(spins) - 1, model.latent)} axes, got {n}")
    mu = model.encode(spins)[0].double()
    middle = mu.mean(0)
    _, singular, directions = torch.linalg.svd(mu - middle, full_matrices=False)
    widths = singular[:n] / (len(mu) - 1) ** 0.5
    if not float(widths[-1]) > 1e-6:
        raise ValueError(f"the encoder's means do not differ along {n} axes: widths {widths.tolist()}")
    share = singular[:n].square() / singular.square().sum()
    return Axes(middle.float(), directions[:n].float(), widths.float(), share.float())


def coordinate_axes(latent: int, n: int) -> Axes:
    """The first ``n`` latent variables themselves, in units of their prior."""
    return Axes(torch.zeros(latent), torch.eye(latent)[:n], torch.ones(n), None)


@torch.no_grad()
def along(model: VAE, axes: Axes, values: Sequence[float]) -> Tensor:
    """What the middle decodes to when moved to ``values`` along each axis: (axes, values, 3, Ny, Nx)."""
    z = torch.stack([axes.moved(axes.middle, k, value) for k in range(len(axes.widths)) for value in values])
    return model.decode(z).unflatten(0, (len(axes.widths), len(values)))


def axes_of(model: VAE, spins: Tensor | None, n: int) -> tuple[Axes, str]:
    """Principal axes where there are an encoder and states to encode, else coordinate axes; and a line that says which.
    """
    if spins is None or isinstance(model.encoder, NoEncoder):
        missing = "encoder" if isinstance(model.encoder, NoEncoder) else "training data"
        return coordinate_axes(model.latent, n), (f"No {missing} at hand: the sliders are the first {n} latent "
                                                  "variables, not principal axes.")
    found = principal_axes(model, spins, n)
    assert found.share is not None
    return found, (f"The sliders are the {n} leading principal axes of the encoder's means, in standard deviations; "
                   f"they hold {100 * float(found.share.sum()):.0f} % of its spread over {len(spins)} training states.")
