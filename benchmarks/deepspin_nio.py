"""Train DeepSPIN on first-principles frames of NiO, hold frames out, and say the errors and the learning curve.

    python benchmarks/deepspin_nio.py FOLDER [--frames 48] [--steps 20000] [--curve 12 24 48] [--threads 1]

FOLDER is examples/spin/data_reformat/data_0 of github.com/deepmodeling/deepmd-kit (60 frames; LGPL-3.0, so it is not
here). Twelve frames, drawn by a fixed seed, are held out always. Trainings are kept in the store. Time is that of the
processor, so that other work on the machine does not count.
"""

import argparse
import time

import numpy as np
import torch

from evae_core.deepspin.data import read_deepmd
from evae_core.deepspin.model import ModelSpec
from evae_core.deepspin.training import TrainSpec, describe, train

HELD_OUT = 12
SCALE = 0.4 / 1.2737  # angstrom/mu_B of Ni: virtual atoms 0.4 angstrom from theirs


def model_spec(names: tuple[str, ...]) -> ModelSpec:
    """The model that the figures are for."""
    return ModelSpec(names, tuple(SCALE if name == "Ni" else 0.0 for name in names))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--steps", type=int, default=20000)
    parser.add_argument("--curve", type=int, nargs="*", default=[])
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    frames = read_deepmd(arguments.folder)
    order = np.random.default_rng(0).permutation(len(frames)).tolist()
    held_out = frames[order[-HELD_OUT:]]
    for count in arguments.curve or [arguments.frames]:
        if not 1 <= count <= len(frames) - HELD_OUT:
            parser.error(f"frames must be 1 to {len(frames) - HELD_OUT}, got {count}")
        spec = TrainSpec(steps=arguments.steps, segments=10)
        start = time.process_time()
        trained = train(frames[order[:count]], held_out, model_spec(frames.names), spec,
                        report=lambda line: print(line, flush=True))
        print(f"{count} frames, {arguments.steps} steps, {time.process_time() - start:.0f} s of processor time")
        print("  training:", describe(trained.measured["train"][-1]))
        print("  held out:", describe(trained.measured["validation"][-1]), flush=True)


if __name__ == "__main__":
    main()
