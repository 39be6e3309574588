"""Kill a run of the notebooks at random moments, run it again until it is done, and compare with an undisturbed one.

Two ways to run them, with the same code of ours in both: ``Command`` is ``evae figures`` with kernels,
``Forked`` runs the notebooks' sources in children of a process that has imported everything, so that a kill costs no
seconds of starting up. Compared are all files of the store and all figures, byte for byte, but for times.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import filelock
import psutil

from evae_companion.store import serialization

ROOT = Path(__file__).resolve().parents[1]
SOON = 20.0  # seconds within which everything that a killed process started must have ended
TIMES = ("seconds", "once", "training")  # in measured.json and budget.json: seconds, and what is counted with them


class Command:
    """``figures --preset smoke`` in a process of its own, with a kernel for every notebook, in ``folder``."""

    beginnings = 1  # the command runs the notebooks in their order

    def __init__(self, folder: Path, only: Sequence[str] = ()):
        self.folder, self.only = folder, list(only)
        if not (folder / "notebooks").exists():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "notebooks").symlink_to(ROOT / "notebooks")
        self.environment = {**os.environ, **environment(folder), "PYTHONPATH": str(ROOT)}

    def start(self, first: int = 0) -> subprocess.Popen:
        argv = ["figures", "--preset", "smoke", *(["--only", *self.only] if self.only else [])]
        code = ("import sys; from pathlib import Path; from evae_companion.cli import main; "
                "sys.exit(main({}, Path.cwd()))")
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen([sys.executable, "-c", code.format(argv)], cwd=self.folder, env=self.environment,
                                    stdout=log, stderr=subprocess.STDOUT)


class Forked:
    """The notebooks' sources one after the other in a forked child; what they import is imported here, once."""

    def __init__(self, folder: Path, only: Sequence[str] = ()):
        import IPython.display  # noqa: F401
        import torch

        import evae_companion.experiments
        import evae_companion.sweeps
        import evae_companion.widgets  # noqa: F401
        torch.set_num_threads(1)
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.sources = [path for path in sorted((ROOT / "notebooks").glob("[0-9]*.py"))
                        if not only or path.name[:2] in only]
        self.beginnings = len(self.sources)

    def start(self, first: int = 0) -> Child:
        """Run them all, beginning with number ``first``."""
        process = os.fork()
        if process:
            return Child(process)
        try:
            with (self.folder / "log").open("ab") as log:
                for number in (1, 2):
                    os.dup2(log.fileno(), number)
            os.environ.update(environment(self.folder))
            for path in self.sources[first:] + self.sources[:first]:
                exec(compile(path.read_text(encoding="utf-8"), path, "exec"), {"__name__": "__main__"})
            sys.stdout.flush()
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(1)


class Child:
    """A forked process, with what is used of subprocess.Popen."""

    def __init__(self, pid: int):
        self.pid, self.returncode = pid, None

    def poll(self) -> int | None:
        if self.returncode is None and (found := os.waitpid(self.pid, os.WNOHANG))[0]:
            self.returncode = os.waitstatus_to_exitcode(found[1])
        return self.returncode

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode


def environment(folder: Path) -> dict[str, str]:
    """Where a run in ``folder`` keeps what it makes."""
    return {"EVAE_STORE": str(folder / "store"), "EVAE_FIGURES": str(folder / "figures"), "EVAE_PRESET": "smoke",
            "EVAE_RECORDED": "off", "OMP_NUM_THREADS": "1"}


def end_of_log(run) -> str:
    """The last lines that the processes of ``run`` wrote."""
    return (run.folder / "log").read_text(errors="replace")[-3000:]


def untimed(value):
    """What measured.json or budget.json says, without the times that were measured."""
    if isinstance(value, dict):
        return {key: None if key in TIMES else untimed(one) for key, one in value.items()}
    return [untimed(one) for one in value] if isinstance(value, list) else value


def fingerprint(folder: Path) -> dict[str, str]:
    """{file: SHA-256} of a finished run's artifacts and figures; measured times left out.

    meta.json holds when an artifact was made and for how long; the files it describes are all here. budget plots
    energies against measured seconds, and no two runs draw the same one; the energies are compared, in budget.json.
    """
    found = {}
    for path in sorted(p for part in ("store", "figures") for p in (folder / part).rglob("*") if p.is_file()):
        if path.name == "meta.json" or path.parent.name == "locks" or path.stem == "budget":
            continue
        content = path.read_bytes()
        if path.name in ("measured.json", "budget.json"):
            content = json.dumps(untimed(json.loads(content))).encode()
        found[path.relative_to(folder).as_posix()] = hashlib.sha256(content).hexdigest()
    return found


def leftovers(folder: Path) -> list[str]:
    """Names of temporary files, artifacts set aside as damaged, and locks that are held, after a run is done."""
    found = [str(path.relative_to(folder)) for path in folder.rglob("*")
             if "partial" in path.name or path.name.endswith((".tmp", "~")) or path.parent.name == "damaged"]
    for path in (folder / "store" / "locks").glob("*.lock"):
        lock = filelock.FileLock(path)
        try:
            lock.acquire(timeout=0)
            lock.release()
        except filelock.Timeout:
            found.append(f"{path.name} is held")
    return found


