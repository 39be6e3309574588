"""The training losses on a CPU with the passes between the convolutions written in C++.

The same network, weights and losses as :meth:`evae_core.model.VAE.losses` in training mode, to float32 rounding, some
2 times faster: with so few channels the memory traffic between the convolutions costs more than they do.
Differences in form, none in meaning:

* maps are kept channels last, with their padding: a pass writes the margin its successor's convolution wants;
* batch norm, leaky ReLU and maximum (encoder) or pixel shuffle (decoder) are one pass forward and two backward;
* the last two decoder layers live on the half-size lattice with 4 x 3 channels (row parity, column parity, component),
  where the 5x5 convolution of 3 channels is a 3x3 one of 12;
* unit spins, squared chords, energies and their gradients are one pass (plain torch for a Hamiltonian with further
  bonds and for a learned energy, which that pass does not know).

The library is compiled by the machine's C++ compiler on first use (some 6 s) and kept in the user's cache; see
:mod:`evae_core.cpp_extension`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from evae_core.hamiltonian import Hamiltonian
from evae_core.losses import EnergyModel, Losses, energy_scale, kl_loss
from evae_core.model import VAE, PaddedConv, UpConv
from evae_core.training.fused.extension import call, problem

__all__ = ["halved", "losses", "problem", "supports", "why_not"]

# The filters that norms.cpp has passes for.
POOLED, SHUFFLED, LAST = (6, 12, 24, 48), (6, 12, 24), 3


def supports(H: EnergyModel) -> bool:
    """Whether the energy pass knows all of ``H``; the energies of another are found by plain torch."""
    return isinstance(H, Hamiltonian) and H.plain


def why_not(model: VAE) -> str | None:
    """Why the passes do not know this network, whose layers they walk by position; None where they do."""
    encoder, decoder = list(model.encoder.convolutions), list(model.decoder.convolutions)
    up, output = decoder[:-1], decoder[-1]
    kinds = [nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU, nn.MaxPool2d]
    for name, layers, wanted in (("encoder", encoder, kinds), ("decoder", up, [UpConv, *kinds[1:3]])):
        for number, layer in enumerate(layers):
            kind = wanted[number % len(wanted)]
            if not isinstance(layer, kind):
                return f"layer {number} of the {name} is a {type(layer).__name__}, not a {kind.__name__}"
        if len(layers) % len(wanted):
            return f"the {name} ends with a {type(layers[-1]).__name__}"
    for layer in (*encoder[::4], output):
        if not isinstance(layer, PaddedConv) or layer.kernel_size != (5, 5) or layer.stride != (1, 1):
            return f"a convolution is {layer}, not a 5x5 one with the sample's padding"
    for pool in encoder[3::4]:
        if (pool.kernel_size, pool.stride, pool.padding) != (2, 2, 0):
            return f"the pooling is {pool}, not one of 2x2"
    for norm in (*encoder[1::4], *up[1::3]):
        if norm.momentum is None or not norm.affine or not norm.track_running_stats:
            return f"a batch norm is {norm}, not the usual one with running averages"
    pooled, shuffled = [norm.num_features for norm in encoder[1::4]], [norm.num_features for norm in up[1::3]]
    if not set(pooled) <= set(POOLED) or not set(shuffled[:-1]) <= set(SHUFFLED) or shuffled[-1:] != [LAST]:
        return (f"the filters are {pooled} and {shuffled}, and there are passes for {POOLED} and "
                f"{(*SHUFFLED, LAST)} only")
    return None


def _empty(n: int, channels: int, height: int, width: int, dtype: torch.dtype) -> Tensor:
    return torch.empty(n, channels, height, width, dtype=dtype, memory_format=torch.channels_last)


def _last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


class _Norm(torch.autograd.Function):
    """Batch norm of ``y`` (n, c, h, w) in training mode, leaky ReLU and what ``kind`` says, with a margin of ``r``.

    ``"pool"``: 2x2 maximum. ``"shuffle"``: channels (row parity, column parity, channel) to the doubled lattice.
    ``"keep"``: the same channels, left where they are.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, weight: Tensor, bias: Tensor, norm: Any, kind: str, r: int,
                periodic: bool, slope: float) -> Tensor:
        y = _last(y)
        n, c, h, w = y.shape
        channels = len(weight)
        mean, variance = torch.empty(2, channels)
        call("moments", y.dtype, y, n, c * h * w, channels, mean, variance)
        count = n * c * h * w / channels
        with torch.no_grad():
            norm.running_mean.lerp_(mean, norm.momentum)
            norm.running_var.lerp_(variance * (count / (count - 1)), norm.momentum)
            norm.num_batches_tracked += 1
        inverse = (variance + norm.eps).rsqrt()
        half = {"pool": (h // 2, w // 2), "shuffle": (2 * h, 2 * w), "keep": (h, w)}[kind]
        out = _empty(n, c if kind == "keep" else channels, half[0] + 2 * r, half[1] + 2 * r, y.dtype)
        ctx.shape = (*half, channels, r, int(periodic), *(() if kind == "pool" else (int(kind == "shuffle"),)))
        ctx.spent, ctx.slope = False, float(slope)
        ctx.name = "pool" if kind == "pool" else "up"
        call(ctx.name, y.dtype, y, n, weight, bias, mean, inverse, slope, out, *ctx.shape)
        ctx.save_for_backward(y, weight, bias, mean, inverse)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dout: Any) -> Any:
        y, weight, bias, mean, inverse = ctx.saved_tensors
        if ctx.spent:
            raise RuntimeError("the fused losses can be differentiated once only: their maps are overwritten")
        ctx.spent = True
        dweight, dbias = torch.empty_like(weight), torch.empty_like(bias)
        # In place, since memory traffic is what takes the time: y, a convolution's output that nobody else needs,
        # becomes its gradient, and the margin of dout, which comes from the next convolution alone, is folded.
        call(ctx.name + "_back", y.dtype, y, len(y), weight, bias, mean, inverse, ctx.slope, _last(dout), *ctx.shape,
             dweight, dbias)
        return y, dweight, dbias, None, None, None, None, None


class _Spins(torch.autograd.Function):
    """Sums of squared chords and of energies (float32 scalars) of the unit spins that ``v`` (n, 12, Ny/2, Nx/2) gives.

    ``target`` (n, 3, Ny, Nx); ``mask`` (Ny, Nx) or None.
    """

    @staticmethod
    def forward(ctx: Any, v: Any, target: Tensor, hamiltonian: Hamiltonian, mask: Any) -> Any:
        v, target = _last(v), target.contiguous()
        n, _, ny, nx = target.shape
        bonds = torch.from_numpy(hamiltonian.bond_matrices).float()
        spins, inverse = torch.empty(n, 3, ny + 2, nx + 2), torch.empty(n, ny, nx)
        chords, energies = torch.empty(2, n, dtype=torch.float64)
        call("spins_forward", None, v, target, mask, n, ny, nx, int(hamiltonian.periodic), bonds, hamiltonian.B,
             hamiltonian.K, spins, inverse, chords, energies)
        ctx.hamiltonian = hamiltonian
        ctx.save_for_backward(spins, inverse, target, bonds)
        return chords.sum().float(), energies.sum().float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, chord: Any, energy: Any) -> Any:
        spins, inverse, target, bonds = ctx.saved_tensors
        n, _, ny, nx = target.shape
        dv = _empty(n, 12, ny // 2, nx // 2, torch.float32)
        call("spins_backward", None, spins, inverse, target, n, ny, nx, bonds, ctx.hamiltonian.B, ctx.hamiltonian.K,
             2 * float(chord), float(energy), dv)
        return dv, None, None, None


@cache
def _taps() -> Tensor:
    """(2, 5, 3, 2): tap t of a 5-kernel at output parity p falls on half-size neighbour a - 1, parity q."""
    taps = torch.zeros(2, 5, 3, 2)
    for p in range(2):
        for t in range(5):
            a, q = divmod(p + t - 2, 2)
            taps[p, t, a + 1, q] = 1
    return taps


def halved(weight: Tensor) -> Tensor:
    """The 3x3 kernel (4 o, 4 i, 3, 3) on the half-size lattice that is the 5x5 kernel (o, i, 5, 5) on the whole one."""
    n_out, n_in = weight.shape[:2]
    taps = _taps().to(weight)
    return torch.einsum("oiyx,pyar,qxbs->pqorsiab", weight, taps, taps).reshape(4 * n_out, 4 * n_in, 3, 3)


def _up(x: Tensor, layer: UpConv) -> Tensor:
    """The layer's 3x3 convolution (see UpConv) of a map that has its margin, channels (parity, parity, channel)."""
    kernel = torch.einsum("oiyx,pay,qbx->pqoiab", layer.weight, layer.taps, layer.taps)
    return F.conv2d(x, _last(kernel.reshape(-1, *kernel.shape[3:]).to(x.dtype)))


def losses(model: VAE, batch: Tensor, hamiltonian: EnergyModel, beta: float, gamma: float,
           generator: torch.Generator | None = None, dtype: torch.dtype = torch.float32) -> Losses:
    """:meth:`VAE.losses` of a model in training mode; ``batch`` (n >= 2, 3, Ny, Nx) float32 on the CPU.

    ``dtype``: of the maps and of the convolutions, float32 or bfloat16; batch norm's averages, dense layers, the
    output layer and the losses are float32 either way.

    Raises
    ------
    TypeError, ValueError
        a model or batch that is not float32 on the CPU, a model in evaluation mode, or one that the passes do not
        know (:func:`why_not`).
    """
    for name, tensor in (("the model", model.encoder.mu.weight), ("batch", batch)):
        if tensor.dtype != torch.float32 or tensor.device.type != "cpu":
            raise TypeError(f"{name} must be float32 on the CPU for the fused losses, got {tensor.dtype} on "
                            f"{tensor.device}")
    if problem := why_not(model):
        raise ValueError(f"the fused losses do not know this network: {problem}")
    if not model.training:
        raise ValueError("the fused losses are those of training: call model.train(), or use model.losses")
    periodic, encoder = isinstance(model.boundary, str) and model.boundary == "periodic", model.encoder
    decoder: Any = model.decoder
    n, _, ny, nx = batch.shape
    batch = batch.contiguous()
    maps = _empty(n, 3, ny + 4, nx + 4, dtype)
    call("pack", dtype, batch, n, maps, ny, nx, 2, int(periodic))
    layers = list(encoder.convolutions)
    for k in range(0, len(layers), 4):
        conv, norm, activation = layers[k:k + 3]
        margin = 2 if k + 4 < len(layers) else 0
        maps = _Norm.apply(F.conv2d(maps, _last(conv.weight.to(dtype))), norm.weight, norm.bias, norm, "pool", margin,
                           periodic, activation.negative_slope)
    hidden = encoder.dense(maps.float())
    mu, logvar = encoder.heads(hidden)
    noise = torch.randn(mu.shape, generator=generator)
    low = decoder.dense(mu + (0.5 * logvar).exp() * noise)

    *layers, output = decoder.convolutions
    maps = _last(layers[0].pad(low, 1).to(dtype))
    for k in range(0, len(layers), 3):
        conv, norm, activation = layers[k:k + 3]
        last = k + 3 == len(layers)
        y = _up(maps, conv)
        maps = _Norm.apply(y.float() if last else y, norm.weight, norm.bias, norm, "keep" if last else "shuffle", 1,
                           periodic, activation.negative_slope)
    v = F.conv2d(maps, _last(halved(output.weight)), output.bias.repeat(4))
    if not isinstance(hamiltonian, Hamiltonian) or not supports(hamiltonian):
        spins = v.unflatten(1, (2, 2, 3)).permute(0, 3, 4, 1, 5, 2).reshape(n, 3, ny, nx)
        # What F.normalize does, which takes 7 ms longer for 32 states of 48 x 48: vector_norm is slow along this axis.
        spins = spins / spins.square().sum(1, keepdim=True).sqrt().clamp_min(1e-12)
        if model.magnetic is not None:
            spins = spins * model.magnetic
        return model.compute_losses(batch, spins, mu, logvar, hamiltonian, beta, gamma)
    chords, energies = _Spins.apply(v, batch, hamiltonian, model.magnetic)

    reconstruction, kl = chords / (model.sites * n), kl_loss(mu, logvar)
    energies = energies if gamma else energies.detach()
    energy = (energies / n - hamiltonian.reference_energy(model.size)) * (energy_scale(hamiltonian) / model.sites)
    return Losses(reconstruction, kl, energy, reconstruction + beta * kl + gamma * energy)
