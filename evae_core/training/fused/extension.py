"""The C++ sources of this folder, as :class:`evae_core.cpp_extension.Library`."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import torch

from evae_core.cpp_extension import Library, argument

FUSED = Library("fused", sorted(Path(__file__).parent.glob("*.cpp")), sorted(Path(__file__).parent.glob("*.h")))
problem = FUSED.problem


def call(name: str, dtype: torch.dtype | None, *args: Any) -> None:
    """Call ``name`` of the library, for maps of ``dtype`` where it has a version for each; threads as torch has them.

    Tensors are passed as pointers: layout and type are the caller's business.
    """
    function = FUSED.function(name if dtype is None else f"{name}_{str(dtype).removeprefix('torch.')}")
    if function(*map(argument, args), ctypes.c_int(torch.get_num_threads())):
        raise ValueError(f"{name} has no version for these channels")
