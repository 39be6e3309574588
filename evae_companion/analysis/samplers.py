"""The usual ways to low energies on a measured budget: annealing, annealing with a descent, parallel tempering.

A :class:`Trace` says what a method reaches for how much: energies of states of independent runs, with the wall time on
one thread and the spin updates that one run takes. Runs are computed in batches, so a run's share of the time counts.
Updates are those of Monte Carlo sweeps, reflections included; descents count in the time alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evae_companion.analysis.descent import descended, energies
from evae_companion.analysis.tempering import Tempering, temperatures
from evae_core.annealing import Annealing, Schedule
from evae_core.hamiltonian import Hamiltonian

DRAWS = 400  # groups drawn for the spread of the best of k runs
QUANTILES = (0.16, 0.5, 0.84)


@dataclass(frozen=True)
class Trace:
    """What a method reached.

    seconds, updates : (m,) spent by one run at each checkpoint. energies : (m, runs) E/N in J of the states that the
    runs would return there. once : seconds and updates that are spent once, before the first run: a training and its
    data. More than one run may be spent on the answer: :meth:`best_of`.
    """

    method: str
    seconds: np.ndarray
    updates: np.ndarray
    energies: np.ndarray
    once: tuple[float, float] = (0.0, 0.0)

    def best_of(self, counts: Sequence[int], once: bool = True, seed: int = 0) -> dict[str, Any]:
        """The lowest energy of k runs at the last checkpoint, for k in ``counts``, drawn without replacement.

        Returns seconds, updates (one a count; with what is spent ``once``, or without), lowest (one a count, 3), the
        16, 50 and 84 % quantiles over groups of k runs, and mean, E/N of all runs (a number).
        """
        rng, pool = np.random.default_rng([seed, 4]), self.energies[-1]
        sizes = np.array([k for k in counts if k <= len(pool)])
        lowest = [np.quantile([pool[rng.permutation(len(pool))[:k]].min() for _ in range(DRAWS)], QUANTILES)
                  for k in sizes]
        seconds, updates = self.once if once else (0.0, 0.0)
        return {"seconds": seconds + self.seconds[-1] * sizes, "updates": updates + self.updates[-1] * sizes,
                "lowest": np.array(lowest), "mean": float(pool.mean())}

    def in_time(self) -> dict[str, Any]:
        """As :meth:`best_of`, along the checkpoints: the lowest that each single run has seen by then."""
        so_far = np.minimum.accumulate(self.energies, 0)
        return {"seconds": self.once[0] + self.seconds, "updates": self.once[1] + self.updates,
                "lowest": np.quantile(so_far, QUANTILES, axis=1).T, "mean": float(self.energies[-1].mean())}


@contextmanager
def one_thread() -> Iterator[None]:
    """Seconds of one core: what a GPU does within is not slowed."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def annealings(H: Hamiltonian, shape: Sequence[int], runs: int, schedule: Schedule, name: str, seed: int = 0,
               device: str = "auto") -> list[Trace]:
    """``runs`` annealings of random states: as they are at T_end, and after the descent (two traces)."""
    with one_thread():
        begin = time.perf_counter()
        annealing = Annealing(H, shape, runs, seed=seed, device=device, schedule=schedule).run(schedule.sweeps)
        warm = annealing.spins
        cooled = time.perf_counter() - begin
        cold = descended(H, warm, device)
        rested = time.perf_counter() - begin
    updates = schedule.sweeps * (1 + schedule.overrelax) * H.sites(shape)
    return [Trace(name, np.array([cooled]) / runs, np.array([updates]), energies(H, warm).numpy()[None]),
            Trace(f"{name} + descent", np.array([rested]) / runs, np.array([updates]), energies(H, cold).numpy()[None])]


def tempering(H: Hamiltonian, shape: Sequence[int], runs: int, sweeps: int, T: tuple[float, float], seed: int = 0,
              checkpoints: int = 6, device: str = "auto") -> tuple[Trace, dict[str, Any]]:
    """``runs`` parallel temperings between the temperatures T; at each checkpoint the coldest states descend.

    The descents at earlier checkpoints are not counted in the time of later ones: a run that knows when it ends does
    without. Returns the trace and {"temperatures", "rates"}, the ladder and the measured swap rates.
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
    trace = Trace("parallel tempering + descent", np.array(seconds), np.array(updates), np.stack(reached))
    return trace, {"temperatures": ladder, "rates": chain.rates}


def decoded(H: Hamiltonian, generate: Callable[[int], Tensor], runs: int, once: tuple[float, float],
            name: str = "E-VAE", device: str = "auto") -> list[Trace]:
    """``runs`` states from ``generate(n)``, as they are and after the descent; ``once``: see :class:`Trace`."""
    with one_thread():
        begin = time.perf_counter()
        raw = generate(runs)
        made = (time.perf_counter() - begin) / runs
        cold = descended(H, raw, device)
        rested = (time.perf_counter() - begin) / runs
    return [Trace(label, np.array([each]), np.zeros(1), energies(H, spins).numpy()[None], once)
            for label, each, spins in ((name, made, raw), (f"{name} + descent", rested, cold))]
