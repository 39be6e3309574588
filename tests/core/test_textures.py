"""Textures made by hand: closed forms, the favoured hand, exhaustive sublattices, and what relaxation leaves."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evae_core import Hamiltonian
from evae_core.observables import coordination, defects, skyrmion_centres, structure_factor, topological_charge
from evae_core.textures import (
    commensurate_cells,
    helix,
    helix_period,
    interstitial_pair,
    relax,
    skyrmion_lattice,
    skyrmion_lattices,
    skyrmions,
    uniform,
    with_interstitial,
)

SYSTEMS = [dict(dmi=dmi, D=D, B=B) for dmi in ("bloch", "neel") for D in (0.6, -0.6) for B in (0.2, -0.2)]


def energy(H, spins):
    return float(H.energy_per_spin(spins.double()))


@pytest.fixture(scope="module")
def H():
    return Hamiltonian(D=0.6, B=0.2)


@pytest.fixture(scope="module")
def ranked(H):
    return skyrmion_lattices(H, (48, 48))


@pytest.fixture(scope="module")
def lattice(ranked):
    return ranked[0].spins.float()


# Uniform, helix, single skyrmions


def test_uniform():
    for up in (True, False):
        S = uniform((5, 7), up)
        assert S.shape == (3, 5, 7) and S.dtype == torch.float32
        exact = -(4 * 7 + 5 * 6) - 35 * 0.3 * (1 if up else -1)
        assert float(Hamiltonian(B=0.3, boundary="open").energy(S.double())) == pytest.approx(exact)


@pytest.mark.parametrize("axis", ["x", "y"])
@pytest.mark.parametrize("dmi", ["bloch", "neel"])
@pytest.mark.parametrize("sign", [1, -1])
def test_helix_is_the_exact_ground_state_at_zero_field(dmi, axis, sign):
    D = sign * math.tan(2 * math.pi * 3 / 48)
    H = Hamiltonian(D=D, B=0.0, dmi=dmi)
    S = helix(H, (24, 48) if axis == "x" else (48, 24), axis=axis)
    assert S.dtype == torch.float32 and helix_period(H) == pytest.approx(16)
    torch.testing.assert_close(S, helix(H, S.shape[1:], turns=3, axis=axis))  # the default is the nearest period
    exact = -(1 + math.hypot(1, D))
    assert energy(H, S) == pytest.approx(exact, abs=1e-6)
    assert float(H.torque(S).max()) < 1e-5
    q = 2 * math.pi * 2 / 48
    other = helix(H, S.shape[1:], turns=-2, axis=axis)  # against the DM term
    assert energy(H, other) == pytest.approx(-(1 + math.cos(q) - abs(D) * math.sin(q)), abs=1e-6)
    assert energy(H, helix(H, S.shape[1:], turns=0, axis=axis)) == pytest.approx(-2, abs=1e-6)


@pytest.mark.parametrize("system", SYSTEMS)
def test_skyrmions_have_the_hand_of_the_dm_term_and_their_core_against_the_field(system):
    H = Hamiltonian(**system)
    S = skyrmions(H, (32, 40), [(10.3, 9.8), (27.0, 20.0)]).double()
    background = math.copysign(1, H.B)
    assert float(topological_charge(S)) == pytest.approx(-2 * background, abs=1e-12)
    np.testing.assert_allclose(skyrmion_centres(S * background), [(10.3, 9.8), (27, 20)], atol=0.15)
    assert float(S[2, 20, 27]) == pytest.approx(-background, abs=1e-5)
    assert energy(H, S) < energy(H, uniform((32, 40), up=H.B > 0)) - 0.003
    for quarter in (1, 2, 3):  # other helicities: all in-plane components turned
        turn = np.exp(0.5j * math.pi * quarter)
        turned = torch.stack((turn.real * S[0] - turn.imag * S[1], turn.imag * S[0] + turn.real * S[1], S[2]))
        assert energy(H, turned) > energy(H, S) + 0.005


@settings(max_examples=20, deadline=None)
@given(x=st.floats(-60, 60), y=st.floats(-60, 60), radius=st.floats(1.5, 6))
def test_one_skyrmion_anywhere(x, y, radius):
    H = Hamiltonian(D=0.6, B=0.2)
    S = skyrmions(H, (32, 32), [(x, y)], radius)
    assert float(topological_charge(S)) == pytest.approx(-1, abs=1e-11)
    torch.testing.assert_close(S, skyrmions(H, (32, 32), [(x + 32, y - 64)], radius), atol=0.02, rtol=0)


def test_skyrmions_fill_a_mask_and_a_large_box():
    mask = np.ones((24, 24), bool)
    mask[:, :4] = False
    S = skyrmions(Hamiltonian(D=0.6, B=0.2, boundary=mask), (24, 24), [(14, 12)])
    assert (S[:, :, :4] == 0).all() and float(topological_charge(S, mask)) == pytest.approx(-1, abs=0.05)
    far = skyrmions(Hamiltonian(D=3.0, B=1.0, boundary="open"), (8, 600), [(2.5, 3.5)])
    assert torch.isfinite(far).all() and float(far[2, 0, -1]) == 1


def test_skyrmions_reach_across_periodic_edges_alone():
    for boundary, across, cut in ((("open", "periodic"), (0.0, 11.5), (11.5, 0.0)),
                                  (("periodic", "open"), (11.5, 0.0), (0.0, 11.5))):
        H = Hamiltonian(D=0.6, B=0.2, boundary=boundary)
        charges = [float(topological_charge(skyrmions(H, (24, 24), [centre]), periodic=H.periodic_axes))
                   for centre in (across, cut)]
        assert charges[0] == pytest.approx(-1, abs=1e-2) and charges[1] > -0.7
        with pytest.raises(ValueError, match="periodic"):
            skyrmion_lattice(H, (24, 24))


# Sublattices


@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 36), ny=st.integers(8, 70), nx=st.integers(8, 70))
def test_cells_are_lattices_of_the_box(count, ny, nx):
    for strain, cell, points in commensurate_cells((ny, nx), count):
        assert abs(np.linalg.det(cell)) == pytest.approx(nx * ny / count)
        box = np.array((nx, ny))
        integers = box * np.eye(2) @ np.linalg.inv(cell)  # the box vectors belong to the lattice ...
        np.testing.assert_allclose(integers, integers.round(), atol=1e-9)
        places = points @ np.linalg.inv(cell)             # ... and so do the points, once each
        np.testing.assert_allclose(places, places.round(), atol=1e-9)
        assert len(np.unique((points / box * count).round().astype(int) % count, axis=0)) == count
        u, v = cell
        assert u @ u <= v @ v + 1e-9 and -1e-9 <= u @ v <= u @ u / 2 + 1e-6
        triangular = np.array([[1, 0], [0.5, math.sqrt(3) / 2]])
        stretches = np.linalg.svd(np.linalg.inv(triangular) @ cell, compute_uv=False)
        assert strain == pytest.approx(math.log(stretches[0] / stretches[1]) / 2, abs=1e-6)


@pytest.mark.parametrize("count", [1, 6, 7, 12, 23, 30])
def test_cells_are_all_of_them(count):
    """With mirror images there are sigma(n) lattices of index n, the sum of the divisors of n."""
    for ny, nx in ((40, 64), (64, 64)):
        seen = []
        cells = commensurate_cells((ny, nx), count)
        for *_, points in cells:
            grid = (points / (nx, ny) * count).round().astype(int)
            twins = [grid, grid * (-1, 1)]
            twins += [twin[:, ::-1] for twin in twins] if nx == ny else []
            seen += {frozenset(map(tuple, (twin % count).tolist())) for twin in twins}
        assert len(seen) == len(set(seen)) == sum(d for d in range(1, count + 1) if count % d == 0)
        strains = [strain for strain, *_ in cells]
        assert strains == sorted(strains)


def test_the_square_lattice_and_a_known_triangular_one():
    assert commensurate_cells((10, 10), 1)[0][0] == pytest.approx(math.acosh(2 / math.sqrt(3)) / 2)
    strain, cell, _ = commensurate_cells((64, 64), 30)[0]
    assert strain < 0.02 and defects(commensurate_cells((64, 64), 30)[0][2], (64, 64)) == 0
    assert np.linalg.norm(cell, axis=1) == pytest.approx(math.sqrt(64 * 64 / 30 * 2 / math.sqrt(3)), rel=0.03)


# The skyrmion lattice


def test_ranked_lattices_are_stationary_and_ordered(H, ranked):
    assert [state.energy for state in ranked] == sorted(state.energy for state in ranked)
    for state in ranked:
        assert state.spins.dtype == torch.float64 and float(H.torque(state.spins).max()) < 1e-5
        assert float(H.torque(state.spins.float()).max()) < 1e-5
        assert state.energy == pytest.approx(energy(H, state.spins), abs=1e-13)
        assert state.charge == pytest.approx(-state.count, abs=1e-9) and len(state.centres) == state.count
    assert (coordination(ranked[0].centres, (48, 48)) == 6).all()


def test_what_is_ranked_is_still_a_lattice(H):
    """In this box one candidate of six skyrmions relaxes to something lower that is no lattice any more."""
    for state in skyrmion_lattices(H, (32, 32)):
        steps = (state.centres - state.centres[0]) @ np.linalg.inv(state.cell)
        assert abs(steps - steps.round()).max() < 0.1


def test_lattice_is_lower_than_everything_else(H, ranked, lattice):
    """At B J/D^2 = 0.5556 the skyrmion lattice is the ground state (PHYSICS.md section 2)."""
    lowest = ranked[0].energy
    assert lowest < energy(H, uniform((48, 48))) - 0.02
    for turns in (2, 3, 4, 5):
        for axis in "xy":
            assert lowest < energy(H, relax(H, helix(H, (48, 48), turns, axis), tolerance=1e-4)) - 0.005
    rng = np.random.default_rng(0)
    for count in (13, 15, 17):
        scattered = relax(H, skyrmions(H, (48, 48), rng.uniform(0, 48, (count, 2))).double(), tolerance=1e-3)
        assert lowest < energy(H, scattered) - 1e-4
    torch.testing.assert_close(skyrmion_lattice(H, (48, 48)), lattice)


def test_peaks_of_the_structure_factor_are_reciprocal_lattice_vectors(ranked):
    for state in ranked[:3]:
        s = structure_factor(state.spins)
        s[0, 0] = 0
        for index in s.flatten().argsort(descending=True)[:6].tolist():
            k = (np.array((index % 48, index // 48)) + 24) % 48 - 24
            phases = state.cell @ k / 48
            np.testing.assert_allclose(phases, phases.round(), atol=1e-9)


def test_lattice_does_not_depend_on_dmi_type_or_signs():
    """The systems are related by symmetries, so one energy serves them all; the charge goes with the field."""
    lattices = {(s["dmi"], s["D"], s["B"]): skyrmion_lattices(Hamiltonian(**s), (32, 32), keep=2)[0] for s in SYSTEMS}
    reference = lattices["bloch", 0.6, 0.2]
    for (_, _, B), state in lattices.items():
        assert state.energy == pytest.approx(reference.energy, abs=1e-8)
        assert round(state.charge) == -math.copysign(1, B) * reference.count


def test_twice_the_box_is_at_least_as_good(H):
    """Four copies of the best lattice of a box are a lattice of the doubled box: the search must find one as low."""
    small, large = skyrmion_lattices(H, (16, 24)), skyrmion_lattices(H, (32, 48))
    assert large[0].energy <= small[0].energy + 1e-8
    assert energy(H, small[0].spins.repeat(1, 2, 2)) == pytest.approx(small[0].energy, abs=1e-12)


def test_counts_and_search_near_saturation(H):
    states = skyrmion_lattices(H, (32, 32), counts=(6, 8), keep=3)
    assert {state.count for state in states} <= {6, 8} and len(states) <= 3
    assert skyrmion_lattices(H, (32, 32), counts=6)[0].energy >= skyrmion_lattices(H, (32, 32))[0].energy
    # Above the field where the uniform state takes over skyrmions repel and cost energy: the fewest win.
    strong = Hamiltonian(D=0.6, B=0.3)
    best = skyrmion_lattices(strong, (32, 32))[0]
    assert best.count == 1 and best.energy > energy(strong, uniform((32, 32)))


# Point defects


def check_defect(H, perfect, state, change):
    charges = float(topological_charge(perfect)), float(topological_charge(state))
    assert charges[1] - charges[0] == pytest.approx(-change * math.copysign(1, H.B), abs=1e-9)
    assert state.dtype == perfect.dtype and state.shape == perfect.shape
    assert float(H.torque(state).max()) < 1e-5
    assert defects(skyrmion_centres(state * math.copysign(1, H.B)), state.shape[1:]) > 0
    generator = torch.Generator().manual_seed(0)
    shaken = state.double() + 3e-3 * torch.randn(state.shape, generator=generator, dtype=torch.float64)
    back = relax(H, torch.nn.functional.normalize(shaken, dim=-3))
    assert energy(H, back) == pytest.approx(energy(H, state), abs=2e-7)  # a minimum, not a saddle
    assert float((back - state).square().sum(-3).mean()) < 1e-2


def test_an_interstitial_is_metastable(H, ranked, lattice):
    extra = with_interstitial(H, lattice)
    check_defect(H, lattice, extra, +1)
    assert energy(H, extra) > ranked[0].energy + 1e-4
    assert with_interstitial(H, lattice.double()).dtype == torch.float64


@pytest.mark.parametrize("system", SYSTEMS[1::2])
def test_interstitials_of_other_systems(system):
    H = Hamiltonian(**system)
    perfect, extra = interstitial_pair(H, (32, 32))
    check_defect(H, perfect, extra, +1)
    torch.testing.assert_close(perfect, skyrmion_lattice(H, (32, 32)))


def test_an_interstitial_that_heals_is_not_passed_off_as_one(H):
    """In the lattice of 23 skyrmions at 64 x 64 the extra one glides until a perfect lattice of 24 is left."""
    (lattice,) = skyrmion_lattices(H, (64, 64), counts=23, keep=1)
    with pytest.raises(RuntimeError, match="interstitial"):
        with_interstitial(H, lattice.spins)


# Bad input

PERIODIC = Hamiltonian(D=0.6, B=0.2)
OPEN = Hamiltonian(D=0.6, B=0.2, boundary="open")


@pytest.mark.parametrize("call, error, word", [
    (lambda: uniform((3,)), ValueError, "shape"),
    (lambda: uniform((3, 0)), ValueError, "shape"),
    (lambda: helix(Hamiltonian(D=0.0), (16, 16)), ValueError, "D"),
    (lambda: helix_period(Hamiltonian(J=-1.0)), ValueError, "J"),
    (lambda: skyrmions(PERIODIC, (16, 16), [1, 2]), ValueError, "centres"),
    (lambda: skyrmions(PERIODIC, (16, 16), [(1, math.nan)]), ValueError, "centres"),
    (lambda: skyrmions(PERIODIC, (16, 16), [(1, 2)], radius=0.0), ValueError, "radius"),
    (lambda: skyrmions(Hamiltonian(boundary=np.ones((4, 4), bool)), (16, 16), [(1, 2)]), ValueError, "mask"),
    (lambda: commensurate_cells((16, 16), 0), ValueError, "count"),
    (lambda: skyrmion_lattice(OPEN, (16, 16)), ValueError, "periodic"),
    (lambda: skyrmion_lattice(Hamiltonian(D=0.0), (16, 16)), ValueError, "D"),
    (lambda: skyrmion_lattice(PERIODIC, (16,)), ValueError, "shape"),
    (lambda: skyrmion_lattices(PERIODIC, (16, 16), counts=[]), ValueError, "counts"),
    (lambda: skyrmion_lattices(PERIODIC, (16, 16), counts=[0]), ValueError, "count"),
    (lambda: skyrmion_lattices(Hamiltonian(D=0.6, B=3.0), (16, 16)), RuntimeError, "no skyrmion lattice"),
    (lambda: with_interstitial(OPEN, uniform((16, 16))), ValueError, "periodic"),
    (lambda: with_interstitial(PERIODIC, uniform((16, 16))), ValueError, "skyrmions"),
    (lambda: with_interstitial(PERIODIC, uniform((16, 16))[None]), ValueError, "lattice"),
])
def test_bad_input(call, error, word):
    with pytest.raises(error, match=word):
        call()
