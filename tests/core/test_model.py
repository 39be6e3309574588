"""The network against the plain layers it stands for, and the losses against their definitions."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from evae_core import VAE, Hamiltonian
from evae_core.bonds import padded
from evae_core.losses import energy_loss, kl_loss, reconstruction_loss
from evae_core.model import LOGVAR_MOST, UpConv, bounded, layer_shapes

H = Hamiltonian(D=0.6, B=0.2)


def batch(n=4, ny=32, nx=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(n, 3, ny, nx, generator=generator), dim=1)


AXES = [(True, True), (False, False), (False, True), (True, False)]


@pytest.mark.parametrize("periodic", AXES)
def test_margins(periodic):
    """Every site of the margin: what lies there on a periodic axis, 0 beyond an open edge."""
    x = torch.rand(2, 3, 4, 5) + 1
    for v, u in np.ndindex(8, 9):
        there = (periodic[0] or 0 <= v - 2 < 4) and (periodic[1] or 0 <= u - 2 < 5)
        expected = x[:, :, (v - 2) % 4, (u - 2) % 5] if there else torch.zeros(2, 3)
        assert torch.equal(padded(x, 2, periodic)[:, :, v, u], expected)


@pytest.mark.parametrize("periodic", AXES)
def test_collapsed_upsampling_is_the_plain_one(periodic):
    """Upsample 2x2, pad by 2, convolve 5x5: the same map and the same gradients, to float64 rounding."""
    pad = partial(padded, periodic=periodic)
    layer = UpConv(6, 3, pad).double()
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64, requires_grad=True)
    plain = F.conv2d(pad(F.interpolate(x, scale_factor=2, mode="nearest"), 2), layer.weight)
    fast = layer(x)
    torch.testing.assert_close(fast, plain, rtol=1e-12, atol=1e-12)
    weights = torch.randn_like(plain)
    expected = torch.autograd.grad((plain * weights).sum(), (x, layer.weight))
    found = torch.autograd.grad((fast * weights).sum(), (x, layer.weight))
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


def plain_vae_parameters(width):
    """Number of weights of section 4 of the paper's network at a flattened width (no bias before a batch norm)."""
    conv = sum(25 * a * b + 2 * b for a, b in ((3, 6), (6, 12), (12, 24), (24, 48)))
    up = sum(25 * a * b + 2 * b for a, b in ((48, 24), (24, 12), (12, 6), (6, 3))) + 25 * 9 + 3
    dense = width * width + 2 * width + width * 512 + 512 + 2 * (512 * 100 + 100)
    back = 100 * 512 + 2 * 512 + 512 * width + 2 * width
    return conv + up + dense + back


@pytest.mark.parametrize("size, width", [(32, 192), (64, 768), (128, 3072), ((16, 64), 192)])
def test_layers_of_the_paper(size, width):
    model = VAE(size)
    assert sum(p.numel() for p in model.parameters()) == plain_vae_parameters(width)
    filters = [m.out_channels for m in model.encoder.convolutions if isinstance(m, nn.Conv2d)]
    assert filters == [6, 12, 24, 48]
    assert [m.weight.shape[0] for m in model.decoder.convolutions if isinstance(m, UpConv)] == [24, 12, 6, 3]


def test_the_shapes_of_the_layers_are_those_of_the_paper():
    model = VAE(128).train()
    encoder, decoder = layer_shapes(model)
    down = [("conv", (n, side, side)) for n, side in ((6, 64), (12, 32), (24, 16), (48, 8))]
    up = [("conv", (n, side, side)) for n, side in ((24, 16), (12, 32), (6, 64), (3, 128), (3, 128))]
    assert encoder == [*down, ("dense", (3072,)), ("dense", (512,)), ("heads", (100,))]
    assert decoder == [("dense", (512,)), ("dense", (3072,)), *up]
    assert model.training and not any(module._forward_hooks for module in model.modules())


