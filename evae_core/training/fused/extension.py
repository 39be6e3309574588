"""The C++ sources of this folder, as :class:`evae_core.cpp_extension.Library`."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import torch

from evae_core.cpp_extension import Library, argument

# GCC's predictive commoning keeps old inputs of a convolution in the registers that its sums need: 2 times slower.
FLAGS = ("-fno-predictive-commoning", "-Wno-psabi")
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h
FUSED = Library("fused", sorted(Path(__file__).parent.glob("*.cpp")), sorted(Path(__file__).parent.glob("*.h")),
                FLAGS)
problem = FUSED.problem


def call(name: str, *args: Any) -> None:
    """Call ``name`` of the library with as many threads as torch has.

    Tensors are passed as pointers: layout and type are the caller's business.
    """
    if FUSED.function(name)(*map(argument, args), ctypes.c_int(torch.get_num_threads())):
        raise ValueError(f"{name} has no version for these channels")


@cache
def keep_memory() -> None:
    """Let the C library keep what it has once had from the system, for the rest of this process.

    By default glibc hands a freed map or gradient back at once, and the next step waits for the system to clear the
    same pages again: some tenth of a step at 128 x 128.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
