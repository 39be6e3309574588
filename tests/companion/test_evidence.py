"""The results of notebooks 7 and 8 at a tiny size: what they hold, that they come from the store, how they read."""

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from evae_companion import places, publish_known
from evae_companion import training_plans as plans
from evae_companion.analysis import Candidate, GroundStateCandidates
from evae_companion.analysis.samplers import EnergyTrace
from evae_companion.cli import main
from evae_companion.data_specs import confined_spec, data_spec
from evae_companion.experiments import budget, confined, ground_state, report_tables, size_scan
from evae_companion.experiments.budget import arrival, curves, samples
from evae_companion.experiments.ground_state import cached_candidates, gaps, known_best, search_of
from evae_companion.experiments.size_scan import shapes, spacing
from evae_companion.presets import PRESETS
from evae_companion.store.store import Store
from evae_companion.sweeps import train_stages
from evae_core.training.stages import confined_stages

TINY = dataclasses.replace(
    PRESETS["smoke"], name="tiny", size=16, train=24, validation=6, test=8, shard=12, sweeps=10, batch=8,
    first_steps=4, beta_steps=2, gamma_steps=2, samples=6, betas=(1e-4, 1e-3), gammas=(1.0, 1e6),
    confined=((16, 16), (16, 32)), confined_train=20, confined_steps=2, search_anneals=4, search_sweeps=20,
    search_kicks=4, rival_runs=4, rival_sweeps=20, tempering_runs=2, tempering_sweeps=20, strip_squares=(1.5,),
    strip_wires=(0.75,), strip_anneals=4, strip_trained=((16, 48),))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVAE_STORE", str(tmp_path_factory.mktemp("evidence") / "store"))
        made = SimpleNamespace(gaps=gaps(TINY, "cpu", lambda line: None),
                               budget=budget.run(TINY, "cpu", lambda line: None),
                               size_scan=size_scan.run(TINY, "cpu", lambda line: None))
        before = Store().names()
        again = SimpleNamespace(gaps=gaps(TINY, "cpu", pytest.fail), budget=budget.run(TINY, "cpu", pytest.fail),
                                size_scan=size_scan.run(TINY, "cpu", lambda line: None))
        assert Store().names() == before, "a second call makes nothing"
        made.unit = spacing(TINY, "cpu")
    assert again.gaps.rows == made.gaps.rows and torch.equal(again.size_scan[0].spins, made.size_scan[0].spins)
    assert [t.energies.tolist() for t in again.budget["periodic 16 x 16"].traces] == [
        t.energies.tolist() for t in made.budget["periodic 16 x 16"].traces]
    return made


def test_gaps_measure_every_training_at_its_last_and_best_stage(found):
    rows = found.gaps.rows
    assert [(row["run"], row["stage"]) for row in rows] == [
        (run, stage) for run in plans.collapsing(TINY) for stage in ("last", "best")]
    for row in rows:
        assert row["mean"] >= row["lowest"] >= row["relaxed_lowest"] - 1e-9 and row["torque"] < 1e-6
        assert row["relaxed_mean"] >= row["relaxed_lowest"] - 1e-6 and 0 <= row["share"] <= 1
    assert set(found.gaps.state) == set(plans.collapsing(TINY))
    H = data_spec(TINY).hamiltonian
    best = rows[1]["relaxed_lowest"] + found.gaps.candidates.best.energy
    assert float(H.energy_per_spin(next(iter(found.gaps.state.values())))) == pytest.approx(best, abs=1e-5)


def test_budget_has_every_method_on_every_sample(found):
    assert list(found.budget) == list(samples(TINY)) == ["periodic 16 x 16", "square 16 x 16", "wire 16 x 32"]
    for sample in found.budget.values():
        assert {t.method for t in sample.traces} == {
            "annealing, fast", "annealing, fast + descent", "annealing, slow", "annealing, slow + descent",
            "parallel tempering + descent", "E-VAE", "E-VAE + descent"}
        for trace in sample.traces:
            assert (trace.seconds > 0).all() and (trace.energies > -2.3).all()
            assert (trace.once[0] > 0) == trace.method.startswith("E-VAE")
    periodic = found.budget["periodic 16 x 16"]
    (updates,) = {t.once[1] for t in periodic.traces if t.method == "E-VAE"}
    assert updates == (10 + 20) * 256 * (24 + 6 + 8), "the sweeps behind the training data"
    assert len(periodic.training) == 4 and min(periodic.training.values()) > 0


def test_curves_with_and_without_the_training(found):
    sample = found.budget["periodic 16 x 16"]
    by_name = {(c["label"], c["once"]): c for c in curves(sample)}
    lowest = min(c["least"] for c in by_name.values()) + sample.best
    assert lowest == min(trace.energies.min() for trace in sample.traces)
    assert len(by_name) == 9 and all(len(c["lowest"]) == len(c["seconds"]) for c in by_name.values())
    counted, free = by_name["E-VAE", True], by_name["E-VAE", False]
    assert np.array_equal(counted["lowest"], free["lowest"]) and (counted["seconds"] > free["seconds"]).all()
    assert (free["updates"] == 0).all() and (counted["updates"] > 0).all()
    assert all((np.diff(c["lowest"][:, 1]) <= 1e-12).all() for c in by_name.values())


