"""Linear theory against a linear VAE that is optimised, and where a ladder crosses."""

import numpy as np
import pytest
import torch

from evae_companion import claims, plotting
from evae_companion.analysis.linear_theory import averaged_spectrum, beta_c, expected, free_energy, gamma_c, spectrum
from evae_companion.analysis.order import symmetries
from evae_core import Hamiltonian
from evae_core.textures import helix


def test_spectrum_is_that_of_the_covariance():
    rng = np.random.default_rng(0)
    spins = rng.normal(size=(30, 3, 4, 5)) * rng.uniform(0.1, 2, (3, 4, 5))
    covariance = np.cov(spins.reshape(30, -1), rowvar=False)
    values = spectrum(torch.from_numpy(spins))
    assert len(values) == 29 and (np.diff(values) <= 0).all()
    np.testing.assert_allclose(values, np.linalg.eigvalsh(covariance)[::-1][:29], rtol=1e-9, atol=1e-12)


def test_free_energy_is_the_least_of_a_linear_vae():
    """One latent number per mode: x of variance lambda, mean m = a x, decoded as w z, minimised over a, w and s."""
    values, sites = np.array([3.0, 1.0, 0.05]), 10
    for beta in (0.01, 0.05, 0.3, 1.0):
        least = 0.0
        for value in values:
            a, w, log_s = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.7, 0.9, -1.0))
            optimiser = torch.optim.LBFGS([a, w, log_s], max_iter=500, line_search_fn="strong_wolfe",
                                          tolerance_grad=1e-12, tolerance_change=1e-14)

            def loss(value=value, a=a, w=w, log_s=log_s, beta=beta):
                s2 = (2 * log_s).exp()
                return (((1 - w * a)**2 * value + w**2 * s2) / sites
                        + beta / 2 * (a**2 * value + s2 - 1 - 2 * log_s))

            def closure(optimiser=optimiser, loss=loss):
                optimiser.zero_grad()
                value = loss()
                value.backward()
                return value
            optimiser.step(closure)
            least += min(float(loss().detach()), value / sites)
        assert free_energy(values, sites, beta, latents=100) == pytest.approx(least, rel=1e-6)
    assert free_energy(values, sites, 0.01, latents=1) > free_energy(values, sites, 0.01, latents=2)
    assert free_energy(values, sites, 2 * 3.0 / sites, latents=9) == pytest.approx(values.sum() / sites)  # at beta_c


def test_expected_falls_with_beta_and_with_the_excess():
    theory = {"eigenvalues": np.array([3.0, 1.0, 0.5]), "sites": 10, "latents": 100, "one_state": [0.45, 0.8],
              "excess": 1e-3}
    small, large = expected(theory, 1e-3), expected(theory, 1e-2)
    assert small[0] > large[0] and small[1] > small[0]
    assert expected(theory | {"excess": 2e-3}, 1e-3)[0] == pytest.approx(small[0] / 2)


def test_crossings():
    assert claims.crossing([1, 10, 100], [1, 100, 1e4], 10) == pytest.approx(10**0.5)
    assert claims.crossing([1, 10, 100], [1e4, 100, 1], 1e3) == pytest.approx(10**0.5)
    assert np.isnan(claims.crossing([1, 10], [1, 2], 5))
    assert claims.beta_by_kl([1e-2, 1e-1], [100, 1], 100) == pytest.approx(10**-1.5)
    assert claims.gamma_by_kl([1, 100, 1e4], [90, 50, 200], ) == pytest.approx(1e3)


def test_figure():
    table = {"x": [1e-3, 1e-4], "kspace": [[3e3, 2e3], [1e3, np.nan]], "kl": [[3e3, 2e3], [1e3, np.nan]],
             "expected": [[1e3, 4e3], [1.5e3, 4.5e3]]}
    fig = plotting.critical_gammas([("beta", table), ("excess", table)])
    assert len(fig.axes) == 2 and fig.axes[0].get_yscale() == "log"
    with pytest.raises(ValueError, match="lacks"):
        plotting.critical_gammas([("beta", {"x": [1.0]})])
    with pytest.raises(ValueError, match="kl"):
        plotting.critical_gammas([("beta", table | {"kl": [[1.0, 2.0]]})])


