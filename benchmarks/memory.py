"""Whether memory stays flat: the resident size of a process over many training steps, and over many annealed shards."""

from __future__ import annotations

import dataclasses
import gc
import tempfile
from pathlib import Path

import psutil
import torch


def resident() -> float:
    """MB of this process in memory."""
    gc.collect()
    return psutil.Process().memory_info().rss / 1e6


def growth(work, count: int, warm: int) -> dict:
    """``work(k)`` for k < ``count``; memory after ``warm`` of them, at the end, and how much it grew."""
    for k in range(count):
        if k == warm:
            before = resident()
        work(k)
    after = resident()
    return {"times": count, "MB after warming up": round(before), "MB at the end": round(after),
            "grew (%)": round(100 * (after / before - 1), 2)}


def training(steps: int) -> dict:
    """Optimiser steps as a stage takes them, each on another batch."""
    from evae_core import Hamiltonian
    from evae_core.training.step import make_step
    H = Hamiltonian(D=0.6, B=0.2)
    step = make_step(16, H, 1e-3, 1.0, "cpu", fused=False)
    spins = torch.nn.functional.normalize(torch.randn(64, 3, 16, 16), dim=1)
    return growth(lambda k: step.update(spins[torch.randint(64, (8,))]), steps, steps // 5)


def annealing(shards: int) -> dict:
    """Shards annealed, verified and stored, as a data set makes them."""
    from evae_companion.data_specs import DataSpec
    from evae_companion.dataset import load_data
    from evae_companion.store.store import Store
    from evae_core import Hamiltonian, Schedule
    spec = DataSpec(Hamiltonian(D=0.6, B=0.2), (16, 16), train=16, validation=0, test=0, shard=16,
                    schedule=Schedule(sweeps=5, overrelax=1))
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        return growth(lambda k: load_data(dataclasses.replace(spec, seed=k), store, "cpu"), shards, shards // 5)


if __name__ == "__main__":
    import sys
    torch.set_num_threads(1)
    print({"training": training, "annealing": annealing}[sys.argv[1]](int(sys.argv[2])))
