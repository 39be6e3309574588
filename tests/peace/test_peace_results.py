"""PEACE: skyrmions instead of grains, and the figures."""

import numpy as np
import pytest

from evae_companion.peace import magnetism, plots
from evae_core import Hamiltonian, textures

# Skyrmions ------------------------------------------------------------------------------------------------------------

MAGNET = Hamiltonian(D=0.6, B=0.2)


def gas(radius, seed, count=12, side=128):
    places = magnetism.places(count, side, 16.0, np.random.default_rng(seed))
    return textures.skyrmions(MAGNET, (side, side), places, np.broadcast_to(radius, count))


def test_skyrmion_radii_by_counting():
    wanted = np.linspace(3, 6, 12)
    spins = gas(wanted, 0)
    centres, found = magnetism.skyrmion_radii(spins)
    np.testing.assert_allclose(np.sort(found), wanted, atol=0.25)
    assert len(centres) == 12 and len(magnetism.skyrmion_radii(textures.uniform((32, 32)))[1]) == 0
    with pytest.raises(ValueError, match="as many as"):
        textures.skyrmions(MAGNET, (64, 64), np.zeros((2, 2)), [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="no room"):
        magnetism.places(50, 32, 20.0, np.random.default_rng(0))


def test_form_factor_is_the_transform_of_one_skyrmion():
    spins = textures.skyrmions(MAGNET, (128, 128), np.array([[64.0, 64.0]]), 5.0)
    direct = np.fft.fft2((1 - spins[2].double().numpy()) / 2)[0, :20].real * (-1) ** np.arange(20)
    law = magnetism.form_factors(MAGNET, [5.0], np.arange(20) * 2 * np.pi / 128)[:, 0]
    np.testing.assert_allclose(direct, law, atol=0.01 * law[0])


def test_size_of_skyrmions_is_in_the_envelope():
    spins = [gas(4.0, k) for k in range(8)]
    seen = np.array([magnetism.intensity(one, 22) for one in spins])
    q, radii = np.arange(128) * np.pi / 128, np.linspace(2, 8, 25)
    share = magnetism.sizes_from_envelope(MAGNET, magnetism.envelope(seen.mean(0))[8:55], q[8:55], radii)
    assert share @ radii == pytest.approx(4.0, abs=0.5) and share.sum() == pytest.approx(1)
    across = magnetism.correlation(seen, 8, 40)[16, 16:19]
    np.testing.assert_allclose(across, np.exp(-(np.arange(3) * np.pi / 128 * 22) ** 2 / 2), atol=0.25)


def test_figures():
    x = np.arange(1.0, 6.0)
    law = plots.law_against_simulator(x, 1 / x, 1.01 / x, 0.1 / x, plain=0.9 / x)
    assert len(law.axes) == 2 and law.axes[0].get_yscale() == "log"
    curve = np.linspace(0, 1, 5)
    drawn = plots.cumulative_curves([("a", x * 1e-6, {"true": curve, "found": (curve**2, 0.1 * curve)})] * 4)
    np.testing.assert_allclose(drawn.axes[0].lines[1].get_xydata(), np.stack((x, curve**2), 1))
    scores = plots.score_curves([("frames", x, {"one": 1 / x, "two": 2 / x}), ("size", x, {"one": x})], goal=0.1)
    assert [ax.get_xlabel() for ax in scores.axes] == ["frames", "size"]
    d = np.stack((x, 2 * x, 3 * x), 1) * 1e-6
    np.testing.assert_allclose(plots.evolution(x, d, d, d, d).axes[0].lines[0].get_ydata(), x)
    magnetic = plots.skyrmion_speckle(x, 1 / x, {"gas": 1 / x}, x, {"gas": 3 / x}, x, {"gas": (curve, curve**2)})
    np.testing.assert_allclose(magnetic.axes[1].lines[0].get_ydata(), 1 / x)
    with pytest.raises(ValueError, match="error"):
        plots.law_against_simulator(x, x, x, x[:2])
