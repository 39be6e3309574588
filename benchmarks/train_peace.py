"""Train the networks that come with evae_core.peace, for the optics of the published set-up.

    python benchmarks/train_peace.py [members [first [second]]]     # default: 2 members of "peace" and of "plain"

Each in two parts: ``first`` steps (12000) with the right scale and height, which all members share, then ``second``
(6000) with uncertain and wrong ones among them. About 10 ms a step on one core of a quiet Xeon. Finished parts are
kept in build/peace and not trained again; the ensembles are written to evae_core/peace/trained when all are there.
"""

import sys
import time
from pathlib import Path

from evae_core import peace

ROOT = Path(__file__).resolve().parents[1]
WEIGHT = {"peace": 1.0, "plain": 0.0}  # of the physics term
CERTAIN = {"scales": 0.0, "heights": 0.0, "untold": 0.0}


def part(name: str, seed: int, steps: int, start=None):
    """One network after its first part (no start) or its second, from build/peace or trained."""
    path = ROOT / "build" / "peace" / f"{name}-{seed}-{'first' if start is None else 'second'}-{steps}.safetensors"
    if path.is_file():
        return peace.load(path)[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    begin = time.perf_counter()

    def report(step, parts):
        words = ", ".join(f"{key} {value:.4f}" for key, value in parts.items())
        print(f"{path.stem}, step {step}: {words}; {time.perf_counter() - begin:.0f} s", flush=True)

    options = {"rate": 2e-3, **CERTAIN} if start is None else {"rate": 1e-3}
    training = peace.Training(steps=steps, physics=WEIGHT[name], seed=seed + (0 if start is None else 100), **options)
    net = peace.train(peace.Optics(), training, start=start, report=report)
    peace.save([net], path)
    return net


def main(members: int = 2, first: int = 12_000, second: int = 6_000) -> None:
    # All seeds of one kind after the other would leave nothing to compare if it is stopped half-way
    nets = {seed: {name: part(name, seed, second, part(name, 0, first)) for name in WEIGHT}
            for seed in range(members)}
    folder = ROOT / "evae_core" / "peace" / "trained"
    folder.mkdir(exist_ok=True)
    for name in WEIGHT:
        peace.save([nets[seed][name] for seed in range(members)], folder / f"{name}.safetensors")
        print(folder / f"{name}.safetensors")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:4]))
