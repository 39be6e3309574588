"""Do verdicts depend on the seeds, on the compiled steps, or on the processor? The score card, several times.

    python benchmarks/verdict_stability.py measure CARDS.json --preset laptop --seeds 6 --sets 2
    EVAE_STORE=/elsewhere CXX=false python benchmarks/verdict_stability.py measure PLAIN.json --preset laptop
    python benchmarks/verdict_stability.py compare CARDS.json PLAIN.json ...

``measure`` trains what the store lacks, and judges every claim by disjoint sets of seeds, each seed on a data set of
its own. The environment chooses the code path: ``CXX=false`` compiles nothing, so that plain steps are taken; the
variables of the Makefile's ``AVX2`` choose another processor's instructions. Stages do not name the code path: give
each its own store. ``compare`` prints every card's verdicts, and for how many claims each agrees with the first.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from evae_companion import claims
from evae_companion import training_plans as plans
from evae_companion.analysis.order import order
from evae_companion.data_specs import data_spec
from evae_companion.dataset import load_data
from evae_companion.experiments import collapse, confined, latent_interpolation, noise_reduction
from evae_companion.presets import PRESETS, RunPreset
from evae_companion.store.serialization import atomic_write
from evae_companion.sweeps import train_sweeps
from evae_companion.trained import history_table

COPIES = 200  # states of every data set among which copies are counted, as in notebook 1


def measure(p: RunPreset, device: str = "cpu") -> dict[str, Any]:
    """Everything that the claims are judged by, for every seed of the preset."""
    seeds = range(p.seeds)
    sweeps = {name: sweep for name, sweep in plans.ladders(p).items() if name != "start"}
    climbed = train_sweeps([stages for stages, _ in sweeps.values()], [data for _, data in sweeps.values()],
                           device=device, report=print)
    runs = dict(zip(sweeps, climbed, strict=True))

    def tables(name: str) -> list[dict[str, Any]]:
        return [history_table(runs[f"{name}, seed {k}"]) for k in seeds]

    samples = {f"{ny} x {nx}": [confined.run(p, runs[f"confined {ny} x {nx}, seed {k}"][-1], device) for k in seeds]
               for ny, nx in p.confined}
    return {
        "copies": [order(data_spec(p).hamiltonian, load_data(data_spec(p, k)).train[:COPIES])["redundant"] / COPIES
                   for k in seeds],
        "beta": tables("beta"), "gamma": {beta: tables(f"gamma, beta {beta:g}") for beta in p.gamma_betas},
        "noise": [noise_reduction.judged(one) for one in noise_reduction.run_seeds(p, device=device)],
        "walks": [one.paths for one in latent_interpolation.run_seeds(p, device=device)],
        "collapse": collapse.run(p, device), "confined": samples}


def judge(p: RunPreset, found: dict[str, Any], seeds: list[int]) -> list[claims.Result]:
    """The score card of these seeds alone."""
    one, names = found["collapse"], list(found["collapse"].runs)
    mine = [name for name in names if int(name.rpartition(" ")[2]) in seeds]
    of = {beta: [one.final[name] | one.runs[name] for name in mine if name.startswith(f"β = {beta:g},")]
          for beta in p.gamma_betas}
    apart = [one.distances[a, b] for a, b in combinations(seeds, 2)]
    return [*claims.dataset([{"redundant": found["copies"][k]} for k in seeds]),
            *claims.beta_sweep([found["beta"][k] for k in seeds]),
            *claims.gamma_sweep({beta: [of_beta[k] for k in seeds] for beta, of_beta in found["gamma"].items()}),
            *claims.noise_reduction([found["noise"][k] for k in seeds]),
            *claims.latent_interpolation([found["walks"][k] for k in seeds]), *claims.collapse(of, apart),
            *claims.confined({name: [of_sample[k] for k in seeds] for name, of_sample in found["confined"].items()})]


def compare(cards: dict[str, list[claims.Result]]) -> str:
    """A Markdown table of all verdicts, and the agreement of every card with the first."""
    first = next(iter(cards))
    lines = ["| claim | " + " | ".join(cards) + " |", "|---" * (1 + len(cards)) + "|"]
    for k, result in enumerate(cards[first]):
        lines.append(f"| {result.id} | " + " | ".join(card[k].verdict for card in cards.values()) + " |")
    for name, card in list(cards.items())[1:]:
        same, both = claims.agreement(cards[first], card)
        lines.append(f"\n{name}: the same verdict as {first} for {same} of {both} claims")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure")
    measuring.add_argument("file", type=Path)
    measuring.add_argument("--preset", default="laptop")
    measuring.add_argument("--seeds", type=int, default=3, help="trainings, from seed 0 on")
    measuring.add_argument("--sets", type=int, default=1, help="disjoint sets of equally many of them")
    comparing = commands.add_parser("compare")
    comparing.add_argument("files", type=Path, nargs="+")
    given = parser.parse_args()
    if given.command == "measure":
        p = replace(PRESETS[given.preset], seeds=given.seeds)
        found = measure(p)
        cards = {f"seeds {', '.join(map(str, some))}": judge(p, found, some.tolist())
                 for some in np.array_split(np.arange(given.seeds), given.sets)}
        text = json.dumps({name: [asdict(result) for result in card] for name, card in cards.items()}, indent=1)
        atomic_write(given.file, text.encode())
    else:
        cards = {f"{path.stem}: {name}": [claims.Result.parsed(one) for one in card]
                 for path in given.files for name, card in json.loads(path.read_text(encoding="utf-8")).items()}
    print(compare(cards))


if __name__ == "__main__":
    main()
