"""Faults of a cluster, tried on this machine: the final tables must be those of the serial run, byte for byte.

    python benchmarks/cluster_faults.py --write            all cases, into benchmarks/CLUSTER.md
    python benchmarks/cluster_faults.py --only killed cut  some of them

A small ensemble (two ladders on 16 x 16 sites, plain torch), in one case on 32 x 32 sites by the compiled C++ passes of
the laptop preset; Dask's workers are processes of one thread. The hosts of the last case are network namespaces, which
only root may make. Compared are the final tables and the weights of every stage; companion/test_cluster.py runs some.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from measure import machine

from evae_companion import claims
from evae_companion.cluster import RunReport, dask, run_task, run_tasks
from evae_companion.cluster.executors import local_cluster
from evae_companion.cluster.grid import Sweep, chains
from evae_companion.cluster.tables import by_chain, by_stage, endings
from evae_companion.cluster.tasks import work
from evae_companion.presets import PRESETS
from evae_companion.store.artifact import NAME
from evae_companion.store.object_store import StoreLocation
from evae_companion.store.serialization import read_json

ROOT = Path(__file__).resolve().parents[1]
TINY = replace(PRESETS["smoke"], excess_train=20, shard=11, sweeps=10, phase_first=2, phase_steps=2, batch=8,
               samples=4)
LARGER = replace(TINY, excess_size=32, batch=32, excess_train=40, phase_first=160, phase_steps=160)
# A worker is given up after seconds, not minutes. Not after few: one that imports torch on a busy machine is silent.
HASTY = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "20s"}


def tiny(**changes: Any) -> list[Sweep]:
    """A small ensemble; ``changes`` are arguments of :func:`evae_companion.cluster.grid.chains`."""
    return chains(TINY, **({"seeds": 1, "betas": [1e-3], "D": [0.8], "B": [0.55], "reduced": True, "short": True}
                           | changes))


def tables(ensemble: list[Sweep], place: StoreLocation) -> bytes:
    """The final tables, as the bytes that are compared."""
    found = endings(ensemble, place)
    return json.dumps([by_chain(found, claims.criticals),
                       {name: column.tolist() for name, column in by_stage(found).items()}]).encode()


def serial(folder: Path, ensemble: list[Sweep]) -> bytes:
    """The tables from one unit after the other in this process."""
    for unit in work(ensemble):
        run_task(unit, StoreLocation(str(folder)), "cpu")
    return tables(ensemble, StoreLocation(str(folder)))


def weights(folder: Path) -> dict[str, set[str]]:
    """{stage: SHA-256 of its weights} of all stores below ``folder``; more than one where stores do not agree."""
    found: dict[str, set[str]] = {}
    for path in folder.glob("**/weights.safetensors"):
        if NAME.fullmatch(path.parent.name):
            found.setdefault(path.parent.name, set()).add(hashlib.sha256(path.read_bytes()).hexdigest())
    return found


def start(command: list[str], environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """A program in a process group of its own."""
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={
        **os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **(environment or {})})


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a program and its group, stopped or not."""
    for number in (signal.SIGCONT, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            pass
    process.wait()


@contextmanager
def programs(*commands: list[str], environment: dict[str, str] | None = None
             ) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Programs that end with the block."""
    started = [start(command, environment) for command in commands]
    try:
        yield started
    finally:
        for process in started:
            stop(process)


def scheduler(port: int, *more: str, host: str = "127.0.0.1") -> list[str]:
    """The command line of a Dask scheduler."""
    return [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", host, "--port", str(port),
            "--dashboard-address", f"{host}:0", "--no-show", *more]


def worker(address: str, *more: str, host: str = "127.0.0.1") -> list[str]:
    """The command line of a Dask worker of one thread."""
    return [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--host", host,
            "--no-dashboard", "--death-timeout", "60", *more]


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def when(condition: Callable[[], Any], act: Callable[[], Any], seconds: float = 300.0) -> list[Any]:
    """Do ``act`` in a thread once ``condition()`` holds; the list that then holds its result."""
    found: list[Any] = []

    def watch() -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition():
                found.append(act())
                return
            time.sleep(0.01)

    threading.Thread(target=watch, daemon=True).start()
    return found


def at_work(folder: Path) -> Callable[[], Any]:
    """Whether a stage is being made in the store at ``folder``."""
    return lambda: list(folder.glob("stage-*.partial-*"))


def nothing(folder: Path, plan: list[Sweep], workers: int = 4) -> tuple[RunReport, StoreLocation, bool]:
    """No fault: four workers of one scheduler, one store."""
    place = StoreLocation(str(folder))
    with local_cluster(workers) as cluster:
        return run_tasks(work(plan), dask(cluster.scheduler_address), place, "cpu"), place, True


def compiled(folder: Path, plan: list[Sweep]) -> tuple[RunReport, StoreLocation, bool]:
    """No fault, two workers: 32 x 32 sites, the stages of gamma by the compiled C++ passes of the laptop preset."""
    outcome, place, _ = nothing(folder, plan, workers=2)
    modes = [read_json(path)["mode"] for path in folder.glob("stage-*/measured.json")]
    return outcome, place, modes.count("compiled") == 5  # gamma = 0 and four stages above


def killed(folder: Path, plan: list[Sweep], workers: int = 4) -> tuple[RunReport, StoreLocation, bool]:
    """All workers get SIGKILL while one trains; their nannies start others."""
    place = StoreLocation(str(folder))
    with local_cluster(workers) as cluster:
        found = when(at_work(folder), lambda: [os.kill(one.pid, signal.SIGKILL) for one in cluster.workers.values()])
        return run_tasks(work(plan), dask(cluster.scheduler_address), place, "cpu"), place, bool(found)


def restarted(folder: Path, plan: list[Sweep]) -> tuple[RunReport, StoreLocation, bool]:
    """The scheduler and its worker get SIGKILL while it trains; both are started again at the same address."""
    place, port = StoreLocation(str(folder)), free_port()
    commands = scheduler(port), worker(f"tcp://127.0.0.1:{port}")
    with programs(*commands) as first:
        def again() -> list[subprocess.Popen[bytes]]:
            for process in first:
                stop(process)
            return [start(command) for command in commands]

        second = when(at_work(folder), again)
        try:
            outcome = run_tasks(work(plan), dask(f"tcp://127.0.0.1:{port}"), place, "cpu")
        finally:
            for process in second[0] if second else []:
                stop(process)
    return outcome, place, bool(second)


def cut(folder: Path, plan: list[Sweep]) -> tuple[RunReport, StoreLocation, bool]:
    """A worker gets SIGSTOP while it trains and answers nothing more; the other goes on. Stores of their own, a url."""
    place, port = StoreLocation(None, f"file://{folder}/shared"), free_port()
    address = f"tcp://127.0.0.1:{port}"
    with ExitStack() as stack:
        stack.enter_context(programs(scheduler(port), environment=HASTY))
        one, _ = (stack.enter_context(programs(worker(address), environment=HASTY | {
            "EVAE_STORE": str(folder / name)}))[0] for name in "ab")
        found = when(at_work(folder / "a"), lambda: os.killpg(one.pid, signal.SIGSTOP) or True)
        return run_tasks(work(plan), dask(address), place, "cpu"), place, bool(found)


def ip(*words: str) -> None:
    """One command of iproute2."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def hosts(*names: str) -> Iterator[list[str]]:
    """Network namespaces on one bridge, which lies in the first; addresses 10.77.0.1, .2, ...; this one has .254."""
    ends = [*names, ""]  # the empty one: here
    try:
        for name in names:
            ip("netns", "add", name)
        ip("-n", names[0], "link", "add", "bridge", "type", "bridge")
        for number, name in enumerate(ends, 1):
            near, far = f"{name or 'evae'}-l", f"{name or 'evae'}-r"
            ip("link", "add", near, "type", "veth", "peer", "name", far)
            ip("link", "set", far, "netns", names[0])
            ip("-n", names[0], "link", "set", far, "master", "bridge", "up")
            if number > 1:
                inside = ["-n", name] if name else []
                if name:
                    ip("link", "set", near, "netns", name)
                ip(*inside, "address", "add", f"10.77.0.{number if name else 254}/24", "dev", near)
                ip(*inside, "link", "set", near, "up")
        ip("-n", names[0], "address", "add", "10.77.0.1/24", "dev", "bridge")
        for name in names:
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", names[0], "link", "set", "bridge", "up")
        yield [f"10.77.0.{number}" for number in range(1, len(names) + 1)]
    finally:
        subprocess.run(["ip", "link", "delete", "evae-l"], capture_output=True)
        for name in names:
            subprocess.run(["ip", "link", "delete", f"{name}-l"], capture_output=True)
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


def host_cut(folder: Path, plan: list[Sweep]) -> tuple[RunReport, StoreLocation, bool]:
    """A scheduler and two hosts, each a network namespace; one host's network goes down for good while it trains."""
    place = StoreLocation(None, f"file://{folder}/shared")
    with ExitStack() as stack:
        head, *others = stack.enter_context(hosts("evae-s", "evae-a", "evae-b"))

        def within(name: str, command: list[str], store: str = "none") -> None:
            stack.enter_context(programs(["ip", "netns", "exec", name, *command], environment=HASTY | {
                "EVAE_STORE": str(folder / store)}))

        within("evae-s", scheduler(8786, host=head))
        for name, address in zip("ab", others, strict=True):
            within(f"evae-{name}", worker(f"tcp://{head}:8786", host=address), name)
        def busy() -> str | None:
            return next((name for name in "ab" if at_work(folder / name)()), None)

        def unplug() -> bool:
            name = f"evae-{busy() or 'a'}"
            ip("-n", name, "link", "set", f"{name}-l", "down")
            return True

        found = when(busy, unplug)
        return run_tasks(work(plan), dask(f"tcp://{head}:8786"), place, "cpu"), place, bool(found)


CASES = {one.__name__: one for one in (nothing, compiled, killed, restarted, cut, host_cut)}
PLANS = {compiled.__name__: chains(LARGER, 1, [1e-3], [0.4], [0.55], reduced=True, short=True)}


def main() -> None:
    """Run the cases; print, or write, the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    rows: list[str] = []
    expected: dict[str, tuple[bytes, dict[str, set[str]]]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["EVAE_STORE"] = f"{temporary}/own"  # where this process keeps what it pulls
        for name in arguments.only:
            plan, alone = PLANS.get(name) or tiny(), Path(temporary) / f"serial {name if name in PLANS else ''}"
            if alone.name not in expected:
                expected[alone.name] = serial(alone, plan), weights(alone)
            begun = time.monotonic()
            try:
                (folder := Path(temporary) / name).mkdir()
                outcome, place, happened = CASES[name](folder, plan)
                same = not outcome.errors and (tables(plan, place), weights(folder)) == expected[alone.name]
                result = ("identical" if same else "DIFFERENT") if happened else "what was to be tried did not happen"
                row = [result, str(len(outcome.receipts)), str(outcome.lost)]
            except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
                row = [f"not run: {error}"[:80].replace("\n", " "), "-", "-"]
            words = " ".join((CASES[name].__doc__ or "").split())
            rows.append(f"| {words} | {' | '.join(row)} | {time.monotonic() - begun:.0f} |")
            print(rows[-1], flush=True)
    if arguments.write:
        page = ROOT / "benchmarks" / "CLUSTER.md"
        old = page.read_text().splitlines() if page.is_file() else []
        done = {row.split("|")[1] for row in rows}
        rows = [line for line in old if line.startswith("| ") and line.split("|")[1] not in done
                and not line.startswith("| fault")] + rows
        page.write_text(
            "# Faults of a cluster, tried\n\nWritten by `python benchmarks/cluster_faults.py --write`. The ensemble: "
            "2 shards, 3 climbs, 2 endings. Compared:\nthe bytes of the final tables and the SHA-256 of every stage's "
            "weights. \"Sent again by us\" does not count what Dask\nitself sent again.\n\n"
            "| fault | final tables and weights, against the serial run | units done | sent again by us | seconds |\n"
            "|---|---|---|---|---|\n" + "\n".join(rows) + f"\n\n{machine()}, with other work beside it.\n")


if __name__ == "__main__":
    main()
