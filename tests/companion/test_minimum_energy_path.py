"""Minimum-energy paths against closed forms and Spirit; lowest modes against closed forms and whole matrices."""

from dataclasses import dataclass
from importlib import import_module

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from evae_companion.analysis import lowest_modes, minimum_energy_path
from evae_core import Hamiltonian
from evae_core.annealing import lbfgs_refine
from evae_core.bonds import Term
from evae_core.textures import helix, skyrmions, uniform

K, B, HARD = 0.5, 0.3, 2.0
TIP = Hamiltonian(J=1.0, D=0.0, B=B, K=K, boundary="open")  # on one site: E = -B cos t - K cos^2 t
SKYRMION = Hamiltonian(D=0.6, B=0.25)
modes_module = import_module("evae_companion.analysis.lowest_modes")


@dataclass(frozen=True)
class Biaxial(Term):
    """A hard axis y and a field along x: two ways round, over +x and over -x."""

    field: float

    @property
    def vector(self):
        return (self.field, 0.0, 0.0)

    @property
    def matrix(self):
        return np.diag([0.0, -HARD, 0.0])


@dataclass(frozen=True)
class Cubic(Term):
    """Cubic anisotropy, which is not bilinear."""

    strength: float

    def energy_density(self, spins):
        x, y, z = spins.square().unbind(-3)
        return self.strength * (x * y + y * z + z * x)


class Learned:
    """An energy of which no more is known than what the protocol EnergyModel asks."""

    def __init__(self, H):
        self.H, self.D, self.boundary, self.mask = H, H.D, H.boundary, H.mask
        self.reference_energy, self.sites = H.reference_energy, H.sites

    def energy(self, spins, *, check=True):
        return self.H.energy(spins, check=check)


def up(*shape):
    return uniform(shape).double()


@pytest.fixture(scope="module")
def collapse():
    """A skyrmion that shrinks until it is gone: its state, the uniform state, the path."""
    start, torque = lbfgs_refine(SKYRMION, skyrmions(SKYRMION, (16, 16), np.array([[7.5, 7.5]])))
    assert torque < 1e-6
    return start, up(16, 16), minimum_energy_path(SKYRMION, start, up(16, 16), 12)


# Closed forms -------------------------------------------------------------------------------------------------------

def test_one_spin_over_its_anisotropy():
    """The barrier of K and B along z is K (1 + B/2K)^2 from up and K (1 - B/2K)^2 from down, at cos t = -B/2K."""
    found = minimum_energy_path(TIP, up(1, 1), -up(1, 1), 9, tolerance=1e-8)
    assert found.converged and found.torque < 1e-8 and found.states.dtype == torch.float64
    top = found.states[found.saddle]
    assert float(top[2]) == pytest.approx(-B / (2 * K), abs=1e-6)
    assert found.barrier == pytest.approx(K * (1 + B / (2 * K))**2, abs=1e-12)
    down = found.energies[found.saddle] - found.energies[-1]
    assert float(down) == pytest.approx(K * (1 - B / (2 * K))**2, abs=1e-12)
    assert float(found.distances[-1]) == pytest.approx(np.pi, abs=1e-6)
    assert torch.allclose(found.distances, torch.acos(found.states[:, 2, 0, 0].clamp(-1, 1)), atol=1e-6)
    modes = lowest_modes(TIP, top, 2)  # down along the path, and all ways round are alike
    assert modes.negative() == modes.soft() == 1


