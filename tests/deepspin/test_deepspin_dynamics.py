"""Spin-lattice dynamics: closed forms, conservation laws with their order, reversibility, thermal averages."""

from math import atan, pi, sqrt, tanh

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from evae_companion.deepspin.data import Frames
from evae_companion.deepspin.dynamics import (
    BOLTZMANN,
    GYRO,
    MASS,
    Integrator,
    State,
    Thermostat,
    at_rest,
    heated,
    rotate,
)
from evae_companion.deepspin.model import DeepSpin, ModelSpec
from evae_companion.deepspin.potential import neighbours_of
from evae_companion.deepspin.reference import SpinLattice, iron_like

IRON = iron_like(dm=1e-3, anisotropy=2e-4, cutoff=4.2, smooth_from=3.2)


def bcc(repeat=2, seed=0, tilt=0.3, a=2.87) -> State:
    """A ferromagnet of 2 repeat^3 atoms with tilted moments of 2.2 mu_B, at rest."""
    rng = np.random.default_rng(seed)
    steps = np.stack(np.meshgrid(*[np.arange(repeat)] * 3, indexing="ij"), -1).reshape(-1, 3)
    positions = a * (steps[:, None] + np.array([[0, 0, 0], [0.5, 0.5, 0.5]])).reshape(-1, 3)
    spins = np.array([0.0, 0.0, 1.0]) + tilt * rng.standard_normal(positions.shape)
    spins *= 2.2 / np.linalg.norm(spins, axis=1, keepdims=True)
    return at_rest(Frames(("Fe",), torch.zeros(len(positions), dtype=torch.int64), repeat * a * np.eye(3)[None],
                          positions[None], spins[None]), [55.845])


def free(field=(0.0, 0.0, 0.0), n=6) -> tuple[SpinLattice, State]:
    """n^3 atoms that do not see each other, in a field."""
    table = ((0.0,),)
    engine = SpinLattice(("A",), (True,), table, ((1.0,),), ((1.0,),), table, field=field, cutoff=3.0, smooth_from=2.0)
    steps = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), -1).reshape(-1, 3)
    spins = np.tile([1.5, 0.0, 0.0], (n**3, 1))
    return engine, at_rest(Frames(("A",), torch.zeros(n**3, dtype=torch.int64), 4.0 * n * np.eye(3)[None],
                                  4.0 * steps[None], spins[None]), [50.0])


def test_rotation_is_cayleys():
    rng = np.random.default_rng(0)
    vectors, turns = rng.standard_normal((2, 5, 3))
    found = rotate(torch.from_numpy(vectors), torch.from_numpy(turns)).numpy()
    for vector, w, new in zip(vectors, turns, found, strict=True):
        size = np.linalg.norm(w)
        np.testing.assert_allclose(new, Rotation.from_rotvec(2 * atan(size / 2) * w / size).apply(vector), atol=1e-13)
        np.testing.assert_allclose(new - vector, -0.5 * np.cross(vector + new, w), atol=1e-13)


def test_precession_in_a_field():
    """One moment in a field B: omega = gamma B, from x towards y (dS/dt = -gamma S x B), and z stays."""
    B, steps = 2e-3, 100
    engine, state = free((0.0, 0.0, B), n=1)
    period = 2 * pi / (GYRO * B)
    found = Integrator(engine, state, period / 400, lattice=False).run(steps).frames.spins[0, 0]
    angle = steps * 2 * atan(pi / 400)
    np.testing.assert_allclose(found, 1.5 * np.array([np.cos(angle), np.sin(angle), 0.0]), atol=1e-10)
    assert angle == pytest.approx(pi / 2, rel=1e-4)


def test_oscillation_of_two_atoms():
    """A Morse pair's frequency: omega^2 = 2 epsilon alpha^2 (1/m + 1/m)."""
    table = ((0.0,),)
    engine = SpinLattice(("A",), (False,), ((0.5,),), ((1.2,),), ((2.0,),), table, cutoff=6.0, smooth_from=5.0)
    frames = Frames(("A",), torch.tensor([0, 0]), 20 * np.eye(3)[None], np.array([[[0, 0, 0], [2.001, 0, 0]]]),
                    np.zeros((1, 2, 3)))
    state = at_rest(frames, [20.0])
    period = 2 * pi / sqrt(2 * 0.5 * 1.2**2 * 2 / (20.0 * MASS))
    integrator = Integrator(engine, state, period / 400, spins=False)
    apart = [2.001] + [float(integrator.run(1).frames.positions[0, 1, 0]
                             - integrator.state.frames.positions[0, 0, 0]) for _ in range(400)]
    assert apart[200] == pytest.approx(1.999, abs=1e-5) and apart[400] == pytest.approx(2.001, abs=1e-5)


def drift(potential, state, dt, steps) -> np.ndarray:
    integrator, energies = Integrator(potential, state, dt), []
    start = integrator.total
    integrator.run(steps, lambda now, _: energies.append(now.total - start))
    return np.array(energies)


def test_energy_is_kept_to_second_order():
    """The error of the total energy falls fourfold with half the step, and does not grow with time."""
    state = heated(bcc(), 300.0, torch.Generator().manual_seed(1))
    coarse, fine = drift(IRON, state, 1e-3, 40), drift(IRON, state, 5e-4, 80)
    kinetic = state.kinetic
    assert np.abs(fine).max() < 3e-3 * kinetic
    assert np.abs(coarse).max() / np.abs(fine).max() == pytest.approx(4.0, rel=0.25)
    halves = np.abs(fine[:40]).max(), np.abs(fine[40:]).max()
    assert halves[1] < 2.0 * halves[0]


