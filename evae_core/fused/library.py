"""The C++ sources of this folder as a library: compiled on first use, kept in the user's cache, called with tensors.

The compiler is the one that $CXX names, or c++, g++, clang++. The library's name holds a hash of the sources, the flags
and everything the compiler says about itself and this machine's processor, so a change of any makes it anew.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SOURCES = sorted(Path(__file__).parent.glob("*.cpp"))
HEADERS = sorted(Path(__file__).parent.glob("*.h"))
# No -ffast-math: linked into a library it changes the rounding of the whole process, and NaN must stay visible.
FLAGS = ("-O3", "-march=native", "-std=c++17", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-shared", "-fPIC")


def compiler() -> list[str] | None:
    """The command of the C++ compiler: $CXX, or the first of c++, g++, clang++; None where there is none."""
    if wanted := os.environ.get("CXX"):
        command = shlex.split(wanted)
        return command if shutil.which(command[0]) else None
    return next(([name] for name in ("c++", "g++", "clang++") if shutil.which(name)), None)


def cache_folder() -> Path:
    """Where the library is kept: $EVAE_CACHE, or ``evae-core`` in the user's cache folder."""
    if root := os.environ.get("EVAE_CACHE"):
        return Path(root)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evae-core"


@cache
def _load() -> ctypes.CDLL | str:
    """The library, or why there is none."""
    command = compiler()
    if command is None:
        return f"no C++ compiler ({os.environ.get('CXX') or 'c++, g++, clang++'} not found)"
    try:
        macros = subprocess.run([*command, *FLAGS, "-dM", "-E", "-x", "c++", os.devnull], capture_output=True,
                                check=True).stdout
        name = hashlib.sha256(b"\0".join([*(path.read_bytes() for path in SOURCES + HEADERS),
                                        " ".join(FLAGS).encode(), macros])).hexdigest()[:16]
        path = cache_folder() / f"fused-{name}.so"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                made = Path(folder) / path.name
                subprocess.run([*command, *FLAGS, *map(str, SOURCES), "-o", str(made)], capture_output=True, check=True)
                made.replace(path)  # atomic: another process sees all of it or nothing
        # Its OpenMP runtime is the one that torch has loaded: the loader goes by the library's name.
        return ctypes.CDLL(str(path))
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines() or [f"exit status {error.returncode}"]
        return f"{shlex.join(command)} failed: {lines[0]}"
    except OSError as error:
        return f"the compiled library cannot be made or loaded: {error}"


def problem() -> str | None:
    """Why the library cannot be used here, or None where it can. Compiles it when it is not there yet."""
    found = _load()
    return found if isinstance(found, str) else None


def _argument(x: Any) -> Any:
    if isinstance(x, Tensor):
        return ctypes.c_void_p(x.data_ptr())
    if isinstance(x, float):
        return ctypes.c_float(x)
    return ctypes.c_void_p(None) if x is None else ctypes.c_int(x)


def call(name: str, dtype: torch.dtype | None, *args: Any) -> None:
    """Call ``name`` of the library, for maps of ``dtype`` where it has a version for each; threads as torch has them.

    Tensors are passed as pointers: layout and type are the caller's business.
    """
    library = _load()
    if isinstance(library, str):
        raise RuntimeError(library)
    function = getattr(library, name if dtype is None else f"{name}_{str(dtype).removeprefix('torch.')}")
    if function(*map(_argument, args), ctypes.c_int(torch.get_num_threads())):
        raise ValueError(f"{name} has no version for these channels")
