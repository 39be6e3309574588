"""The Hamiltonian against closed forms, symmetries, finite differences and a plain double loop."""

import json
import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evae_core import Hamiltonian

F64 = torch.float64
MIXED = [("open", "periodic"), ("periodic", "open")]
BOUNDARIES = ["periodic", "open", "mask", *MIXED]


def random_spins(*shape, seed=0, dtype=F64):
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(*shape, generator=generator, dtype=F64), dim=-3).to(dtype)


def make(boundary, ny=6, nx=8, seed=0, **kw):
    if boundary == "mask":
        boundary = np.random.default_rng(seed).random((ny, nx)) < 0.7
    return Hamiltonian(boundary=boundary, **kw)


@pytest.mark.parametrize("dmi", ["bloch", "neel"])
def test_pair_field_is_the_bond_matrices(dmi):
    H = Hamiltonian(J=0.7, D=0.4, B=0.0, dmi=dmi)
    S = random_spins(3, 6, 8)
    mx, my = (torch.from_numpy(m) for m in H.bond_matrices)
    expected = sum(torch.einsum("ab,byx->ayx", m, S.roll(-1, axis)) + torch.einsum("ba,byx->ayx", m, S.roll(1, axis))
                   for m, axis in ((mx, -1), (my, -2)))
    torch.testing.assert_close(H.field(S), expected)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("dmi", ["bloch", "neel"])
def test_field_is_minus_the_gradient(boundary, dmi):
    H = make(boundary, D=0.6, B=0.2, K=0.3, dmi=dmi)
    spins = random_spins(2, 3, 6, 8).requires_grad_()
    (gradient,) = torch.autograd.grad(H.energy(spins).sum(), spins)
    torch.testing.assert_close(H.field(spins), -gradient)
    assert torch.autograd.gradcheck(H.energy, (spins,)) and torch.autograd.gradgradcheck(H.energy, (spins[:1],))


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_one_changed_spin_costs_its_field(boundary):
    H = make(boundary, K=0.0, D=0.6, B=0.2)
    a = random_spins(3, 6, 8)
    b = a.clone()
    b[:, 2, 3] = random_spins(3, 1, 1, seed=5)[:, 0, 0]
    change = -(H.field(a)[:, 2, 3] @ (b - a)[:, 2, 3])
    assert float(H.energy(b) - H.energy(a)) == pytest.approx(float(change), abs=1e-12)


def test_uniform_state():
    up = torch.zeros(3, 128, 128, dtype=F64)
    up[2] = 1
    H = Hamiltonian()
    assert float(H.energy(up)) / 128**2 == pytest.approx(-2.05, abs=1e-12)
    assert H.reference_energy((128, 128)) == -2 * 128**2
    assert H.alignment(up).min() == 1


