"""Independent jobs in processes of one thread each, whose lines are reported here as they come."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing.managers import SyncManager
from typing import Any, TypeVar

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


def run_parallel(jobs: Sequence[Callable[..., T]], report: Callable[..., None] | None = None,
                 workers: int | None = None) -> list[T]:
    """Call independent jobs as job(report=...) in :func:`pool`, and return their results in order.

    Parameters
    ----------
    jobs : picklable; what they report comes to ``report`` here, with the same arguments.
    workers : processes at a time; by default one per core.

    Raises
    ------
    the first error of a job, which cancels those that have not begun.
    """
    (manager := SyncManager(ctx=multiprocessing.get_context("spawn"))).start(end_with_parent)
    with manager, pool(min(workers or os.cpu_count() or 1, len(jobs))) as processes:
        queue = manager.Queue()
        futures = [processes.submit(job, report=partial(_put, queue)) for job in jobs]
        try:
            _listen(futures, queue, report)
        except BaseException:
            processes.shutdown(wait=False, cancel_futures=True)
            raise
        return [future.result() for future in futures]


def _put(queue: Any, *told: Any) -> None:
    queue.put(told)


def _listen(futures: Sequence[Future[Any]], queue: Any, report: Callable[..., None] | None) -> None:
    """Report what the jobs report until all are done, or one of them raises."""
    pending = set(futures)
    while pending:
        done = {future for future in pending if future.done()}
        for future in done:
            future.result()
        pending -= done
        while not queue.empty():
            told = queue.get()
            if report is not None:
                report(*told)
        if pending:
            time.sleep(LOOK)
