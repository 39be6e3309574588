"""Observables against closed forms, symmetries and brute force."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from evae_companion.analysis.theta_density import theta_density
from evae_core import Hamiltonian
from evae_core.merons import meron_counts, winding
from evae_core.observables import (
    charge_density,
    coordination,
    defects,
    kspace,
    kspace_mse,
    kspace_pairs,
    periodic_images,
    skyrmion_centres,
    structure_factor,
    theta,
    topological_charge,
)

F64 = torch.float64
NY, NX = 40, 48
HELICITIES = {"bloch": math.pi / 2, "other bloch": -math.pi / 2, "neel": 0.0, "other neel": math.pi, "between": 0.7}


def skyrmions(*centres, shape=(NY, NX), radius=4.0, wall=2.0, helicity=math.pi / 2, winding=1):
    """Skyrmions with cores down in a +z background: tan(Theta/2) = sinh(R/w)/sinh(r/w), periodic, (3, Ny, Nx)."""
    ny, nx = shape
    y, x = np.mgrid[:ny, :nx].astype(float)
    w = np.zeros(shape, complex)
    for cx, cy in centres:
        dx, dy = (x - cx + nx / 2) % nx - nx / 2, (y - cy + ny / 2) % ny - ny / 2
        r = np.maximum(np.hypot(dx, dy), 1e-3)
        w += np.sinh(radius / wall) / np.sinh(r / wall) * np.exp(1j * (winding * np.arctan2(dy, dx) + helicity))
    S = np.stack((2 * w.real, 2 * w.imag, 1 - abs(w) ** 2)) / (1 + abs(w) ** 2)
    return torch.from_numpy(S)


def random_spins(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(*shape, generator=generator, dtype=F64), dim=-3)


def rotated(S, seed):
    matrix = torch.from_numpy(Rotation.random(rng=np.random.default_rng(seed)).as_matrix())
    return torch.einsum("ab,...byx->...ayx", matrix, S)


def triangular(nx_cells, rows, a):
    """Triangular lattice of spacing a along x, rows even, commensurate with its box: centres, (Ny, Nx)."""
    height = a * math.sqrt(3) / 2
    points = [((i + 0.5 * (j % 2)) * a, j * height) for j in range(rows) for i in range(nx_cells)]
    return np.array(points), (rows * height, nx_cells * a)


# Topological charge


@pytest.mark.parametrize("helicity", HELICITIES.values(), ids=HELICITIES)
def test_one_skyrmion_has_charge_minus_one(helicity):
    S = skyrmions((20.3, 17.6), helicity=helicity)
    assert float(topological_charge(S)) == pytest.approx(-1, abs=1e-12)
    assert float(topological_charge(S.float())) == pytest.approx(-1, abs=1e-12)
    assert float(topological_charge(-S)) == pytest.approx(1, abs=1e-12)  # S -> -S: odd in the spins
    assert float(topological_charge(S.flip(-1))) == pytest.approx(1, abs=1e-12)  # mirrored lattice
    assert float(topological_charge(skyrmions((20.3, 17.6), winding=-1))) == pytest.approx(1, abs=1e-12)


def test_charges_add_up():
    places = [(5.2, 6.1), (25.4, 8.3), (40.0, 20.2), (12.7, 26.0), (30.9, 31.5)]
    for n in range(len(places) + 1):
        assert float(topological_charge(skyrmions(*places[:n]))) == pytest.approx(-n, abs=1e-11)


def test_charge_density_sits_on_the_skyrmion_and_matches_the_continuum():
    """q = S.(dS/dx x dS/dy)/4pi in the limit of a smooth texture."""
    S = skyrmions((32.0, 32.0), shape=(64, 64), radius=9.0, wall=6.0)
    q = charge_density(S)
    assert q.shape == (64, 64) and float(q.sum()) == pytest.approx(-1, abs=1e-12)
    assert float(q[12:52, 12:52].sum()) < -0.98

    # Differences about the middle of the plaquette.
    right, up = S.roll(-1, -1) - S, S.roll(-1, -2) - S
    dx, dy = right + right.roll(-1, -2), up + up.roll(-1, -1)
    mean = (S + S.roll(-1, -1) + S.roll(-1, -2) + S.roll((-1, -1), (-2, -1))) / 4
    continuum = (mean * torch.linalg.cross(dx / 2, dy / 2, dim=-3)).sum(-3) / (4 * math.pi)
    near = q.abs() > 0.2 * q.abs().max()
    assert float((continuum[near] / q[near] - 1).abs().max()) < 0.05


@settings(max_examples=25, deadline=None)
@given(dy=st.integers(0, NY - 1), dx=st.integers(0, NX - 1), seed=st.integers(0, 9999))
def test_charge_under_translation_and_rotation(dy, dx, seed):
    S = skyrmions((10.3, 9.1), (30.7, 25.2))
    moved = rotated(S.roll((dy, dx), (-2, -1)), seed)
    torch.testing.assert_close(charge_density(moved), charge_density(S).roll((dy, dx), (-2, -1)), atol=1e-11, rtol=0)
    assert float(topological_charge(moved)) == pytest.approx(-2, abs=1e-11)


@settings(max_examples=40, deadline=None)
@given(ny=st.integers(2, 12), nx=st.integers(2, 12), seed=st.integers(0, 9999))
def test_charge_is_an_integer_for_any_texture(ny, nx, seed):
    """Also for rough ones: the edges' phases cancel between the triangles that share them."""
    Q = topological_charge(random_spins(5, 3, ny, nx, seed=seed))
    assert Q.dtype == F64 and Q.shape == (5,)
    assert float((Q - Q.round()).abs().max()) < 1e-9


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 9999))
def test_charge_of_smooth_textures_does_not_depend_on_the_grid(seed):
    """A band-limited texture on 32^2 and, sampled at every second site, on 16^2."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64] * 2 * np.pi / 64
    S = np.zeros((3, 64, 64))
    for a in range(3):
        for ky, kx in ((0, 0), (0, 1), (1, 0), (1, 1)):
            S[a] += rng.normal() * np.cos(ky * y + kx * x + rng.uniform(0, 2 * np.pi))
    if np.linalg.norm(S, axis=0).min() < 0.35:
        return  # the direction is ill defined where the vector is near zero
    S = torch.nn.functional.normalize(torch.from_numpy(S), dim=-3)
    Q = topological_charge(S)
    assert float(Q) == pytest.approx(float(Q.round()), abs=1e-10)
    assert float(topological_charge(S[:, ::2, ::2])) == pytest.approx(float(Q), abs=1e-10)


def test_charge_in_open_and_masked_samples():
    inside, across = skyrmions((20.3, 17.6)), skyrmions((0.0, 17.6))
    assert float(topological_charge(inside, periodic=False)) == pytest.approx(-1, abs=1e-3)  # tails cut off
    assert float(topological_charge(across, periodic=False)) > -0.95
    q = charge_density(inside, periodic=False)
    assert (q[-1] == 0).all() and (q[:, -1] == 0).all() and (q[:-1, :-1] == charge_density(inside)[:-1, :-1]).all()
    mask = np.zeros((NY, NX), bool)
    mask[4:36, 6:40] = True
    cut = torch.where(torch.from_numpy(mask), inside, 0.0)
    assert float(topological_charge(cut, mask)) == pytest.approx(-1, abs=0.01)
    q = charge_density(cut, mask)
    torch.testing.assert_close(q[4:35, 6:39], charge_density(inside)[4:35, 6:39])
    q[4:35, 6:39] = 0
    assert (q == 0).all()
    hole = np.ones((NY, NX), bool)
    hole[18, 21] = False  # in the wall: the four plaquettes around it are gone, the others are as they were
    difference = charge_density(inside, hole) - charge_density(inside, periodic=False)
    assert (charge_density(inside, hole)[17:19, 20:22] == 0).all() and (difference[17:19, 20:22] != 0).all()
    assert int((difference != 0).sum()) == 4
    full = torch.ones(NY, NX, dtype=torch.bool)
    torch.testing.assert_close(charge_density(inside, full), charge_density(inside, periodic=False))
    with pytest.raises(ValueError, match="unit"):
        topological_charge(cut)  # holes without a mask
    for periodic in (True, (False, True), (True, False)):
        with pytest.raises(ValueError, match="periodic"):
            topological_charge(cut, mask, periodic=periodic)


def test_charge_where_one_axis_is_periodic():
    """A skyrmion across an edge is whole where that axis is periodic, and cut where it is open."""
    for centre, wire in (((0.0, 17.6), (False, True)), ((20.3, 0.0), (True, False))):
        S = skyrmions(centre)
        assert float(topological_charge(S, periodic=wire)) == pytest.approx(-1, abs=1e-3)
        assert float(topological_charge(S, periodic=wire[::-1])) > -0.95
        assert len(skyrmion_centres(S, periodic=wire)) == 1 and len(skyrmion_centres(S, periodic=wire[::-1])) == 2
        gap = (skyrmion_centres(S, periodic=wire) - centre + (1, 1)) % (NX, NY)
        np.testing.assert_allclose(gap, [(1, 1)], atol=0.1)
    S = random_spins(3, NY, NX)
    q, along = charge_density(S, periodic=(False, True)), charge_density(S.roll(5, -1), periodic=(False, True))
    torch.testing.assert_close(along, q.roll(5, -1))
    assert (q[-1] == 0).all() and (q[:-1] == charge_density(S)[:-1]).all()
    for word, pair in ((True, (True, True)), (False, [False, False])):
        assert (charge_density(S, periodic=pair) == charge_density(S, periodic=word)).all()
    w, _ = winding(S)
    for pair in ((False, True), (True, False)):
        cut = w.clone()
        cut[(-1, ...) if not pair[0] else (..., -1)] = 0
        assert (cut != w).any() and torch.equal(winding(S, pair)[0], cut)
    assert sum(map(int, meron_counts(S, periodic=False).values())) < sum(map(int, meron_counts(S).values()))


# Centres and their neighbours


@settings(max_examples=25, deadline=None)
@given(dy=st.integers(0, NY - 1), dx=st.integers(0, NX - 1))
def test_centres_follow_translations_across_the_edges(dy, dx):
    places = np.array([(10.3, 9.1), (30.7, 25.2), (0.0, 33.0)])
    found = skyrmion_centres(skyrmions(*places).roll((dy, dx), (-2, -1)))
    expected = (places + (dx, dy)) % (NX, NY)
    assert found.shape == (3, 2) and (found >= 0).all() and (found < (NX, NY)).all()
    gap = (found[:, None] - expected + (NX / 2, NY / 2)) % (NX, NY) - (NX / 2, NY / 2)
    assert np.hypot(*np.moveaxis(gap, -1, 0)).min(0).max() < 0.1


def test_centres_in_open_samples_and_thresholds():
    S = skyrmions((0.0, 17.6), (24.0, 10.0))
    assert len(skyrmion_centres(S)) == 2
    assert len(skyrmion_centres(S, periodic=False)) == 3  # the one on the edge falls in two
    assert len(skyrmion_centres(S, threshold=-0.999)) == 1  # only the second core sits on a site
    assert skyrmion_centres(-S).shape == (1, 2)  # the background, one region around the cores
    assert skyrmion_centres(skyrmions()).shape == (0, 2)
    S[:, :, :12] = 0  # not magnetic, although below a threshold of 0.5
    S[:, :, 36:] = 0
    np.testing.assert_allclose(skyrmion_centres(S, 0.5, periodic=False), [(24, 10)], atol=0.1)
    corner = skyrmions((0.0, 0.0))
    np.testing.assert_allclose((skyrmion_centres(corner) + 1) % (NX, NY), [[1, 1]], atol=1e-9)


def test_triangular_lattice_has_six_neighbours():
    centres, shape = triangular(6, 6, 8.0)
    rng = np.random.default_rng(0)
    for shift in rng.uniform(0, 50, (5, 2)):
        jitter = rng.normal(0, 0.2, centres.shape)
        assert (coordination((centres + shift + jitter) % shape[::-1], shape) == 6).all()
    assert defects(centres, shape) == 0.0
    without = np.delete(centres, 14, axis=0)  # a vacancy: the ring around it closes over the hole
    numbers = coordination(without + rng.normal(0, 0.01, without.shape), shape)
    assert numbers.sum() == 6 * len(without)  # Euler: six on average on a torus, whatever the defects
    assert 0 < defects(without, shape) < 0.2


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 40), ny=st.integers(4, 120), seed=st.integers(0, 9999))
def test_six_neighbours_on_average_on_the_torus(n, ny, seed):
    """Euler's theorem, also for few skyrmions and long boxes, and on square lattices with their ambiguous diagonals."""
    centres = np.random.default_rng(seed).uniform(0, 1, (n, 2)) * (30, ny)
    assert coordination(centres, (ny, 30)).sum() == 6 * n
    square = np.stack(np.meshgrid(np.arange(4), np.arange(n)), -1).reshape(-1, 2) * 7.5 + centres[0]
    assert (coordination(square % (30, 7.5 * n), (7.5 * n, 30)) == 6).all()


