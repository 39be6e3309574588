"""The annealer, measured on this machine: `make bench`. Ratios within one run are what to quote."""

import os
import platform
import statistics
import time

import torch

from evae_core import Hamiltonian, Schedule, anneal


def median_seconds(work, repeats: int = 7) -> float:
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def annealing(size: int, D: float, B: float) -> None:
    system = Hamiltonian(D=D, B=B)
    cores = len(os.sched_getaffinity(0))
    n = 16 * cores
    schedules = [Schedule(sweeps=s, overrelax=3, tolerance=1e-2) for s in (50, 250)]
    short, long = (median_seconds(lambda s=s: anneal(system, (size, size), n, device="cpu", schedule=s), 3)
                   for s in schedules)
    updates = n * size * size * 4 * 200
    rate = updates / (long - short) / 1e6
    print(f"annealing, {size} x {size}, {n} replicas, {cores} cores: {rate:.0f} million mixed updates/s "
          f"(1 heat bath + 3 over-relaxation), {rate / cores:.0f} a core")


if __name__ == "__main__":
    print(f"{platform.processor() or platform.machine()}, {len(os.sched_getaffinity(0))} cores, "
          f"torch {torch.__version__}, Python {platform.python_version()}; load {os.getloadavg()[0]:.1f}; medians")
    annealing(64, 0.6, 0.2)
    annealing(128, 0.3, 0.05)
