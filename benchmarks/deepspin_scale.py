"""Time and memory of DeepSPIN against the number of atoms: one evaluation of energy, forces and magnetic forces.

    python benchmarks/deepspin_scale.py [--repeat 5 8 11 17] [--rows 1000]

A bcc crystal with random moments and untrained weights (what it costs does not depend on them), float32, one thread.
Time is the processor's; memory is the process's peak, so sizes should rise.
"""

import argparse
import resource
import time

import numpy as np
import torch

from evae_companion.deepspin.data import Frames
from evae_companion.deepspin.model import DeepSpin, ModelSpec
from evae_companion.deepspin.potential import evaluate, neighbours_of


def bcc(repeat: int, a: float = 2.87, seed: int = 0, shaken: float = 0.05) -> Frames:
    """2 repeat^3 atoms, moved by ``shaken`` angstrom, with moments of 2.2 mu_B in all directions."""
    rng = np.random.default_rng(seed)
    steps = np.stack(np.meshgrid(*[np.arange(repeat)] * 3, indexing="ij"), -1).reshape(-1, 3)
    positions = a * (steps[:, None] + np.array([[0, 0, 0], [0.5, 0.5, 0.5]])).reshape(-1, 3)
    spins = rng.standard_normal(positions.shape)
    spins *= 2.2 / np.linalg.norm(spins, axis=1, keepdims=True)
    return Frames(("Fe",), torch.zeros(len(positions), dtype=torch.int64), repeat * a * np.eye(3)[None],
                  (positions + shaken * rng.standard_normal(positions.shape))[None], spins[None])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, nargs="+", default=[5, 8, 11, 17])
    parser.add_argument("--rows", type=int, default=1000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = DeepSpin(ModelSpec(("Fe",), (0.3 / 2.2,), cutoff=5.0, smooth_from=4.0))
    small = bcc(3)
    model.normalise(small, neighbours_of(model, small))
    print("atoms  search (us/atom)  evaluation (us/atom)  peak memory (MB)")
    for repeat in arguments.repeat:
        frames = bcc(repeat)
        start = time.process_time()
        tables = neighbours_of(model, frames)
        searched = time.process_time()
        evaluate(model, frames, neighbours=tables, dtype=torch.float32, rows=arguments.rows)
        done = time.process_time()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{frames.atoms:5d}  {1e6 * (searched - start) / frames.atoms:16.0f}  "
              f"{1e6 * (done - searched) / frames.atoms:20.0f}  {peak:16.0f}", flush=True)


if __name__ == "__main__":
    main()
