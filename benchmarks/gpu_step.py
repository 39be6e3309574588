"""A step of gpu_quarter_hour.sh: is the captured training step right, and how many ms does it take?

    python benchmarks/gpu_step.py

Right means, stated before the run: over ten steps the losses of the captured step are those of the same steps
uncaptured, and these are the CPU's in float32 (same weights, batches and noise), to TOLERANCES; two captured runs
give the same bytes. A difference is |a - b| / (|b| + 0.01), the largest of L_RC, L_KL and L_H.
"""

import statistics
import sys
from contextlib import contextmanager

import gpu_bare as bare
import numpy as np
import torch
from gpu_bare import DEVICE, REHEARSAL
from torch.nn import functional as F

from evae_core.hamiltonian import Hamiltonian
from evae_core.training import Stage
from evae_core.training.batch_schedule import batch_schedule
from evae_core.training.cuda_graph import GraphLoop, upload
from evae_core.training.step import PRECISION, make_step, new_model

PRECISIONS = ("float32",) if REHEARSAL else ("float32", "tf32", "bfloat16")
SIZES, BATCHES, RUN = ((16,), (4,), 0.02) if REHEARSAL else ((48, 128), (32, 100), 0.3)  # RUN: seconds of a timed run
SYSTEMS = {16: Hamiltonian(D=0.6, B=0.2), 32: Hamiltonian(D=0.6, B=0.2), 48: Hamiltonian(D=0.6, B=0.2),
           128: Hamiltonian(D=0.3, B=0.05)}
STEPS = 3 if REHEARSAL else 10
# Largest differences at the first and at the last of them, each step's gradients being those of slightly other weights.
TOLERANCES = {"float32": (1e-4, 1e-2), "tf32": (1e-2, 5e-2), "bfloat16": (5e-2, 2e-1)}


@torch.no_grad()
def states(size: int, n: int) -> torch.Tensor:
    """Unit spins (n, 3, size, size) nearly at rest: random ones, turned to their field, a sublattice at a time."""
    H = SYSTEMS[size]
    generator = torch.Generator(DEVICE).manual_seed(size)
    spins = F.normalize(torch.randn(n, 3, size, size, device=DEVICE, generator=generator), dim=1)
    y, x = torch.meshgrid(*[torch.arange(size, device=DEVICE)] * 2, indexing="ij")
    for _ in range(100):
        for parity in (0, 1):
            spins = torch.where((x + y) % 2 == parity, F.normalize(H.field(spins), dim=1), spins)
    return spins


def loop(size: int, spins: torch.Tensor, batch: int, precision: str, steps: int, device: str = DEVICE) -> GraphLoop:
    """A stage from random weights on ``spins`` (float16, on the device)."""
    stage = Stage(beta=1e-6, gamma=1.0, steps=steps, batch=batch, learning_rate=1e-3, final_rate=1.0, translate=False,
                  seed=0)
    ready = make_step(size, SYSTEMS[size], stage.beta, stage.gamma, device, model=new_model(size, SYSTEMS[size], 0),
                      precision=precision, fused=False)
    return GraphLoop(ready, spins, batch_schedule(stage, len(spins), (size, size), np.random.default_rng(0)))


def no_check(losses: torch.Tensor) -> None:
    pass


def apart(one: torch.Tensor, other: torch.Tensor) -> list[float]:
    """The largest differences of the losses at the first and at the last step."""
    difference = ((one - other).abs() / (other.abs() + 0.01))[:, :3].amax(1)
    return [float(difference[0]), float(difference[-1])]


@contextmanager
def same_noise():
    """Within it torch.randn draws on the CPU and copies, so that both devices get the same numbers."""
    kept, own = torch.randn, torch.Generator().manual_seed(1)
    torch.randn = lambda shape, generator=None, device=None, dtype=None: kept(shape, generator=own).to(device)
    try:
        yield
    finally:
        torch.randn = kept


def agreement(size: int, spins: torch.Tensor, batch: int) -> dict:
    """Captured against uncaptured, and uncaptured against the CPU, in every precision."""
    with same_noise():
        cpu = loop(size, spins.cpu(), batch, PRECISION["cpu"], STEPS, "cpu").run(False, no_check)
    rows = {}
    for precision in PRECISIONS:
        runs = [loop(size, spins, batch, precision, STEPS).run(not REHEARSAL, no_check) for _ in range(2)]
        eager = loop(size, spins, batch, precision, STEPS).run(False, no_check)
        with same_noise():
            noise = loop(size, spins, batch, precision, STEPS).run(False, no_check)
        row = {"from_uncaptured": apart(runs[0], eager), "from_cpu": apart(noise, cpu),
               "tolerance": TOLERANCES[precision], "same_bytes_twice": torch.equal(*runs),
               "same_bytes_as_uncaptured": torch.equal(runs[0], eager)}
        within = all(a <= b for key in ("from_uncaptured", "from_cpu") for a, b in zip(row[key], row["tolerance"],
                                                                                     strict=True))
        rows[precision] = row | {"right": within and row["same_bytes_twice"]}
    return rows


def captured(there: GraphLoop):
    """What takes one captured step, over and over through the schedule, whose steps are taken once before."""
    if REHEARSAL:
        replay = there.advance
    else:
        here, side = torch.cuda.current_stream(), torch.cuda.Stream()
        side.wait_stream(here)
        with torch.cuda.stream(side):
            there.run(False, no_check)
        here.wait_stream(side)
        there.number.zero_()
        replay = there.capture()
    count, done = len(there.rates), 0

    def go():
        nonlocal done
        if done % count == 0:
            there.number.zero_()
        done += 1
        replay()
    return go


def ms_a_step(go, steps: int) -> float:
    return 1e3 * bare.seconds(lambda: [go() for _ in range(steps)]) / steps


def time_step(size: int, spins: torch.Tensor, batch: int, precision: str, mode: str = "graph") -> dict:
    """Median ms of a step over five runs of about RUN seconds, with the least and the most."""
    there = loop(size, spins, batch, precision, 4)
    go = captured(there) if mode == "graph" else lambda: there.step.update(there_batch)
    there_batch = F.normalize(spins[:batch].float(), dim=1)
    ms_a_step(go, 3)
    steps = int(min(1000, max(2, 1e3 * RUN / ms_a_step(go, 3))))
    runs = [ms_a_step(go, steps) for _ in range(5)]
    return {"size": size, "batch": batch, "precision": precision, "mode": mode, "ms": statistics.median(runs),
            "least": min(runs), "most": max(runs), "steps": steps}


def main() -> int:
    bare.need_gpu()
    notes = bare.Notes("step")
    for size in SIZES:
        spins = upload(states(size, 2 * max(BATCHES)), torch.device(DEVICE))
        notes(f"agreement {size}", agreement, size, spins, BATCHES[0])
        for batch in BATCHES:
            for precision, mode in [*((p, "graph") for p in PRECISIONS), (PRECISION[DEVICE], "eager")]:
                notes(f"{size}, batch {batch}, {precision}, {mode}", time_step, size, spins, batch, precision, mode)
    return notes.status()


if __name__ == "__main__":
    sys.exit(main())
