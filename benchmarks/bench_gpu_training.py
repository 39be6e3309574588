"""The training step on one GPU: is the captured one right, and how fast is it; under 4 minutes, JSON to a given path.

    python benchmarks/bench_gpu_training.py --json result.json

It needs Python 3.11 or newer, torch with CUDA (which brings filelock) and numpy, and this repository beside it; nothing
else. Training states come from descending random spins along their field on the GPU, not from the annealer.

Measured: whether a graph's losses are those of the same steps uncaptured, whether two runs give the same bytes, losses
after 500 steps against the plain code's in float32 with the spread of its seeds; ms a step of plain, eager, captured
and compiled + captured steps in float32, TF32 and bfloat16; two ladders at once by streams and by processes. A part
that fails is recorded with its error and the next one runs; one that no longer fits into the time is recorded as such.
"""

import argparse
import json
import platform
import statistics
import sys
import time
import traceback
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.multiprocessing as multiprocessing
from torch.nn import functional as F

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from reference_step import PlainStep  # noqa: E402  (after the package is in place)

from evae_core.hamiltonian import Hamiltonian  # noqa: E402
from evae_core.training import Stage, cuda_graph, step  # noqa: E402
from evae_core.training.batch_schedule import RESTARTS, batch_schedule  # noqa: E402
from evae_core.training.cuda_graph import GraphLoop, upload  # noqa: E402
from evae_core.training.step import make_step, new_model, numerics  # noqa: E402

PRECISIONS = ("float32", "tf32", "bfloat16")
SYSTEMS = {64: Hamiltonian(D=0.6, B=0.2), 128: Hamiltonian(D=0.3, B=0.05)}
CONFIGURATIONS = 2000
BATCH = 100
DEVICE = "cuda"


class Clock:
    """How much of the time given is left."""

    def __init__(self, minutes: float):
        self.end = time.perf_counter() + 60 * minutes

    def left(self) -> float:
        return self.end - time.perf_counter()


@torch.no_grad()
def states(size: int, n: int) -> torch.Tensor:
    """Unit spins (n, 3, size, size) nearly at rest: random ones, turned to their field, a sublattice at a time."""
    H = SYSTEMS[size]
    generator = torch.Generator(DEVICE).manual_seed(size)
    spins = F.normalize(torch.randn(n, 3, size, size, device=DEVICE, generator=generator), dim=1)
    y, x = torch.meshgrid(*[torch.arange(size, device=DEVICE)] * 2, indexing="ij")
    for _ in range(100):
        for parity in (0, 1):
            for piece in spins.split(250):
                aligned = F.normalize(H.field(piece), dim=1)
                piece.copy_(torch.where((x + y) % 2 == parity, aligned, piece))
    return spins


def stage(steps: int, seed: int = 0) -> Stage:
    return Stage(beta=1e-6, gamma=1.0, steps=steps, batch=BATCH, learning_rate=1e-3, final_rate=1.0, translate=False,
                 seed=seed)


def resident_stage(size: int, spins: torch.Tensor, steps: int, precision: str, seed: int = 0,
                   compiled: bool = False) -> GraphLoop:
    """A stage from random weights on ``spins`` (float16, on the GPU)."""
    one = stage(steps, seed)
    model = new_model(size, SYSTEMS[size], seed)
    ready = make_step(size, SYSTEMS[size], one.beta, one.gamma, DEVICE, seed=seed, model=model, precision=precision)
    if compiled:  # the noise is drawn between the parts: a generator cannot be compiled
        for part in ("encode", "decode", "compare"):
            setattr(ready.model, part, torch.compile(getattr(ready.model, part), dynamic=False))
    todo = batch_schedule(one, len(spins), (size, size), np.random.default_rng(seed))
    return GraphLoop(ready, spins, todo)


def no_check(losses: torch.Tensor) -> None:
    pass


def ms_a_step(go, steps: int) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(steps):
        go()
    torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - start) / steps


def median_ms(go, clock: Clock, few: int = 20, seconds: float = 1.0) -> dict:
    """Median ms of a step over five runs of up to ``seconds`` each, with their spread."""
    ms_a_step(go, 3)
    rough = ms_a_step(go, few)
    steps = int(min(1000, max(few, 1e3 * min(seconds, max(0.1, clock.left() / 10)) / rough)))
    runs = [ms_a_step(go, steps) for _ in range(5)]
    return {"ms": statistics.median(runs), "least": min(runs), "most": max(runs), "steps": steps}


