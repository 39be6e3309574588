"""The compiled kernels against the plain layers in float64, and the library they come from."""

import ctypes
import subprocess
import sys

import pytest
import torch
from reference_step import plain
from torch.nn import functional as F

from evae_core import VAE, Hamiltonian
from evae_core.bonds import padded
from evae_core.presets import VAEConfig
from evae_core.training import fused
from evae_core.training.fused.extension import FUSED, call

needs_compiler = pytest.mark.skipif(fused.problem() is not None, reason=str(fused.problem()))
FURTHER = [(1, 1, -0.4), (1, 2, 0.3, (0.1, 0.2, -0.3))]
MASK = torch.zeros(32, 32, dtype=torch.bool)
MASK[4:28, 8:24] = True


def spins(n, ny, nx, seed=0):
    return F.normalize(torch.randn(n, 3, ny, nx, generator=torch.Generator().manual_seed(seed)), dim=1)


@pytest.fixture
def same_noise(monkeypatch):
    """epsilon is the same numbers for a float32 and a float64 model."""
    noise, draw = torch.randn(8, 100, generator=torch.Generator().manual_seed(9)), torch.randn
    monkeypatch.setattr(torch, "randn", lambda *shape, dtype=torch.float32, **how:
                        noise.to(dtype) if shape[0] == (8, 100) else draw(*shape, dtype=dtype, **how))


@needs_compiler
@pytest.mark.parametrize("size, system", [
    ((32, 32), dict(D=0.6, B=0.2)), ((16, 16), dict(D=0.6, B=0.2)), ((16, 48), dict(J=1.3, D=0.3, K=0.2, dmi="neel")),
    ((48, 16), dict(D=0.6, B=0.2, boundary="open")), ((32, 32), dict(D=0.6, B=0.2, K=-0.1, boundary=MASK)),
    ((64, 64), dict(D=0.0, B=0.1)), ((16, 48), dict(D=0.6, B=0.2, boundary=("open", "periodic"))),
    ((32, 16), dict(D=0.6, B=0.2, K=0.1, dmi="neel", boundary=("periodic", "open"))),
    ((32, 32), dict(D=0.6, B=0.2, boundary=("open", "periodic"), further=FURTHER)),
    ((32, 16), dict(D=0.6, B=0.2, further=FURTHER)),
    ((32, 32), dict(D=0.6, B=0.2, boundary=MASK, further=FURTHER))])
@pytest.mark.parametrize("gamma", [0.0, 10.0])
def test_losses_gradients_and_averages_are_the_plain_layers(size, system, gamma, same_noise):
    """Twice over, so that the second step sees the first one's running averages.

    Gradients of random weights on random spins nearly cancel: the measure is what float32 costs the plain layers.
    """
    H = Hamiltonian(**system)
    torch.manual_seed(1)
    model = VAE(size, boundary=H.boundary).train()
    with torch.no_grad():  # a batch norm may turn the sign of a channel, and its maximum with it
        for norm in (model.encoder.convolutions[1], model.encoder.convolutions[9], model.decoder.convolutions[4]):
            norm.weight[::2] *= -1.5
            norm.bias += 0.3 * torch.randn_like(norm.bias)
    exact, single, batch = plain(model).double(), plain(model), spins(8, *size)
    if H.mask is not None:
        batch = batch * MASK
    for _ in range(2):
        for one in (model, exact, single):
            one.zero_grad()
        found, expected = fused.losses(model, batch, H, 1e-3, gamma), exact.losses(batch.double(), H, 1e-3, gamma)
        for name, a, b in zip(found._fields, found, expected, strict=True):
            assert a.dtype == torch.float32 and a.shape == ()
            torch.testing.assert_close(a.double(), b, rtol=3e-6, atol=1e-6, msg=name)
        for losses in (found, expected, single.losses(batch, H, 1e-3, gamma)):
            losses.total.backward()
    for (name, p), q, r in zip(model.named_parameters(), exact.parameters(), single.parameters(), strict=True):
        error, usual = (float((one.grad - q.grad).norm()) for one in (p, r))
        assert error <= 5 * usual + 2e-3 * float(q.grad.norm()), name
    for name, value in exact.state_dict().items():
        if "running" in name or "tracked" in name:
            found = model.state_dict()[name].double()
            torch.testing.assert_close(found, value.double(), rtol=1e-5, atol=1e-6, msg=name)


