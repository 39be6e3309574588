"""Many ladders at once: what is planned, the one map on any executor, workers that die, the same tables everywhere."""

import csv
import json
import os
import signal
import threading
import time
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from dataclasses import replace

import cluster_faults
import pytest
import torch
from cluster_faults import TINY, tables, tiny

from evae_companion.cli import main
from evae_companion.cluster import Climb, Shard, Summary, local, run_task, run_tasks, scheduler, units
from evae_companion.cluster.grid import chains, numbers
from evae_companion.cluster.phase_ladders import small_data, to_collapse, to_posterior_collapse
from evae_companion.cluster.tables import endings, phase, states
from evae_companion.cluster.tasks import work
from evae_companion.presets import PRESETS
from evae_companion.store import deadline
from evae_companion.store.artifact import identity
from evae_companion.store.object_store import StoreLocation
from evae_core import Hamiltonian, skyrmion_lattice, topological_charge
from evae_core.textures import helix


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    """The same ensemble, one unit after the other in this process."""
    return cluster_faults.serial(tmp_path_factory.mktemp("serial"), tiny())


def test_numbers():
    assert numbers("1e-4,1e-3", "x") == [1e-4, 1e-3]
    assert numbers("0.2:0.4:5", "x") == [0.2, 0.25, 0.3, 0.35, 0.4]
    assert numbers("1,2:3:2", "x") == [1, 2, 3]
    for wrong in ("", "a", "1:2", "1:2:1", "1,1", "nan", "1:2:x"):
        with pytest.raises(ValueError, match="first:last:count"):
            numbers(wrong, "--D")


def test_what_an_ensemble_holds():
    p = PRESETS["smoke"]
    full = chains(p, 2, [1e-4, 1e-3], [0.6, 0.3])
    assert len(full) == 2 * 2 * 3 and {round(chain.B * p.J / chain.D**2, 9) for chain in full} == {round(5 / 9, 9)}
    assert {chain.data.shape for chain in full} == {(32, 32)}
    assert {chain.data.shape for chain in chains(p, 1, [1e-3], [0.6], sizes=[16, 48])} == {(16, 16), (48, 48)}
    assert {chain.B for chain in chains(p, 1, [1e-3], [0.6], [0.1])} == {0.1}
    for wrong in ({"seeds": 0}, {"betas": [2e-3]}, {"D": [0.0]}, {"sizes": [24]}):
        with pytest.raises(ValueError):
            chains(**{"p": p, "seeds": 1, "betas": [1e-3], "D": [0.6]} | wrong)


def test_units_are_cut_where_ladders_part():
    data = small_data(TINY, 0.8, 0.1)
    up, beta = to_collapse(TINY, 1e-3), to_posterior_collapse(TINY, 1e-3)
    found = units([(data, beta), (data, up)])
    assert found[:2] == [Shard(data, 0), Shard(data, 1)]
    assert found[2:] == [Climb(data, (up[0],)), Climb(data, tuple(beta[1:])), Climb(data, tuple(up[1:]))]
    assert units([(data, up), (data, up[:3])])[2:] == [Climb(data, tuple(up))], "what is on the way is no branch"
    names = [identity(spec)[1] for unit in found for spec in unit.specs()]
    assert len(names) == len(set(names)) == 2 + len({*up, *beta})
    assert found[3].reads()[-1] == found[2].makes()[-1], "it starts from the stage where they part"


def test_processes_give_the_serial_tables(tmp_path, serial):
    place, seen = StoreLocation(str(tmp_path / "store")), []
    outcome = run_tasks(work(tiny()), local(2), place, "cpu", done=seen.append)
    assert not outcome.errors and len(seen) == len(outcome.receipts) == len(work(tiny()))
    assert tables(tiny(), place) == serial
    gamma = [chain for chain in tiny() if chain.beta][0]
    assert {name: tuple(s.shape) for name, s in states(gamma, place).items()} == dict.fromkeys(
        ("median", "lowest", "annealed"), (3, 16, 16))
    again = run_tasks(work(tiny()), Refuses, place, "cpu", done=seen.append)
    assert not again.receipts and len(seen) == 2 * len(work(tiny()))


def test_it_goes_on_where_part_is_done(tmp_path, serial):
    """Data and some stages are there, as after a stop: what is left needs them, and waits for none of them."""
    place, tasks = StoreLocation(str(tmp_path / "store")), work(tiny())
    before = [task for task in tasks if isinstance(task, Shard)]
    before.append(next(task for task in tasks if isinstance(task, Climb)))
    with ThreadPoolExecutor(1) as pool:
        assert len(run_tasks(before, lambda: Shared(pool), place, "cpu").receipts) == len(before)
        rest = run_tasks(tasks, lambda: Shared(pool), place, "cpu")
    assert len(rest.receipts) == len(tasks) - len(before) and tables(tiny(), place) == serial


class Refuses(Executor):
    def submit(self, *args, **kwargs):
        raise AssertionError("nothing was left to do")


def test_a_killed_worker_is_replaced(tmp_path, serial):
    """SIGKILL breaks a pool of processes: a new one does what was lost."""
    place, killed, lines = StoreLocation(str(tmp_path / "store")), [], []

    def start():
        pool = local(2)()
        if not killed:
            threading.Thread(target=kill, args=(pool,), daemon=True).start()
        return pool

    def kill(pool):
        while not (list((tmp_path / "store").glob("stage-*.partial-*")) and pool._processes):
            time.sleep(0.01)
        killed.append(next(iter(pool._processes)))
        os.kill(killed[0], signal.SIGKILL)

    outcome = run_tasks(work(tiny()), start, place, "cpu", lines.append)
    assert killed and outcome.lost and not outcome.errors and any("sent again" in line for line in lines)
    assert tables(tiny(), place) == serial


