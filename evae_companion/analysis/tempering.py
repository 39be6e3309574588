r"""Parallel tempering (replica exchange): replicas at a sequence of temperatures that swap their states.

K. Hukushima and K. Nemoto, J. Phys. Soc. Jpn. 65, 1604 (1996). Neighbours i, i+1 swap with probability

.. math:: \min(1, e^{A}), \qquad A = (\beta_i - \beta_{i+1})(E_i - E_{i+1})

which keeps detailed balance for the product of the Boltzmann distributions. A low-temperature classical magnet has two
quadratic modes per spin. So E is Gaussian with a heat capacity of C = 1 k_B per spin, and A is N(-m, 2m) with
m = N C (ln T_{i+1}/T_i)^2. The mean swap rate is erfc(sqrt(m)/2), which :func:`temperatures` inverts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy.special import erfc, erfcinv
from torch import Tensor

from evae_core.annealing import heat_bath, replicas_from
from evae_core.hamiltonian import MAX_SITES, Hamiltonian, check_hamiltonian, check_spins
from evae_core.validation import check_array, check_count, check_number


def rate(ratio: float, sites: int, heat_capacity: float = 1.0) -> float:
    """Return the expected swap rate of neighbours with this ratio of temperatures; heat capacity in k_B per spin."""
    return float(erfc(abs(math.log(ratio)) * math.sqrt(sites * heat_capacity) / 2))


def overlap_rate(low: np.ndarray, high: np.ndarray, T_low: float, T_high: float) -> float:
    """Return the swap rate that two sets of total energies (J) imply: the mean of min(1, exp A) over all pairs."""
    A = (1 / T_low - 1 / T_high) * (np.ravel(low)[:, None] - np.ravel(high))
    return float(np.exp(np.minimum(A, 0)).mean())


def temperatures(T_low: float, T_high: float, sites: int, swap_rate: float = 0.25,
                 heat_capacity: float = 1.0) -> np.ndarray:
    """Return a geometric sequence from T_low to T_high (J/k_B); neighbours swap at ``swap_rate`` or slightly above.

    A constant C makes the rate depend on the ratio alone. Where C peaks, at a transition, the rate dips below.
    """
    T_high = check_number("T_high", T_high, most=1e6)
    T_low, swap_rate = check_number("T_low", T_low, below=T_high), check_number("swap_rate", swap_rate, below=1.0)
    check_count("sites", sites, 1, MAX_SITES)
    check_number("heat_capacity", heat_capacity, most=1e3)
    step = 2 * float(erfcinv(swap_rate)) / math.sqrt(sites * heat_capacity)
    return np.geomspace(T_low, T_high, max(2, math.ceil(math.log(T_high / T_low) / step) + 1))


class Tempering:
    """``runs`` independent replica exchanges over the same temperatures, swept together.

    There is one batch of replicas per temperature, which holds one replica of every run, so that all runs are swept in
    parallel. A swap exchanges two replicas of neighbouring batches, separately in every run.

    Parameters
    ----------
    temperatures : (k,) ascending, J/k_B.
    seed : of all random numbers.
    overrelax : reflections after a heat bath.
    every : heat-bath sweeps between two attempts to swap; pairs (0 1)(2 3)... and (1 2)(3 4)... alternate.
    spins : (k, runs, 3, Ny, Nx), initial states; random by default.

    Attributes
    ----------
    sweeps : heat-bath sweeps done at every temperature.
    updates : spin updates in all runs, reflections included.
    tried, swapped : (k - 1,), attempts and successes of each neighbouring pair, over all runs.
    energies : list of (k, runs) total energies in J, one entry before each attempt.
    """

    def __init__(self, H: Hamiltonian, shape: Sequence[int], runs: int, temperatures: Any, seed: int = 0,
                 overrelax: int = 1, every: int = 10, spins: Tensor | None = None, device: str = "auto"):
        check_hamiltonian(H)
        self.T = check_array("temperatures", temperatures, (None,))
        if len(self.T) < 2 or not (self.T > 0).all() or not (np.diff(self.T) > 0).all():
            raise ValueError(f"temperatures must be at least two ascending positive numbers, got {temperatures!r}")
        self.shape, self.H, self.device = H.check_shape(shape), H, device
        self.runs = check_count("runs", runs, 1, MAX_SITES)
        self.every, self.overrelax = check_count("every", every, 1), check_count("overrelax", overrelax)
        self._rng = np.random.default_rng([check_count("seed", seed), 3])
        count = len(self.T)
        if spins is None:
            up = torch.zeros(count * runs, 3, *self.shape)
            up[:, 2] = 1.0 if H.mask is None else torch.from_numpy(H.mask.astype(np.float32))
            spins = heat_bath(H, up, math.inf, 1, seed=seed, device=device)
            spins = spins.reshape(count, runs, 3, *self.shape)
        check_spins(spins, unit=True, magnetic=H.mask)
        if spins.shape != (wanted := (count, runs, 3, *self.shape)):
            raise ValueError(f"spins must have shape {wanted}, got {tuple(spins.shape)}")
        seeds = self._rng.integers(2**62, size=count).tolist()
        self._batches = [replicas_from(H, batch, seed=s, device=device) for batch, s in zip(spins, seeds, strict=True)]
        self.sweeps = self._attempts = 0
        self.tried, self.swapped = np.zeros(count - 1, int), np.zeros(count - 1, int)
        self.energies: list[np.ndarray] = []

    @property
    def updates(self) -> int:
        return self.sweeps * (1 + self.overrelax) * len(self.T) * self.runs * self.H.sites(self.shape)

    @property
    def rates(self) -> np.ndarray:
        """Measured swap rates, (k - 1,); NaN for pairs that were never tried."""
        return np.divide(self.swapped, self.tried, out=np.full(len(self.tried), np.nan), where=self.tried > 0)

    def run(self, sweeps: int) -> Tempering:
        """Do ``sweeps`` more heat-bath sweeps at every temperature, rounded up to whole attempts; return self."""
        for _ in range(-(-check_count("sweeps", sweeps) // self.every)):
            for T, batch in zip(self.T, self._batches, strict=True):
                batch.sweep(np.full(self.every, 1 / T), self.overrelax)
            self.sweeps += self.every
            self._swap()
        return self

    def spins(self, number: int) -> Tensor:
        """Return a copy of the states at temperature ``number``, (runs, 3, Ny, Nx) float32."""
        return self._batches[number].spins().cpu()

    def _swap(self) -> None:
        states = [batch.spins() for batch in self._batches]
        # Float32, as in the sweeps: the error of some 1e-3 J has no preferred sign, and beta differs by less than 1/J.
        energies = np.stack([self.H.energy(s, check=False).double().cpu().numpy() for s in states])
        self.energies.append(energies)
        beta, changed = 1 / self.T, set()
        pairs = np.arange(self._attempts % 2, len(self.T) - 1, 2)
        self._attempts += 1
        draws = self._rng.random((len(pairs), self.runs))
        for i, draw in zip(pairs.tolist(), draws, strict=True):
            A = (beta[i] - beta[i + 1]) * (energies[i] - energies[i + 1])
            accepted = torch.from_numpy(draw < np.exp(np.minimum(A, 0)))
            self.tried[i] += self.runs
            self.swapped[i] += int(accepted.sum())
            if accepted.any():
                lower = states[i][accepted].clone()
                states[i][accepted], states[i + 1][accepted] = states[i + 1][accepted], lower
                changed |= {i, i + 1}
        for i in changed:
            self._batches[i].load(states[i])
