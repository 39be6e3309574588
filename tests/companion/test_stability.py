"""The lowest modes of what networks' outputs relax to, at tiny size."""

import dataclasses

import numpy as np
import pytest

from evae_companion.experiments import report_tables, stability
from evae_companion.presets import PRESETS
from evae_core import Hamiltonian
from evae_core.annealing import lbfgs_refine
from evae_core.textures import skyrmions, uniform

TINY = dataclasses.replace(
    PRESETS["smoke"], name="tiny", size=16, train=24, validation=6, test=8, shard=12, sweeps=10, batch=8,
    first_steps=4, beta_steps=2, gamma_steps=2, samples=1, betas=(1e-4, 1e-3), gammas=(100.0, 1000.0, 5000.0, 1e6))


def test_translations_are_told_from_other_modes():
    H = Hamiltonian(D=0.6, B=0.25)
    skyrmion, _ = lbfgs_refine(H, skyrmions(H, (16, 16), [[7.5, 7.5]]))
    values = stability.softest(H, skyrmion)
    assert max(abs(value) for value in values[3:]) < 0.05 < min(values[:3])
    magnons = stability.softest(H, uniform((16, 16)))
    assert np.isnan(magnons[3:]).all() and magnons[0] == pytest.approx(0.25)


def test_every_network_and_kind():
    lines = []
    found = stability.run(TINY, "cpu", lines.append)
    table, n = found.table, found.states
    assert n == 1 and len(table["gamma"]) == 5 * 2 * n
    assert sorted(set(table["gamma"])) == [0, 100, 1000, 5000, 1e6] and set(table["kind"]) == set(stability.KINDS)
    rest = np.isfinite(table["mode 1"])
    assert rest.any() and (table["torque"][rest] < 1e-4).all()
    assert (table["mode 1"][rest] <= table["mode 2"][rest]).all()
    again = stability.run(TINY, "cpu", pytest.fail)
    assert np.array_equal(again.table["mode 1"], table["mode 1"], equal_nan=True)
    assert report_tables.stability_table(table, 1e-5).count("\n") == 1 + 10


def test_table_counts_minima_saddles_and_states_that_move_still():
    nan = float("nan")
    table = {"gamma": [0.0] * 3 + [100.0], "kind": ["X_out"] * 4, "mode 1": [-0.1, 0.2, nan, -1e-6],
             "mode 2": [0.1, 0.3, nan, 0.1], "mode 3": [0.2, 0.3, nan, 0.2], "glide 1": [0.0, 1e-3, nan, nan],
             "glide 2": [0.0, 2e-3, nan, nan]}
    rows = report_tables.stability_table(table, 1e-5).splitlines()
    assert rows[2] == "| 0 | X_out | 1 | 1 | 1 | -1.0e-01, 1.0e-01, 2.0e-01 | 0.0e+00 to 2.0e-03 |"
    assert rows[3] == "| 100 | X_out | 1 | 0 | 0 | -1.0e-06, 1.0e-01, 2.0e-01 | - |"