def test_outputs_are_unit_spins_and_shapes_fit():
    model = VAE((32, 48))
    x_out, mu, logvar = model(batch(3, 32, 48))
    assert x_out.shape == (3, 3, 32, 48) and mu.shape == logvar.shape == (3, 100)
    torch.testing.assert_close(torch.linalg.vector_norm(x_out, dim=1), torch.ones(3, 32, 48))
    assert model.eval().generate(2, torch.Generator().manual_seed(0)).shape == (2, 3, 32, 48)


@pytest.mark.parametrize("boundary, equivariant", [
    ("periodic", (True, True)), ("open", (False, False)), (("open", "periodic"), (False, True)),
    (("periodic", "open"), (True, False))])
def test_padding_follows_the_boundary(boundary, equivariant):
    """A shift by 16 sites passes through four poolings, and 1 through four upsamplings, along a periodic axis."""
    model = VAE((32, 48), boundary=boundary).eval()
    x, low = batch(1, 32, 48), torch.randn(1, 48, 2, 3, generator=torch.Generator().manual_seed(0))
    for axis, same in zip((-2, -1), equivariant, strict=True):
        shifted = model.encoder.convolutions(x.roll(16, axis))
        assert torch.allclose(shifted, model.encoder.convolutions(x).roll(1, axis), atol=1e-5) is same
        shifted = model.decoder.convolutions(low.roll(1, axis))
        assert torch.allclose(shifted, model.decoder.convolutions(low).roll(16, axis), atol=1e-5) is same
    with pytest.raises(ValueError, match="another boundary"):
        model.loss(batch(2, 32, 48), Hamiltonian(boundary=(("open",) * 2, ("periodic",) * 2)[boundary == "open"]), 0, 0)


def test_masked_sample():
    mask = torch.zeros(32, 32, dtype=torch.bool)
    mask[4:28, 8:24] = True
    cut = Hamiltonian(D=0.6, B=0.2, boundary=mask)
    spins = batch() * mask
    model = VAE(32, boundary=mask)
    assert (model(spins)[0][:, :, ~mask] == 0).all()
    assert model.sites == int(mask.sum())
    assert all(torch.isfinite(value) for value in model.loss(spins, cut, 1e-3, 1.0))


def test_losses_by_definition():
    a, b = batch(seed=1), batch(seed=2)
    chord = sum(float((a[n, :, y, x] - b[n, :, y, x]).square().sum())
                for n in range(2) for y in range(32) for x in range(32))
    assert float(reconstruction_loss(a[:2], b[:2], 1024)) == pytest.approx(chord / (2 * 1024), rel=1e-5)
    mu, logvar = torch.randn(5, 100), torch.randn(5, 100)
    gauss = torch.distributions.Normal(mu, (0.5 * logvar).exp())
    prior = torch.distributions.Normal(0.0, 1.0)
    exact = torch.distributions.kl_divergence(gauss, prior).sum(1).mean()
    torch.testing.assert_close(kl_loss(mu, logvar), exact, rtol=1e-5, atol=1e-4)
    expected = (float(H.energy(a.double()).mean()) - H.reference_energy((32, 32))) / 1024 * (0.3 / 0.6) ** 2
    assert float(energy_loss(H, a)) == pytest.approx(expected, rel=1e-4)


def test_log_variance_is_bounded_and_can_come_back():
    """What Adam can do to the head of log sigma^2 in one step: L_KL stays finite, its gradient points back, and small
    values are left alone."""
    x = torch.linspace(-40, 60, 101, dtype=torch.float64, requires_grad=True)
    y = bounded(x)
    assert float(y.detach().max()) <= LOGVAR_MOST and bool((y.diff() >= 0).all())
    torch.testing.assert_close(y[x < LOGVAR_MOST - 10], x[x < LOGVAR_MOST - 10], rtol=1e-4, atol=1e-4)
    kl_loss(torch.zeros_like(x)[None], y[None]).backward()
    high = x > 5
    assert bool((x.grad[high] > 0).all())  # down again, however far up
    model = VAE(32).train()
    with torch.no_grad():
        model.encoder.logvar.weight.mul_(1e3)
    losses = model.loss(batch(), H, 1e-3, 1.0)
    assert float(losses.kl.detach()) < 1e5
    losses.total.backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in model.parameters())


