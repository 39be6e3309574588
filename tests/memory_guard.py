"""Arrays that end, or begin, at memory that nobody may touch: a read or write beside them ends the process at once.

Run as a script it lets every compiled kernel work on such arrays, on lattices of every awkward size, and compares the
results with those from ordinary memory: ``python tests/memory_guard.py cpu|cuda|fused``.
"""

import ctypes
import mmap
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

PAGE = mmap.PAGESIZE
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
SHAPES = [(1, 1), (1, 2), (2, 1), (1, 3), (3, 3), (2, 5), (5, 2), (7, 4), (3, 17), (17, 3), (9, 33), (1, 40), (40, 1)]


def fenced(array: np.ndarray, at_end: bool) -> np.ndarray:
    """A copy that ends at (or, not ``at_end``, begins after) a page without any rights."""
    pages = -(-max(array.nbytes, 1) // PAGE)
    memory = mmap.mmap(-1, (pages + 2) * PAGE)
    view = np.frombuffer(memory, np.uint8)
    for page in (0, pages + 1):
        if _libc.mprotect(view.ctypes.data + page * PAGE, PAGE, 0):
            raise OSError(ctypes.get_errno(), "mprotect")
    first = (pages + 1) * PAGE - array.nbytes if at_end else PAGE
    copy = view[first:first + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def between_fences(function, at_end: bool):
    """``function`` with every array among its arguments moved between fences for the call, and back afterwards."""
    def call(*args, **kwargs):
        moved = [fenced(a, at_end) if isinstance(a, np.ndarray) and a.size else a for a in args]
        result = function(*moved, **kwargs)
        for mine, theirs in zip(args, moved, strict=True):
            if mine is not theirs and mine.flags.writeable:
                mine[...] = theirs
        return result
    return call


def masks(shape):
    """Boundaries: open, periodic where it may be, nearly nothing, one row missing, a random half."""
    yield "open"
    if min(shape) >= 2 and not shape[0] % 2 and not shape[1] % 2:
        yield "periodic"
    for mask in (np.zeros(shape, bool), np.ones(shape, bool), np.random.default_rng(0).random(shape) < 0.5):
        mask[-1, -1] = True  # a Hamiltonian wants one magnetic site
        if len(mask) > 2:
            mask[1] = False
        yield mask


def anneals(device: str, shapes) -> list[np.ndarray]:
    """Everything the annealer computes: sweeps with and without K, reflections, both descents, whole and odd blocks."""
    from evae_core import Hamiltonian, Schedule, anneal, heat_bath, relax
    found = []
    for shape in shapes:
        for boundary in masks(shape):
            for K, dmi, n in ((0.0, "bloch", 1), (0.3, "neel", 3), (-0.3, "bloch", 17)):
                H = Hamiltonian(D=0.6, B=0.2, K=K, dmi=dmi, boundary=boundary)
                spins = anneal(H, shape, n, device=device, schedule=Schedule(sweeps=2, overrelax=1, tolerance=1.0),
                               first=1)
                found += [spins, heat_bath(H, spins, T=0.5, sweeps=1, overrelax=1, device=device)]
                found.append(relax(H, spins.double(), tolerance=0.5, device=device))
    return [one.numpy() for one in found]


def same(plain, others) -> None:
    for other in others:
        for a, b in zip(plain, other, strict=True):
            np.testing.assert_array_equal(a, b)


def cpu() -> int:
    """The numba kernels, and the compiled descent where there is a compiler."""
    from pytest import MonkeyPatch

    from evae_core.annealing import cpu as backend
    shapes, number = [*SHAPES, (2, 2), (2, 4), (4, 2), (6, 34), (34, 6)], 0
    for compiled in {backend.COMPILED.problem() is None, False}:
        with MonkeyPatch.context() as patch:
            if not compiled:
                patch.setattr(backend.COMPILED, "problem", lambda: "no compiler")
            plain, results = anneals("cpu", shapes), []
            for at_end in (True, False):
                kernels = backend.sweep, backend.descend
                backend.sweep, backend.descend = (between_fences(kernel, at_end) for kernel in kernels)
                patch.setattr(backend, "_zeros", lambda *of, at_end=at_end: fenced(np.zeros(*of), at_end))
                results.append(anneals("cpu", shapes))
                backend.sweep, backend.descend = kernels
            same(plain, results)
            number += len(plain)
    return number


def cuda() -> int:
    """The CUDA kernels, compiled as C++; shared memory beyond what was asked for must stay as it was."""
    import cuda_stand_in
    from pytest import MonkeyPatch
    shapes, call = [(1, 1), (1, 2), (3, 3), (2, 2), (5, 2), (3, 17), (4, 34)], cuda_stand_in.Kernel.__call__
    threads = 1  # of a block: several wait for each other, which takes for ever on a busy machine
    with tempfile.TemporaryDirectory() as folder, MonkeyPatch.context() as patch:
        cupy = cuda_stand_in.build(Path(folder))
        cuda_stand_in.emulate(patch, cupy, threads)
        plain, results = anneals("cuda", shapes), []
        for at_end in (True, False):
            def fenced_call(self, grid, block, args, shared_mem=0, at_end=at_end):
                between_fences(lambda *moved: call(self, grid, block, moved, shared_mem), at_end)(*args)
                pool = (ctypes.c_ubyte * (8 << 15)).in_dll(self.library, "pool")
                assert bytes(pool)[shared_mem:].strip(b"\xff") == b"", f"{self.name} wrote beyond its shared memory"
            cuda_stand_in.Kernel.__call__ = fenced_call
            results.append(anneals("cuda", shapes))
        cuda_stand_in.Kernel.__call__ = call
    same(plain, results)
    return len(plain)


def fused() -> int:
    """The compiled passes of a training step, forward and back."""
    from evae_core import VAE, Hamiltonian
    from evae_core.training import fused as passes
    from evae_core.training.fused.extension import call as compiled_call

    def steps():
        found = []
        for size, n in (((16, 16), 2), ((16, 48), 3), ((48, 16), 5), ((32, 32), 2)):
            for boundary in ("periodic", "open", np.random.default_rng(1).random(size) < 0.5):
                H = Hamiltonian(D=0.6, B=0.2, K=0.1, boundary=boundary)
                torch.manual_seed(0)
                model = VAE(size, boundary=boundary).train()
                spins = torch.nn.functional.normalize(torch.randn(n, 3, *size), dim=1)
                losses = passes.losses(model, spins, H, 1e-3, 10.0, torch.Generator().manual_seed(1))
                losses.total.backward()
                found += [torch.stack([loss.detach() for loss in losses]).numpy()]
                found += [p.grad.numpy().copy() for p in model.parameters()]
        return found

    plain, results, call = steps(), [], passes.call
    for at_end in (True, False):
        def fenced_call(name, *args, at_end=at_end):
            moved = []
            for x in args:
                if isinstance(x, torch.Tensor):  # the memory itself, in its order: the passes go by pointers
                    a_map = not x.is_contiguous()
                    flat = (x.detach().permute(0, 2, 3, 1) if a_map else x.detach()).reshape(-1).numpy()
                    behind = np.full(passes.SLACK if a_map else 0, np.nan, flat.dtype)  # may be read, never written
                    moved.append((flat, fenced(np.concatenate([flat, behind]), at_end)))
            there = iter(moved)
            compiled_call(name, *(torch.from_numpy(next(there)[1]) if isinstance(x, torch.Tensor) else x for x in args))
            for mine, theirs in moved:
                mine[...] = theirs[:mine.size]
                assert np.isnan(theirs[mine.size:]).all(), f"{name} wrote behind a map"
        passes.call = fenced_call
        results.append(steps())
    passes.call = call
    same(plain, results)
    return len(plain)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(f"{ {'cpu': cpu, 'cuda': cuda, 'fused': fused}[sys.argv[1]]() } arrays as without fences")
