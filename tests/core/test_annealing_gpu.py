"""The GPU's annealing kernels, run on the CPU where there is no GPU, and what surrounds them."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from cuda_stand_in import emulate
from test_annealing import BOUNDARIES, magnetic, make, random_spins

import evae_core.annealing
from evae_core import Hamiltonian
from evae_core.annealing import Schedule, anneal, cpu, gpu, heat_bath, relax


@pytest.mark.skipif(gpu.usable(), reason="a GPU is usable")
def test_cuda_without_a_gpu_says_so():
    for call in (lambda: anneal(Hamiltonian(), (16, 16), 2, device="cuda"),
                 lambda: relax(Hamiltonian(), random_spins(3, 8, 8), device="cuda")):
        with pytest.raises(RuntimeError, match='device="cpu"'):
            call()


@pytest.mark.parametrize("shape, boundary", [((6, 8), "periodic"), ((20, 18), "periodic"), ((7, 9), "mask"),
                                             ((12, 11), "open"), ((6, 80), "periodic"), ((5, 71), "mask")])
@pytest.mark.parametrize("memory", [227 * 1024, 1024])
def test_barriers(shape, boundary, memory, monkeypatch, emulated_cupy):
    """Reflections and descent use no random numbers: 32 threads that wait for each other give the bits of one."""
    monkeypatch.setitem(emulated_cupy.cuda.Device().attributes, "MaxSharedMemoryPerBlockOptin", memory)
    H = make(boundary, *shape, D=0.6, B=0.2)
    start = random_spins(2, 3, *shape)
    start[..., ~magnetic(H, shape)] = 0
    results = []
    for threads in (1, 32):
        emulate(monkeypatch, emulated_cupy, threads)
        replicas = gpu.Replicas(H, shape, 2)
        replicas.load(start)
        torch.testing.assert_close(replicas.spins(), start, atol=0, rtol=0)
        replicas.sweep([1.0] * 5, 0, heat=False)
        swept = replicas.spins()
        torque = replicas.descend(1e-3, 600)
        results.append((swept, replicas.spins(), torque))
    assert torch.equal(results[0][0], results[1][0]) and torch.equal(results[0][1], results[1][1])
    assert results[0][2] == results[1][2] < 1e-3


@pytest.mark.parametrize("boundary", [boundary for boundary in BOUNDARIES if isinstance(boundary, str)])
@pytest.mark.parametrize("K", [0.0, 0.3])
def test_the_memory_does_not_matter(boundary, K, monkeypatch, emulated_cupy):
    """A lattice in shared memory and one that does not fit, by what the device says of itself: the same bits."""
    emulate(monkeypatch, emulated_cupy, 32)
    asked, attributes = [], emulated_cupy.cuda.Device().attributes
    launch = gpu.Replicas._launch
    monkeypatch.setattr(gpu.Replicas, "_launch", lambda self, name, *a: (asked.append(name), launch(self, name, *a)))
    H, results = make(boundary, 14, 20, D=0.6, B=0.2, K=K), []
    lattice = 2 * 3 * 14 * 10 * 4
    for memory in (lattice + 32 * 4, lattice, lattice - 4):
        monkeypatch.setitem(attributes, "MaxSharedMemoryPerBlockOptin", memory)
        results.append(anneal(H, (14, 20), 2, schedule=Schedule(sweeps=10), device="cuda"))
    assert [name.split("_")[1] for name in asked if name.startswith("sweep")] == ["shared"] * 4 + ["global"] * 2
    assert [name.split("_")[2] for name in asked if name.startswith("descend")] == ["shared", "global", "global"]
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


@pytest.mark.parametrize("T", [1.0, 0.5, 0.2])
def test_energies_are_those_of_the_cpu(T, monkeypatch, emulated_cupy):
    """Heat bath and over-relaxation against the CPU's kernels: mean energies of independent replicas."""
    emulate(monkeypatch, emulated_cupy, 1)
    H, up, means = Hamiltonian(D=0.6, B=0.2), torch.zeros(64, 3, 16, 16), []
    up[:, 2] = 1
    for device, seed in (("cpu", 1), ("cuda", 2)):
        spins, energies = heat_bath(H, up, T=T, sweeps=100, seed=seed, overrelax=1, device=device), []
        for k in range(50):
            spins = heat_bath(H, spins, T=T, sweeps=10, seed=100 * seed + k, overrelax=1, device=device)
            energies.append(H.energy_per_spin(spins.double()))
        means.append(torch.stack(energies).mean(0))
    error = float(torch.hypot(means[0].std(), means[1].std())) / 64**0.5
    assert abs(float(means[0].mean() - means[1].mean())) < 4 * error < 0.008


