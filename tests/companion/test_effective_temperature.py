"""Heat is told from other noise: by the temperature of heat-bath states, and by the spectrum of fluctuations."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from evae_companion.analysis.descent import descended
from evae_companion.analysis.effective_temperature import effective_temperature, fluctuations, theta_squares
from evae_core import Hamiltonian, heat_bath, skyrmion_lattice
from evae_core.textures import helix, uniform

H = Hamiltonian(D=0.6, B=0.2)


@pytest.fixture(scope="module")
def lattice():
    """A relaxed skyrmion lattice (48, 3, 32, 32), shaken until it lies where the sites hold it."""
    perfect = skyrmion_lattice(H, (32, 32)).float()[None]
    return descended(H, heat_bath(H, perfect, 0.05, 100, overrelax=2, device="cpu"), "cpu").expand(48, -1, -1, -1)


@pytest.mark.parametrize("T", [0.02, 0.1, 0.3])
def test_heat_bath_states_have_their_temperature_and_its_spectrum(lattice, T):
    spins = heat_bath(H, lattice, T, 400, seed=77, overrelax=2, device="cpu")
    found = effective_temperature(H, spins, device="cpu")
    assert abs(found.T - T) < 5 * found.error and found.error < 0.02 * T
    assert found.theta_square == pytest.approx(float(theta_squares(H, spins).mean()))
    assert (abs(found.ratio - 1) < 7 * found.ratio_error).all()
    # Some soft modes fill the long waves: of 20 seeds the band's mean scatters by 0.09 there, by 0.016 elsewhere.
    assert abs(found.ratio[found.k < 1].mean() - 1) < 0.45 and abs(found.ratio[found.k > 1].mean() - 1) < 0.08


def test_white_noise_is_no_heat(lattice):
    """Equal amplitudes on every site: next to nothing in long waves, which heat would fill most."""
    noise = torch.randn(lattice.shape, generator=torch.Generator().manual_seed(3))
    found = effective_temperature(H, normalize(lattice + 0.1 * noise, dim=1), device="cpu")
    assert found.ratio[found.k < 1].mean() < 0.1 and found.ratio[found.k > 3].mean() > 1.1
    rising = [found.ratio[(found.k >= low) & (found.k < low + 1)].mean() for low in (0, 1, 2, 3)]
    assert (np.diff(rising) > 0).all()


def test_rings_cover_the_waves_of_the_lattice(lattice):
    noise = torch.randn(lattice.shape, generator=torch.Generator().manual_seed(3))
    found = effective_temperature(H, normalize(lattice + 0.1 * noise, dim=1), device="cpu", sweeps=5)
    assert found.k[0] == pytest.approx(2 * np.pi / 32) and np.allclose(np.diff(found.k), 2 * np.pi / 32)
    assert abs(found.k[-1] - np.pi * 2**0.5) < np.pi / 32
    assert found.k.shape == found.ratio.shape == found.ratio_error.shape and (found.ratio_error > 0).all()


def test_open_samples_too():
    edged = dataclasses.replace(H, boundary="open")
    spins = heat_bath(edged, uniform((16, 16)).float().expand(16, -1, -1, -1), 0.1, 200, seed=5, device="cpu")
    found = effective_temperature(edged, spins, device="cpu")
    assert abs(found.T - 0.1) < 5 * found.error and found.error < 0.01


def test_the_seed_and_the_grid_decide_no_more_than_the_error(lattice):
    spins = heat_bath(H, lattice[:8], 0.1, 100, seed=77, overrelax=2, device="cpu")
    first, again = (effective_temperature(H, spins, seed=1, device="cpu") for _ in range(2))
    assert first.T == again.T and np.array_equal(first.ratio, again.ratio) and first.error == again.error
    other = effective_temperature(H, spins, [0.05, 0.09, 0.12, 0.2], seed=2, device="cpu")
    assert other.T != first.T and abs(other.T - first.T) < 5 * (other.error + first.error)


def test_theta_square_is_that_of_a_spin_in_its_field():
    """In a strong field, <theta^2> = 2T/h to first order: with J = 0 every spin is alone in the field B = 1."""
    alone = Hamiltonian(J=0, D=0, B=1.0)
    spins = heat_bath(alone, uniform((32, 32)).float().expand(32, -1, -1, -1), 0.01, 1, device="cpu")
    square = theta_squares(alone, spins)
    assert square.shape == (32,) and square.mean() == pytest.approx(0.02, rel=0.03)


def test_a_rigid_shift_is_no_fluctuation():
    """Half a site's shift of a helix of 32 sites is gone; what it is not stays."""
    wave = helix(Hamiltonian(D=0.3, B=0.0), (32, 32), 1).float()[None]
    halfway = normalize(wave + wave.roll(1, -1), dim=1)
    before, after = (x.square().mean() for x in (halfway - wave, fluctuations(H, halfway, wave)))
    assert before > 1e-3 and after < 0.02 * before
    noise = 0.01 * torch.randn(wave.shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(fluctuations(H, wave + noise, wave).square().mean(), noise.square().mean(), rtol=0.01,
                               atol=0)
    up = uniform((16, 16)).float()[None]
    assert torch.equal(fluctuations(H, up + 0.5, up), torch.full_like(up, 0.5))


def test_what_has_no_temperature_is_refused(lattice):
    spins = heat_bath(H, lattice[:4], 0.1, 10, device="cpu")
    with pytest.raises(ValueError, match="at rest"):
        effective_temperature(H, uniform((16, 16)).float().expand(2, -1, -1, -1), device="cpu")
    with pytest.raises(ValueError, match="enclose"):
        effective_temperature(H, spins, [0.2, 0.4], device="cpu")
    against = torch.tensor([-1.0, 1.0]).repeat(8)  # every spin against its neighbours: beyond any temperature
    noise = 0.1 * torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="enclose"):
        effective_temperature(H, normalize(uniform((16, 16)) * against * against[:, None] + noise, dim=1), device="cpu")
    for wrong in ([0.1], [0.2, 0.1], [0.0, 0.1], []):
        with pytest.raises(ValueError, match="temperatures"):
            effective_temperature(H, spins, wrong, device="cpu")
    for wrong in (spins[:1], spins[0], 2 * spins):
        with pytest.raises(ValueError, match="spins"):
            effective_temperature(H, wrong, device="cpu")
