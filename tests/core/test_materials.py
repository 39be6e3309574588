"""Material constants to lattice units: against the continuum's energies, and theory of helix, wall and field."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evae_core import relax
from evae_core.materials import K_B, MU_0, Material
from evae_core.textures import helix_period, uniform

FILM = Material(A=1e-11, D=1.5e-3, Ms=6e5, Ku=2.5e5, field=0.1, thickness=0.9e-9, thin_film=True)


def fourier(n, seed):
    """A smooth periodic texture on n x n points of the unit square: m (3, n, n) and its derivatives along x and y."""
    rng = np.random.default_rng(seed)
    x = np.arange(n) / n
    Y, X = np.meshgrid(x, x, indexing="ij")
    f, fx, fy = (np.zeros((3, n, n)) for _ in range(3))
    for i in range(3):
        for kx, ky in ((1, 0), (0, 1), (1, 1), (2, -1)):
            c, phase = rng.normal(), 2 * np.pi * (kx * X + ky * Y) + rng.uniform(0, 2 * np.pi)
            f[i] += c * np.cos(phase)
            fx[i] -= c * 2 * np.pi * kx * np.sin(phase)
            fy[i] -= c * 2 * np.pi * ky * np.sin(phase)
    f[2] += 8  # so that no length vanishes, which would be a singular point
    length = np.linalg.norm(f, axis=0)
    m = f / length
    return m, *((g - m * (m * g).sum(0)) / length for g in (fx, fy))


@pytest.mark.parametrize("dmi", ["neel", "bloch"])
@given(seed=st.integers(0, 50), A=st.floats(5e-12, 2e-11), D=st.floats(-3e-3, 3e-3), Ms=st.floats(2e5, 1.2e6),
       Ku=st.floats(-3e5, 1e6), field=st.floats(-0.3, 0.3), thin=st.booleans())
def test_the_lattice_energy_is_the_continuums(dmi, seed, A, D, Ms, Ku, field, thin):
    """Every term with its sign, on a smooth texture of 200 nm: mumax3's energy density, integrated."""
    n, side, t = 256, 200e-9, 0.9e-9
    m, mx, my = fourier(n, seed)
    mx, my = mx / side, my / side
    film = Material(A, D, Ms, Ku, field, t, dmi, thin)
    if dmi == "neel":
        w = m[2] * (mx[0] + my[1]) - (m[0] * mx[2] + m[1] * my[2])
    else:
        w = m[0] * my[2] - m[1] * mx[2] + m[2] * (mx[1] - my[0])
    exchange = A * (mx**2 + my**2).sum(0)
    K = Ku - (MU_0 * Ms**2 / 2 if thin else 0)
    density = exchange + D * w - Ms * field * m[2] - K * m[2]**2
    continuum = t * density.mean() * side**2
    H = film.hamiltonian(side / n)
    lattice = (float(H.energy(torch.from_numpy(m))) - H.reference_energy((n, n))) * film.J
    scale = t * side**2 * (exchange.mean() + abs(D * w).mean() + Ms * abs(field) + abs(K))
    assert lattice == pytest.approx(continuum, abs=2e-3 * scale)


def test_the_cell_is_a_choice():
    """Lengths and temperatures in SI do not depend on it; in units of J the thickness drops out."""
    for cell in (0.5e-9, 1e-9, 2e-9):
        H = FILM.hamiltonian(cell)
        assert helix_period(H) * cell == pytest.approx(FILM.helix_period, rel=0.01)
        assert math.sqrt(H.J / (2 * H.K)) * cell == pytest.approx(FILM.wall_width)
    assert FILM.hamiltonian(1e-9) == Material(1e-11, 1.5e-3, 6e5, 2.5e5, 0.1, 7e-9, thin_film=True).hamiltonian(1e-9)
    assert FILM.J / K_B == pytest.approx(1303.7, abs=0.1) and FILM.hamiltonian(1e-9).dmi == "neel"
    assert MU_0 == pytest.approx(1.25663706127e-6, rel=1e-9)
    assert FILM.Keff == pytest.approx(2.5e5 - 2 * math.pi * 1e-7 * 3.6e11)


