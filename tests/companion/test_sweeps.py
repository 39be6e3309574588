"""Ladders, single steps, sequential training: what is learnt, carried over, kept, resumed and refused."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from evae_companion import sweeps, trained
from evae_companion.data_specs import DataSpec
from evae_companion.dataset import load_data
from evae_companion.presets import PRESETS
from evae_companion.store.store import Store
from evae_core import VAE, Hamiltonian, Schedule, losses, training
from evae_core.training import fused
from evae_core.training.stages import chained, stage_schedule

SMOKE = PRESETS["smoke"]
H = Hamiltonian(D=0.6, B=0.2)
SMALL = DataSpec(H, (16, 16), train=24, validation=6, test=6, shard=12, schedule=Schedule(sweeps=10, overrelax=0))
TINY = dataclasses.replace(SMOKE, first_steps=4, beta_steps=2, gamma_steps=2, batch=8,
                           betas=(1e-4, 1e-3), gammas=(1.0, 1e3))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def batch(n=8, size=32):
    return F.normalize(torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(0)), dim=1)


def test_ladders_of_the_paper():
    for preset in PRESETS.values():
        betas = stage_schedule(preset)
        assert [s.beta for s in betas] == [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 2e-2, 5e-2, 1e-1, 1.0]
        assert {s.gamma for s in betas} == {0.0}
        assert betas[0].parent is None and all(b.parent == a for a, b in zip(betas, betas[1:], strict=False))
        for beta in (1e-3, 1e-4):
            gammas = stage_schedule(preset, beta)
            assert gammas[0].parent == next(s for s in betas if s.beta == beta) and {s.beta for s in gammas} == {beta}
            assert [s.gamma for s in gammas] == sorted(s.gamma for s in gammas)
            assert gammas[0].gamma == 1e-4 and gammas[-1].gamma == 1e6
            assert {500.0, 1e3, 1500.0, 2e3, 5e3} <= {s.gamma for s in gammas}
    with pytest.raises(ValueError, match="beta"):
        stage_schedule(SMOKE, 0.5)


def test_step_is_adam_on_the_loss():
    """One make_step step equals the plain loop written out: loss, backward, torch's Adam."""
    torch.manual_seed(6)  # no maximum of the pooling is near enough to another for rounding to exchange them
    model = VAE(32)
    twin = VAE(32)
    twin.load_state_dict(model.state_dict())
    step = training.make_step(32, H, 1e-3, 10.0, "cpu", seed=5, model=model)
    found = step(batch())
    twin.train()
    expected = twin.loss(batch(), H, 1e-3, 10.0, torch.Generator().manual_seed(5))
    expected.total.backward()
    torch.testing.assert_close(torch.stack(found), torch.stack([v.detach() for v in expected]), rtol=1e-4, atol=1e-5)
    before = {name: p.detach().clone() for name, p in twin.named_parameters()}
    for (name, p), q in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert float((p.grad - q.grad).norm()) <= 1e-3 * float(q.grad.norm()) + 1e-6, name
        # Adam's first step, its moments corrected for their start at zero, is lr g / (|g| + eps).
        torch.testing.assert_close(before[name] - p.detach(), 1e-3 * p.grad / (p.grad.abs() + 1e-8),
                                   rtol=1e-3, atol=1e-7, msg=name)


def test_steps_learn():
    step = training.make_step(32, H, 1e-6, 0.0, "cpu", seed=1)
    losses = [float(step(batch(4)).total) for _ in range(40)]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_gamma_lowers_the_energy():
    low = training.make_step(32, H, 1e-6, 1e4, "cpu", seed=1)
    energies = [float(low(batch(4)).energy) for _ in range(60)]
    assert energies[-1] < energies[0] - 0.02