def test_energy_flows_between_atoms_and_moments():
    """Atoms at rest on their sites with tilted moments begin to move: the two are coupled."""
    integrator = Integrator(IRON, bcc(), 1e-3)
    integrator.run(25)
    assert integrator.state.kinetic > 1e-6


def test_reversible_and_lengths_kept():
    state = heated(bcc(), 300.0, torch.Generator().manual_seed(2))
    there = Integrator(IRON, state, 2e-3).run(20)
    assert float((there.frames.spins - state.frames.spins).norm()) > 0.1
    torch.testing.assert_close(there.frames.spins.norm(dim=-1), state.frames.spins.norm(dim=-1), rtol=1e-12, atol=0)
    back = Integrator(IRON, there, -2e-3).run(20)
    for name in ("positions", "spins"):
        torch.testing.assert_close(getattr(back.frames, name), getattr(state.frames, name), rtol=0, atol=1e-8)
    torch.testing.assert_close(back.velocities, state.velocities, rtol=0, atol=1e-7)
    momentum = (state.masses[:, None] * there.velocities).sum(0)
    assert float(momentum.abs().max()) < 1e-8


def test_a_learned_potential_moves_like_any_other():
    """An untrained network: its energy is not linear in a moment, and still the total is kept to second order."""
    state = heated(bcc(), 100.0, torch.Generator().manual_seed(3))
    model = DeepSpin(ModelSpec(("Fe",), (0.3 / 2.2,), 4.2, 3.2, (4, 8), 3, 8, (8,)), 1).double()
    model.normalise(state.frames, neighbours_of(model, state.frames))
    model.scale.fill_(1e-4)
    coarse, fine = drift(model, state, 1e-3, 20), drift(model, state, 5e-4, 40)
    assert np.abs(coarse).max() / np.abs(fine).max() == pytest.approx(4.0, rel=0.3)


def test_neighbours_are_searched_again():
    """With a thin skin the tables are renewed on the way, and the motion is the same."""
    state = heated(bcc(), 2000.0, torch.Generator().manual_seed(4))
    thin, thick = Integrator(IRON, state, 2e-3, skin=0.05), Integrator(IRON, state, 2e-3, skin=1.5)
    first = thin.neighbours
    assert torch.allclose(thin.run(20).frames.positions, thick.run(20).frames.positions, atol=1e-9)
    assert thin.neighbours is not first and not first.covers(thin.state.frames.positions, thin.state.frames.cells)


def test_moments_reach_the_langevin_function():
    """Free moments m in a field B at temperature T: <cos> = coth(x) - 1/x, x = m B/kT."""
    B, T = 4e-3, 30.0
    engine, state = free((0.0, 0.0, B), n=8)
    x = 1.5 * B / (BOLTZMANN * T)
    integrator = Integrator(engine, state, 5e-3, lattice=False, thermostat=Thermostat(T, damping=0.5),
                            generator=torch.Generator().manual_seed(0))
    cosines = []
    integrator.run(300, lambda now, k: cosines.append(float(now.state.frames.spins[0, :, 2].mean()) / 1.5)
                   if k > 60 else None)
    # 512 moments, the correlation time (1 + alpha^2)/(2 alpha gamma B) is some 20 steps: 12 independent samples each.
    assert np.mean(cosines) == pytest.approx(1 / tanh(x) - 1 / x, abs=4 * 0.45 / sqrt(512 * 12))
    assert 1 / tanh(x) - 1 / x == pytest.approx(0.589, abs=1e-3)


def test_atoms_reach_the_temperature():
    engine, state = free(n=7)
    state = State(state.frames, state.velocities, state.masses)
    integrator = Integrator(engine, state, 0.01, spins=False, thermostat=Thermostat(50.0, friction=10.0),
                            generator=torch.Generator().manual_seed(0))
    temperatures = []
    integrator.run(120, lambda now, k: temperatures.append(now.state.temperature) if k > 40 else None)
    # 1029 velocities, independent after 1/(2 x 10/ps) = 5 steps: relative error sqrt(2/(1029 x 16)).
    assert np.mean(temperatures) == pytest.approx(50.0 * 1029 / 1026, rel=4 * sqrt(2 / (1029 * 16)))


def test_heated_to_a_temperature_without_drift():
    state = heated(bcc(6), 500.0, torch.Generator().manual_seed(0))
    assert state.temperature == pytest.approx(500.0, rel=4 * sqrt(2 / (3 * 432)))
    assert float((state.masses[:, None] * state.velocities).sum(0).abs().max()) < 1e-8


def test_bad_input_is_refused():
    state = bcc()
    frames = state.frames
    spins = frames.spins.clone()
    spins[0, 3] = 0.0

    def with_spins(spins):
        return State(Frames(frames.names, frames.types, frames.cells, frames.positions, spins), state.velocities,
                     state.masses)

    with pytest.raises(ValueError, match="atom 3 has no moment to turn"):
        Integrator(IRON, with_spins(spins), 1e-3)
    with pytest.raises(ValueError, match="spins are all zero"):
        Integrator(IRON, with_spins(0.0 * spins), 1e-3)
    with pytest.raises(ValueError, match="dt must be finite and not zero"):
        Integrator(IRON, state, 0.0)
    with pytest.raises(ValueError, match="needs a generator"):
        Integrator(IRON, state, 1e-3, thermostat=Thermostat(300.0))
    with pytest.raises(ValueError, match="masses must be 1 numbers"):
        at_rest(frames, [1.0, 2.0])
    with pytest.raises(ValueError, match="masses must be positive"):
        at_rest(frames, [-1.0])
    with pytest.raises(ValueError, match="velocities must have shape"):
        State(frames, torch.zeros(3, 3), state.masses)
    with pytest.raises(RuntimeError, match="did not converge in 50 iterations"):
        Integrator(IRON, bcc(tilt=2.0), 1.0, lattice=False).run(1)
