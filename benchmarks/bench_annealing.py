"""The annealer on the CPU: updates a second against the obvious code, their cost with size, replicas and threads, the
descent to T = 0, and the time to a state at least as low as any of the peers': `make bench`.

"mixed" is 1 heat-bath sweep and 3 over-relaxation sweeps. Ratios of one run are what to quote.
"""

import resource
import time

import numpy as np
import torch
from measure import in_turns, machine, median, spread, table
from reference_annealer import plain_anneal

from evae_core import Hamiltonian, Schedule, anneal, relax
from evae_core.annealing import Annealing, cpu

H = Hamiltonian(D=0.3, B=0.05)
TARGET = -2.057436  # E/N, J: the lowest entry of the peers' table (mean of the best trial at 10 000 sweeps)


def sweeper(size: int, replicas: int, overrelax: int, heat: bool, updates: float = 2e7):
    """A function that sweeps ``replicas`` lattices for about ``updates`` spin updates, and how many these are."""
    state = cpu.Replicas(H, (size, size), replicas)
    state.sweep([0.0], 0)
    state.sweep([1.0] * 5, overrelax)
    sweeps = max(1, round(updates / (replicas * size * size * (overrelax + 1))))
    return lambda: state.sweep([2.0] * sweeps, overrelax, heat), replicas * size * size * (overrelax + 1) * sweeps


def against_plain() -> None:
    torch.set_num_threads(1)
    rows = []
    for size in (64, 128):
        S = np.random.default_rng(0).normal(size=(size, size, 3))
        S /= np.linalg.norm(S, axis=2, keepdims=True)
        sweeps = max(1, round(1e6 / size**2 / 4))
        block = cpu.lanes((size, size))
        fast, updates = sweeper(size, block, 3, True)
        found = in_turns({"plain": lambda S=S, n=sweeps: plain_anneal(S, H.J, H.D, H.B, [0.5] * n, 3), "fast": fast})
        plain_rate = [4 * sweeps * size**2 / t / 1e6 for t in found["plain"]]
        fast_rate = [updates / t / 1e6 for t in found["fast"]]
        rows.append((f"{size} x {size}", spread(plain_rate, digits=1), spread(fast_rate),
                     f"{median(fast_rate) / median(plain_rate):.0f}"))
    table("Annealer against the obvious numba code: million mixed updates/s, one core",
          ("lattice", "plain", "fast", "ratio"), rows)


def cost_with_size() -> None:
    torch.set_num_threads(1)
    rows = []
    for size in (32, 48, 64, 128, 256, 512):
        block = cpu.lanes((size, size))
        works = {name: sweeper(size, block, *kind)
                 for name, kind in (("heat", (0, True)), ("over", (0, False)), ("mixed", (3, True)))}
        found = in_turns({name: work for name, (work, _) in works.items()})
        rates = {name: [works[name][1] / t / 1e6 for t in times] for name, times in found.items()}
        memory = sum(a.nbytes for a in (cpu.Replicas(H, (size, size), block).S,)) / block / size**2
        rows.append((f"{size} x {size}", block, *(spread(rates[name]) for name in works),
                     f"{1e3 / median(rates['mixed']):.2f}", f"{memory:.1f}"))
    table("Cost with the lattice: million updates/s, one core", ("lattice", "replicas a block", "heat bath",
          "over-relaxation", "mixed", "ns a mixed update", "bytes a site"), rows)


def threads_and_replicas() -> None:
    rows = []
    for threads in range(1, torch.get_num_threads() + 1) if torch.get_num_threads() > 1 else (1, 2):
        torch.set_num_threads(threads)
        for replicas in (4, 16, 64):
            work, updates = sweeper(128, replicas, 3, True, 4e7)
            rates = [updates / t / 1e6 for t in in_turns({"": work}, 3)[""]]
            rows.append((threads, replicas, spread(rates), f"{median(rates) / threads:.0f}"))
    table("Threads and replicas, 128 x 128: million mixed updates/s", ("threads", "replicas", "all", "a thread"), rows)


def descent() -> None:
    torch.set_num_threads(1)
    rows = []
    for sweeps in (200, 1000):
        annealing = Annealing(H, (128, 128), 8, seed=1, device="cpu",
                              schedule=Schedule(T_start=1.0, sweeps=sweeps, overrelax=3)).run(sweeps)
        spins = annealing.spins.double()
        seconds = []
        for k in range(len(spins)):
            start = time.perf_counter()
            relaxed = relax(H, spins[k], tolerance=1e-6, device="cpu")
            seconds.append(time.perf_counter() - start)
            assert H.torque(relaxed).max() <= 1e-6
        start = time.perf_counter()
        relax(H, spins, tolerance=1e-6, device="cpu")
        rows.append((f"T = 0.01 J after {sweeps} mixed sweeps", spread(seconds, 1e3, 1),
                     f"{1e3 * (time.perf_counter() - start) / len(spins):.1f}"))
    table("Descent of 128 x 128 to a torque of 1e-6 J: ms a state, one core",
          ("from", "one at a time", "eight together"), rows)


def time_to_target(n: int = 96) -> None:
    cores = torch.get_num_threads()
    rows = []
    for sweeps in (250, 500, 1000):
        schedule = Schedule(T_start=1.0, sweeps=sweeps, overrelax=3)
        start = time.perf_counter()
        spins = anneal(H, (128, 128), n, seed=5, device="cpu", schedule=schedule)
        seconds = (time.perf_counter() - start) / n
        energy = H.energy_per_spin(spins.double()).numpy()
        p = float((energy <= TARGET).mean())
        need = f"{seconds * np.log(0.01) / np.log1p(-p):.1f}" if 0 < p < 1 else "-"
        rows.append((sweeps, f"{1e3 * seconds:.0f}", f"{energy.min():.6f}", f"{energy.mean():.6f}", f"{p:.2f}", need))
    table(f"Time to E/N <= {TARGET} J (128 x 128) with 99 % certainty, {cores} threads, {n} anneals each",
          ("mixed sweeps", "ms a state", "best", "mean", "share that arrives", "s to 99 %"), rows)


if __name__ == "__main__":
    print(machine())
    all_threads = torch.get_num_threads()
    against_plain()
    cost_with_size()
    torch.set_num_threads(all_threads)
    threads_and_replicas()
    descent()
    torch.set_num_threads(all_threads)
    time_to_target()
    print(f"\nLargest memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