@needs_compiler
def test_bfloat16_products_are_close(same_noise):
    H = Hamiltonian(D=0.6, B=0.2)
    torch.manual_seed(1)
    model, batch = VAE(32).train(), spins(8, 32, 32)
    exact = plain(model)
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        found = fused.losses(model, batch, H, 1e-3, 10.0)
    for a, b in zip(found, exact.losses(batch, H, 1e-3, 10.0), strict=True):
        assert a.dtype == torch.float32 and a.item() != b.item()
        assert a.item() == pytest.approx(b.item(), rel=1e-2, abs=1e-3)
    found.total.backward()
    assert all(p.grad.dtype == torch.float32 and torch.isfinite(p.grad).all() for p in model.parameters())


@needs_compiler
@pytest.mark.parametrize("filters", [(6, 12), (6, 12, 24, 48)])
@pytest.mark.parametrize("frozen", [(), ("encoder.convolutions.0.", "encoder.convolutions.1."),
                                    ("encoder.", "decoder.dense.")])
def test_networks_with_fewer_layers_and_with_frozen_ones(filters, frozen, same_noise, monkeypatch):
    """Also: what C++ reads in vectors, a layer's input and the gradient of its output, has SLACK floats behind it."""
    rooms = []

    def call(name, *args, plain=fused.call):
        for x in {"layer_forward": args[3:4], "layer_backward": args[3:17:13]}.get(name, ()):
            rooms.append(x.untyped_storage().nbytes() // 4 - x.storage_offset() - x.numel())
        plain(name, *args)

    monkeypatch.setattr(fused, "call", call)
    torch.manual_seed(1)
    model, batch = VAE(16, config=VAEConfig(filters=filters)).train(), spins(8, 16, 16)
    for name, p in model.named_parameters():
        p.requires_grad_(not name.startswith(frozen) if frozen else True)
    exact, single = plain(model).double(), plain(model)
    for one, losses in ((model, fused.losses), (exact, VAE.losses), (single, VAE.losses)):
        x = batch.double() if one is exact else batch
        losses(one, x, Hamiltonian(D=0.6, B=0.2), 1e-3, 10.0).total.backward()
    for (name, p), q, r in zip(model.named_parameters(), exact.parameters(), single.parameters(), strict=True):
        assert (p.grad is None) == (not p.requires_grad), name
        if p.requires_grad:
            error, usual = (float((one.grad - q.grad).norm()) for one in (p, r))
            assert error <= 5 * usual + 2e-3 * float(q.grad.norm()), name
    assert len(rooms) > 2 * len(filters) and min(rooms) >= fused.SLACK


@needs_compiler
def test_the_default_dtype_changes_nothing():
    """A session in float64, with a model in float32."""
    torch.manual_seed(1)
    model, batch, found = VAE(16).train(), spins(4, 16, 16), []
    for dtype in (torch.float32, torch.float64):
        model.zero_grad()
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            draw = torch.Generator().manual_seed(2)
            losses = fused.losses(model, batch, Hamiltonian(D=0.6), 1e-3, 1.0, draw)
            losses.total.backward()
        finally:
            torch.set_default_dtype(before)
        found.append([*losses, *(p.grad for p in model.parameters())])
    assert all(a.dtype == torch.float32 and torch.equal(a, b) for a, b in zip(*found, strict=True))


BOTH, NONE, X, Y = (True, True), (False, False), (False, True), (True, False)  # periodic along (y, x)


def with_margin(x, r, periodic=BOTH):
    """x with its margin, channels last, as the layers take it."""
    n, c, h, w = x.shape
    return fused._empty(n, c, h + 2 * r, w + 2 * r).copy_(padded(x, r, periodic))


def inside(x, r):
    return x[:, :, r:x.shape[2] - r, r:x.shape[3] - r]


def layer(x, weight, gain, bias, norm, kind, periodic, slope):
    """One layer in the obvious way, in float64; the norm's running averages are updated."""
    if kind != fused.POOL:
        x = F.interpolate(x, scale_factor=2, mode="nearest")
    y = F.conv2d(padded(x, 2, periodic), weight)
    y = F.leaky_relu(F.batch_norm(y, norm.running_mean, norm.running_var, gain, bias, True, norm.momentum, norm.eps),
                     slope)
    if kind == fused.POOL:
        return F.max_pool2d(y, 2)
    return y if kind == fused.SHUFFLE else phases(y)


def phases(maps):
    """The doubled lattice's maps on the lattice itself: channels (row parity, column parity, channel)."""
    return F.pixel_unshuffle(maps, 2).unflatten(1, (maps.shape[1], 4)).transpose(1, 2).flatten(1, 2)


LAYERS = [*((*pair, fused.POOL) for pair in fused.ENCODER), *((*pair, fused.SHUFFLE) for pair in fused.DECODER[:-1]),
          (*fused.DECODER[-1], fused.KEEP)]


@needs_compiler
@pytest.mark.parametrize("c_in, c, kind", LAYERS)
@pytest.mark.parametrize("height, width, n, periodic", [
    (4, 4, 2, BOTH), (4, 6, 9, BOTH), (8, 4, 8, NONE), (10, 12, 3, BOTH), (4, 26, 17, NONE), (48, 48, 2, BOTH),
    (4, 6, 3, X), (6, 4, 3, Y)])
def test_a_layer_is_the_plain_one(c_in, c, kind, height, width, n, periodic):
    """Values, gradients of input, weights, gain and bias, and running averages, against float64."""
    draw = torch.Generator().manual_seed(c_in + height)
    x = torch.randn(n, c_in, height, width, generator=draw)
    weight = torch.randn(c, c_in, 5, 5, generator=draw) / (5 * c_in**0.5)
    gain, bias = torch.randn(2, c, generator=draw)
    norm, exact_norm = torch.nn.BatchNorm2d(c), torch.nn.BatchNorm2d(c).double()
    margin = 0 if c == 48 else 1 if kind != fused.POOL else 2
    given = [with_margin(x, 2 if kind == fused.POOL else 1, periodic), weight, gain, bias]
    exact = [x.double(), weight.double(), gain.double(), bias.double()]
    for one in (*given, *exact):
        one.requires_grad_()
    out = fused._Layer.apply(*given, norm, kind, margin, periodic, 0.1)
    wanted = layer(*exact, exact_norm, kind, periodic, 0.1)
    torch.testing.assert_close(inside(out, margin).double(), wanted, rtol=1e-4, atol=2e-5)
    if margin:
        torch.testing.assert_close(out, with_margin(inside(out, margin), margin, periodic), rtol=0, atol=0)
    dout = torch.randn(wanted.shape, generator=draw)
    out.backward(with_margin(dout, margin, periodic))
    wanted.backward(dout.double())
    assert (given[0].grad is None) == (c_in == 3)  # nobody asks for the gradient of the spins that the network is given
    for name, one, b in zip(("input", "weight", "gain", "bias"), given, exact, strict=True):
        if one.grad is not None:
            a = one.grad if name != "input" else inside(one.grad, 2 if kind == fused.POOL else 1)
            assert float((a - b.grad).norm()) <= 1e-3 * float(b.grad.norm()) + 1e-5, name
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(getattr(norm, name).double(), getattr(exact_norm, name), rtol=1e-5, atol=1e-6)
    assert norm.num_batches_tracked == 1


@needs_compiler
@pytest.mark.parametrize("height, width, n, periodic", [(1, 1, 2, BOTH), (3, 5, 9, BOTH), (8, 8, 3, NONE),
                                                        (3, 5, 2, X), (3, 5, 2, Y)])
def test_the_output_layer_is_the_whole_convolution(height, width, n, periodic):
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(n, 3, 2 * height, 2 * width, generator=draw)
    weight, bias = torch.randn(3, 3, 5, 5, generator=draw), torch.randn(3, generator=draw)
    exact = [x.double(), weight.double(), bias.double()]
    given = [with_margin(phases(x), 1, periodic), weight, bias]
    for one in (*given, *exact):
        one.requires_grad_()
    v = fused._Output.apply(*given, periodic)
    wanted = F.conv2d(padded(exact[0], 2, periodic), *exact[1:])
    torch.testing.assert_close(inside(v, 1).double(), phases(wanted), rtol=1e-5, atol=1e-5)
    dv = torch.randn(n, 12, height, width, generator=draw)
    v.backward(with_margin(dv, 1))  # what stands in the margin does not count
    wanted.backward(F.pixel_shuffle(dv.unflatten(1, (4, 3)).transpose(1, 2).flatten(1, 2), 2).double())
    for a, b in ((inside(given[0].grad, 1), phases(exact[0].grad)), (weight.grad, exact[1].grad),
                 (bias.grad, exact[2].grad)):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-4)


