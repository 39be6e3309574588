"""Standard samplers on a measured budget: annealing, annealing with a descent, and parallel tempering.

A :class:`EnergyTrace` holds the energies that independent runs of a method reach, and the cost of one run: wall time
on one thread and spin updates. Runs are computed in batches, and a run is charged its share of the time. Updates are
those of Monte Carlo sweeps, reflections included; descents count in the time alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from evae_companion.analysis.descent import descended, energies
from evae_companion.analysis.tempering import Tempering, temperatures
from evae_companion.processes import one_thread
from evae_core.annealing import Annealing, Schedule
from evae_core.hamiltonian import Hamiltonian

DRAWS = 400  # random groups of k runs, for the spread of their best
QUANTILES = (0.16, 0.5, 0.84)


@dataclass(frozen=True)
class EnergyTrace:
    """Energies that a method reached, and their cost.

    Attributes
    ----------
    seconds, updates : (m,), spent by one run at each checkpoint.
    energies : (m, runs), E/N (J) of the states that the runs would return there.
    once : seconds and updates spent once, before the first run: a training and its data.

    :meth:`best_of` gives the best of several runs.
    """

    method: str
    seconds: np.ndarray
    updates: np.ndarray
    energies: np.ndarray
    once: tuple[float, float] = (0.0, 0.0)

    def best_of(self, counts: Sequence[int], once: bool = True, seed: int = 0) -> dict[str, Any]:
        """Return the lowest energy of k runs at the last checkpoint, for k in ``counts``, sampled without replacement.

        Returns
        -------
        seconds, updates : (counts,), including :attr:`once` if ``once`` is True.
        lowest : (counts, 3), 16, 50 and 84 % quantiles over groups of k runs.
        mean : E/N of all runs, one number.
        """
        rng, pool = np.random.default_rng([seed, 4]), self.energies[-1]
        sizes = np.array([k for k in counts if k <= len(pool)])
        lowest = [np.quantile([pool[rng.permutation(len(pool))[:k]].min() for _ in range(DRAWS)], QUANTILES)
                  for k in sizes]
        seconds, updates = self.once if once else (0.0, 0.0)
        return {"seconds": seconds + self.seconds[-1] * sizes, "updates": updates + self.updates[-1] * sizes,
                "lowest": np.array(lowest), "mean": float(pool.mean())}

    def in_time(self) -> dict[str, Any]:
        """Return the same as :meth:`best_of` along the checkpoints: the lowest energy of each single run until then."""
        so_far = np.minimum.accumulate(self.energies, 0)
        return {"seconds": self.once[0] + self.seconds, "updates": self.once[1] + self.updates,
                "lowest": np.quantile(so_far, QUANTILES, axis=1).T, "mean": float(self.energies[-1].mean())}


def annealings(H: Hamiltonian, shape: Sequence[int], runs: int, schedule: Schedule, name: str, seed: int = 0,
               device: str = "auto") -> list[EnergyTrace]:
    """Anneal ``runs`` random states; return two traces, of the states at T_end and after the descent."""
    with one_thread():
        begin = time.perf_counter()
        annealing = Annealing(H, shape, runs, seed=seed, device=device, schedule=schedule).run(schedule.sweeps)
        warm = annealing.spins
        cooled = time.perf_counter() - begin
        cold = descended(H, warm, device)
        rested = time.perf_counter() - begin
    updates = schedule.sweeps * (1 + schedule.overrelax) * H.sites(shape)
    return [EnergyTrace(name, np.array([cooled]) / runs, np.array([updates]), energies(H, warm).numpy()[None]),
            EnergyTrace(f"{name} + descent", np.array([rested]) / runs, np.array([updates]),
                        energies(H, cold).numpy()[None])]


def tempering(H: Hamiltonian, shape: Sequence[int], runs: int, sweeps: int, T: tuple[float, float], seed: int = 0,
              checkpoints: int = 6, device: str = "auto") -> tuple[EnergyTrace, dict[str, Any]]:
    """Run ``runs`` parallel temperings between temperatures T (J/k_B); at each checkpoint the coldest states descend.

    The descents at earlier checkpoints do not count in the time of later ones, because a run of known length does not
    need them.

    Returns
    -------
    trace, {"temperatures", "rates"} : the trace, and the temperatures with the measured swap rates.
    """
    ladder = temperatures(*T, H.sites(shape))
    seconds, updates, reached, spent = [], [], [], 0.0
    with one_thread():
        begin = time.perf_counter()
        chain = Tempering(H, shape, runs, ladder, seed=seed, device=device)
        spent += time.perf_counter() - begin
        for target in np.unique(np.rint(np.geomspace(chain.every, sweeps, checkpoints)).astype(int)):
            begin = time.perf_counter()
            chain.run(max(0, int(target) - chain.sweeps))
            spent += time.perf_counter() - begin
            begin = time.perf_counter()
            cold = descended(H, chain.spins(0), device)
            seconds.append((spent + time.perf_counter() - begin) / runs)
            updates.append(chain.updates / runs)
            reached.append(energies(H, cold).numpy())
    trace = EnergyTrace("parallel tempering + descent", np.array(seconds), np.array(updates), np.stack(reached))
    return trace, {"temperatures": ladder, "rates": chain.rates}


def decoded(H: Hamiltonian, generate: Callable[[int], Tensor], runs: int, once: tuple[float, float],
            name: str = "E-VAE", device: str = "auto") -> list[EnergyTrace]:
    """Return two traces of ``runs`` states from ``generate(n)``: as generated and after the descent.

    ``once`` is that of :class:`EnergyTrace`.
    """
    with one_thread():
        begin = time.perf_counter()
        raw = generate(runs)
        made = (time.perf_counter() - begin) / runs
        cold = descended(H, raw, device)
        rested = (time.perf_counter() - begin) / runs
    return [EnergyTrace(label, np.array([each]), np.zeros(1), energies(H, spins).numpy()[None], once)
            for label, each, spins in ((name, made, raw), (f"{name} + descent", rested, cold))]