def test_strip_covers_the_sizes_and_says_which_have_a_network(found):
    assert [(s.kind, s.shape) for s in found.size_scan] == shapes(TINY, found.unit)
    trained = {s.shape for s in found.size_scan if s.agrees is not None}
    assert trained == {*TINY.confined, *TINY.strip_trained}
    for s in found.size_scan:
        H = confined_spec(TINY, s.shape).hamiltonian
        assert s.torque < 1e-6 and float(H.energy_per_spin(s.spins.double())) == pytest.approx(s.energy, abs=1e-6)
        assert s.size == pytest.approx(s.shape[0] / found.unit)
        if s.agrees is not None:
            assert s.raw >= s.relaxed - 1e-9 and s.agrees == (abs(s.relaxed - s.energy) < 1e-6)


def test_networks_of_the_strip_belong_to_the_run():
    names = {name for name in plans.ladders(TINY) if name.startswith("confined")}
    assert names == {f"confined {ny} x {nx}, seed {seed}" for seed in range(TINY.seeds) for ny, nx in TINY.confined} | {
        f"confined {ny} x {nx}, seed 0" for ny, nx in TINY.strip_trained}


def test_an_infinite_wire_is_a_confined_sample(tmp_path, monkeypatch):
    """Annealed, trained and measured as the others, with its own boundary and names in the store."""
    monkeypatch.setenv("EVAE_STORE", str(tmp_path))
    wire, stages = ("open", "periodic"), confined_stages(TINY, plans.BETA)
    data = confined_spec(TINY, (16, 32), boundary=wire)
    assert data.hamiltonian == dataclasses.replace(confined_spec(TINY, (16, 32)).hamiltonian, boundary=wire)
    assert data.spec() | {"hamiltonian": 0} == confined_spec(TINY, (16, 32)).spec() | {"hamiltonian": 0}
    trained = train_stages(stages, data, device="cpu", report=lambda line: None)
    assert trained[-1].model("cpu").boundary == wire
    result = confined.run(TINY, trained[-1], "cpu")
    assert result["name"] == "infinite wire 16 x 32" and result["relaxed"] <= result["energy"] + 1e-9
    relaxed = result["states"]["E-VAE, lowest, relaxed"].double()
    relaxed = torch.nn.functional.normalize(relaxed, dim=0)  # it is stored in half precision
    assert float(data.hamiltonian.energy_per_spin(relaxed)) == pytest.approx(result["relaxed"], abs=1e-5)


# Words --------------------------------------------------------------------------------------------------------------

def test_tables_hold_what_was_found(found):
    table = report_tables.candidates_table(found.gaps.candidates, most=2)
    best = found.gaps.candidates.best
    assert f"{best.energy:.8f}" in table and "not proven" in table and "| uniform: begun along" in table
    assert report_tables.gap_table(found.gaps.rows).count("\n") == 1 + 2 * 4  # two betas, two seeds
    assert report_tables.strip_table(found.size_scan).count("\n") == 1 + len(found.size_scan)
    assert report_tables.budget_table(found.budget).count("\n") == 1 + 3 * 9
    assert report_tables.budget_reading(found.budget).count("* **") == 3


def test_quality_table_has_energies_above_the_lattice():
    measures = {"density": 0.9, "coverage": 0.75, "vendi": 12.0, "structure": 0.031, "energy": -2.0495}
    sampled = SimpleNamespace(ideal=-2.05, measures={"data": {"at rest": measures}})
    row = report_tables.quality_table(sampled, "at rest").splitlines()[-1]
    assert row == "| data | 0.9 | 0.75 | 12 | 0.031 | 5.00 |"


def order_end(gamma_c, energy, width, median):
    """One made-up training on data of one kind, best state -2.05 J per spin; rows of paths are gamma = 0 and 100."""
    return {"gamma_c": gamma_c, "energy": energy, "relaxed": energy - 1e-4, "best_data": -2.0498, "charge": -15.0,
            "defects": 0.25, "kl_growth": 3.0, "x_out_share": 0.5,
            "noise": {name: {"median": [0.2, 0.3, 0.2 * median]} for name in ("X_out", "X'_out")},
            "paths": {"width": [[10.0, 12.0], width], "end": [[-2.0, -2.0], [-2.0003, -2.0001]]}}


