"""Terms of one's own: stated once, right in every backend, or refused by name.

A new term gets a line in TERMS (bilinear) or QUARTIC (not), and every test below tries it.
"""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy import stats
from test_hamiltonian import MIXED, random_spins

from evae_companion.analysis.luttinger_tisza import lower_bound
from evae_companion.data_specs import DataSpec
from evae_companion.dataset import load_data
from evae_core import VAE, Hamiltonian, Schedule, VAEConfig, anneal, heat_bath, relax
from evae_core.annealing import cpu, general_lattice, gpu, lbfgs_refine
from evae_core.bonds import Bond, Term, bond_matrix, bond_of
from evae_core.training import fused, make_step
from evae_core.training.step import new_model


@dataclass(frozen=True)
class Kitaev(Term):
    """Bond-dependent anisotropic exchange: K S^x S^x along x, K S^y S^y along y."""

    K: float

    def bonds(self):
        return [(0, 1, np.diag([self.K, 0, 0])), (1, 0, np.diag([0, self.K, 0]))]


@dataclass(frozen=True)
class Diagonal(Term):
    """Any matrix on the bonds to two of the second neighbours, and to one farther on."""

    def bonds(self):
        return [(1, 1, [[0.1, 0.2, -0.3], [0.0, -0.2, 0.1], [0.25, 0.0, 0.3]]),
                (-1, 1, [[-0.1, 0.05, 0.0], [0.3, 0.2, 0.1], [0.0, -0.2, 0.1]]), (0, -3, 0.2 * np.eye(3))]


@dataclass(frozen=True)
class Tilted(Term):
    """An anisotropy axis and a field in a direction of their own."""

    K: float
    B: float = 0.3

    @property
    def vector(self):
        return self.B * np.array([0.6, 0.0, 0.8])

    @property
    def matrix(self):
        axis = np.array([1.0, 2.0, 2.0]) / 3
        return self.K * np.outer(axis, axis)


@dataclass(frozen=True)
class Cubic(Term):
    """Cubic anisotropy, which is not bilinear."""

    K: float

    def energy_density(self, spins):
        x, y, z = spins.square().unbind(-3)
        return self.K * (x * y + y * z + z * x)


TERMS = [Kitaev(0.4), Diagonal(), Tilted(0.5), Tilted(-0.7)]
QUARTIC = Cubic(0.5)


def energy_by_loop(H, spins):
    """Every site and every bond once, from the terms' own statements."""
    S = spins.permute(1, 2, 0).numpy()
    ny, nx = S.shape[:2]
    alive = np.ones((ny, nx), bool) if H.mask is None else H.mask
    bonds = [(b.dy, b.dx, bond_matrix(b)) for b in (*H.nearest, *H.further)]
    bonds += [(dy, dx, np.array(M)) for term in H.terms for dy, dx, M in term.bonds()]
    energy = sum(float(term.energy_density(spins).numpy()[alive].sum()) for term in H.terms if not term.bilinear)
    for y, x in np.argwhere(alive):
        energy -= H.B * S[y, x, 2] + H.K * S[y, x, 2] ** 2
        for term in H.terms:
            energy -= np.array(term.vector) @ S[y, x] + S[y, x] @ np.array(term.matrix) @ S[y, x]
        for dy, dx, M in bonds:
            v, u = y + dy, x + dx
            wraps_y, wraps_x = H.periodic_axes
            if (wraps_y or 0 <= v < ny) and (wraps_x or 0 <= u < nx) and alive[v % ny, u % nx]:
                energy -= S[y, x] @ M @ S[v % ny, u % nx]
    return energy


def boundaries():
    return ["periodic", "open", np.random.default_rng(0).random((5, 7)) < 0.7, *MIXED]


@pytest.mark.parametrize("terms", [*((term,) for term in TERMS), tuple(TERMS), (QUARTIC,), (TERMS[0], QUARTIC)],
                         ids=str)
@pytest.mark.parametrize("boundary", boundaries(), ids=["periodic", "open", "mask", "x", "y"])
def test_energy_density_field_and_gradients(terms, boundary):
    H = Hamiltonian(J=0.8, D=0.3, B=0.1, K=0.2, boundary=boundary, further=[(1, 1, 0.2)], terms=terms)
    spins = random_spins(2, 3, 5, 7)
    energy = [energy_by_loop(H, one) for one in spins]
    np.testing.assert_allclose(H.energy(spins).numpy(), energy, atol=1e-10)
    np.testing.assert_allclose(H.energy_density(spins).sum((-2, -1)).numpy(), energy, atol=1e-10)
    leaf = spins.clone().requires_grad_()
    assert torch.autograd.gradcheck(H.energy, (leaf,))
    assert torch.autograd.gradgradcheck(H.energy, (leaf[:1],))
    (slope,) = torch.autograd.grad(H.energy(leaf).sum(), leaf)
    torch.testing.assert_close(H.field(spins), -slope)
    torch.testing.assert_close(H.energy(spins.float()), H.energy(spins).float(), rtol=1e-5, atol=1e-4)


