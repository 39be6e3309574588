"""A training step on one core against what that core can do at most: `make bench`.

The limits are measured: fused multiply-adds in registers, and a sum of arrays that fit no cache. Then a compiled step
is taken apart, layer by layer. Processor time, least of the repeats: other programs on the machine count little.
"""

import argparse
import time
from collections import defaultdict
from pathlib import Path

import torch
from measure import machine, table
from torch.nn import functional as F

from evae_core import Hamiltonian
from evae_core.cpp_extension import Library, argument
from evae_core.training import fused
from evae_core.training.step import make_step

LIMITS = Library("roofline", [Path(__file__).with_name("roofline.cpp")])
# Channels that a convolution makes per channel of its layer, and its taps.
KINDS = {fused.POOL: (1, 25), fused.SHUFFLE: (4, 9), fused.KEEP: (4, 9)}


def least(work, repeats: int = 7) -> float:
    """The least processor time of a call, in seconds."""
    found = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def limits() -> tuple[float, float]:
    """GFLOP/s of one core, and GB/s of arrays of 64 MB."""
    if problem := LIMITS.problem():
        raise SystemExit(f"not run: {problem}")
    rounds, n = 10**7, 2**24
    multiply_add, triad = LIMITS.function("multiply_add"), LIMITS.function("triad")
    arrays = torch.empty(n), torch.ones(n), torch.ones(n)
    return (1e-9 * multiply_add(argument(1)) * rounds / least(lambda: multiply_add(argument(rounds))),
            12e-9 * n / least(lambda: triad(*map(argument, (*arrays, n)))))


def operations(layer: tuple[int, int, int], n: int, height: int, width: int) -> float:
    """GFLOP of a layer's convolution: c_in, c and kind as the passes have them, of n maps (height, width)."""
    c_in, c, kind = layer
    wide, taps = KINDS[kind]
    return 2e-9 * taps * c_in * c * wide * n * height * width


def parts(size: int, batch: int, repeats: int = 12) -> dict[str, tuple[float, float]]:
    """{part of a step: (seconds, GFLOP)}, the whole step last."""
    H = Hamiltonian(D=0.6, B=0.2)
    spins = F.normalize(torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0)), dim=1)
    step = make_step(size, H, 1e-3, 1.0, "cpu", fused=True)
    seconds, work = defaultdict(list), {}
    plain, adam = fused.call, step.optimizer.step

    def timed(name, key, gflop, function, *args):
        start = time.process_time()
        result = function(*args)
        seconds[key].append(time.process_time() - start)
        work[key] = gflop
        return result

    def call(name, *args):
        if name.startswith("layer"):
            c_in, c, kind, shape = *args[:3], args[4:7] if name == "layer_forward" else args[5:8]
            gflop = operations((c_in, c, kind), *shape)
            backward = name == "layer_backward"
            key = f"convolution {c_in} to {c}, norm, {('maximum', 'shuffle', 'none')[kind]}, {name.split('_')[1]}"
            return timed(name, key, gflop * (2 if backward and c_in > 3 else 1), plain, name, *args)
        if name.startswith("output"):
            gflop = 2e-9 * 9 * 144 * batch * (size // 2) ** 2
            return timed(name, f"output convolution, {name.split('_')[1]}", gflop * (1 + (name == "output_backward")),
                         plain, name, *args)
        return timed(name, {"pack": "spins to maps"}.get(name, "unit spins, chords, energies"), 0.0, plain, name, *args)

    fused.call = call
    step.optimizer.step = lambda: timed("adam", "Adam", 0.0, adam)
    try:
        whole = least(lambda: step.update(spins), repeats)
    finally:
        fused.call, step.optimizer.step = plain, adam
    spin_calls = seconds.pop("unit spins, chords, energies")
    found = {name: (min(values), work[name]) for name, values in seconds.items()}
    found["unit spins, chords, energies, both ways"] = (min(spin_calls[::2]) + min(spin_calls[1::2]), 0.0)
    products = 6e-9 * batch * sum(layer.weight.numel() for layer in step.model.modules()
                                  if isinstance(layer, torch.nn.Linear))
    found["dense layers and the rest"] = (whole - sum(value for value, _ in found.values()), products)
    return found | {"whole step": (whole, sum(gflop for _, gflop in found.values()))}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[48, 128])
    parser.add_argument("--batch", type=int, default=32)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print(machine())
    if problem := fused.problem():
        raise SystemExit(f"not run: {problem}")
    peak, band = limits()
    print(f"one core: {peak:.0f} GFLOP/s of fused multiply-adds (float32), {band:.1f} GB/s of a sum of arrays")
    for size in chosen.sizes:
        found = parts(size, chosen.batch)
        whole = found["whole step"][0]
        convolutions = [value for name, value in found.items() if "convolution" in name]
        found = {"layers, all": tuple(map(sum, zip(*convolutions, strict=True)))} | found
        table(f"Training step, {size} x {size}, batch {chosen.batch}, one thread",
              ("part", "ms", "share of the step", "GFLOP", "share of the peak"),
              [(name, f"{1e3 * seconds:.2f}", f"{100 * seconds / whole:.0f} %", f"{gflop:.2f}" if gflop else "",
                f"{100 * gflop / seconds / peak:.0f} %" if gflop else "") for name, (seconds, gflop) in found.items()])
