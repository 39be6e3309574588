"""Inverse mapping and interpolation: ends, straightness, saturation, and the reading of a barrier."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evae_companion.analysis.barrier import barrier
from evae_core import VAE
from evae_core.latent import interpolate, inverse_map


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return VAE(16).eval()


def test_inverse_map_finds_what_the_decoder_can_make(model):
    z = torch.randn(2, 100, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        targets = model.decode(z)
        start = (model.decode(model.encode(targets)[0]) - targets).square().sum((1, 2, 3)) / 256
    found = inverse_map(model, targets, steps=400)
    assert (found.error < 0.02 * start).all()
    torch.testing.assert_close((found.spins - targets).square().sum((1, 2, 3)) / 256, found.error, rtol=1e-4, atol=1e-6)


def test_inverse_map_does_not_depend_on_its_neighbours_and_leaves_the_weights(model):
    before = [p.clone() for p in model.parameters()]
    targets = model.decode(torch.randn(3, 100, generator=torch.Generator().manual_seed(2))).detach()
    both, alone = inverse_map(model, targets, steps=30), inverse_map(model, targets[:1], steps=30)
    torch.testing.assert_close(both.z[:1], alone.z, rtol=1e-3, atol=1e-4)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_inverse_map_stops_when_saturated(model):
    target = model.decode(torch.zeros(1, 100)).detach()
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(3))
    assert inverse_map(model, torch.nn.functional.normalize(target + noise, dim=1), steps=5000).steps < 5000


def test_interpolation_is_the_decoded_straight_line(model):
    a, b = torch.randn(2, 100, generator=torch.Generator().manual_seed(4))
    path = interpolate(model, a, b, 200)
    assert path.shape == (201, 3, 16, 16)
    with torch.no_grad():
        for k in (0, 50, 200):
            expected = model.decode(((1 - k / 200) * a + k / 200 * b)[None])[0]
            torch.testing.assert_close(path[k], expected, rtol=1e-3, atol=1e-4)


@given(top=st.integers(60, 140), width=st.floats(2, 8), height=st.floats(0.1, 5), end=st.floats(-0.09, 0.09))
def test_barrier_of_a_gaussian(top, width, height, end):
    """A Gaussian top between two plateaus of unequal energy: place, height above the higher one, width."""
    k = np.arange(201)
    plateaus = np.where(k > top + 5 * width, end, 0.0)
    read = barrier(-2 + height * np.exp(-0.5 * ((k - top) / width) ** 2) + plateaus)
    assert read.R[top] == 0 and read.R[-1] - read.R[0] == 200
    assert (read.start, read.end) == pytest.approx((-2, -2 + end), abs=1e-6)
    assert read.height == pytest.approx(height - max(0.0, end), rel=1e-6)
    if end <= 0:
        assert read.width == pytest.approx(2.3548 * width, rel=0.05)


def test_no_barrier_has_no_width():
    assert np.isnan(barrier(np.linspace(0, 1, 50)).width) and barrier(np.linspace(0, 1, 50)).height < 0.1


def test_bad_input(model):
    with pytest.raises(ValueError, match="targets"):
        inverse_map(model, torch.zeros(1, 3, 16, 16))
    with pytest.raises(ValueError, match="targets"):
        inverse_map(model, torch.nn.functional.normalize(torch.ones(1, 3, 32, 32), dim=1))
    with pytest.raises(ValueError, match="z_end"):
        interpolate(model, torch.zeros(100), torch.zeros(99))
    for bad in (np.zeros(5), np.zeros((20, 2))):
        with pytest.raises(ValueError, match="energy"):
            barrier(bad)
