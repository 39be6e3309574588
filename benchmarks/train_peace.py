"""Train the networks that come with evae_companion.peace, for the optics of the published set-up.

    python benchmarks/train_peace.py [members [first [second [third]]]]     # default: 2 members of "peace" and "plain"

Each in three parts: ``first`` steps (12000) with the right scale and height, which all members share, ``second`` (6000)
with uncertain and wrong ones among them, both as perceptrons; then ``third`` (10000), in which "peace" is given back
what the law leaves unexplained and "plain" goes on as it is. About 10 ms a step on one core of a quiet Xeon, 40 ms in
the third part of "peace". Finished parts are kept in build/peace and not trained again; the ensembles are written to
evae_companion/peace/trained when all are there.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

from evae_companion import peace

ROOT = Path(__file__).resolve().parents[1]
WEIGHT = {"peace": 1.0, "plain": 0.0}  # of the physics term
ROUNDS = {"peace": 4, "plain": 0}  # in which the law's residual is given back
CERTAIN = {"scales": 0.0, "heights": 0.0, "untold": 0.0}
PARTS = {"first": {"rate": 2e-3, **CERTAIN}, "second": {"rate": 1e-3}, "third": {"rate": 1e-3}}


def part(name: str, which: str, seed: int, steps: int, start=None):
    """One network after a part, from build/peace or trained."""
    path = ROOT / "build" / "peace" / f"{name}-{seed}-{which}-{steps}.safetensors"
    if path.is_file():
        return peace.load(path)[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    begin = time.process_time()

    def report(step, parts):
        words = ", ".join(f"{key} {value:.4f}" for key, value in parts.items())
        print(f"{path.stem}, step {step}: {words}; {time.process_time() - begin:.0f} s", flush=True)

    training = peace.Training(steps=steps, physics=WEIGHT[name], seed=seed + 100 * list(PARTS).index(which),
                              **PARTS[which])
    shape = peace.Shape(rounds=0) if start is None else start.shape
    if which == "third":
        shape = replace(shape, rounds=ROUNDS[name])
    net = peace.train(peace.Optics(), training, shape, start=start, report=report)
    peace.save([net], path)
    return net


def main(members: int = 2, first: int = 12_000, second: int = 6_000, third: int = 10_000) -> None:
    # All seeds of one kind after the other would leave nothing to compare if it is stopped half-way
    nets = {}
    for seed in range(members):
        for name in WEIGHT:
            path = ROOT / "build" / "peace" / f"{name}-{seed}-second-{second}.safetensors"
            start = None if path.is_file() else part(name, "first", 0, first)
            nets[name, seed] = part(name, "third", seed, third, part(name, "second", seed, second, start))
    folder = ROOT / "evae_core" / "peace" / "trained"
    folder.mkdir(exist_ok=True)
    for name in WEIGHT:
        peace.save([nets[name, seed] for seed in range(members)], folder / f"{name}.safetensors")
        print(folder / f"{name}.safetensors")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:5]))
