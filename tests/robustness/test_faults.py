"""Short forms of benchmarks/faults.py: kills, damages, argument_fuzz, several at once, memory. Nothing may be lost."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import argument_fuzz
import pytest
from call import Call
from hypothesis import HealthCheck, Phase, given, settings

ROOT = Path(__file__).parents[2]


def part(call: str, seconds: int = 900) -> dict:
    """What a part of faults.py finds, run in a process of its own: it forks, or measures its memory."""
    code = ("import json, sys; sys.path.insert(0, 'benchmarks')\nimport faults\n"
            f"if __name__ == '__main__': print(json.dumps(faults.separately({call})))")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=seconds,
                          env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="it forks")
def test_kill_it_anywhere_and_run_it_again():
    """25 times, at random moments of the second notebook (data set, ladders, results, figures, claims)."""
    (row,) = part("faults.kills, 25, False, ['02']").values()
    assert row["kills"] == 25 and row["runs completed"] >= 1 and row["files compared"] > 50
    assert row["files that differ"] == row["left behind"] == 0


def test_no_damage_goes_unnoticed():
    rows = part("faults.damages, 100")
    store = rows.pop("one file of the store damaged")
    assert store["tried"] == 100 and min(store[how] for how in ("cut", "flip", "empty", "missing")) > 0
    assert not any(store[name] for name in ("unnoticed", "unnamed", "not moved aside", "not made anew"))
    rows |= part("faults.committed, 20")
    assert len(rows) >= 4
    for what, row in rows.items():
        assert row["tried"] > 0 and row["unnoticed"] == 0, what


@pytest.mark.skipif(not hasattr(os, "fork"), reason="it forks")
def test_two_figures_and_a_reader_on_one_store():
    (row,) = part("faults.together, ['01']").values()
    assert row["failed"] == row["files that differ"] == row["left behind"] == row["made twice"] == 0


def test_memory_stays_flat():
    for what, row in part("faults.long_run, 600, 60").items():
        assert row["grew (%)"] < 2, (what, row)


# Nonsense -----------------------------------------------------------------------------------------------------------

# Without the phase that explains failures: it traces every line, which takes long and makes the limits on time wrong.
FEW = settings(max_examples=250, suppress_health_check=list(HealthCheck), derandomize=True,
               phases=(Phase.explicit, Phase.generate, Phase.shrink))


@contextmanager
def inside(tmp_path_factory, name):
    """A folder for all examples of a test, entered, and a MonkeyPatch: fixtures of their own these cannot have."""
    folder = tmp_path_factory.getbasetemp() / name
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder, patch


def test_every_public_function_and_argument_is_tried():
    assert argument_fuzz.uncovered() == []


@pytest.mark.filterwarnings("ignore")  # of torch and numpy about a wrong argument, on its way to being refused
def test_every_argument_of_every_function_refuses_every_wrong_kind(tmp_path, monkeypatch):
    """The table: TypeError or ValueError that names the argument, within a second of the processor."""
    monkeypatch.chdir(tmp_path)  # a word is a good name of a file
    assert [fault for name in argument_fuzz.functions() for fault in argument_fuzz.table(name)] == []


@pytest.mark.filterwarnings("ignore")
@FEW
@given(argument_fuzz.examples())
def test_wrong_arguments_are_named(tmp_path_factory, example):
    with inside(tmp_path_factory, "words that name files"):
        assert argument_fuzz.wrong(*example) is None


@pytest.mark.filterwarnings("ignore")
@settings(FEW, max_examples=60)
@given(argument_fuzz.command_lines())
def test_wrong_command_lines_are_refused_in_words(tmp_path_factory, argv):
    with inside(tmp_path_factory, "no notebooks here") as (folder, patch):
        patch.setenv("EVAE_FIGURES", str(folder / "figures"))
        assert argument_fuzz.wrong_command(argv, folder) is None


def test_a_fault_is_seen(monkeypatch):
    """The examiner itself: another exception, an unnamed one, NaN, and time."""
    def call(function):
        monkeypatch.setattr(argument_fuzz, "functions", lambda: {"f": Call(function, {"size": 1})})
        return argument_fuzz.wrong("f", "size", -1)

    monkeypatch.setattr(argument_fuzz, "functions", lambda: {"f": Call(lambda size: 1.0, {"size": 1})})
    assert argument_fuzz.table("f")[0] == "f(size=None) is not refused" and len(argument_fuzz.table("f")) == 9
    assert call(lambda size: {}[size]).startswith("f(size=-1): KeyError")
    assert "not named" in call(lambda size: [0][:"a"])
    assert "not finite" in call(lambda size: float("nan"))
    monkeypatch.setattr(argument_fuzz, "SECONDS", -1)
    assert "took" in call(lambda size: 1.0)
