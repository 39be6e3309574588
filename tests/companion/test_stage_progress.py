"""A stage that is killed in its middle goes on from there, and ends in the bytes of one that was not."""

import dataclasses
import time

import pytest
import torch
from test_sweeps import SMALL, TINY, stage_schedule

from evae_companion import sweeps
from evae_companion.store import stage_progress
from evae_companion.store.stage_progress import StageProgress
from evae_companion.store.store import Store
from evae_companion.trained import stage_spec
from evae_core import Hamiltonian, Schedule, anneal
from evae_core.presets import PRESETS, TrainingOptions
from evae_core.training import SpinData, fused, train_stage
from evae_core.training.stages import chained
from evae_core.training.step import Step

H = Hamiltonian(D=0.6, B=0.2)
FUSED = [False, pytest.param(True, marks=pytest.mark.skipif(fused.problem() is not None, reason=str(fused.problem())))]


@pytest.fixture(scope="module")
def data():
    return SpinData(anneal(H, (16, 16), 24, schedule=Schedule(sweeps=5, overrelax=0), device="cpu"), H)


def snapshots(into):
    return lambda snapshot: into.append(snapshot())


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("compiled", FUSED)
@pytest.mark.parametrize("adam", ["fresh", "carried over"])
def test_a_resumed_stage_ends_in_the_same_bits(data, compiled, adam):
    p = dataclasses.replace(PRESETS["smoke"], batch=8, options=TrainingOptions(fresh_adam=adam == "fresh"))
    first, second = chained([(1e-3, 0.0, 4), (1e-3, 100.0, 7)], p, seed=0)
    model, history = train_stage(first, data, device="cpu", fused=compiled)
    kept, how = [], {"device": "cpu", "fused": compiled, "adam": None if adam == "fresh" else history.adam}
    whole, of_whole = train_stage(second, data, model, after_step=snapshots(kept), **how)
    assert [len(one["losses"]) for one in kept] == [1, 2, 3, 4, 5, 6]
    for one in (kept[0], kept[3]):
        again, of_again = train_stage(second, data, model, resume=one, **how)
        assert equal(whole.state_dict(), again.state_dict()) and equal(of_whole.adam, of_again.adam)
        assert torch.equal(of_whole.losses, of_again.losses)
    assert not torch.equal(kept[0]["noise"], kept[1]["noise"]), "the noise goes on"


def test_what_is_no_snapshot_of_this_stage_is_refused(data):
    (stage,) = chained([(1e-3, 0.0, 3)], dataclasses.replace(PRESETS["smoke"], batch=8), seed=0)
    kept = []
    train_stage(stage, data, device="cpu", after_step=snapshots(kept))
    silent = {key: value for key, value in kept[0].items() if key != "noise"}
    for wrong in ({}, silent, {**kept[0], "model.extra": torch.ones(1)}, {**kept[0], "losses": torch.zeros(9, 4)}):
        with pytest.raises(ValueError, match="resume must be a snapshot of this stage"):
            train_stage(stage, data, device="cpu", resume=wrong)


@pytest.fixture
def steps(monkeypatch):
    """The optimiser steps that were taken."""
    taken, update = [], Step.update
    monkeypatch.setattr(Step, "update", lambda step, batch: (taken.append(1), update(step, batch))[1])
    return taken


@pytest.fixture
def killed(tmp_path, monkeypatch, steps):
    """A store in which the first of two stages was killed after two of its four steps, both of them kept."""
    monkeypatch.setattr(stage_progress, "EVERY", 0.0)
    keep = StageProgress.after_step

    def stop(progress, snapshot):
        keep(progress, snapshot)
        if len(steps) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(StageProgress, "after_step", stop)
        with pytest.raises(KeyboardInterrupt):
            sweeps.train_stages(stage_schedule(TINY)[:2], SMALL, Store(tmp_path / "store"), "cpu")
    steps.clear()
    return Store(tmp_path / "store")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("undisturbed"))
    return sweeps.train_stages(stage_schedule(TINY)[:2], SMALL, store, "cpu")


def same_files(found, undisturbed):
    return all((a.folder / name).read_bytes() == (b.folder / name).read_bytes()
               for a, b in zip(found, undisturbed, strict=True) for name in ("weights.safetensors", "history.npy"))


def test_a_killed_stage_goes_on(killed, undisturbed, steps):
    (left,) = (killed.root / "progress").iterdir()
    assert left.stat().st_size > 1000
    found = sweeps.train_stages(stage_schedule(TINY)[:2], SMALL, killed, "cpu")
    assert len(steps) == 2 + 2 and same_files(found, undisturbed)
    assert not list((killed.root / "progress").iterdir()), "a stage that is trained keeps no progress"


def test_damaged_progress_is_noticed(killed, undisturbed, steps):
    (left,) = (killed.root / "progress").iterdir()
    content = bytearray(left.read_bytes())
    content[-5] ^= 1
    for damaged in (content, content[:-7], b"no tensors"):
        left.write_bytes(damaged)
        said, stage = [], stage_schedule(TINY)[0]
        progress = StageProgress(killed, stage_spec(stage, SMALL), stage.learning_rate, False, None)
        assert progress.load(said.append) is None
        assert "is damaged; the stage is trained from its start" in said[0] and not left.exists()
    found = sweeps.train_stages(stage_schedule(TINY)[:2], SMALL, killed, "cpu")
    assert len(steps) == 4 + 2 and same_files(found, undisturbed)


def test_progress_belongs_to_one_learning_rate_and_mode(killed):
    stage = stage_schedule(TINY)[0]
    spec = stage_spec(stage, SMALL)
    for other in ((0.3 * stage.learning_rate, False, None), (stage.learning_rate, True, None)):
        assert StageProgress(killed, spec, *other).load(pytest.fail) is None
    assert len(StageProgress(killed, spec, stage.learning_rate, False, None).load(pytest.fail)["losses"]) == 2


def test_seconds_count_all_runs(killed, monkeypatch):
    stage = stage_schedule(TINY)[0]
    progress = StageProgress(killed, stage_spec(stage, SMALL), stage.learning_rate, False, None)
    progress.load(pytest.fail)
    before = progress.before
    assert 0 < before < 600 and progress.seconds >= before
    begun = time.monotonic()
    monkeypatch.setattr(stage_progress.time, "monotonic", lambda: begun + 100)
    assert progress.seconds > before + 99


def test_kept_once_a_minute(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(stage_progress.time, "monotonic", lambda: now[0])
    progress, taken = StageProgress(Store(tmp_path), {"kind": "stage"}, 1e-3), []
    for second in range(0, 200, 10):
        now[0] = second
        progress.after_step(lambda: taken.append(now[0]) or {"losses": torch.zeros(2, 4)})
    assert taken == [60, 120, 180] and progress.load(pytest.fail)["losses"].shape == (2, 4)


def test_a_full_disk_stops_no_training(tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stage_progress, "EVERY", 0.0)
    monkeypatch.setattr(stage_progress, "atomic_write", full)
    progress = StageProgress(Store(tmp_path), {"kind": "stage"}, 1e-3)
    progress.after_step(lambda: {"losses": torch.zeros(2, 4)})
    assert progress.load(pytest.fail) is None


def test_clean_removes_progress(killed):
    assert killed.size() > 0 and any(name.startswith("progress/") for name in killed.clean())
    assert not list((killed.root / "progress").iterdir())
