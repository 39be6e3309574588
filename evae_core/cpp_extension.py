"""C++ sources as a library: compiled on first use, kept in the user's cache, called with tensors and arrays.

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
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from torch import Tensor

# No -ffast-math: linked into a library it changes the rounding of the whole process, and NaN must stay visible.
FLAGS = ("-O3", "-march=native", "-std=c++17", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-shared", "-fPIC")


def compiler() -> list[str] | None:
    """The command of the C++ compiler: $CXX, or the first of c++, g++, clang++; None where there is none."""
    if wanted := os.environ.get("CXX"):
        command = shlex.split(wanted)
        return command if shutil.which(command[0]) else None
    return next(([name] for name in ("c++", "g++", "clang++") if shutil.which(name)), None)


def cache_folder() -> Path:
    """Where libraries are kept: $EVAE_CACHE, or ``evae-core`` in the user's cache folder."""
    if root := os.environ.get("EVAE_CACHE"):
        return Path(root)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evae-core"


class Library:
    """The functions of C++ ``sources``, which include ``headers``; compiled and loaded when first asked for.

    Parameters
    ----------
    name : of the file in the cache, before the hash.
    sources, headers : paths.
    flags : of the compiler, after FLAGS.
    """

    def __init__(self, name: str, sources: Sequence[Path], headers: Sequence[Path] = (), flags: Sequence[str] = ()):
        self.name, self.sources, self.headers, self.flags = name, sources, headers, (*FLAGS, *flags)
        self._found: ctypes.CDLL | str | None = None
        self._loading = threading.Lock()  # threads that come together wait for one compilation

    def problem(self) -> str | None:
        """Why the library cannot be used here, or None where it can. Compiles it when it is not there yet."""
        with self._loading:
            if self._found is None:
                self._found = self.load()
        return self._found if isinstance(self._found, str) else None

    def function(self, name: str) -> Any:
        """The function ``name``; RuntimeError where the library cannot be used."""
        if problem := self.problem():
            raise RuntimeError(problem)
        return getattr(self._found, name)

    def load(self) -> ctypes.CDLL | str:
        """The library, from the cache or compiled, or why there is none."""
        command = compiler()
        if command is None:
            return f"no C++ compiler ({os.environ.get('CXX') or 'c++, g++, clang++'} not found)"
        try:
            macros = subprocess.run([*command, *self.flags, "-dM", "-E", "-x", "c++", os.devnull], capture_output=True,
                                    check=True).stdout
            text = [path.read_bytes() for path in (*self.sources, *self.headers)]
            key = hashlib.sha256(b"\0".join([*text, " ".join(self.flags).encode(), macros])).hexdigest()[:16]
            path = cache_folder() / f"{self.name}-{key}.so"
            if not _whole(path):
                _make(path, [*command, *self.flags, *map(str, self.sources)])
            # Its OpenMP runtime is the one that torch has loaded: the loader goes by the library's name.
            return ctypes.CDLL(str(path))
        except subprocess.CalledProcessError as error:
            lines = error.stderr.decode(errors="replace").strip().splitlines() or [f"exit status {error.returncode}"]
            return f"{shlex.join(command)} failed: {lines[0]}"
        except OSError as error:
            return f"the compiled library cannot be made or loaded: {error}"


def _whole(path: Path) -> bool:
    """Whether the library is there as it was made: the SHA-256 that was written beside it, last, is its own."""
    try:
        return path.with_suffix(".sha256").read_text() == _sha256(path)
    except (OSError, UnicodeDecodeError):
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _make(path: Path, command: list[str]) -> None:
    """Compile the library into ``path``. One process does it, others wait; what a killed one left goes first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if _whole(path):
            return
        if path.with_suffix(".sha256").exists():
            print(f"{path} is damaged; making it anew", file=sys.stderr, flush=True)
        for left in path.parent.glob(f"{path.stem}.*.partial"):
            left.unlink()
        made, digest = (path.with_suffix(f".{what}.partial") for what in ("so", "sha256"))
        try:
            subprocess.run([*command, "-o", str(made)], capture_output=True, check=True)
            path.with_suffix(".sha256").unlink(missing_ok=True)
            made.replace(path)  # a new file: whoever has loaded the old one keeps it
            digest.write_text(_sha256(path))
            digest.replace(path.with_suffix(".sha256"))
        finally:
            made.unlink(missing_ok=True)
            digest.unlink(missing_ok=True)


def argument(x: Any) -> Any:
    """What C++ takes for x: the address of a tensor's or an array's numbers, a float, an int, a null pointer for None.

    Periodic axes (y, x) are 2 y + x. Layout and type are the caller's business; anything else is passed as it is.
    """
    if isinstance(x, Tensor):
        return ctypes.c_void_p(x.data_ptr())
    if isinstance(x, np.ndarray):
        return ctypes.c_void_p(x.ctypes.data)
    if isinstance(x, float):
        return ctypes.c_float(x)
    if isinstance(x, tuple):
        return ctypes.c_int(2 * x[0] + x[1])
    if x is None:
        return ctypes.c_void_p(None)
    return ctypes.c_int(x) if isinstance(x, int) else x
