r"""Modes of a ferromagnet by motion and by linear theory, and its magnetisation against temperature.

By motion: structure factors of N atoms near their sites R_i, moments transverse to the magnetisation (e_1, e_2),

.. math::
    s_q(t) = N^{-1/2}\sum_i S_i\cdot(e_1 + i e_2)\,e^{-iq\cdot R_i}, \qquad
    v_q(t) = N^{-1/2}\sum_i v_i\,e^{-iq\cdot R_i},

and their power at the frequency f (Hann's window). By linear theory, with second derivatives of the energy of any
potential, for crystals with one atom in the primitive cell and all moments S along e:

.. math::
    m\,(2\pi f)^2 = \mathrm{eig}\sum_j \frac{\partial^2E}{\partial R_0\partial R_j}e^{iq\cdot(R_j - R_0)}, \qquad
    2\pi f = \gamma\sqrt{\det\Big[F_e + |S|\sum_j \frac{\partial^2E}{\partial S_0\partial S_j}
             \Big|_\perp e^{iq\cdot(R_j - R_0)}\Big]},

F_e the magnetic force along e. Atoms and moments do not mix to this order where moments are parallel and E depends on
S.S'. Wave vectors q must fit into the cell. Units: THz, 1/angstrom, ps, K.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import pi
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from evae_companion.deepspin.dynamics import GYRO, MASS, Integrator, State, Thermostat, heated
from evae_companion.deepspin.potential import Potential, derive, neighbours_of


class Spectra(NamedTuple):
    """frequencies (W,) THz; power of the moments (Q, W) and of the velocities (Q, 3, W), each with mean 1; energies
    (steps,), the total energy (eV) after every step."""

    frequencies: np.ndarray
    moments: np.ndarray
    velocities: np.ndarray
    energies: np.ndarray


class Modes(NamedTuple):
    """phonons (Q, 3), rising, and magnons (Q,), THz; negative where the crystal gives way (f^2 < 0)."""

    phonons: np.ndarray
    magnons: np.ndarray


def spectra(potential: Potential, state: State, q: Tensor, dt: float, steps: int, **settings: Any) -> Spectra:
    """Spectra of a motion without thermostat from ``state``, whose atoms move about ``state``'s mean sites.

    Parameters
    ----------
    state : a crystal; its positions are the sites, unless ``sites`` (N, 3) is given.
    q : (Q, 3) wave vectors, 1/angstrom.
    dt, steps : ps and their number; the resolution is 2/(dt steps).
    settings : of :class:`Integrator`.
    """
    sites = settings.pop("sites", state.frames.positions[0])
    waves = _waves(sites, q, state)
    axes = _frame(state)
    moments, velocities = [], []
    energies = np.empty(steps)

    def record(now: Integrator, number: int) -> None:
        along = now.state.frames.spins[0] @ axes[:2].T
        moments.append(waves @ torch.complex(along[:, 0], along[:, 1]))
        velocities.append(waves @ now.state.velocities.to(waves.dtype))
        energies[number - 1] = now.total

    Integrator(potential, state, dt, **settings).run(steps, record)
    half = slice(1, steps // 2)
    moving = torch.stack(velocities).numpy()
    return Spectra(np.fft.fftfreq(steps, dt)[half], _power(torch.stack(moments).numpy(), half),
                   _power(moving, half), energies)


def _waves(sites: Tensor, q: Tensor, state: State) -> Tensor:
    """(Q, N) exp(-i q.R)/sqrt(N)."""
    turns = q @ state.frames.cells[0].T / (2 * pi)
    if q.ndim != 2 or q.shape[1] != 3 or float((turns - turns.round()).abs().max()) > 1e-6:
        raise ValueError("q must be (Q, 3) wave vectors that fit into the cell: q.a a multiple of 2 pi for every "
                         "lattice vector a")
    phase = q @ sites.T
    return torch.polar(torch.full_like(phase, len(sites)**-0.5), -phase)


def _frame(state: State) -> Tensor:
    """(3, 3) rows e_1, e_2, e, right-handed, e along the magnetisation."""
    e = normalize(state.frames.spins[0].sum(0), dim=0)
    first = normalize(torch.linalg.cross(e, torch.eye(3, dtype=e.dtype)[int(e.abs().argmin())]), dim=0)
    return torch.stack([first, torch.linalg.cross(e, first), e])


def _power(signal: np.ndarray, kept: slice) -> np.ndarray:
    """(steps, ...) -> (..., W), mean 1 (0 where nothing moves)."""
    window = np.hanning(len(signal)).reshape(-1, *[1] * (signal.ndim - 1))
    power = np.moveaxis(np.abs(np.fft.fft(window * (signal - signal.mean(0)), axis=0)[kept])**2, 0, -1)
    mean = power.mean(-1, keepdims=True)
    return power / np.where(mean > 0, mean, 1.0)


def peaks(frequencies: np.ndarray, power: np.ndarray) -> np.ndarray:
    """(...,) THz: where ``power`` (..., W) is largest, by a parabola through the logarithms of three values."""
    top = power.argmax(-1).clip(1, power.shape[-1] - 2)
    below, at, above = (np.log(np.take_along_axis(power, (top + k)[..., None], -1)[..., 0]) for k in (-1, 0, 1))
    offset = np.clip(0.5 * (below - above) / (below - 2 * at + above), -1.0, 1.0)
    return frequencies[top] + offset * (frequencies[1] - frequencies[0])


def linear_modes(potential: Potential, state: State, q: Tensor) -> Modes:
    """Frequencies by linear theory; see the module. A learned potential should be ``double()``.

    Raises
    ------
    ValueError
        moments that are not parallel, atoms that are not at rest or not all alike.
    """
    frames = state.frames
    waves = _waves(frames.positions[0], q, state)
    e1, e2, e = axes = _frame(state)
    length = float(frames.spins[0, 0].norm())
    if float((frames.spins[0] - length * e).abs().max()) > 1e-9 * length or len(state.masses.unique()) > 1:
        raise ValueError("state must hold atoms of one mass with parallel moments of one length")
    positions, spins = (x.clone().requires_grad_() for x in (frames.positions, frames.spins))
    found = derive(potential, positions, spins, frames.cells, neighbours_of(potential, frames), create_graph=True)
    fields = found.force_mags[0].detach()
    if float(found.forces.detach().abs().max()) > 1e-6 or float((fields - fields[0]).abs().max()) > 1e-6:
        raise ValueError("state must be a crystal at rest with one atom in its primitive cell: forces must vanish and "
                         "magnetic forces be the same on all atoms")
    phases = (waves[:, :1].conj() * waves).conj() * len(state.masses)  # exp(i q.(R_j - R_0))

    def rows(force: Tensor, inputs: Tensor, directions: Tensor) -> Tensor:
        """(Q, d, d) sum over j of -d force_0 / d inputs_j e^(..), along the directions (d, 3)."""
        slopes = torch.stack([-torch.autograd.grad(force @ x, inputs, retain_graph=True)[0][0] for x in directions])
        return torch.einsum("qj,ajx,bx->qab", phases, slopes.to(phases.dtype), directions.to(phases.dtype))

    stiffness = rows(found.forces[0, 0], positions, torch.eye(3, dtype=e.dtype))
    squares = torch.linalg.eigvalsh(stiffness).numpy() / (MASS * float(state.masses[0]))
    tilt = rows(found.force_mags[0, 0], spins, axes[:2])
    turning = torch.linalg.det(length * tilt + (fields[0] @ e) * torch.eye(2, dtype=e.dtype)).real.numpy()
    return Modes(np.sign(squares) * np.sqrt(np.abs(squares)) / (2 * pi),
                 np.sign(turning) * GYRO * np.sqrt(np.abs(turning)) / (2 * pi))


def thermally_displaced(state: State, temperature: float, tilt: float, generator: torch.Generator) -> State:
    """A crystal set in motion: velocities of twice ``temperature`` (half of it goes into the bonds), and moments tilted
    at random by ``tilt`` radians in each of two directions."""
    frames = state.frames
    noise = torch.randn(frames.spins.shape, generator=generator, dtype=torch.float64)
    lengths = frames.spins.norm(dim=-1, keepdim=True)
    spins = lengths * normalize(frames.spins + tilt * lengths * noise, dim=-1)
    return heated(replace(state, frames=replace(frames, spins=spins, energies=None, forces=None, force_mags=None,
                                                virials=None)), 2 * temperature, generator)


def magnetisation(potential: Potential, state: State, temperatures: Sequence[float], dt: float, settle: int,
                  measure: int, seed: int = 0, friction: float = 5.0, damping: float = 0.3,
                  **settings: Any) -> np.ndarray:
    """(T, 2): mean of |sum S| / sum |S| at rising temperatures (K), and its standard error from four blocks.

    Atoms and moments have Langevin's thermostat; every temperature starts where the one before ended, takes ``settle``
    steps and is averaged over ``measure``. N free moments have a mean of about N^(-1/2), not zero.
    """
    generator = torch.Generator().manual_seed(seed)
    found = np.empty((len(temperatures), 2))
    for k, temperature in enumerate(temperatures):
        integrator = Integrator(potential, state, dt, thermostat=Thermostat(temperature, friction, damping),
                                generator=generator, **settings)
        integrator.run(settle)
        values: list[float] = []

        def record(now: Integrator, _: int, values: list[float] = values) -> None:
            spins = now.state.frames.spins[0]
            values.append(float(spins.sum(0).norm() / spins.norm(dim=-1).sum()))

        state = integrator.run(measure, record)
        blocks = [block.mean() for block in np.array_split(values, 4)]
        found[k] = np.mean(values), np.std(blocks, ddof=1) / 2
    return found