@pytest.mark.parametrize("dmi", ["bloch", "neel"])
@pytest.mark.parametrize("axis", [-1, -2])
def test_helix_energy_and_handedness(dmi, axis):
    """tan q = D/J gives E/N = -(J + sqrt(J^2 + D^2)) for the favoured hand and less binding for the other."""
    n, turns = 64, 3
    q = 2 * math.pi * turns / n
    H = Hamiltonian(D=math.tan(q), B=0.0, dmi=dmi)
    def helix(hand):
        angle = hand * q * torch.arange(n, dtype=F64)
        wave = torch.zeros(3, n, n, dtype=F64)
        across = {("bloch", -1): 1, ("bloch", -2): 0, ("neel", -1): 0, ("neel", -2): 1}[dmi, axis]
        # D.(S_i x S_j) > 0 for a turn about +D: y->z about x, x->z the other way round
        sign = {("bloch", -1): 1, ("bloch", -2): -1, ("neel", -1): -1, ("neel", -2): -1}[dmi, axis]
        shape = (1, n) if axis == -1 else (n, 1)
        wave[across] = angle.cos().reshape(shape)
        wave[2] = sign * angle.sin().reshape(shape)
        return wave
    exact = -(1 + math.sqrt(1 + H.D**2))
    assert float(H.energy_per_spin(helix(+1))) == pytest.approx(exact, abs=1e-12)
    assert float(H.energy_per_spin(helix(-1))) > exact + 0.01
    assert float(H.alignment(helix(+1)).min()) == pytest.approx(1, abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(dy=st.integers(0, 7), dx=st.integers(0, 7), seed=st.integers(0, 99))
def test_translation_and_bloch_neel_equivalence(dy, dx, seed):
    bloch, neel = Hamiltonian(D=0.5, K=0.1), Hamiltonian(D=0.5, K=0.1, dmi="neel")
    S = random_spins(3, 8, 8, seed=seed)
    assert torch.allclose(bloch.energy(S), bloch.energy(S.roll((dy, dx), (-2, -1))), atol=1e-12)
    turned = torch.stack((-S[1], S[0], S[2]))  # +90 degrees about z
    assert torch.allclose(bloch.energy(S), neel.energy(turned), atol=1e-12)
    # Rotating lattice and spins together by 90 degrees leaves both unchanged.
    both = torch.rot90(S, -1, (-2, -1))
    both = torch.stack((-both[1], both[0], both[2]))
    assert torch.allclose(bloch.energy(S), bloch.energy(both), atol=1e-12)


def test_open_boundary_and_masks():
    S = random_spins(3, 6, 8)
    opened = Hamiltonian(boundary="open", K=0.2)
    full = Hamiltonian(boundary=np.ones((6, 8), bool), K=0.2)
    torch.testing.assert_close(opened.energy(S), full.energy(S))
    assert opened.bonds((6, 8)) == 6 * 7 + 5 * 8
    mask = np.zeros((6, 8), bool)
    mask[1:4, 2:5] = True
    cut = Hamiltonian(boundary=mask, K=0.2)
    torch.testing.assert_close(cut.energy(S), opened.energy(S[:, 1:4, 2:5]))
    noise = S.clone()
    noise[:, ~mask] = 7.0  # values on non-magnetic sites do not matter
    torch.testing.assert_close(cut.energy(noise), cut.energy(S))
    assert (cut.field(S)[:, ~mask] == 0).all()
    assert (cut.alignment(S)[~mask] == 0).all()
    assert cut.sites((6, 8)) == 9


def test_density_sums_to_energy_and_batches():
    H = Hamiltonian(D=0.6, B=0.2, K=0.1)
    S = random_spins(2, 4, 3, 6, 8)
    torch.testing.assert_close(H.energy_density(S).sum((-1, -2)), H.energy(S))
    torch.testing.assert_close(H.energy(S)[1, 2], H.energy(S[1, 2]))
    assert H.field(S).shape == S.shape and H.alignment(S).shape == (2, 4, 6, 8)
    torch.testing.assert_close(H.energy(S.float()), H.energy(S).float(), rtol=1e-5, atol=1e-4)


def test_rescaled_lattice_is_the_same_system():
    """Half the sites and twice D at fixed B J / D^2: energies above the uniform state scale as D^2."""
    def excess(n, D):
        x = 2 * math.pi * torch.arange(n, dtype=F64) / n
        S = torch.stack((torch.zeros(n, n, dtype=F64), x.cos().expand(n, n), x.sin().expand(n, n)))
        return float(Hamiltonian(D=D, B=0.0).energy_per_spin(S)) + 2
    assert excess(64, 0.1) / 0.1**2 == pytest.approx(excess(128, 0.05) / 0.05**2, rel=2e-3)


@pytest.mark.parametrize("bad, error, word", [
    (dict(boundary=np.ones((4, 4))), TypeError, "bool"),
    (dict(boundary=np.ones(4, bool)), ValueError, "shape"),
    (dict(boundary=np.zeros((4, 4), bool)), ValueError, "magnetic"),
    *((dict(boundary=boundary), ValueError, "pair") for boundary in (
        "closed", ("open", "closed"), ("open",), ("open", "open", "periodic"), ("open", np.ones((4, 4), bool)),
        ("periodic", None), ["open", True], [["open", "periodic"], "open"])),
    (dict(boundary=np.array(["open", "periodic"])), TypeError, "bool"), (dict(boundary=()), TypeError, "bool"),
])
def test_bad_parameters(bad, error, word):
    with pytest.raises(error, match=word):
        Hamiltonian(**bad)


def test_mask_of_another_shape():
    with pytest.raises(ValueError, match="mask"):
        Hamiltonian(boundary=np.ones((4, 4), bool)).energy(torch.zeros(3, 8, 8))


@pytest.mark.parametrize("word", ["periodic", "open"])
def test_a_pair_of_equal_boundaries_is_the_word(word):
    one, pair = Hamiltonian(boundary=word), Hamiltonian(boundary=[word, word])
    assert pair == one and hash(pair) == hash(one) and pair.boundary == word and pair.spec() == one.spec()
    assert one.periodic is (word == "periodic") and one.periodic_axes == (one.periodic,) * 2


@pytest.mark.parametrize("boundary", MIXED)
def test_mixed_boundaries_are_open_along_one_axis(boundary):
    """Bonds, reference energy and translations by hand; the smallest shape; the spec as it is read back from JSON."""
    H, S = Hamiltonian(D=0.5, K=0.1, boundary=boundary, further=[(1, 2, 0.3)]), random_spins(3, 6, 8)
    along = -1 if boundary[1] == "periodic" else -2
    assert not H.periodic and H.periodic_axes == (along == -2, along == -1) and H.mask is None
    assert H.bonds((6, 8)) == (6 * 8 + 5 * 8 if along == -1 else 6 * 8 + 6 * 7)
    assert H.reference_energy((6, 8)) == pytest.approx(-H.bonds((6, 8)) - 0.3 * (5 * 8 if along == -1 else 6 * 6))
    for quantity in (H.energy_density, H.alignment, H.torque):
        torch.testing.assert_close(quantity(S.roll(3, along)), quantity(S).roll(3, along))
    assert abs(float(H.energy(S.roll(1, -3 - along)) - H.energy(S))) > 1e-3
    assert H.check_shape((1, 2) if along == -1 else (2, 1)) and H.check_shape((5, 7))
    with pytest.raises(ValueError, match="shape"):
        H.check_shape((2, 1) if along == -1 else (1, 2))
    again = Hamiltonian(D=0.5, K=0.1, boundary=json.loads(json.dumps(H.spec()))["boundary"], further=[(1, 2, 0.3)])
    assert again == H and hash(again) == hash(H) and len({H, Hamiltonian(), Hamiltonian(boundary=boundary[::-1])}) == 3
    closing = Hamiltonian(boundary=boundary, further=[(6, 0, 1.0)])  # a bond as long as the sample is high
    with pytest.raises(ValueError, match="same site") if along == -2 else nullcontext():
        closing.energy(S)


def test_equality_and_spec():
    mask = np.eye(4, dtype=bool)
    assert Hamiltonian(boundary=mask) == Hamiltonian(boundary=mask.copy()) != Hamiltonian()
    assert hash(Hamiltonian()) == hash(Hamiltonian()) and Hamiltonian(boundary=mask).spec() != Hamiltonian().spec()
