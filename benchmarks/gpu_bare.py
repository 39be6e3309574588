"""What the steps of gpu_quarter_hour.sh share: a bare machine's gaps, the rehearsal on a CPU, results on disk.

Import it first: it puts the checkout on the path and stands in for packages that are not installed and of which
nothing is needed here. Results are JSON files in WORK, each marked as a rehearsal's or not; gpu_pack.py reads them.

In a rehearsal (EVAE_REHEARSAL=1) the device is the CPU, the CUDA kernels are those of tests/cuda_stand_in.py, and
lattices and numbers are tiny: it shows that everything runs, and measures nothing.
"""

import importlib.util
import json
import os
import sys
import time
import types
from typing import Any

import torch
from gpu_pack import REHEARSAL, ROOT, WORK

sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]
DEVICE = "cpu" if REHEARSAL else "cuda"
END = float(os.environ.get("EVAE_STEP_END", "inf"))  # seconds since 1970: where this step is cut


class NoLock:
    """filelock.FileLock where it is not installed: each step here is the only process at work."""

    def __init__(self, path):
        self.path = path

    def acquire(self, timeout=None):
        return self

    def release(self):
        pass

    __enter__ = acquire

    def __exit__(self, *error):
        pass


def stand_in(name: str, **attributes) -> None:
    """A module with ``attributes`` alone, in place of one that is not installed and of which nothing is needed here."""
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__dict__.update(attributes)


if importlib.util.find_spec("scipy") is None:
    if importlib.util.find_spec("numba"):
        import numba  # noqa: F401 (before the stand-ins: it looks for scipy by itself)
    stand_in("scipy", ndimage=None, spatial=None, optimize=None, integrate=None)
    stand_in("scipy.sparse", coo_array=None, csgraph=None)
    stand_in("scipy.optimize", minimize=None)
if importlib.util.find_spec("filelock") is None:
    stand_in("filelock", FileLock=NoLock, Timeout=TimeoutError)


class _Set:
    """What cuda_stand_in.emulate asks of pytest's monkeypatch; here nothing is put back."""

    setattr = staticmethod(setattr)
    setitem = staticmethod(dict.__setitem__)


def prepare_annealer() -> None:
    """Raise RuntimeError unless the annealer can use a GPU; in a rehearsal put the stand-in in its place."""
    from evae_core.annealing import gpu

    if REHEARSAL:
        from cuda_stand_in import build, emulate  # tests/

        folder = WORK / "stand_in"
        folder.mkdir(parents=True, exist_ok=True)
        emulate(_Set, build(folder), threads=1)
    gpu.require()


def need_gpu() -> None:
    """Raise RuntimeError unless torch sees a GPU, or this is a rehearsal."""
    if not REHEARSAL and not torch.cuda.is_available():
        raise RuntimeError("torch sees no usable GPU")


def synchronize() -> None:
    if not REHEARSAL:
        torch.cuda.synchronize()


def left() -> float:
    """Seconds left to this step."""
    return END - time.time()


def seconds(work) -> float:
    """Seconds that ``work()`` takes, on the device too."""
    synchronize()
    start = time.perf_counter()
    work()
    synchronize()
    return time.perf_counter() - start


def write(name: str, value: dict[str, Any]) -> None:
    """Write WORK/name.json, whole or not at all, marked as a rehearsal's or not."""
    path = WORK / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({"rehearsal": REHEARSAL} | value, indent=1))
    partial.replace(path)


def read(name: str) -> dict[str, Any] | None:
    """What write(name, ...) wrote, None where there is nothing."""
    path = WORK / f"{name}.json"
    return json.loads(path.read_text()) if path.is_file() else None


class Notes:
    """The parts of one step: each is timed, printed and written as soon as it is known; one that fails is noted."""

    def __init__(self, name: str):
        self.name, self.parts, self.failed = name, {}, []

    def __call__(self, part: str, work, *arguments) -> Any:
        start = time.perf_counter()
        try:
            self.parts[part] = work(*arguments)
        except Exception as error:  # it is the result of this part, and the next one runs
            self.parts[part] = {"failed": f"{type(error).__name__}: {error}"}
            self.failed.append(part)
        print(f"[{time.perf_counter() - start:6.1f} s] {self.name}, {part}: {json.dumps(self.parts[part])[:1500]}",
              flush=True)
        write(self.name, self.parts)
        return self.parts[part]

    def status(self) -> int:
        """The exit status: 1 where a part failed or a check is not right."""
        wrong = [f"{part} {row}".strip() for part, rows in self.parts.items() if isinstance(rows, dict)
                 for row, values in (("", rows), *rows.items())
                 if isinstance(values, dict) and not values.get("right", True)]
        for what, parts in (("not right", wrong), ("failed", self.failed)):
            if parts:
                print(f"{self.name}: {what}: {', '.join(parts)}", flush=True)
        return 1 if wrong or self.failed else 0
