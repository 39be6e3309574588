"""Shapes against painted ellipses, lattices and stripes; copies against states that were copied."""

import numpy as np
import pytest
import torch

from evae_companion.analysis.order import symmetric
from evae_companion.analysis.skyrmion_shapes import ECCENTRIC, redundancy, share_near_minimum, skyrmion_shapes
from evae_core import Hamiltonian, Schedule, anneal, skyrmion_lattice
from evae_core.bonds import shell
from evae_core.observables import skyrmion_centres
from evae_core.textures import helix

H = Hamiltonian(D=0.6, B=0.2)


@pytest.fixture(scope="module")
def lattice():
    return skyrmion_lattice(H, (48, 48))


@pytest.fixture(scope="module")
def annealed():
    return anneal(H, (48, 48), 12, seed=3, device="cpu",
                  schedule=Schedule(sweeps=300, overrelax=0, quench=100, tolerance=0.1))


def ellipse(a, b, angle=0.0, shift=(0, 0), size=64):
    """A state with S^z = -1 inside an ellipse of half axes a and b, and +1 outside."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    spins = torch.zeros(3, size, size)
    spins[2] = torch.from_numpy(np.where((along / a) ** 2 + (across / b) ** 2 < 1, -1.0, 1.0))
    return spins.roll(shift, (-2, -1))


# Shapes ---------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("shift", [(0, 0), (32, 0), (30, 33)])
@pytest.mark.parametrize("a, b, angle", [(9, 9, 0), (16, 10, 0), (18, 9, 0.6), (18, 8, 1.2)])
def test_ellipses(a, b, angle, shift):
    """Across an edge, too, and once."""
    found = skyrmion_shapes(ellipse(a, b, angle, shift))
    assert len(found.areas) == 1 and found.areas == pytest.approx(np.pi * a * b, rel=0.02)
    assert found.eccentricity == pytest.approx(np.sqrt(1 - (b / a) ** 2), abs=0.04 if a > b else 0.2)
    assert found.stretched[0] == (a / b > 1.5) and not found.truncated[0] and not found.merged[0]
    off = (found.centres[0] - (31.5 + np.array(shift[::-1])) + 32) % 64 - 32
    assert abs(off).max() < 0.1


def test_areas_hold_fractions_of_a_site():
    """A cone S^z = (r - R)/R: the circle of radius R, and not the number of sites in it, for small ones too."""
    for radius in (2.2, 2.6, 3.3):
        y, x = np.mgrid[:16, :16] - 7.7
        spins = torch.zeros(3, 16, 16)
        spins[2] = torch.from_numpy(np.clip(np.hypot(y, x) / radius - 1, -1, 1))
        sites = int((spins[2] < 0).sum())
        found = skyrmion_shapes(spins)
        assert found.areas == pytest.approx(np.pi * radius**2, rel=0.05)
        assert abs(found.areas[0] - np.pi * radius**2) < max(0.3, abs(sites - np.pi * radius**2))


def test_a_perfect_lattice(lattice):
    found = skyrmion_shapes(lattice)
    assert len(found.areas) == len(skyrmion_centres(lattice))
    assert np.ptp(found.areas) < 0.1 * found.areas.mean() and found.eccentricity.max() < 0.6 * ECCENTRIC
    assert found.shares() == {"stretched": 0.0, "truncated": 0.0, "merged": 0.0}
    assert found.lattice_area == pytest.approx(np.median(found.areas))


def test_stripes_are_stretched():
    """A helix around the box, and a stripe that ends within it."""
    H0 = Hamiltonian(D=0.6, B=0.0)
    for axis in ("x", "y"):
        found = skyrmion_shapes(helix(H0, (48, 48), turns=4, axis=axis))
        assert len(found.areas) == 4 and found.stretched.all() and found.eccentricity.min() > 1.1 * ECCENTRIC
    assert skyrmion_shapes(ellipse(20, 4)).shares()["stretched"] == 1


def test_truncated_and_merged_against_the_lattice(lattice):
    area = skyrmion_shapes(lattice).lattice_area
    small = np.sqrt(0.3 * area / np.pi)
    wide = np.sqrt(2 * area / np.pi)
    both = torch.minimum(ellipse(small, small, shift=(16, 0)), ellipse(wide, wide, shift=(-16, 0)))
    found = skyrmion_shapes(both, lattice_area=area)
    order = np.argsort(found.areas)
    assert found.truncated[order].tolist() == [True, False] and found.merged[order].tolist() == [False, True]
    assert found.shares() == {"stretched": 0.0, "truncated": 0.5, "merged": 0.5}


def test_many_states_the_other_field_and_an_open_edge(lattice, annealed):
    found = skyrmion_shapes(annealed)
    counts = [len(skyrmion_shapes(one).areas) for one in annealed]
    assert np.bincount(found.state, minlength=len(annealed)).tolist() == counts
    assert found.shares()["stretched"] > 0  # the paper's training data hold some
    down = skyrmion_shapes(-lattice, field=-0.2)
    np.testing.assert_allclose(down.areas, skyrmion_shapes(lattice).areas)
    cut = ellipse(9, 9, shift=(32, 0))
    assert len(skyrmion_shapes(cut, periodic=False).areas) == 2 and len(skyrmion_shapes(cut).areas) == 1
    masked = ellipse(9, 9)
    masked[:, :, :32] = 0  # not magnetic
    half = skyrmion_shapes(masked, periodic=False)
    assert half.areas == pytest.approx(np.pi * 81 / 2, rel=0.03)


def test_nothing_there():
    up = torch.zeros(3, 16, 16)
    up[2] = 1
    found = skyrmion_shapes(up)
    assert len(found.areas) == 0 and set(found.shares().values()) == {0.0} and np.isnan(found.lattice_area)


# Copies ---------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dmi", ["bloch", "neel"])
def test_copies_are_found_and_others_are_not(annealed, dmi):
    """Translated, turned and mirrored ones, with both kinds of DM."""
    system = Hamiltonian(D=0.6, B=0.2, dmi=dmi)
    quarter = torch.stack((-annealed[:, 1], annealed[:, 0], annealed[:, 2]), 1) if dmi == "neel" else annealed
    turned = symmetric(system, quarter[4])
    spins = torch.cat([quarter, quarter[2].roll((5, 17), (-2, -1))[None], turned[1].roll(9, -1)[None],
                       turned[6].roll(20, -2)[None]])
    found = redundancy(spins, system)
    assert found.pairs.tolist() == [[2, 12], [4, 13], [4, 14], [13, 14]]
    assert found.share == pytest.approx(5 / 15)
    copied = [2, 4, 12, 13, 14]
    assert (found.nearest[copied] < 1e-2).all() and (np.delete(found.nearest, copied) > 0.3).all()
    assert (found.bound <= found.nearest).all()
    assert redundancy(annealed, H).share == 0


def test_a_symmetry_that_the_hamiltonian_lacks_makes_no_copy(annealed):
    pair = torch.stack([annealed[0], symmetric(H, annealed[0])[1]])
    assert redundancy(pair, H).share == 1
    along_x = Hamiltonian(D=0.6, B=0.2, further=[(0, 2, 0.1)])  # a rotation by 90 degrees turns the bond
    assert redundancy(pair, along_x).share == 0
    assert redundancy(pair, Hamiltonian(D=0.6, B=0.2, further=shell(0, 2, 0.1))).share == 1
    wrong = torch.stack([annealed[0], torch.rot90(annealed[0], 1, (-2, -1))])  # sites alone, with spins as they were
    assert redundancy(wrong, H).share == 0


def test_the_bound_holds(annealed):
    """Against all distances, without the moduli."""
    from evae_companion.analysis.sample_metrics import distances
    few, found = annealed[:6], redundancy(annealed[:6], H)
    every = torch.stack([distances(few, torch.stack([symmetric(H, one)[k] for one in few])) for k in range(8)]).amin(0)
    nearest = every.fill_diagonal_(torch.inf).amin(1).numpy()
    assert (found.bound <= nearest + 1e-6).all() and (nearest <= found.nearest + 1e-6).all()
    assert (found.bound > 0.1).all()


def test_many_copies_are_all_pairs_with_few_comparisons(annealed, monkeypatch):
    """As the states of a collapsed model: the first comparisons tell the others."""
    from evae_companion.analysis import skyrmion_shapes as module
    compared, real = [], module.distances
    monkeypatch.setattr(module, "distances", lambda a, b: compared.append(len(b)) or real(a, b))
    spins = torch.cat([torch.stack([one.roll((5 * k, k), (-2, -1)) for k in range(10)]) for one in annealed[:2]])
    found = redundancy(spins, H)
    assert len(found.pairs) == 2 * 45 and found.share == 1 and (found.nearest < 5e-3).all()
    assert sum(compared) <= 8 * (9 + 9 + 20)


def test_a_wide_tolerance_equals_everything(annealed):
    found = redundancy(annealed[:5], H, tolerance=2.0)
    assert len(found.pairs) == 10 and found.share == 1


@pytest.mark.parametrize("wrong, said", [
    ({"spins": torch.zeros(3, 16, 16)}, "unit|n >= 2"), ({"tolerance": 1e-4}, "tolerance"),
    ({"H": Hamiltonian(boundary="open")}, "periodic")])
def test_wrong_arguments_of_redundancy(wrong, said, annealed):
    with pytest.raises(ValueError, match=said):
        redundancy(**{"spins": annealed, "H": H} | wrong)


# Energies -------------------------------------------------------------------------------------------------------------

def test_share_near_minimum():
    rest = np.array([-2.0, -2.1, -2.2, -2.3])
    assert share_near_minimum(rest + [0, 1e-4, 2e-3, 1e-2], rest, 1e-3) == 0.5
    with pytest.raises(ValueError, match="rest_energies"):
        share_near_minimum(rest, rest + 0.1, 1e-3)
    with pytest.raises(ValueError, match="rest_energies must have shape"):
        share_near_minimum(rest, rest[:2], 1e-3)
    with pytest.raises(ValueError, match="tolerance"):
        share_near_minimum(rest, rest, 0.0)


@pytest.mark.parametrize("wrong, said", [({"spins": torch.zeros(0, 3, 8, 8)}, "n >= 1"), ({"field": np.nan}, "field"),
                                         ({"lattice_area": 0.0}, "lattice_area")])
def test_wrong_arguments_of_shapes(wrong, said, lattice):
    with pytest.raises(ValueError, match=said):
        skyrmion_shapes(**{"spins": lattice} | wrong)
