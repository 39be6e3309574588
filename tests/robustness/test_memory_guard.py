"""No kernel reads or writes beside its arrays: see memory_guard.py; each runs in a process that a slip would end."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from evae_core.training import fused

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mprotect as on Linux")
FOLDER = Path(__file__).parents[1]
RUN = {"cwd": FOLDER.parent, "capture_output": True, "text": True, "timeout": 600,
       "env": {**os.environ, "PYTHONPATH": str(FOLDER.parent)}}


@pytest.mark.parametrize("which", ["cpu", "cuda", "fused"])
def test_nothing_beside_the_arrays(which):
    if which == "cuda" and shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    if which == "fused" and (problem := fused.problem()):
        pytest.skip(problem)
    done = subprocess.run([sys.executable, FOLDER / "memory_guard.py", which], **RUN)
    assert done.returncode == 0, f"exit {done.returncode} (-11: touched what is not its own)\n{done.stderr[-3000:]}"
    assert int(done.stdout.split()[0]) > 50


@pytest.mark.parametrize("index", [-1, 5])
def test_a_slip_is_seen(index):
    """The fence itself: one element before the beginning, one behind the end."""
    code = (f"import sys; sys.path.insert(0, {str(FOLDER)!r}); import memory_guard, numpy as np, ctypes\n"
            f"a = memory_guard.fenced(np.arange(5.0), {index > 0})\nprint(a.sum())\n"
            f"print(ctypes.c_double.from_address(a.ctypes.data + 8 * {index}).value)")
    done = subprocess.run([sys.executable, "-c", code], **RUN)
    assert done.stdout == "10.0\n" and done.returncode == -11


def test_what_comes_back_from_between_the_fences():
    import memory_guard
    array = np.arange(6.0).reshape(2, 3)

    def double(x, factor):
        x *= factor
        return x.sum()

    assert memory_guard.between_fences(double, True)(array, 2) == 30 and array.tolist() == [[0, 2, 4], [6, 8, 10]]
