"""Time left and bars: from the lines that training and data sets report, and only where somebody watches."""

import sys
import types

import pytest

from evae_companion import progress
from evae_companion.data_specs import DataSpec
from evae_companion.dataset import load_data
from evae_companion.presets import PRESETS
from evae_companion.sweeps import train_sweeps
from evae_core.hamiltonian import Hamiltonian
from evae_core.training.stages import chained

LINE = "seed 0, beta 0.001, gamma 100: L_RC 0.008, generated -0.0606 ({} steps, 7 s)"


@pytest.fixture
def clock(monkeypatch):
    now = types.SimpleNamespace(time=0.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now.time)
    return now


def test_the_time_left_is_that_of_the_work_so_far(clock):
    said = []
    report = progress.Progress(said.append, 400, "step")
    for seconds, line, *done in ((10, "a word"), (60, LINE.format(100), 100), (70, LINE.format(100), 100),
                                 (140, LINE.format(200), 200)):
        clock.time = seconds
        report(line, *done)
    assert said == ["a word", LINE.format(100) + "; about 3 min left", LINE.format(100) + "; about 70 s left",
                    LINE.format(200)]


def test_the_lines_of_a_real_run_are_understood(monkeypatch):
    """Two ladders with a common parent: the parent counts once, and every line but the last says what is left."""
    p = PRESETS["smoke"]
    spec = DataSpec(Hamiltonian(D=0.6, B=0.2), (16, 16), 20, 4, 0, shard=8)
    parent = chained([(1e-3, 0.0, 2)], p, 0)
    ladders = [[*parent, *chained([(1e-3, gamma, 2)], p, 0, parent[0])] for gamma in (1.0, 10.0)]
    said = []
    load_data(spec, report=said.append)
    assert [" left" in line for line in said] == [True, True, False]
    said.clear()
    train_sweeps(ladders, spec, device="cpu", report=said.append)
    assert [" left" in line for line in said] == [True, True, False] and "2 steps" in said[0]
    said.clear()
    train_sweeps(ladders, spec, device="cpu", report=said.append)
    assert said == []


@pytest.mark.parametrize("value, kernel, expected", [(None, False, False), (None, True, True), ("lines", True, False),
                                                     ("bar", False, True), ("", True, True)])
def test_who_is_watching(monkeypatch, value, kernel, expected):
    shell = types.SimpleNamespace(**({"kernel": 1} if kernel else {}))
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    if value is not None:
        monkeypatch.setenv(progress.ENV, value)
    assert progress.watched() is expected
    monkeypatch.setenv(progress.ENV, "loud")
    with pytest.raises(ValueError, match="'loud'"):
        progress.watched()


def test_a_bar_for_print_alone(monkeypatch, clock, capsys):
    bars = []

    class Bar:
        def __init__(self, total, unit):
            self.total, self.unit, self.n = total, unit, 0
            bars.append(self)

        def update(self, n):
            self.n += n

    monkeypatch.setitem(sys.modules, "tqdm.notebook", types.SimpleNamespace(tqdm=Bar))
    monkeypatch.setenv(progress.ENV, "bar")
    report = progress.Progress(print, 300, "step")
    clock.time = 10
    report(LINE.format(100), 100)
    report(LINE.format(200), 200)
    (bar,) = bars
    assert (bar.total, bar.unit, bar.n) == (300, "step", 300) and "20 s left" in capsys.readouterr().out
    progress.Progress([].append, 300, "step")
    progress.Progress(print, 0, "step")("a word")
    progress.Progress(None, 300, "step")("a word", 100)
    assert len(bars) == 1


@pytest.mark.parametrize("seconds, words", [(0.4, "0 s"), (99, "99 s"), (101, "2 min"), (5399, "90 min"),
                                            (7200, "2.0 h"), (2e5, "2.3 days")])
def test_spans_in_words(seconds, words):
    assert progress.in_words(seconds) == words