def test_what_every_backend_says_it_knows():
    plain, listed = Hamiltonian(), Hamiltonian(further=[(1, 1, 0.2)])
    own, quartic = Hamiltonian(terms=(TERMS[0],)), Hamiltonian(terms=(QUARTIC,))
    for H, fast, general in ((plain, True, True), (listed, False, True), (own, False, True), (quartic, False, False)):
        assert [backend.supports(H) for backend in (cpu, gpu, fused)] == [fast] * 3
        assert general_lattice.supports(H) is general
    for boundary in MIXED:  # the GPU's kernels have one boundary for both axes
        H = Hamiltonian(boundary=boundary)
        assert [backend.supports(H) for backend in (cpu, gpu, fused, general_lattice)] == [True, False, True, True]


@pytest.mark.parametrize("term", TERMS, ids=str)
def test_a_bilinear_term_is_annealed_and_descended(term):
    H = Hamiltonian(D=0.4, B=0.1, terms=(term,))
    replicas = general_lattice.Replicas(H, (6, 8), 4, dtype=np.float64)
    replicas.load(random_spins(4, 3, 6, 8))
    energy = H.energy(replicas.spins())
    for sweeps in (1, 2, 20, 100):
        torque = replicas.descend(1e-300, sweeps)
        assert torque == pytest.approx(float(H.torque(replicas.spins()).max()), abs=1e-11)
        assert (H.energy(replicas.spins()) <= energy + 1e-12).all()
        energy = H.energy(replicas.spins())
    spins = anneal(H, (6, 8), 8, schedule=Schedule(sweeps=40, tolerance=1e-3), device="cpu")
    assert H.torque(spins).max() < 1.05e-3
    rest = relax(H, spins.double(), tolerance=1e-8, device="cpu")
    assert H.torque(rest).max() <= 1e-8
    assert (H.energy_per_spin(rest) >= lower_bound(H, (6, 8)) - 1e-9).all()


@pytest.mark.parametrize("term", [Tilted(0.5), Tilted(-0.7)], ids=str)
def test_a_single_spin_has_its_boltzmann_distribution(term):
    """A spin alone on a masked lattice: its energy against quadrature over the sphere."""
    mask = np.zeros((2, 2), bool)
    mask[0, 0] = True
    H, T = Hamiltonian(J=0, D=0, B=0, boundary=mask, terms=(term,)), 0.4
    spins = heat_bath(H, random_spins(6000, 3, 2, 2, dtype=torch.float32), T, 40, seed=2, overrelax=1, device="cpu")
    c, weight = np.polynomial.legendre.leggauss(40)
    phi = 2 * np.pi * np.arange(60) / 60
    s = np.sqrt(1 - c**2)
    sphere = np.stack([np.outer(s, np.cos(phi)), np.outer(s, np.sin(phi)), np.outer(c, np.ones(60))], -1).reshape(-1, 3)
    E = -sphere @ np.array(term.vector) - np.einsum("ka,ab,kb->k", sphere, term.matrix, sphere)
    p = np.exp(-E / T) * np.repeat(weight, 60)
    for power in (1, 2):
        measured = H.energy(spins.double()) ** power
        error = float(measured.std()) / math.sqrt(len(measured))
        assert float(measured.mean()) == pytest.approx((p * E**power).sum() / p.sum(), abs=4 * error)


def test_kitaev_exchange_is_annealed_as_the_same_bonds_elsewhere():
    """Turning all spins maps K S^x S^x on x bonds to K S^z S^z: warm energies have one distribution."""
    @dataclass(frozen=True)
    class Turned(Term):
        def bonds(self):
            return [(0, 1, np.diag([0, 0, 0.4])), (1, 0, np.diag([0.4, 0, 0]))]

    one, two = (Hamiltonian(D=0, B=0, terms=(term,)) for term in (Kitaev(0.4), Turned()))
    start = random_spins(256, 3, 8, 8, dtype=torch.float32)
    energies = [H.energy_per_spin(heat_bath(H, start, 0.7, 30, seed=k, device="cpu").double())
                for k, H in enumerate((one, two))]
    assert stats.ks_2samp(*energies).pvalue > 1e-3 and float(energies[0].std()) > 1e-3


def test_what_is_not_bilinear_is_refused_by_name():
    H = Hamiltonian(terms=(QUARTIC,))
    for device in ("cpu", "auto", "cuda"):
        with pytest.raises(ValueError, match="Cubic"):
            anneal(H, (8, 8), 1, device=device)
    for call in (lambda: relax(H, random_spins(3, 8, 8)), lambda: heat_bath(H, random_spins(3, 8, 8), 1.0, 1)):
        with pytest.raises(ValueError, match="Cubic"):
            call()
    with pytest.raises(ValueError, match="bilinear"):
        lower_bound(H, (8, 8))
    rest, torque = lbfgs_refine(H, random_spins(3, 8, 8))
    assert torque < 1e-6 and float(H.energy(rest)) < float(H.energy(random_spins(3, 8, 8)))


