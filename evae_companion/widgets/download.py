"""Links by which the browser saves a state. The file is part of the link, so nothing is left on the server."""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path

from torch import Tensor

from evae_companion.io import save_state

SUFFIXES = (".npy", ".ovf")


def state_file(spins: Tensor, suffix: str) -> bytes:
    """Return one state (3, Ny, Nx) as the bytes of a file, see :func:`evae_companion.io.save_state`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"state{suffix}"
        save_state(path, spins)
        return path.read_bytes()


def links(spins: Tensor, name: str) -> str:
    """Return HTML with one link per format, each saving the state as ``name`` and its suffix."""
    result = []
    for suffix in SUFFIXES:
        content = base64.b64encode(state_file(spins, suffix)).decode()
        result.append(f'<a download="{name}{suffix}" href="data:application/octet-stream;base64,{content}">'
                     f"{name}{suffix}</a>")
    return " &nbsp; ".join(result)
