"""Further bonds: energies, fields and their annealer against a double loop, closed forms, and nearest neighbours."""

import math
from functools import partial

import numpy as np
import pytest
import test_hamiltonian
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from test_hamiltonian import BOUNDARIES, MIXED, random_spins

from evae_companion.analysis.luttinger_tisza import lower_bound, spirals
from evae_companion.data_specs import DataSpec
from evae_core import Hamiltonian, anneal, heat_bath, relax
from evae_core.annealing import Annealing, Schedule, _backend, cpu, general_lattice, runs_on
from evae_core.bonds import Bond, check_bonds, shell
from evae_core.textures import helix_period

make = partial(test_hamiltonian.make, ny=5, nx=7)
SPIRAL = (*shell(1, 1, -0.25), *shell(0, 2, -0.2))


def energy_by_loop(H, spins):
    """Every site and every bond once, from the definition."""
    S = spins.permute(1, 2, 0).numpy()
    ny, nx = S.shape[:2]
    alive = np.ones((ny, nx), bool) if H.mask is None else H.mask
    dm = {(0, 1): np.array([1.0, 0, 0]), (1, 0): np.array([0, 1.0, 0])}
    if H.dmi == "neel":
        dm = {b: np.cross([0, 0, 1.0], d) for b, d in dm.items()}
    all_bonds = [(*b, H.J, H.D * d) for b, d in dm.items()] + [(*b[:3], np.array(b.dm)) for b in H.further]
    energy = 0.0
    for y, x in np.argwhere(alive):
        energy -= H.B * S[y, x, 2] + H.K * S[y, x, 2] ** 2
        for dy, dx, J, d in all_bonds:
            v, u = y + dy, x + dx
            wraps_y, wraps_x = H.periodic_axes
            if (wraps_y or 0 <= v < ny) and (wraps_x or 0 <= u < nx) and alive[v % ny, u % nx]:
                energy -= J * S[y, x] @ S[v % ny, u % nx] + d @ np.cross(S[y, x], S[v % ny, u % nx])
    return energy


numbers = st.floats(-2, 2, allow_subnormal=False)
vectors = st.tuples(numbers, numbers, numbers)
lists = st.dictionaries(st.tuples(st.integers(-3, 3), st.integers(-4, 4)).filter(lambda b: b > (0, 0)),
                        st.tuples(numbers, vectors), max_size=4).map(
                            lambda d: [(*b, *c) for b, c in d.items()])


@settings(max_examples=50, deadline=None)
@given(further=st.one_of(st.just([]), lists), boundary=st.sampled_from(BOUNDARIES),
       dmi=st.sampled_from(["bloch", "neel"]), J=numbers, D=numbers, B=numbers, K=numbers, seed=st.integers(0, 99))
