"""Which sweeps are trained, on which data: every seed has its own, and a variant differs in what its name says."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from evae_companion import claims, dataset
from evae_companion import training_plans as plans
from evae_companion.data_specs import data_spec
from evae_companion.experiments import study, training_choices
from evae_companion.presets import PRESETS
from evae_companion.store.store import Store
from evae_companion.sweeps import train_stages
from evae_companion.trained import history_table, stage_spec
from evae_core.losses import energy_per_spin
from evae_core.presets import VAEConfig
from evae_core.training import SpinData, train_stage
from evae_core.training.stages import stage_schedule

TINY = dataclasses.replace(
    PRESETS["smoke"], name="tiny", size=16, train=20, validation=4, test=4, shard=14, sweeps=10, batch=8,
    first_steps=6, beta_steps=2, gamma_steps=2, samples=6, betas=(1e-4, 1e-3), gammas=(1.0, 100.0, 2000.0))


def digests(data):
    """One number per configuration of a data set."""
    whole = dataset.load_data(data, device="cpu")
    return {spins.numpy().tobytes() for part in (whole.train, whole.validation, whole.test) for spins in part[:]}


def test_every_seed_has_data_of_its_own():
    """No configuration of one is in another, nor in the samples with edges."""
    sets = [digests(data_spec(TINY, seed)) for seed in range(3)]
    assert all(len(one) == 28 - dataset.load_data(data_spec(TINY, k)).left_out for k, one in enumerate(sets))
    for one, other in itertools.combinations(sets, 2):
        assert not one & other
    assert digests(data_spec(TINY, 1)) == sets[1]


@pytest.mark.parametrize("preset", PRESETS)
def test_every_seed_climbs_all_sweeps_on_its_own_data(preset):
    p = PRESETS[preset]
    ladders = plans.ladders(p)
    assert ladders.pop("start") == (plans.shortest(p), data_spec(p)), "of the notebook to start with; one seed"
    for name, (stages, data) in ladders.items():
        seed = int(name.rpartition("seed ")[2])
        assert {stage.seed for stage in stages} == {data.seed} == {seed}, name
    of_seed = [{name.rpartition(", seed")[0] for name in ladders if name.endswith(f"seed {seed}")}
               for seed in range(p.seeds)]
    alone = {f"confined {ny} x {nx}" for ny, nx in p.strip_trained}
    assert of_seed[0] - alone == of_seed[1] and all(one == of_seed[1] for one in of_seed[1:])
    assert {"beta", "gamma, beta 0.001", "gamma, beta 0.0001", "control, beta 0.001"} <= of_seed[1]
    collapsing = plans.collapsing(p)
    assert list(collapsing) == [f"β = {beta:g}, seed {seed}" for beta in p.gamma_betas for seed in range(p.seeds)]
    for name, sweep in collapsing.items():
        beta, seed = name.removeprefix("β = ").split(", seed ")
        assert sweep == ladders[f"gamma, beta {beta}, seed {seed}"]


def test_the_shortest_sweep_ends_in_one_state_in_a_few_stages():
    """Half a first stage from random weights, then the gammas around the collapse; all else as in a run."""
    first, *guided = plans.shortest(TINY)
    own = stage_schedule(TINY)[0]
    assert first == dataclasses.replace(own, beta=plans.BETA, steps=own.steps // 2) and first.parent is None
    assert [stage.gamma for stage in guided] == list(plans.START) and guided[0].parent == first
    assert [stage.parent for stage in guided[1:]] == guided[:-1]
    assert {(s.beta, s.steps, s.learning_rate) for s in guided} == {(plans.BETA, TINY.gamma_steps, TINY.learning_rate)}


def test_orders_differ_in_their_data_alone():
    for seed in (0, 1):
        rough, own, perfect, whole = orders = list(plans.orders(TINY, seed).values())
        assert all(stages == stage_schedule(TINY, plans.BETA, seed) for stages, _ in orders)
        assert own[1] == data_spec(TINY, seed) and len({data for _, data in orders}) == 4
        assert rough[1].schedule.sweeps < own[1].schedule.sweeps and perfect[1].schedule.overrelax > 0
        assert whole[1] == dataclasses.replace(perfect[1], lowest=None) and TINY.lowest is not None
        assert all(dataclasses.replace(data, schedule=own[1].schedule, lowest=own[1].lowest) == own[1]
                   for _, data in orders)


def lineage(stage):
    """A stage and all that it comes from."""
    while stage is not None:
        yield stage
        stage = stage.parent


def ancestry(stage):
    """The specs of a stage and of all that it comes from, each without its parent's."""
    return [{key: value for key, value in one.spec().items() if key != "parent"} for one in lineage(stage)]


