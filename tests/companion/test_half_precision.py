"""Weights in half precision: how near they are, what they refuse, and networks that came without an encoder."""

import pytest
import safetensors.torch
import torch

from evae_companion.store import weights
from evae_core import VAE
from evae_core.training import checkpoint


@pytest.fixture
def model():
    torch.manual_seed(0)
    return VAE(32).eval()


def test_half_precision_is_near(model, tmp_path):
    state = weights.halved(model.state_dict())
    assert {value.dtype for value in state.values()} == {torch.float16, torch.float32, torch.int64}
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in state.items() if value.ndim < 2)
    assert all(torch.equal(value, weights.halved(state)[name]) for name, value in state.items()), "once is enough"
    safetensors.torch.save_file(state, tmp_path / "w")
    other = VAE(32).eval()
    checkpoint.load(other, tmp_path / "w")
    assert {p.dtype for p in other.parameters()} == {torch.float32} and weights.extent(state) == weights.WHOLE
    z = torch.randn(8, 100, generator=torch.Generator().manual_seed(1))
    difference = (model.decode(z) - other.decode(z)).abs().max()
    assert 0 < difference < 5e-3, "rounded, and no more than rounded"


def test_a_decoder_alone_generates_and_does_not_encode(model, tmp_path):
    state = weights.halved(model.state_dict(), decoder_only=True)
    assert weights.extent(state) == weights.DECODER and 0 < len(state) < len(model.state_dict())
    safetensors.torch.save_file(state, tmp_path / "w")
    other = VAE(32)
    checkpoint.load(other, tmp_path / "w")
    z = torch.randn(4, 100)
    torch.testing.assert_close(other.eval().decode(z), model.decode(z), rtol=0, atol=5e-3)
    with pytest.raises(RuntimeError, match="without its encoder"):
        other.encode(model.decode(z).detach())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e5])
def test_what_half_precision_cannot_hold(model, value):
    state = dict(model.state_dict())
    name = next(name for name, tensor in state.items() if tensor.ndim > 1)
    state[name] = state[name].clone()
    state[name].view(-1)[3] = value
    with pytest.raises(ValueError, match=name):
        weights.halved(state)


def test_vectors_keep_their_range(model):
    """Batch norm's running variances may be tiny or large: they stay in single precision."""
    state = dict(model.state_dict())
    name = next(name for name in state if name.endswith("running_var"))
    state[name] = torch.full_like(state[name], 1e-12)
    assert torch.equal(weights.halved(state)[name], state[name])


def test_weights_that_were_left_behind(model, tmp_path):
    with pytest.raises(RuntimeError, match="stage-7 was carried here without its weights.*remove"):
        checkpoint.load(model, tmp_path / "stage-7" / "weights.safetensors")
    assert weights.extent({}) == weights.NONE
