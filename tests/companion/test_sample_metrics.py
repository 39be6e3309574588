"""Quality and diversity: distances up to translation, the published measures on cases with known values, vortices."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evae_companion.analysis.sample_metrics import (
    displacement,
    distances,
    manifold_measures,
    mmd,
    normalised,
    pairs,
    radial_structure_factor,
    settled,
    total_variation,
    vendi,
)
from evae_core import Hamiltonian, topological_charge
from evae_core.merons import meron_counts, winding
from evae_core.textures import helix, skyrmions, uniform


def states(n, ny=6, nx=8, seed=0, smooth=False):
    spins = torch.randn(n, 3, ny, nx, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(spins, dim=1)


def shuffled(spins, seed=0):
    """Every state translated by a lattice vector of its own."""
    shifts = np.random.default_rng(seed).integers(0, spins.shape[-2:], (len(spins), 2)).tolist()
    return torch.stack([one.roll(shift, (-2, -1)) for one, shift in zip(spins, shifts, strict=True)])


# --- the distance ---

@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), ny=st.integers(1, 7), nx=st.integers(1, 7))
def test_distance_is_the_least_over_all_translations(seed, ny, nx):
    a, b = states(2, ny, nx, seed), states(3, ny, nx, seed + 1)
    least = torch.stack([torch.stack([min((one - other.roll((y, x), (-2, -1))).square().sum(0).mean()
                                          for y in range(ny) for x in range(nx)) for other in b]) for one in a]).sqrt()
    torch.testing.assert_close(distances(a, b), least, atol=2e-3, rtol=1e-4)
    torch.testing.assert_close(displacement(b, shuffled(b.flip(0)).flip(0)), torch.zeros(3).double(), atol=2e-3,
                               rtol=0)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), other=st.integers(0, 999))
def test_translation_changes_nothing_and_triangles_hold(seed, other):
    a, b = states(4, seed=seed), states(5, seed=1000 + seed)
    first, second = pairs(a, b), pairs(shuffled(a, other), shuffled(b, other + 1))
    torch.testing.assert_close(first.distance, second.distance, atol=1e-4, rtol=0)
    torch.testing.assert_close(first.kernel, second.kernel, rtol=1e-3, atol=1e-9)
    torch.testing.assert_close(distances(b, a), first.distance.T, atol=1e-4, rtol=0)
    d = distances(b, b)
    assert (d[:, None] <= d[:, :, None] + d.T + 1e-3).all() and (d.diagonal() < 2e-3).all()


def test_pieces_do_not_matter(monkeypatch):
    from evae_companion.analysis import sample_metrics
    whole = pairs(states(5), states(4, seed=1))
    monkeypatch.setattr(sample_metrics, "PIECE", 1)
    for one, other in zip(whole, pairs(states(5), states(4, seed=1)), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("a, b, error, word", [
    (states(2), states(2)[0], ValueError, "b must"),
    (states(2), states(2, 4, 4), ValueError, "one lattice"), (states(2), 2 * states(2), ValueError, "unit"),
    (states(2)[:0], states(2), ValueError, "n >= 1")])
def test_bad_states(a, b, error, word):
    with pytest.raises(error, match=word):
        pairs(a, b)


# --- the measures ---

@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), k=st.integers(1, 5))
def test_data_cover_themselves(seed, k):
    d = distances(states(12, seed=seed), states(12, seed=seed))
    found = manifold_measures(d, d, d, k)
    assert found["coverage"] == found["precision"] == found["recall"] == 1
    # In its own ball lies each datum and its k nearest; ties aside, density is (k + 1)/k.
    assert found["density"] == pytest.approx((k + 1) / k, abs=0.2)


def test_measures_on_a_line():
    """Points on a line, balls counted by hand: k = 1."""
    real, fake = torch.tensor([0.0, 1.0, 2.0, 10.0]), torch.tensor([0.5, 2.5, 30.0])
    between = (real[:, None] - fake).abs()
    found = manifold_measures((real[:, None] - real).abs(), (fake[:, None] - fake).abs(), between, 1)
    # Balls of the data: 1, 1, 1, 8 wide; of the samples: 2, 2, 27.5.
    assert found == {"precision": 2 / 3, "recall": 1.0, "density": pytest.approx(4 / 3), "coverage": 1.0}
    far = manifold_measures((real[:, None] - real).abs(), (fake[:, None] - fake).abs(), between + 100, 1)
    assert far == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}
    with pytest.raises(ValueError, match="k must"):
        manifold_measures(between @ between.T, between.T @ between, between, 4)
    with pytest.raises(ValueError, match="must be"):
        manifold_measures(between, between, between)


def kernel(a, b):
    of_a, of_b = pairs(a, a).kernel.diagonal(), pairs(b, b).kernel.diagonal()
    return normalised(pairs(a, b).kernel, of_a, of_b)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), n=st.integers(2, 10))
def test_kernel_is_positive_and_vendi_counts_states(seed, n):
    few = states(n, seed=seed)
    k = kernel(few, few)
    assert torch.linalg.eigvalsh(k).min() > -1e-5 and torch.allclose(k.diagonal(), torch.ones(n).double())
    assert 1 <= vendi(k) <= n + 1e-6
    assert vendi(kernel(*[shuffled(few[:1].expand(n, -1, -1, -1), seed)] * 2)) == pytest.approx(1, abs=1e-3)
    assert vendi(torch.eye(n)) == pytest.approx(n)
    assert vendi(torch.block_diag(torch.ones(3, 3), torch.ones(3, 3))) == pytest.approx(2, abs=1e-5)


def test_mmd_of_one_source_and_of_two():
    a, b, c = states(40, seed=1), states(40, seed=2), shuffled(states(1, seed=3).expand(40, -1, -1, -1))
    same, other = (mmd(kernel(a, a), kernel(x, x), kernel(a, x)) for x in (b, c))
    assert abs(same) < 0.05 and other > 0.5


def test_structure_factor_rings():
    H = Hamiltonian(D=math.tan(2 * math.pi * 3 / 32), B=0.0)
    waves = torch.stack([helix(H, (32, 32), 3, axis) for axis in ("x", "y")])
    rings = radial_structure_factor(waves)
    assert rings.sum() == pytest.approx(1) and rings[3] == pytest.approx(1)
    assert radial_structure_factor(uniform((8, 6))[None])[0] == pytest.approx(1)
    assert total_variation(rings, radial_structure_factor(waves[:1])) == pytest.approx(0, abs=1e-9)
    assert total_variation(rings, np.roll(rings, 1)) == pytest.approx(1)


def test_settled():
    """A state at rest stays; a disturbed one comes back to it."""
    H = Hamiltonian(D=0.6, B=0.2)
    rest, way = settled(H, skyrmions(H, (24, 24), [(6, 6), (18, 17)])[None], tolerance=1e-6, device="cpu")
    assert way["charge"] == pytest.approx(-2) and way["charge_at_rest"] == pytest.approx(-2)
    assert way["lost"] == way["energy"] - way["energy_at_rest"] > 0
    disturbed = torch.nn.functional.normalize(rest + 0.05 * states(1, 24, 24), dim=1).float()
    again, way = settled(H, torch.cat((rest, disturbed)), tolerance=1e-5, device="cpu")
    assert way["moved"][0] < 2e-3 < way["moved"][1] and abs(way["lost"][0]) < 1e-6 < way["lost"][1]
    assert float(distances(again[1:], rest)) < way["moved"][1]
    assert topological_charge(again).round().tolist() == [-2, -2]


# --- vortices ---

def test_a_skyrmion_is_two_merons_and_winding_sums_to_zero():
    H = Hamiltonian(D=0.6, B=0.2)
    one = skyrmions(H, (24, 24), [(11.5, 11.5)], radius=4.0)
    counts = meron_counts(one)
    assert int(counts["vortex down"]) == 1 and int(counts["antivortex down"]) == 0
    w, _ = winding(torch.stack([one, *states(3, 24, 24).float()]))
    assert (w.sum((-2, -1)) == 0).all() and w.abs().max() == 1
    assert all(int(number) == 0 for number in meron_counts(uniform((8, 8))).values())


def test_bimeron():
    """A skyrmion turned by 90 degrees about y lies in the plane: one vortex down, one antivortex up, charge -1."""
    x, y, z = skyrmions(Hamiltonian(D=0.6, B=0.2, dmi="neel"), (32, 32), [(15.3, 15.6)], radius=5.0)
    bimeron = torch.stack((z, y, -x))
    counts = {name: int(number) for name, number in meron_counts(bimeron, core=0.5).items()}
    assert float(topological_charge(bimeron)) == pytest.approx(-1)
    assert sum(counts.values()) == 2
    assert counts["vortex down"] == counts["antivortex up"] == 1
