"""The same seed gives the same bytes: the smoke ladder trained twice, and with other numbers of threads."""

import numpy as np
import pytest
import torch
from test_sweeps import SMALL, TINY

from evae_companion import sweeps
from evae_companion.data_specs import data_spec
from evae_companion.dataset import load_data
from evae_companion.presets import PRESETS
from evae_companion.store.store import Store
from evae_core.annealing import Schedule, anneal
from evae_core.hamiltonian import Hamiltonian
from evae_core.training.stages import stage_schedule

SMOKE = PRESETS["smoke"]


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_the_smoke_ladder_twice(tmp_path, threads):
    """Data set and stages of the beta ladder, byte for byte; only the seconds they took may differ."""
    threads(1)
    files = []
    for name in ("first", "second"):
        store = Store(tmp_path / name)
        run = sweeps.train_stages(stage_schedule(SMOKE), data_spec(SMOKE), store, "cpu")
        files.append({path.relative_to(store.root): path.read_bytes() for path in store.root.rglob("*")
                      if path.is_file() and path.name not in ("meta.json", "measured.json")})
        files[-1] |= {number: {**trained.measured, "seconds": 0} for number, trained in enumerate(run)}
    assert files[0] == files[1] and sum("stage" in str(name) for name in files[0]) >= 2 * 7


def test_the_number_of_threads_changes_no_byte_of_the_data(tmp_path, threads):
    found = []
    for number in (1, 2, 3):
        threads(number)
        data = load_data(data_spec(SMOKE), Store(tmp_path / str(number)), "cpu")
        found.append((data.train[:], data.train.statistics))
    for spins, statistics in found[1:]:
        assert torch.equal(spins, found[0][0])
        assert all(np.array_equal(statistics[name], values) for name, values in found[0][1].items())


@pytest.mark.parametrize("shape, boundary", [((16, 16), "periodic"), ((9, 13), "open")])
def test_neither_threads_nor_the_split_change_a_replica(threads, shape, boundary):
    H, schedule = Hamiltonian(D=0.6, B=0.2, K=0.1, boundary=boundary), Schedule(sweeps=10, overrelax=1)
    threads(1)
    whole = anneal(H, shape, 21, seed=3, device="cpu", schedule=schedule)
    threads(3)
    parts = [anneal(H, shape, n, seed=3, device="cpu", schedule=schedule, first=first)
             for first, n in ((0, 1), (1, 7), (8, 13))]
    assert torch.equal(torch.cat(parts), whole)


def test_training_is_the_same_whatever_threads_torch_has(tmp_path, threads):
    """A stage is trained on one thread."""
    histories = []
    for number in (1, 2):
        threads(number)
        (trained,) = sweeps.train_stages(stage_schedule(TINY)[:1], SMALL, Store(tmp_path / str(number)), "cpu")
        assert trained.measured["threads"] == 1 and torch.get_num_threads() == number
        histories.append(trained.history)
    np.testing.assert_array_equal(*histories)