def specs_of(sweep):
    stages, data = sweep
    return [stage_spec(stage, data) for stage in stages]


FULL = {"warm_up": True, "fresh_adam": True}
CHOICES = {"no warm-up": {"warm_up": False}, "Adam carried over between stages": {"fresh_adam": False}}
CONFIG = dataclasses.asdict(dataclasses.replace(VAEConfig(), logvar_start=0.0))


def test_a_choice_leaves_out_what_its_name_says():
    choices = plans.choices(TINY)
    own = [stage_spec(stage, data_spec(TINY)) for stage in stage_schedule(
        dataclasses.replace(TINY, first_steps=TINY.first_steps // 3), plans.BETA, 0, plans.CHOSEN)]
    assert specs_of(choices["as it is"]) == own, "a third of a first stage, all else as in a run"
    wanted = {name: {"options": FULL | left_out} for name, left_out in CHOICES.items()}
    wanted["log sigma^2 starts at 0"] = {"config": CONFIG}
    wanted["a constant learning rate"] = {"final_rate": 1.0}
    wanted["to the letter: all of these"] = {"final_rate": 1.0,
        "options": {key: value for left_out in CHOICES.values() for key, value in left_out.items()}, "config": CONFIG}
    assert list(choices) == ["as it is", *wanted]
    for name, changed in wanted.items():
        stages, data = choices[name]
        assert data == data_spec(TINY)
        for stage, as_it_is in zip(stages, choices["as it is"][0], strict=True):
            for spec, plain in zip(ancestry(stage), ancestry(as_it_is), strict=True):
                assert spec == plain | changed and not plain.keys() & {"options", "config"}, name


def test_a_preset_with_choices_of_its_own_keeps_them():
    """What is left out is left out of the preset's own network and training."""
    own = dataclasses.replace(TINY, config=VAEConfig(latent=10), options=dataclasses.replace(
        plans.TrainingOptions(), fresh_adam=False))
    choices = plans.choices(own)
    assert choices["no warm-up"][0][-1].spec()["options"] == FULL | {"fresh_adam": False, "warm_up": False}
    zero = choices["log sigma^2 starts at 0"][0][-1].spec()["config"]
    assert zero["latent"] == 10 and zero["logvar_start"] == 0.0
    assert specs_of(choices["as it is"]) == specs_of(choices["Adam carried over between stages"])


def test_lengths_repeat_one_stage_with_more_steps():
    """The stages at gamma = 100 and 2000 of the preset's sweep, from the same parents, up to 16 times as long."""
    own = stage_schedule(TINY, plans.BETA)
    lengths = plans.lengths(TINY)
    assert list(lengths) == [(gamma, times) for gamma in (100.0, 2000.0) for times in (1, 4, 16)]
    for (gamma, times), (stages, data) in lengths.items():
        (same,) = [stage for stage in own if stage.gamma == gamma]
        assert data == data_spec(TINY) and stages[-1] == dataclasses.replace(same, steps=times * TINY.gamma_steps)
        assert stages[:-1] == own[:len(stages) - 1] and stages[-1].parent == stages[-2]
        assert times > 1 or stages == own[:len(stages)], "once is the run's own stage"


@pytest.mark.parametrize("fused", [False, True])
def test_moments_go_through_the_store_unchanged(tmp_path, fused):
    """Weights are channels last in plain torch and not in the fused passes: Adam's moments follow their layout."""
    stages, data = plans.choices(TINY)["Adam carried over between stages"]
    kept = train_stages(stages[:2], data, Store(tmp_path), "cpu", lambda line: None, fused=fused)
    sets = dataset.load_data(data, Store(tmp_path), "cpu")
    spins, model, adam = SpinData(sets.train[:], data.hamiltonian), None, None
    line = [*reversed(list(lineage(stages[1])))]
    for stage in line:
        model, history = train_stage(stage, spins, model, device="cpu", adam=adam, fused=fused)
        adam = history.adam
    assert len(line) == 4
    for (name, value), there in zip(kept[1].model().state_dict().items(), model.state_dict().values(), strict=True):
        assert torch.equal(value, there), name


# experiments/training_choices ---------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What training_choices gives at a tiny preset, and its store."""
    root = tmp_path_factory.mktemp("choices") / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVAE_STORE", str(root))
        patch.setenv("EVAE_RECORDED", "off")
        assert training_choices.known(TINY).missing == 12 and not training_choices.known(TINY).choices
        return training_choices.run(TINY, device="cpu", report=lambda line: None), root


@pytest.fixture
def there(made, monkeypatch):
    monkeypatch.setenv("EVAE_STORE", str(made[1]))
    monkeypatch.setenv("EVAE_RECORDED", "off")


def test_training_choices_are_measured(made):
    found, rows = made[0], len(plans.choices(TINY))
    assert set(found.choices) == {"choice", "first", "first_validation", "beta_rc", "beta_kl", "gamma_c", "energy",
                                  "share", "rest"}
    assert found.choices["choice"].tolist() == list(plans.choices(TINY))
    for name in set(found.choices) - {"choice", "gamma_c"}:  # NaN: no collapse, as of networks so little trained
        assert found.choices[name].shape == (rows,) and np.isfinite(found.choices[name]).all(), name
    assert (found.choices["rest"] < found.choices["energy"]).all()
    # Options of later stages leave the first as it is.
    changed = ("log sigma^2 starts at 0", "a constant learning rate",
               "to the letter: all of these")
    firsts = dict(zip(found.choices["choice"], found.choices["first"], strict=True))
    same = {value for name, value in firsts.items() if name not in changed}
    assert same == {firsts["as it is"]}, "the same random numbers, whatever is left out"
    assert len({firsts[name] for name in changed} - same) == len(changed)
    ends = dict(zip(found.choices["choice"], found.choices["energy"], strict=True))
    assert len(set(ends.values())) == rows
    assert set(found.lengths) == {"gamma", "times", "reconstruction", "kl", "energy_x_out", "energy_generated",
                                  "share_x_out", "share_generated"}
    assert list(zip(found.lengths["gamma"], found.lengths["times"], strict=True)) == list(plans.lengths(TINY))
    assert all(np.isfinite(values).all() for values in found.lengths.values())
    assert len(set(found.lengths["kl"])) == 6


def test_training_choices_are_those_of_the_stages(made, there):
    """The row "as it is", from stages with a third of a first one; the length 1 at gamma = 100, from the run itself."""
    def trained(stages):
        return train_stages(stages, data_spec(TINY), device="cpu", report=pytest.fail)

    row = {name: values[0] for name, values in made[0].choices.items()}
    third = dataclasses.replace(TINY, first_steps=TINY.first_steps // 3)
    first, beta = trained(stage_schedule(third))
    sweep = trained(stage_schedule(third, plans.BETA, 0, plans.CHOSEN))
    table, H = history_table(sweep), data_spec(TINY).hamiltonian
    assert row["first"] == first.measured["train"]["reconstruction"]
    assert row["first_validation"] == first.measured["validation"]["reconstruction"]
    assert row["beta_rc"] == beta.measured["train"]["reconstruction"] and row["beta_kl"] == beta.measured["train"]["kl"]
    np.testing.assert_equal(row["gamma_c"], claims.critical(table["gamma"], table["kspace_mse"],
                                                            table["data_kspace_mse"]))
    assert row["energy"] == pytest.approx(float(energy_per_spin(H, table["energy_generated"][-1], (16, 16))), rel=1e-12)
    assert row["share"] == pytest.approx(table["kspace_mse"][-1] / table["data_kspace_mse"], rel=1e-12)
    assert row["rest"] == table["rest_generated"][-1].min()
    (hundred,) = trained([stage for stage in stage_schedule(TINY, plans.BETA) if stage.gamma == 100])
    assert made[0].lengths["kl"][0] == hundred.measured["train"]["kl"]
    assert made[0].lengths["share_x_out"][0] == pytest.approx(
        hundred.measured["x_out"]["kspace_mse"] / hundred.measured["data"]["kspace_mse"], rel=1e-12)


def test_training_choices_are_made_once(made, there, monkeypatch):
    assert training_choices.known(TINY).missing == 0
    assert training_choices.known(dataclasses.replace(TINY, first_steps=5)).missing == 12
    before = Store().names()
    monkeypatch.setattr(study, "train_sweeps", lambda *a, **k: pytest.fail("nothing is trained again"))
    again = training_choices.run(TINY, device="cpu", report=pytest.fail)
    for name in ("choices", "lengths"):
        for key, values in getattr(made[0], name).items():
            np.testing.assert_array_equal(values, getattr(again, name)[key])
    assert Store().names() == before


def test_networks_begin_as_their_configuration_says(there):
    """log sigma^2 = -6 or 0 before training: after four steps the posteriors are still that narrow, or that wide."""
    for name, start in (("as it is", -6.0), ("log sigma^2 starts at 0", 0.0)):
        stages, data = plans.choices(TINY)[name]
        (first,) = train_stages([stages[0].parent.parent], data, device="cpu", report=pytest.fail)
        with torch.no_grad():
            logvar = first.model().encode(dataset.load_data(data).train[:])[1]
        assert abs(float(logvar.mean()) - start) < 1.0, name
