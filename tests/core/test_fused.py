"""The compiled kernels against the plain layers in float64, and the library they come from."""

import ctypes
import subprocess
import sys

import pytest
import torch
from reference_step import plain
from torch.nn import functional as F

from evae_core import VAE, Hamiltonian
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
    ((64, 64), dict(D=0.0, B=0.1)), ((32, 16), dict(D=0.6, B=0.2, further=FURTHER)),
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
def test_bfloat16_maps_are_close(same_noise):
    H = Hamiltonian(D=0.6, B=0.2)
    torch.manual_seed(1)
    model, batch = VAE(32).train(), spins(8, 32, 32)
    exact = plain(model)
    found = fused.losses(model, batch, H, 1e-3, 10.0, dtype=torch.bfloat16)
    for a, b in zip(found, exact.losses(batch, H, 1e-3, 10.0), strict=True):
        assert a.item() != b.item() and a.item() == pytest.approx(b.item(), rel=1e-2, abs=1e-3)
    found.total.backward()
    assert all(p.grad.dtype == torch.float32 and torch.isfinite(p.grad).all() for p in model.parameters())


@needs_compiler
def test_bfloat16_is_rounded_as_torch_does():
    bits = torch.randint(-2**31, 2**31 - 1, (4, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    x = bits.to(torch.int32).view(torch.float32)
    x[0, 0, 0, :3] = torch.tensor([float("nan"), float("inf"), -float("inf")])
    out = fused._empty(4, 3, 20, 20, torch.bfloat16)
    call("pack", torch.bfloat16, x, 4, out, 16, 16, 2, 1)
    expected = F.pad(x, (2,) * 4, mode="circular").to(torch.bfloat16)
    torch.testing.assert_close(out, expected, rtol=0, atol=0, equal_nan=True)


@needs_compiler
def test_the_kernels_bytes_do_not_depend_on_the_threads():
    y = fused._last(torch.randn(7, 6, 32, 32, generator=torch.Generator().manual_seed(0)))
    weight, bias, before, found = torch.ones(6), torch.zeros(6), torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            norm = torch.nn.BatchNorm2d(6)
            one = y.clone(memory_format=torch.channels_last).requires_grad_()
            w, b = weight.clone().requires_grad_(), bias.clone().requires_grad_()
            out = fused._Norm.apply(one, w, b, norm, "pool", 2, True, 0.1)
            (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
            found.append((out, one.grad, w.grad, b.grad, norm.running_var))
        finally:
            torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


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
                            (VAE(16).eval(), batch, ValueError)):
        with pytest.raises(error, match="fused"):
            fused.losses(model, x, H, 1e-3, 1.0)
    with pytest.raises(ValueError, match="channels"):
        call("pool", torch.float32, batch, 1, *[torch.ones(5)] * 4, 0.1, batch, 8, 8, 5, 0, 1)


def test_halved_convolution_is_the_whole_one():
    weight = torch.randn(3, 3, 5, 5, dtype=torch.float64)
    x = torch.randn(2, 3, 8, 12, dtype=torch.float64)
    whole = F.conv2d(F.pad(x, (2,) * 4, mode="circular"), weight)

    def phases(maps):  # (row parity, column parity, channel), as the kernels order them
        return F.pixel_unshuffle(maps, 2).unflatten(1, (3, 4)).transpose(1, 2).flatten(1, 2)

    half = F.conv2d(F.pad(phases(x), (1,) * 4, mode="circular"), fused.halved(weight))
    torch.testing.assert_close(half, phases(whole), rtol=1e-12, atol=1e-12)


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
