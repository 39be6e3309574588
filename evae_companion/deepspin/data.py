"""Labelled configurations of magnets: a frozen record of frames, and its readers and writer.

Units throughout the package: angstrom, eV, mu_B; forces eV/angstrom; magnetic forces -dE/dS eV/mu_B; virials eV.
Real first-principles frames (NiO, non-collinear constrained DFT) are public: github.com/deepmodeling/deepmd-kit, folder
examples/spin/data_reformat; ``read_deepmd(folder)`` reads them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evae_companion.store.serialization import load_arrays, save_arrays
from evae_core.validation import check_is, check_list, check_path

# Files of the DeePMD layout: name -> (our field, shape of one frame); N stands for the number of atoms.
_LAYOUT: dict[str, tuple[str, tuple[Any, ...]]] = {
    "box": ("cells", (3, 3)), "coord": ("positions", ("N", 3)), "spin": ("spins", ("N", 3)), "energy": ("energies", ()),
    "force": ("forces", ("N", 3)), "force_mag": ("force_mags", ("N", 3)), "virial": ("virials", (3, 3))}
# Keys of dpdata's LabeledSystem.data.
_DPDATA = {"cells": "cells", "coords": "positions", "spins": "spins", "energies": "energies", "forces": "forces",
           "force_mags": "force_mags", "virials": "virials"}
LABELS = ("energies", "forces", "force_mags", "virials")


@dataclass(frozen=True, eq=False)
class Frames:
    """F configurations of the same N atoms, with labels where there are any (None where not).

    Parameters
    ----------
    names : of the types, ("Ni", "O").
    types : (N,) int64, index into ``names``.
    cells : (F, 3, 3), rows are the lattice vectors, angstrom. Periodic in all three directions.
    positions : (F, N, 3), angstrom. Need not lie inside the cell.
    spins : (F, N, 3), moment vectors in mu_B; zero on atoms without a moment.
    energies (F,) eV; forces (F, N, 3) eV/angstrom; force_mags (F, N, 3) eV/mu_B; virials (F, 3, 3) eV.

    Everything becomes a float64 tensor. Raises TypeError or ValueError, naming the field, for wrong shapes, numbers
    that are not finite, unknown types, flat or left-over cells.
    """

    names: tuple[str, ...]
    types: Tensor
    cells: Tensor
    positions: Tensor
    spins: Tensor
    energies: Tensor | None = None
    forces: Tensor | None = None
    force_mags: Tensor | None = None
    virials: Tensor | None = None

    def __post_init__(self) -> None:
        names = tuple(check_list("names", self.names, str))
        if not all(names) or len(set(names)) != len(names):
            raise ValueError(f"names must be different words, one a type, got {self.names!r}")
        object.__setattr__(self, "names", names)
        try:
            types = torch.as_tensor(self.types)
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise TypeError(f"types must be integers of shape (N,), got {self.types!r:.60}") from error
        if types.ndim != 1 or not len(types) or types.is_complex() or types.is_floating_point() \
                or types.dtype == torch.bool:
            raise ValueError(f"types must be integers of shape (N,), got {types.dtype} of shape {tuple(types.shape)}")
        if int(types.min()) < 0 or int(types.max()) >= len(names):
            raise ValueError(f"types must be 0 to {len(names) - 1}, indices into names = {names}, got unknown types "
                             f"{sorted({int(t) for t in types if not 0 <= int(t) < len(names)})}")
        object.__setattr__(self, "types", types.to(torch.int64))
        positions = _finite("positions", self.positions, None)
        frames = len(positions) if positions.ndim == 3 else "F"
        for name, shape in sorted(_LAYOUT.values(), key=lambda item: item[0] != "positions"):  # it says what F is
            value = getattr(self, name)
            if value is None and name in LABELS:
                continue
            wanted = (frames, *(len(types) if n == "N" else n for n in shape))
            object.__setattr__(self, name, _finite(name, value, wanted))
        check_cells(self.cells)

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: slice | Sequence[int] | Tensor) -> Frames:
        """Some of the frames: a slice, or a sequence of indices."""
        if isinstance(index, int):
            raise TypeError(f"index must be a slice or a sequence of integers; for one frame take [{index}:{index}+1]")
        index = index if isinstance(index, slice) else torch.as_tensor(index)
        kept = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("names", "types")}
        return replace(self, **{name: value[index] for name, value in kept.items() if value is not None})

    @property
    def atoms(self) -> int:
        """Number of atoms N of a frame."""
        return len(self.types)

    def magnetic_types(self) -> tuple[int, ...]:
        """Types that carry a moment in any frame."""
        carrying = (self.spins != 0).any(0).any(-1)
        return tuple(sorted({int(t) for t in self.types[carrying]}))

    def digest(self) -> str:
        """SHA-256 of everything here: what a training artifact is named by."""
        found = hashlib.sha256(repr((self.names, self.types.tolist(), tuple(self.positions.shape))).encode())
        for name, _ in _LAYOUT.values():
            value = getattr(self, name)
            found.update(name.encode() + (b"-" if value is None else value.contiguous().numpy().tobytes()))
        return found.hexdigest()


def _finite(name: str, value: Any, shape: tuple[int | str, ...] | None) -> Tensor:
    try:
        if torch.is_tensor(value) and value.is_complex():
            raise TypeError("they are complex")
        value = torch.as_tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise TypeError(f"{name} must be numbers{'' if shape is None else f' of shape {shape}'}: {error}") from error
    if shape is not None and tuple(value.shape) != shape:
        raise ValueError(f"{name} must have shape {shape}, got {tuple(value.shape)}")
    if not bool(torch.isfinite(value).all()):
        raise ValueError(f"{name} holds NaN or infinity: {int((~torch.isfinite(value)).sum())} values")
    return value


def check_cells(cells: Tensor) -> None:
    """ValueError unless every cell (..., 3, 3) spans a volume: lengths and a determinant that are not zero."""
    lengths = cells.norm(dim=-1)
    flat = cells.det().abs() <= 1e-6 * lengths.prod(-1)
    if bool(flat.any() | (lengths == 0).any()):
        raise ValueError("cells must be three independent lattice vectors (rows), got one without a volume")


def concatenate(parts: Sequence[Frames]) -> Frames:
    """All frames of ``parts``, which must hold the same atoms and the same labels."""
    parts = check_list("parts", parts, Frames)
    first = parts[0]
    for part in parts[1:]:
        if part.names != first.names or not torch.equal(part.types, first.types):
            raise ValueError("parts must hold the same atoms in the same order")
    joined: dict[str, Any] = {}
    for name, _ in _LAYOUT.values():
        values = [getattr(part, name) for part in parts]
        if any(value is None for value in values) != all(value is None for value in values):
            raise ValueError(f"{name} must be in all of the parts or in none")
        joined[name] = None if values[0] is None else torch.cat(values)
    return Frames(first.names, first.types, **joined)


def read_deepmd(folder: str | os.PathLike[str]) -> Frames:
    """Read a folder of the DeePMD layout with spins (PyTorch back end): type.raw, type_map.raw, set.*/*.npy.

    A set holds box, coord and spin, and the labels energy, force, force_mag, virial where there are any, a row a frame.
    Raises FileNotFoundError for what is missing and ValueError, naming the file, for what does not fit.
    """
    folder = check_path("folder", folder)
    if not (folder / "type.raw").is_file():
        raise FileNotFoundError(f"{folder} is not a folder of the DeePMD layout: type.raw is missing")
    if (folder / "nopbc").exists():
        raise ValueError(f"{folder} holds frames without a periodic cell (nopbc); only periodic ones are known here")
    try:
        types = np.array((folder / "type.raw").read_text().split(), int)
    except ValueError as error:
        raise ValueError(f"{folder / 'type.raw'} must hold integers: {error}") from error
    mapped = folder / "type_map.raw"
    names = mapped.read_text().split() if mapped.is_file() else [f"type{t}" for t in range(types.max(initial=0) + 1)]
    sets = sorted(path for path in folder.glob("set.*") if path.is_dir())
    if not sets:
        raise FileNotFoundError(f"{folder} holds no set.* folder")
    return concatenate([_read_set(path, names, types) for path in sets])


def _read_set(folder: Path, names: Sequence[str], types: np.ndarray) -> Frames:
    found = {}
    for stem, (name, shape) in _LAYOUT.items():
        path = folder / f"{stem}.npy"
        if not path.is_file():
            if name in LABELS:
                continue
            raise FileNotFoundError(f"{path} is missing")
        value = load_arrays(path)
        one = tuple(len(types) if n == "N" else n for n in shape)
        if value.ndim == 0 or value[:1].size != prod(one):
            raise ValueError(f"{path} must hold {prod(one)} numbers a frame for {len(types)} atoms, "
                             f"got shape {value.shape}")
        found[name] = value.reshape(-1, *one)
    counts = {name: len(value) for name, value in found.items()}
    if len(set(counts.values())) != 1:
        raise ValueError(f"the files of {folder} hold different numbers of frames: {counts}")
    return Frames(tuple(names), torch.from_numpy(types), **found)


def write_deepmd(frames: Frames, folder: str | os.PathLike[str]) -> None:
    """Write ``frames`` in the DeePMD layout, one set; the folder must not hold one yet."""
    check_is("frames", frames, Frames)
    folder = check_path("folder", folder)
    (folder / "set.000").mkdir(parents=True)
    (folder / "type.raw").write_text("\n".join(map(str, frames.types.tolist())) + "\n")
    (folder / "type_map.raw").write_text("\n".join(frames.names) + "\n")
    for stem, (name, _) in _LAYOUT.items():
        value = getattr(frames, name)
        if value is not None:
            flat = value.numpy() if value.ndim == 1 else value.reshape(len(frames), -1).numpy()
            save_arrays(folder / "set.000" / f"{stem}.npy", flat)


def from_dpdata(system: Any) -> Frames:
    """Frames of a dpdata (Labeled)System, or of its ``data`` dict: cells, coords, spins, energies, forces, force_mags.

    dpdata itself is not needed. Raises ValueError for what is missing.
    """
    data = system if isinstance(system, Mapping) else getattr(system, "data", None)
    if not isinstance(data, Mapping):
        raise TypeError(f"system must be a dpdata system or its data dict, got {type(system).__name__}")
    missing = [key for key in ("atom_names", "atom_types", "cells", "coords", "spins") if key not in data]
    if missing:
        raise ValueError(f"the dpdata system lacks {missing}; spins are registered by dpdata's reader of magnetic data")
    if data.get("nopbc"):
        raise ValueError("the dpdata system has no periodic cell (nopbc); only periodic ones are known here")
    # dpdata keeps an origin for LAMMPS' cells; its other readers set it to zero, and energies do not depend on it.
    found = {name: data[key] for key, name in _DPDATA.items() if key in data}
    return Frames(tuple(data["atom_names"]), torch.as_tensor(np.asarray(data["atom_types"])), **found)


def to_dpdata(frames: Frames) -> dict[str, Any]:
    """The ``data`` dict of a dpdata LabeledSystem with these frames, numpy arrays under dpdata's keys."""
    check_is("frames", frames, Frames)
    types = frames.types.numpy()
    found = {"atom_names": list(frames.names), "atom_types": types, "orig": np.zeros(3),
             "atom_numbs": np.bincount(types, minlength=len(frames.names)).tolist()}
    for key, name in _DPDATA.items():
        if getattr(frames, name) is not None:
            found[key] = getattr(frames, name).numpy()
    return found
