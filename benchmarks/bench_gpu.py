"""The annealer on a GPU: first whether it is right, then how fast it is. Takes under five minutes on an H100 or H200.

    python benchmarks/bench_gpu.py [results.json] [--configurations 39300] [--folder FOLDER]

Needs a CUDA GPU, torch built for CUDA, cupy, numba, numpy, and this repository on the PYTHONPATH. scipy and filelock
are used where they are installed; what is measured here does without them. Results go to the file that is named, or to
bench_gpu.json in the folder that the environment variable OUT names, and are written anew after every part. The data
set is written below --folder (the system's folder for temporary files; 8 GB) and removed.

Exit status: 0, 1 where a check failed, 77 where there is no usable GPU and nothing was run.
"""

import argparse
import importlib.util
import json
import math
import os
import platform
import statistics
import sys
import tempfile
import time
import types
from contextlib import suppress
from pathlib import Path

import numba  # noqa: F401 (before the stand-ins below, as the next three: they look for scipy by themselves)
import numpy as np
import torch

with suppress(ImportError):
    import cupy


class NoLock:
    """filelock.FileLock where it is not installed: this benchmark's store has one user."""

    def __init__(self, path):
        self.path = path

    def acquire(self, timeout=None):
        pass

    release = acquire


def stand_in(name: str, **attributes) -> None:
    """A module with ``attributes`` alone, in place of one that is not installed and of which nothing is needed here."""
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__dict__.update(attributes)


if importlib.util.find_spec("scipy") is None:
    stand_in("scipy", ndimage=None, spatial=None)
    stand_in("scipy.sparse", coo_array=None, csgraph=None)
if importlib.util.find_spec("filelock") is None:
    stand_in("filelock", FileLock=NoLock, Timeout=TimeoutError)

from evae_companion import data_specs, dataset  # noqa: E402 (after the stand-ins)
from evae_companion.presets import PRESETS  # noqa: E402
from evae_companion.store.store import Store  # noqa: E402
from evae_core import Hamiltonian, Schedule, anneal, heat_bath  # noqa: E402
from evae_core.annealing import gpu, relax  # noqa: E402

# Energy per spin of the paper's system on 128 x 128, and its error, from independent Metropolis and heat-bath codes.
REFERENCE = {1.0: (-0.8210, 4e-4), 0.5: (-1.5073, 5e-4), 0.2: (-1.8439, 5e-4)}
PAPER = Hamiltonian()
ROUNDING = 2e-7  # J per spin: what float32 spins cost an energy; five times that are no difference
SKIPPED = 77  # the exit status that says so to automake, and to make bench


def synchronize() -> None:
    cupy.cuda.Device().synchronize()


def seconds(work) -> float:
    synchronize()
    start = time.perf_counter()
    work()
    synchronize()
    return time.perf_counter() - start


class GlobalMemory:
    """Within it the kernels for lattices that do not fit shared memory are used for all."""

    def __enter__(self):
        self.place = gpu.Replicas._place
        gpu.Replicas._place = lambda replicas, extra: (
            "global_periodic" if replicas.H.periodic else "global_open", extra)

    def __exit__(self, *error):
        gpu.Replicas._place = self.place


# --- is it right? ---

