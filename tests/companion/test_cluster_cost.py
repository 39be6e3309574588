"""The simulation of an ensemble on many workers, against what can be told without it."""

from dataclasses import replace

import pytest

from evae_companion.cluster.cost import Costs, Task, simulate, tasks
from evae_companion.cluster.grid import chains
from evae_companion.cluster.tasks import work
from evae_companion.presets import PRESETS

FREE = Costs(shard=1.0, stage=10.0, ending=2.0, shard_bytes=0.0, stage_bytes=0.0, ending_bytes=0.0, overhead=0.0,
             bandwidth=1.0)


def alone(count, seconds=10.0, bytes_=0.0):
    return [Task(seconds, makes=(k,), bytes=bytes_) for k in range(count)]


def test_nothing_shared_divides_by_the_workers():
    for workers, seconds in ((1, 120.0), (3, 40.0), (12, 10.0), (100, 10.0)):
        found = simulate(alone(12), workers, FREE)
        assert found.seconds == pytest.approx(seconds) and found.longest == 10.0
        assert found.workers_busy == pytest.approx(120 / (seconds * workers))


def test_a_chain_is_as_long_on_any_number_of_workers():
    chain = [Task(1.0, (k - 1,) if k else ()) for k in range(7)]
    assert simulate(chain, 50, FREE).seconds == simulate(chain, 1, FREE).longest == 7.0


def test_the_scheduler_and_the_store_become_the_limit():
    assert simulate(alone(100, 1.0), 100, replace(FREE, overhead=0.5)).seconds == pytest.approx(51.0)
    written = simulate(alone(100, 1.0, 4.0), 100, replace(FREE, bandwidth=2.0))
    assert written.seconds == pytest.approx(1 + 200) and written.moved == 400
    assert written.store_busy == pytest.approx(200 / 201)


def test_what_a_worker_has_it_does_not_read_again():
    first = Task(1.0, makes=(0,), bytes=8.0)
    after = [Task(1.0, (0,), {0: 8.0}) for _ in range(3)]
    assert simulate([first, *after], 1, FREE).moved == 8.0
    assert simulate([first, *after], 3, FREE).moved == 8.0 * 3  # written once, read by two others
    data = [Task(1.0, data=1, shards=5) for _ in range(4)]
    costs = replace(FREE, shard_bytes=2.0, bandwidth=1e9)
    assert simulate(data, 1, costs).moved == 10.0 and simulate(data, 2, costs).moved == 20.0
    again = simulate(data, 2, replace(costs, remade=True))
    assert again.moved == 0 and again.seconds == pytest.approx(5 + 2), "each worker makes the five shards once"


def test_tasks_of_an_ensemble():
    units = work(chains(PRESETS["smoke"], 2, [1e-3], [0.8, 1.0], short=True))
    found = tasks(units, FREE)
    assert len(found) == len(units)
    assert sum(len(task.after) > 0 for task in found) == sum(bool(unit.reads()) for unit in units)
    once = simulate(found, 1, FREE)
    assert once.seconds == pytest.approx(sum(task.seconds for task in found))
    assert once.workers_busy == pytest.approx(1)
    assert simulate(found, 4, FREE).seconds >= once.longest
    remade = replace(FREE, remade=True)
    assert len(tasks(units, remade)) == len(units) - sum(not unit.reads() for unit in units)
    assert simulate(tasks(units, remade), 1, remade).seconds == pytest.approx(once.seconds), "each shard once"


def test_a_circle():
    with pytest.raises(ValueError, match="circle"):
        simulate([Task(1.0, (0,))], 1, FREE)
