"""Magnons, phonons and the magnetisation of a crystal: closed forms, linear theory and motion, one against another."""

from dataclasses import replace
from math import exp, pi, sqrt

import numpy as np
import pytest
import torch

from evae_companion.deepspin import magnet
from evae_companion.deepspin.dynamics import BOLTZMANN, GYRO, MASS
from evae_companion.deepspin.model import DeepSpin
from evae_companion.deepspin.potential import neighbours_of
from evae_companion.deepspin.spectra import Spectra, linear_modes, magnetisation, peaks, spectra, thermally_displaced
from evae_companion.deepspin.training import TrainSpec, train
from evae_companion.store.store import Store

BONDS = magnet.SIDE / 2 * np.array([(x, y, z) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1)
                                    if abs(x) + abs(y) + abs(z) == 2])


def closed_forms(q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Phonons (Q, 3) and magnons (Q,) in THz of the nearest-neighbour magnet, by hand.

    m w^2 = eig sum_r [V'' rr/r^2 + V'/r (1 - rr/r^2)] (1 - cos q.r) with V = Morse - J S^2; w = gamma S sum_r J
    (1 - cos q.r).
    """
    E, r = magnet.ENGINE, magnet.SIDE / sqrt(2)
    falling = exp(-E.width[0][0] * (r - E.bond[0][0]))
    slope = 2 * E.depth[0][0] * E.width[0][0] * (falling - falling**2)
    curvature = 2 * E.depth[0][0] * E.width[0][0]**2 * (2 * falling**2 - falling)
    # J = 4 j x (1 - b x) exp(-x), x = (r/d)^2: J' = 8 j r/d^2 (1 - (1 + 2 b) x + b x^2) exp(-x).
    j, b, d = E.exchange[0][0], E.shape, E.decay
    x = (r / d)**2
    exchange = 4 * j * x * (1 - b * x) * exp(-x)
    inner = 1 - (1 + 2 * b) * x + b * x**2
    first = 8 * j * r / d**2 * inner * exp(-x)
    second = 8 * j / d**2 * exp(-x) * (inner * (1 - 2 * x) + 2 * x * (2 * b * x - 1 - 2 * b))
    slope, curvature = slope - magnet.MOMENT**2 * first, curvature - magnet.MOMENT**2 * second
    waves = 1 - np.cos(q @ BONDS.T)  # (Q, bonds)
    along = BONDS[:, :, None] * BONDS[:, None] / r**2
    stiffness = np.einsum("qb,bxy->qxy", waves, curvature * along + slope / r * (np.eye(3) - along))
    return (np.sqrt(np.linalg.eigvalsh(stiffness) / (MASS * magnet.WEIGHT)) / (2 * pi),
            GYRO * magnet.MOMENT * exchange * waves.sum(1) / (2 * pi))


def test_linear_theory_is_the_closed_form():
    state, (_, q) = magnet.crystal((4, 1, 1)), magnet.path((4, 1, 1))
    more = torch.tensor([[0.0, 2 * pi / magnet.SIDE, 0.0], [pi / magnet.SIDE, 0.0, 2 * pi / magnet.SIDE]],
                        dtype=torch.float64)
    q = torch.cat([q, more])
    found, (phonons, magnons) = linear_modes(magnet.ENGINE, state, q), closed_forms(q.numpy())
    np.testing.assert_allclose(found.phonons, phonons, rtol=1e-9)
    np.testing.assert_allclose(found.magnons, magnons, rtol=1e-9)
    assert 5 < phonons.max() < 10 and 15 < magnons.max() < 20


def test_anisotropy_and_field_open_a_gap():
    """gamma (2 K S + B) at q = 0, moments along the easy axis."""
    K, B = 2e-4, 3e-4
    engine = replace(magnet.ENGINE, anisotropy=K, field=(0.0, 0.0, B))
    q = torch.zeros(1, 3, dtype=torch.float64)
    gap = GYRO * (2 * K * magnet.MOMENT + B)
    assert linear_modes(engine, magnet.crystal((1, 1, 1)), q).magnons[0] == pytest.approx(gap / (2 * pi), rel=1e-9)
    hard = replace(engine, axis=(1.0, 0.0, 0.0))  # z is not where the moments want to be: f^2 = -B (2 K S - B) < 0
    slow = -GYRO * (B * (2 * K * magnet.MOMENT - B))**0.5
    assert linear_modes(hard, magnet.crystal((1, 1, 1)), q).magnons[0] == pytest.approx(slow / (2 * pi), rel=1e-9)


def test_spectra_of_small_motion_are_linear_theory():
    """Peaks to a fiftieth of the resolution, once the step's own error is taken away: leapfrog oscillates at
    sin(w' dt/2) = w dt/2, the midpoint rotation at tan(w' dt/2) = w dt/2."""
    repeat, dt, steps = (3, 1, 1), 4e-3, 500
    state, (_, q) = magnet.crystal(repeat), magnet.path(repeat)
    go = thermally_displaced(state, 0.01, 1e-3, torch.Generator().manual_seed(0))
    found = spectra(magnet.ENGINE, go, q, dt, steps, sites=state.frames.positions[0])
    phonons, magnons = closed_forms(q.numpy())
    moments, velocities = peaks(found.frequencies, found.moments), np.sort(peaks(found.frequencies, found.velocities))
    exact = np.tan(pi * moments * dt) / (pi * dt), np.sin(pi * velocities * dt) / (pi * dt)
    np.testing.assert_allclose(exact[0], magnons, atol=0.02 * 2 / (dt * steps))
    np.testing.assert_allclose(exact[1], phonons, atol=0.02 * 2 / (dt * steps))
    drift = found.energies - found.energies[0]
    assert np.abs(drift).max() < 0.02 * go.kinetic


def test_peaks_of_a_sine():
    times = 0.01 * np.arange(400)
    signal = np.sin(2 * pi * 7.13 * times) * np.hanning(400)
    power = np.abs(np.fft.fft(signal))[1:200]**2
    assert peaks(np.fft.fftfreq(400, 0.01)[1:200], power) == pytest.approx(7.13, abs=0.01)


def test_magnetisation_of_spin_waves():
    """1 - M = (1/N) sum over q != 0 of k T gamma/(S w_q) for classical moments at low temperature, atoms at rest."""
    T, repeat = 4.0, (2, 1, 1)
    state = magnet.crystal(repeat)
    k = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3, indexing="ij"), -1).reshape(-1, 3)
    q = 2 * pi / magnet.SIDE * k / np.array(repeat)
    phases = np.exp(1j * q @ state.frames.positions[0].numpy().T).round(6)
    q = q[np.unique(phases, axis=0, return_index=True)[1]]  # those that differ on the sites: N
    assert len(q) == state.frames.atoms
    frequencies = closed_forms(q)[1] * 2 * pi
    lost = sum(BOLTZMANN * T * GYRO / (magnet.MOMENT * w) for w in frequencies if w > 1e-9) / len(q)
    found = magnetisation(magnet.ENGINE, state, [T], 8e-3, 60, 400, damping=0.5, lattice=False, tolerance=1e-6)
    assert 1 - found[0, 0] == pytest.approx(lost, abs=4 * max(found[0, 1], 0.03 * lost)) and 0.003 < lost < 0.05


def test_a_learned_potential_has_modes_too():
    """Of an untrained network: to shift the whole crystal costs nothing, whatever else it says."""
    state = magnet.crystal((1, 1, 1))
    frames = magnet.thermal_frames([50.0], 2, (1, 1, 1), apart=5)
    model = DeepSpin(replace(magnet.MODEL, embedding=(4, 8), axis=2, components=8, fitting=(8,)), 1)
    model.normalise(frames, neighbours_of(model, frames))
    found = linear_modes(model.double(), state, torch.zeros(1, 3, dtype=torch.float64))
    np.testing.assert_allclose(found.phonons, 0.0, atol=1e-4)


def test_what_is_learned_from_six_frames_has_the_magnets_modes(tmp_path):
    """Magnons and phonons to a few per cent, and no gap to speak of though nothing forbids one."""
    spec = TrainSpec(steps=20, segments=1, force_mag=(5e5, 500.0))
    model = train(magnet.thermal_frames([50.0, 200.0], 3), None, magnet.MODEL, spec, Store(tmp_path)).model()
    state, (_, q) = magnet.crystal((6, 2, 2)), magnet.path((6, 2, 2))
    found, true = (linear_modes(potential, state, q) for potential in (model, magnet.ENGINE))
    assert np.abs(found.magnons - true.magnons).max() < 0.4 and np.abs(found.phonons - true.phonons).max() < 0.1
    assert abs(linear_modes(model, state, 0 * q[:1]).magnons[0]) < 0.3


def test_bad_input_is_refused():
    state = magnet.crystal((2, 1, 1))
    with pytest.raises(ValueError, match="q must be .* wave vectors that fit into the cell"):
        linear_modes(magnet.ENGINE, state, torch.tensor([[0.3, 0.0, 0.0]], dtype=torch.float64))
    moved = state.frames.positions.clone()
    moved[0, 0, 0] += 0.05
    zero = torch.zeros(1, 3, dtype=torch.float64)
    with pytest.raises(ValueError, match="forces must vanish"):
        linear_modes(magnet.ENGINE, replace(state, frames=replace(state.frames, positions=moved)), zero)
    with pytest.raises(ValueError, match="parallel moments"):
        linear_modes(magnet.ENGINE, thermally_displaced(state, 0.0, 0.1, torch.Generator().manual_seed(0)), zero)
    assert isinstance(spectra(magnet.ENGINE, state, zero, 1e-3, 8), Spectra)  # at rest: zeros, not NaN
