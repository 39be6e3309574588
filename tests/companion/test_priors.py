"""Priors fitted to the latent vectors: what they reproduce, that they are kept, what is refused, what they do."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from evae_companion import priors
from evae_companion.analysis.sample_metrics import distances
from evae_companion.data_specs import DataSpec, data_spec
from evae_companion.dataset import load_data
from evae_companion.experiments import priors as experiment
from evae_companion.experiments.report_tables import prior_table
from evae_companion.presets import PRESETS
from evae_companion.priors import Mixture, attach, fit_priors, load_priors, save_priors
from evae_companion.store.preview import NotRecorded
from evae_companion.store.store import Store
from evae_companion.sweeps import train_stages
from evae_companion.trained import TrainedStage
from evae_core import VAE, Hamiltonian, Schedule
from evae_core.training.checkpoint import NoEncoder
from evae_core.training.stages import stage_schedule

LATENT = 4


class KnownEncoder(nn.Module):
    """Gives the states that it is shown the next of known means, and one log sigma^2."""

    def __init__(self, mu, logvar):
        super().__init__()
        self.mu, self.logvar, self.next = mu, logvar, 0

    def forward(self, spins):
        self.next += len(spins)
        mu = self.mu[self.next - len(spins):self.next]
        return mu, torch.full_like(mu, self.logvar)


def states(n, size=16, seed=0):
    return F.normalize(torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(seed)), dim=1)


def trained_model(latent=LATENT, seed=0):
    """A network whose batch norms have seen one batch."""
    torch.manual_seed(seed)
    model = VAE(16, latent=latent)
    with torch.no_grad():
        model(states(8))
    return model.eval()


def fit(mu, logvar, seed=0):
    model = trained_model()
    model.encoder = KnownEncoder(mu, logvar)
    return fit_priors(model, states(len(mu)), seed)


def two():
    """A mixture of two Gaussians of unlike weights in two dimensions, which do not overlap."""
    means, second = torch.tensor([[0.0, 0.0], [20.0, -20.0]]), torch.tensor([[0.5, 0.0], [0.3, 0.2]])
    return Mixture(torch.tensor([0.25, 0.75]), means, torch.stack([torch.eye(2), second]))


def test_the_standard_prior_draws_what_it_always_drew():
    model = trained_model()
    model.priors = {"fitted": two()}
    for prior in ({}, {"prior": "standard"}):
        drawn = model.generate(5, torch.Generator().manual_seed(3), **prior)
        z = torch.randn(5, LATENT, generator=torch.Generator().manual_seed(3))
        assert torch.equal(drawn, model.decode(z).detach())


def test_the_fitted_gaussian_has_the_posteriors_mean_and_covariance():
    """Within five standard errors of n vectors; sigma adds its square to the diagonal."""
    n, generator = 4000, torch.Generator().manual_seed(1)  # another than that of epsilon
    factor = torch.tensor([[2.0, 0, 0, 0], [1.0, 0.5, 0, 0], [0, 0, 1.0, 0], [0.3, 0, -0.4, 0.1]])
    mean = torch.tensor([1.0, -2.0, 0.0, 5.0])
    found = fit(mean + torch.randn(n, LATENT, generator=generator) @ factor.T, logvar=-1.0)["fitted"]
    covariance = factor @ factor.T + np.exp(-1.0) * torch.eye(LATENT)
    variance = covariance.diagonal()
    assert ((found.means[0] - mean).abs() < 5 * (variance / n).sqrt()).all() and found.weights.tolist() == [1.0]
    error = ((variance[:, None] * variance + covariance.square()) / n).sqrt()
    assert ((found.factors[0] @ found.factors[0].T - covariance).abs() < 5 * error).all()
    drawn = found.sample(n, generator)
    assert ((drawn.mean(0) - mean).abs() < 8 * (variance / n).sqrt()).all()
    assert ((torch.cov(drawn.T) - covariance).abs() < 8 * error).all()


def test_the_mixture_finds_two_clusters_and_one_gaussian_fills_the_gap():
    centres = torch.tensor([[8.0, 0, 0, 0], [-8.0, 0, 0, 0]])
    found = fit(centres[torch.arange(400) % 4 // 3], logvar=-4.0)  # three of four states in the first
    generator = torch.Generator().manual_seed(0)
    drawn = found["mixture"].sample(4000, generator)
    assert float((torch.cdist(drawn, centres).amin(1) < 5 * np.exp(-2.0) * 2).double().mean()) == 1
    assert float((drawn[:, 0] > 0).double().mean()) == pytest.approx(0.75, abs=5 * (0.1875 / 4000) ** 0.5)
    gap = found["fitted"].sample(4000, generator)[:, 0].abs() < 5
    assert float(gap.double().mean()) > 0.2


def test_few_states_get_few_gaussians():
    assert [len(fit(torch.randn(n, LATENT), -1.0)["mixture"].weights) for n in (2, 25, 200)] == [1, 2, 10]


def test_a_mixture_samples_its_components_by_weight():
    mixture, n = two(), 20_000
    z = mixture.sample(n, torch.Generator().manual_seed(1))
    second = z[:, 0] > 10
    assert float(second.double().mean()) == pytest.approx(0.75, abs=5 * (0.1875 / n) ** 0.5)
    torch.testing.assert_close(torch.cov(z[second].T), mixture.factors[1] @ mixture.factors[1].T, atol=0.02, rtol=0)
    assert torch.equal(z, mixture.sample(n, torch.Generator().manual_seed(1)))
    assert not torch.equal(z, mixture.sample(n, torch.Generator().manual_seed(2)))


def test_generated_states_follow_the_prior_and_the_seed():
    model = trained_model()
    model.priors = fit_priors(model, states(40))
    for prior in ("fitted", "mixture"):
        first, again, other = (model.generate(3, torch.Generator().manual_seed(seed), prior) for seed in (5, 5, 6))
        assert torch.equal(first, again) and not torch.equal(first, other)
        z = model.priors[prior].sample(3, torch.Generator().manual_seed(5))
        assert torch.equal(first, model.decode(z).detach())
        torch.testing.assert_close(first.norm(dim=1), torch.ones(3, 16, 16))
    assert all(torch.equal(getattr(a, field), getattr(b, field)) for a, b in zip(
        model.priors.values(), fit_priors(model, states(40)).values(), strict=True)
        for field in ("weights", "means", "factors"))


def test_priors_round_trip(tmp_path):
    made = {"fitted": Mixture(torch.ones(1), torch.randn(1, 3), torch.randn(1, 3, 3)), "mixture": two()}
    save_priors(tmp_path / "p.safetensors", made)
    found = load_priors(tmp_path / "p.safetensors")
    assert list(found) == ["fitted", "mixture"]
    for name, prior in made.items():
        assert all(torch.equal(getattr(prior, f.name), getattr(found[name], f.name)) for f in dataclasses.fields(prior))


def test_files_that_hold_no_priors_are_refused(tmp_path):
    path = tmp_path / "p.safetensors"
    with pytest.raises(RuntimeError, match="not there"):
        load_priors(path)
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="safetensors"):
        load_priors(path)
    save_priors(path, {"other": two()})
    with pytest.raises(ValueError, match="holds no priors"):
        load_priors(path)
    save_priors(path, {"fitted": Unnormalised()})
    with pytest.raises(ValueError, match="holds no priors: .*weights"):
        load_priors(path)


@dataclasses.dataclass
class Unnormalised:
    """A mixture whose weights do not add to 1."""

    weights: torch.Tensor = dataclasses.field(default_factory=lambda: torch.ones(2))
    means: torch.Tensor = dataclasses.field(default_factory=lambda: torch.zeros(2, 3))
    factors: torch.Tensor = dataclasses.field(default_factory=lambda: torch.zeros(2, 3, 3))


def test_priors_that_cannot_be_are_refused():
    model = trained_model()
    for prior in ("posterior", "", None, 1):
        with pytest.raises(ValueError, match="prior must be one of 'standard', 'fitted', 'mixture'"):
            model.generate(2, prior=prior)
    with pytest.raises(RuntimeError, match=r"no prior 'fitted'.*fit_priors"):
        model.generate(2, prior="fitted")
    model.priors = {"fitted": two()}  # of another network, with two latents
    with pytest.raises(ValueError, match=rf"z must have shape \(n, {LATENT}\), got \(2, 2\)"):
        model.generate(2, prior="fitted")
    with pytest.raises(ValueError, match="eval"):
        model.train().generate(2, prior="fitted")


def test_models_without_latents_to_fit_are_refused():
    with pytest.raises(RuntimeError, match="never trained"):
        fit_priors(VAE(16).eval(), states(20))
    model = trained_model()
    with pytest.raises(ValueError, match="spins"):
        fit_priors(model, states(20, size=32))
    with pytest.raises(ValueError, match="at least two"):
        fit_priors(model, states(1))
    with pytest.raises(ValueError, match="unit"):
        fit_priors(model, 2 * states(20))
    with pytest.raises(ValueError, match="eval"):
        fit_priors(model.train(), states(20))
    model.eval().encoder = NoEncoder()
    with pytest.raises(RuntimeError, match="decoder alone"):
        fit_priors(model, states(20))


def test_a_stages_fit_is_kept_beside_its_weights(tmp_path, monkeypatch):
    """Made once, the stage's artifact untouched; it draws what a fit made by hand draws; a preview refuses."""
    data = DataSpec(Hamiltonian(D=0.6, B=0.2), (16, 16), train=24, validation=6, test=6, shard=12,
                    schedule=Schedule(sweeps=10, overrelax=0))
    tiny = dataclasses.replace(PRESETS["smoke"], first_steps=4, batch=8, betas=(1e-4,))
    store = Store(tmp_path / "store")
    (trained,) = train_stages(stage_schedule(tiny), data, store, "cpu")
    before = store.names()
    model = attach(trained, store=store)
    (name,) = store.names() - before
    assert name.startswith("prior-") and set(model.priors) == {"fitted", "mixture"} and trained.model().priors == {}
    monkeypatch.setattr(priors, "fit_priors", lambda *_: pytest.fail("fitted again"))
    again = attach(TrainedStage(trained.stage, data, trained.folder), store=store)
    for prior in model.priors:
        assert torch.equal(*(one.generate(2, torch.Generator().manual_seed(0), prior) for one in (model, again)))
    (store.root / name / priors.FILE).unlink()  # damage: it is seen, and made anew
    with pytest.raises(pytest.fail.Exception, match="fitted again"):
        attach(trained, store=store)
    monkeypatch.setenv("EVAE_PREVIEW", str(tmp_path / "tiny"))
    with pytest.raises(NotRecorded, match="prior seed 0 beta 0.0001 gamma 0 is not in the record"):
        attach(trained, store=store)