@needs_compiler
@pytest.mark.parametrize("c_in, c, kind", LAYERS)
def test_the_bytes_do_not_depend_on_the_threads(c_in, c, kind):
    before, found, draw = torch.get_num_threads(), [], torch.Generator().manual_seed(0)
    x, weight = torch.randn(19, c_in, 8, 16, generator=draw), torch.randn(c, c_in, 5, 5, generator=draw)
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        try:
            norm, margin = torch.nn.BatchNorm2d(c), 2 if kind == fused.POOL else 1
            given = [with_margin(x, margin), weight.clone(), torch.ones(c), torch.zeros(c)]
            for one in given:
                one.requires_grad_()
            out = fused._Layer.apply(*given, norm, kind, 0 if c == 48 else margin, BOTH, 0.1)
            (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
            found.append((out, norm.running_var, *(one.grad for one in given[1:]),
                          *([inside(given[0].grad, margin)] if c_in > 3 else [])))
        finally:
            torch.set_num_threads(before)
    assert all(torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(*found, strict=True))


@needs_compiler
def test_not_a_number_stays_visible():
    model = VAE(16).train()
    with torch.no_grad():
        model.encoder.convolutions[0].weight[0, 0, 0, 0] = float("nan")
    losses = fused.losses(model, spins(4, 16, 16), Hamiltonian(D=0.6), 1e-3, 1.0)
    assert torch.isnan(losses.total)


@needs_compiler
def test_a_second_backward_is_refused():
    total = fused.losses(VAE(16).train(), spins(4, 16, 16), Hamiltonian(D=0.6), 1e-3, 1.0).total
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="once"):
        total.backward()


