"""The annealing kernels on the GPU: ``kernels.cu`` through CuPy, one replica a thread block.

CuPy is needed only here (``pip install cupy-cuda12x`` or ``cupy-cuda13x``, never two of them
together). It imports without a driver and fails at the first array, so :func:`usable` runs a
tiny kernel before the GPU is trusted.
"""

from __future__ import annotations

import threading
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import torch

from evae_core.annealing.schedule import PATIENCE, SLACK, STRIDE
from evae_core.hamiltonian import Hamiltonian

# All kernels of kernels.cu: one for every memory, edge, kind of anisotropy and precision, so that their loops hold no
# branch on what is the same for all sites.
PLACES = [f"{memory}_{edge}" for memory in ("shared", "global") for edge in ("periodic", "open")]
KERNELS = ("seed_streams", *(f"sweep_{place}{K}" for place in PLACES for K in ("", "_K")),
           *(f"descend_{real}_{place}" for real in ("float", "double") for place in PLACES))
OPTIONS = ("-std=c++17", "-use_fast_math")  # of the compiler, NVRTC or nvcc
PIECE = 2**28  # bytes of spins that are computed at a time
ROWS = 8  # a thread's rows of a colour, at least: the longer its strip, the fewer numbers it reads for a site
DESCENT_THREADS = {4: 1024, 8: 512}  # most threads a block, by the bytes of a number; the kernels' launch bounds

_compiling = threading.Lock()  # threads that come together wait for one compilation, which takes some seconds


def _said(problem: str) -> str:
    """The problem, with a warning where torch does see a GPU: then one would not expect to anneal on the CPU."""
    if torch.cuda.is_available():
        warnings.warn(f"torch sees a GPU, but annealing cannot use it: {problem}; install CuPy for your CUDA version",
                      RuntimeWarning, stacklevel=4)
    return problem


@cache
def _problem() -> str | None:
    """Why no GPU can be used here, or None where one can."""
    try:
        import cupy
    except ImportError as error:
        return _said(f"CuPy cannot be imported ({error})")
    if not cupy.cuda.is_available():
        return _said("CuPy finds no CUDA device or driver")
    try:
        twice = cupy.ElementwiseKernel("float32 x", "float32 y", "y = 2 * x", "evae_probe")
        if float(twice(cupy.ones(1, cupy.float32))[0]) == 2:
            return None
        problem = "a test kernel on the GPU gave a wrong number"
    except Exception as error:  # whatever a broken driver or compiler raises is the answer, and is shown
        problem = f"a test kernel on the GPU failed ({type(error).__name__}: {error})"
    warnings.warn(f"there is a CUDA device, but {problem}", RuntimeWarning, stacklevel=3)
    return problem


def usable() -> bool:
    """True where CuPy is installed and runs a kernel on a GPU. Warns where there is a GPU that does not work."""
    return _problem() is None


def require() -> None:
    """Raise RuntimeError, saying what is missing, unless the GPU is usable."""
    if not usable():
        raise RuntimeError(f'device="cuda" needs a usable GPU: {_problem()}; install CuPy for your CUDA version, '
                           f'or use device="cpu"')


@cache
def _kernels(device: int) -> dict:
    """The compiled kernels by name, for one device."""
    import cupy

    module = cupy.RawModule(code=Path(__file__).with_name("kernels.cu").read_text(), options=OPTIONS)
    return {name: module.get_function(name) for name in KERNELS}


