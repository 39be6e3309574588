"""Predicted duration of an ensemble on many GPUs, simulated from given times and bytes.

Tasks go in order of readiness to whichever worker is free. Two resources are shared and serve one request after the
other: the scheduler, ``overhead`` seconds per task, and the artifact store, ``bandwidth`` bytes per second. A worker
keeps what it has read or made. Nothing here is measured; :func:`simulate` adds up what it is given.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from evae_companion.cluster.tasks import Climb, Key, Shard, Unit
from evae_companion.data_specs import DataSpec


@dataclass(frozen=True)
class Costs:
    """Costs that the simulation is given.

    Attributes
    ----------
    shard, stage, ending : seconds per shard, per stage and per summary of a sweep.
    shard_bytes, stage_bytes, ending_bytes : bytes of their artifacts.
    overhead : seconds of the scheduler per task.
    bandwidth : bytes per second of the store.
    remade : a worker makes the shards that it lacks instead of reading them.
    """

    shard: float
    stage: float
    ending: float
    shard_bytes: float
    stage_bytes: float
    ending_bytes: float
    overhead: float
    bandwidth: float
    remade: bool = False


@dataclass(frozen=True)
class Task:
    """One task of the simulation.

    Attributes
    ----------
    seconds : duration of the work.
    after : numbers of the tasks that it waits for.
    reads : {number of an artifact: bytes} of what it reads besides shards.
    makes : numbers of the artifacts that it makes.
    data, shards : number of its data set, and how many shards of that set it reads.
    bytes : bytes of what it makes.
    """

    seconds: float
    after: tuple[int, ...] = ()
    reads: dict[int, float] = field(default_factory=dict)
    makes: tuple[int, ...] = ()
    data: int = -1
    shards: int = 0
    bytes: float = 0.0


@dataclass(frozen=True)
class Prediction:
    """Result of a simulation.

    Attributes
    ----------
    seconds : time until all is done.
    workers_busy, scheduler_busy, store_busy : shares of that time in which each was busy.
    moved : bytes read from and written to the store.
    longest : seconds of the longest chain of dependent tasks, which no number of workers shortens.
    """

    seconds: float
    workers_busy: float
    scheduler_busy: float
    store_busy: float
    moved: float
    longest: float


def tasks(units: Sequence[Unit], costs: Costs) -> list[Task]:
    """Return the simulated tasks of ``units``. With ``costs.remade`` shards are no tasks: their readers make them."""
    kinds = [unit for unit in units if not (costs.remade and isinstance(unit, Shard))]
    numbers: dict[Key, int] = {}
    makers: dict[int, int] = {}
    sets: dict[DataSpec, int] = {}
    made = []
    for number, unit in enumerate(kinds):
        made.append(tuple(numbers.setdefault(key, len(numbers)) for key in unit.makes()))
        makers |= dict.fromkeys(made[-1], number)
    result = []
    for unit, own in zip(kinds, made, strict=True):
        reads = unit.reads()
        known = [numbers[key] for key in reads if key in numbers]
        size = (costs.shard_bytes if isinstance(unit, Shard) else
                costs.stage_bytes * len(unit.stages) if isinstance(unit, Climb) else costs.ending_bytes)
        seconds = (costs.shard if isinstance(unit, Shard) else
                   costs.stage * len(unit.stages) if isinstance(unit, Climb) else costs.ending)
        result.append(Task(
            seconds, tuple({makers[name] for name in known}),
            {numbers[key]: costs.stage_bytes for key in reads if not isinstance(key[1], int) and key in numbers}, own,
            sets.setdefault(unit.data, len(sets)), sum(isinstance(what, int) for _, what in reads), size))
    return result


def simulate(work: Sequence[Task], workers: int, costs: Costs) -> Prediction:
    """Simulate all tasks on ``workers`` workers. Raises ValueError if tasks wait for one another in a circle."""
    left = [len(task.after) for task in work]
    later: list[list[int]] = [[] for _ in work]
    longest = [0.0] * len(work)
    for number, task in enumerate(work):
        for before in task.after:
            later[before].append(number)
    ready, idle = deque(number for number, count in enumerate(left) if not count), list(range(workers))
    cached: list[set[int]] = [set() for _ in range(workers)]  # stages that each worker holds
    sets: list[set[int]] = [set() for _ in range(workers)]  # data sets whose shards each worker holds
    events: list[tuple[float, bool, int, int]] = []  # time, whether the artifacts are written, task, worker
    now = scheduler = store = busy = moved = 0.0
    done = 0
    while ready or events:
        while ready and idle:
            number, worker = ready.popleft(), idle.pop()
            task = work[number]
            scheduler = begin = max(now, scheduler) + costs.overhead
            lacking = task.shards if task.data not in sets[worker] else 0
            reading = sum(size for name, size in task.reads.items() if name not in cached[worker])
            if reading := reading + (0.0 if costs.remade else lacking * costs.shard_bytes):
                store = begin = max(scheduler, store) + reading / costs.bandwidth
                moved += reading
            cached[worker] |= {*task.reads, *task.makes}
            if lacking:
                sets[worker].add(task.data)
            seconds = task.seconds + (lacking * costs.shard if costs.remade else 0.0)
            busy += seconds
            heapq.heappush(events, (begin + seconds, False, number, worker))
        now, written, number, worker = heapq.heappop(events)
        if not written:
            store = max(now, store) + work[number].bytes / costs.bandwidth
            moved += work[number].bytes
            heapq.heappush(events, (store, True, number, worker))
            continue
        longest[number] = work[number].seconds + max((longest[before] for before in work[number].after), default=0.0)
        for following in later[number]:
            left[following] -= 1
            if not left[following]:
                ready.append(following)
        idle.append(worker)
        done += 1
    if done < len(work):
        raise ValueError("the units of work wait for one another in a circle")
    return Prediction(now, busy / (now * workers), len(work) * costs.overhead / now, moved / costs.bandwidth / now,
                      moved, max(longest))