def two_modes(box=(6, 8), one=0.5, two=0.2):
    """Data with a known covariance: two waves in S^x and S^y with eigenvalues ``one`` and ``two``, each twice.

    The amplitudes are orthogonal and sum to zero over the 8 states, so that the sample's covariance is exact.
    """
    y, x = np.mgrid[:box[0], :box[1]]
    sites = x.size
    phases = 2 * np.pi * x / box[1], 4 * np.pi * y / box[0]
    waves = [np.sqrt(2 / sites) * f(phase) for phase in phases for f in (np.cos, np.sin)]
    signs = np.array([[(-1) ** (bin(i & j).count("1")) for j in (1, 2, 4, 7)] for i in range(8)])
    spins = np.zeros((8, 3, *box))
    for k, (wave, variance) in enumerate(zip(waves, (one, one, two, two), strict=True)):
        spins[:, k // 2] += np.sqrt(variance) * signs[:, k, None, None] * wave
    return torch.from_numpy(spins), sites


def test_two_gaussian_modes_in_closed_form():
    spins, sites = two_modes()
    for values, scale in ((spectrum(spins), 8 / 7), (averaged_spectrum(spins), 1.0)):  # the first divides by n - 1
        np.testing.assert_allclose(values[:4], scale * np.array([0.5, 0.5, 0.2, 0.2]), rtol=1e-12)
        np.testing.assert_allclose(values[4:], 0, atol=1e-12)
    values = averaged_spectrum(spins)
    beta = 2 * 0.3 / sites  # between the two beta_c: the first mode is used, the second given up
    assert beta_c(values, sites) == pytest.approx(2 * 0.5 / sites)
    closed = 2 * beta / 2 * (1 + np.log(2 * 0.5 / (sites * beta))) + 2 * 0.2 / sites
    assert free_energy(values, sites, beta, latents=100) == pytest.approx(closed, rel=1e-12)
    theory = {"eigenvalues": values, "sites": sites, "latents": 100, "one_state": [1.4 / sites, 0.5], "excess": 1e-3}
    assert expected(theory, beta) == pytest.approx([(1.4 / sites - closed) / 1e-3, (0.5 - closed) / 1e-3])


def test_the_average_over_translations_needs_few_states():
    """Of one wave of any phase: translations supply the phases that a sample of two lacks."""
    x = np.arange(8) * np.pi / 4
    wave = np.broadcast_to(np.cos(x), (1, 1, 6, 8)).copy()
    spins = torch.from_numpy(np.concatenate([wave, 0 * wave, 0 * wave], 1)).repeat(2, 1, 1, 1)
    assert spectrum(spins).max() < 1e-12  # two equal states vary in nothing
    np.testing.assert_allclose(averaged_spectrum(spins)[:3], [48 / 4, 48 / 4, 0], atol=1e-12)
    moved = torch.cat([spins[:1].roll(k, -1) for k in range(8)])
    np.testing.assert_allclose(averaged_spectrum(moved), averaged_spectrum(spins), atol=1e-12)
    np.testing.assert_allclose(spectrum(moved)[:2] * 7 / 8, [12, 12], rtol=1e-12)


@pytest.mark.parametrize("dmi", ["bloch", "neel"])
def test_the_average_over_symmetries(dmi):
    """A helix along x, turned to all four directions: its variance is shared by twice as many modes."""
    H = Hamiltonian(D=0.6, B=0.2, dmi=dmi)
    spins = helix(H, (16, 16), turns=2)[None]
    one, all_four = averaged_spectrum(spins), averaged_spectrum(spins, H)
    assert (one > 1).sum() == 2 and (all_four > 1).sum() == 4
    assert [one.sum(), all_four.sum()] == pytest.approx([256, 256], rel=1e-5)
    np.testing.assert_allclose(all_four[:4], one[0] / 2, rtol=1e-5)


def test_symmetries_are_those_of_the_hamiltonian():
    assert symmetries(Hamiltonian(D=0.6, B=0.2), (8, 8)) == list(range(8))
    assert symmetries(Hamiltonian(D=0.6, B=0.2), (8, 12)) == list(range(4))
    along_x = Hamiltonian(D=0.0, further=[(0, 1, 0.3)])
    assert symmetries(along_x, (8, 8)) == [0, 2, 4, 6]  # a rotation by 90 degrees would turn the bond
    slanted = Hamiltonian(D=0.0, further=[(1, 2, 0.3)])
    assert symmetries(slanted, (8, 8)) == [0, 2]


def test_a_mean_over_components_scales_both_and_leaves_the_ratio():
    """A third of L_RC: a third of beta_c, and a third of gamma_c at three times beta."""
    values, sites = np.array([3.0, 1.0, 0.5]), 10
    theory = {"eigenvalues": values, "sites": sites, "latents": 100, "one_state": [0.45, 0.8], "excess": 1e-3}
    third = theory | {"eigenvalues": values / 3, "one_state": [0.15, 0.8 / 3]}  # L_RC/3 as a loss of its own
    for beta in (1e-3, 1e-2, 0.1):
        assert gamma_c(theory, beta, per_component=True) == pytest.approx(expected(third, beta))
        assert np.array(gamma_c(theory, beta / 3, per_component=True)) / beta_c(values, sites, per_component=True) == (
            pytest.approx(np.array(gamma_c(theory, beta)) / beta_c(values, sites)))
    assert beta_c(values, sites, per_component=True) == pytest.approx(2 * 3.0 / sites / 3)
