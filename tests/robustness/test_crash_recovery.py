"""What a killed command leaves: no process, no lock, and what the next run of the same command needs."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest

from evae_companion import parent_watchdog
from evae_companion.store import serialization
from evae_companion.store.store import Store

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX's")

TRAIN = """
import dataclasses
from evae_companion import sweeps
from evae_companion.dataset import DataSpec
from evae_core import Hamiltonian, Schedule
from evae_core.presets import PRESETS
from evae_core.training import stage_schedule
sweeps.FEW_STEPS = 0
if __name__ == "__main__":
    data = DataSpec(Hamiltonian(D=0.6, B=0.2), (16, 16), train=24, validation=6, test=6,
                    schedule=Schedule(sweeps=10, overrelax=0))
    long = dataclasses.replace(PRESETS["smoke"], first_steps=100000, betas=(1e-4,), batch=8)
    sweeps.train_sweeps([stage_schedule(long, seed=seed) for seed in range(2)], data, workers=2, device="cpu")
"""


def family(process: subprocess.Popen) -> set[psutil.Process]:
    return set(psutil.Process(process.pid).children(recursive=True))


def until(condition, seconds=120.0):
    """Wait for ``condition()`` to be true, and return it."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
    return found


def alive(processes) -> list[psutil.Process]:
    """Those that run; one that nobody has buried yet does not."""
    return [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def free(locks: Path) -> bool:
    import filelock
    for path in locks.glob("*.lock"):
        try:
            filelock.FileLock(path).acquire(timeout=0).lock.release()
        except filelock.Timeout:
            return False
    return True


def kill_when(process: subprocess.Popen, busy, capfd=None):
    """SIGKILL once ``busy()``; all that it started must be gone soon after."""
    try:
        until(lambda: process.poll() is not None or busy())
        assert process.poll() is None, "it ended before it could be killed"
        others = family(process)
        assert others
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    until(lambda: not alive(others), 20)


def test_workers_end_with_a_killed_training(tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)
    store = tmp_path / "store"
    process = subprocess.Popen([sys.executable, tmp_path / "train.py"],
                               env={**os.environ, "EVAE_STORE": str(store), "PYTHONPATH": str(ROOT)})
    kill_when(process, lambda: len(list(store.glob("stage-*.partial-*"))) == 2)
    assert free(store / "locks")


def test_a_kernel_ends_with_a_killed_run(tmp_path):
    folder = tmp_path / "a {b} é"
    (folder / "notebooks").mkdir(parents=True)
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3",
                                                                 "language": "python"}})
    sleep = ("import time\nfrom evae_companion.store.store import Store\nopen('begun', 'w').close()\n"
             "Store().get({'kind': 'thing'}, lambda folder: time.sleep(600))")
    notebook.cells = [nbformat.v4.new_code_cell('preset = "laptop"', metadata={"tags": ["parameters"]}),
                      nbformat.v4.new_code_cell(sleep)]
    nbformat.write(notebook, folder / "notebooks" / "01_first.ipynb")
    code = (f"import sys\nfrom pathlib import Path\nfrom evae_companion.cli import main\n"
            f"sys.exit(main(['figures', '--preset', 'smoke'], Path({str(folder)!r})))")

    def start():
        return subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)})

    for left in (1, 1):  # the second run removes what the first left, and leaves its own
        kill_when(start(), lambda: (folder / "begun").exists() and list(Store().root.glob("thing-*.partial-*")))
        assert len(list((folder / "build" / "smoke").glob("*.partial-*"))) == left
        until(lambda: free(Store().root / "locks"), 60)  # the kernel looks for its parent every so often
        (folder / "begun").unlink()


def test_an_orphan_whose_parent_died_before_it_looked(monkeypatch):
    """The parent's number is the one that it gave, not the one that a late look would find."""
    monkeypatch.setenv("JPY_PARENT_PID", str(2**22 + 1))
    monkeypatch.setattr(parent_watchdog.time, "sleep", lambda seconds: pytest.fail("it waited"))
    parent_watchdog._until_adopted()


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_what_a_killed_write_left_goes_with_the_next(tmp_path):
    path, dead = tmp_path / "a[1] {b}.json", dead_process()
    theirs, mine = (tmp_path / f"{path.name}{serialization.PARTIAL}{pid}-0123abcd" for pid in (dead, os.getppid()))
    other = tmp_path / f"another.json{serialization.PARTIAL}{dead}-0123abcd"
    folder = tmp_path / f"{path.name}{serialization.PARTIAL}{dead}-4567abcd"
    folder.mkdir()
    for one in (theirs, mine, other, folder / "half"):
        one.write_text("half")
    serialization.write_json(path, 1)
    assert sorted(tmp_path.iterdir()) == sorted([path, mine, other]), "only of this file, and only of the dead"


def test_a_file_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    serialization.atomic_write(tmp_path / "a", b"one")
    monkeypatch.setattr(Path, "write_bytes", lambda self, content: open(self, "wb").close() or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        serialization.atomic_write(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"one" and len(list(tmp_path.iterdir())) == 1
