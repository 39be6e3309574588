"""Annealing: random numbers, exact distributions, detailed balance, the descent, and what must not change a result."""

import math

import numpy as np
import pytest
import torch
from cuda_stand_in import emulate
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from scipy import stats

import evae_core.annealing
from evae_core import Hamiltonian
from evae_core.annealing import Annealing, Schedule, anneal, cpu, gpu, heat_bath, kernels, relax, threads

F32, F64 = torch.float32, torch.float64
BOUNDARIES = ["periodic", "open", "mask", ("open", "periodic"), ("periodic", "open")]
REAL = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not gpu.usable(), reason="no usable GPU"))]
SHORT = Schedule(sweeps=10)


def backend(name, request, monkeypatch):
    """The backend's device: the GPU's kernels run on a GPU, or else on the CPU with one thread a block."""
    if name == "cpu without a compiler":
        monkeypatch.setattr(cpu.COMPILED, "problem", lambda: "no C++ compiler")
    if name == "cuda" and not gpu.usable():
        emulate(monkeypatch, request.getfixturevalue("emulated_cupy"), threads=1)
    return name.split()[0]


@pytest.fixture(params=["cpu", "cuda"])
def device(request, monkeypatch):
    """Both backends."""
    return backend(request.param, request, monkeypatch)


@pytest.fixture(params=["cpu", "cpu without a compiler", "cuda"])
def descends_on(request, monkeypatch):
    """All backends that have a descent of their own."""
    return backend(request.param, request, monkeypatch)


def random_spins(*shape, seed=0, dtype=F32):
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(*shape, generator=generator, dtype=F64), dim=-3).to(dtype)


def make(boundary, ny=6, nx=8, seed=0, **kw):
    if boundary == "mask":
        boundary = np.random.default_rng(seed).random((ny, nx)) < 0.7
        boundary[0, 0] |= not boundary.any()  # a sample of one site must have it
    return Hamiltonian(boundary=boundary, **kw)


def even(H_or_boundary, ny, nx):
    """The shape, with one row or column more where a periodic axis needs it."""
    y, x = make(H_or_boundary, ny, nx).periodic_axes
    return ny + (y and ny % 2), nx + (x and nx % 2)


def known(device, H):
    """Skip what the GPU's kernels refuse by name, as test_general_lattice tests."""
    if device == "cuda" and not gpu.supports(H):
        pytest.skip("the GPU's kernels know one boundary for both axes only")


def magnetic(H, shape):
    return torch.from_numpy(np.ones(shape, bool) if H.mask is None else H.mask.copy())


# --- the algorithm once more, to be read: numpy, float64, one replica ---

def next_word(state):
    """xoshiro128++ on a (4, ...) uint32 state, in place; returns the random words."""
    def rotl(x, k):
        return (x << np.uint32(k)) | (x >> np.uint32(32 - k))
    a, b, c, d = state
    word = rotl(a + d, 7) + a
    t = b << np.uint32(9)
    c = c ^ a
    d = d ^ b
    b = b ^ c
    a = a ^ d
    state[:] = a, b, c ^ t, rotl(d, 11)
    return word


def unit(word):
    return ((word >> np.uint32(8)).astype(float) + 1) / 2**24