def captured(there: GraphLoop):
    """What takes one captured step, over and over through the plan; the plan's steps are taken once before."""
    here, side = torch.cuda.current_stream(), torch.cuda.Stream()
    side.wait_stream(here)
    with torch.cuda.stream(side):
        there.run(False, no_check)
    here.wait_stream(side)
    there.number.zero_()
    replay = there.capture()
    count = len(there.rates)

    def go():
        if go.done % count == 0:
            there.number.zero_()
        go.done += 1
        replay()

    go.done = 0
    return go


@contextmanager
def quickest():
    """cuDNN free to choose among its algorithms by trial, whether or not they give the same bytes twice."""
    @contextmanager
    def free(device, precision):
        with numerics(device, precision):
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = False, True
            yield

    kept = torch.backends.cudnn.benchmark
    step.numerics = cuda_graph.numerics = free
    try:
        yield
    finally:
        step.numerics = cuda_graph.numerics = numerics
        torch.backends.cudnn.benchmark = kept


def timings(size: int, spins: torch.Tensor, clock: Clock, note) -> None:
    """ms a step of every variant at batch 100; ``note(name, work)`` runs and records each."""
    batch = F.normalize(spins[:BATCH].float(), dim=1)
    one = stage(4)

    def plain():
        with numerics(torch.device(DEVICE), "float32"):
            ready = PlainStep(new_model(size, SYSTEMS[size], 0).to(DEVICE), SYSTEMS[size], one.beta, one.gamma, 0)
            return median_ms(lambda: ready.update(batch), clock)

    def eager(precision):
        ready = make_step(size, SYSTEMS[size], one.beta, one.gamma, DEVICE, precision=precision)
        return median_ms(lambda: ready.update(batch), clock)

    def graph(precision):
        return median_ms(captured(resident_stage(size, spins, 4, precision)), clock)

    def free(precision):
        with quickest():
            return graph(precision)

    note(f"{size} plain float32", plain)
    for precision in PRECISIONS:
        note(f"{size} eager {precision}", lambda p=precision: eager(p))
        note(f"{size} graph {precision}", lambda p=precision: graph(p))
        note(f"{size} graph {precision}, cuDNN free to choose", lambda p=precision: free(p))


def losses_plain(size: int, spins: torch.Tensor, steps: int, seed: int) -> torch.Tensor:
    """History (steps, 4) of the plain float32 code on the same batches and rates."""
    one = stage(steps, seed)
    todo = batch_schedule(one, len(spins), (size, size), np.random.default_rng(seed))
    ready = PlainStep(new_model(size, SYSTEMS[size], seed).to(DEVICE), SYSTEMS[size], one.beta, one.gamma, seed)
    history = []
    with numerics(torch.device(DEVICE), "float32"):
        for number in range(steps):
            if number in RESTARTS:
                ready.restart()
            chosen = torch.from_numpy(todo.indices[number]).to(DEVICE)
            losses = ready.update(F.normalize(spins[chosen].float(), dim=1))
            history.append(torch.stack([value.detach() for value in losses]))
    return torch.stack(history).cpu()


def correctness(size: int, spins: torch.Tensor, steps: int = 500, seeds: int = 3) -> dict:
    """Captured against uncaptured against plain: at once, after ten steps, and after 500 beside the seeds' spread."""
    found, last = {}, slice(steps - 50, steps)
    plain = [losses_plain(size, spins, steps, seed) for seed in range(seeds)]
    at_end = torch.stack([history[last].mean(0) for history in plain])
    spread = at_end.max(0).values - at_end.min(0).values
    found["plain float32, mean of the last 50 steps, a seed each"] = at_end.tolist()
    for precision in PRECISIONS:
        runs = [resident_stage(size, spins, steps, precision, seed).run(True, no_check) for seed in range(seeds)]
        again = resident_stage(size, spins, steps, precision, 0).run(True, no_check)
        eager = resident_stage(size, spins, steps, precision, 0).run(False, no_check)
        ends = torch.stack([history[last].mean(0) for history in runs])
        away = (ends.mean(0) - at_end.mean(0)).abs()
        found[precision] = {
            "graph, mean of the last 50 steps, a seed each": ends.tolist(),
            "same bytes in two runs": bool(torch.equal(runs[0], again)),
            "same bytes as uncaptured": bool(torch.equal(runs[0], eager)),
            "largest difference from uncaptured, steps 1, 10": [
                float((runs[0] - eager)[k].abs().max()) for k in (0, 9)],
            "relative difference from plain, steps 1, 10": [
                ((runs[0] - plain[0]).abs() / plain[0].abs())[k].tolist() for k in (0, 9)],
            "difference of the seeds' means from plain": away.tolist(),
            "within the plain seeds' spread": [bool(v) for v in away <= spread],
        }
    found["spread of the plain seeds"] = spread.tolist()
    return found


