r"""Effective temperature of a set of states: that of heat-bath states which are as far out of their local fields.

Generated states are noisy. Two questions tell that noise from heat:

* Strength. In equilibrium a spin in its field h has :math:`\langle\theta^2\rangle \approx 2T/h`, theta being the angle
  between the two (:func:`~evae_core.observables.theta`). The effective temperature is that at which heat-bath states
  have the mean theta^2 of the states.
* Spectrum. In equilibrium every mode holds the same energy, so that long waves, which cost little, have large
  amplitudes (equipartition). The spectrum of the fluctuations is compared with that of heat-bath states at the
  effective temperature. The ratio is 1 at every k for heat; it rises with k for noise that is alike on every site.

Fluctuations are those about each state's own relaxed state, for both kinds of states. On a periodic lattice a texture
slides as a whole at almost no cost, as far as the bath is given time. So the part of a fluctuation that a rigid shift
explains, along the gradients of the relaxed state, is taken out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evae_companion.analysis.descent import descended
from evae_core.annealing import MAX_SWEEPS, heat_bath
from evae_core.annealing.schedule import LEAST_T
from evae_core.hamiltonian import Hamiltonian, check_hamiltonian, check_spins
from evae_core.observables import theta
from evae_core.validation import check_count, check_numbers, check_seed

SWEEPS = 200  # a sweep damps a wave by about exp(-k^2/2): so many reach equilibrium up to some 45 sites' wavelength
OVERRELAX = 2  # reflections after every sweep, which help long waves
GRID = np.geomspace(1 / 3, 3, 9)  # temperatures tried, in units of a first estimate
RESAMPLED = 500  # bootstrap samples


@dataclass(frozen=True, eq=False)
class EffectiveTemperature:
    """Result of :func:`effective_temperature`; errors are standard errors by bootstrap over states.

    Attributes
    ----------
    T, error : effective temperature, J/k_B.
    theta_square : mean theta^2 of the states, rad^2.
    k : (m,), centres of rings of |k| > 0, radians per site.
    ratio, ratio_error : (m,), fluctuation spectrum of the states over that of heat-bath states at T.
    """

    T: float
    error: float
    theta_square: float
    k: np.ndarray
    ratio: np.ndarray
    ratio_error: np.ndarray


def effective_temperature(H: Hamiltonian, spins: Tensor, temperatures: Sequence[float] | None = None,
                          sweeps: int = SWEEPS, seed: int = 0, device: str = "auto") -> EffectiveTemperature:
    """Return the effective temperature of states, and their fluctuation spectrum over that of heat-bath states.

    Heat-bath replicas start from the relaxed states, one from each, so that both sets are of the same textures.

    Parameters
    ----------
    spins : (n, 3, Ny, Nx), n >= 2 states.
    temperatures : increasing, J/k_B, between which is interpolated (log T over log theta^2); None: nine of them around
        an estimate by <theta^2> = 2T/h.
    sweeps : heat-bath sweeps at each temperature; a lattice of more than 45 sites needs more than the default for its
        longest waves, as (sites per side)^2. The effective temperature itself hardly depends on them.
    seed : of the heat bath and the bootstrap.

    Raises
    ------
    TypeError, ValueError
        a bad argument; states at rest; temperatures that do not enclose that of the states.
    """
    check_hamiltonian(H)
    mask = None if H.mask is None else H.mask.copy()
    check_spins(spins, unit=True, magnetic=mask)
    if spins.ndim != 4 or len(spins) < 2:
        raise ValueError(f"spins must be (n, 3, Ny, Nx) with n >= 2 states, got shape {tuple(spins.shape)}")
    check_count("sweeps", sweeps, 1, MAX_SWEEPS)
    rng = np.random.default_rng([check_seed(seed), 6])
    spins = spins.detach().cpu().float()
    if mask is not None:
        spins = spins * torch.from_numpy(mask)
    squares = theta_squares(H, spins)
    rest = descended(H, spins, device)
    if temperatures is None:
        field = torch.linalg.vector_norm(H.field(rest.double()), dim=1).sum((1, 2)).mean() / H.sites(spins.shape[-2:])
        grid = GRID * squares.mean() * float(field) / 2
        if grid[0] < LEAST_T:
            raise ValueError(f"spins are at rest: their mean theta^2 is {squares.mean():.1e} rad^2, which no heat bath "
                             f"above {LEAST_T:g} J/k_B has")
    else:
        grid = np.array(check_numbers("temperatures", temperatures, LEAST_T))
        if len(grid) < 2 or not (np.diff(grid) > 0).all():
            raise ValueError(f"temperatures must be two or more increasing numbers, got {temperatures!r:.60}")
    seeds = [int(one) for one in rng.integers(2**63, size=len(grid) + 1)]
    curve = np.stack([theta_squares(H, heat_bath(H, rest, float(T), sweeps, one, OVERRELAX, device))
                      for T, one in zip(grid, seeds, strict=False)])
    if not curve[0].mean() < squares.mean() < curve[-1].mean():
        raise ValueError(f"temperatures must enclose that of the spins: {grid[0]:.3g} to {grid[-1]:.3g} J/k_B give a "
                         f"mean theta^2 of {curve[0].mean():.3g} to {curve[-1].mean():.3g} rad^2, the spins have "
                         f"{squares.mean():.3g}")
    T = _interpolated(squares.mean(), curve.mean(1), grid)
    bath = heat_bath(H, rest, T, sweeps, seeds[-1], OVERRELAX, device)
    k, power = _ring_power(fluctuations(H, spins, rest))
    of_bath = _ring_power(fluctuations(H, bath, descended(H, bath, device)))[1]
    sampled_T, sampled = [], []
    for _ in range(RESAMPLED):
        own, other = rng.integers(len(spins), size=(2, len(spins)))
        sampled_T.append(_interpolated(squares[own].mean(), curve[:, other].mean(1), grid))
        sampled.append(power[own].mean(0) / of_bath[other].mean(0))
    return EffectiveTemperature(T, float(np.std(sampled_T)), float(squares.mean()), k, power.mean(0) / of_bath.mean(0),
                                np.std(sampled, 0))


def theta_squares(H: Hamiltonian, spins: Tensor) -> np.ndarray:
    """Return the mean theta^2 over the magnetic sites of every state (n, 3, Ny, Nx), (n,) float64, rad^2."""
    return theta(H, spins).square().nanmean((1, 2)).numpy()


def fluctuations(H: Hamiltonian, spins: Tensor, rest: Tensor) -> Tensor:
    """Return spins - rest (n, 3, Ny, Nx), on a periodic lattice without the least-squares fit of a rigid shift."""
    apart = spins - rest
    if not H.periodic:
        return apart
    slopes = torch.stack([rest.roll(-1, axis) - rest.roll(1, axis) for axis in (-1, -2)], 1).flatten(2)  # (n, 2, 3 N)
    # pinv, since a uniform state has no slopes, and a helix in one direction only
    shift = torch.linalg.pinv(slopes @ slopes.mT) @ (slopes @ apart.flatten(1)[..., None])
    return apart - (shift.mT @ slopes).reshape(apart.shape)


def _interpolated(square: float, curve: np.ndarray, grid: np.ndarray) -> float:
    """Return the temperature at which ``curve`` over ``grid`` is ``square``; an end of the grid beyond its ends."""
    return float(np.exp(np.interp(np.log(square), np.log(np.maximum.accumulate(curve)), np.log(grid))))


def _ring_power(fluctuations: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return |k| > 0 (m,) of rings 2 pi/max(Nx, Ny) wide, and the mean |FFT2|^2/N of every state in each, (n, m)."""
    ny, nx = fluctuations.shape[-2:]
    power = torch.fft.fft2(fluctuations.double(), norm="ortho").abs().square().sum(1).flatten(1)
    wave = torch.hypot(torch.fft.fftfreq(ny)[:, None], torch.fft.fftfreq(nx)) * max(ny, nx)
    ring = wave.round().long().flatten()
    count = torch.bincount(ring)
    sums = torch.zeros(len(power), len(count), dtype=torch.float64).index_add_(1, ring, power)
    held = torch.arange(len(count))[(count > 0) & (torch.arange(len(count)) > 0)]
    return 2 * np.pi / max(ny, nx) * held.double().numpy(), (sums / count)[:, held].numpy()
