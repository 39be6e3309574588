"""The training losses on a CPU with the network's layers written in C++.

The same network, weights and losses as :meth:`evae_core.model.VAE.losses` in training mode, to float32 rounding. With
so few channels general libraries spend half their time on padding and re-ordering, and the memory traffic between the
convolutions costs as much as they do. Differences in form, none in meaning:

* maps are kept channels last, with their padding: a layer writes the margin that its successor's convolution wants;
* a convolution holds its sums in registers; batch norm's averages are taken of each row while it is near;
* batch norm, leaky ReLU and maximum (encoder) or pixel shuffle (decoder) are one sweep forward; backward there are two,
  and the convolution's gradients are taken sample by sample in the second;
* the last two decoder layers live on the half-size lattice with 4 x 3 channels (row parity, column parity, component),
  where the 5x5 convolution of 3 channels is a 3x3 one of 12;
* unit spins, squared chords, energies and their gradients are one pass (plain torch for a Hamiltonian with further
  bonds and for a learned energy, which that pass does not know).

The library is compiled by the machine's C++ compiler on first use (some 8 s) and kept in the user's cache; see
:mod:`evae_core.cpp_extension`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from evae_core.bonds import Axes
from evae_core.hamiltonian import Hamiltonian
from evae_core.losses import EnergyModel, Losses, energy_scale, kl_loss
from evae_core.model import VAE, PaddedConv, UpConv
from evae_core.training.fused.extension import call, keep_memory, problem

__all__ = ["keep_memory", "losses", "problem", "supports", "why_not"]

POOL, SHUFFLE, KEEP = range(3)  # what follows a layer's norm, as in norms.h
# The layers that layers.cpp has, (channels in, channels out), in the encoder and in the decoder.
ENCODER, DECODER = ((3, 6), (6, 12), (12, 24), (24, 48)), ((48, 24), (24, 12), (12, 6), (6, 3))
SLACK = 16  # floats past the end of a map that C++ may read: _empty makes the maps


def supports(H: EnergyModel) -> bool:
    """Whether the energy pass knows all of ``H``; the energies of another are found by plain torch."""
    return isinstance(H, Hamiltonian) and H.plain


def why_not(model: VAE) -> str | None:
    """Why the passes do not know this network, whose layers they walk by position; None where they do."""
    encoder: list[Any] = list(model.encoder.convolutions)
    decoder: list[Any] = list(model.decoder.convolutions)
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
    pairs = [[tuple(conv.weight.shape[1::-1]) for conv in convs] for convs in (encoder[::4], up[::3])]
    if not set(pairs[0]) <= set(ENCODER) or not set(pairs[1]) <= set(DECODER) or len(pairs[0]) < 2:
        return f"the filters of its layers are {pairs[0]} and {pairs[1]}; there are passes for {ENCODER} and {DECODER}"
    return None


def _empty(n: int, channels: int, height: int, width: int) -> Tensor:
    """A float32 map (n, channels, height, width), channels last in memory, with SLACK floats behind it."""
    size = n * channels * height * width
    floats = torch.empty(size + SLACK, dtype=torch.float32, device="cpu")
    return floats[:size].view(n, height, width, channels).permute(0, 3, 1, 2)


class _Pad(torch.autograd.Function):
    """x (n, c, h, w) with the sample's margin of 1, channels last; the next layer sees to the margin's gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, pad: Any) -> Tensor:
        n, c, h, w = x.shape
        return _empty(n, c, h + 2, w + 2).copy_(pad(x, 1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dout: Any) -> Any:
        return dout[:, :, 1:-1, 1:-1], None


class _Layer(torch.autograd.Function):
    """Convolution of ``x``, which has its margin, batch norm in training mode, leaky ReLU and what ``kind`` says.

    ``weight`` (out, in, 5, 5); the result has a margin of ``r``. POOL: a 5x5 convolution and the 2x2 maximum. SHUFFLE:
    the convolution of the map upsampled by 2, see UpConv. KEEP: the same, its channels (row parity, column parity,
    channel) left on the half-size lattice.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, gain: Tensor, bias: Tensor, norm: Any, kind: int, r: int,
                periodic: Axes, slope: float) -> Tensor:
        (n, c_in, h, w), c, margin = x.shape, len(weight), 2 if kind == POOL else 1
        h, w = h - 2 * margin, w - 2 * margin
        convolved = c if kind == POOL else 4 * c
        y = _empty(n, convolved, h + 2 * margin, w + 2 * margin)
        mean, inverse = weight.new_empty(2, c)
        height, width = {POOL: (h // 2, w // 2), SHUFFLE: (2 * h, 2 * w), KEEP: (h, w)}[kind]
        out = _empty(n, convolved if kind == KEEP else c, height + 2 * r, width + 2 * r)
        ctx.layer, ctx.shape = (c_in, c, kind), (n, h, w, r, periodic)
        ctx.slope, ctx.spent, ctx.margin = float(slope), False, r
        weight = weight.contiguous()
        call("layer_forward", *ctx.layer, x, *ctx.shape, weight, gain, bias, float(norm.eps), ctx.slope,
             float(norm.momentum), y, mean, inverse, norm.running_mean, norm.running_var, out)
        norm.num_batches_tracked += 1
        ctx.save_for_backward(x, y, weight, gain, bias, mean, inverse)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dout: Any) -> Any:
        x, y, weight, gain, bias, mean, inverse = ctx.saved_tensors
        if ctx.spent:
            raise RuntimeError("the fused losses can be differentiated once only: their maps are overwritten")
        ctx.spent = True
        if not ctx.margin:  # it comes from a dense layer, which keeps channels first
            dout = _empty(*dout.shape).copy_(dout)
        # The first layer's x are the spins that the network is given, of which no gradient is made.
        dx = _empty(*x.shape) if ctx.needs_input_grad[0] and ctx.layer[0] > 3 else None
        dweight, dgain, dbias = (torch.empty_like(one) for one in (weight, gain, bias))
        call("layer_backward", *ctx.layer, x, y, *ctx.shape, weight, gain, bias, ctx.slope, mean, inverse, dout, dx,
             dweight, dgain, dbias)
        return dx, dweight, dgain, dbias, None, None, None, None, None


class _Output(torch.autograd.Function):
    """The last convolution (3, 3, 5, 5) of ``x`` (n, 12, Ny/2 + 2, Nx/2 + 2): v of that shape, its margin undefined."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, periodic: Axes) -> Tensor:
        n, c, h, w = x.shape
        v, weight = _empty(n, c, h, w), weight.contiguous()
        ctx.shape = n, h - 2, w - 2, periodic
        call("output_forward", x, *ctx.shape, weight, bias, v)
        ctx.save_for_backward(x, weight)
        return v

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dv: Any) -> Any:
        x, weight = ctx.saved_tensors
        dx, dweight, dbias = _empty(*x.shape), torch.empty_like(weight), weight.new_empty(3)
        call("output_backward", x, dv.contiguous(memory_format=torch.channels_last), *ctx.shape, weight, dx, dweight,
             dbias)
        return dx, dweight, dbias, None