@pytest.mark.parametrize("term", [*TERMS, QUARTIC], ids=str)
@pytest.mark.skipif(fused.problem() is not None, reason=str(fused.problem()))
def test_training_knows_every_term(term):
    """L_H and its gradient by the fused passes, which do not know the term, against plain torch."""
    H = Hamiltonian(D=0.6, B=0.2, terms=(term,))
    batch = random_spins(4, 3, 32, 32, dtype=torch.float32)
    steps = [make_step(32, system, 1e-3, 100.0, "cpu", fused=on, model=new_model(32, H, 1))
             for system, on in ((H, False), (H, True), (Hamiltonian(D=0.6, B=0.2), True))]
    plain, fast, without = (step.losses(batch) for step in steps)
    assert float(plain.energy.detach()) == pytest.approx(float(fast.energy.detach()), abs=1e-5)
    assert abs(float((plain.energy - without.energy).detach())) > 1e-4
    for losses in (plain, fast, without):
        losses.total.backward()
    one, two, missing = (torch.cat([p.grad.flatten() for p in step.model.parameters()]) for step in steps)
    # Rounding, which eight batch norms amplify to 2e-4 ... 3e-3; without the term it is 0.06 to 0.26.
    assert float((one - two).norm()) < 0.02 * float(one.norm()) < 0.5 * float((one - missing).norm())


def test_a_term_is_part_of_the_spec(tmp_path):
    one, other = Hamiltonian(terms=(Kitaev(0.4),)), Hamiltonian(terms=(Kitaev(0.3),))
    assert one.spec()["terms"] == [{"term": "Kitaev", "K": 0.4}] and "terms" not in Hamiltonian().spec()
    assert one != other and hash(one) == hash(Hamiltonian(terms=(Kitaev(0.4),)))
    assert one == Hamiltonian(terms=[Kitaev(0.4)])
    data = load_data(DataSpec(one, (8, 8), 4, 0, 0, schedule=Schedule(sweeps=10, tolerance=0.1)), device="cpu")
    assert len(data.train) == 4 and float(data.train.statistics["torque"].max()) <= 0.1001


def test_bonds_from_matrices():
    M = np.array([[0.1, 0.2, -0.3], [0.0, -0.2, 0.1], [0.25, 0.0, 0.3]])
    bond = bond_of(1, -2, M)
    np.testing.assert_allclose(bond_matrix(bond), M)
    assert bond_of(-1, 2, M.T) == bond and bond_of(0, 1, np.eye(3)) == Bond(0, 1, 1.0)


class Wrong(Term):
    matrix = [[0, 1, 0], [0, 0, 0], [0, 0, 0]]


class Endless(Term):
    vector = (0, 0, float("inf"))


class Short(Term):
    def bonds(self):
        return [(0, 1, np.eye(2))]


class Own(Term):
    def bonds(self):
        return [(0, 0, np.eye(3))]


@pytest.mark.parametrize("term, error, words", [
    (Wrong(), ValueError, "Wrong.matrix must be symmetric"), (Endless(), ValueError, "Endless.vector must be finite"),
    (Short(), ValueError, r"Short.bonds must have shape \(3, 3\)"), (Own(), ValueError, "different sites"),
    ("K", TypeError, "terms must be Term")])
def test_bad_terms(term, error, words):
    with pytest.raises(error, match=words):
        Hamiltonian(terms=(term,))


def test_another_activation_is_followed_by_training_or_the_passes_step_aside(capsys):
    """What the fused passes walk by position they check: slope, kinds of layers, filters."""
    H = Hamiltonian(D=0.6, B=0.2)
    spins = random_spins(4, 3, 32, 32, dtype=torch.float32)

    def losses(change, on):
        model = new_model(32, H, 1)
        change(model)
        step = make_step(32, H, 1e-3, 1.0, "cpu", fused=on, model=model)
        return step, float(step(spins).reconstruction)

    def steeper(model):
        for layer in model.modules():
            if isinstance(layer, torch.nn.LeakyReLU):
                layer.negative_slope = 0.4

    def silu(model):
        model.decoder.convolutions[2] = torch.nn.SiLU()

    if fused.problem() is None:
        assert losses(steeper, True)[1] == pytest.approx(losses(steeper, False)[1], abs=1e-4)
        assert abs(losses(steeper, True)[1] - losses(lambda model: None, True)[1]) > 1e-3
        with pytest.raises(RuntimeError, match="layer 2 of the decoder is a SiLU, not a LeakyReLU"):
            losses(silu, True)
    assert losses(silu, None)[0].mode == "eager"
    assert "filters" in fused.why_not(VAE(32, config=VAEConfig(filters=(5, 7))))
    assert fused.why_not(VAE(32)) is None
