"""kernels.cu without a GPU: compiled as C++, the threads of a block as threads, and numpy in place of CuPy."""

import ctypes
import subprocess
import sys
import threading
import types
from pathlib import Path

import numpy as np

import evae_core.annealing
from evae_core.annealing import gpu

SHIM = r"""
#include <barrier>
#include <cmath>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>
#define __shared__
#define __global__
#define __device__
#define __launch_bounds__(...)
#define __log2f log2f
#define __expf expf
using std::min, std::sqrt;
static thread_local struct { unsigned x; } threadIdx;
static struct { unsigned x; } blockIdx, blockDim;
static std::barrier<>* gate;
static void __syncthreads() { if (blockDim.x > 1) gate->arrive_and_wait(); }
static float rsqrtf(float x) { return 1 / sqrtf(x); }
static double rsqrt(double x) { return 1 / sqrt(x); }
#define __sincosf sine_and_cosine  // the C library has a __sincosf of its own
static void sine_and_cosine(float x, float* s, float* c) { *s = sinf(x); *c = cosf(x); }
static float __saturatef(float x) { return x > 0 ? min(x, 1.0f) : 0; }  // 0 for NaN, as on the GPU
static float __uint_as_float(unsigned x) { float y; std::memcpy(&y, &x, sizeof y); return y; }
static unsigned __float_as_uint(float x) { unsigned y; std::memcpy(&y, &x, sizeof y); return y; }
#include KERNELS
double pool[1 << 15];

template <class... A, size_t... I>
void call(void (*kernel)(A...), void** args, std::index_sequence<I...>) { kernel(*static_cast<A*>(args[I])...); }

template <class... A> void launch(void (*kernel)(A...), int grid, int block, void** args) {
    blockDim.x = block;
    auto one = [=](unsigned t) { threadIdx.x = t; call(kernel, args, std::index_sequence_for<A...>()); };
    for (blockIdx.x = 0; blockIdx.x < unsigned(grid); blockIdx.x++) {
        std::memset(pool, 0xff, sizeof pool);  // NaN: nothing may be read before it is written
        std::barrier<> here(block);
        gate = &here;
        std::vector<std::thread> others;
        for (int t = 1; t < block; t++) others.emplace_back(one, t);
        one(0);
        for (auto& other : others) other.join();
    }
}

extern "C" int run(const char* name, int grid, int block, void** args) {
#define TRY(kernel) if (!std::strcmp(name, #kernel)) { launch(kernel, grid, block, args); return 0; }
    TRIES
    return 1;
}
"""


class Kernel:
    """Stands for a cupy.RawKernel; one runs at a time, as in a stream."""

    running = threading.Lock()

    def __init__(self, library, name):
        self.library, self.name, self.max_dynamic_shared_size_bytes = library, name, 48 * 1024

    def __call__(self, grid, block, args, shared_mem=0):
        assert shared_mem <= self.max_dynamic_shared_size_bytes
        assert all(a.flags.c_contiguous for a in args if isinstance(a, np.ndarray))
        held = [np.array(a.ctypes.data if isinstance(a, np.ndarray) else a) for a in args]
        pointers = (ctypes.c_void_p * len(held))(*(a.ctypes.data for a in held))
        with self.running:
            assert self.library.run(self.name.encode(), grid[0], block[0], pointers) == 0


def build(folder):
    """A stand-in for CuPy: numpy, and kernels.cu compiled as C++ in ``folder`` to run on the CPU."""
    source = Path(evae_core.annealing.__file__).with_name("kernels.cu")
    made, newest = folder / "kernels.so", max(path.stat().st_mtime for path in (source, Path(__file__)))
    if not made.exists() or made.stat().st_mtime < newest:
        (folder / "shim.cpp").write_text(SHIM)
        tries = " ".join(f"TRY({name})" for name in gpu.KERNELS)
        subprocess.run(["g++", "-std=c++20", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-shared", "-fPIC",
                        f'-DKERNELS="{source}"', f"-DTRIES={tries}", "-o", made, folder / "shim.cpp"], check=True)
    library = ctypes.CDLL(str(made))
    cupy = types.ModuleType("cupy")
    cupy.folder = folder
    for name in ("asarray", "empty", "float32", "stack", "uint32", "where", "zeros"):
        setattr(cupy, name, getattr(np, name))
    cupy.asnumpy = np.asarray
    device = types.SimpleNamespace(id=0, attributes={"MaxSharedMemoryPerBlockOptin": 227 * 1024})
    cupy.cuda = types.SimpleNamespace(Device=lambda: device)
    cupy.RawModule = lambda code, options: types.SimpleNamespace(get_function=lambda name: Kernel(library, name))
    return cupy


compile_kernels = gpu._kernels.__wrapped__  # without the cache, which belongs to real devices


def emulate(monkeypatch, cupy, threads):
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(gpu, "_problem", lambda: None)
    monkeypatch.setattr(gpu, "threads", lambda shape: threads)
    monkeypatch.setattr(gpu, "_kernels", compile_kernels)
