"""Saving and loading of one state or a stack of states; the suffix of the file selects the format."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from evae_companion.io.ovf import read_ovf, write_ovf
from evae_companion.store.serialization import load_arrays, save_arrays
from evae_core.hamiltonian import check_spins
from evae_core.validation import check_path

OVF_SUFFIXES = (".ovf", ".omf")


def save_state(path: str | Path, spins: Tensor) -> None:
    """Save ``spins``: (..., 3, Ny, Nx) as .npy, or one state (3, Ny, Nx) as .ovf or .omf (binary 4, cells of 1 nm).

    :func:`~evae_companion.io.ovf.write_ovf` also takes cell sizes and the text form.

    Raises
    ------
    TypeError, ValueError
        see :func:`~evae_core.hamiltonian.check_spins`; a batch for OVF, another suffix.
    """
    check_spins(spins)
    if _is_ovf(path):
        write_ovf(path, spins)
    else:
        save_arrays(path, spins.detach().cpu().numpy())


def load_state(path: str | Path) -> Tensor:
    """Load the spins of a .npy, .ovf or .omf file as a tensor (..., 3, Ny, Nx).

    Raises
    ------
    TypeError, ValueError
        a file that is damaged, holds another shape or dtype, NaN, or has another suffix.
    """
    if _is_ovf(path):
        return read_ovf(path).spins()
    spins = torch.from_numpy(load_arrays(path))
    check_spins(spins, str(path))
    return spins


def _is_ovf(path: str | Path) -> bool:
    suffix = check_path("path", path).suffix.lower()
    if suffix not in (*OVF_SUFFIXES, ".npy"):
        raise ValueError(f"path must end in .npy, {' or '.join(OVF_SUFFIXES)}, got {str(path)!r}")
    return suffix in OVF_SUFFIXES
