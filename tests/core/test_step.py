"""One optimiser step in each of its forms."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from evae_core import VAE, Hamiltonian
from evae_core.training import SpinData, Stage, fused, step, train_stage
from evae_core.training.step import make_step, numerics

H = Hamiltonian(D=0.6, B=0.2)
needs_compiler = pytest.mark.skipif(fused.problem() is not None, reason=str(fused.problem()))


def batch(n=8, size=32):
    return F.normalize(torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(0)), dim=1)


@needs_compiler
@pytest.mark.parametrize("boundary", ["periodic", ("open", "periodic"), ("periodic", "open")])
def test_compiled_steps_are_the_uncompiled_ones(boundary):
    """Losses step by step; the weights drift apart only as fast as Adam amplifies rounding."""
    H = Hamiltonian(D=0.6, B=0.2, boundary=boundary)
    one, two = (make_step(32, H, 1e-3, 10.0, "cpu", seed=5, fused=compiled) for compiled in (False, True))
    assert (one.mode, two.mode) == ("eager", "compiled")
    for number in range(5):
        a, b = torch.stack(one(batch())), torch.stack(two(batch()))
        close = 5e-6 if number == 0 else 5e-2
        torch.testing.assert_close(a, b, rtol=close, atol=close)
    fresh = make_step(32, H, 1e-3, 10.0, "cpu", seed=6, fused=False)
    fresh.model.load_state_dict(two.model.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(fresh.model.parameters(), two.model.parameters(), strict=True))


@needs_compiler
def test_the_default_compiles_from_64_on():
    assert make_step(48, H, 1e-3, 1.0, "cpu").mode == "eager"
    assert make_step(64, H, 1e-3, 1.0, "cpu").mode == "compiled"
    assert make_step((32, 128), H, 1e-3, 1.0, "cpu").precision == "float32"
    assert make_step(64, H, 1e-3, 1.0, "cpu", model=VAE(64).double()).mode == "eager"


@needs_compiler
def test_same_seed_same_bytes_in_each_mode():
    for options in ({"fused": False}, {"fused": True}, {"fused": True, "precision": "bfloat16"}):
        found = []
        for _ in range(2):
            one = make_step(32, H, 1e-3, 10.0, "cpu", seed=5, **options)
            one(batch()), one(batch())
            found.append(torch.cat([p.detach().flatten() for p in one.model.parameters()]))
        assert torch.equal(*found), options


def test_a_stage_on_a_wire():
    """An infinite wire is trained, and translations, which would move it across itself, are refused, as for a mask."""
    wire = Hamiltonian(D=0.6, B=0.2, boundary=("open", "periodic"))
    stage = Stage(beta=1e-3, gamma=10.0, steps=4, batch=4, learning_rate=1e-3, final_rate=0.1, translate=False, seed=0)
    model, history = train_stage(stage, SpinData(batch(8, 32), wire), device="cpu")
    assert model.boundary == wire.boundary and torch.isfinite(history.losses).all()
    for boundary in (wire.boundary, "open", np.ones((32, 32), bool)):
        with pytest.raises(ValueError, match="translate needs"):
            train_stage(replace(stage, translate=True), SpinData(batch(8, 32), replace(wire, boundary=boundary)))


def test_gpu_numerics_are_set_and_put_back():
    def flags():
        return (torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision,
                torch.backends.cudnn.deterministic)

    before = flags()
    for precision, tf32 in (("float32", "ieee"), ("tf32", "tf32"), ("bfloat16", "tf32")):
        with numerics(torch.device("cuda"), precision):
            assert flags() == (tf32, tf32, True)
        with pytest.raises(KeyError), numerics(torch.device("cuda"), precision):
            raise KeyError
        assert flags() == before
    with numerics(torch.device("cpu"), "float32"):
        assert flags() == before


def test_autocast_keeps_the_losses_in_float32():
    """The GPU's bfloat16: autocast around the network alone, here on the CPU's own implementation of it."""
    one, two = (make_step(32, H, 1e-3, 10.0, "cpu", seed=5, fused=False) for _ in range(2))
    two.precision = "bfloat16"
    exact, coarse = one.losses(batch()), two.losses(batch())
    for a, b in zip(exact, coarse, strict=True):
        assert b.dtype == torch.float32 and a.item() != b.item()
        assert b.item() == pytest.approx(a.item(), rel=2e-2, abs=1e-2)


def test_bad_options(monkeypatch):
    for bad, error, word in (({"precision": "tf32"}, ValueError, "precision"),
                             ({"precision": "bfloat16", "fused": False}, ValueError, "fused passes")):
        with pytest.raises(error, match=word):
            make_step(32, H, 1e-3, 1.0, "cpu", **bad)
    monkeypatch.setattr(step.passes, "problem", lambda: "no C++ compiler")
    with pytest.raises(RuntimeError, match="no C"):
        make_step(32, H, 1e-3, 1.0, "cpu", fused=True)
    said = []
    assert make_step(64, H, 1e-3, 1.0, "cpu", report=said.append).mode == "eager"
    assert len(said) == 1 and "no C++ compiler" in said[0]