class _Spins(torch.autograd.Function):
    """Sums of squared chords and of energies (float32 scalars) of the unit spins that ``v`` of _Output gives.

    ``target`` (n, 3, Ny, Nx); ``mask`` (Ny, Nx) or None.
    """

    @staticmethod
    def forward(ctx: Any, v: Any, target: Tensor, hamiltonian: Hamiltonian, mask: Any) -> Any:
        target = target.contiguous()
        n, _, ny, nx = target.shape
        bonds = torch.from_numpy(hamiltonian.bond_matrices).float()
        spins, inverse = target.new_empty(n, 3, ny + 2, nx + 2), target.new_empty(n, ny, nx)
        chords, energies = target.new_empty(2, n, dtype=torch.float64)
        call("spins_forward", v, target, mask, n, ny, nx, hamiltonian.periodic_axes, bonds, hamiltonian.B,
             hamiltonian.K, spins, inverse, chords, energies)
        ctx.hamiltonian = hamiltonian
        ctx.save_for_backward(spins, inverse, target, bonds)
        return chords.sum().float(), energies.sum().float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, chord: Any, energy: Any) -> Any:
        spins, inverse, target, bonds = ctx.saved_tensors
        n, _, ny, nx = target.shape
        dv = _empty(n, 12, ny // 2 + 2, nx // 2 + 2)
        call("spins_backward", spins, inverse, target, n, ny, nx, bonds, ctx.hamiltonian.B, ctx.hamiltonian.K,
             2 * float(chord), float(energy), dv)
        return dv, None, None, None


def losses(model: VAE, batch: Tensor, hamiltonian: EnergyModel, beta: float, gamma: float,
           generator: torch.Generator | None = None) -> Losses:
    """:meth:`VAE.losses` of a model in training mode; ``batch`` (n >= 2, 3, Ny, Nx) float32 on the CPU.

    Raises
    ------
    TypeError, ValueError
        a model or batch that is not float32 on the CPU, a batch of another size, a model in evaluation mode, or one
        that the passes do not know (:func:`why_not`).
    """
    for name, tensor in (("the model", model.encoder.mu.weight), ("batch", batch)):
        if tensor.dtype != torch.float32 or tensor.device.type != "cpu":
            raise TypeError(f"{name} must be float32 on the CPU for the fused losses, got {tensor.dtype} on "
                            f"{tensor.device}")
    if batch.ndim != 4 or tuple(batch.shape[1:]) != (3, *model.size):
        raise ValueError(f"batch must have shape (n, 3, {model.size[0]}, {model.size[1]}) for the fused losses of this "
                         f"model, got {tuple(batch.shape)}")
    if problem := why_not(model):
        raise ValueError(f"the fused losses do not know this network: {problem}")
    if not model.training:
        raise ValueError("the fused losses are those of training: call model.train(), or use model.losses")
    periodic, encoder = model.periodic_axes, model.encoder
    decoder: Any = model.decoder
    n, _, ny, nx = batch.shape
    batch = batch.contiguous()
    maps = _empty(n, 3, ny + 4, nx + 4)
    call("pack", batch, n, ny, nx, periodic, maps)
    layers = list(encoder.convolutions)
    for k in range(0, len(layers), 4):
        conv, norm, activation = layers[k:k + 3]
        margin = 2 if k + 4 < len(layers) else 0
        maps = _Layer.apply(maps, conv.weight, norm.weight, norm.bias, norm, POOL, margin, periodic,
                            activation.negative_slope)
    mu, logvar = (one.float() for one in encoder.heads(encoder.dense(maps)))  # under autocast they are bfloat16
    noise = torch.randn(mu.shape, generator=generator, dtype=mu.dtype)
    low = decoder.dense(mu + (0.5 * logvar).exp() * noise).float()

    *layers, output = decoder.convolutions
    maps = _Pad.apply(low, layers[0].pad)
    for k in range(0, len(layers), 3):
        conv, norm, activation = layers[k:k + 3]
        maps = _Layer.apply(maps, conv.weight, norm.weight, norm.bias, norm, KEEP if k + 3 == len(layers) else SHUFFLE,
                            1, periodic, activation.negative_slope)
    v = _Output.apply(maps, output.weight, output.bias, periodic)
    if not isinstance(hamiltonian, Hamiltonian) or not supports(hamiltonian):
        spins = v[:, :, 1:-1, 1:-1].unflatten(1, (2, 2, 3)).permute(0, 3, 4, 1, 5, 2).reshape(n, 3, ny, nx)
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