# The experiment -----------------------------------------------------------------------------------------------------

TINY = dataclasses.replace(
    PRESETS["smoke"], name="tiny", size=16, train=24, validation=6, test=12, shard=14, sweeps=10, batch=8,
    first_steps=4, beta_steps=2, gamma_steps=2, samples=10, betas=(1e-4, 1e-3),
    gammas=(1.0, 100.0, 1e3, 1e4), lowest=None)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVAE_STORE", str(tmp_path_factory.mktemp("priors") / "store"))
        made = experiment.run(TINY, "cpu", lambda line: None)
        before = Store().names()
        again = experiment.run(TINY, "cpu", pytest.fail)
        assert Store().names() == before, "a second call makes nothing"
        for key, values in made.table.items():
            assert np.array_equal(values, again.table[key])
        made.trained = train_stages(experiment.compared(TINY), data_spec(TINY), device="cpu")
        made.models = [attach(trained) for trained in made.trained]
        made.sets = load_data(data_spec(TINY))
    return made


def test_the_experiment_has_every_prior_of_every_network(found):
    table = found.table
    assert list(zip(table["gamma"].tolist(), table["states"].tolist(), strict=True)) == [
        (gamma, states) for gamma in (0.0, 100.0, 1e3, 1e4) for states in ("standard", "fitted", "mixture", "X_out")]
    assert found.n == 10 and len(found.models) == 4
    for name in experiment.MEASURES:
        assert np.isfinite(table[name]).all()
    assert (table["energy"] > -2.3).all() and (table["spread"] > 0).all() and (table["diversity"] > 0).all()
    assert ((table["coverage"] >= 0) & (table["coverage"] <= 1)).all()
    assert found.data["diversity"] == pytest.approx(1) and found.data["coverage"] > 0.5