def test_coordination_of_open_samples_and_small_sets():
    hexagon = [(0, 0)] + [(math.cos(k * math.pi / 3), math.sin(k * math.pi / 3)) for k in range(6)]
    assert coordination(np.array(hexagon) * 8 + 20, (40, 40), periodic=False).tolist() == [6] + [3] * 6
    assert coordination([(1, 2), (9, 6), (5, 4)], (40, 40), periodic=False).tolist() == [1, 1, 2]  # on one line
    assert coordination([(1, 2), (3, 4)], (40, 40), periodic=False).tolist() == [1, 1]
    assert coordination([(1, 2)], (40, 40), periodic=False).tolist() == [0]
    for periodic in (True, False):
        assert coordination(np.zeros((0, 2)), (40, 40), periodic).tolist() == []


def test_periodic_images():
    images = periodic_images([(1, 2), (3, 0)], (6, 8)).tolist()
    assert images[:2] == [[1, 2], [3, 0]] and len(images) == 2 * 25
    assert [1 - 16, 2 + 12] in images and [3 + 8, 0 - 6] in images


# Order in k-space


def test_structure_factor_of_one_wave_and_parseval():
    angle = 2 * math.pi * 3 * torch.arange(NX, dtype=F64) / NX
    S = torch.stack((angle.sin(), torch.zeros(NX, dtype=F64), angle.cos()))[:, None].expand(3, NY, NX)
    s = structure_factor(S)
    assert float(s[0, 3]) == pytest.approx(NX * NY / 4) and float(s[0, -3]) == pytest.approx(NX * NY / 4)
    assert float(s.sum()) == pytest.approx(NX * NY / 2)
    assert float(structure_factor(S, shift=True)[NY // 2, NX // 2 + 3]) == pytest.approx(NX * NY / 4)
    T = random_spins(2, 3, 6, 9)
    torch.testing.assert_close(structure_factor(T).sum((-2, -1)), T[:, 2].square().sum((-2, -1)))
    torch.testing.assert_close(kspace(T), kspace(T, complex=True).abs())


@settings(max_examples=20, deadline=None)
@given(n=st.integers(2, 7), seed=st.integers(0, 9999), complex=st.booleans())
def test_kspace_mse_is_the_loop_over_pairs(n, seed, complex):
    S = random_spins(n, 3, 5, 8, seed=seed)
    F = np.fft.fft2(S[:, 2].numpy()) / math.sqrt(40)
    if not complex:
        F = abs(F)
    pairs = [(abs(F[i] - F[j]) ** 2).mean() for i in range(n) for j in range(i + 1, n)]
    np.testing.assert_allclose(kspace_pairs(S, complex), pairs, rtol=1e-9)
    assert kspace_mse(S, complex) == pytest.approx(np.mean(pairs), rel=1e-12)


def test_kspace_mse_and_translations():
    S = skyrmions((10.3, 9.1), (30.7, 25.2), (20.0, 30.0))
    moved = torch.stack([S.roll((i * i, 3 * i), (-2, -1)) for i in range(8)])
    assert kspace_mse(moved) < 1e-25
    assert kspace_mse(moved, complex=True) > 0.01
    assert kspace_mse(S.expand(5, 3, NY, NX), complex=True) < 1e-25
    direct = np.mean([float((moved[i, 2] - moved[j, 2]).square().mean()) for i in range(8) for j in range(i)])
    assert kspace_mse(moved, complex=True) == pytest.approx(direct, rel=1e-12)  # Parseval


# Local stability


@pytest.mark.parametrize("boundary", ["periodic", "open", "mask"])
def test_theta_is_the_arccos_of_the_alignment(boundary):
    mask = np.random.default_rng(0).random((9, 10)) < 0.8
    H = Hamiltonian(D=0.6, B=0.2, boundary=mask if boundary == "mask" else boundary)
    S = random_spins(2, 3, 9, 10)
    angle = theta(H, S)
    magnetic = torch.from_numpy(mask) if boundary == "mask" else torch.ones(9, 10, dtype=torch.bool)
    torch.testing.assert_close(angle[:, magnetic], H.alignment(S).clamp(-1, 1).arccos()[:, magnetic], atol=1e-7, rtol=0)
    assert angle[:, ~magnetic].isnan().all() and not angle[:, magnetic].isnan().any()


@pytest.mark.parametrize("tilt", [1e-1, 1e-3, 1e-5])
def test_theta_keeps_small_angles_in_float32(tilt):
    """One spin of the uniform state tilted by a known angle: the field stays along z."""
    S = torch.zeros(3, 8, 8)
    S[2] = 1
    S[0, 4, 4], S[2, 4, 4] = math.sin(tilt), math.cos(tilt)
    assert float(theta(Hamiltonian(D=0.0), S)[4, 4]) == pytest.approx(tilt, rel=1e-6)


def test_theta_where_the_field_vanishes_or_is_against_the_spin():
    S = torch.zeros(3, 4, 4, dtype=F64)
    S[2] = 1
    assert (theta(Hamiltonian(J=0.0, D=0.0, B=0.0), S) == math.pi / 2).all()
    assert (theta(Hamiltonian(J=-1.0, D=0.0, B=0.0), S) == math.pi).all()


@settings(max_examples=20, deadline=None)
@given(bins=st.integers(2, 300), log=st.booleans(), seed=st.integers(0, 9999), scale=st.floats(1e-9, 3))
def test_theta_density_integrates_to_one(bins, log, seed, scale):
    H = Hamiltonian(D=0.6, B=0.2)
    up = torch.zeros(3, 8, 8, dtype=F64)
    up[2] = 1
    S = torch.nn.functional.normalize(up + scale * random_spins(2, 3, 8, 8, seed=seed), dim=-3)
    edges, density = theta_density(H, S, bins, log=log)
    assert edges.shape == (bins + 1,) and density.shape == (bins,) and (density >= 0).all()
    assert edges[0] == 0 and edges[-1] == math.pi and (np.diff(edges) > 0).all()
    assert float((density * np.diff(edges)).sum()) == pytest.approx(1, abs=1e-12)


def test_theta_density_counts_magnetic_sites_only():
    mask = np.zeros((8, 8), bool)
    mask[2:6, 1:7] = True
    H = Hamiltonian(boundary=mask)
    S = random_spins(3, 3, 8, 8)
    _, inner = theta_density(H, S, 20)
    _, alone = theta_density(Hamiltonian(boundary="open"), S[..., 2:6, 1:7], 20)
    np.testing.assert_allclose(inner, alone)
    angles = theta(H, S)
    edges, half = theta_density(H, S, [0.5, 1.0, 1.5])
    share = float(((angles >= 0.5) & (angles <= 1.5)).sum()) / (3 * mask.sum())
    assert float((half * np.diff(edges)).sum()) == pytest.approx(share)


# Bad input


GOOD = random_spins(3, 8, 8)


@pytest.mark.parametrize("call, error, word", [
    (lambda: topological_charge(2 * GOOD), ValueError, "unit"),
    (lambda: theta(Hamiltonian(), 2 * GOOD), ValueError, "unit"),
    (lambda: topological_charge(GOOD, np.ones((4, 4), bool)), ValueError, "mask"),
    (lambda: topological_charge(GOOD, np.ones((8, 8))), TypeError, "mask"),
    (lambda: skyrmion_centres(GOOD[None]), ValueError, "batch"),
    *((lambda f=f, p=p: f(GOOD, periodic=p), TypeError, "periodic must be") for f in (
        topological_charge, skyrmion_centres, winding) for p in ((True,), (True, 1), (True, False, True), "open")),
    (lambda: coordination(np.zeros((4, 3)), (8, 8)), ValueError, "centres"),
    (lambda: coordination([(1, 2), (1, 2)], (8, 8)), ValueError, "distinct"),
    (lambda: coordination([(1, 2)], (8, 0)), ValueError, "shape"),
    (lambda: defects(np.zeros((0, 2)), (8, 8)), ValueError, "centres"),
    (lambda: kspace_mse(GOOD), ValueError, "samples"),
    (lambda: kspace_pairs(GOOD[None]), ValueError, "samples"),
    (lambda: theta_density(Hamiltonian(), GOOD, [1, 1, 2]), ValueError, "bins"),
    (lambda: theta_density(Hamiltonian(), GOOD, [1, 2], log=True), ValueError, "log"),
    (lambda: theta_density(Hamiltonian(), GOOD.expand(0, 3, 8, 8)), ValueError, "spins"),
])
def test_bad_arguments(call, error, word):
    with pytest.raises(error, match=word):
        call()
