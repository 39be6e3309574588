"""A training that goes wrong: noticed at once, begun again at a lower rate, or refused; never kept with NaN in it."""

import dataclasses
import re

import numpy as np
import pytest
import safetensors.torch
import torch
from test_sweeps import SMALL, TINY

from evae_companion import dataset, evaluation, sweeps, trained
from evae_companion.store.store import Store
from evae_core import training
from evae_core.losses import Losses
from evae_core.training import SpinData, divergence
from evae_core.training.divergence import Diverged
from evae_core.training.stages import stage_schedule


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def spoil(monkeypatch, bad: dict, above: float):
    """Let the losses named in ``bad`` have these values at step 2, as long as the learning rate exceeds ``above``."""
    update, taken = training.Step.update, []

    def spoilt(self, batch):
        losses = update(self, batch)
        rate = self.optimizer.param_groups[0]["lr"]
        taken.append(rate)
        first = getattr(self, "taken", 0)
        self.taken = first + 1
        if first == 2 and rate > above:
            return Losses(**(losses._asdict() | {name: torch.tensor(value) for name, value in bad.items()}))
        return losses

    monkeypatch.setattr(training.Step, "update", spoilt)
    return taken


STAGE = dataclasses.replace(stage_schedule(TINY)[0], steps=6, final_rate=1.0)


@pytest.mark.parametrize("bad, words", [
    ({"total": float("nan")}, "a loss is not finite at step 2"),
    ({"energy": float("-inf"), "total": float("-inf")}, "a loss is not finite at step 2"),
    ({"kl": 6e6}, r"L_KL exceeds 1e\+06 at step 2 .*kl 6e\+06"),
])
def test_noticed_at_once_and_begun_again_at_a_lower_rate(store, tmp_path, monkeypatch, bad, words):
    said = []
    plain = dataclasses.replace(STAGE, learning_rate=STAGE.learning_rate * divergence.LOWER)
    taken = spoil(monkeypatch, bad, 0.5 * STAGE.learning_rate)
    (result,) = sweeps.train_stages([STAGE], SMALL, store, "cpu", said.append)
    assert len(taken) == 3 + 6, "the step that showed it was the last of the first attempt"
    assert taken[3] == pytest.approx(divergence.LOWER * taken[0])
    (failure,) = result.measured["diverged"]
    assert failure["learning_rate"] == STAGE.learning_rate and failure["step"] == 2
    assert all(repr(failure["losses"][name]) == repr(value) for name, value in bad.items())
    assert "diverged" in said[0] and "begun again with learning rate 0.0003 instead of 0.001" in said[0]
    assert re.search(words, said[0])
    assert np.isfinite(result.history).all() and len(result.history) == 6
    assert plain.spec() != STAGE.spec() and store.find(trained.stage_spec(plain, SMALL)) is None


@pytest.mark.parametrize("device", ["cpu", "resident"])
def test_given_up_after_a_bounded_number_with_stage_and_numbers_named(store, tmp_path, monkeypatch, device):
    taken = spoil(monkeypatch, {"kl": 2e6}, 0.0)
    if device == "cpu":
        def train():
            sweeps.train_stages([STAGE], SMALL, store, "cpu")
    else:  # a GPU's way through a stage, uncaptured
        data = dataset.load_data(SMALL, store, "cpu")
        there = SpinData(data.train, SMALL.hamiltonian, sweeps.upload(data.train, torch.device("cpu")))

        def train():
            sweeps._train(STAGE, None, data, there, tmp_path, "cpu", None, False, None, None, None)
    with pytest.raises(RuntimeError, match=r"seed 0, beta 0.0001, gamma 0.*0.001, 0.0003, 9e-05.*at step 2.*kl 2e\+06"):
        train()
    assert len(taken) == (1 + divergence.RETRIES) * (3 if device == "cpu" else 6)
    assert store.find(trained.stage_spec(STAGE, SMALL)) is None and not list(tmp_path.glob("*.safetensors"))


def test_weights_that_are_not_finite_are_never_kept(store, monkeypatch):
    """The losses of a step are those before its update: the last update alone may spoil the weights."""
    update = training.Step.update

    def spoilt(self, batch):
        losses = update(self, batch)
        with torch.no_grad():
            next(self.model.parameters())[0] = float("nan")
        return losses

    monkeypatch.setattr(training.Step, "update", spoilt)
    with pytest.raises(Diverged, match="weights .* are not finite"):
        sweeps.train_stages([dataclasses.replace(STAGE, steps=1)], SMALL, store, "cpu")
    assert not list(store.root.rglob("*.safetensors"))


def test_what_the_network_gives_must_be_finite():
    good = {"train": {"kl": 1.0}, "generated": {"energy": -0.1}, "data": {"kspace_mse": float("nan")}}
    evaluation.check_measured(good)
    with pytest.raises(Diverged, match=r"\(train\) is not finite.*kl inf"):
        evaluation.check_measured(good | {"train": {"kl": float("inf")}})


def test_an_undisturbed_stage_is_what_it_was(store):
    """No trace of all this in a stage that does not diverge, and no NaN in its files."""
    (result,) = sweeps.train_stages([STAGE], SMALL, store, "cpu")
    assert "diverged" not in result.measured
    state = safetensors.torch.load_file(result.folder / "weights.safetensors")
    assert all(bool(torch.isfinite(value).all()) for value in state.values())