def energy_of_helix(film, cell, n, turns):
    """Energy per spin above E0 of a helix of so many turns along a chain of n cells."""
    angle = 2 * math.pi * turns * np.arange(n) / n
    spins = np.stack([np.sin(angle), np.zeros(n), np.cos(angle)])[:, None].repeat(2, 1)
    return float(film.hamiltonian(cell).energy_per_spin(torch.from_numpy(spins)))


def test_the_helix_of_least_energy_has_the_period_4_pi_A_over_D():
    film = Material(A=1e-11, D=1.5e-3, Ms=6e5)
    n, cell = 960, film.helix_period / 96
    energies = {turns: energy_of_helix(film, cell, n, turns) for turns in range(-20, 21)}
    assert min(energies, key=energies.get) == -10, "10 periods, and left-handed for mumax3's D > 0"
    other = Material(A=1e-11, D=-1.5e-3, Ms=6e5)
    assert energy_of_helix(other, cell, n, 10) == pytest.approx(energies[-10])


def test_a_wall_relaxes_to_the_width_sqrt_A_over_K():
    """Two walls in a chain, found by relaxation, compared with tanh((x - x0) / Delta)."""
    film = Material(A=1e-11, D=0.0, Ms=6e5, Ku=2e5)
    cell, n = film.wall_width / 8, 256
    x = np.arange(n) * cell
    start = np.tanh((x - x[64]) / (2 * film.wall_width)) - np.tanh((x - x[192]) / (2 * film.wall_width)) - 1
    spins = torch.from_numpy(np.stack([np.sqrt(1 - start**2), 0 * x, start])[:, None].repeat(2, 1))
    found = relax(film.hamiltonian(cell), spins, tolerance=1e-8, max_sweeps=200_000)[2, 0].numpy()
    middle = np.flatnonzero(np.diff(np.sign(found)))[0]
    slope = np.gradient(np.arctanh(np.clip(found, -0.999, 0.999)), cell)[middle - 8:middle + 8]
    assert 1 / np.abs(slope) == pytest.approx(film.wall_width, rel=0.01)


@pytest.mark.parametrize("Ku", [0.0, 4e4, -2e4])
def test_a_full_turn_costs_nothing_at_the_saturation_field(Ku):
    """A relaxed 2 pi wall is lower than the uniform state just below it, and higher just above."""
    film = Material(A=1e-11, D=1.5e-3, Ms=6e5, Ku=Ku)
    cell, n = film.helix_period / 32, 512
    x = (np.arange(n) - n / 2) * cell
    angle = -2 * np.arctan(np.exp(x / (film.helix_period / 8))) * 2
    spins = torch.from_numpy(np.stack([np.sin(angle), 0 * x, np.cos(angle)])[:, None].repeat(2, 1))
    costs = []
    for share in (0.97, 1.03):
        H = Material(1e-11, 1.5e-3, 6e5, Ku, share * film.saturation_field).hamiltonian(cell)
        wall = relax(H, spins, tolerance=1e-7, max_sweeps=400_000)
        assert float(wall[2].min()) < -0.9, "the wall is still there"
        costs.append(float(H.energy(wall) - H.energy(uniform((2, n)).double())))
    assert costs[0] < 0 < costs[1]


def test_saturation_in_closed_form():
    film = Material(A=1e-11, D=1.5e-3, Ms=6e5)
    assert film.saturation_field == pytest.approx(math.pi**2 * 2.25e-6 / (32 * 1e-11 * 6e5), rel=1e-6)
    tilting = Material(A=1e-11, D=0.0, Ms=6e5, thin_film=True)
    assert tilting.saturation_field == pytest.approx(MU_0 * 6e5)  # a film without anisotropy: mu_0 Ms
    easy = Material(A=1e-11, D=1.5e-3, Ms=6e5, Ku=(math.pi * 1.5e-3 / 4)**2 / 1e-11 * 1.001)
    assert easy.critical_D == pytest.approx(1.5e-3, rel=1e-3) and easy.saturation_field == 0.0
    assert FILM.critical_D < FILM.D


def test_questions_without_an_answer():
    with pytest.raises(ValueError, match="Keff must be positive"):
        Material(A=1e-11, D=1e-3, Ms=6e5).wall_width  # noqa: B018
    with pytest.raises(ValueError, match="D must not be 0"):
        Material(A=1e-11, D=0.0, Ms=6e5).helix_period  # noqa: B018
    with pytest.raises(ValueError, match="cell must be finite and above 0"):
        FILM.hamiltonian(cell=0)
