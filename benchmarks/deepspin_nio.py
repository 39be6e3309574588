"""Train DeepSPIN on first-principles frames of NiO, hold frames out, and write the errors to DEEPSPIN.md.

    python benchmarks/deepspin_nio.py FOLDER [--frames 12 24 48] [--steps 4000] [--output FILE]

FOLDER is examples/spin/data_reformat/data_0 of github.com/deepmodeling/deepmd-kit (60 frames; LGPL-3.0, so it is not
here). Twelve frames, drawn by a fixed seed, are held out always. The learning curve is that of the linear fit alone;
the last row is a whole training on the last number of frames. Trainings are kept in the store. One thread; time is that
of the processor, so that other work on the machine does not count.
"""

import argparse
import platform
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from evae_companion.deepspin.data import Frames, read_deepmd
from evae_companion.deepspin.model import DeepSpin, ModelSpec
from evae_companion.deepspin.potential import evaluate
from evae_companion.deepspin.training import TrainSpec, train

HELD_OUT = 12
SCALE = 0.4 / 1.2737  # angstrom/mu_B of Ni: virtual atoms 0.4 angstrom from theirs
HEAD = """# DeepSPIN on NiO

Errors (root mean square) on {held} of {frames} first-principles frames (16 Ni, 16 O; non-collinear constrained DFT,
examples/spin/data_reformat/data_0 of deepmd-kit) that no training saw; in brackets, parts of the labels' own root mean
square (of energies, their standard deviation). Across and along: F_mag's parts across the moment (what turns it) and
along it. S -> -S: how far F_mag is from changing its sign with the moments, as the labels do; it is learned, not built
in. Linear: the fit alone, without Adam.

Written by `{command}` on {date}: {machine}, torch {torch}, one thread, seconds of the processor.

| frames | steps | E (meV/atom) | F (eV/angstrom) | F_mag (eV/mu_B) | across | along | S -> -S | time (s) |
|---|---|---|---|---|---|---|---|---|
"""
TAIL = """
The authors' tutorial (about 200 frames of NiO, 10^6 steps) ends at 0.010 meV/atom, 6.0e-4 eV/angstrom and 7.3e-4
eV/mu_B on frames of its own.
"""


def model_spec(names: tuple[str, ...]) -> ModelSpec:
    """The model that the figures are for."""
    return ModelSpec(names, tuple(SCALE if name == "Ni" else 0.0 for name in names))


def split(frames: Frames) -> tuple[Frames, Frames]:
    """(frames to train on, in an order to take the first few of; frames held out)."""
    order = np.random.default_rng(0).permutation(len(frames)).tolist()
    return frames[order[:-HELD_OUT]], frames[order[-HELD_OUT:]]


def parts(model: DeepSpin, frames: Frames) -> tuple[float, float, float]:
    """Errors of F_mag across and along the moments, in parts of the labels', and |F_mag(S) + F_mag(-S)|/2 in parts."""
    magnetic = frames.spins.norm(dim=-1, keepdim=True) > 0
    found = evaluate(model, frames).force_mags * magnetic
    wrong = found - frames.force_mags * magnetic
    axis = torch.nn.functional.normalize(frames.spins, dim=-1)
    even = (found + evaluate(model, replace(frames, spins=-frames.spins)).force_mags * magnetic) / 2

    def along(x: torch.Tensor) -> torch.Tensor:
        return (x * axis).sum(-1, keepdim=True) * axis

    def ratio(x: torch.Tensor, y: torch.Tensor) -> float:
        return float(x.norm() / y.norm())

    label = frames.force_mags * magnetic
    return ratio(wrong - along(wrong), label - along(label)), ratio(along(wrong), along(label)), ratio(even, label)


def row(training: Frames, held_out: Frames, steps: int) -> str:
    """One line of the table."""
    spec = TrainSpec(steps=steps, segments=min(steps, 4) or 1)
    trained = train(training, held_out, model_spec(training.names), spec, report=lambda line: print(line, flush=True))
    measured = trained.measured
    found = measured["validation"][-1]
    across, along, even = parts(trained.model(), held_out)
    force, mag = (f"{found[key]:.2e} ({found[key] / found[key + '_label']:.1%})" for key in ("force", "force_mag"))
    energy = f"{1e3 * found['energy']:.3f} ({found['energy'] / found['energy_label']:.0%})"
    return (f"| {len(training)} | {steps or 'linear'} | {energy} | {force} | {mag} | "
            f"{across:.1%} | {along:.1%} | {even:.2%} | {sum(measured['seconds']):.0f} |")


def processor() -> str:
    """What /proc/cpuinfo calls it, where there is one."""
    info = Path("/proc/cpuinfo")
    named = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")] \
        if info.is_file() else []
    return named[0] if named else platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--frames", type=int, nargs="+", default=[12, 24, 48])
    parser.add_argument("--steps", type=int, default=TrainSpec().steps)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("DEEPSPIN.md"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    frames = read_deepmd(arguments.folder)
    training, held_out = split(frames)
    for count in arguments.frames:
        if not 2 <= count <= len(training):
            parser.error(f"frames must be 2 to {len(training)}, got {count}")
    wanted = [*((count, 0) for count in arguments.frames), (arguments.frames[-1], arguments.steps)]
    table = [row(training[:count], held_out, steps) for count, steps in wanted]
    options = " ".join(sys.argv[2:])
    text = HEAD.format(held=HELD_OUT, frames=len(frames), command=f"python benchmarks/deepspin_nio.py FOLDER {options}"
                       .strip(), date=f"{datetime.now(UTC):%Y-%m-%d}", machine=processor(), torch=torch.__version__)
    text += "\n".join(table) + "\n" + TAIL
    arguments.output.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
