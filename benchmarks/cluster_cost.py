"""What a large ensemble would take on many GPUs: overheads measured here, then a simulation.

    python benchmarks/cluster_cost.py     into benchmarks/CLUSTER_COST.md

Measured on this machine: Dask's time a unit of work, from units that do nothing on a LocalCluster of 4 workers; CPU
seconds of the units of one point of the laptop's phase diagram; bytes of the paper's network and shards from their
shapes. No GPU was at hand: the seconds of a stage there are a free parameter.
"""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import as_completed
from dataclasses import replace
from pathlib import Path

import torch
from measure import machine

from evae_companion.cluster import Climb, Shard, dask, run_task
from evae_companion.cluster.cost import Costs, simulate, tasks
from evae_companion.cluster.executors import local_cluster
from evae_companion.cluster.grid import chains
from evae_companion.cluster.tasks import work
from evae_companion.experiments.phase_diagram import ensemble
from evae_companion.presets import PRESETS
from evae_companion.store.object_store import StoreLocation
from evae_core import VAE

HERE = Path(__file__).resolve().parent
GPUS = (1, 8, 64, 512)
STAGES = (1.0, 10.0, 100.0)  # seconds of a stage, the free parameter
BANDWIDTH = 1e9  # bytes a second of the store: assumed
EMPTY = 500


def nothing(number: int) -> int:
    """A unit of work that does nothing."""
    return number


def overhead(count: int = EMPTY) -> float:
    """Seconds of a unit that does nothing, on four workers, through the executor that ensembles use."""
    with local_cluster(4) as cluster:
        executor = dask(cluster.scheduler_address)()
        for _ in range(2):  # the first time the workers import
            begun = time.perf_counter()
            for future in as_completed([executor.submit(nothing, number) for number in range(count)]):
                future.result()
        seconds = (time.perf_counter() - begun) / count
        executor.shutdown()
    return seconds


def measured(D: float = 0.4, field: float = 0.3) -> str:
    """CPU seconds of every unit of one point of the laptop's phase diagram, as a table."""
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for unit in work(ensemble(replace(PRESETS["laptop"], phase_D=(D,), phase_fields=(field,)))):
            begun = time.process_time()
            run_task(unit, StoreLocation(folder), "cpu")
            seconds = time.process_time() - begun
            if isinstance(unit, Shard):
                count = min(unit.data.shard, unit.data.train + unit.data.validation - unit.number * unit.data.shard)
                words, each = f"shard {unit.number}, {count} configurations", f"{1e3 * seconds / count:.2f}"
            elif isinstance(unit, Climb):
                steps = sum(stage.steps for stage in unit.stages)
                last = unit.stages[-1]
                words = f"to beta = {last.beta:g}, gamma = {last.gamma:g}: {steps} steps in {len(unit.stages)}"
                each = f"{1e3 * seconds / steps:.1f}"
            else:
                words, each = f"ending with {unit.samples} generated states", "-"
            rows.append(f"| {words} | {seconds:.2f} | {each} |")
    head = "| unit (steps in so many stages) | CPU seconds | ms a configuration, or a step |\n|---|---|---|\n"
    return head + "\n".join(rows) + "\n"


def predicted(unit: float, points: int = 10, seeds: int = 10) -> tuple[str, int]:
    """The table of predictions for ``points`` x ``points`` x ``seeds`` gamma ladders of the paper's preset, with
    ``unit`` seconds of the scheduler a unit of work; and how many units there are."""
    p = PRESETS["paper"]
    spread = [0.2 + 0.02 * k for k in range(points)]
    plan = chains(p, seeds, [1e-3], spread, [0.1 * (k + 0.5) for k in range(points)], reduced=True)
    units = work(plan)
    weights = 4.0 * sum(value.numel() for value in VAE(p.size).state_dict().values())
    shard = 4.0 * p.shard * 3 * p.size**2
    rows, limits, scheduler = [], [], 0.0
    for remade in (False, True):
        shards = "made again" if remade else "read"
        for stage in STAGES:
            full = None  # GPUs from which the store is busy nine tenths of the time
            costs = Costs(shard=0.02 * stage, stage=stage, ending=0.02 * stage, shard_bytes=shard, stage_bytes=weights,
                          ending_bytes=12.0 * 3 * p.size**2, overhead=unit, bandwidth=BANDWIDTH, remade=remade)
            todo = tasks(units, costs)
            for gpus in GPUS:
                found = simulate(todo, gpus, costs)
                ideal = max(sum(task.seconds for task in todo) / gpus, found.longest)
                scheduler = max(scheduler, found.scheduler_busy)
                full = gpus if full is None and found.store_busy >= 0.9 else full
                rows.append(f"| {shards} | {stage:g} | {gpus} | {found.seconds / stage:.0f} | "
                            f"{found.seconds / 3600:.2f} | {found.seconds / ideal:.2f} | {found.workers_busy:.2f} | "
                            f"{found.scheduler_busy:.2f} | {found.store_busy:.2f} | {found.moved / 1e12:.2f} |")
            limits.append(f"shards {shards}, {stage:g} s a stage: " + (f"from {full} GPUs on" if full else "nowhere"))
    head = ("| shards | seconds a stage (assumed) | GPUs | time, in stages | hours | over the ideal | GPUs busy | "
            "scheduler busy | store busy | TB moved |\n" + "|---" * 10 + "|\n")
    return (f"{len(plan) // 2} gamma ladders and as many of beta, {len(units)} units of work; a stage's artifact "
            f"{weights / 1e6:.0f} MB, a shard {shard / 1e6:.0f} MB.\n\n" + head + "\n".join(rows) + "\n\n"
            f"Where is the limit? The scheduler is busy {scheduler:.0%} of the time at most. The store is busy nine "
            f"tenths of it or more with {'; '.join(limits)}. More GPUs bring nothing there.\n"), len(units)


def report() -> str:
    """What was measured and what is predicted, as the page that is kept."""
    unit = overhead()
    prediction, count = predicted(unit)
    ms, rate = f"{1e3 * unit:.1f} ms", f"{BANDWIDTH / 1e9:g} GB/s"
    return f"""# What a large ensemble would take on a cluster

Written by `python benchmarks/cluster_cost.py`. Machine: {machine()}, with other work beside.

## Measured

Dask's time a unit of work that does nothing, four workers on this machine (seconds of the clock): {ms}. The units of
one point of the laptop's phase diagram, 32 x 32 sites, one after the other in one process of one thread. CPU seconds,
not those of the clock, so that other work counts only as far as it shares the core:

{measured()}
## Predicted, not measured

A simulation (`evae_companion/cluster/cost.py`) of the paper's preset. Its inputs: one scheduler that serves {count}
units one by one, the {ms} above each; a store that serves one after the other at {rate} (assumed); artifacts of the
sizes below; a shard and an ending that take 0.02 of a stage (assumed); and the seconds of a stage on a GPU, which
nobody has measured: a free parameter. "The ideal" is all work over the number of GPUs, or the longest ladder. "Read":
shards are made once and read from the store by whoever trains on them; "made again": every worker makes those of a data
set itself. The simulated scheduler does not know which worker has which data: Dask does not know it either.

{prediction}"""


if __name__ == "__main__":
    page = report()
    (HERE / "CLUSTER_COST.md").write_text(page)
    print(page)