def test_same_seed_same_weights_other_seed_others():
    weights = []
    for seed in (1, 1, 2):
        step = training.make_step(16, H, 1e-3, 1.0, "cpu", seed=seed)
        step(batch(4, 16))
        weights.append(torch.cat([p.flatten() for p in step.model.parameters()]))
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_climb_carries_weights_over_and_resumes(store):
    said = []
    stages = stage_schedule(TINY)
    first = sweeps.train_stages(stages, SMALL, store, "cpu", said.append)
    assert len(said) == 2 and "L_RC" in said[0]
    again = sweeps.train_stages(stages, SMALL, store, "cpu", said.append)
    assert len(said) == 2, "nothing is trained twice"
    assert [t.folder for t in first] == [t.folder for t in again]
    up = sweeps.train_stages(stage_schedule(TINY, 1e-3), SMALL, store, "cpu", said.append)
    assert len(said) == 4, "the gamma ladder starts from the stage that is there"
    history = first[0].history
    assert history.shape == (4, 4) and np.isfinite(history).all()
    # An interrupted ladder ends in the same bytes: another store, one stage at a time.
    other = Store(store.root.parent / "other")
    for k in (1, 2):
        second = sweeps.train_stages(stage_schedule(TINY, 1e-3)[:k], SMALL, other, "cpu")
    assert all(torch.equal(a, b) for a, b in zip(second[-1].model().state_dict().values(),
                                                 up[-1].model().state_dict().values(), strict=True))


def test_a_stage_without_steps_of_its_own_is_its_parent(store):
    """Weights really come from the parent: with a learning rate of nearly zero they stay."""
    (first,) = sweeps.train_stages(stage_schedule(TINY)[:1], SMALL, store, "cpu")
    still = dataclasses.replace(stage_schedule(TINY)[1], learning_rate=1e-12)
    (second,) = sweeps.train_stages([still], SMALL, store, "cpu")
    for (name, a), b in zip(first.model().named_parameters(), second.model().parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-8, msg=name)


def test_side_by_side_equals_one_after_the_other(store, tmp_path, monkeypatch):
    monkeypatch.setattr(sweeps, "FEW_STEPS", 0)
    ladders = [stage_schedule(TINY, 1e-3), stage_schedule(TINY, 1e-4)]
    said = []
    together = sweeps.train_sweeps(ladders, SMALL, store, "cpu", said.append, workers=2)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone = [sweeps.train_stages(stages, SMALL, Store(tmp_path / "other"), "cpu") for stages in ladders]
    finally:
        torch.set_num_threads(threads)
    assert sum("L_RC" in line for line in said) == 6
    for a, b in zip(together, alone, strict=True):
        assert a[-1].measured["train"] == b[-1].measured["train"]


def test_measured_numbers(store):
    (first,) = sweeps.train_stages(stage_schedule(TINY)[:1], SMALL, store, "cpu")
    measured, data = first.measured, load_data(SMALL, store, "cpu")
    assert set(measured) >= {"train", "validation", "generated", "data", "seconds", "device"}
    energy = H.energy_per_spin(data.train[:].double()).numpy()
    assert measured["data"]["energy"] == pytest.approx(losses.loss_of_energy(H, energy, (16, 16)).mean())
    assert losses.energy_per_spin(H, losses.loss_of_energy(H, energy, (16, 16)), (16, 16)) == pytest.approx(energy)
    columns = trained.history_table([first])
    assert columns["reconstruction"][0] == measured["train"]["reconstruction"] and columns["beta"].tolist() == [1e-4]


def test_open_samples_train_with_zero_padding(store):
    edges = Hamiltonian(D=0.6, B=0.2, boundary="open")
    spec = dataclasses.replace(SMALL, hamiltonian=edges, shape=(16, 32))
    rungs = chained([(1e-3, 10.0, 2)], TINY, 0, translate=False)
    (trained,) = sweeps.train_stages(rungs, spec, store, "cpu")
    assert trained.model().boundary == "open" and trained.model().size == (16, 32)
    with pytest.raises(ValueError, match="translate"):
        sweeps.train_stages(chained([(1e-3, 10.0, 2)], TINY, 0, translate=True), spec, store, "cpu")