def threads(shape) -> int:
    """Threads a block: a multiple of 32, at most 1024; each has a column and at least ROWS rows of a colour.

    It depends on the lattice alone: the random streams belong to threads, so it decides the numbers drawn.
    """
    ny, nx = shape
    columns = (nx + 1) // 2
    groups = max(1, min(1024 // columns, -(-ny // ROWS)))  # of rows
    return min(1024, -(-groups * columns // 32) * 32)


def layout(shape) -> np.ndarray:
    """(3, Ny, Nx) int: where a kernel's flat array (2 colours, 3, Ny, Nc) holds component a of the spin at (y, x)."""
    ny, nx = shape
    nc = (nx + 1) // 2
    a, y, x = np.mgrid[:3, :ny, :nx]
    return (((x + y) % 2 * 3 + a) * ny + y) * nc + x // 2


def output_device() -> torch.device:
    """Where ``Replicas.spins`` are: on the GPU where torch was built for CUDA, else in host memory."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def supports(H: Hamiltonian) -> bool:
    """Whether these kernels know all of ``H``: J, D, B and K on nearest neighbours, and one boundary for both axes."""
    return H.plain and len(set(H.periodic_axes)) == 1


def workers() -> int:
    """Pieces that are computed at a time: one, since it fills the GPU."""
    return 1


def pieces(shape, first: int, n: int) -> list[tuple[int, int]]:
    """The replicas first ... first + n - 1, divided into pieces that fit the memory: (first, n) of each."""
    size = max(1, PIECE // (12 * shape[0] * (shape[1] + 1)))
    return [(start, min(size, first + n - start)) for start in range(first, first + n, size)]


class Replicas:
    """Replicas ``first`` ... ``first + n - 1`` of a lattice on the current CUDA device; as in ``cpu.Replicas``."""

    def __init__(self, H, shape, n, first=0, seed=0, dtype=np.float32):
        import cupy

        ny, nx = self.shape = H.check_shape(shape)
        self.H, self.n, self.dtype, self.cupy = H, n, np.dtype(dtype), cupy
        self.threads, index = threads(self.shape), layout(self.shape)
        self.columns = (nx + 1) // 2
        self.index = cupy.asarray(index)
        alive = np.zeros(6 * ny * self.columns, np.uint8)
        alive[index] = 1 if H.mask is None else H.mask
        alive = np.ascontiguousarray(alive.reshape(2, 3, -1)[:, 0])
        self.alive = None if alive.all() else cupy.asarray(alive)
        self.S = cupy.zeros((n, 6 * ny * self.columns), self.dtype)
        self.state = cupy.empty((n, 4, self.threads), cupy.uint32)
        self._launch("seed_streams", self.threads, 0, self.state, np.uint64(seed), np.uint64(first))

    def _launch(self, name, threads, shared, *args):
        with _compiling:
            kernel = _kernels(self.cupy.cuda.Device().id)[name]
        if shared > kernel.max_dynamic_shared_size_bytes:
            kernel.max_dynamic_shared_size_bytes = shared
        if "_shared_" in name:
            kernel.preferred_shared_memory_carveout = 100  # per cent: as many blocks a multiprocessor as fit
        kernel((self.n,), (threads,), args, shared_mem=shared)

    def _place(self, extra: int) -> tuple[str, int]:
        """Which of PLACES the lattice goes to, and the shared memory to ask for, with ``extra`` bytes besides it."""
        most = self.cupy.cuda.Device().attributes["MaxSharedMemoryPerBlockOptin"]
        size = self.S[0].nbytes + extra
        edge = "periodic" if self.H.periodic else "open"
        return (f"shared_{edge}", size) if size <= most else (f"global_{edge}", extra)

    def _lattice(self):
        alive = np.uint64(0) if self.alive is None else self.alive  # a null pointer: every site is magnetic
        return np.int32(self.shape[0]), np.int32(self.columns), alive

    def _model(self):
        return tuple(self.dtype.type(value) for value in (self.H.J, self.H.D, self.H.B, self.H.K))

    def load(self, spins: torch.Tensor) -> None:
        """Take the spins of all replicas, (n, 3, Ny, Nx)."""
        cupy, spins = self.cupy, spins.detach()
        spins = cupy.from_dlpack(spins.contiguous()) if spins.is_cuda else cupy.asarray(spins.numpy())
        spins = spins.astype(self.dtype)
        if self.H.mask is not None:
            spins = cupy.where(cupy.asarray(self.H.mask), spins, self.dtype.type(0))
        if self.H.dmi == "neel":
            spins = cupy.stack((spins[:, 1], -spins[:, 0], spins[:, 2]), 1)
        self.S[:, self.index.reshape(-1)] = spins.reshape(self.n, -1)

    def spins(self) -> torch.Tensor:
        """A copy of the spins, (n, 3, Ny, Nx), at :func:`output_device`."""
        spins = self.S[:, self.index]
        if self.H.dmi == "neel":
            spins = self.cupy.stack((-spins[:, 1], spins[:, 0], spins[:, 2]), 1)
        if output_device().type == "cuda":
            self.cupy.cuda.get_current_stream().synchronize()  # torch may use another stream
            return torch.from_dlpack(spins)
        return torch.from_numpy(self.cupy.asnumpy(spins))

    def sweep(self, betas, overrelax: int, heat: bool = True) -> None:
        """As in ``cpu.Replicas``."""
        betas = self.cupy.asarray(np.asarray(betas, np.float32))
        place, shared = self._place(0)
        kernel = f"sweep_{place}{'_K' if self.H.K else ''}"
        self._launch(kernel, self.threads, shared, self.S, self.state, betas, np.int32(len(betas)), np.int32(heat),
                     np.int32(overrelax + (not heat)), *self._lattice(), *self._model())

    def descend(self, tolerance: float, max_sweeps: int) -> float:
        """As in ``cpu.Replicas``."""
        real = self.dtype.type
        torques = self.cupy.empty(self.n, self.dtype)
        threads = min(self.threads, DESCENT_THREADS[self.dtype.itemsize])
        place, shared = self._place(threads * self.dtype.itemsize)
        precision = "double" if self.dtype == np.float64 else "float"
        self._launch(f"descend_{precision}_{place}", threads, shared, self.S, torques, *self._lattice(),
                     *self._model(), real(tolerance), np.int32(max_sweeps), real(SLACK), np.int32(PATIENCE),
                     np.int32(STRIDE))
        return float(torques.max())
