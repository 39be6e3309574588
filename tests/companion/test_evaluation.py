"""What is measured of a network after a stage, and how states are reconstructed."""

import pytest
import torch

from evae_companion import evaluation
from evae_companion.data_specs import DataSpec
from evae_companion.dataset import load_data
from evae_companion.evaluation import evaluate
from evae_companion.experiments import result_cache
from evae_core import VAE, Hamiltonian
from evae_core.annealing.schedule import Schedule
from evae_core.losses import energy_loss
from evae_core.observables import kspace_mse
from evae_core.presets import VAEConfig

H = Hamiltonian(D=0.6, B=0.2)
SPEC = DataSpec(H, (16, 16), train=120, validation=110, test=4, shard=120, schedule=Schedule(sweeps=5, overrelax=0))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVAE_STORE", str(tmp_path_factory.mktemp("evaluation") / "store"))
        yield load_data(SPEC, device="cpu")


@pytest.fixture(scope="module")
def model(data):
    """Random weights, a posterior as wide as the prior, and the running averages of these data."""
    torch.manual_seed(0)
    network = VAE(16, config=VAEConfig(logvar_start=0.0)).train()
    with torch.no_grad():
        for _ in range(60):
            network(data.train[:])
    return network.eval()


def energies(spins):
    return torch.stack([energy_loss(H, one[None]) for one in spins])


def of_states(spins):
    values = energies(spins)
    return {"energy": float(values.mean()), "spread": float(values.std(correction=0)), "best": float(values.min()),
            "kspace_mse": kspace_mse(spins)}


@torch.no_grad()
def test_x_mu_is_decoded_from_the_means(model, data):
    measured = evaluate(model, data)
    mu, logvar = model.encode(data.train[:])
    assert measured["x_mu"] == pytest.approx(of_states(model.decode(mu[:evaluation.SAMPLES])), rel=1e-5)
    again = evaluate(model, data, seed=1)
    assert again["x_mu"] == measured["x_mu"] and again["x_out"] != measured["x_out"], "no draw is in x_mu"
    assert float(logvar.mean()) > -3 and measured["x_mu"] != measured["x_out"]


@torch.no_grad()
def test_scaled_draws_go_from_the_centre_outwards(model, data, monkeypatch):
    """Scale 0 is decode(0), the one state at the centre; scale 1 is the distribution of the generated states."""
    assert evaluation.SCALES == (0.5, 2.0, 4.0, 8.0)
    monkeypatch.setattr(evaluation, "SCALES", (0.0, 1e-4, 1.0, 4.0))
    measured = evaluate(model, data)
    centre, near, one, far = measured["scaled"]
    assert [entry.pop("scale") for entry in (centre, near, one, far)] == [0.0, 1e-4, 1.0, 4.0]
    state = model.decode(torch.zeros(1, model.latent))
    assert centre["energy"] == pytest.approx(float(energies(state)[0]), abs=1e-6) and centre["spread"] < 1e-6
    assert centre["kspace_mse"] < 1e-9
    assert near["energy"] == pytest.approx(centre["energy"], abs=1e-4) and near["kspace_mse"] < 1e-6
    generated = measured["generated"]
    error = generated["spread"] * (1 / evaluation.SAMPLES + 1 / evaluation.EVALUATED)**0.5
    assert abs(one["energy"] - generated["energy"]) < 5 * error
    assert near["kspace_mse"] < one["kspace_mse"] < far["kspace_mse"]


@torch.no_grad()
def test_all_validation_states_and_n_training_states_are_measured(model, data):
    """L_KL has no draw in it: its means tell which configurations are in them."""
    measured = evaluate(model, data, n=7)
    for spins, number in ((data.train, 7), (data.validation, len(data.validation))):
        mu, logvar = model.encode(spins[:number])
        kl = -0.5 * (1 + logvar - mu.square() - logvar.exp()).sum(1).mean()
        assert measured[spins.name]["kl"] == pytest.approx(float(kl), rel=1e-5)
    assert len(data.validation) > 100, "more than one batch"


# result_cache.reconstruct -------------------------------------------------------------------------------------------

@torch.no_grad()
def test_reconstructions_without_a_seed_are_decoded_from_the_means(model, data):
    spins = data.train[:]
    assert len(spins) > 100, "more than one batch"
    x_mu = result_cache.reconstruct(model, spins, None)
    torch.testing.assert_close(x_mu, model.decode(model.encode(spins)[0]), rtol=0, atol=1e-5)
    assert torch.equal(x_mu, result_cache.reconstruct(model, spins, None))


@torch.no_grad()
def test_reconstructions_with_a_seed_are_draws_that_it_reproduces(model, data):
    spins = data.train[:]
    x_out, again, other, x_mu = (result_cache.reconstruct(model, spins, seed) for seed in (2, 2, 3, None))
    assert torch.equal(x_out, again) and not torch.equal(x_out, other)
    mu, logvar = model.encode(spins)
    generator = torch.Generator().manual_seed(2)
    noise = torch.cat([torch.randn(part.shape, generator=generator) for part in mu.split(100)])
    torch.testing.assert_close(x_out, model.decode(mu + noise * (logvar / 2).exp()), rtol=0, atol=1e-5)
    assert float((x_out - x_mu).square().mean()) > 1e-3
