"""Unit spins in four bytes a site: how exact, which are exact, and what is refused."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from evae_companion.store.packed_spins import pack, unpack


@given(st.integers(0, 2**31 - 1), st.sampled_from([(), (2,), (2, 3)]), st.integers(1, 5), st.integers(1, 5))
def test_spins_turn_by_less_than_the_bound(seed, batch, ny, nx):
    """In every octant and at its edges, where components vanish or are tiny."""
    generator = torch.Generator().manual_seed(seed)
    small = 10.0 ** torch.randint(-9, 1, (*batch, 3, ny, nx), generator=generator)
    spins = F.normalize(small * torch.randn(*batch, 3, ny, nx, generator=generator, dtype=torch.float64), dim=-3)
    codes = pack(spins)
    assert codes.dtype == np.uint16 and codes.shape == (*batch, 2, ny, nx)
    back = unpack(codes)
    assert back.dtype == torch.float32 and back.shape == spins.shape
    assert float((back - spins).norm(dim=-3).max()) < 7e-5
    assert float((back.norm(dim=-3) - 1).abs().max()) < 1e-6


def test_spins_along_an_axis_and_empty_sites_are_exact():
    """A uniform state stays uniform, and a hole in a sample a hole."""
    spins = torch.cat((torch.eye(3), -torch.eye(3), torch.zeros(1, 3))).T[:, None]
    assert torch.equal(unpack(pack(spins)), spins)


def test_errors_add_up_to_nothing():
    """Rounding turns spins to all sides alike: the mean of a million is that before."""
    spins = F.normalize(torch.randn(100, 3, 100, 100, generator=torch.Generator().manual_seed(0)), dim=1)
    turned = (unpack(pack(spins)) - spins).double()
    assert float(turned.mean((0, 2, 3)).abs().max()) < 2e-7 and float(turned.square().sum(1).mean().sqrt()) < 3e-5


def test_older_results_in_half_precision_are_read():
    spins = F.normalize(torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0)), dim=0)
    spins[:, 0, 0] = 0
    torch.testing.assert_close(unpack(spins.numpy().astype(np.float16)), spins, rtol=0, atol=5e-4)


@pytest.mark.parametrize("spins, words", [
    (torch.ones(3, 4, 4), "length 1"), (torch.full((3, 4, 4), torch.nan), "length 1"),
    (torch.ones(2, 4, 4), r"\(\.\.\., 3, Ny, Nx\)"), (torch.ones(3, 4), "shape")])
def test_what_is_no_spin_is_refused(spins, words):
    with pytest.raises(ValueError, match=words):
        pack(spins)
