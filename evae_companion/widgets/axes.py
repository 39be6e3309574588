"""Leading directions of a latent space, along which the means of the encoder spread most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from evae_core.model import VAE
from evae_core.training.checkpoint import NoEncoder
from evae_core.validation import check_count


@dataclass(frozen=True)
class Axes:
    """Axes in latent space.

    Attributes
    ----------
    middle : (latent,) origin of the axes.
    directions : (n, latent), orthonormal.
    widths : (n,) units of the coordinates along the directions.
    share : (n,) shares of the spread; None if the axes are not principal ones.
    """

    middle: Tensor
    directions: Tensor
    widths: Tensor
    share: Tensor | None

    def coordinates(self, z: Tensor) -> Tensor:
        """Return the coordinates (n,) of ``z`` (latent,) along the axes, in units of their widths."""
        return self.directions @ (z - self.middle) / self.widths

    def moved(self, z: Tensor, axis: int, value: float) -> Tensor:
        """Return ``z`` with its coordinate along one axis set to ``value``; all others stay."""
        step = (value - self.coordinates(z)[axis]) * self.widths[axis]
        return z + step * self.directions[axis]


@torch.no_grad()
def principal_axes(model: VAE, spins: Tensor, n: int) -> Axes:
    """Return the ``n`` leading principal axes of the means mu that the encoder gives ``spins`` (m, 3, Ny, Nx).

    Raises
    ------
    ValueError
        fewer than two states, more axes than they span, or means that do not differ along them.
    """
    check_count("n", n, 1, min(len(spins) - 1, model.latent))
    mu = model.encode(spins)[0].double()
    middle = mu.mean(0)
    _, singular, directions = torch.linalg.svd(mu - middle, full_matrices=False)
    widths = singular[:n] / (len(mu) - 1) ** 0.5
    if not float(widths[-1]) > 1e-6:
        raise ValueError(f"the encoder's means do not differ along {n} axes: widths {widths.tolist()}")
    share = singular[:n].square() / singular.square().sum()
    return Axes(middle.float(), directions[:n].float(), widths.float(), share.float())


def coordinate_axes(latent: int, n: int) -> Axes:
    """Return the first ``n`` latent variables themselves as axes, in units of their prior."""
    return Axes(torch.zeros(latent), torch.eye(latent)[:n], torch.ones(n), None)


@torch.no_grad()
def along(model: VAE, axes: Axes, values: Sequence[float]) -> Tensor:
    """Decode the middle moved to ``values`` along each axis: (axes, values, 3, Ny, Nx)."""
    z = torch.stack([axes.moved(axes.middle, k, value) for k in range(len(axes.widths)) for value in values])
    return model.decode(z).unflatten(0, (len(axes.widths), len(values)))


def axes_of(model: VAE, spins: Tensor | None, n: int) -> tuple[Axes, str]:
    """Return principal axes if there are an encoder and states to encode, else coordinate axes; and a line about it."""
    if spins is None or isinstance(model.encoder, NoEncoder):
        missing = "encoder" if isinstance(model.encoder, NoEncoder) else "training data"
        return coordinate_axes(model.latent, n), (f"No {missing} at hand: the sliders are the first {n} latent "
                                                  "variables, not principal axes.")
    axes = principal_axes(model, spins, n)
    assert axes.share is not None
    return axes, (f"The sliders are the {n} leading principal axes of the encoder's means, in standard deviations; "
                  f"they hold {100 * float(axes.share.sum()):.0f} % of its spread over {len(spins)} training states.")
