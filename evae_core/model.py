r"""The network: encoder, decoder and the VAE made of both (Kwon et al., Advanced Science 2021).

Encoder: 4 x [padding, conv 5x5 (6, 12, 24, 48 filters), batch norm, leaky ReLU, max-pool 2x2],
flatten, dense W + batch norm + leaky ReLU, dense 512, heads mu and log sigma^2.
Decoder: dense 512 and dense W, both batch norm + leaky ReLU, then 4 x [upsample 2x2, padding,
conv 5x5 (24, 12, 6, 3 filters), batch norm, leaky ReLU], padding + conv 5x5 (3 filters), and every
spin brought to unit length. W = 48 (Ny/16)(Nx/16), 3072 at 128 x 128.

Stated in the paper's text: layers, filters, widths, 100 latents. Chosen here: the slope of the leaky
ReLU (the paper does not state it), no bias in front of a batch norm (it would be subtracted again),
padding that is periodic along a periodic axis and zero beyond an open edge, and log sigma^2 that starts near -6: with
sigma = 1 the latents are drowned in noise and training at small beta stays for some 500 steps on a plateau where
every output is the uniform state.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evae_core.bonds import padded
from evae_core.hamiltonian import Hamiltonian, check_spins
from evae_core.losses import EnergyModel, Losses, energy_loss, kl_loss, reconstruction_loss
from evae_core.presets import LOGVAR_MOST, VAEConfig
from evae_core.validation import check_choice, check_count, check_is, check_number

MAX_STATES = 10**7  # decoded at once
PRIORS = ("standard", "fitted", "mixture")  # of generate: N(0, 1), and two that follow the training set's latents


def _collapse(axis_parity: int) -> Tensor:
    """(3, 5): which taps of a 5-kernel on the doubled lattice fall on low-resolution sites Y-1, Y, Y+1."""
    taps = torch.zeros(3, 5)
    for t in range(5):
        taps[(axis_parity + t - 2) // 2 + 1, t] = 1
    return taps


class UpConv(nn.Module):
    """Nearest upsampling by 2, padding, 5x5 convolution: exactly, as one 3x3 convolution at low resolution.

    A 5x5 kernel over an upsampled map meets only 3x3 different values, and which taps share a value depends
    on the parity of the output site alone: four 3x3 kernels, whose outputs are interleaved (pixel shuffle).
    ``weight`` keeps its 5x5 form, so that a state dict reads like the plain layer's.
    """

    def __init__(self, channels_in: int, channels_out: int, pad: Any) -> None:
        super().__init__()
        plain = nn.Conv2d(channels_in, channels_out, 5, bias=False)  # for its initialisation
        self.weight = plain.weight
        self.pad = pad
        self.register_buffer("taps", torch.stack([_collapse(0), _collapse(1)]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        n_out, n_in = self.weight.shape[:2]
        kernel = torch.einsum("oiyx,pay,qbx->opqiab", self.weight, self.taps, self.taps)
        out = F.conv2d(self.pad(x, 1), kernel.reshape(4 * n_out, n_in, 3, 3))
        return F.pixel_shuffle(out, 2)


class PaddedConv(nn.Conv2d):
    """5x5 convolution with the sample's own padding: the lattice keeps its size."""

    def __init__(self, channels_in: int, channels_out: int, pad: Any, bias: bool = False) -> None:
        super().__init__(channels_in, channels_out, 5, bias=bias)
        self.pad = pad

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.pad(x, 2))


def check_size(size: Any, multiple: int = VAEConfig().reduction) -> tuple[int, int]:
    """Return ``size`` (an int or (Ny, Nx)) as a pair; both must be positive multiples of ``multiple``.

    Raises
    ------
    TypeError, ValueError
        not integers, or not multiples of it (16 for the paper's four poolings).
    """
    pair = (size, size) if isinstance(size, (int, np.integer)) and not isinstance(size, bool) else size
    try:
        ny, nx = pair
    except (TypeError, ValueError):
        raise TypeError(f"size must be an integer or (Ny, Nx), got {size!r}") from None
    for n in (ny, nx):
        if not isinstance(n, (int, np.integer)) or isinstance(n, bool):
            raise TypeError(f"size must be an integer or (Ny, Nx), got {size!r}")
        if n < multiple or n % multiple:
            raise ValueError(f"size must be a positive multiple of {multiple} (each 2x2 pooling halves it), got "
                             f"{size!r}; nearest: {max(multiple, multiple * round(n / multiple))}")
    return int(ny), int(nx)