def reference_sweep(H, S, state, T, overrelax):
    """One heat-bath sweep and ``overrelax`` reflections of S (3, Ny, Nx) float64, in place."""
    _, ny, nx = S.shape
    y, x = np.mgrid[:ny, :nx]
    alive = magnetic(H, (ny, nx)).numpy()
    without_K = Hamiltonian(J=H.J, D=H.D, B=H.B, dmi=H.dmi, boundary=H.boundary)
    for step in range(1 + overrelax):
        for colour in range(2):
            here = alive & ((x + y) % 2 == colour)
            u, word, v = np.ones((3, ny, nx)) * 0.5, np.zeros((ny, nx), np.uint32), None
            v = u[2]
            u = u[0]
            for row in np.flatnonzero(here.any(1)):  # the streams belong to columns k = x // 2 and run down the rows
                k = np.arange(state.shape[1])
                sites = 2 * k + (row + colour) % 2
                inside = sites < nx
                def spread(target, drawn, row=row, sites=sites, inside=inside):
                    target[row, sites[inside]] = drawn[inside]
                if step == 0:
                    spread(u, unit(next_word(state)))
                    spread(word, next_word(state))
                if H.K:
                    spread(v, unit(next_word(state)))
            h = without_K.field(torch.from_numpy(S)).numpy()
            size = np.where(here, np.linalg.norm(h, axis=0), 1)
            n = h / size
            if step:
                new = 2 * (S * n).sum(0) * n - S
            else:
                cos = 1 + np.log(u + (1 - u) * np.exp(-2 * size / T)) * T / size
                sin = np.sqrt(np.maximum(1 - cos**2, 0))
                angle = np.pi * (((word >> 8).astype(float) - 2**23) / 2**24 + (word & 1))
                sign = np.where(n[2] >= 0, 1, -1)  # a frame about n (Duff et al. 2017)
                f = -1 / (sign + n[2])
                e1 = np.stack((1 + sign * n[0]**2 * f, sign * n[0] * n[1] * f, -sign * n[0]))
                e2 = np.stack((n[0] * n[1] * f, sign + n[1]**2 * f, -n[1]))
                new = cos * n + sin * (np.cos(angle) * e1 + np.sin(angle) * e2)
            take = here & (v <= np.exp(np.minimum(H.K / T * (new[2]**2 - S[2]**2), 0)))
            S[:, take] = new[:, take]


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("K", [0.0, 0.8, -0.8])
def test_backend_follows_the_reference(boundary, K):
    """With the same random numbers two sweeps agree to rounding, which a sweep magnifies a hundredfold."""
    shape = even(boundary, 5, 7)
    H = make(boundary, *shape, J=1.0, D=0.6, B=0.2, K=K)
    start = random_spins(2, 3, *shape, dtype=F64)
    start[..., ~magnetic(H, shape)] = 0
    spins = heat_bath(H, start.float(), T=0.7, sweeps=2, seed=5, overrelax=2, device="cpu")
    for r in range(2):
        S = start[r].numpy().copy()
        state = cpu.seed_streams(5, np.array([r]), (shape[1] + 1) // 2)[..., 0]
        for _ in range(2):
            reference_sweep(H, S, state, 0.7, 2)
        np.testing.assert_allclose(spins[r].numpy(), S, atol=2e-4)


@pytest.mark.parametrize("a", [1e-4, 1e-3, 4.9e-3, 5.1e-3, 0.05])
def test_weak_fields_follow_the_reference(a):
    """B/T = a on both sides of where the expansion for weak fields takes over."""
    H = Hamiltonian(J=0.0, D=0.0, B=a, boundary="open")
    spins = heat_bath(H, random_spins(3, 7, 9), T=1.0, sweeps=1, seed=5, device="cpu")
    S = random_spins(3, 7, 9, dtype=F64).numpy()
    reference_sweep(H, S, cpu.seed_streams(5, np.array([0]), 5)[..., 0], 1.0, 0)
    np.testing.assert_allclose(spins[2].numpy(), S[2], atol=5e-5 if a > 5e-3 else 1e-5)


# --- random numbers and elementary functions ---

def test_xoshiro_and_splitmix_are_the_published_generators():
    state = np.array([[1], [2], [3], [4]], np.uint32)  # the test vector of the rand_xoshiro crate
    expected = [641, 1573767, 3222811527, 3517856514, 836907274, 4247214768, 3867114732, 1355841295]
    assert [int(next_word(state)[0]) for _ in expected] == expected
    assert int(threads.splitmix(np.array([0], np.uint64))[0]) == 0xE220A8397B1DCDAF


def test_streams_differ():
    state = cpu.seed_streams(3, np.arange(500), 32).reshape(4, -1)
    assert len(np.unique(state, axis=1).T) == 500 * 32
    assert (cpu.seed_streams(3, np.array([7]), 32)[..., 0] == cpu.seed_streams(3, np.arange(500), 32)[..., 7]).all()
    assert (cpu.seed_streams(4, np.arange(500), 32) != cpu.seed_streams(3, np.arange(500), 32)).mean() > 0.99


@njit
def apply_functions(x, word, out):
    for i in range(x.size):
        out[0, i] = kernels._exp(-x[i])
        out[1, i] = kernels._log(x[i])
        out[2, i], out[3, i] = kernels._sin_cos(word[i])
        out[4, i] = kernels._unit(word[i])


def test_elementary_functions():
    x = np.concatenate((np.geomspace(2**-24, 87, 100_000), [1.0, 1 - 2**-24])).astype(np.float32)
    word = np.linspace(0, 2**32 - 1, x.size).astype(np.uint32)
    out = np.empty((5, x.size), np.float32)
    apply_functions(x, word, out)
    wide = x.astype(float)
    np.testing.assert_allclose(out[0], np.exp(-wide), rtol=3e-7)
    np.testing.assert_allclose(out[1], np.log(wide), rtol=2e-7, atol=1e-7)
    angle = np.pi * (((word >> 8).astype(float) - 2**23) / 2**24 + (word & 1))
    np.testing.assert_allclose(out[2], np.sin(angle), atol=3e-7)
    np.testing.assert_allclose(out[3], np.cos(angle), atol=3e-7)
    assert out[4].min() == np.float32(2**-24) and out[4].max() == 1


# --- exact distributions ---

def langevin(a):
    return 1 / math.tanh(a) - 1 / a if a > 1e-3 else a / 3


@pytest.mark.parametrize("a", [1e-4, 4e-3, 6e-3, 0.1, 1.0, 5.0, 60.0, 3000.0])
def test_free_spins_in_a_field(a, device):
    """J = D = 0: cos(theta) has the exponential distribution of exp(B cos/T), and the azimuth is uniform."""
    H = Hamiltonian(J=0.0, D=0.0, B=a, boundary="open")
    S = heat_bath(H, random_spins(8, 3, 64, 64), T=1.0, sweeps=1, seed=1, device=device).double()
    z = S[:, 2].reshape(-1).numpy()
    drop = 1 - z if a < 1000 else (S[:, 0]**2 + S[:, 1]**2).reshape(-1).numpy() / 2  # 1 - z without cancellation
    assert 1 - drop.mean() == pytest.approx(langevin(a), abs=4.5 * max(drop.std(), 1e-9) / math.sqrt(z.size))
    law = stats.uniform(0, 2) if a < 1e-2 else stats.truncexpon(2 * a, scale=1 / a)
    assert stats.kstest(drop, law.cdf).pvalue > 1e-3
    azimuth = torch.atan2(S[:, 1], S[:, 0]).reshape(-1).numpy()
    assert stats.kstest(azimuth, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-3
    torch.testing.assert_close(torch.linalg.vector_norm(S, dim=1), torch.ones(8, 64, 64, dtype=F64), atol=2e-6, rtol=0)


def test_no_field_and_infinite_temperature_give_the_whole_sphere(device):
    free = Hamiltonian(J=0.0, D=0.0, B=0.0, boundary="open")
    up = torch.zeros(8, 3, 64, 64)
    up[:, 2] = 1
    for H, T in ((free, 0.1), (Hamiltonian(D=0.6, B=0.2, K=0.5), math.inf)):
        S = heat_bath(H, up, T=T, sweeps=1, seed=2, device=device).numpy()
        for component in range(3):
            assert stats.kstest(S[:, component].reshape(-1), stats.uniform(-1, 2).cdf).pvalue > 1e-3


@pytest.mark.parametrize("T", [0.05, 1.0])
@pytest.mark.parametrize("K", [-3.0, -0.4, 0.4, 3.0])
def test_anisotropy_against_an_integral(K, T, device):
    """Free spins with B and K: moments of S^z against the integral of exp((B z + K z^2)/T)."""
    B = 0.3
    H = Hamiltonian(J=0.0, D=0.0, B=B, K=K, boundary="open")
    start = random_spins(8, 3, 64, 64)
    sweeps = 1000 if K < -1 and T < 1 else 60  # the plane is narrow then, and 1 % of the proposals fall into it
    if K > 1 and T < 1:
        start[:, 2] = start[:, 2].abs()  # no way across the equator; the lower peak's weight is below 1e-5
    z = heat_bath(H, start, T=T, sweeps=sweeps, seed=3, overrelax=1, device=device)[:, 2].double().numpy()
    grid = np.linspace(-1, 1, 200_001)
    weight = np.exp((B * grid + K * grid**2 - abs(B) - max(K, 0)) / T)
    for power in (1, 2):
        exact = (weight * grid**power).sum() / weight.sum()
        assert (z**power).mean() == pytest.approx(exact, abs=4.5 * (z**power).std() / math.sqrt(z.size) + 1e-6)


def dimer_moments(H, T, points=24):
    """<E> and <E^2> of two coupled spins along x, by Gauss-Legendre in z and the trapezium rule in the azimuth."""
    node, weight = np.polynomial.legendre.leggauss(points)
    phi = 2 * np.pi * np.arange(points) / points
    z, p = (a.reshape(-1) for a in np.meshgrid(node, phi, indexing="ij"))
    w = np.repeat(weight, points)
    r = np.sqrt(1 - z**2)
    S = np.stack((r * np.cos(p), r * np.sin(p), z), 1)
    own = -H.B * z - H.K * z**2
    E = -S @ H.bond_matrices[0] @ S.T + own[:, None] + own
    boltzmann = np.outer(w, w) * np.exp(-(E - E.min()) / T)
    return [(boltzmann * E**m).sum() / boltzmann.sum() for m in (1, 2)]


@pytest.mark.parametrize("overrelax", [0, 2])
@pytest.mark.parametrize("K", [0.0, 0.5, -0.5])
def test_two_spins_have_the_boltzmann_distribution(K, overrelax, device):
    """A mask cuts the sample into independent pairs; their energies against the integral over both spheres."""
    mask = np.zeros((40, 59), bool)
    mask[::2, 0::3] = mask[::2, 1::3] = True
    H = Hamiltonian(J=1.0, D=0.7, B=0.3, K=K, boundary=mask)
    spins = heat_bath(H, random_spins(64, 3, 40, 59), T=0.5, sweeps=60, seed=4, overrelax=overrelax, device=device)
    density = H.energy_density(spins.double())[:, ::2]
    energy = (density[..., 0::3] + density[..., 1::3]).reshape(-1).numpy()
    assert energy.size == 64 * 20 * 20
    for power, exact in enumerate(dimer_moments(H, 0.5), 1):
        sample = energy**power
        assert sample.mean() == pytest.approx(exact, abs=4.5 * sample.std() / math.sqrt(sample.size))


@pytest.mark.parametrize("device", REAL)
@pytest.mark.parametrize("T, energy, error, mz", [(1.0, -0.8210, 4e-4, None), (0.5, -1.5073, 5e-4, 0.37),
                                                  (0.2, -1.8439, 5e-4, 0.887)])
def test_energy_at_a_temperature(T, energy, error, mz, device):
    """Against three independent codes (128 x 128, periodic, D = 0.3, B = 0.05).

    At T = 0.2 their number is that of the polarised state, which is metastable there and never leaves it.
    """
    H, n = Hamiltonian(), 16
    S = random_spins(n, 3, 128, 128)
    if T == 0.2:
        S = torch.zeros_like(S)
        S[:, 2] = 1
    S = heat_bath(H, S, T=T, sweeps=200, seed=6, overrelax=3, device=device)
    E, m = [], []
    for i in range(25):
        S = heat_bath(H, S, T=T, sweeps=5, seed=100 + i, overrelax=3, device=device)
        E.append(H.energy_per_spin(S.double()))
        m.append(S[:, 2].mean((-1, -2)))
    E, m = torch.stack(E).mean(0), torch.stack(m).mean(0)  # of every replica
    ours = float(E.std()) / math.sqrt(n)
    assert ours < 1e-3
    assert float(E.mean()) == pytest.approx(energy, abs=3.5 * math.hypot(error, ours))
    if mz is not None:
        assert float(m.mean()) == pytest.approx(mz, abs=0.01)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_overrelaxation_conserves_energy_and_moves_every_spin(boundary, device):
    H = make(boundary, 12, 14, D=0.6, B=0.2)
    known(device, H)
    backend = evae_core.annealing._backend(device)
    start = random_spins(5, 3, 12, 14)
    start[..., ~magnetic(H, (12, 14))] = 0
    replicas = backend.Replicas(H, (12, 14), 5)
    replicas.load(start)
    replicas.sweep([1.0] * 51, 0, heat=False)  # odd: a spin without neighbours returns every second time
    spins = replicas.spins()
    torch.testing.assert_close(H.energy(spins.double()), H.energy(start.double()), atol=2e-4, rtol=0)
    moved = (spins - start).abs().amax(1) > 1e-4
    assert moved[:, magnetic(H, (12, 14))].all() and not moved[:, ~magnetic(H, (12, 14))].any()


# --- the descent ---

@settings(max_examples=15, deadline=None)
@given(J=st.floats(-1, 1), D=st.floats(-1, 1), B=st.floats(-1, 1), K=st.floats(-2, 2), seed=st.integers(0, 99),
       boundary=st.sampled_from(BOUNDARIES))
def test_descent_never_raises_the_energy(J, D, B, K, seed, boundary):
    H = make(boundary, seed=seed, J=J, D=D, B=B, K=K)
    replicas = cpu.Replicas(H, (6, 8), 3, dtype=np.float64)
    replicas.load(random_spins(3, 3, 6, 8, seed=seed, dtype=F64))
    energy = H.energy(replicas.spins())
    for sweeps in (1, 1, 1, 2, 5, 20, 100):
        torque = replicas.descend(1e-300, sweeps)
        spins = replicas.spins()
        assert torque == pytest.approx(float(H.torque(spins).max()), abs=1e-12)
        lower = H.energy(spins)
        assert (lower <= energy + 1e-12).all()
        energy = lower


@pytest.mark.skipif(cpu.COMPILED.problem() is not None, reason=str(cpu.COMPILED.problem()))
@settings(max_examples=30, deadline=None)
@given(ny=st.integers(1, 6), nx=st.integers(1, 40), boundary=st.sampled_from(BOUNDARIES), seed=st.integers(0, 99),
       sweeps=st.integers(0, 60), K=st.sampled_from([0.0, 0.7, -0.7]), dtype=st.sampled_from([np.float32, np.float64]))
def test_compiled_descent_takes_the_steps_of_the_one_in_numba(ny, nx, boundary, seed, sweeps, K, dtype):
    shape = even(boundary, ny, nx)
    H = make(boundary, *shape, seed=seed, J=1.1, D=0.6, B=0.2, K=K)
    replicas = cpu.Replicas(H, shape, 2, dtype=dtype)
    replicas.load(random_spins(2, 3, *shape, seed=seed, dtype=F64))
    steps = []
    for descend in (replicas._descend, replicas._descend_in_lanes):
        S, done = replicas.S[0].copy(), np.zeros(replicas.W, np.int32)
        torque = descend(S, np.arange(2), 1e-3, sweeps, done)
        steps.append((S[..., 1:-1, :2], torque, done))
    for one, other in zip(*steps, strict=True) if dtype == np.float64 else [(steps[0][0], steps[1][0])]:
        np.testing.assert_allclose(one, other, atol=1e-9 if dtype == np.float64 else 1e-3)


@pytest.mark.parametrize("dmi", ["bloch", "neel"])
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("K", [0.0, 0.3, -0.3])
def test_relax_reaches_a_minimum(boundary, K, dmi, descends_on):
    H = make(boundary, 10, 12, D=0.6, B=0.2, K=K, dmi=dmi)
    known(descends_on, H)
    start = random_spins(2, 2, 3, 10, 12, dtype=F64)
    spins = relax(H, start, tolerance=1e-6, device=descends_on)  # far below, translation of the texture is nearly free
    assert spins.shape == start.shape and spins.dtype == F64
    assert H.torque(spins).max() < 1.1e-6
    mask = torch.ones(10, 12, dtype=torch.bool) if H.mask is None else torch.from_numpy(H.mask.copy())
    assert (torch.linalg.vector_norm(spins, dim=-3)[..., mask] - 1).abs().max() < 1e-14
    assert (H.energy(spins) < H.energy(start)).all()
    assert H.alignment(spins)[H.field(spins).square().sum(-3) > 1e-4].min() > 1 - 1e-9
    # A minimum: no small turn lowers the energy, to second order.
    for seed in range(5):
        turned = torch.nn.functional.normalize(spins + 1e-3 * random_spins(3, 10, 12, seed=seed, dtype=F64), dim=-3)
        assert (H.energy(turned) > H.energy(spins) - 1e-10).all()
    torch.testing.assert_close(relax(H, spins, tolerance=1.1e-6, device=descends_on), spins, atol=1e-12, rtol=0)
    single = relax(H, start.float(), device=descends_on)
    assert single.dtype == F32 and H.torque(single.double()).max() < 2e-5


def test_relax_finds_the_helix_and_keeps_hands_off_holes(descends_on):
    """At B = 0 the helix along (1, 1), turning by k a bond with tan k = D/(sqrt(2) J), is the ground state:
    E/N = -2 sqrt(J^2 + D^2/2), below the helix along x."""
    k = 2 * math.pi * 3 / 32
    H = Hamiltonian(D=math.sqrt(2) * math.tan(k), B=0.0)
    n = torch.arange(32, dtype=F64)
    angle = k * (n + n[:, None])
    helix = torch.stack((angle.sin() / math.sqrt(2), -angle.sin() / math.sqrt(2), angle.cos()))
    exact = -2 * math.sqrt(1 + H.D**2 / 2)
    assert float(H.energy_per_spin(helix)) == pytest.approx(exact, abs=1e-12)
    disturbed = torch.nn.functional.normalize(helix + 0.3 * random_spins(3, 32, 32, dtype=F64), dim=0)
    spins = relax(H, disturbed, tolerance=1e-7, device=descends_on)
    assert float(H.energy_per_spin(spins)) == pytest.approx(exact, abs=1e-10)
    mask = np.ones((32, 32), bool)
    mask[10:20, 5:9] = False
    cut = Hamiltonian(D=H.D, boundary=mask)
    disturbed[:, ~torch.from_numpy(mask)] = 7.0
    assert (relax(cut, disturbed, device=descends_on)[:, ~mask] == 0).all()


def test_relax_arrives_where_a_texture_glides():
    """Fast anneals of 48 x 48 at D = 0.6: defects glide, and the sweeps alone leave some at 1e-5 J for very long."""
    H = Hamiltonian(D=0.6, B=0.2)
    spins = anneal(H, (48, 48), 16, seed=3, schedule=Schedule(sweeps=60, overrelax=1))
    spins = torch.nn.functional.normalize(spins.double(), dim=1)
    replicas = cpu.Replicas(H, (48, 48), 16, dtype=np.float64)
    replicas.load(spins)
    assert replicas.descend(1e-6, evae_core.annealing.GLIDING) > 1e-6, "choose states that glide"
    rest = relax(H, spins, tolerance=1e-6)
    assert H.torque(rest).max() <= 1e-6 and (H.energy(rest) <= H.energy(spins) + 1e-9).all()


def test_replicas_stop_by_themselves():
    """The same spins beside an easy and beside a hard neighbour: the same bits."""
    H = Hamiltonian(D=0.6, B=0.2)
    easy, hard = torch.zeros(3, 16, 16), random_spins(3, 16, 16, seed=1)
    easy[2] = 1
    mine = random_spins(3, 16, 16)
    a, b, c = (relax(H, torch.stack(pair), device="cpu") for pair in ((easy, mine), (hard, mine), (mine, mine)))
    assert torch.equal(a[1], b[1]) and torch.equal(c[0], c[1]) and torch.equal(a[1], c[1])
    assert torch.equal(a[0], easy)


def test_descent_that_does_not_arrive(descends_on):
    H = Hamiltonian(D=0.6, B=0.2)
    with pytest.raises(RuntimeError, match="torque of .*max_sweeps=3"):
        relax(H, random_spins(3, 16, 16), max_sweeps=3, device=descends_on)
    with pytest.raises(RuntimeError, match="max_descent=1"):
        anneal(H, (16, 16), 2, schedule=Schedule(sweeps=2, max_descent=1), device=descends_on)


# --- what must not change a result ---

@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("K", [0.0, 0.3])
def test_a_replica_is_the_same_in_any_company(boundary, K, descends_on):
    H = make(boundary, 10, 12, D=0.6, B=0.2, K=K)
    known(descends_on, H)
    whole = anneal(H, (10, 12), 37, seed=11, schedule=SHORT, device=descends_on)
    for first, n in ((4, 33), (0, 1), (36, 1), (15, 3)):
        part = anneal(H, (10, 12), n, seed=11, first=first, schedule=SHORT, device=descends_on)
        assert torch.equal(whole[first:first + n], part)
    assert not torch.equal(whole, anneal(H, (10, 12), 37, seed=12, schedule=SHORT, device=descends_on))
    assert len(np.unique(whole.numpy().reshape(37, -1), axis=0)) == 37


def test_threads_do_not_matter():
    H, threads = Hamiltonian(D=0.6, B=0.2), torch.get_num_threads()
    results = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            whole = Annealing(H, (32, 32), 40, seed=2, schedule=SHORT, device="cpu").finish()
            results += [whole, anneal(H, (32, 32), 40, seed=2, schedule=SHORT, device="cpu")]
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(results[0], other) for other in results[1:])


def test_steps_lead_to_the_same_end(descends_on):
    H = Hamiltonian(D=0.6, B=0.2)
    end = anneal(H, (16, 16), 3, seed=8, schedule=SHORT, first=2, device=descends_on)
    steps = Annealing(H, (16, 16), 3, seed=8, schedule=SHORT, first=2, device=descends_on)
    assert steps.sweep == 0 and steps.temperature == math.inf and not steps.done
    assert steps.run(0) is steps and steps.sweep == 0
    steps.run(3)
    assert steps.sweep == 3 and steps.temperature == pytest.approx(SHORT.temperatures()[2])
    before = steps.spins
    assert [s.sweep for s in steps] == list(range(4, 11)) and steps.done
    assert not torch.equal(before, steps.spins)
    assert steps.temperature == pytest.approx(SHORT.T_end)
    spins = steps.finish()
    assert torch.equal(spins, end) and torch.equal(steps.finish(), end) and steps.temperature == 0
    assert torch.equal(steps.run(5).spins, end)


def test_progress_counts_replicas():
    seen = []
    anneal(Hamiltonian(), (16, 16), 40, schedule=SHORT, progress=lambda *a: seen.append(a), device="cpu")
    done, total = zip(*seen, strict=True)
    assert set(total) == {40} and list(done) == sorted(set(done)) and done[-1] == 40 and len(done) > 1

    def fail(done, total):
        raise KeyError("stop")
    with pytest.raises(KeyError, match="stop"):
        anneal(Hamiltonian(), (16, 16), 40, schedule=SHORT, progress=fail, device="cpu")


def test_neel_is_bloch_turned_and_a_full_mask_is_open(device):
    kw = dict(D=0.6, B=0.2, K=0.1)
    bloch, neel = (anneal(Hamiltonian(dmi=dmi, **kw), (16, 16), 2, schedule=SHORT, device=device)
                   for dmi in ("bloch", "neel"))
    assert torch.equal(neel, torch.stack((-bloch[:, 1], bloch[:, 0], bloch[:, 2]), 1))
    opened, full = (anneal(Hamiltonian(boundary=b, **kw), (9, 7), 2, schedule=SHORT, device=device)
                    for b in ("open", np.ones((9, 7), bool)))
    assert torch.equal(opened, full)


# --- annealed states ---

def test_a_wire_has_translations_along_itself_alone():
    """The lowest annealed state of an infinite wire: moved along it, it is as low and as much at rest; moved across,
    neither. The descent from a moved start ends in the moved state."""
    wire, shape = Hamiltonian(D=0.6, B=0.2, boundary=("open", "periodic")), (17, 30)
    spins = anneal(wire, shape, 8, seed=1, device="cpu").double()
    best = relax(wire, torch.nn.functional.normalize(spins[wire.energy(spins).argmin()], dim=0), 1e-6, device="cpu")
    energy = float(wire.energy(best))
    for along in (1, 2, 13):
        moved = best.roll(along, -1)
        assert float(wire.energy(moved)) == pytest.approx(energy, abs=1e-9)
        assert float(wire.torque(moved).max()) < 1.1e-6
    across = best.roll(3, -2)
    assert float(wire.energy(across)) > energy + 0.1 and float(wire.torque(across).max()) > 0.1
    start = random_spins(3, *shape, dtype=F64)
    ends = [relax(wire, start.roll(shift, -1), device="cpu").roll(-shift, -1) for shift in (0, 4)]
    torch.testing.assert_close(*ends, atol=1e-9, rtol=0)
    turned = Hamiltonian(D=0.6, B=0.2, boundary=("periodic", "open"))  # the same wire along y: lattice and spins turn
    other = torch.rot90(best, -1, (-2, -1))
    assert float(turned.energy(torch.stack((-other[1], other[0], other[2])))) == pytest.approx(energy, abs=1e-9)


@pytest.mark.parametrize("shape, boundary", [((1, 1), "open"), ((1, 9), "open"), ((9, 1), "open"), ((7, 5), "open"),
                                             ((2, 2), "periodic"), ((2, 6), "periodic"), ((20, 18), "mask"),
                                             ((7, 6), BOUNDARIES[3]), ((1, 2), BOUNDARIES[3]), ((6, 7), BOUNDARIES[4]),
                                             ((2, 1), BOUNDARIES[4])])
def test_any_lattice(shape, boundary, descends_on):
    H = make(boundary, *shape, D=0.6, B=0.2)
    known(descends_on, H)
    spins = anneal(H, shape, 3, schedule=SHORT, device=descends_on)
    alive = magnetic(H, shape)
    assert spins.shape == (3, 3, *shape) and spins.dtype == F32 and spins.device.type == "cpu"
    torch.testing.assert_close(torch.linalg.vector_norm(spins, dim=1), alive.float().expand(3, *shape))
    assert H.torque(spins).max() < SHORT.tolerance * 1.05
    if shape == (1, 1):
        torch.testing.assert_close(spins[:, 2], torch.ones(3, 1, 1))


def topological_charge(S):
    """Berg and Luescher: the solid angles of the two triangles of every plaquette."""
    def solid_angle(a, b, c):
        volume = (a * torch.linalg.cross(b, c, dim=1)).sum(1)
        return 2 * torch.atan2(volume, 1 + (a * b).sum(1) + (b * c).sum(1) + (c * a).sum(1))
    right, up = S.roll(-1, -1), S.roll(-1, -2)
    across = up.roll(-1, -1)
    return (solid_angle(S, right, across) + solid_angle(S, across, up)).sum((-1, -2)) / (4 * math.pi)


@pytest.mark.parametrize("device", REAL)
def test_states_are_as_good_as_they_should_be(device):
    """The paper's system at the default schedule: metastable, with defects, and skyrmions everywhere."""
    H = Hamiltonian()
    spins = anneal(H, (128, 128), 16, seed=1, device=device).double()
    energy = H.energy_per_spin(spins)
    assert -2.0574 < float(energy.mean()) < -2.0562 and energy.std() > 5e-5
    charge = topological_charge(spins)
    assert 26 < float(charge.abs().mean()) < 42 and (charge < 0).all() and len(charge.round().unique()) > 1
    assert float(spins[:, 2].mean()) == pytest.approx(0.52, abs=0.015)
    assert H.torque(spins).max() < 1.05e-4


def test_slower_is_lower():
    H = Hamiltonian(D=0.6, B=0.2)
    fast, slow = (H.energy(anneal(H, (32, 32), 96, seed=3, schedule=Schedule(sweeps=n)).double()) for n in (5, 200))
    error = math.hypot(float(fast.std()), float(slow.std())) / math.sqrt(96)
    assert float(slow.mean()) < float(fast.mean()) - 3 * error


# --- schedule and bad input ---

def test_temperatures():
    linear, geometric = Schedule(sweeps=50).temperatures(), Schedule(sweeps=50, kind="geometric").temperatures()
    for T in (linear, geometric):
        assert T.shape == (50,) and T.dtype == np.float64
        assert T[0] == pytest.approx(1.2) and T[-1] == pytest.approx(0.01) and (np.diff(T) < 0).all()
    np.testing.assert_allclose(np.diff(linear), np.diff(linear)[0])
    np.testing.assert_allclose(geometric[1:] / geometric[:-1], geometric[1] / geometric[0])
    assert (Schedule(T_start=0.5, T_end=0.5, sweeps=3).temperatures() == 0.5).all()
    assert Schedule(sweeps=1).temperatures().tolist() == [1.2]


@pytest.mark.parametrize("bad, error", [
    (dict(T_start=0), ValueError), (dict(T_end=2.0), ValueError), (dict(sweeps=0), ValueError),
    (dict(tolerance=1e-7), ValueError), (dict(max_descent=0), ValueError),
])
def test_bad_schedule(bad, error):
    (name, value), = bad.items()
    with pytest.raises(error, match=name) as caught:
        Schedule(**bad)
    assert repr(value) in str(caught.value) or f"{value:g}" in str(caught.value)


@pytest.mark.parametrize("bad, error, word", [
    (dict(shape=(15, 16)), ValueError, "even"), (dict(shape=(16, 15)), ValueError, "even"),
    (dict(H=Hamiltonian(boundary=BOUNDARIES[3]), shape=(16, 15)), ValueError, "even"),
    (dict(H=Hamiltonian(boundary=BOUNDARIES[4]), shape=(15, 16)), ValueError, "even"),
    (dict(shape=(0, 16)), ValueError, "shape"), (dict(n=0), ValueError, "n must"),
    (dict(seed=2**64), ValueError, "seed"),
    (dict(H=Hamiltonian(boundary=np.ones((8, 8), bool))), ValueError, "mask"),
    (dict(H=Hamiltonian(J=1e-21, D=0.0, B=0.0)), ValueError, "unit"), (dict(H=Hamiltonian(B=1e7)), ValueError, "unit"),
])
def test_bad_arguments(bad, error, word):
    kw = {"H": Hamiltonian(), "shape": (16, 16), "n": 2, "schedule": SHORT, "device": "cpu"} | bad
    for function in (anneal, Annealing):
        with pytest.raises(error, match=word):
            function(**kw)


def test_bad_steps():
    with pytest.raises(ValueError, match="sweeps"):
        Annealing(Hamiltonian(), (16, 16), 2, device="cpu").run(-1)


@pytest.mark.parametrize("spins, error, word", [
    (torch.zeros(3, 8, 8), ValueError, "unit"), (torch.zeros(0, 3, 8, 8), ValueError, "at least one"),
    (random_spins(3, 7, 8), ValueError, "even"),
])
def test_bad_spins(spins, error, word):
    with pytest.raises(error, match=word):
        relax(Hamiltonian(), spins, device="cpu")
    with pytest.raises(error, match=word):
        heat_bath(Hamiltonian(), spins, T=1.0, sweeps=1, device="cpu")


@pytest.mark.parametrize("T", [0.0, 1e-10])
def test_temperatures_that_are_too_low(T):
    with pytest.raises(ValueError, match="T must"):
        heat_bath(Hamiltonian(), random_spins(3, 8, 8), T, 1, device="cpu")
