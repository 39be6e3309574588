"""Annealer and training step, measured on this machine: `make bench`. Ratios within one run are what to quote."""

import os
import platform
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F

from evae_core import VAE, Hamiltonian, Schedule, anneal
from evae_core.model import UpConv, pad_periodic
from evae_core.training import make_step

H = Hamiltonian(D=0.6, B=0.2)


def median_seconds(work, repeats: int = 7) -> float:
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


class PlainUpConv(nn.Module):
    """What UpConv stands for: upsample, pad, 5x5 convolution."""

    def __init__(self, fast: UpConv):
        super().__init__()
        self.weight = fast.weight

    def forward(self, x):
        return F.conv2d(pad_periodic(F.interpolate(x, scale_factor=2, mode="nearest"), 2), self.weight)


def plain(model: VAE) -> VAE:
    for k, layer in enumerate(model.decoder.convolutions):
        if isinstance(layer, UpConv):
            model.decoder.convolutions[k] = PlainUpConv(layer)
    return model


def training_step(size: int, batch: int) -> None:
    spins = F.normalize(torch.randn(batch, 3, size, size), dim=1)
    fast = make_step(size, H, 1e-3, 1.0, "cpu")
    slow = plain(VAE(size))
    optimizer = torch.optim.Adam(slow.parameters(), lr=1e-3)

    def eager():
        loss = slow.losses(spins, H, 1e-3, 1.0).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    times = median_seconds(eager), median_seconds(lambda: fast.update(spins))
    print(f"training step, {size} x {size}, batch {batch}, {torch.get_num_threads()} threads: plain layers, channels "
          f"first, unfused Adam {1e3 * times[0]:.0f} ms; as trained {1e3 * times[1]:.0f} ms; "
          f"ratio {times[0] / times[1]:.2f}")


def annealing(size: int, D: float, B: float) -> None:
    system = Hamiltonian(D=D, B=B)
    cores = len(os.sched_getaffinity(0))
    n = 16 * cores
    schedules = [Schedule(sweeps=s, overrelax=3, tolerance=1e-2) for s in (50, 250)]
    short, long = (median_seconds(lambda s=s: anneal(system, (size, size), n, device="cpu", schedule=s), 3)
                   for s in schedules)
    updates = n * size * size * 4 * 200
    rate = updates / (long - short) / 1e6
    print(f"annealing, {size} x {size}, {n} replicas, {cores} cores: {rate:.0f} million mixed updates/s "
          f"(1 heat bath + 3 over-relaxation), {rate / cores:.0f} a core")


if __name__ == "__main__":
    print(f"{platform.processor() or platform.machine()}, {len(os.sched_getaffinity(0))} cores, "
          f"torch {torch.__version__}, Python {platform.python_version()}; load {os.getloadavg()[0]:.1f}; medians")
    annealing(64, 0.6, 0.2)
    annealing(128, 0.3, 0.05)
    training_step(64, 32)
    training_step(64, 100)