def kill(process) -> float:
    """SIGKILL; return the seconds until all that it had started ended too. RuntimeError where something goes on."""
    others = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    start = time.monotonic()
    while alive := [one for one in others if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]:
        if time.monotonic() - start > SOON:
            raise RuntimeError(f"still there {SOON:g} s after the kill: {alive}")
        time.sleep(0.02)
    return time.monotonic() - start


def undisturbed(run) -> tuple[dict[str, str], float]:
    """The fingerprint of a run that nothing disturbs, and the seconds it takes."""
    start = time.monotonic()
    if run.start().wait():
        raise RuntimeError(f"the undisturbed run failed:\n{end_of_log(run)}")
    return fingerprint(run.folder), time.monotonic() - start


def killed(run, expected: dict[str, str], seconds: float, kills: int, seed: int = 0) -> dict:
    """Kill ``run`` ``kills`` times and let it end; what was found, as a row of the table.

    The moments are drawn so that every factor of time between 0.1 s and a whole run is as likely as every other; where
    a run may begin with any notebook it does, and a quarter of a whole run is the longest. A run that ends before its
    moment must be right, and the next begins with nothing. What was found lies in row.json after every kill: called
    again in the same folder, this goes on from there.
    """
    longest = seconds / min(4, run.beginnings)
    row = {"kills": 0, "runs completed": 0, "files that differ": 0, "left behind": 0,
           "slowest end of children (s)": 0.0}
    if (kept := run.folder / "row.json").exists():
        row = json.loads(kept.read_text())

    def judge():
        row["runs completed"] += 1
        found = fingerprint(run.folder)
        differ = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        left = leftovers(run.folder)
        row["files that differ"] += len(differ)
        row["left behind"] += len(left)
        for name in (*differ, *left):
            print(f"    {name}", file=sys.stderr, flush=True)

    while row["kills"] < kills:
        rng = random.Random(f"{seed} {row['kills']} {row['runs completed']}")
        process = run.start(rng.randrange(run.beginnings))
        end = time.monotonic() + math.exp(rng.uniform(math.log(0.1), math.log(longest)))
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        if process.poll() is None:
            row["slowest end of children (s)"] = max(row["slowest end of children (s)"], round(kill(process), 2))
            row["kills"] += 1
        elif process.returncode:
            raise RuntimeError(f"a run failed after {row['kills']} kills:\n{end_of_log(run)}")
        else:
            judge()
            for part in ("store", "figures", "build"):
                shutil.rmtree(run.folder / part, ignore_errors=True)
        serialization.write_json(kept, row)
    if run.start().wait():
        raise RuntimeError(f"the last run failed:\n{end_of_log(run)}")
    judge()
    return row


def together(folder: Path, expected: dict[str, str], only: Sequence[str]) -> dict:
    """Two ``figures`` at once, and a reader that runs the notebooks' sources beside them, on one store."""
    runs = [Command(folder, only).start() for _ in range(2)]
    reader = subprocess.Popen([sys.executable, __file__, "--folder", str(folder), "--only", *only, "--read"],
                              env={**os.environ, "PYTHONPATH": str(ROOT)})
    codes = [process.wait() for process in (*runs, reader)]
    found = fingerprint(folder)
    differ = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    log = (folder / "log").read_text()
    return {"failed": sum(map(bool, codes)), "files that differ": len(differ), "left behind": len(leftovers(folder)),
            "times one waited for another": log.count("another process is making"),
            "made twice": len(made := [line for line in log.splitlines() if "L_RC" in line]) - len(set(made))}


def main(argv: Sequence[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--command", action="store_true", help="with kernels: evae figures")
    parser.add_argument("--folder", type=Path, help="where to work, and go on from; else a temporary one")
    parser.add_argument("--read", action="store_true", help="only run the sources once in --folder")
    arguments = parser.parse_args(argv)
    if arguments.read:
        sys.exit(Forked(arguments.folder, arguments.only).start().wait())
    with tempfile.TemporaryDirectory(prefix="evae kills {é} ") as temporary:
        kind = Command if arguments.command else Forked
        folder = arguments.folder or Path(temporary)
        if not (known := folder / "undisturbed.json").exists():
            shutil.rmtree(folder / "undisturbed", ignore_errors=True)
            serialization.write_json(known, undisturbed(kind(folder / "undisturbed", arguments.only)))
        expected, seconds = json.loads(known.read_text())
        row = killed(kind(folder / "killed", arguments.only), expected, seconds, arguments.kills, arguments.seed)
    row = {"files compared": len(expected), "undisturbed (s)": round(seconds, 1), **row}
    print(json.dumps(row), flush=True)
    return row


if __name__ == "__main__":
    main()
