"""Jobs in processes of one thread each, some after others; what they report is passed on here as it comes."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from graphlib import CycleError, TopologicalSorter
from multiprocessing.managers import SyncManager
from typing import Any, Generic, TypeVar

from evae_companion.parent_watchdog import end_with_parent

LOOK = 0.2  # seconds between two looks at the lines of the jobs
T = TypeVar("T")


@contextmanager
def one_thread() -> Iterator[None]:
    """Restrict torch to one CPU thread, so that its sums do not depend on the number of cores, or of free ones."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def pool(workers: int | None = None) -> ProcessPoolExecutor:
    """Return ``workers`` processes (default: one per core) with one thread each, which end when this one ends."""
    return ProcessPoolExecutor(workers or os.cpu_count() or 1, mp_context=multiprocessing.get_context("spawn"),
                               initializer=_begin)


def _begin() -> None:
    end_with_parent()
    import torch

    torch.set_num_threads(1)


@dataclass(frozen=True)
class Task(Generic[T]):
    """A job for :func:`run_tasks`.

    Attributes
    ----------
    job : picklable, called as job(report=...).
    after : keys of the tasks that must be done before.
    work : how long it takes, in any unit.
    """

    job: Callable[..., T]
    after: tuple[Hashable, ...] = ()
    work: float = 1.0


def run_parallel(jobs: Sequence[Callable[..., T]], report: Callable[..., None] | None = None,
                 workers: int | None = None) -> list[T]:
    """:func:`run_tasks` of independent jobs; returns their results in order."""
    return list(run_tasks({number: Task(job) for number, job in enumerate(jobs)}, report, workers).values())


def run_tasks(tasks: Mapping[Hashable, Task[T]], report: Callable[..., None] | None = None,
              workers: int | None = None) -> dict[Hashable, T]:
    """Run tasks in :func:`pool`, each once those before it are done; return {key: result} in the order of ``tasks``.

    Of the tasks that may begin, the one with the longest chain of work waiting for it goes first: then no core is idle
    at the end while a long chain is still being worked off.

    Parameters
    ----------
    tasks : what the jobs report comes to ``report`` here, with the same arguments.
    workers : processes at a time; by default one per core.

    Raises
    ------
    ValueError
        tasks that wait for each other, or for one that is not there.
    the first error of a job, which cancels those that have not begun.
    """
    chains = _chains(tasks)
    count = min(workers or os.cpu_count() or 1, len(tasks))
    (manager := SyncManager(ctx=multiprocessing.get_context("spawn"))).start(end_with_parent)
    with manager, pool(count) as processes:
        queue = manager.Queue()
        results: dict[Hashable, T] = {}
        todo, running = set(tasks), dict[Future[T], Hashable]()
        try:
            while todo or running:
                ready = sorted((key for key in todo if results.keys() >= set(tasks[key].after)), key=chains.__getitem__)
                while ready and len(running) < count:
                    todo.remove(key := ready.pop())
                    running[processes.submit(tasks[key].job, report=partial(_put, queue))] = key
                done, _ = wait(running, LOOK, FIRST_COMPLETED)
                while not queue.empty():  # before the results: a job that fails has told something, too
                    told = queue.get()
                    if report is not None:
                        report(*told)
                results |= {running.pop(future): future.result() for future in done}
        except BaseException:
            processes.shutdown(wait=False, cancel_futures=True)
            raise
        return {key: results[key] for key in tasks}


def _chains(tasks: Mapping[Hashable, Task[Any]]) -> dict[Hashable, float]:
    """Return the work of each task together with that of the longest chain of tasks waiting for it."""
    try:
        order = list(TopologicalSorter({key: task.after for key, task in tasks.items()}).static_order())
    except CycleError as error:
        raise ValueError(f"tasks wait for each other: {error.args[1]}") from error
    if missing := set(order) - set(tasks):
        raise ValueError(f"tasks wait for one that is not there: {sorted(map(str, missing))[0]}")
    chains = {key: task.work for key, task in tasks.items()}
    for key in reversed(order):
        for before in tasks[key].after:
            chains[before] = max(chains[before], tasks[before].work + chains[key])
    return chains


def _put(queue: Any, *told: Any) -> None:
    queue.put(told)