def test_data_order_table_gives_the_mean_over_seeds_and_its_error():
    nan = float("nan")
    result = SimpleNamespace(kinds=["rough", "ordered"], lowest=-2.05, ends={
        "rough": [order_end(nan, -2.0499, [7.0, nan], 0.5), order_end(400.0, -2.0495, [4.0, 4.0], 0.7)],
        "ordered": [order_end(nan, -2.0497, [nan, None], 1.0)] * 2})
    head, _, *lines = report_tables.data_order_table(result).splitlines()
    rows = {name: cells for name, *cells in ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)}
    assert [cell.strip() for cell in head.strip("|").split("|")] == ["", "rough", "ordered"] and len(rows) == 13
    assert rows["trainings"] == ["2", "2"]
    assert rows["γ_c"] == ["4e+02 in 1 of 2", "never"]
    assert rows["E/N of X'_out at the largest γ, above the lowest known (1e-4 J)"] == ["3.00 ± 2", "3.00 ± 0"]
    assert rows["the same, relaxed"] == ["2.00 ± 2", "2.00 ± 0"]
    assert rows["above the best training state"] == ["1.00 ± 2", "1.00 ± 0"]
    assert rows["skyrmions"][0] == "15 ± 0" and rows["without six neighbours (%)"][0] == "25 ± 0"
    assert rows["median θ at γ = 100, of that at 0: X_out"] == ["0.60 ± 0.1", "1.00 ± 0"]
    # Place by place: -3 where both have a barrier, and the mean of -6 and -8; no place has one on ordered data.
    assert rows["barrier's width, γ = 0 to 100 (steps)"] == ["-5.0 ± 2", "never"]
    assert rows["lattice plateau, γ = 0 to 100 (1e-4 J)"][0] == "-2.0 ± 0"


def sample(rival, network, once=100.0):
    """A made-up sample: four runs of one rival and of the network, E/N above the best known."""
    def trace(method, above, once):
        return EnergyTrace(method, np.array([1.0]), np.array([1e6]), np.full((1, 4), above), once)
    return {"box": SimpleNamespace(best=0.0, traces=[
        trace("annealing", rival, (0.0, 0.0)), trace("E-VAE", network + 1e-4, (once, 1.0)),
        trace("E-VAE + descent", network, (once, 1.0))])}


@pytest.mark.parametrize("rival, network, words", [
    (0.0, 0.0, "loses: relaxed, it is at the best known state after 101 s with its training, annealing after 1 s"),
    (1e-3, 0.0, "wins: no rival reaches the best known state, it does after 101 s"),
    (0.0, 1e-3, "loses: relaxed, it ends 1.0e-03 J above the best known, which annealing reaches after 1 s"),
    (1e-3, 1e-3, "neither the collapse nor a rival reaches the best known state"),
    (-1e-3, 0.0, "found a state 1.0e-03 J below the search's best: the search was too short")])
def test_the_reading_follows_the_numbers(rival, network, words):
    made = sample(rival, network)
    assert words in report_tables.budget_reading(made)
    for curve in curves(made["box"]):
        above = {"annealing": rival, "E-VAE": network + 1e-4, "E-VAE + descent": network}[curve["label"]]
        assert (arrival(curve) < math.inf) == (above < 1e-6)


# Recorded searches ---------------------------------------------------------------------------------------------------

def test_a_search_is_recorded_and_read_back(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(places, "known_folder", lambda preset, kind: tmp_path / "known" / preset / kind)
    monkeypatch.setitem(PRESETS, "smoke", dataclasses.replace(TINY, name="smoke"))
    p = PRESETS["smoke"]
    assert known_best(p) is None
    data = data_spec(p)
    with pytest.raises(ValueError, match="does not hold certificate of preset smoke; run evae search --preset smoke"):
        list(publish_known.record_search(p, Store(), ground_state.spec(data.hamiltonian, data.shape, search_of(p))))
    assert main(["search", "--preset", "smoke"]) == 0
    assert "written to" in capsys.readouterr().out
    known, line = known_best(p)
    here = cached_candidates(data.hamiltonian, data.shape, search_of(p), report=pytest.fail)
    assert known.candidates == here.candidates and torch.equal(known.spins, here.spins)
    assert line.startswith("RECORDED") and "search --preset smoke" in line
    (tmp_path / "known" / "smoke" / "certificate" / "certificate.json").write_text("{}")
    with pytest.raises(ValueError, match="damaged"):
        known_best(p)


def test_the_recorded_search_of_the_papers_system_holds():
    """What the repository states about 128 x 128: the state is there, at rest, and has the energy of the table."""
    known, _ = known_best(PRESETS["paper"])
    H = data_spec(PRESETS["paper"]).hamiltonian
    assert isinstance(known, GroundStateCandidates) and isinstance(known.best, Candidate)
    assert float(H.torque(known.spins).max()) < 1e-6
    assert float(H.energy_per_spin(known.spins)) == pytest.approx(known.best.energy, abs=1e-12)
    assert known.best.energy < -2.0574842 and round(known.best.charge) == -30
