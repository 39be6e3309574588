"""What is said of a set of textures, against textures of which it is known."""

import numpy as np
import pytest
import torch

from evae_companion.analysis.order import copies, order, symmetric
from evae_core import Hamiltonian, Schedule, anneal, relax, skyrmion_lattice
from evae_core.observables import find_skyrmions
from evae_core.textures import skyrmions

H = Hamiltonian(D=0.6, B=0.2)


@pytest.fixture(scope="module")
def lattice():
    return skyrmion_lattice(H, (48, 48))


def test_a_perfect_lattice(lattice):
    """Every number of it is known; its translated and turned copies are found, whatever lies between them."""
    turned = symmetric(H, lattice)
    spins = torch.stack([lattice, lattice.roll((5, 11), (-2, -1)), turned[1], turned[7].roll(7, -1)])
    found = order(H, spins)
    assert found["energy"] == pytest.approx(float(H.energy_per_spin(lattice.double())), abs=1e-7)
    assert found["five"] == found["seven"] == found["other"] == found["stretched"] == 0
    assert found["bragg"] > 0.7 and found["theta_max"] < 0.01 and found["redundant"] == 3


@pytest.mark.parametrize("dmi", ["bloch", "neel"])
def test_symmetries_leave_the_energy(dmi):
    """Of any texture: sites and spins move together."""
    H = Hamiltonian(D=0.6, B=0.2, K=0.1, dmi=dmi)
    spins = torch.nn.functional.normalize(torch.randn(3, 8, 8, dtype=torch.float64), dim=0)
    energies = [float(H.energy(one)) for one in symmetric(H, spins)]
    assert len(energies) == 8 and np.ptp(energies) < 1e-10
    assert len(symmetric(H, spins[:, :4])) == 4


def test_the_schedule_of_the_data_leaves_what_the_paper_describes():
    """Heat bath and a quench: no copies, disorder, angles near zero. Brought to rest with over-relaxation: lattices."""
    heat_bath = Schedule(sweeps=300, overrelax=0, quench=100, tolerance=0.1)
    few = anneal(H, (48, 48), 16, seed=1, device="cpu", schedule=heat_bath)
    rough = order(H, few)
    ideal = order(H, anneal(H, (48, 48), 16, seed=1, device="cpu", schedule=Schedule(sweeps=300, overrelax=1)))
    assert rough["redundant"] == 0 and rough["theta_median"] < 0.5 and rough["theta_max"] < 3
    assert rough["bragg"] < 0.7 * ideal["bragg"] and rough["five"] > ideal["five"]
    assert rough["energy"] > ideal["energy"]
    assert copies(H, few.repeat(2, 1, 1, 1), np.tile(H.energy_per_spin(few.double()).numpy(), 2)) == 16


def test_elongation_is_the_ratio_of_half_axes():
    """An ellipse that is painted on the lattice, turned or not, and across an edge; round skyrmions are round."""
    y, x = np.mgrid[:64, :64] - 31.5
    for angle in (0.0, 0.6):
        along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        inside = (along / 18) ** 2 + (across / 9) ** 2 < 1
        spins = torch.zeros(3, 64, 64)
        spins[2] = torch.from_numpy(np.where(inside, -1.0, 1.0))
        for shift in (0, 30):
            found = find_skyrmions(spins.roll((shift, shift), (-2, -1)))
            assert found.elongation == pytest.approx(2.0, rel=0.03)
            assert found.areas == pytest.approx(np.pi * 18 * 9, rel=0.02)
    round_ones = relax(H, skyrmions(H, (48, 48), np.array([[10.0, 12.0], [34.5, 30.0]])))
    assert (find_skyrmions(round_ones).elongation < 1.1).all()


def test_textures_without_skyrmions():
    up = torch.zeros(2, 3, 16, 16)
    up[:, 2] = 1.0
    up[0, 0, 0, 0], up[0, 2, 0, 0] = 0.6, 0.8
    found = order(H, up)
    assert found["charge"] == found["five"] == found["stretched"] == 0 and found["redundant"] == 0
    assert all(np.isfinite(value) for value in found.values())


def test_open_samples_are_refused():
    with pytest.raises(ValueError, match="periodic"):
        order(Hamiltonian(boundary="open"), torch.zeros(1, 3, 16, 16))
