"""DeepSPIN beside deepmd-kit's own spin model: the same frames of NiO, the same processor time, one thread each.

    python benchmarks/peer_deepmd.py FOLDER --dp PATH [--seconds 300] [--ours] [--published] [--small]

FOLDER as in deepspin_nio.py, whose 48 and 12 frames are taken. PATH is the program dp of an environment of its own
(deepmd-kit pins its torch): python -m venv peer; peer/bin/pip install "deepmd-kit[torch]==3.2.0"; then peer/bin/dp.
``--published`` is the architecture of deepmd-kit's example for these frames, ``--small`` one with our widths; at least
one of the three. Two short runs tell what a step costs; then the learning rate falls to its end within the time.
Errors are those on the 12 frames at the end. Processor time, so that other work on the machine does not count; neither
do start-up, reading and checks of data.
"""

import argparse
import json
import os
import resource
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from deepspin_nio import HELD_OUT, SCALE, model_spec
from measure import machine, table

from evae_companion.deepspin.data import Frames, read_deepmd, write_deepmd
from evae_companion.deepspin.model import DeepSpin
from evae_companion.deepspin.potential import neighbours_of
from evae_companion.deepspin.training import Step, TrainSpec, schedule, train
from evae_companion.store.store import Store

PILOT = 10, 60  # steps of the two short runs
ONE_THREAD = {"OMP_NUM_THREADS": "1", "DP_INTRA_OP_PARALLELISM_THREADS": "1", "DP_INTER_OP_PARALLELISM_THREADS": "1"}
SIZES = {"published": {"neuron": [25, 50, 100], "axis_neuron": 16, "fitting": [240, 240, 240]},
         "small": {"neuron": [8, 16], "axis_neuron": 4, "fitting": [64, 64]}}


def settings(size: str, folder: Path, steps: int) -> dict:
    """deepmd-kit's input: its example's numbers, but for the widths of ``size`` and a rate that ends with ``steps``."""
    widths = SIZES[size]
    return {
        "model": {"type_map": ["Ni", "O"], "spin": {"use_spin": [True, False], "virtual_scale": [SCALE]},
                  "descriptor": {"type": "se_e2_a", "sel": [60, 60], "rcut_smth": 5.4, "rcut": 5.6, "seed": 1,
                                 "neuron": widths["neuron"], "axis_neuron": widths["axis_neuron"], "resnet_dt": False},
                  "fitting_net": {"neuron": widths["fitting"], "resnet_dt": True, "seed": 1}},
        "learning_rate": {"type": "exp", "decay_steps": max(steps // 200, 1), "start_lr": 1e-3, "stop_lr": 3.51e-8},
        "loss": {"type": "ener_spin", "start_pref_e": 0.02, "limit_pref_e": 1, "start_pref_fr": 1000,
                 "limit_pref_fr": 1, "start_pref_fm": 1000, "limit_pref_fm": 1, "start_pref_v": 0, "limit_pref_v": 0},
        "training": {"training_data": {"systems": [str(folder / "train")], "batch_size": 1},
                     "validation_data": {"systems": [str(folder / "held_out")], "batch_size": HELD_OUT, "numb_btch": 1},
                     "numb_steps": steps, "seed": 10, "disp_file": "lcurve.out", "disp_freq": max(steps // 10, 1),
                     "save_freq": steps}}


def run_theirs(dp: str, size: str, folder: Path, steps: int) -> tuple[float, dict]:
    """(processor seconds, errors on the held-out frames) of a training by deepmd-kit."""
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "input.json").write_text(json.dumps(settings(size, folder, steps)))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([dp, "--pt", "train", "input.json"], cwd=name, capture_output=True, text=True,
                              env={**os.environ, **ONE_THREAD, "PYTHONPATH": ""})
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise RuntimeError(f"{dp} train failed:\n{done.stderr[-3000:]}")
        lines = (Path(name) / "lcurve.out").read_text().splitlines()
    columns = next(line for line in lines if line.startswith("#")).lstrip("# ").split()
    last = dict(zip(columns, lines[-1].split(), strict=True))
    if not lines[-1].strip() or int(float(last["step"])) < 0.9 * steps:
        raise RuntimeError(f"lcurve.out ends at step {last['step']} of {steps}")
    return (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime,
            {"energy": float(last["rmse_e_val"]), "force": float(last["rmse_fr_val"]),
             "force_mag": float(last["rmse_fm_val"])})


def theirs(dp: str, size: str, folder: Path, seconds: float) -> list:
    """A row of the table."""
    short, long = (run_theirs(dp, size, folder, steps)[0] for steps in PILOT)
    each = (long - short) / (PILOT[1] - PILOT[0])
    steps = max(int(seconds / each) // 10 * 10, 10)
    spent, errors = run_theirs(dp, size, folder, steps)
    return row(f"deepmd-kit, {size}, batch 1", 1 / each, steps, spent, errors)


def ours(train_on: Frames, held_out: Frames, seconds: float) -> list:
    """A row of the table."""
    spec = TrainSpec(steps=200, segments=1)
    model = DeepSpin(model_spec(train_on.names), 0)
    tables = neighbours_of(model, train_on)
    model.normalise(train_on, tables)
    step, (order, signs) = Step(model, train_on, spec, tables), schedule(spec, len(train_on))
    marks = []
    for number in range(PILOT[1]):
        if number in (PILOT[0], PILOT[1] - 1):
            marks.append(time.process_time())
        step(order[number], signs[number], spec.rate)
    each = (marks[1] - marks[0]) / (PILOT[1] - 1 - PILOT[0])
    steps = int(seconds / each)
    with tempfile.TemporaryDirectory() as store:  # not the reader's: a training that is there would cost nothing
        start = time.process_time()
        trained = train(train_on, held_out, model_spec(train_on.names), TrainSpec(steps=steps, segments=1),
                        Store(store))
        spent = time.process_time() - start
        return row(f"here, batch {spec.batch}", 1 / each, steps, spent, trained.measured["validation"][-1])


def row(name: str, rate: float, steps: int, spent: float, errors: dict) -> list:
    return [name, f"{rate:.1f}", steps, f"{spent:.0f}", f"{1e3 * errors['energy']:.2f}", f"{1e3 * errors['force']:.1f}",
            f"{1e3 * errors['force_mag']:.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--dp", default="dp")
    parser.add_argument("--seconds", type=float, default=300.0)
    for name in ("ours", *SIZES):
        parser.add_argument(f"--{name}", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    frames = read_deepmd(arguments.folder)
    order = np.random.default_rng(0).permutation(len(frames)).tolist()
    train_on, held_out = frames[order[:-HELD_OUT]], frames[order[-HELD_OUT:]]
    print(machine(), flush=True)
    rows = [ours(train_on, held_out, arguments.seconds)] if arguments.ours else []
    with tempfile.TemporaryDirectory() as name:
        for part, words in ((train_on, "train"), (held_out, "held_out")):
            write_deepmd(part, Path(name) / words)
        rows += [theirs(arguments.dp, size, Path(name), arguments.seconds)
                 for size in SIZES if getattr(arguments, size)]
    if not rows:
        parser.error("nothing to run: give --ours, --published or --small")
    table(f"NiO, 48 frames, errors on {HELD_OUT} held-out ones after {arguments.seconds:.0f} s of processor time",
          ["", "steps per second", "steps", "seconds, start-up included", "E (meV/atom)", "F (meV/Å)",
           "F_mag (meV/µ_B)"], rows)


if __name__ == "__main__":
    main()
