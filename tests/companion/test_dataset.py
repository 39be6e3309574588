"""Data sets: disjoint, verified, resumable, independent of the shards they are made in."""

import dataclasses
import threading
import time

import numpy as np
import pytest
import torch
from cuda_stand_in import emulate

from evae_companion import dataset
from evae_companion.data_specs import DataSpec, confined_spec, data_spec
from evae_companion.dataset import load_data, verify
from evae_companion.presets import PRESETS
from evae_companion.store.store import Store
from evae_core import Hamiltonian, Schedule, anneal, relax, skyrmion_lattice, topological_charge
from evae_core.annealing import gpu

H = Hamiltonian(D=0.6, B=0.2)
SMALL = DataSpec(H, (16, 16), train=10, validation=3, test=2, shard=4, schedule=Schedule(sweeps=10, overrelax=0))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def test_sets_are_the_replicas_in_order(store):
    data = load_data(SMALL, store, "cpu")
    everything = anneal(H, (16, 16), 15, seed=0, device="cpu", schedule=SMALL.schedule)
    joined = torch.cat([data.train[:], data.validation[:], data.test[:]])
    assert torch.equal(joined, everything)
    assert [len(s) for s in (data.train, data.validation, data.test)] == [10, 3, 2]
    assert len(torch.unique(joined.flatten(1), dim=0)) == 15


def test_shard_size_does_not_matter(store):
    a = load_data(SMALL, store, "cpu")
    b = load_data(dataclasses.replace(SMALL, shard=15), store, "cpu")
    assert torch.equal(a.train[:], b.train[:]) and torch.equal(a.test[:], b.test[:])
    for key, values in a.train.statistics.items():
        np.testing.assert_array_equal(values, b.train.statistics[key])


def test_indexing(store):
    train = load_data(SMALL, store, "cpu").train
    whole = train[:]
    for index in ([3, 9, 3, 0], np.array([7, 1]), slice(2, 9, 3), slice(None, None, -1)):
        assert torch.equal(train[index], whole[torch.from_numpy(np.arange(10)[index].copy())])
    assert torch.equal(train[-1], whole[-1]) and train[5].shape == (3, 16, 16)
    with pytest.raises(IndexError):
        train[10]


def test_statistics(store):
    train = load_data(SMALL, store, "cpu").train
    spins = train[:].double()
    np.testing.assert_allclose(train.statistics["energy"], H.energy_per_spin(spins).numpy(), rtol=1e-12)
    np.testing.assert_allclose(train.statistics["magnetisation"], spins[:, 2].mean((1, 2)).numpy(), rtol=1e-12)
    assert np.abs(train.statistics["charge"] - np.round(train.statistics["charge"])).max() < 1e-9
    assert train.statistics["torque"].max() < 2e-4


def test_a_killed_making_continues(store, monkeypatch):
    made = []
    real = dataset.make_shard

    def dies_after_two(spec, shard, folder, device):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(shard["first"])
        real(spec, shard, folder, device)

    monkeypatch.setattr(dataset, "make_shard", dies_after_two)
    with pytest.raises(KeyboardInterrupt):
        load_data(SMALL, store, "cpu")
    monkeypatch.setattr(dataset, "make_shard", lambda *a: (made.append(a[1]["first"]), real(*a)))
    load_data(SMALL, store, "cpu")
    assert made == [0, 4, 8, 12]


def test_memory_is_bounded_by_the_shard(store, monkeypatch):
    """No more than a shard is ever annealed at a time, and what is loaded stays on disk until it is used."""
    asked = []
    real = dataset.anneal
    monkeypatch.setattr(dataset, "anneal", lambda H, shape, n, **k: (asked.append(n), real(H, shape, n, **k))[1])
    data = load_data(SMALL, store, "cpu")
    assert asked == [4, 4, 4, 3]
    assert all(isinstance(shard, np.memmap) for shard in data.train._shards)


def test_verification_refuses_what_is_not_at_rest():
    good = anneal(H, (16, 16), 2, seed=1, device="cpu", schedule=SMALL.schedule)
    verify(H, good, 1e-4)
    turned = good.clone()
    turned[0, :, 3, 3] = turned[0, :, 3, 3].flip(0)
    for bad, word in ((turned, "torque"), (1.1 * good, "unit"), (good * float("nan"), "finite")):
        with pytest.raises(RuntimeError, match=word):
            verify(H, bad, 1e-4)