def test_energy_density_and_field_equal_the_double_loop(further, boundary, dmi, J, D, B, K, seed):
    H = make(boundary, seed=seed, J=J, D=D, B=B, K=K, dmi=dmi, further=further)
    spins = random_spins(3, 5, 7, seed=seed)
    energy = energy_by_loop(H, spins)
    assert float(H.energy(spins)) == pytest.approx(energy, rel=1e-12, abs=1e-9)
    assert float(H.energy_density(spins).sum()) == pytest.approx(energy, rel=1e-12, abs=1e-9)
    if H.mask is None:
        up = torch.zeros_like(spins)
        up[2] = 1
        exchange = Hamiltonian(J=J, D=0, B=0, dmi=dmi, boundary=boundary, further=[(*b[:3],) for b in H.further])
        assert H.reference_energy((5, 7)) == pytest.approx(energy_by_loop(exchange, up), abs=1e-9)
    # The field is minus the gradient: by finite differences of the energy at one site.
    site, step = np.argwhere(np.ones((5, 7)) if H.mask is None else H.mask)[seed % 5], 1e-5
    for axis in range(3):
        ends = []
        for sign in (1, -1):
            moved = spins.clone()
            moved[axis, site[0], site[1]] += sign * step
            ends.append(energy_by_loop(H, moved))
        slope = (ends[0] - ends[1]) / (2 * step)
        assert float(H.field(spins)[axis, site[0], site[1]]) == pytest.approx(-slope, abs=1e-6)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_gradients(boundary):
    H = make(boundary, D=0.6, B=0.2, K=0.3, further=[(1, 1, 0.4), (2, -1, -0.3, (0.1, -0.2, 0.5))])
    spins = random_spins(2, 3, 5, 7).requires_grad_()
    assert torch.autograd.gradcheck(H.energy, (spins,)) and torch.autograd.gradgradcheck(H.energy, (spins[:1],))
    torch.testing.assert_close(H.energy(spins.float()), H.energy(spins).float(), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(H.energy(spins)[1], H.energy(spins[1]))


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("dmi", ["bloch", "neel"])
def test_nearest_neighbours_as_a_list(boundary, dmi):
    plain = make(boundary, D=0.6, B=0.2, dmi=dmi)
    listed = make(boundary, J=0, D=0, B=0.2, dmi=dmi, further=plain.nearest)
    spins = random_spins(3, 5, 7)
    torch.testing.assert_close(listed.energy(spins), plain.energy(spins))
    torch.testing.assert_close(listed.field(spins), plain.field(spins))
    assert listed.reference_energy((5, 7)) == plain.reference_energy((5, 7))


def test_one_form_of_a_bond():
    """Either end, any order, and no mark of what couples nothing."""
    one = Hamiltonian(further=[(1, -2, 0.5, (0.1, 0, -0.3)), (0, 2, 0.2)])
    other = Hamiltonian(further=((0, -2, 0.2), (-1, 2, 0.5, np.array([-0.1, 0, 0.3]))))
    assert one == other and hash(one) == hash(other) and one.spec() == other.spec() != Hamiltonian().spec()
    assert Hamiltonian(further=[(1, 1, 0.0)]) == Hamiltonian() and "further" not in Hamiltonian().spec()
    again = Hamiltonian(further=one.spec()["further"])
    assert again == one and again.further[0] == Bond(0, 2, 0.2)
    assert shell(2, 1, 1.0) == [(1, -2, 1.0), (1, 2, 1.0), (2, -1, 1.0), (2, 1, 1.0)]
    assert len(check_bonds(shell(0, 3, 1.0))) == 2


@pytest.mark.parametrize("bad, error, word", [
    (5, TypeError, "list"), ({"J": 1}, TypeError, "list"), ([3], TypeError, "hold"), ([(1, 1)], TypeError, "hold"),
    ([(1, 1, 1.0, (0, 0))], ValueError, "hold"), ([(1, 1, 1.0, (0, 0, 0), 2)], ValueError, "hold"),
    ([(1.0, 1, 1.0)], TypeError, "whole"), ([(1, 1, "1")], TypeError, "real"), ([(1, 1, True)], TypeError, "real"),
    ([(1, 1, math.nan)], ValueError, "finite"), ([(1, 1, 0.0, (0, 0, math.inf))], ValueError, "finite"),
    ([(0, 0, 1.0)], ValueError, "different"), ([(1, 1, 1.0), (-1, -1, 1.0)], ValueError, "once"),
])
def test_bad_bonds(bad, error, word):
    with pytest.raises(error, match=f"further.*{word}"):
        Hamiltonian(further=bad)


def test_a_bond_to_itself_and_functions_that_know_no_further_bonds():
    H = Hamiltonian(further=[(0, 8, 1.0)])
    with pytest.raises(ValueError, match="same site"):
        H.energy(random_spins(3, 6, 8))
    with pytest.raises(ValueError, match="same site"):
        anneal(H, (6, 4), 1)
    with pytest.raises(ValueError, match="further"):
        helix_period(H)
    with pytest.raises(ValueError, match="cuda.*nearest"):
        anneal(H, (6, 6), 1, device="cuda")
    with pytest.raises(ValueError, match="unit"):
        anneal(Hamiltonian(further=[(0, 2, 1e7)]), (6, 6), 1, device="cpu")
    assert DataSpec(Hamiltonian(further=SPIRAL), (7, 5), 1, 0, 0).shape == (7, 5)


def test_auto_says_that_a_gpu_is_left_idle(monkeypatch, capsys):
    from evae_core.annealing import gpu
    from evae_core.validation import say_once
    say_once.cache_clear()
    monkeypatch.setattr(gpu, "usable", lambda: True)
    assert _backend("auto", Hamiltonian(further=SPIRAL)) is general_lattice and runs_on("auto") == "cuda"
    assert "nearest neighbours only" in capsys.readouterr().err
    wire = Hamiltonian(boundary=("open", "periodic"))
    assert _backend("auto", wire) is cpu and "one boundary for both axes" in capsys.readouterr().err
    assert _backend("auto", Hamiltonian()) is gpu
    with pytest.raises(ValueError, match="cuda.*one boundary"):
        anneal(wire, (6, 6), 1, device="cuda")


# --- the annealer ---

@pytest.mark.parametrize("dmi, boundary", [("bloch", "periodic"), ("neel", "periodic"), ("neel", MIXED[0]),
                                           ("bloch", MIXED[1])])
def test_anneals_as_the_nearest_neighbour_one(dmi, boundary):
    """The same system, once through each annealer: energies of one distribution, warm and after the descent."""
    plain = Hamiltonian(D=0.6, B=0.2, K=-0.1, dmi=dmi, boundary=boundary)
    listed = Hamiltonian(J=0, D=0, B=0.2, K=-0.1, further=plain.nearest, boundary=boundary)
    start = random_spins(256, 3, 16, 16, dtype=torch.float32)
    one, two = (plain.energy_per_spin(heat_bath(H, start, 0.6, 30, overrelax=1, device="cpu").double())
                for H in (plain, listed))
    assert stats.ks_2samp(one, two).pvalue > 1e-3 and float(one.std()) > 1e-3
    one, two = (plain.energy_per_spin(anneal(H, (16, 16), 128, seed=3, schedule=Schedule(sweeps=30, tolerance=1e-3),
                                             device="cpu").double()) for H in (plain, listed))
    error = math.hypot(float(one.std()), float(two.std())) / math.sqrt(128)
    assert abs(float(one.mean() - two.mean())) < 4 * error


@pytest.mark.parametrize("J, D, B, K", [(0.7, 0.0, 0.0, 0.0), (-0.9, 0.5, 0.0, 0.0), (0.5, 0.4, 0.3, -0.6)])
def test_two_sites_have_their_boltzmann_distribution(J, D, B, K):
    """A chain of two spins, coupled by one bond three sites long: <E> against quadrature over both spheres."""
    mask = np.zeros((1, 4), bool)
    mask[0, [0, 3]] = True
    H = Hamiltonian(J=0, D=0, B=B, K=K, boundary=mask, further=[(0, 3, J, (0, D, 0))])
    T = 0.5
    spins = heat_bath(H, random_spins(4000, 3, 1, 4, dtype=torch.float32), T, 60, seed=2, overrelax=1, device="cpu")
    energy = H.energy(spins.double())
    c, weight = np.polynomial.legendre.leggauss(24)
    phi = 2 * np.pi * np.arange(32) / 32
    s = np.sqrt(1 - c**2)
    sphere = np.stack([np.outer(s, np.cos(phi)), np.outer(s, np.sin(phi)), np.outer(c, np.ones(32))], -1).reshape(-1, 3)
    w = np.repeat(weight, 32)
    own = -B * sphere[:, 2] - K * sphere[:, 2] ** 2
    turned = np.cross([0, D, 0], sphere)  # D.(a x b) = b.(D x a)
    E = own[:, None] + own - J * sphere @ sphere.T - turned @ sphere.T
    p = np.exp(-(E - E.min()) / T) * w[:, None] * w
    mean = float((p * E).sum() / p.sum())
    square = float((p * E**2).sum() / p.sum())
    for measured, exact in ((energy, mean), (energy.square(), square)):
        assert float(measured.mean()) == pytest.approx(exact, abs=4 * float(measured.std()) / math.sqrt(4000))


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_overrelaxation_conserves_energy(boundary):
    H = make(boundary, B=0.2, D=0.6, further=[*SPIRAL, (1, 2, 0.3, (0.1, 0.2, -0.3))])
    start = random_spins(3, 3, 5, 7, dtype=torch.float32)
    replicas = general_lattice.Replicas(H, (5, 7), 3)
    replicas.load(start)
    replicas.sweep([1.0] * 31, 0, heat=False)
    start = start if H.mask is None else start * torch.from_numpy(H.mask.copy())
    torch.testing.assert_close(H.energy(replicas.spins().double()), H.energy(start.double()), atol=1e-4, rtol=0)
    assert (replicas.spins() - start).abs().max() > 0.1


@settings(max_examples=10, deadline=None)
@given(further=lists, boundary=st.sampled_from(BOUNDARIES), K=st.floats(-1, 1), seed=st.integers(0, 99))
def test_descent_never_raises_the_energy(further, boundary, K, seed):
    H = make(boundary, seed=seed, K=K, further=[*further, (4, 1, 0.3)])
    replicas = general_lattice.Replicas(H, (5, 7), 3, dtype=np.float64)
    replicas.load(random_spins(3, 3, 5, 7, seed=seed))
    energy = H.energy(replicas.spins())
    for sweeps in (1, 1, 2, 20, 100):
        torque = replicas.descend(1e-300, sweeps)
        assert torque == pytest.approx(float(H.torque(replicas.spins()).max()), abs=1e-11)
        lower = H.energy(replicas.spins())
        assert (lower <= energy + 1e-12).all()
        energy = lower


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_what_must_not_change_a_result(boundary):
    H = make(boundary, D=0.6, B=0.2, K=0.1, further=[(1, 2, 0.3)])
    schedule = Schedule(sweeps=5, tolerance=1e-3)
    whole = anneal(H, (5, 7), 37, seed=11, schedule=schedule, device="cpu")
    assert H.torque(whole).max() < 1.05e-3 and len(np.unique(whole.numpy().reshape(37, -1), axis=0)) == 37
    for first, n in ((4, 33), (36, 1), (15, 3)):
        assert torch.equal(whole[first:first + n], anneal(H, (5, 7), n, seed=11, first=first, schedule=schedule,
                                                          device="cpu"))
    steps = Annealing(H, (5, 7), 3, seed=11, first=2, schedule=schedule, device="cpu").run(2)
    assert torch.equal(steps.finish(), whole[2:5])
    alone, beside = (relax(H, torch.stack(pair), device="cpu")[0] for pair in ((whole[0], whole[1]), (whole[0],) * 2))
    assert torch.equal(alone, beside)


# --- closed forms ---

@pytest.mark.parametrize("J, J2, energy", [(-1.0, -0.2, -1.6), (-1.0, -1.0, -2.0), (1.0, -1.0, -2.0),
                                           (1.0, -0.2, -1.6)])
def test_j1_j2_square_lattice(J, J2, energy):
    """Neel -2|J1| + 2|J2|, stripes -2|J2|, ferromagnet: bound, wave and annealed states all have the closed form."""
    H = Hamiltonian(J=J, D=0, B=0, further=shell(1, 1, J2))
    assert lower_bound(H, (8, 8)) == pytest.approx(energy, abs=1e-12)
    ((_, spins),) = spirals(H, (8, 8), 1)
    assert float(H.energy_per_spin(spins)) == pytest.approx(energy, abs=1e-12)
    found = anneal(H, (8, 8), 32, schedule=Schedule(sweeps=60, tolerance=1e-3), device="cpu").double()
    assert float(H.energy_per_spin(found).min()) == pytest.approx(energy, abs=1e-5)


def test_spiral_of_frustrated_exchange():
    """cos q = -J1/(4 J3) in both directions: q = pi/4, E/N = -sqrt(2) J at J3 = -J1/(4 cos q), found from noise."""
    H = Hamiltonian(J=1, D=0, B=0, further=shell(0, 2, -1 / (4 * math.cos(math.pi / 4))))
    assert lower_bound(H, (16, 16)) == pytest.approx(-math.sqrt(2), abs=1e-12)
    spins = anneal(H, (16, 16), 32, schedule=Schedule(sweeps=200, tolerance=1e-2), device="cpu").double()
    best = relax(H, spins[H.energy(spins).argmin()], tolerance=1e-4, device="cpu")
    assert float(H.energy_per_spin(best)) == pytest.approx(-math.sqrt(2), abs=1e-6)


def test_helix_is_the_bound_and_a_cone_in_a_field():
    H = Hamiltonian(D=math.sqrt(2) * math.tan(2 * math.pi * 2 / 32), B=0.0)
    assert lower_bound(H, (32, 32)) == pytest.approx(-2 * math.sqrt(1 + H.D**2 / 2), abs=1e-12)
    cone = Hamiltonian(D=0, B=0.05, further=SPIRAL)
    ((_, spins),) = spirals(cone, (32, 32), 1)
    rest = relax(cone, spins, tolerance=1e-6, device="cpu")
    assert lower_bound(cone, (32, 32)) == pytest.approx(float(cone.energy_per_spin(rest)), abs=1e-9)
    assert lower_bound(Hamiltonian(D=0, B=3.0), (8, 8)) == -5.0  # saturated


@settings(max_examples=25, deadline=None)
@given(further=lists, J=numbers, D=numbers, B=numbers, K=numbers, seed=st.integers(0, 99))
def test_no_state_lies_below_the_bound(further, J, D, B, K, seed):
    H = Hamiltonian(J=J, D=D, B=B, K=K, further=[*further, (4, 1, 0.3)])
    spins = torch.stack([random_spins(3, 5, 7, seed=seed), *(spins for _, spins in spirals(H, (5, 7), 3))])
    replicas = general_lattice.Replicas(H, (5, 7), len(spins), dtype=np.float64)
    replicas.load(spins)
    replicas.descend(1e-4, 300)
    assert (H.energy_per_spin(replicas.spins()) >= lower_bound(H, (5, 7)) - 1e-9).all()