def by_streams(size: int, spins: torch.Tensor, precision: str, count: int = 2, steps: int = 300) -> dict:
    """Replays of one graph, then of two in turn on a stream each."""
    gos = [captured(resident_stage(size, spins, 4, precision, seed)) for seed in range(count)]
    streams = [torch.cuda.Stream() for _ in gos]

    def both():
        for go, stream in zip(gos, streams, strict=True):
            with torch.cuda.stream(stream):
                go()

    ms_a_step(both, 10)
    alone, together = ms_a_step(gos[0], steps), ms_a_step(both, steps)
    return {"one": alone, "ms for a step of each": together, "gain": count * alone / together}


def _process(size, precision, steps, barrier, queue) -> None:
    go = captured(resident_stage(size, upload(states(size, 200), torch.device(DEVICE)), 4, precision))
    ms_a_step(go, 10)
    barrier.wait(120)
    queue.put(ms_a_step(go, steps))


def by_processes(size: int, precision: str, alone: float, count: int = 2, steps: int = 1000) -> dict:
    """Two processes replaying at once; ``alone``: ms a step of one, for the gain."""
    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(count), context.Queue()
    started = [context.Process(target=_process, args=(size, precision, steps, barrier, queue)) for _ in range(count)]
    for process in started:
        process.start()
    try:
        times = [queue.get(timeout=150) for _ in started]
    finally:
        for process in started:
            process.join(10)
            if process.is_alive():
                process.terminate()
    return {"ms a step in each": times, "gain": count * alone / max(times)}


def main(path: Path | None, minutes: float) -> int:
    if not torch.cuda.is_available():
        print("not run: torch sees no usable GPU")
        return 77  # not run
    clock, began = Clock(minutes), time.perf_counter()
    found = {"machine": {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__, "cuda": torch.version.cuda,
                         "cudnn": torch.backends.cudnn.version(), "python": platform.python_version(), "batch": BATCH}}

    def note(name, work, group=None, least=5.0):
        if clock.left() < least:
            result = "no time left"
        else:
            try:
                result = work()
            except Exception as error:  # is the result of this part, and is shown
                traceback.print_exc()
                result = f"failed: {type(error).__name__}: {error}"
        found.setdefault(group or "ms a step", {})[name] = result
        print(f"[{time.perf_counter() - began:5.0f} s] {name}: {json.dumps(result)[:300]}", flush=True)
        if path:
            path.write_text(json.dumps(found, indent=1))
        return result

    spins = {size: upload(states(size, CONFIGURATIONS), torch.device(DEVICE)) for size in SYSTEMS}
    print(f"[{time.perf_counter() - began:5.0f} s] {found['machine']}", flush=True)
    note("64", lambda: correctness(64, spins[64]), "losses")
    for size in SYSTEMS:
        timings(size, spins[size], clock, note)
    for size in SYSTEMS:
        streams = note(f"{size} streams, tf32", lambda s=size: by_streams(s, spins[s], "tf32"), "two ladders at once")
        if isinstance(streams, dict):
            note(f"{size} processes, tf32", lambda s=size, one=streams["one"]: by_processes(s, "tf32", one),
                 "two ladders at once", least=25.0)
    for size, precision in ((128, "tf32"), (128, "bfloat16"), (64, "tf32")):  # compiling takes most of a minute
        note(f"{size} compiled + graph {precision}", lambda s=size, p=precision: median_ms(
            captured(resident_stage(s, spins[s], 4, p, compiled=True)), clock), least=75.0)
    note("128, 2 seeds", lambda: correctness(128, spins[128], seeds=2), "losses", least=40.0)
    found["seconds"] = round(time.perf_counter() - began, 1)
    if path:
        path.write_text(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--minutes", type=float, default=3.8)
    chosen = parser.parse_args()
    sys.exit(main(chosen.json, chosen.minutes))