def test_results_stay_where_they_were_computed(monkeypatch, emulated_cupy):
    """keep=True asks the backend where its results lie, and changes no number."""
    if not gpu.usable():
        emulate(monkeypatch, emulated_cupy, 1)
    H, kw = Hamiltonian(D=0.6, B=0.2), dict(schedule=Schedule(sweeps=5), seed=4)
    kept = anneal(H, (8, 8), 3, device="cuda", keep=True, **kw)
    assert kept.device.type == gpu.output_device().type
    assert torch.equal(kept.cpu(), anneal(H, (8, 8), 3, device="cuda", **kw))
    monkeypatch.setattr(gpu, "output_device", lambda: torch.device("meta"))
    assert anneal(H, (8, 8), 3, device="cuda", keep=True, **kw).device.type == "meta"
    assert anneal(H, (8, 8), 3, device="cuda", **kw).device.type == "cpu"
    assert anneal(H, (8, 8), 3, device="cpu", keep=True, **kw).device.type == "cpu"
    with pytest.raises(TypeError, match="keep"):
        anneal(H, (8, 8), 3, keep=1)


def test_gpu_streams_are_those_of_the_cpu(monkeypatch, emulated_cupy):
    emulate(monkeypatch, emulated_cupy, 32)
    state = gpu.Replicas(Hamiltonian(), (16, 16), 3, first=5, seed=2**63 + 1).state
    np.testing.assert_array_equal(state, cpu.seed_streams(2**63 + 1, np.arange(5, 8), 32).transpose(2, 0, 1))


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (64, 64), (128, 128), (2000, 1000)])
def test_gpu_layout(shape):
    index, threads = gpu.layout(shape), gpu.threads(shape)
    columns = (shape[1] + 1) // 2
    assert index.shape == (3, *shape) and np.bincount(index.reshape(-1)).max() == 1
    assert index.min() == 0 and index.max() < 6 * shape[0] * columns
    assert threads % 32 == 0 and 32 <= threads <= 1024
    parts = gpu.pieces(shape, 7, 100_000)
    assert parts[0][0] == 7 and sum(n for _, n in parts) == 100_000
    assert all(a + n == b for (a, n), (b, _) in zip(parts, parts[1:], strict=False))


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")
@pytest.mark.parametrize("which", [0, -1])
def test_kernels_compile(which, tmp_path):
    """For the oldest and the newest GPU that the compiler knows, no more registers than a block may have."""
    known = subprocess.run(["nvcc", "--list-gpu-code"], capture_output=True, text=True, check=True).stdout.split()
    source = Path(evae_core.annealing.__file__).with_name("kernels.cu")
    done = subprocess.run(["nvcc", *gpu.OPTIONS, f"-arch={known[which]}", "-cubin", "-Xptxas", "-v", "-Werror",
                           "all-warnings", "-o", tmp_path / "kernels.cubin", source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = re.findall(r"entry function '(\w+)'.*?Used (\d+) registers", done.stderr, re.DOTALL)
    registers = {name: int(used) for name, used in said}
    assert set(registers) == set(gpu.KERNELS)
    for name, used in registers.items():  # a multiprocessor has 65536
        assert used * gpu.DESCENT_THREADS[8 if "double" in name else 4] <= 65536