def test_spins_of_a_sample_turn_together():
    """Exchange far above anisotropy: N times the barrier of one; and sites without a spin stay so."""
    mask = torch.tensor([[False, True, False], [True, True, True], [False, True, False]])
    H = Hamiltonian(J=1.0, D=0.0, B=0.06, K=0.1, boundary=mask)
    start = up(3, 3)
    found = minimum_energy_path(H, start, -start, 9)
    assert found.converged and found.barrier == pytest.approx(5 * 0.1 * (1 + 0.3)**2, abs=1e-6)
    assert (found.states[..., ~mask] == 0).all()
    assert torch.allclose(found.states[..., mask].norm(dim=1), torch.ones(9, 5, dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_an_initial_path_chooses_the_valley(side):
    """With the field b along x the way over +x costs K (1 - b/2K)^2 and the other one K (1 + b/2K)^2."""
    b = 0.2
    H = Hamiltonian(J=1.0, D=0.0, B=0.0, K=K, boundary="open", terms=(Biaxial(b),))
    start = torch.tensor([b / (2 * K), 0.0, (1 - (b / (2 * K))**2)**0.5], dtype=torch.float64)[:, None, None]
    end = start * torch.tensor([1.0, 1.0, -1.0])[:, None, None]
    walk = torch.tensor([[0.1, 0.4, 0.9], [side, 0.3, 0.0], [0.2, 0.3, -0.9]])[..., None, None]
    found = minimum_energy_path(H, start, end, 11, path=normalize(walk, dim=1), tolerance=1e-6)
    assert found.converged and found.barrier == pytest.approx(K * (1 - side * b / (2 * K))**2, abs=1e-9)
    assert torch.allclose(found.states[found.saddle].flatten(), torch.tensor([side, 0, 0]).double(), atol=1e-5)
    assert lowest_modes(H, found.states[found.saddle], 2).negative() == 1


def test_a_symmetric_path_stays_symmetric_and_its_modes_say_so():
    """Over the hard axis: the top of the path is a maximum of the energy, not a saddle of first order."""
    H = Hamiltonian(J=1.0, D=0.0, B=0.0, K=K, boundary="open", terms=(Biaxial(0.0),))
    over = torch.tensor([0.0, 1.0, 0.0]).view(1, 3, 1, 1)
    found = minimum_energy_path(H, up(1, 1), -up(1, 1), 9, path=over)
    assert found.converged and found.barrier == pytest.approx(K + HARD)
    assert lowest_modes(H, found.states[found.saddle], 2).negative() == 2


def test_downhill_all_the_way_has_no_saddle_inside():
    """From an unstable state at rest the highest image is the start."""
    H = Hamiltonian(J=1.0, D=0.0, B=1.0, K=0.0, boundary="open")
    found = minimum_energy_path(H, -up(1, 1), up(1, 1), 7)
    assert found.converged and found.saddle == 0 and found.barrier == 0.0
    assert (found.energies.diff() < 0).all()


# A skyrmion's collapse ----------------------------------------------------------------------------------------------

def test_skyrmion_collapse(collapse):
    start, end, found = collapse
    assert found.converged and 0 < found.saddle < 11
    assert torch.allclose(found.energies, SKYRMION.energy(found.states), atol=1e-10)
    assert torch.equal(found.states[-1], end) and torch.allclose(found.states[0], start, atol=1e-12)
    assert float(SKYRMION.torque(found.states[found.saddle]).max()) < 2e-4
    steps = found.distances.diff()
    assert torch.allclose(steps[:found.saddle], steps[:found.saddle].mean(), rtol=1e-2)
    assert torch.allclose(steps[found.saddle:], steps[found.saddle:].mean(), rtol=1e-2)
    modes = lowest_modes(SKYRMION, found.states[found.saddle], 3)
    assert modes.negative(1e-3) == 1 and modes.residual < 1e-6


def at_right_angles(states):
    """The largest part of a gradient outside the plane of the chords to the two neighbours, J: over all spins."""
    def tangent(spins, field):
        return (field - (field * spins).sum(0) * spins).flatten()

    left = []
    for before, spins, after in zip(states, states[1:], states[2:], strict=False):
        g = tangent(spins, SKYRMION.field(spins))
        plane = torch.linalg.qr(torch.stack([tangent(spins, before - spins), tangent(spins, after - spins)], 1)).Q
        left.append(float((g - plane @ (plane.T @ g)).norm()))
    return max(left)


def test_forces_at_right_angles_to_the_path_vanish(collapse):
    """By another reckoning than the band's; the straight turn from start to end has forces there, and a higher top."""
    start, end, found = collapse
    straight = minimum_energy_path(SKYRMION, start, end, 12, max_steps=1)
    assert not straight.converged and straight.torque > 0.5 and straight.barrier > found.barrier + 0.5
    assert at_right_angles(straight.states) > 0.3 and at_right_angles(found.states) < 0.05


def test_the_path_does_not_depend_on_the_number_of_images(collapse):
    start, end, coarse = collapse
    fine = minimum_energy_path(SKYRMION, start, end, 18)
    assert fine.converged and fine.barrier == pytest.approx(coarse.barrier, abs=1e-5)
    assert float(fine.distances[-1]) == pytest.approx(float(coarse.distances[-1]), rel=0.02)


def test_the_way_back_is_the_same(collapse):
    start, end, found = collapse
    back = minimum_energy_path(SKYRMION, end, start, 12)
    assert back.converged and back.saddle == 11 - found.saddle
    assert torch.allclose(back.energies, found.energies.flip(0), atol=2e-3)
    assert float(back.energies.max()) == pytest.approx(float(found.energies.max()), abs=1e-5)


def test_a_learned_energy_and_a_path_that_is_right_already(collapse):
    start, end, found = collapse
    lines = []
    again = minimum_energy_path(Learned(SKYRMION), start.float(), end, 12, path=found.states[1:-1], report=lines.append)
    assert again.converged and again.barrier == pytest.approx(found.barrier, abs=1e-5)
    assert "step 0: barrier" in lines[0] and "largest force" in lines[-1]


def test_spirit_finds_the_same_barrier(collapse, tmp_path):
    pytest.importorskip("spirit", reason="Spirit is not installed (pip install --no-deps spirit==2.2.0)")
    from spirit import chain, configuration, hamiltonian, simulation, state, system, transition
    from spirit.parameters import gneb

    (tmp_path / "spirit.cfg").write_text("n_basis_cells 16 16 1\nboundary_conditions 1 1 0\nbravais_lattice sc\n"
                                         "mu_s 1.0\noutput_file_tag <none>\nlog_to_file 0\nlog_to_console 0\n")
    start, end, found = collapse
    images = 12
    with state.State(str(tmp_path / "spirit.cfg"), quiet=True) as p:
        hamiltonian.set_exchange(p, 1, [1.0])
        hamiltonian.set_dmi(p, 1, [SKYRMION.D], chirality=hamiltonian.CHIRALITY_BLOCH)
        hamiltonian.set_field(p, SKYRMION.B / 0.057883817555, [0, 0, 1])  # J = 1 meV, in tesla
        configuration.plus_z(p)
        chain.image_to_clipboard(p)
        chain.set_length(p, images)
        for number, spins in ((0, start), (images - 1, end)):
            system.get_spin_directions(p, idx_image=number)[:] = spins.permute(1, 2, 0).reshape(-1, 3).numpy()
        transition.homogeneous(p, 0, images - 1)
        gneb.set_output_general(p, any=False)
        gneb.set_convergence(p, 1e-6)
        run = {"method_type": simulation.METHOD_GNEB, "solver_type": simulation.SOLVER_VP}
        simulation.start(p, n_iterations=1000, **run)
        gneb.set_climbing_falling(p, gneb.IMAGE_CLIMBING, int(np.argmax(chain.get_energy(p))))
        simulation.start(p, n_iterations=20_000, **run)
        energies = np.array(chain.get_energy(p))
    assert energies[[0, -1]] == pytest.approx(found.energies[[0, -1]].numpy(), abs=1e-3)
    assert found.barrier == pytest.approx(energies.max() - energies[0], rel=0.01)
    assert float(found.energies.max() - found.energies[-1]) == pytest.approx(energies.max() - energies[-1], rel=0.01)


# Lowest modes -------------------------------------------------------------------------------------------------------

def test_magnons_of_the_uniform_state():
    """2J (2 - cos kx - cos ky) + B + 2K, twice each; a DM vector along z splits them by 2 D_z sin kx.

    D in the plane does not enter. 288 spins: Lanczos, with every multiple eigenvalue as often as it occurs.
    """
    Dz, ny, nx = 0.15, 16, 18
    H = Hamiltonian(D=0.6, B=0.25, K=0.1, further=[(0, 1, 0.0, (0.0, 0.0, Dz))])
    kx, ky = (2 * np.pi * np.fft.fftfreq(n) for n in (nx, ny))
    kx, ky = kx[None, :], ky[:, None]
    flat = 2 * (2 - np.cos(kx) - np.cos(ky)) + 0.25 + 0.2
    exact = np.sort(np.stack((flat + 2 * Dz * np.sin(kx), flat - 2 * Dz * np.sin(kx))).ravel())
    modes = lowest_modes(H, uniform((ny, nx)), 14)
    assert modes.eigenvalues.numpy() == pytest.approx(exact[:14], abs=1e-8) and modes.residual < 1e-7
    flat = modes.vectors.flatten(1)
    assert torch.allclose(flat @ flat.T, torch.eye(14).double(), atol=1e-8)
    assert modes.vectors[:, 2].abs().max() == 0 and modes.negative() == modes.soft() == 0


def test_a_helix_is_free_to_glide():
    """All spins of a helix at B = K = 0 may turn in its plane; that is the lowest mode but for those that unwind it."""
    D = np.tan(2 * np.pi / 12)
    H = Hamiltonian(D=D, B=0.0)
    spins, _ = lbfgs_refine(H, helix(H, (4, 12)))
    modes = lowest_modes(H, spins, 96)  # all of them
    glide = torch.from_numpy(np.roll(spins.numpy(), -1, 2) - np.roll(spins.numpy(), 1, 2))
    glide = (glide / glide.norm()).flatten()
    zero = modes.vectors[modes.eigenvalues.abs() < 1e-6].flatten(1)
    assert modes.soft() == len(zero) >= 1 and float((zero @ glide).norm()) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("terms", [(), (Cubic(0.3), Biaxial(0.2))])
def test_hessian_is_the_second_derivative(terms):
    """Against torch's whole Euclidean Hessian, and against energies along a geodesic; on a sample with a hole."""
    mask = torch.ones(3, 4, dtype=torch.bool)
    mask[1, 2] = False
    H = Hamiltonian(D=0.5, B=0.3, K=0.1, boundary=mask, terms=terms)
    start = normalize(torch.randn(3, 3, 4, generator=torch.Generator().manual_seed(1)).double(), dim=0)
    spins, torque = lbfgs_refine(H, start)
    modes = lowest_modes(H, spins, 22)
    assert torque < 1e-6 and modes.vectors[..., ~mask].abs().max() == 0
    euclid = torch.autograd.functional.hessian(H.energy, spins).reshape(36, 36)
    along = -(spins * H.field(spins)).sum(0).expand(3, 3, 4).flatten()
    V = modes.vectors.flatten(1)
    assert torch.allclose(V @ (euclid - torch.diag(along)) @ V.T, torch.diag(modes.eigenvalues), atol=1e-8)
    assert torch.allclose(V @ V.T, torch.eye(22).double(), atol=1e-10)
    step = 1e-3
    for value, v in zip(modes.eigenvalues.tolist(), modes.vectors, strict=True):
        turn = v.norm(dim=0, keepdim=True)
        way = v / turn.clamp_min(1e-300)
        ahead, behind = ((step * turn).cos() * spins + sign * (step * turn).sin() * way for sign in (1, -1))
        curvature = float(H.energy(ahead) + H.energy(behind) - 2 * H.energy(spins)) / step**2
        assert curvature == pytest.approx(value, abs=1e-4)


RING = np.hypot(*(np.indices((7, 9)) - np.array([3.0, 4.0])[:, None, None])) > 1.5


@pytest.mark.parametrize("boundary", ["periodic", "open", ("open", "periodic"), RING])
def test_the_sparse_hessian_is_the_product(boundary):
    """At a state that is not at rest, with every kind of bilinear term; with two columns bonds wrap onto others."""
    H = Hamiltonian(D=0.5, B=0.3, K=0.1, boundary=boundary, further=[(1, 1, 0.3), (1, -1, 0.1, (0.2, 0.0, 0.1))],
                    terms=(Biaxial(0.2),))
    for shape in ((7, 9), *(((4, 2),) if boundary is not RING else ())):
        spins = normalize(torch.randn(3, *shape, generator=torch.Generator().manual_seed(2)).double(), dim=0)
        hessian = modes_module.Hessian(H, spins)
        matrix = hessian.matrix()
        rows = np.eye(matrix.shape[0])
        assert matrix.toarray() == pytest.approx(np.stack([hessian.times(row) for row in rows], 1), abs=1e-12)
        leaf = spins.clone().requires_grad_()  # the same product by autograd, as for terms that are not bilinear
        (slope,) = torch.autograd.grad(H.energy(leaf), leaf, create_graph=True)
        field = hessian.field(np.random.default_rng(0).normal(size=len(rows)))
        (turned,) = torch.autograd.grad(slope, leaf, field)
        inside = 1.0 if H.mask is None else torch.from_numpy(H.mask.copy())
        assert torch.allclose(turned * inside, hessian.constant - H.field(field), atol=1e-12)


@pytest.mark.parametrize("method", ["_inverse_iterations", "_lanczos"])
def test_iterations_find_what_the_whole_matrix_holds(collapse, method):
    """At a minimum and at a saddle, and on a ferromagnet whose modes come in fours."""
    start, _, path = collapse
    for state, k in ((start, 6), (path.states[path.saddle], 6), (up(16, 16), 11)):
        hessian = modes_module.Hessian(SKYRMION, state)
        whole = np.linalg.eigvalsh(hessian.matrix().toarray())[:k]
        values, rows = (modes_module._inverse_iterations(hessian.matrix(), k) if method == "_inverse_iterations" else
                        modes_module._lanczos(hessian, len(hessian.matrix().toarray()), k))
        assert values == pytest.approx(whole, abs=1e-8)
        assert rows @ rows.T == pytest.approx(np.eye(k), abs=1e-8)


def test_lanczos_finds_a_degenerate_eigenvalue_of_minus_the_unit():
    """Against the field every spin is at its maximum: two modes at -B = -1, where terms are not bilinear, too."""
    H = Hamiltonian(D=0.6, B=1.0, terms=(Cubic(0.0),))
    assert lowest_modes(H, -up(16, 16), 3).eigenvalues.numpy() == pytest.approx([-1, -1, -0.84776], abs=1e-5)


# Wrong input --------------------------------------------------------------------------------------------------------

TILTED = normalize(torch.tensor([1.0, 0.0, 1.0]).view(3, 1, 1), dim=0)


@pytest.mark.parametrize("change, words", [
    ({"start": TILTED}, "start must be relaxed to a torque of at most 0.0001 J, got 0.71 J"),
    ({"end": TILTED}, "end must be relaxed"),
    ({"end": up(1, 1)}, "end must differ from start"),
    ({"end": up(1, 2)}, "end must have shape .3, 1, 1., as start has"),
    ({"start": 2 * up(1, 1)}, "start must be unit vectors"),
    ({"start": up(1, 1)[None]}, "start must have shape"),
    ({"images": 2}, "images must be at least 3"),
    ({"images": 10**9}, "images must be at most 1000"),
    ({"path": up(1, 1)}, "path must have shape .n, 3, 1, 1."),
    ({"path": 0 * up(1, 1)[None]}, "path must be unit vectors"),
    ({"tolerance": 0.0}, "tolerance must be finite and above 0")])
def test_wrong_paths_are_refused(change, words):
    right = {"H": TIP, "start": up(1, 1), "end": -up(1, 1), "images": 5}
    with pytest.raises(ValueError, match=words):
        minimum_energy_path(**right | change)


@pytest.mark.parametrize("change, words", [
    ({"state": TILTED}, "state must be relaxed"), ({"state": up(1, 1)[None]}, "state must be one configuration"),
    ({"k": 0}, "k must be at least 1"), ({"k": 3}, "k must be at most 2")])
def test_wrong_modes_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        lowest_modes(**{"H": TIP, "state": up(1, 1), "k": 1} | change)
    with pytest.raises(TypeError, match="H must be Hamiltonian"):
        lowest_modes(Learned(TIP), up(1, 1), 1)