def test_divergence_is_noticed_and_leaves_nothing(store):
    wild = dataclasses.replace(stage_schedule(TINY)[0], learning_rate=1e30, steps=30)
    with pytest.raises(RuntimeError, match="not finite at step"):
        sweeps.train_stages([wild], SMALL, store, "cpu")
    assert store.find(trained.stage_spec(wild, SMALL)) is None


def test_bad_arguments():
    for bad in ({"beta": -1.0}, {"gamma": float("nan")}, {"device": "tpu"}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            training.make_step(**{"size": 32, "hamiltonian": H, "beta": 1e-3, "gamma": 1.0, "device": "cpu"} | bad)
    step = training.make_step(32, H, 1e-3, 1.0, "cpu")
    with pytest.raises(ValueError, match="batch"):
        step(batch(1))
    with pytest.raises(ValueError, match="spins"):
        step(batch(2, 48))
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="cuda"):
            training.make_step(32, H, 1e-3, 1.0, "cuda")


@pytest.mark.skipif(fused.problem() is not None, reason=str(fused.problem()))
def test_long_stages_are_compiled_and_every_stage_says_how_it_was_trained(store, tmp_path, monkeypatch):
    stages = stage_schedule(TINY)[:1]
    (short,) = sweeps.train_stages(stages, SMALL, store, "cpu")
    assert (short.measured["mode"], short.measured["precision"]) == ("eager", "float32")
    assert short.measured["threads"] == 1
    monkeypatch.setattr(sweeps, "FUSED_WORK", 4 * 8 * 16 * 16)
    (long,) = sweeps.train_stages(stages, SMALL, Store(tmp_path / "long"), "cpu")
    assert long.measured["mode"] == "compiled" and set(long.measured) == set(short.measured)
    np.testing.assert_allclose(long.history[0], short.history[0], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(long.history, short.history, rtol=0.3, atol=0.3)  # Adam amplifies the difference
    again = sweeps.train_stages(stages, SMALL, Store(tmp_path / "again"), "cpu", fused=True)[0]
    assert all(torch.equal(a, b) for a, b in zip(again.model().state_dict().values(),
                                                 long.model().state_dict().values(), strict=True))
    coarse = sweeps.train_stages(stages, SMALL, Store(tmp_path / "coarse"), "cpu", fused=True, precision="bfloat16")[0]
    assert coarse.measured["precision"] == "bfloat16" and not np.array_equal(coarse.history, long.history)


def test_no_compiler_is_said_once_for_all_ladders(store, monkeypatch):
    monkeypatch.setattr(sweeps, "FUSED_WORK", 1)
    monkeypatch.setattr(fused, "problem", lambda: "no C++ compiler")
    said = []
    ladders = [stage_schedule(TINY)[:2], stage_schedule(TINY, 1e-4)[:1]]
    trained = sweeps.train_sweeps(ladders, SMALL, store, "cpu", said.append, workers=1)
    assert sum("no C++ compiler" in line for line in said) == 1
    assert {t.measured["mode"] for one in trained for t in one} == {"eager"}
    sweeps.train_stages(stage_schedule(TINY, 1e-3), SMALL, store, "cpu", said.append)
    assert sum("no C++ compiler" in line for line in said) == 2, "once a climb of two stages"


def test_a_stage_on_a_gpu(store, tmp_path):
    """The GPU's way through a stage, on the CPU and uncaptured: the same numbers, but for data in half precision."""
    data, stage = load_data(SMALL, store, "cpu"), stage_schedule(TINY)[0]
    there = training.SpinData(data.train, H, sweeps.upload(data.train, torch.device("cpu")))
    sweeps._train(stage, None, data, there, tmp_path, "cpu", None, False, None, None, None)
    (usual,) = sweeps.train_stages([stage], SMALL, store, "cpu")
    there = trained.TrainedStage(stage, SMALL, tmp_path)
    np.testing.assert_allclose(there.history[0], usual.history[0], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(there.history, usual.history, rtol=0.3, atol=0.3)  # Adam amplifies the difference
    assert there.history.shape == (4, 4) and there.model().size == (16, 16)
