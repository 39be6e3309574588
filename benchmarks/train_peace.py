"""Train the networks that come with evae_core.peace, for the optics of the published set-up.

    python benchmarks/train_peace.py [members [steps]]      # default: 2 members of "peace" and of "plain", 12000 steps

About 13 ms a step on one core of a busy Xeon. Finished members are kept in build/peace and not trained again; the
ensembles are written to evae_core/peace/trained when all are there.
"""

import sys
import time
from pathlib import Path

from evae_core import peace

ROOT = Path(__file__).resolve().parents[1]
WEIGHT = {"peace": 1.0, "plain": 0.0}  # of the physics term


def member(name: str, seed: int, steps: int):
    """One network, from build/peace or trained."""
    path = ROOT / "build" / "peace" / f"{name}-{steps}-{seed}.safetensors"
    if path.is_file():
        return peace.load(path)[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()

    def report(step, parts):
        words = ", ".join(f"{key} {value:.4f}" for key, value in parts.items())
        print(f"{name}, seed {seed}, step {step}: {words}; {time.perf_counter() - start:.0f} s", flush=True)

    net = peace.train(peace.Optics(), peace.Training(steps=steps, physics=WEIGHT[name], seed=seed), report=report)
    peace.save([net], path)
    return net


def main(members: int = 2, steps: int = 12_000) -> None:
    # All seeds of one kind after the other would leave nothing to compare if it is stopped half-way
    nets = {seed: {name: member(name, seed, steps) for name in WEIGHT} for seed in range(members)}
    folder = ROOT / "evae_core" / "peace" / "trained"
    folder.mkdir(exist_ok=True)
    for name in WEIGHT:
        peace.save([nets[seed][name] for seed in range(members)], folder / f"{name}.safetensors")
        print(folder / f"{name}.safetensors")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:3]))
