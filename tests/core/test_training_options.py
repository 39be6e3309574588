"""Each thing this project adds to the paper's training can be left out, and does what it says when it is not."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from evae_core import Hamiltonian, load_preset
from evae_core.annealing import anneal
from evae_core.presets import TrainingOptions, VAEConfig
from evae_core.training import SpinData, chained, seeds_of, train_stage
from evae_core.training.batch_schedule import batch_schedule
from evae_core.training.stages import Stage

H = Hamiltonian(D=1.0, B=0.5)
SMOKE = replace(load_preset("smoke"), batch=8, translate=False)


@pytest.fixture(scope="module")
def data():
    return SpinData(anneal(H, (16, 16), 24), H)


def _stages(options, steps=(3, 3)):
    return chained([(1e-3, gamma, n) for gamma, n in zip((0.0, 100.0), steps, strict=True)],
                   replace(SMOKE, options=options), seed=0)


def _schedule(stage, configurations=24):
    return batch_schedule(stage, configurations, (16, 16), np.random.default_rng(0))


def test_default_options_do_not_enter_the_spec():
    plain, same, other = (_stages(o)[1] for o in (None, TrainingOptions(), TrainingOptions(warm_up=False)))
    assert plain.spec() == same.spec() and "options" not in plain.spec()
    assert other.spec()["options"]["warm_up"] is False and other.spec()["parent"]["options"]["warm_up"] is False


def test_every_configuration_comes_once_per_epoch():
    (stage, _) = _stages(None, (9, 1))
    drawn = _schedule(stage).indices.ravel()
    for epoch in drawn.reshape(3, 24):
        assert sorted(epoch) == list(range(24))
    assert not np.array_equal(drawn[:24], drawn[24:48])


def test_an_epoch_may_end_within_a_batch():
    (stage, _) = _stages(None, (5, 1))
    drawn = _schedule(stage, 10).indices.ravel()
    assert len(drawn) == 40 and (np.bincount(drawn) == 4).all()


def test_the_warm_up_is_left_out():
    first, second = _stages(None, (50, 50))
    assert _schedule(second).rates[0] < 0.1 * _schedule(first).rates[0]
    _, bare_second = _stages(TrainingOptions(warm_up=False), (50, 50))
    np.testing.assert_array_equal(_schedule(bare_second).rates, _schedule(first).rates)


def test_moments_carried_over_make_one_stage_of_two(data):
    """Two stages at one beta, gamma and rate, on the same batches and noise, take the step that one stage takes."""
    options = TrainingOptions(fresh_adam=False, warm_up=False)
    base = Stage(1e-3, 0.0, 4, 24, 1e-3, 1.0, False, 0, options=options)  # a batch of all 24, in some order
    seeds = {"weights": 1, "noise": 2, "batches": 3}.__getitem__
    first, history = train_stage(replace(base, steps=3), data, device="cpu", seeds=seeds)
    later = replace(base, steps=1, parent=replace(base, steps=3))
    fresh = replace(later, options=replace(options, fresh_adam=True))
    together, _ = train_stage(later, data, first, device="cpu", seeds=seeds, adam=history.adam)
    anew, _ = train_stage(fresh, data, first, device="cpu", seeds=seeds)

    def moved(model):
        return torch.cat([(b - a).flatten() for a, b in zip(first.parameters(), model.parameters(), strict=True)])
    # A fresh Adam's first step is rate * sign(gradient); after three steps its moments make it another.
    assert float(((moved(anew).abs() - 1e-3).abs() < 1e-5).float().mean()) > 0.99
    assert float((moved(together).abs() < 0.7e-3).float().mean()) > 0.1
    assert all(float(history.adam[name]) == 3 for name in history.adam if name.endswith(".step"))


def test_adam_is_asked_for_where_it_is_carried_over_and_only_there(data):
    first, second = _stages(TrainingOptions(fresh_adam=False))
    model, history = train_stage(first, data, device="cpu")
    with pytest.raises(ValueError, match="adam must be the History.adam of the parent"):
        train_stage(second, data, model, device="cpu")
    with pytest.raises(ValueError, match="and only there"):
        train_stage(replace(second, options=None), data, model, device="cpu", adam=history.adam)
    with pytest.raises(ValueError, match="moments of every weight"):
        train_stage(second, data, model, device="cpu", adam={"x": torch.zeros(1)})


@pytest.mark.parametrize("wrong", [dict(warm_up=1), dict(fresh_adam=None)])
def test_wrong_options_are_named(wrong):
    with pytest.raises((TypeError, ValueError), match=next(iter(wrong))):
        TrainingOptions(**wrong)


def test_what_is_compared_has_the_same_random_numbers():
    plain, other = _stages(None), _stages(TrainingOptions(warm_up=False))
    purposes = ("weights", "noise", "batches")
    for a, b in zip(plain, other, strict=True):
        assert [seeds_of(a)(purpose) for purpose in purposes] == [seeds_of(b)(purpose) for purpose in purposes]
    wide = replace(plain[1], config=VAEConfig(logvar_start=0.0))
    assert seeds_of(wide)("noise") == seeds_of(plain[1])("noise")
    apart = {seeds_of(stage)(purpose) for purpose in purposes for stage in (
        *plain, replace(plain[0], seed=1), replace(plain[1], gamma=10.0), replace(plain[1], steps=4))}
    assert len(apart) == 5 * len(purposes)
