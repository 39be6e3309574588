"""The phase diagram: where made states cross, what its figures refuse, and one whole at the smallest size."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from cluster_faults import TINY

from evae_companion import claims, plotting
from evae_companion.cluster.tables import by_chain
from evae_companion.experiments import phase_diagram
from evae_companion.experiments.phase_diagram import boundaries, ensemble, evidence, fitting
from evae_companion.presets import PRESETS

NAN = float("nan")


def test_boundaries_are_where_energies_cross():
    made = {(0.5, 0.0): {"helix": -1.0, "skyrmions": -0.9, "uniform": -0.5},
            (0.5, 0.4): {"helix": -1.0, "skyrmions": -1.3, "uniform": -0.9},
            (0.5, 1.0): {"helix": -1.0, "skyrmions": -1.4, "uniform": -1.6},
            (0.6, 0.0): {"helix": -1.0, "skyrmions": NAN, "uniform": -0.5},
            (0.6, 1.0): {"helix": -1.0, "skyrmions": -0.5, "uniform": -0.6}}
    found = boundaries(made)
    assert found["helix", "skyrmions"] == {0.5: pytest.approx(0.1)}
    assert found["skyrmions", "uniform"] == {0.5: pytest.approx(0.8)}, "none where they do not cross, or are not there"


def test_the_plan():
    plan = ensemble(PRESETS["laptop"])
    p = PRESETS["laptop"]
    assert len(plan) == 2 * len(p.phase_D) * len(p.phase_fields) and {chain.beta for chain in plan} == {None, 1e-3}
    assert all(one.stages[0] == other.stages[0] for one, other in zip(plan[::2], plan[1::2], strict=True))


def test_what_is_evidence():
    good = {"reconstruction": 0.2, "plateau": 0.5, "spread_first": 0.1, "spread": 1e-4}
    said = [evidence(good | change, claims.COLLAPSED) for change in (
        {}, {"reconstruction": 0.3}, {"reconstruction": NAN}, {"spread_first": 1e-9}, {"spread": 0.1})]
    assert said == ["yes", "data not learned", "data not learned", "one state at γ = 0", "not collapsed"]


def test_which_helix_fits():
    plan = ensemble(replace(PRESETS["laptop"], phase_D=(0.3, 0.35, 0.4)))
    found = fitting(plan)
    assert found[0.4][1] == 16.0, "two along one axis"
    assert found[0.3] == (pytest.approx(2 * math.pi / math.atan(0.3)), pytest.approx(32 / 2**0.5)), "one along each"
    assert found[0.35][1] == found[0.3][1], "16 sites are nearer to its 18.7, and 3e-4 J higher"


def test_a_whole_one():
    p = replace(TINY, excess_size=16, phase_D=(0.8,), phase_fields=(0.0, 0.55))
    lines = []
    found = phase_diagram.run(p, "cpu", lines.append, lambda: ThreadPoolExecutor(1))
    rows = by_chain(found.endings, claims.criticals)
    assert [round(row["field"], 9) for row in rows] == [0.0, 0.55] and not found.errors and lines
    assert set(found.states) == set(found.made) == {(0.8, 0.0), (0.8, 0.55)}
    low = found.made[0.8, 0.0]
    assert low["uniform"] == pytest.approx(-2.0) and low["helix"] < low["uniform"] and low["helix"] < low["skyrmions"]
    for row in rows:
        assert 0 < row["plateau"] < 2.01 and row["spread_first"] > 0
        assert row["lowest_energy"] <= row["median_energy"] + 1e-8 and row["lowest_energy"] <= row["raw_lowest"] + 1e-8
        best = min(e for e in found.made[row["D"], round(row["field"], 9)].values() if e == e)
        assert row["annealed_energy"] > best - 1e-3, "nothing lies far below the made states"
    assert {tuple(spins.shape) for three in found.states.values() for spins in three.values()} == {(3, 16, 16)}


def test_figures():
    points = [(0.5, 0.0, "helix", True), (0.5, 0.5, "skyrmions", False), (0.6, 0.9, "uniform", True)]
    fig = plotting.phase_diagram([("one", points), ("two", points)], [("a line", [0.5, 0.6], [0.2, 0.3]),
                                                                      ("a tick", [0.5], [0.7])])
    assert [ax.get_title() for ax in fig.axes] == ["one", "two"] and len(fig.axes[0].lines) == 3 + 2 + 3
    with pytest.raises(ValueError, match="phase must be"):
        plotting.phase_diagram([("one", [(0.5, 0.0, "liquid", True)])])
    with pytest.raises(ValueError, match="field of a line"):
        plotting.phase_diagram([("one", points)], [("a line", [0.5, 0.6], [0.2])])
    curves = [("D = 0.5", [0.0, 0.5], [1e3, NAN])]
    fig = plotting.critical_fields([("gamma_c", curves), ("beta_c", curves)])
    assert fig.axes[0].get_yscale() == "log" and np.isnan(fig.axes[1].lines[0].get_ydata()[1])
    with pytest.raises(ValueError, match="value of D"):
        plotting.critical_fields([("gamma_c", [("D = 0.5", [0.0], [1.0, 2.0])])])
