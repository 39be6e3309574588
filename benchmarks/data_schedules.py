"""Annealing schedules judged by what the paper says of its data: one table, written to benchmarks/DATA.md.

    python benchmarks/data_schedules.py [--states 48] [--write]

The paper's lattice. Metropolis, of which no other code here knows, is the check that the heat bath's dynamics are not
what makes the data what they are: single spins, proposals uniform on the sphere, in float64.
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
from numba import njit, prange

from evae_companion.analysis.order import order
from evae_companion.data_specs import data_spec
from evae_companion.dataset import SAME, rest_energies
from evae_companion.experiments.report_tables import order_table
from evae_companion.presets import PRESETS
from evae_core import Schedule, anneal

PAPER = data_spec(PRESETS["desktop"])
SCHEDULES = {
    "**1000 heat bath, 100 at T = 0** (the data)": PAPER.schedule,
    "300 heat bath, 100 at T = 0": Schedule(sweeps=300, overrelax=0, quench=100, tolerance=0.1),
    "1000 heat bath, 10 at T = 0": Schedule(sweeps=1000, overrelax=0, quench=10, tolerance=0.3),
    "300 heat bath, over-shooting descent to 0.3 J": Schedule(sweeps=300, overrelax=0, tolerance=0.3),
    "300 heat bath, to rest": Schedule(sweeps=300, overrelax=0),
    "300 heat bath + 1 over-relaxation, to rest": Schedule(sweeps=300, overrelax=1),
    "1000 heat bath + 3 over-relaxation, to rest": Schedule(sweeps=1000, overrelax=3),
}


@njit(parallel=True, cache=True)
def metropolis(S, J, D, B, temperatures, seed):
    """Sweeps of all spins (n, Ny, Nx, 3) in place, site by site; T = 0 accepts what does not raise the energy."""
    n, Ny, Nx = S.shape[:3]
    for r in prange(n):
        np.random.seed(seed + r)  # noqa: NPY002
        for T in temperatures:
            for y in range(Ny):
                for x in range(Nx):
                    right, left = S[r, y, (x + 1) % Nx], S[r, y, (x - 1) % Nx]
                    up, down = S[r, (y + 1) % Ny, x], S[r, (y - 1) % Ny, x]
                    hx = J * (right[0] + left[0] + up[0] + down[0]) - D * (up[2] - down[2])
                    hy = J * (right[1] + left[1] + up[1] + down[1]) + D * (right[2] - left[2])
                    hz = (J * (right[2] + left[2] + up[2] + down[2])
                          + D * (up[0] - down[0] - right[1] + left[1]) + B)
                    z = 2 * np.random.random() - 1  # noqa: NPY002
                    phi, q = 2 * math.pi * np.random.random(), math.sqrt(1 - z * z)  # noqa: NPY002
                    a, b = q * math.cos(phi), q * math.sin(phi)
                    s = S[r, y, x]
                    cost = hx * (s[0] - a) + hy * (s[1] - b) + hz * (s[2] - z)
                    if cost <= 0 or (T > 0 and np.random.random() < math.exp(-cost / T)):  # noqa: NPY002
                        s[0], s[1], s[2] = a, b, z


def by_metropolis(n: int, sweeps: int) -> torch.Tensor:
    """n states annealed by Metropolis sweeps, then quenched as the data are."""
    H, start = PAPER.hamiltonian, np.random.default_rng(0).normal(size=(n, *PAPER.shape, 3))
    start /= np.linalg.norm(start, axis=-1, keepdims=True)
    metropolis(start, H.J, H.D, H.B, np.linspace(1.2, 0.01, sweeps), 1)
    spins = torch.from_numpy(start).permute(0, 3, 1, 2).float().contiguous()
    for _ in range(PAPER.schedule.quench):  # both sublattices in turn, each spin into its field
        for colour in range(2):
            turned = torch.nn.functional.normalize(H.field(spins), dim=1)
            y, x = np.indices(PAPER.shape)
            spins = torch.where(torch.from_numpy((y + x) % 2 == colour), turned, spins)
    return spins


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--states", type=int, default=48)
    parser.add_argument("--metropolis", type=int, default=5000, help="sweeps of Metropolis; 0 leaves it out")
    parser.add_argument("--write", action="store_true", help="write benchmarks/DATA.md")
    chosen = parser.parse_args()
    H, sets, lines = PAPER.hamiltonian, {}, []

    def take(name: str, spins: torch.Tensor, seconds: float) -> None:
        sets[name] = order(H, spins)
        rest = rest_energies(H, spins)
        lines.append(f"| {name} | {seconds / chosen.states:.3f} | {1e4 * (rest.mean() - PAPER.lowest):.1f} | "
                     f"{(rest < PAPER.lowest + SAME).sum()} of {chosen.states} |")
        print(lines[-1], flush=True)

    for name, schedule in SCHEDULES.items():
        begin = time.process_time()
        spins = anneal(H, PAPER.shape, chosen.states, seed=5, device="cpu", schedule=schedule)
        take(name, spins, time.process_time() - begin)
    if chosen.metropolis:
        by_metropolis(1, 1)  # compiled before it is timed
        begin = time.process_time()
        spins = by_metropolis(chosen.states, chosen.metropolis)
        take(f"{chosen.metropolis} Metropolis, 100 at T = 0", spins, time.process_time() - begin)
    cells = [line.strip("| ").split(" | ") for line in order_table(sets, PAPER.lowest).splitlines()]
    rows = [["schedule", *(row[0] for row in cells[2:])], ["---"] * (len(cells) - 1),
            *([name, *(row[k + 1] for row in cells[2:])] for k, name in enumerate(sets))]
    text = "\n".join([
        "# Data: schedules judged by the paper's words", "",
        f"`python benchmarks/data_schedules.py --states {chosen.states} --metropolis {chosen.metropolis} --write`:",
        f"{chosen.states} states of each, 128 x 128, D = 0.3, B = 0.05; the lowest state known has",
        f"E/N = {PAPER.lowest} J. Of its data the paper says: no copies, locally stable, domains, truncated or",
        "stretched skyrmions, no ground state.", "",
        *("| " + " | ".join(row) + " |" for row in rows), "",
        "Where they come to rest (torque 1e-3 J), and seconds of one core for each state:", "",
        "| schedule | s | E/N at rest above the lowest known (1e-4 J) | come to rest in it |", "|---|---|---|---|",
        *lines, ""])
    print(text)
    if chosen.write:
        Path(__file__).with_name("DATA.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
