"""Tasks in processes: each once, after those it waits for, the longest chain first; errors end them all."""

import time
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evae_companion.processes import Task, _chains, run_parallel, run_tasks


def note(folder, name, seconds=0.0, *, report):
    """Leave a file when it begins and one when it ends, and say so."""
    (folder / f"{name} begun").write_text(str(time.time()))
    time.sleep(seconds)
    (folder / f"{name} done").write_text(str(time.time()))
    report(name, 1)
    return name.upper()


def fail(*, report):
    report("last words")
    raise ValueError("this task fails")


def when(folder, name):
    return float((folder / name).read_text())


def test_tasks_run_after_those_before_them_and_report(tmp_path):
    """A fork whose long arm is the one that must begin first, though it is named last."""
    tasks = {"short": Task(partial(note, tmp_path, "short"), ("root",), 1),
             "long end": Task(partial(note, tmp_path, "long end"), ("long",), 5),
             "long": Task(partial(note, tmp_path, "long"), ("root",), 1), "root": Task(partial(note, tmp_path, "root"))}
    told = []
    assert run_tasks(tasks, lambda *line: told.append(line), workers=1) == {name: name.upper() for name in tasks}
    assert sorted(told) == sorted((name, 1) for name in tasks)
    order = sorted(tasks, key=lambda name: when(tmp_path, f"{name} begun"))
    assert order == ["root", "long", "long end", "short"]


def test_two_workers_work_at_the_same_time(tmp_path):
    names = run_parallel([partial(note, tmp_path, name, 2.0) for name in "ab"], workers=2)
    assert names == ["A", "B"]
    assert max(when(tmp_path, f"{name} begun") for name in "ab") < min(when(tmp_path, f"{name} done") for name in "ab")


def test_an_error_ends_what_has_not_begun(tmp_path):
    """Neither what waits for the task that fails nor what does not; what it reported before is passed on."""
    tasks = {"bad": Task(fail, work=10), "after": Task(partial(note, tmp_path, "after"), ("bad",)),
             "later": Task(partial(note, tmp_path, "later"))}
    told = []
    with pytest.raises(ValueError, match="this task fails"):
        run_tasks(tasks, told.append, workers=1)
    assert not list(tmp_path.iterdir()) and told == ["last words"]


@pytest.mark.parametrize("after, message", [({"a": ("b",), "b": ("a",)}, "wait for each other"),
                                            ({"a": ("c",), "b": ()}, "not there: c")])
def test_tasks_that_can_never_begin_are_refused(after, message):
    with pytest.raises(ValueError, match=message):
        run_tasks({key: Task(fail, before) for key, before in after.items()})


@given(st.lists(st.tuples(st.floats(0.1, 10), st.lists(st.integers(0, 30), max_size=3)), min_size=1, max_size=12))
def test_a_chain_is_the_longest_path_to_an_end(drawn):
    """Against all paths written out; a task may wait for earlier ones only, so that there is no circle."""
    tasks = {number: Task(fail, tuple({before % number for before in befores} if number else ()), work)
             for number, (work, befores) in enumerate(drawn)}

    def longest(key):
        return tasks[key].work + max((longest(other) for other in tasks if key in tasks[other].after), default=0)

    assert _chains(tasks) == pytest.approx({key: longest(key) for key in tasks})