def test_verification_refuses_a_charge_that_is_no_integer():
    """Two neighbours that are exactly antiparallel: the triangles they belong to have no solid angle."""
    spins = torch.nn.functional.normalize(torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)), dim=1)
    weak = Hamiltonian(J=0.01, D=0.0, B=0.0)
    verify(weak, spins, 0.3)
    spins[0, :, 3, 3], spins[0, :, 3, 4] = torch.tensor([0.0, 0.0, -1.0]), torch.tensor([0.0, 0.0, 1.0])
    with pytest.raises(RuntimeError, match="charge that is off an integer by 0"):
        verify(weak, spins, 0.3)


def test_what_relaxes_to_the_lowest_state_is_left_out(store):
    """A small box, where many configurations come to rest in the best state; the shards stay what they are."""
    schedule = Schedule(sweeps=50, overrelax=0, quench=20, tolerance=0.3)
    spec = DataSpec(H, (32, 32), train=24, validation=8, test=8, shard=20, schedule=schedule)
    whole = load_data(spec, store, "cpu")
    rest = np.concatenate([s.statistics["rest_energy"] for s in (whole.train, whole.validation, whole.test)])
    energy = np.concatenate([s.statistics["energy"] for s in (whole.train, whole.validation, whole.test)])
    cold = relax(H, whole.train[:6].double())
    np.testing.assert_allclose(whole.train.statistics["rest_energy"][:6], H.energy_per_spin(cold), atol=1e-6)
    assert (rest < energy).all() and whole.left_out == 0
    lowest = float(rest[:24].min())  # of the training set: it may be one state alone
    lines: list[str] = []
    fewer = load_data(dataclasses.replace(spec, lowest=lowest), Store(store.root.parent / "again"), "cpu", lines.append)
    copies = rest <= lowest + dataset.SAME
    assert fewer.left_out == copies.sum() > 0 and f"{fewer.left_out} of 40" in lines[-1]
    assert [len(s) for s in (fewer.train, fewer.validation, fewer.test)] == [
        int((~copies[a:b]).sum()) for a, b in ((0, 24), (24, 32), (32, 40))]
    assert torch.equal(fewer.train[:], whole.train[np.flatnonzero(~copies[:24])])
    assert spec.shards() == dataclasses.replace(spec, lowest=lowest).shards()
    with pytest.raises(RuntimeError, match="nothing is left to learn"):
        load_data(dataclasses.replace(spec, lowest=0.0), store, "cpu")


def test_presets_leave_out_the_best_lattice():
    """The number in the preset is the energy of a state that can be made: no lower one is known of its box."""
    for preset in PRESETS.values():
        spec = data_spec(preset)
        best = float(spec.hamiltonian.energy_per_spin(skyrmion_lattice(spec.hamiltonian, spec.shape).double()))
        assert spec.lowest is not None and spec.lowest <= best + 1e-8
        if preset.name != "smoke":  # whose box fits no good lattice: there annealing finds a lower state
            assert spec.lowest == pytest.approx(best, abs=1e-8)
        assert spec.schedule.overrelax == 0 and spec.schedule.tolerance == 0.1


@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_verification_in_pieces_changes_no_bit(n, monkeypatch):
    """Whole and in pieces of a few configurations, which bound the memory: the same statistics."""
    spins = anneal(H, (16, 16), n, seed=3, device="cpu", schedule=SMALL.schedule)
    sizes, real = [], dataset._statistics
    monkeypatch.setattr(dataset, "_statistics", lambda H, part, t: (sizes.append(len(part)), real(H, part, t))[1])
    whole = verify(H, spins, 1e-4)
    assert sizes == [n]
    monkeypatch.setitem(dataset.PIECE, "cpu", 3 * 8 * 3 * 16 * 16)
    pieces = verify(H, spins, 1e-4)
    assert sizes[1:] == {1: [1], 2: [2], 5: [5], 12: [3, 3, 3, 3]}[n]
    for key, values in whole.items():
        np.testing.assert_array_equal(values, pieces[key])
    bad = spins.clone()
    bad[-1, :, 3, 3] = -bad[-1, :, 3, 3]
    with pytest.raises(RuntimeError, match="torque"):
        verify(H, bad, 1e-4)


