"""One gamma sweep at the paper's lattice for each of several training schedules, as rows of SCHEDULES.md.

    python benchmarks/training_schedules.py --first 6000 --first-rate 1e-3 --rate 1e-3 --steps 500 --seed 10

Stages lie in the user's store; a second call goes on where the first was stopped.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

from evae_companion.data_specs import data_spec
from evae_companion.presets import load_preset
from evae_companion.sweeps import train_stages
from evae_companion.trained import history_table
from evae_companion.training_plans import BETA
from evae_core.losses import energy_per_spin
from evae_core.training.stages import stage_schedule

GAMMAS = (100.0, 500.0, 1e3, 2e3, 5e3, 1e4, 1e5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=6000, help="steps of the first stage")
    parser.add_argument("--first-rate", type=float, default=1e-3, help="learning rate of the first stage")
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate of every later stage")
    parser.add_argument("--steps", type=int, default=500, help="steps of each of them")
    parser.add_argument("--seed", type=int, default=10, help="of the training; the data are those of seed 0")
    asked = parser.parse_args()
    p = replace(load_preset("desktop"), first_rate=asked.first_rate, learning_rate=asked.rate, first_steps=asked.first,
                gamma_steps=asked.steps)
    run = train_stages(stage_schedule(p, BETA, asked.seed, GAMMAS), data_spec(p), report=print)
    table, H, shape = history_table(run), run[0].data.hamiltonian, run[0].data.shape
    print("| γ | L_RC | L_KL | X_out: E/N, k-space MSE | X'_out: E/N, k-space MSE | X'_out at rest |")
    print("|---|---|---|---|---|---|")
    for k, gamma in enumerate(table["gamma"]):
        of = [f"{1e4 * (energy_per_spin(H, table[energy], shape)[k] - p.lowest):.2f}, "
              f"{table[mse][k] / table['data_kspace_mse']:.2g}"
              for energy, mse in (("energy", "kspace_mse_x_out"), ("energy_generated", "kspace_mse"))]
        rest, charges = table["rest_generated"][k] - p.lowest, abs(table["charge_generated"][k])
        print(f"| {gamma:g} | {table['reconstruction'][k]:.2f} | {table['kl'][k]:.0f} | {of[0]} | {of[1]} | "
              f"{1e4 * rest.min():.2f} to {1e4 * rest.max():.2f}, {charges.min():.0f} to {charges.max():.0f} |")


if __name__ == "__main__":
    main()