def test_errors_of_the_work_are_told_and_the_others_go_on(tmp_path):
    good = tiny()[:1]
    bad = [replace(chain, data=replace(chain.data, schedule=replace(chain.data.schedule, max_descent=1)))
           for chain in good]
    place = StoreLocation(str(tmp_path))
    with ThreadPoolExecutor(1) as pool:
        outcome = run_tasks(work([*good, *bad]), lambda: Shared(pool), place, "cpu")
    assert endings(good, place) and not endings(bad, place)
    failed = {type(unit).__name__ for unit in outcome.errors}
    assert failed == {"Shard", "Climb", "Summary"} and not outcome.lost
    words = [outcome.errors[unit] for unit in outcome.errors if isinstance(unit, Summary)]
    assert "failed: " in words[0] and "descen" in words[0]


class Shared(Executor):
    """Somebody else's executor, which is not shut down."""

    def __init__(self, pool):
        self.pool = pool

    def submit(self, *args, **kwargs):
        return self.pool.submit(*args, **kwargs)


def test_lost_again_and_again_is_an_error(tmp_path, monkeypatch):
    class Broken(Executor):
        def submit(self, *args, **kwargs):
            future = Future()
            future.set_exception(BrokenExecutor("gone"))
            return future

    monkeypatch.setattr(scheduler, "PAUSE", 0.0)
    shard = work(tiny())[:1]
    outcome = run_tasks(shard, Broken, StoreLocation(str(tmp_path)), "cpu")
    assert f"lost {scheduler.TRIES} times" in outcome.errors[shard[0]] and outcome.lost == scheduler.TRIES


def test_work_that_was_begun_is_collected_when_the_executor_breaks(tmp_path, monkeypatch):
    """Two futures of a broken executor fail one after the other; meanwhile it refuses what became ready."""
    class Breaks(Executor):
        def __init__(self):
            self.futures = []

        def submit(self, *args, **kwargs):
            if len(self.futures) == 2:
                raise BrokenExecutor("gone")
            self.futures.append(Future())
            if len(self.futures) == 2:
                for k, future in enumerate(self.futures):
                    threading.Timer(0.1 + 0.2 * k, future.set_exception, [BrokenExecutor("gone")]).start()
            return self.futures[-1]

    monkeypatch.setattr(scheduler, "PAUSE", 0.0)
    made = []
    with ThreadPoolExecutor(1) as pool:
        def start():
            made.append(Shared(pool) if made else Breaks())
            return made[-1]

        shards = [task for task in work(tiny()) if isinstance(task, Shard)]
        more = shards + [Shard(replace(shards[0].data, seed=9), 0)]
        outcome = run_tasks(more, start, StoreLocation(str(tmp_path)), "cpu")
    assert len(outcome.receipts) == len(more) and outcome.lost == 2 and len(made) == 2


def test_an_executor_that_takes_nothing_is_an_error(tmp_path, monkeypatch):
    class Full(Executor):
        def submit(self, *args, **kwargs):
            raise RuntimeError("no more threads")

    monkeypatch.setattr(scheduler, "PAUSE", 0.0)
    with pytest.raises(RuntimeError, match=f"took no work {scheduler.TRIES} times.*no more threads"):
        run_tasks(work(tiny()), Full, StoreLocation(str(tmp_path)), "cpu")


def test_the_time_box_ends_it(tmp_path, monkeypatch):
    monkeypatch.setenv(deadline.ENV, deadline.after(0))
    outcome = run_tasks(work(tiny()), Refuses, StoreLocation(str(tmp_path)), "cpu")
    assert outcome.over and not outcome.receipts and not outcome.errors
    with pytest.raises(deadline.DeadlineExceeded):
        run_task(work(tiny())[0], StoreLocation(str(tmp_path)), "cpu", deadline.after(0))


def test_phases():
    H = Hamiltonian(D=0.6, B=0.2)
    lattice, line = skyrmion_lattice(H, (32, 32)), helix(H, (32, 32))
    order = torch.linalg.vector_norm(lattice.mean((1, 2)))
    assert phase(H, 1024, float(topological_charge(lattice)), float(order)) == "skyrmions"
    assert phase(H, 1024, float(topological_charge(line)), float(line.mean((1, 2)).norm())) == "helix"
    assert phase(H, 1024, 0.0, 1.0) == "uniform"
    assert phase(H, 1024, -1.0, 0.1) == "helix" and phase(H, 1024, -1.0, 0.9) == "uniform", "with a defect"


def test_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(PRESETS, "smoke", TINY)
    line = ["ensemble", "--preset", "smoke", "--short", "--betas", "1e-3", "--D", "0.8", "--workers", "1",
            "--output", str(tmp_path / "tables")]
    assert main([*line, "--list"]) == 0 and "0 of" in capsys.readouterr().out
    assert main([*line, "--minutes", "0"]) == 3 and "goes on from here" in capsys.readouterr().out
    assert main(line) == 0 and "2 of 2 ladders are complete" in capsys.readouterr().out
    with (tmp_path / "tables" / "chains.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["D"]) == 0.8 and row["phase_annealed"] in ("skyrmions", "helix", "uniform")
    with (tmp_path / "tables" / "stages.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 10
    assert json.loads((tmp_path / "tables" / "ensemble.json").read_text())["complete"] == 2
    for wrong in (["--D", "0"], ["--seeds", "0"], ["--sizes", "20"], ["--sizes", "16.5"], ["--gpus"],
                  ["--workers", "0"], ["--B", "x"]):
        assert main([*line, *wrong]) == 2 and capsys.readouterr().err.startswith("evae: ")
