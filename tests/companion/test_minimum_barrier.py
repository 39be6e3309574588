"""Saddle points between states of different charge, and the experiment on the interstitial pair, at tiny size."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from evae_companion.analysis import lowest_modes, minimum_energy_path, saddle_point
from evae_companion.analysis.descent import charge
from evae_companion.analysis.saddle_point import _downhill, at_rest
from evae_companion.experiments import minimum_barrier, report_tables, result_cache
from evae_companion.presets import PRESETS
from evae_core import Hamiltonian
from evae_core.annealing import lbfgs_refine
from evae_core.bonds import Term, shell
from evae_core.textures import skyrmions, uniform

H = Hamiltonian(D=0.6, B=0.25)
TINY = dataclasses.replace(PRESETS["smoke"], name="tiny", size=16, D=1.0, B=0.5)


class Cubic(Term):
    """Cubic anisotropy, which is not bilinear."""

    def energy_density(self, spins):
        return spins.pow(4).sum(-3)


@pytest.fixture(scope="module")
def collapse():
    start, _ = lbfgs_refine(H, skyrmions(H, (16, 16), [[7.5, 7.5]]))
    end = uniform((16, 16)).double()
    return start, end, saddle_point(H, start, end, 21)


def test_a_collapse_is_that_of_the_band(collapse):
    start, end, found = collapse
    assert found.torque < 1e-6 and found.modes.negative() == 1 and 0 < found.saddle < 20
    again = lowest_modes(H, found.path[found.saddle], 2)
    assert again.negative() == 1 and found.energies[found.saddle] == found.energies.max()
    band = minimum_energy_path(H, start, end, 12)
    assert band.converged
    assert float(found.energies.max() - H.energy(start)) == pytest.approx(band.barrier, abs=1e-4)


def test_its_path_goes_down_on_both_sides_to_the_two_states(collapse):
    start, end, found = collapse
    rise = found.energies.diff()
    assert (rise[:found.saddle] > -1e-6).all() and (rise[found.saddle:] < 1e-6).all()
    assert torch.allclose(found.energies, H.energy(found.path), atol=1e-10)
    assert [round(charge(H, spins)) for spins in found.ends] == [round(charge(H, start)), round(charge(H, end))]
    for spins, known in zip(found.ends, (start, end), strict=True):
        assert abs(float(H.energy(spins) - H.energy(known))) / 256 < 1e-6
        assert float(H.torque(spins).max()) < 1e-5
    steps = found.distances.diff()
    for side in (steps[:found.saddle], steps[found.saddle:]):
        assert torch.allclose(side, side.mean(), rtol=0.1)


@pytest.mark.parametrize("further", [(), shell(1, 2, 1.0), (*shell(1, 1, 1.0), *shell(0, 2, 1.0))])
def test_a_descent_goes_down(further):
    """Whatever the number of neighbours."""
    H = Hamiltonian(D=0.2, B=0.1, further=further)
    noise = 0.3 * torch.randn(3, 12, 12, generator=torch.Generator().manual_seed(0)).double()
    spins = normalize(uniform((12, 12)).double() + noise, dim=0)
    energies = []
    for _ in range(20):
        energies.append(float(H.energy(spins)))
        spins = _downhill(H, spins, 5)
    assert energies == sorted(energies, reverse=True) and energies[-1] < energies[0]


def test_newton_steps_take_a_singular_hessian():
    """One isolated site without a field: its two rows are zero."""
    mask = np.ones((14, 14), bool)
    mask[5:8, 5:8] = False
    mask[6, 6] = True
    H = Hamiltonian(D=0.4, B=0.0, boundary=mask)
    random = torch.randn(3, 14, 14, generator=torch.Generator().manual_seed(1)).double()
    spins = normalize(random * torch.from_numpy(mask), dim=0)
    found = at_rest(H, spins)
    assert float(H.torque(found).max()) < 1e-6 and float(H.energy(found)) < float(H.energy(spins))


def test_states_of_one_charge_are_refused(collapse):
    start, _, _ = collapse
    with pytest.raises(ValueError, match="end must have another charge than start, got -1 twice"):
        saddle_point(H, start, start.roll(3, -1))


def test_terms_that_are_not_bilinear_are_refused(collapse):
    start, end, _ = collapse
    with pytest.raises(ValueError, match="H must have bilinear terms only, got Cubic"):
        saddle_point(dataclasses.replace(H, terms=(Cubic(),)), start, end)


@pytest.fixture(scope="module")
def pair():
    """One skyrmion, and two near each other: the real pair does not fit into 16 x 16."""
    def make(data):
        return tuple(lbfgs_refine(data.hamiltonian, skyrmions(data.hamiltonian, data.shape, centres))[0].float()
                     for centres in ([[7.5, 7.5]], [[3.5, 7.5], [10.5, 8.5]]))
    return make


@pytest.fixture(scope="module")
def result(pair, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVAE_STORE", str(tmp_path_factory.mktemp("barrier") / "store"))
        patch.setattr(result_cache, "interstitial", pair)
        made = minimum_barrier.run(TINY, report=lambda line: None)
        again = minimum_barrier.run(TINY, report=pytest.fail)
    assert {name: vars(way)["there"] for name, way in again.ways.items()} == {n: w.there for n, w in made.ways.items()}
    return made


def test_the_experiment_holds_both_ways(result):
    assert set(result.ways) | set(result.missing) == set(minimum_barrier.WAYS) and "collapse" in result.ways
    barriers = [way.there for way in result.ways.values()]
    assert barriers == sorted(barriers)
    drop = result.energy["interstitial"] - result.energy["lattice"]
    for way in result.ways.values():
        assert way.there > 0 and way.back == pytest.approx(way.there + drop, abs=1e-9)
        assert way.modes[0] < -1e-3 and way.modes[1] > -1e-6 and way.torque < 1e-6
        assert way.energies.max() == pytest.approx(way.back, abs=1e-9)
        assert np.round(way.charges).tolist() == [-2, -1]
        assert way.states.shape == (minimum_barrier.SHOWN, 3, 16, 16)


def test_how_far_walks_pass_above_it(result):
    lowest = min(way.back for way in result.ways.values())
    saddle = (result.energy["lattice"] + lowest) / 256
    above = minimum_barrier.over_walks(result, {0.0: [saddle - 1, saddle + 0.5], 100.0: np.array([saddle - 0.25])})
    assert above[0.0]["per_spin"] == pytest.approx(0.5) and above[0.0]["total"] == pytest.approx(128)
    assert above[100.0]["per_spin"] == pytest.approx(-0.25)
    table = report_tables.barrier_table(result, above)
    assert "| 100 | -64.00 | -2.5e-01 |" in table and f"{next(iter(result.ways.values())).there:.4f}" in table


def test_states_of_too_few_skyrmions_are_named():
    with pytest.raises(RuntimeError, match="at least two skyrmions, got 0"):
        minimum_barrier.first_turns(H, uniform((16, 16)).double())