def test_the_experiment_measures_what_the_network_generates(found):
    H, model = data_spec(TINY).hamiltonian, found.models[1]
    assert model.priors and found.trained[1].stage.gamma == 100
    for row, prior in enumerate(("standard", "fitted", "mixture"), start=4):
        states = model.generate(10, torch.Generator().manual_seed(experiment.SEED), prior)
        energies = H.energy_per_spin(states.double())
        assert found.table["energy"][row] == pytest.approx(float(energies.mean()), abs=1e-6)
        assert found.table["spread"][row] == pytest.approx(float(energies.std()), abs=1e-6)
    assert len({*found.table["energy"][4:8]}) == 4


def test_coverage_sees_what_is_missing(found):
    """All of the test states cover themselves; copies of one of them cover few."""
    H, test = data_spec(TINY).hamiltonian, found.sets.test[:10]
    own = distances(test, test)
    assert experiment.measures(H, test.roll(3, -1), test, own, 1.0)["coverage"] == 1
    copies = test[:1].expand(10, -1, -1, -1)
    assert experiment.measures(H, copies, test, own, 1.0)["coverage"] < 1
    assert experiment.measures(H, copies, test, own, 1.0)["diversity"] == pytest.approx(0, abs=1e-9)


def test_the_table_of_priors_reads_what_was_found(found):
    lines = prior_table(found, lowest=-2.3).splitlines()
    assert len(lines) == 2 + 1 + 16 and lines[2].startswith("|  | training data | ")
    energy = 1e4 * (found.table["energy"][3] + 2.3)
    assert lines[6].startswith(f"| 0 | X_out | {energy:.2f} (") and lines[-1].startswith("| 10000 | X_out | ")