@needs_compiler
def test_what_the_kernels_cannot_take_is_refused():
    """They are given addresses: another type would be read as something else."""
    H, batch = Hamiltonian(D=0.6), spins(4, 16, 16)
    for model, x, error in ((VAE(16).double(), batch.double(), TypeError), (VAE(16), batch.double(), TypeError),
                            (VAE(16).eval(), batch, ValueError), (VAE(16), batch[:, :2], ValueError),
                            (VAE(16), spins(4, 16, 32), ValueError)):
        with pytest.raises(error, match="fused"):
            fused.losses(model, x, H, 1e-3, 1.0)
    with pytest.raises(ValueError, match="channels"):
        call("layer_forward", 5, 7, fused.POOL)


@needs_compiler
def test_a_second_process_finds_the_library(tmp_path, monkeypatch):
    monkeypatch.setenv("EVAE_CACHE", str(tmp_path / "cache"))
    done = []
    monkeypatch.setattr(subprocess, "run", lambda command, run=subprocess.run, **how:
                        done.append(command) or run(command, **how))
    for _ in range(2):
        assert isinstance(FUSED.load(), ctypes.CDLL)
    (made,) = (tmp_path / "cache").glob("*.so")
    assert made.suffix == ".so" and sum("-E" not in command for command in done) == 1


@pytest.mark.parametrize("compiler, said", [("/nowhere/c++", "/nowhere/c\\+\\+ not found"), ("false", "false failed")])
def test_without_a_compiler(compiler, said, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", compiler)
    monkeypatch.setenv("EVAE_CACHE", str(tmp_path))
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(FUSED.load())
    assert not list(tmp_path.iterdir())


def test_without_a_compiler_one_line_is_said(tmp_path):
    """A whole process: the default step at 64 x 64 runs uncompiled, and says so once."""
    code = ("import torch; from evae_core import Hamiltonian, training\n"
            "steps = [training.make_step(64, Hamiltonian(), 1e-3, 1.0, 'cpu') for _ in range(2)]\n"
            "assert {step.mode for step in steps} == {'eager'}\n"
            "spins = torch.zeros(2, 3, 64, 64); spins[:, 2] = 1; steps[0](spins)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300,
                          env={"CXX": "/nowhere/c++", "EVAE_CACHE": str(tmp_path), "PATH": "/usr/bin:/bin",
                               "PYTHONPATH": ":".join(sys.path)})
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.splitlines()) == 1 and "/nowhere/c++ not found" in done.stderr


@needs_compiler
def test_state_dicts_are_the_same_for_fast_and_plain():
    model = VAE(32)
    fast, slow = ({name: value.shape for name, value in m.state_dict().items()} for m in (model, plain(model)))
    assert fast == slow
