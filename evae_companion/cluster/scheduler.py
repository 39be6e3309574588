"""Scheduler that maps tasks onto any ``concurrent.futures.Executor``.

Artifacts record what is done. A task whose artifacts exist is not submitted; one whose inputs exist is. A worker that
dies, or a scheduler that is restarted, loses the tasks in progress. Lost tasks are resubmitted, and resume from the
artifacts that are complete. An error of the work itself is not retried: the same work would give it again.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from dataclasses import dataclass, field

from evae_companion.cluster.tasks import Spec, Unit, spec_of
from evae_companion.progress import Report
from evae_companion.store import deadline
from evae_companion.store.artifact import identity
from evae_companion.store.object_store import Remote, StoreLocation

TRIES = 5  # submissions of a task whose worker or scheduler is lost
PAUSE = 1.0  # seconds before lost tasks are resubmitted, so that a scheduler can come back
LOOK = 60.0  # seconds without a finished task after which an executor that can tell is asked for its workers
LOST = (CancelledError, BrokenExecutor, ConnectionError)


@dataclass(frozen=True)
class TaskReport:
    """Report of one task: seconds of work, bytes pulled and pushed, host and process, artifacts made."""

    seconds: float
    pulled: int
    pushed: int
    where: str
    made: tuple[str, ...]


@dataclass
class RunReport:
    """Outcome of a run: reports of the tasks done now, messages of those that failed, how often a task was lost."""

    receipts: dict[Unit, TaskReport] = field(default_factory=dict)
    errors: dict[Unit, str] = field(default_factory=dict)
    lost: int = 0
    over: str | None = None  # where the deadline ended the run


def run_task(unit: Unit, place: StoreLocation, device: str = "auto", until: str | None = None) -> TaskReport:
    """Run one task in this process: pull what it needs, make what is absent, push what was made.

    ``until`` is the value of EVAE_DEADLINE during the task; None leaves it as it is.
    """
    start, store, remote = time.perf_counter(), place.store(), Remote(place.url) if place.url else None
    before, pulled, pushed, made = os.environ.get(deadline.ENV), 0, 0, []
    if until is not None:
        os.environ[deadline.ENV] = until
    try:
        if remote:
            pulled = sum(remote.pull(spec, store) for spec in [*map(spec_of, unit.reads()), *unit.specs()])
        here = {identity(spec)[1] for spec in unit.specs() if store.find(spec) is not None}
        for spec in unit.make(store, device):
            if (name := identity(spec)[1]) not in here:
                made.append(name)
            if remote:
                pushed += remote.push(spec, store)
    finally:
        if until is not None:
            os.environ.pop(deadline.ENV) if before is None else os.environ.update({deadline.ENV: before})
    return TaskReport(time.perf_counter() - start, pulled, pushed, f"{socket.gethostname()}:{os.getpid()}", tuple(made))


def run_tasks(units: Sequence[Unit], executor: Callable[[], Executor], place: StoreLocation, device: str = "auto",
              report: Report | None = None, done: Callable[[Unit], None] | None = None,
              cached: Callable[[Iterable[Spec]], set[str]] | None = None) -> RunReport:
    """Run all tasks in the order of their dependencies, as many at a time as the executor takes.

    Parameters
    ----------
    executor : makes an executor; called again after that broke (a killed process, a lost scheduler).
    done : called with every task that is done, now or before.
    cached : returns the names of those artifacts of given specs that are present; by default asks ``place``.

    The error of a task is recorded as a message, also for the tasks that need it; the others go on. The deadline
    (:mod:`evae_companion.store.deadline`) ends the run between tasks, and within a task between artifacts.
    """
    say, place_cached = report or (lambda line: None), cached or present(place)
    names = {unit: [identity(spec)[1] for spec in unit.specs()] for unit in units}
    makers = {key: unit for unit in units for key in unit.makes()}
    there = place_cached(spec for unit in units for spec in unit.specs())
    outcome, tries = RunReport(), dict.fromkeys(units, 0)
    waiting: dict[Unit, set[Unit]] = {}
    for unit in units:
        if all(name in there for name in names[unit]):
            if done:
                done(unit)
        else:
            waiting[unit] = {makers[key] for key in unit.reads() if key in makers}
    for needs in waiting.values():
        needs.intersection_update(waiting)  # tasks that were done before are no dependencies
    running: dict[Future[TaskReport], Unit] = {}
    refused = 0  # times in a row that the executor took nothing
    pool = executor()
    try:
        while waiting or running:
            broken = False
            for unit in [unit for unit, needs in waiting.items() if not needs]:
                if deadline.passed():
                    outcome.over = f"{len(waiting)} units are left"
                    waiting.clear()
                    break
                try:
                    running[pool.submit(run_task, unit, place, device, os.environ.get(deadline.ENV))] = unit
                except (*LOST, RuntimeError, OSError) as error:  # the executor broke, or was shut down, a moment ago
                    refused += 1
                    if refused >= TRIES and not running:
                        raise RuntimeError(f"the executor took no work {TRIES} times: {error!r:.200}") from error
                    say(f"the executor takes no work ({error!r:.200}); starting it again")
                    broken = True
                    break
                del waiting[unit]
                refused = 0
            if waiting and not running and not broken:
                raise RuntimeError(f"{len(waiting)} tasks wait for each other, first {_summary(next(iter(waiting)))}")
            finished = wait(running, 0 if broken else LOOK, FIRST_COMPLETED).done if running else set()
            if running and not finished and not broken and (message := getattr(pool, "idle", lambda: None)()):
                say(f"{message}; waiting")
            for future in finished:
                unit = running.pop(future)
                try:
                    outcome.receipts[unit] = future.result()
                except deadline.DeadlineExceeded as over:
                    outcome.over = str(over)
                    waiting.clear()
                except Exception as error:
                    if not _lost(error):
                        _fail(outcome, waiting, unit, str(error) or repr(error))
                        continue
                    outcome.lost += 1
                    broken = True
                    tries[unit] += 1
                    if tries[unit] >= TRIES:
                        _fail(outcome, waiting, unit, f"its worker was lost {TRIES} times, last {error!r:.200}")
                    else:
                        say(f"lost {_summary(unit)} with its worker or scheduler ({type(error).__name__}); sent again")
                        waiting[unit] = set()
                else:
                    for needs in waiting.values():
                        needs.discard(unit)
                    if done:
                        done(unit)
            if broken and not running:
                pool.shutdown(wait=False, cancel_futures=True)
            if broken:
                time.sleep(PAUSE)
            if broken and not running:
                pool = executor()
    finally:
        for future in running:
            future.cancel()
        pool.shutdown(wait=True)
    return outcome


def _lost(error: BaseException) -> bool:
    """Return whether the machinery failed, not the work: Dask calls its errors KilledWorker and *CancelledError."""
    return isinstance(error, LOST) or type(error).__module__.startswith("distributed.")


def _fail(outcome: RunReport, waiting: dict[Unit, set[Unit]], unit: Unit, message: str) -> None:
    """Record the error of a task, and of all tasks that depend on it."""
    outcome.errors[unit] = message
    for other in [other for other, needs in waiting.items() if unit in needs]:
        if waiting.pop(other, None) is not None:
            _fail(outcome, waiting, other, f"it needs {_summary(unit)}, which failed: {message}")


def _summary(unit: Unit) -> str:
    return deadline.describe(unit.specs()[-1])


def present(place: StoreLocation) -> Callable[[Iterable[Spec]], set[str]]:
    """Return a function that gives, for specs, the names of their artifacts that are present.

    They are intact in the store, or stored behind the url.
    """
    def cached(specs: Iterable[Spec]) -> set[str]:
        if place.url:
            return Remote(place.url).names() & {identity(spec)[1] for spec in specs}
        store = place.store()
        return {identity(spec)[1] for spec in specs if store.find(spec) is not None}

    return cached