def equilibrium(device: str, n: int, size: int, sweeps: int, seed: int) -> dict[float, tuple[float, float]]:
    """{T: (mean energy per spin, its error)} of n replicas, cooled from one temperature to the next."""
    up = torch.zeros(n, 3, size, size)
    up[:, 2] = 1
    spins = heat_bath(PAPER, up, T=math.inf, sweeps=1, seed=seed, device=device)
    found, before = {}, 1.5
    for goal in REFERENCE:
        for T in np.linspace(before, goal, 10).tolist():
            spins = heat_bath(PAPER, spins, T, sweeps // 10, seed=seed + int(1e6 * T), overrelax=1, device=device)
        energies = []
        for k in range(10):
            spins = heat_bath(PAPER, spins, T=goal, sweeps=sweeps // 10, seed=seed + 7 + k, overrelax=1, device=device)
            energies.append(PAPER.energy_per_spin(spins.double()))
        means = torch.stack(energies).mean(0)
        found[goal], before = (float(means.mean()), float(means.std()) / math.sqrt(n)), goal
    return found


def energies(size: int, n: tuple[int, int], sweeps: int) -> dict:
    """Energies at three temperatures: this GPU, this CPU, and the independent codes."""
    here, there = equilibrium("cuda", n[0], size, sweeps, 1), equilibrium("cpu", n[1], size, sweeps, 2)
    rows = {}
    for T, (reference, uncertain) in REFERENCE.items():
        (e, error), (cpu, cpu_error) = here[T], there[T]
        rows[str(T)] = {"gpu": e, "gpu_error": error, "cpu": cpu, "cpu_error": cpu_error, "reference": reference,
                        "right": abs(e - cpu) < 5 * math.hypot(error, cpu_error)
                        and (size != 128 or abs(e - reference) < 3 * math.hypot(error, uncertain))}
    return rows


def lattices(size: int) -> dict[str, tuple[Hamiltonian, tuple[int, int]]]:
    """Every kind of kernel, sizes that are odd, and sizes that no number of threads divides."""
    mask = np.random.default_rng(0).random((size - 1, size + 3)) < 0.8
    kw = dict(D=0.6, B=0.2)
    return {"periodic": (Hamiltonian(**kw), (size, size)), "with K": (Hamiltonian(K=0.3, **kw), (size, size)),
            "Neel": (Hamiltonian(dmi="neel", **kw), (size, size)), "open": (Hamiltonian(boundary="open", **kw),
                                                                            (size, size)),
            "open, odd": (Hamiltonian(boundary="open", **kw), (size - 1, size + 3)),
            "masked": (Hamiltonian(boundary=mask, **kw), mask.shape), "one row": (Hamiltonian(boundary="open", **kw),
                                                                                  (1, size + 1))}


def sigmas_apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """Standard errors between the means of two sets of energies per spin (J), of replicas each.

    Where all replicas end in one state their spread is rounding, so an error is ``ROUNDING`` at least.
    """
    error = math.hypot(*(float(e.std()) / math.sqrt(len(e)) for e in (one, other)))
    return float(one.mean() - other.mean()) / math.hypot(error, ROUNDING)


def every_lattice(size: int, n: int) -> dict:
    """Shared against global memory bit for bit, the checks of a data set, and mean energies against the CPU's."""
    rows, schedule = {}, Schedule(sweeps=50)
    for name, (H, shape) in lattices(size).items():
        spins = anneal(H, shape, n, seed=3, device="cuda", schedule=schedule)
        with GlobalMemory():
            same = torch.equal(spins, anneal(H, shape, n, seed=3, device="cuda", schedule=schedule))
        dataset.verify(H, spins, schedule.tolerance)  # raises
        outside = 0 if H.mask is None else int((spins[..., ~torch.from_numpy(H.mask.copy())] != 0).sum())
        e = [H.energy_per_spin(s.double()) for s in (spins, anneal(H, shape, n, seed=4, device="cpu",
                                                                   schedule=schedule))]
        apart = sigmas_apart(*e)
        rows[name] = {"shape": list(shape), "shared_and_global_agree": same, "sigmas_from_cpu": apart,
                      "right": same and outside == 0 and abs(apart) < 5}
    return rows


def torque_after_relax(size: int) -> dict:
    """relax() in float64 of annealed states."""
    spins = anneal(PAPER, (size, size), 8, seed=5, device="cuda", schedule=Schedule(sweeps=50)).double()
    took = seconds(lambda: relax(PAPER, spins, tolerance=1e-7, device="cuda"))
    torque = float(PAPER.torque(relax(PAPER, spins, tolerance=1e-7, device="cuda")).max())
    return {"tolerance": 1e-7, "torque": torque, "seconds_8_replicas": took, "right": torque < 1.1e-7}


# --- how fast is it? ---

KINDS = {"heat bath": (True, 0), "over-relaxation": (False, 0), "1 + 3 mixed": (True, 3)}


def updates_a_second(size: int, n: int, kind: str, target: float) -> dict:
    """Spin updates a second of n replicas at T = 0.5 J: the median of three runs of about ``target`` seconds."""
    heat, overrelax = KINDS[kind]
    replicas = gpu.Replicas(PAPER, (size, size), n)
    replicas.sweep([0.0], 0)

    def run(sweeps):
        return seconds(lambda: replicas.sweep(np.full(sweeps, 2.0), overrelax, heat=heat))
    run(2)
    sweeps = max(4, min(100_000, int(10 * target / run(10))))
    times = [run(sweeps) for _ in range(3)]
    per_run = sweeps * (1 + overrelax) * n * size * size
    return {"size": size, "replicas": n, "kind": kind, "sweeps": sweeps, "updates_per_second":
            per_run / statistics.median(times), "spread": (max(times) - min(times)) / statistics.median(times)}


def a_shard(n: int, size: int, schedule: Schedule, folder: Path) -> dict:
    """Where the time of one shard of the data set goes, one part after the other."""
    replicas, parts = gpu.Replicas(PAPER, (size, size), n), {}
    replicas.sweep([0.0], 0)
    parts["sweeps"] = seconds(lambda: replicas.sweep(1 / schedule.temperatures(), schedule.overrelax))
    parts["quench"] = seconds(lambda: replicas.sweep(np.full(schedule.quench, 1e9), 0))
    parts["descent"] = seconds(lambda: replicas.descend(schedule.tolerance, schedule.max_descent))
    spins = replicas.spins()
    dataset.verify(PAPER, spins[:2], schedule.tolerance)  # what the first use of a GPU by torch takes
    made = []
    parts["verify, with digests"] = seconds(lambda: made.append(dataset.verify(PAPER, spins, schedule.tolerance)))
    parts["copy to the host"] = seconds(lambda: made.append(spins.cpu().numpy()))
    parts["write"] = seconds(lambda: dataset.save_arrays(folder / "spins.npy", made[1]))
    return {"configurations": n, "seconds": parts, "on": str(spins.device)}


def a_data_set(preset, configurations: int, folder: Path) -> dict:
    """The data set of a preset, or a part of it, through the store as the notebooks make it."""
    spec = data_specs.data_spec(preset)
    train = min(spec.train, configurations)
    rest = min(spec.validation, configurations - train)
    spec = data_specs.DataSpec(spec.hamiltonian, spec.shape, train, rest, configurations - train - rest, spec.shard,
                            spec.schedule, spec.seed)
    data = []
    took = seconds(lambda: data.append(dataset.load_data(spec, Store(folder), "cuda", print)))
    found = data[0].train.statistics
    return {"configurations": configurations, "seconds": took,
            "mean_energy": float(found["energy"].mean()), "mean_charge": float(found["charge"].mean()),
            "mean_magnetisation": float(found["magnetisation"].mean())}


def machine() -> dict:
    device = cupy.cuda.Device()
    properties = cupy.cuda.runtime.getDeviceProperties(device.id)
    return {"gpu": properties["name"].decode(), "multiprocessors": device.attributes["MultiProcessorCount"],
            "clock_GHz": device.attributes["ClockRate"] / 1e6,
            "shared_memory": device.attributes["MaxSharedMemoryPerBlockOptin"], "cores": os.cpu_count(),
            "versions": {"python": platform.python_version(), "torch": torch.__version__, "cupy": cupy.__version__,
                         "cuda": cupy.cuda.runtime.runtimeGetVersion(), "numpy": np.__version__}}


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("results", nargs="?", type=Path)
    parser.add_argument("--configurations", type=int, help="of the data set; default: the preset's")
    parser.add_argument("--folder", type=Path, help="where the data set is written; default: for temporary files")
    parser.add_argument("--preset", default="paper", choices=tuple(PRESETS))
    parser.add_argument("--size", type=int, default=128, help="lattice side of the checks")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256], help="lattice sides of the timings")
    parser.add_argument("--replicas", type=int, nargs="+", default=[132, 264, 528, 1056, 2112, 4224, 8448])
    parser.add_argument("--target", type=float, default=0.1, help="seconds a timed run")
    parser.add_argument("--sweeps", type=int, default=500, help="of the checks of energies, at each temperature")
    chosen = parser.parse_args(argv)
    try:
        gpu.require()
    except RuntimeError as error:
        print(f"not run: {error}")
        return SKIPPED
    out = chosen.results or (Path(os.environ["OUT"]) / "bench_gpu.json" if os.environ.get("OUT") else None)
    preset, found, begun = PRESETS[chosen.preset], {}, time.perf_counter()
    configurations = chosen.configurations or preset.train + preset.validation + preset.test

    def part(name, work, *arguments):
        start = time.perf_counter()
        found[name] = work(*arguments)
        print(f"--- {name} ({time.perf_counter() - start:.1f} s)\n{json.dumps(found[name], indent=1)}", flush=True)
        if out:
            out.write_text(json.dumps(found, indent=1) + "\n")

    part("machine", machine)
    part("compiling", lambda: {"seconds": seconds(lambda: gpu._kernels(0))})
    part("energies", energies, chosen.size, (264, 16), chosen.sweeps)
    part("lattices", every_lattice, chosen.size // 4, 64)
    part("relax", torque_after_relax, chosen.size)
    part("updates", lambda: [updates_a_second(size, n, kind, chosen.target) for size in chosen.sizes
                             for n in chosen.replicas for kind in KINDS])
    with GlobalMemory():
        part("updates in global memory", lambda: [updates_a_second(size, chosen.replicas[-1], kind, chosen.target)
                                                  for size in chosen.sizes for kind in KINDS])
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        part("a shard", a_shard, preset.shard, preset.size, data_specs.data_schedule(preset), Path(folder))
        part("data set", a_data_set, preset, configurations, Path(folder) / "store")
    wrong = [f"{name} {row}" for name in ("energies", "lattices") for row, values in found[name].items()
             if not values["right"]] + ([] if found["relax"]["right"] else ["relax"])
    part("verdict", lambda: {"wrong": wrong, "seconds": time.perf_counter() - begun})
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
