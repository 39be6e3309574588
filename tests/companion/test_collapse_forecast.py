"""The forecast of the collapses: few states against many, what the one state is, the record, the command."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from evae_companion import claims, cli
from evae_companion.analysis import collapse_forecast, forecast, linear_theory
from evae_companion.data_specs import data_schedule
from evae_companion.presets import PRESETS
from evae_companion.store.artifact import meta_bytes
from evae_companion.store.serialization import load_table
from evae_core import Hamiltonian, Schedule, anneal

RECORDED = Path(__file__).parents[2] / "data" / "recorded"
H = Hamiltonian(D=0.6, B=0.2)
QUICK = Schedule(sweeps=60, overrelax=0, quench=20, tolerance=0.1)


@pytest.fixture(scope="module")
def small():
    return forecast(H, (32, 32), 100, QUICK, device="cpu")


def test_a_hundred_states_stand_for_two_thousand(small):
    """The average over symmetries does it: the states alone put all variance into 99 modes."""
    many = anneal(H, (32, 32), 2000, seed=7, device="cpu", schedule=QUICK)
    of_many = linear_theory.beta_c(linear_theory.spectrum(many), 1024)
    alone = collapse_forecast.beta_c(small.alone)
    assert small.beta_c() == pytest.approx(of_many, rel=0.2)
    assert alone > 1.5 * of_many
    halves = [collapse_forecast.beta_c(half) for half in small.halves]
    assert small.beta_c() <= np.mean(halves)  # lambda_1 is convex: fewer states, larger on average over the parts
    kept = [linear_theory.free_energy(theory["eigenvalues"], 1024, 1e-3, 100) for theory in (small.alone, small.theory)]
    assert kept[0] < 0.9 * kept[1]  # so gamma_c is too large


def test_what_a_forecast_holds(small):
    theory = small.theory
    assert small.symmetries == 8 and small.states == 100
    assert small.name == collapse_forecast.ANNEALED  # in so small a box it beats the lattices of little strain
    assert small.energy == pytest.approx(PRESETS["smoke"].lowest, abs=1e-8)
    assert theory["excess"] == pytest.approx((small.data_energy - small.energy) * 0.25)  # (0.3/D)^2
    assert len(theory["eigenvalues"]) == 3 * 1024 and len(small.alone["eigenvalues"]) == 99
    assert theory["one_state"][1] == pytest.approx(small.alone["one_state"][1], rel=0.05)  # a place of the lattice
    assert small.gamma_c(1e-3)[0] < small.gamma_c(1e-3)[1]


def test_the_one_state_of_a_wide_box_is_the_lattice():
    found = forecast(H, (48, 48), 4, QUICK, device="cpu")
    assert found.name == collapse_forecast.LATTICE
    assert found.energy == pytest.approx(PRESETS["laptop"].lowest, abs=1e-8)


def test_the_trace_is_what_the_mean_leaves():
    """Unit spins: L_RC about the uniform mean m is 1 - m^2, whatever the spectrum."""
    spins = anneal(H, (16, 16), 6, seed=1, device="cpu", schedule=QUICK)
    mean = spins.double().mean((0, 2, 3))
    assert linear_theory.averaged_spectrum(spins).sum() / 256 == pytest.approx(1 - float(mean @ mean), rel=1e-5)
    turned = linear_theory.averaged_spectrum(spins, H)  # rotations leave no mean in the plane
    assert turned.sum() / 256 == pytest.approx(1 - float(mean[2]) ** 2, rel=1e-5)


def test_other_hamiltonians_collapse_onto_the_lowest_annealed_state():
    found = forecast(Hamiltonian(J=-1.0, D=0.0, B=0.5), (16, 16), 8, Schedule(sweeps=5), device="cpu")
    assert found.name == collapse_forecast.ANNEALED
    assert float(found.lowest.mean()) == pytest.approx(0.5 / 8 / 3, abs=0.02)  # canted: S^z = B/8|J|


def test_a_sample_with_edges_is_not_averaged():
    found = forecast(Hamiltonian(D=0.6, B=0.2, boundary="open"), (16, 32), 8, QUICK, device="cpu")
    assert found.symmetries == 0 and found.name == collapse_forecast.ANNEALED
    np.testing.assert_array_equal(found.theory["eigenvalues"], found.alone["eigenvalues"])


@pytest.mark.parametrize("arguments, said", [
    ({"shape": (24, 24)}, "multiples of 16"), ({"states": 3}, "states must be at least 4"),
    ({"betas": [0.0]}, "betas"), ({"betas": []}, "betas"), ({"latents": 0}, "latents"), ({"schedule": 3}, "schedule")])
def test_wrong_arguments_are_named(arguments, said):
    with pytest.raises((TypeError, ValueError), match=said):
        forecast(**{"H": H, "shape": (16, 16), "device": "cpu"} | arguments)


def test_states_that_are_all_alike_are_refused():
    with pytest.raises(RuntimeError, match="weaker field"):
        forecast(Hamiltonian(D=0.6, B=3.0), (16, 16), 8, Schedule(sweeps=20), device="cpu")


# The record ----------------------------------------------------------------------------------------------------------

def test_measured_is_read_from_the_record():
    table, found = load_table(RECORDED / "desktop" / "stages.csv"), collapse_forecast.measured("desktop")
    p = PRESETS["desktop"]
    assert sorted(one["ladder"] for one in found) == sorted(
        f"gamma, beta {beta:g}, seed {seed}" for beta in p.gamma_betas for seed in range(p.seeds))
    for one in found:
        rows = table["ladder"] == one["ladder"]
        assert one["beta"] == table["beta"][rows][0]
        by_hand = claims.critical(table["gamma"][rows], table["generated kspace_mse"][rows],
                                  table["data kspace_mse"][rows][0])
        np.testing.assert_equal(one["gamma_c_states"], by_hand)
        assert np.isfinite(one["beta_c_states"])


def test_records_that_are_missing_or_of_other_data_or_damaged(tmp_path, monkeypatch):
    monkeypatch.setenv("EVAE_RECORDED", str(tmp_path))
    assert collapse_forecast.measured("desktop") == []
    place = tmp_path / "desktop"
    place.mkdir()
    for name in ("record.json", "stages.csv"):
        shutil.copy(RECORDED / "desktop" / name, place / name)
    assert len(collapse_forecast.measured("desktop")) > 0
    body = json.loads((place / "record.json").read_text())
    body.pop("sha256")
    body["spec"]["preset"]["sweeps"] += 1
    (place / "record.json").write_bytes(meta_bytes(body))
    assert collapse_forecast.measured("desktop") == []
    (place / "stages.csv").write_text((place / "stages.csv").read_text().replace("1", "2", 1))
    with pytest.raises(ValueError, match="stages.csv"):
        collapse_forecast.measured("desktop")


# The command ---------------------------------------------------------------------------------------------------------

def test_the_command_on_a_small_box(capsys, tmp_path):
    assert cli.main(["forecast", "--preset", "smoke", "--size", "16", "--states", "20"], tmp_path) == 0
    said = capsys.readouterr().out
    assert "20 of 20 states annealed" in said and "per component" in said and "no sweep of this system" in said
    found = forecast(H, (16, 16), 20, data_schedule(PRESETS["smoke"]))
    assert f"{found.beta_c():.3g}" in said and f"{found.gamma_c(1e-4, True)[1]:.3g}" in said


def test_the_command_compares_with_the_record(capsys, tmp_path, monkeypatch):
    """Of one invented sweep, that collapses at ten times the forecast."""
    def invented(name):
        found = forecast(H, (32, 32), 4, QUICK)
        return [{"ladder": "one", "beta": 1e-3, "gamma_c_states": 10 * found.gamma_c(1e-3)[1], "gamma_c_kl": np.nan,
                 "beta_c_states": 2 * found.beta_c(), "beta_c_kl": np.nan}]

    monkeypatch.setattr(collapse_forecast, "measured", invented)
    arguments = ["forecast", "--preset", "smoke", "--states", "4"]
    assert cli.main(arguments, tmp_path) == 0
    said = capsys.readouterr().out
    assert "(10)" in said and "(2)" in said and "no collapse in 1 of 2" in said
    monkeypatch.setattr(collapse_forecast, "measured", lambda name: [])
    assert cli.main(arguments, tmp_path) == 0
    assert "no gamma sweep of preset smoke is recorded" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize("options, code, said", [
    (["--size", "20"], 2, "multiples of 16"), (["--D", "nan"], 2, "D must be finite"),
    (["--states", "2"], 2, "states must be at least 4"), (["--preset", "huge"], 2, "--preset must be one of"),
    (["--seed", "-1"], 2, "seed"), (["--preset", "smoke", "--size", "16", "--B", "9", "--states", "4"], 1, "weaker")])
def test_wrong_options_are_refused_in_words(options, code, said, capsys, tmp_path):
    assert cli.main(["forecast", *options], tmp_path) == code
    assert said in capsys.readouterr().err


def test_the_default_is_the_papers_lattice(capsys, tmp_path, monkeypatch):
    asked = []
    monkeypatch.delenv("EVAE_PRESET", raising=False)
    monkeypatch.setattr(collapse_forecast, "forecast", lambda H, shape, *more, **kw: asked.append((H.D, shape)) or (
        (_ for _ in ()).throw(RuntimeError("enough"))))
    assert cli.main(["forecast"], tmp_path) == 1
    assert asked == [(0.3, (128, 128))]
