"""The deadline: nothing is begun after its end, what was begun is finished, and the next call goes on."""

import dataclasses
import json
import time

import pytest

from evae_companion import sweeps
from evae_companion.data_specs import DataSpec
from evae_companion.dataset import load_data
from evae_companion.presets import PRESETS
from evae_companion.store import deadline
from evae_companion.store.deadline import DeadlineExceeded
from evae_companion.store.store import Store
from evae_core import Hamiltonian, Schedule
from evae_core.training.stages import stage_schedule

SMALL = DataSpec(Hamiltonian(D=0.6, B=0.2), (16, 16), train=24, validation=6, test=6, shard=12,
                 schedule=Schedule(sweeps=10, overrelax=0))
TINY = dataclasses.replace(PRESETS["smoke"], first_steps=4, beta_steps=2, gamma_steps=2, batch=8,
                           betas=(1e-4, 1e-3), gammas=(1.0, 1e3))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def set_deadline(monkeypatch):
    """Set the deadline of a run that began so many seconds ago and ends in so many."""
    def set_to(ago: float, left: float):
        monkeypatch.setenv(deadline.ENV, f"{time.time() - ago:.3f}+{ago + left:.3f}")
    return set_to


def write(folder):
    (folder / "a").write_text("a")


def thing(number, **more):
    return {"kind": "thing", "number": number, **more}


def test_the_environment_holds_the_box(monkeypatch):
    assert deadline.interval() is None and not deadline.passed()
    monkeypatch.setenv(deadline.ENV, deadline.after(2))
    start, end = deadline.interval()
    assert abs(start - time.time()) < 5 and end - start == pytest.approx(120) and not deadline.passed()
    monkeypatch.setenv(deadline.ENV, deadline.after(0))
    assert deadline.passed()
    monkeypatch.setenv(deadline.ENV, "tomorrow")
    with pytest.raises(ValueError, match="EVAE_DEADLINE.*tomorrow"):
        deadline.interval()


def test_nothing_is_begun_after_the_end(store, set_deadline):
    here = store.get(thing(1), write)
    set_deadline(10, -0.01)
    with pytest.raises(DeadlineExceeded, match=r"thing-[0-9a-f]{16} \(thing\)"):
        store.get(thing(2), write)
    assert store.get(thing(1), write) == here  # what is there is read
    assert store.names() == {here.name}


def test_what_was_begun_is_finished(store, set_deadline):
    def slowly(folder):
        time.sleep(0.3)
        write(folder)

    set_deadline(0, 0.2)
    assert (store.get(thing(1), slowly) / "a").is_file() and deadline.passed()


def test_parents_are_units_of_their_own(store, set_deadline):
    """The deadline passes between two parents: the first is kept, the child's own work has not begun."""
    begun = []

    def child(folder):
        store.get(thing("first"), lambda f: (time.sleep(0.3), write(f)))
        store.get(thing("second"), write)
        begun.append(True)
        write(folder)

    set_deadline(0, 0.2)
    with pytest.raises(DeadlineExceeded):
        store.get(thing("child"), child)
    assert store.find(thing("first")) and not begun
    assert [p.name for p in store.root.iterdir() if "partial" in p.name] == []
    set_deadline(0, 60)
    assert store.get(thing("child"), child) and begun == [True]


def test_wall_seconds_leave_out_what_was_made_on_the_way(store):
    def child(folder):
        store.get(thing("parent"), lambda f: (time.sleep(0.3), write(f)))
        time.sleep(0.1)
        write(folder)

    def grandchild(folder):
        store.get(thing("child"), child)
        write(folder)

    store.get(thing("grandchild"), grandchild)
    seconds = {name: store.meta(thing(name))["wall_seconds"] for name in ("parent", "child", "grandchild")}
    assert seconds["parent"] >= 0.3 and 0.1 <= seconds["child"] < 0.3 and seconds["grandchild"] < 0.1


def lasted(store, spec, seconds):
    store.put(spec, write, {"wall_seconds": seconds})


def test_what_will_not_fit_is_left_to_the_next_run(store, set_deadline):
    lasted(store, thing(1, steps=100), 30.0)
    lasted(store, thing(2, steps=10), 0.1)
    set_deadline(5, 10)
    time.sleep(0.01)
    assert store.get(thing(3, steps=10), write)  # the most similar one was fast
    with pytest.raises(DeadlineExceeded, match="steps 100.*about 0.5 minutes; 0.17 are left"):
        store.get(thing(4, steps=100), write)


def test_the_first_of_a_run_is_begun_whatever_it_takes(store, set_deadline):
    lasted(store, thing(1), 1e5)
    time.sleep(0.1)
    set_deadline(0, 10)
    assert store.get(thing(2), write)
    with pytest.raises(DeadlineExceeded):
        lasted(store, thing(3), 1e5) or store.get(thing(4), write)


def test_what_was_carried_here_tells_no_time(store):
    store.put(thing(1), write, {"wall_seconds": 1e5, "packed": {}})
    assert deadline.expected_seconds(thing(2), store.root) is None
    lasted(store, thing(3), 7.0)
    assert deadline.expected_seconds(thing(2), store.root) == 7.0


def test_put_keeps_what_is_there(store):
    assert store.put(thing(1), write, {"created": "2020-02-02T00:00:00Z", "more": [1]})
    assert not store.put(thing(1), lambda folder: 1 / 0, {"created": "2021-02-02T00:00:00Z"})
    meta = store.meta(thing(1))
    assert meta["created"][:4] == "2020" and meta["more"] == [1] and store.meta(thing(2)) is None
    assert json.loads((store.find(thing(1)) / "meta.json").read_text())["more"] == [1]


def test_the_end_comes_through_worker_processes(store, set_deadline, monkeypatch):
    """Sweeps side by side: at the deadline every worker stops between stages, and the next call ends in the same."""
    monkeypatch.setattr(sweeps, "FEW_STEPS", 0)
    ladders = [stage_schedule(TINY, 1e-3), stage_schedule(TINY, 1e-4)]
    load_data(SMALL, store, "cpu")
    before = store.names()
    set_deadline(10, -0.01)
    with pytest.raises(DeadlineExceeded, match=r"stage-[0-9a-f]{16} \(stage seed 0 beta 0.0001 gamma 0 steps 4\)"):
        sweeps.train_sweeps(ladders, SMALL, store, "cpu", workers=2)
    assert store.names() == before
    monkeypatch.delenv(deadline.ENV)
    runs = sweeps.train_sweeps(ladders, SMALL, store, "cpu", workers=1)
    assert all(trained.folder.is_dir() for run in runs for trained in run)