def test_several_shards_at_once(store, tmp_path, monkeypatch):
    """As where a GPU anneals: four under way, the same data; a shard that fails stops the rest."""
    alone = load_data(SMALL, store, "cpu")
    monkeypatch.setattr(dataset, "runs_on", lambda device: "cuda")
    lines, meeting, real = [], threading.Barrier(4, timeout=60), dataset.make_shard
    monkeypatch.setattr(dataset, "make_shard", lambda *a: (meeting.wait(), real(*a)))
    together = load_data(SMALL, Store(tmp_path / "other"), "cpu", lines.append)
    assert torch.equal(alone.train[:], together.train[:]) and torch.equal(alone.test[:], together.test[:])
    for key, values in alone.train.statistics.items():
        np.testing.assert_array_equal(values, together.train.statistics[key])
    assert lines[-1] == "data: 15 configurations of 16 x 16 annealed (4 of 4 shards)"

    made = []
    def fails(spec, shard, folder, device):
        made.append(shard["first"])
        if shard["first"]:
            time.sleep(0.5)  # the first has failed long before
        raise RuntimeError("a torque")

    monkeypatch.setattr(dataset, "make_shard", fails)
    with pytest.raises(RuntimeError, match="torque"):
        load_data(dataclasses.replace(SMALL, shard=1, seed=9), Store(tmp_path / "third"), "cpu")
    assert len(made) < 15


def test_data_from_the_gpu(store, monkeypatch, request):
    """Annealed, verified and stored through the GPU's code, which without a GPU runs on the CPU."""
    if not gpu.usable():
        emulate(monkeypatch, request.getfixturevalue("emulated_cupy"), threads=1)
    data = load_data(SMALL, store, "cuda")
    whole = anneal(H, (16, 16), 15, seed=0, device="cuda", schedule=SMALL.schedule)
    assert torch.equal(torch.cat([data.train[:], data.validation[:], data.test[:]]), whole)


def test_equal_configurations_are_found(store, monkeypatch):
    real = dataset.anneal
    monkeypatch.setattr(dataset, "anneal", lambda *a, **k: real(*a, **k | {"first": 0}))  # every shard the same
    with pytest.raises(RuntimeError, match="equal"):
        load_data(SMALL, store, "cpu")


@pytest.mark.parametrize("boundary, shape", [("open", (16, 32)), (("open", "periodic"), (17, 32)),
                                             (("periodic", "open"), (16, 33))])
def test_open_samples(boundary, shape, store):
    of = confined_spec(PRESETS["smoke"], shape, boundary=boundary)
    spec = dataclasses.replace(of, train=3, validation=1, shard=4)
    data = load_data(spec, store, "cpu")
    assert spec.hamiltonian.boundary == boundary and data.train[:].shape == (3, 3, *shape) and len(data.test) == 0
    charge = topological_charge(data.train[:].double(), periodic=spec.hamiltonian.periodic_axes)
    np.testing.assert_allclose(data.train.statistics["charge"], charge.numpy(), atol=1e-9)
    assert float((charge - charge.round()).abs().max()) > 0.01  # edges hold any part of a charge
    if boundary == "open":
        assert confined_spec(PRESETS["smoke"], shape).spec() == of.spec()
    else:
        with pytest.raises(ValueError, match="even along every periodic axis"):
            dataclasses.replace(spec, shape=shape[::-1])


def test_presets_make_valid_specs():
    for preset in PRESETS.values():
        spec = data_spec(preset)
        assert spec.shape == (preset.size, preset.size) and preset.size % 16 == 0
        assert preset.B * preset.J / preset.D**2 == pytest.approx(0.5556, abs=1e-4)
    paper = PRESETS["paper"]
    assert (paper.train, paper.validation, paper.test) == (30_000, 5_000, 4_300)


def test_shapes_that_cannot_be_annealed():
    for shape in ((15, 16), (16,)):
        with pytest.raises(ValueError, match="shape"):
            dataclasses.replace(SMALL, shape=shape)
