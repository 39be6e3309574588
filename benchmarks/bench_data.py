"""Batches of a stored data set: torch's DataLoader over single configurations against the reader that training uses:
`make bench`. The shards lie in the page cache; no disk is measured."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from measure import in_turns, machine, median, spread, table
from torch.utils.data import DataLoader, Dataset

from evae_companion.dataset import SpinSet

BATCH, SHARDS, SHARD = 100, 8, 250


class Single(Dataset):
    """One configuration a time, as a tutorial would have it."""

    def __init__(self, shards):
        self.shards = shards

    def __len__(self):
        return sum(map(len, self.shards))

    def __getitem__(self, index):
        return torch.from_numpy(np.array(self.shards[index // SHARD][index % SHARD]))


def batches(size: int, folder: Path) -> tuple:
    rng = np.random.default_rng(0)
    shards = []
    for number in range(SHARDS):
        path = folder / f"{size}-{number}.npy"
        np.save(path, rng.normal(size=(SHARD, 3, size, size)).astype(np.float32))
        shards.append(np.load(path, mmap_mode="r"))
        shards[-1].sum()  # into the page cache
    statistics = [{"energy": np.zeros(SHARD)}] * SHARDS
    spins = SpinSet("train", shards, statistics, 0, SHARD * SHARDS)
    loader = iter(())

    def plain():
        nonlocal loader
        batch = next(loader, None)
        if batch is None:
            loader = iter(DataLoader(Single(shards), batch_size=BATCH, shuffle=True))
            batch = next(loader)
        return batch

    found = in_turns({"plain": plain, "fast": lambda: spins[rng.integers(0, len(spins), BATCH)]}, 15)
    megabytes = BATCH * 3 * size**2 * 4 / 1e6
    return (f"{size} x {size}", spread(found["plain"], 1e3, 1), spread(found["fast"], 1e3, 1),
            f"{median(found['plain']) / median(found['fast']):.1f}", f"{megabytes / median(found['fast']) / 1e3:.1f}")


if __name__ == "__main__":
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        rows = [batches(size, Path(name)) for size in (64, 128)]
    table(f"A batch of {BATCH} stored configurations: ms",
          ("lattice", "DataLoader", "SpinSet", "ratio", "SpinSet GB/s"), rows)
