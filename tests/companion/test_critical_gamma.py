"""Linear theory against a linear VAE that is optimised, and where a ladder crosses."""

import numpy as np
import pytest
import torch

from evae_companion import claims, plotting
from evae_companion.experiments.critical_gamma import expected, free_energy, spectrum


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