def bounded(x: Tensor) -> Tensor:
    """log sigma^2 = c - log(1 + exp(c - x)), c = LOGVAR_MOST: x where x lies well below c, and never above c.

    L_KL holds exp(log sigma^2). Adam's steps do not shrink as that grows, so without a bound one step of a large
    learning rate can take log sigma^2 so far up that L_KL, and with it Adam's second moments, explode.
    """
    return LOGVAR_MOST - F.softplus(LOGVAR_MOST - x)


class Encoder(nn.Module):
    """Spins (n, 3, Ny, Nx) -> mu, log sigma^2, each (n, latent)."""

    def __init__(self, size: tuple[int, int], config: VAEConfig, pad: Any) -> None:
        super().__init__()
        filters, low = config.filters, (size[0] // config.reduction, size[1] // config.reduction)
        width = filters[-1] * low[0] * low[1]
        layers: list[nn.Module] = []
        for c_in, c_out in zip((3, *filters), filters, strict=False):
            layers += [PaddedConv(c_in, c_out, pad), nn.BatchNorm2d(c_out), _leaky(config), nn.MaxPool2d(2)]
        self.convolutions = nn.Sequential(*layers)
        self.dense = nn.Sequential(nn.Flatten(), nn.Linear(width, width, bias=False), nn.BatchNorm1d(width),
                                   _leaky(config), nn.Linear(width, config.hidden))
        self.mu = nn.Linear(config.hidden, config.latent)
        self.logvar = nn.Linear(config.hidden, config.latent)
        nn.init.constant_(self.logvar.bias, config.logvar_start)

    def heads(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """mu and log sigma^2 (n, latent) of the last dense layer's output (n, hidden)."""
        return self.mu(hidden), bounded(self.logvar(hidden))

    def forward(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        mu, logvar = self.heads(self.dense(self.convolutions(spins)))
        return mu.to(spins.dtype), logvar.to(spins.dtype)  # under autocast they are not


class Decoder(nn.Module):
    """Latent vectors (n, latent) -> unit spins (n, 3, Ny, Nx)."""

    def __init__(self, size: tuple[int, int], config: VAEConfig, pad: Any) -> None:
        super().__init__()
        filters, low = config.filters, (size[0] // config.reduction, size[1] // config.reduction)
        width = filters[-1] * low[0] * low[1]
        self.dense = nn.Sequential(nn.Linear(config.latent, config.hidden, bias=False), nn.BatchNorm1d(config.hidden),
                                   _leaky(config), nn.Linear(config.hidden, width, bias=False),
                                   nn.BatchNorm1d(width), _leaky(config), nn.Unflatten(1, (filters[-1], *low)))
        layers: list[nn.Module] = []
        for c_in, c_out in zip(filters[::-1], (*filters[-2::-1], 3), strict=True):
            layers += [UpConv(c_in, c_out, pad), nn.BatchNorm2d(c_out), _leaky(config)]
        self.convolutions = nn.Sequential(*layers, PaddedConv(3, 3, pad, bias=True))

    def forward(self, z: Tensor) -> Tensor:
        return F.normalize(self.convolutions(self.dense(z)).to(z.dtype), dim=1)  # under autocast it is another


def _leaky(config: VAEConfig) -> nn.LeakyReLU:
    return nn.LeakyReLU(config.slope, inplace=True)


def layer_shapes(model: VAE) -> tuple[list[tuple[str, tuple[int, ...]]], list[tuple[str, tuple[int, ...]]]]:
    """The layers of encoder and decoder, as (kind, shape of the output) each, read off a forward pass.

    Kinds: "conv" (with its batch norm and leaky ReLU, and the pooling after or the upsampling before it), "dense", and
    "heads" (mu and log sigma^2).
    """
    check_is("model", model, VAE)
    kinds = ((nn.MaxPool2d, "conv"), (UpConv, "conv"), (nn.Conv2d, "conv"), (nn.Linear, "dense"))
    found: dict[str, list[tuple[str, tuple[int, ...]]]] = {"encoder": [], "decoder": []}
    hooks = []
    for part, module in [(name, module) for name in found for module in getattr(model, name).modules()]:
        kind = next((kind for of, kind in kinds if isinstance(module, of)), None)
        pooled = part == "encoder" and isinstance(module, nn.Conv2d)  # its pooling stands for it
        if kind and not pooled:
            hooks.append(module.register_forward_hook(
                lambda _, __, out, part=part, kind=kind: found[part].append((kind, tuple(out.shape[1:])))))
    training = model.training
    try:
        with torch.no_grad():
            like = next(model.parameters())
            model.eval().decode(model.encode(like.new_zeros(1, 3, *model.size))[0])
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    *encoder, _, (_, heads) = found["encoder"]
    return [*encoder, ("heads", heads)], found["decoder"]


class VAE(nn.Module):
    """The variational autoencoder of the paper for a lattice of ``size`` (int or (Ny, Nx), multiples of 16).

    Parameters
    ----------
    size : lattice, one side or (Ny, Nx).
    latent : number of latent variables; None: the config's.
    config : the network's other numbers; None: the paper's.
    boundary : of the sample, in every form that :class:`Hamiltonian` takes.
        Outputs are zero on non-magnetic sites.

    Examples
    --------
    >>> model, H = VAE(size=32), Hamiltonian(D=0.6, B=0.2)
    >>> spins = F.normalize(torch.randn(4, 3, 32, 32), dim=1)
    >>> losses = model.loss(spins, H, beta=1e-3, gamma=100.0)
    >>> losses.total.backward()
    """

    magnetic: Tensor | None
    encoder: Any  # an Encoder, or what stands for one that was not carried here
    sites: int

    def __init__(self, size: Any, latent: int | None = None, boundary: Any = "periodic",
                 config: VAEConfig | None = None) -> None:
        super().__init__()
        check_is("config", config, VAEConfig, type(None))
        config = config or VAEConfig()
        self.config = config if latent is None else replace(config, latent=latent)
        self.size, self.latent = check_size(size, self.config.reduction), self.config.latent
        edges = Hamiltonian(boundary=boundary)  # checks the boundary
        edges.check_shape(self.size)
        self.boundary = edges.boundary
        self.periodic_axes = edges.periodic_axes
        pad = partial(padded, periodic=edges.periodic_axes)
        mask = None if edges.mask is None else torch.from_numpy(edges.mask.astype(np.float32))
        self.register_buffer("magnetic", mask, persistent=False)
        self.sites = edges.sites(self.size)
        self.encoder = Encoder(self.size, self.config, pad)
        self.decoder = Decoder(self.size, self.config, pad)
        self.priors: dict[str, Any] = {}  # fitted after training; each has sample(n, generator) -> (n, latent)

    def encode(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        """mu and log sigma^2 of q(z|spins), each (n, latent); spins (n, 3, Ny, Nx) of the model's size and dtype."""
        check_is("spins", spins, Tensor)
        if spins.dtype != (wanted := next(self.parameters()).dtype):
            raise TypeError(f"spins must have the model's dtype {wanted}, got {spins.dtype}")
        if spins.ndim != 4 or tuple(spins.shape[1:]) != (3, *self.size):
            raise ValueError(f"spins must have shape (n, 3, {self.size[0]}, {self.size[1]}) for this model, "
                             f"got {tuple(spins.shape)}")
        return self.encoder(spins)

    def decode(self, z: Tensor) -> Tensor:
        """Spins (n, 3, Ny, Nx) of latent vectors (n, latent)."""
        check_is("z", z, Tensor)
        if z.ndim != 2 or z.shape[1] != self.latent:
            raise ValueError(f"z must have shape (n, {self.latent}), got {tuple(z.shape)}")
        spins = self.decoder(z)
        return spins if self.magnetic is None else spins * self.magnetic

    def forward(self, spins: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """X_out, mu, log sigma^2, with z = mu + sigma * epsilon; epsilon comes from ``generator``."""
        mu, logvar = self.encode(spins)
        noise = torch.randn(mu.shape, generator=generator, device=mu.device, dtype=mu.dtype)
        return self.decode(mu + (0.5 * logvar).exp() * noise), mu, logvar

    def loss(self, spins: Tensor, hamiltonian: EnergyModel, beta: float, gamma: float,
             generator: torch.Generator | None = None) -> Losses:
        """L = L_RC + beta L_KL + gamma L_H of a batch (n, 3, Ny, Nx); reductions are stated at each loss.

        In training mode batch norm needs n >= 2.

        Raises
        ------
        TypeError, ValueError
            spins that are no batch of this size, another boundary than the model's, negative beta or gamma.
        """
        self.check_batch(spins, hamiltonian)
        beta, gamma = (check_number(name, x, 0.0, 1e30, equal=True) for name, x in (("beta", beta), ("gamma", gamma)))
        return self.losses(spins, hamiltonian, beta, gamma, generator)

    def losses(self, spins: Tensor, hamiltonian: EnergyModel, beta: float, gamma: float,
               generator: torch.Generator | None = None) -> Losses:
        """:meth:`loss` without its checks, for batches known to be right."""
        x_out, mu, logvar = self(spins, generator)
        return self.compute_losses(spins, x_out, mu, logvar, hamiltonian, beta, gamma)

    def compute_losses(self, spins: Tensor, x_out: Tensor, mu: Tensor, logvar: Tensor, hamiltonian: EnergyModel,
                       beta: float, gamma: float) -> Losses:
        """The losses of what :meth:`forward` returned for ``spins``."""
        reconstruction = reconstruction_loss(spins, x_out, self.sites)
        kl = kl_loss(mu, logvar)
        energy = energy_loss(hamiltonian, x_out if gamma else x_out.detach())  # at 0 its gradient is not wanted
        return Losses(reconstruction, kl, energy, reconstruction + beta * kl + gamma * energy)

    def check_batch(self, spins: Tensor, hamiltonian: EnergyModel) -> None:
        """Raise unless ``spins`` is a batch this model can be trained on under ``hamiltonian``."""
        if not isinstance(hamiltonian, EnergyModel):
            raise TypeError(f"hamiltonian must be a Hamiltonian, got {type(hamiltonian).__name__}")
        check_spins(spins, unit=True, magnetic=hamiltonian.mask)
        if spins.dtype != (wanted := next(self.parameters()).dtype):
            raise TypeError(f"spins must have the model's dtype {wanted}, got {spins.dtype}")
        if not len(spins):
            raise ValueError("spins must hold at least one configuration, got an empty batch")
        if spins.ndim != 4 or tuple(spins.shape[-2:]) != self.size:
            raise ValueError(f"spins must have shape (n, 3, {self.size[0]}, {self.size[1]}) for this model, "
                             f"got {tuple(spins.shape)}")
        if Hamiltonian(boundary=hamiltonian.boundary) != Hamiltonian(boundary=self.boundary):
            raise ValueError("hamiltonian has another boundary than the model; build VAE(size, boundary=H.boundary)")

    @torch.no_grad()
    def generate(self, n: int, generator: torch.Generator | None = None, prior: str = "standard") -> Tensor:
        """X'_out: n states (n, 3, Ny, Nx) decoded from z of a prior, batch norm as trained (model in eval mode).

        ``prior``: "standard", z ~ N(0, 1), is the paper's; "fitted" and "mixture" are those in ``priors``.
        """
        check_count("n", n, 1, MAX_STATES)
        check_choice("prior", prior, PRIORS)
        if self.training:
            raise ValueError("generate needs the model in eval mode; call model.eval() first")
        device = next(self.parameters()).device
        if prior == "standard":
            z = torch.randn(n, self.latent, generator=generator, device=generator.device if generator else device)
        elif prior in self.priors:
            z = self.priors[prior].sample(n, generator)
        else:
            raise RuntimeError(f"this model has no prior {prior!r}; fit it to the training states: model.priors = "
                               "evae_companion.priors.fit_priors(model, spins)")
        return self.decode(z.to(device))