def test_energy_loss_of_known_states():
    up = torch.zeros(2, 3, 32, 32)
    up[:, 2] = 1
    assert float(energy_loss(H, up)) == pytest.approx(-0.2 / 4, abs=1e-6)  # -B (0.3/D)^2
    assert float(energy_loss(Hamiltonian(), up)) == pytest.approx(-0.05, abs=1e-6)
    assert float(energy_loss(Hamiltonian(D=0.0, B=0.1), up)) == pytest.approx(-0.1, abs=1e-6)


def test_doubling_the_batch_leaves_the_loss_unchanged():
    model, x = VAE(32).eval(), batch()
    with torch.no_grad():
        mu, logvar = model.encode(x)
        out = model.decode(mu)
    twice = [torch.cat([t, t]) for t in (x, out, mu, logvar)]
    torch.testing.assert_close(reconstruction_loss(twice[0], twice[1], 1024), reconstruction_loss(x, out, 1024))
    torch.testing.assert_close(kl_loss(twice[2], twice[3]), kl_loss(mu, logvar))
    torch.testing.assert_close(energy_loss(H, twice[1]), energy_loss(H, out))


@pytest.mark.parametrize("beta, gamma", [(0.0, 0.0), (1e-3, 0.0), (0.0, 10.0), (0.1, 100.0)])
def test_total_is_the_weighted_sum_and_reaches_every_weight(beta, gamma):
    torch.manual_seed(0)
    model = VAE(32)
    losses = model.loss(batch(), H, beta, gamma)
    torch.testing.assert_close(losses.total, losses.reconstruction + beta * losses.kl + gamma * losses.energy)
    losses.total.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_energy_gradient_is_the_hamiltonians():
    """d(gamma L_H)/d(spins) = -gamma h (0.3/D)^2 / (N n)."""
    x = batch(2).double().requires_grad_()
    (gradient,) = torch.autograd.grad(7.0 * energy_loss(H, x), x)
    torch.testing.assert_close(gradient, -7.0 * H.field(x) * 0.25 / (1024 * 2))


def test_noise_comes_from_the_generator_alone():
    torch.manual_seed(0)
    model, x = VAE(32).eval(), batch()
    one, two, three = (model(x, torch.Generator().manual_seed(s))[0] for s in (1, 1, 2))
    assert torch.equal(one, two) and not torch.equal(one, three)


@pytest.mark.parametrize("size", [8, 100, 0, -16, (32, 40)])
def test_bad_sizes(size):
    with pytest.raises(ValueError, match="multiple of 16"):
        VAE(size)


@pytest.mark.parametrize("size", [(32, 32, 32), (32.0, 32)])
def test_sizes_of_the_wrong_kind(size):
    with pytest.raises(TypeError, match="size"):
        VAE(size)


def test_bad_batches():
    model = VAE(32)
    for bad in (batch(ny=48), batch()[0], 2 * batch()):
        with pytest.raises(ValueError, match="spins"):
            model.loss(bad, H, 1e-3, 1.0)
    with pytest.raises(ValueError, match="boundary"):
        model.loss(batch(), Hamiltonian(D=0.6, boundary="open"), 1e-3, 1.0)
    with pytest.raises(ValueError, match="eval"):
        model.generate(2)
    for call, error, word in ((lambda: model.decode(torch.zeros(2, 99)), ValueError, "z must"),
                              (lambda: model.encode(batch(ny=48)), ValueError, "spins"),
                              (lambda: model.loss(batch()[:0], H, 1.0, 1.0), ValueError, "empty"),
                              (lambda: model.loss(batch().double(), H, 1.0, 1.0), TypeError, "dtype")):
        with pytest.raises(error, match=word):
            call()
