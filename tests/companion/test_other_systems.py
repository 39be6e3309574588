"""The other systems: what they are, the states they are compared with, and the words about the outcome."""

import numpy as np
import pytest

from evae_companion.analysis import ground_state_candidates
from evae_companion.analysis.luttinger_tisza import lower_bound
from evae_companion.experiments import other_systems, sample_quality, systems
from evae_companion.experiments.other_systems import SMOKE as QUICK
from evae_companion.experiments.other_systems import reading
from evae_companion.experiments.systems import hamiltonians, specs, way_to_collapse
from evae_companion.presets import PRESETS

SMOKE = PRESETS["smoke"]


@pytest.mark.parametrize("preset", list(PRESETS))
def test_systems_scale_with_the_preset(preset):
    p = PRESETS[preset]
    found = hamiltonians(p)
    assert {name for name, H in found.items() if H.further} == {"stripes", "spirals"}
    assert all(H.D == 0 for H in found.values() if H.further) and found["helices"].B == 0
    merons = found["merons"]
    assert merons.K / p.D**2 == pytest.approx(-1.2) and merons.B / p.D**2 == pytest.approx(0.4)
    assert all(H.periodic and data.shape == p.confined[0] for data in specs(p).values() for H in [data.hamiltonian])
    way = way_to_collapse(p, 1e-3)
    assert [stage.gamma for stage in way] == [0, 1, 10, 100, 1e3, 1e4, 1e5] and way[0].parent is None


def test_the_search_finds_what_is_proven():
    """Helices, stripes and spirals reach the bound, and nothing lies below it."""
    for name, H in hamiltonians(SMOKE).items():
        best, bound = ground_state_candidates(H, (12, 12), QUICK, device="cpu").best, lower_bound(H, (12, 12))
        assert best.energy > bound - 1e-9 and best.torque < 1e-6
        if name != "merons":
            assert best.energy == pytest.approx(bound, abs=1e-9), name


def test_smoke_run_is_complete_and_kept(monkeypatch):
    """Two of the systems, one for each annealer."""
    both = {name: hamiltonians(SMOKE)[name] for name in ("merons", "stripes")}
    monkeypatch.setattr(systems, "hamiltonians", lambda p: both)
    said = []
    found = other_systems.run(SMOKE, device="cpu", report=said.append)
    assert said and found.names == list(both)
    for name in found.names:
        numbers, ladder = found.numbers[name], found.ladder[name]
        assert numbers["bound"] <= min(numbers["best"], numbers["relaxed"]) + 1e-6
        assert len(ladder["gamma"]) == len(ladder["energy"]) == len(ladder["kspace_mse"]) == 7
        assert numbers["best"] == pytest.approx(min(numbers["candidates"].values()))
        for row, (spins, energy) in found.states[name].items():
            assert float(both[name].energy_per_spin(spins.double())) == pytest.approx(energy, abs=2e-3), row
    said.clear()
    assert other_systems.run(SMOKE, device="cpu", report=said.append).numbers == found.numbers and not said


def test_smoke_quality_has_the_data_as_its_reference(monkeypatch):
    monkeypatch.setattr(sample_quality, "GAMMAS", (0.0, 1.0))
    found = sample_quality.run(SMOKE, device="cpu", report=lambda line: None)
    assert found.names == ["data", "gamma 0", "gamma 1"] and found.n == 16
    data = found.measures["data"]
    assert data["as generated"]["coverage"] > 0.5 and found.way["data"]["same_charge"] == 1
    assert 0 < found.way["data"]["lost"] < min(found.way[name]["lost"] for name in found.names[1:])
    for name in found.names[1:]:  # hardly trained: far from the data, and it shows in every measure
        made, rest = found.measures[name]["as generated"], found.measures[name]["at rest"]
        assert made["energy"] > rest["energy"] and made["energy_distance"] > 10 * data["at rest"]["energy_distance"]
        assert made["mmd"] > data["as generated"]["mmd"] and 0 <= made["structure"] <= 1
        assert found.states[name].shape == (2, 2, 3, 32, 32)
        energies = found.distributions[name]["energy"]
        assert np.mean(energies) == pytest.approx(made["energy"]) and len(energies) == found.n
        assert (np.diff(found.distributions[name]["theta"]) >= 0).all()


OUTCOME = {"raw": -1.0, "relaxed": -1.5, "best": -1.5, "bound": -1.5, "what": "wave (1, 0)",
           "data": {"energy_min": -1.4}}
LADDER = {"gamma": [0.0, 10.0], "kspace_mse": [1.0, 1e-3], "reconstruction": [0.1, 1.0]}


def test_readings_follow_the_numbers():
    words = reading("x", OUTCOME, LADDER, 0.01)
    assert "one state at gamma = 10" in words and "a ground state" in words and "lowest state known" in words
    assert "0.1 J below the lowest training state" in words and "learned" not in words
    worse = OUTCOME | {"relaxed": -1.3, "bound": -1.6}
    words = reading("x", worse, LADDER | {"kspace_mse": [1.0, 0.2], "reconstruction": [2.0, 2.0]}, 0.01)
    assert "lower than every" in reading("x", OUTCOME | {"relaxed": -1.6, "bound": -1.7}, LADDER, 0.01)
    assert "no collapse" in words and "a ground state" not in words and "0.2 J above it" in words
    assert "0.1 J above the lowest training state" in words and "not learned" in words
