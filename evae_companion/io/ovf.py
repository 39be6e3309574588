"""Reader and writer of OVF 2.0, the vector field format of OOMMF: text, binary 4, binary 8.

mumax3, ubermag and Spirit read and write it too. Format: OOMMF user's guide, "The OVF 2.0 format". A text header of
``# key: value`` lines is followed by the values of all cells, x fastest, then y, then z. Binary data are little-endian.
They begin with a known number, so that a wrong byte order or a file damaged in transfer is detected.

The reader trusts no number of the header: what a file claims to hold is compared with its length before memory is
allocated.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
import torch
from torch import Tensor

from evae_companion.store.serialization import PARTIAL
from evae_core.hamiltonian import check_spins
from evae_core.validation import check_choice, check_count, check_is, check_list, check_numbers, check_path

REPRESENTATIONS = ("text", "binary 4", "binary 8")
_BINARY: dict[str, tuple[np.dtype[Any], float]] = {"binary 4": (np.dtype("<f4"), 1234567.0),
                                                   "binary 8": (np.dtype("<f8"), 123456789012345.0)}
_LINE, _HEADER = 2**16, 2**20  # bytes of the longest line and header that are read
_NODES = ("xnodes", "ynodes", "znodes")
_STEPS = ("xstepsize", "ystepsize", "zstepsize")


@dataclass(frozen=True)
class OVF:
    """One segment of an OVF 2.0 file.

    Attributes
    ----------
    values : (Nz, Ny, Nx, valuedim), float32 from binary 4, else float64.
    step : cell size (x, y, z) in ``meshunit``.
    header : every other entry as it stands in the file, keys in lower case; "desc" holds all its lines.
    """

    values: np.ndarray
    step: tuple[float, float, float]
    header: dict[str, str]

    def spins(self) -> Tensor:
        """Return the unit vectors (3, Ny, Nx) float32; cells of value 0 are non-magnetic and stay 0.

        Vectors of other lengths (in A/m, for example) are normalised; those of length 1 are kept bit for bit.

        Raises
        ------
        ValueError
            more than one layer, not three values per cell, or only cells of value 0.
        """
        if self.values.shape[0] != 1 or self.values.shape[3] != 3:
            raise ValueError(f"a state has one layer of three values a cell, this file holds {self.values.shape[0]} "
                             f"layers of {self.values.shape[3]}; its numbers are in .values (Nz, Ny, Nx, valuedim)")
        vectors = self.values[0].astype(np.float64)
        scale = np.abs(vectors).max()
        if not scale:
            raise ValueError("every cell of the file is 0: it holds no magnetic site")
        length = np.linalg.norm(vectors / scale, axis=-1, keepdims=True) * scale  # no square overflows or vanishes
        unit = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
        unit = np.where(np.abs(length - 1) < 1e-6, vectors, unit)
        return torch.from_numpy(np.ascontiguousarray(unit.transpose(2, 0, 1), np.float32))


def write_ovf(path: str | os.PathLike[str], spins: Tensor | np.ndarray, representation: str = "binary 4",
              step: Sequence[float] = (1e-9, 1e-9, 1e-9), title: str = "m", desc: Sequence[str] = ()) -> None:
    """Write one state (3, Ny, Nx) as OVF 2.0, whole or not at all.

    Parameters
    ----------
    spins : unit vectors, 0 on non-magnetic sites, float32 or float64; "text" keeps every digit, "binary 4" is float32.
    representation : ``"text"``, ``"binary 4"`` or ``"binary 8"``.
    step : cell size (x, y, z) in metres.
    title, desc : one line, and a list of lines, for the header.

    Raises
    ------
    TypeError, ValueError
        see :func:`~evae_core.hamiltonian.check_spins`; a batch, an unknown representation, a step that is not
        positive, a line break in the header.
    """
    path = check_path("path", path)
    if isinstance(spins, np.ndarray):
        check_is("spins", spins.dtype.type(0), np.floating)
        spins = torch.from_numpy(spins)
    check_spins(spins)
    spins = spins.detach().cpu()
    if spins.ndim != 3:
        raise ValueError(f"spins must be one state (3, Ny, Nx), got {tuple(spins.shape)}; write one file a state")
    check_spins(spins, unit=True, magnetic=(spins != 0).any(0).numpy())
    check_choice("representation", representation, REPRESENTATIONS)
    step = check_numbers("step", step, 0.0, 3)
    if not all(step):
        raise ValueError(f"step must be three positive lengths in metres (x, y, z), got {step}")
    for line in (title, *check_list("desc", desc, "lines", 0)):
        if not isinstance(line, str) or not line.isprintable():
            raise ValueError(f"title and desc must be printable lines, got {line!r:.60}")
    values = np.ascontiguousarray(spins.permute(1, 2, 0).numpy())
    ny, nx = spins.shape[-2:]
    name = representation.title()
    partial = path.with_name(f"{path.name}{PARTIAL}{os.getpid()}")
    try:
        with partial.open("wb") as file:
            file.write(_head(title, desc, (nx, ny, 1), step, name).encode())
            if representation == "text":
                np.savetxt(file, values.reshape(-1, 3), fmt="%.9g" if values.dtype == np.float32 else "%.17g")
            else:
                dtype, check = _BINARY[representation]
                file.write(np.array(check, dtype).tobytes() + values.astype(dtype).tobytes() + b"\n")
            file.write(f"# End: Data {name}\n# End: Segment\n".encode())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _head(title: str, desc: Sequence[str], nodes: tuple[int, int, int], step: Sequence[float], name: str) -> str:
    entries = [("Title", title), *(("Desc", line) for line in desc), ("meshunit", "m"), ("meshtype", "rectangular")]
    entries += [(f"{axis}base", repr(s / 2)) for axis, s in zip("xyz", step, strict=True)]
    entries += [(key, str(n)) for key, n in zip(_NODES, nodes, strict=True)]
    entries += [(key, repr(s)) for key, s in zip(_STEPS, step, strict=True)]
    entries += [(f"{axis}min", "0.0") for axis in "xyz"]
    entries += [(f"{axis}max", repr(n * s)) for axis, n, s in zip("xyz", nodes, step, strict=True)]
    entries += [("valuedim", "3"), ("valuelabels", "m_x m_y m_z"), ("valueunits", "1 1 1")]
    lines = ["OOMMF OVF 2.0", "Segment count: 1", "Begin: Segment", "Begin: Header",
             *(f"{key}: {value}" for key, value in entries), "End: Header", f"Begin: Data {name}"]
    return "".join(f"# {line}\n" for line in lines)


def read_ovf(path: str | os.PathLike[str], segment: int = 0) -> OVF:
    """Read one segment of an OVF 2.0 file on a rectangular mesh.

    Parameters
    ----------
    segment : number of the segment, from 0; most files hold one.

    Raises
    ------
    ValueError
        a file of another format (also OVF 1.0), cut short, with a header that contradicts itself or its length, or with
        values that are not finite numbers. The message names the file and what is wrong.
    """
    path, segment = check_path("path", path), check_count("segment", segment)
    with path.open("rb") as file:
        return _Reader(path, file).read(segment)


class _Reader:
    """Reader of one file: its position is that of the open file, and errors name its path."""

    def __init__(self, path: Path, file: BinaryIO):
        self.path, self.file = path, file
        self.size = os.fstat(file.fileno()).st_size

    def fail(self, what: str) -> NoReturn:
        raise ValueError(f"{self.path} cannot be read as OVF 2.0: {what}")

    def line(self) -> str:
        raw = self.file.readline(_LINE)
        if not raw:
            self.fail("it ends too early")
        if len(raw) == _LINE:
            self.fail(f"a line of the header is longer than {_LINE} bytes")
        return raw.decode("utf-8", "replace").strip()

    def entry(self) -> tuple[str, str]:
        """Return the next ``# key: value`` line, the key in lower case; what follows ## is a comment."""
        while True:
            line = self.line()
            if not line.startswith("#"):
                self.fail(f"its header holds the line {line[:60]!r}, which does not begin with #")
            text = line.partition("##")[0][1:].strip()
            if text:
                key, colon, value = text.partition(":")
                if not colon:
                    self.fail(f"its header holds the line {line[:60]!r}, which is not # key: value")
                return key.strip().lower(), value.strip()

    def read(self, segment: int) -> OVF:
        first = self.line() if self.size else ""
        if re.fullmatch(r"#\s*OOMMF:?\s.*v?1\.\d.*", first, re.IGNORECASE):
            self.fail("it is an OVF 1.0 file, whose binary numbers lie in another order; save it anew as OVF 2.0 "
                      "with the program it comes from")
        if not re.fullmatch(r"#\s*OOMMF OVF 2\.0", first, re.IGNORECASE):
            self.fail(f"it begins with {first[:60]!r} instead of '# OOMMF OVF 2.0'")
        key, value = self.entry()
        if key != "segment count" or not re.fullmatch(r"\d{1,9}", value):
            self.fail("its second line is not '# Segment count: n'")
        count = int(value)
        if not 0 <= segment < count:
            raise ValueError(f"segment must be at least 0 and below the {count} of {self.path}, got {segment}")
        for _ in range(segment):
            self.values(self.header(), skip=True)
        header = self.header()
        data = self.values(header, skip=False)
        step = self.number(header, "xstepsize"), self.number(header, "ystepsize"), self.number(header, "zstepsize")
        return OVF(data, step, header)

    def header(self) -> dict[str, str]:
        start = self.file.tell()
        entries: dict[str, str] = {}
        for wanted in (("begin", "segment"), ("begin", "header")):
            key, value = self.entry()
            if (key, value.lower()) != wanted:
                self.fail(f"'# Begin: {wanted[1].title()}' is missing, there is '# {key}: {value[:40]}'")
        while True:
            key, value = self.entry()
            if (key, value.lower()) == ("end", "header"):
                break
            if key == "desc" and key in entries:
                entries[key] += "\n" + value
            elif key in entries:
                self.fail(f"its header says {key} twice")
            else:
                entries[key] = value
            if self.file.tell() - start > _HEADER:
                self.fail(f"its header is longer than {_HEADER} bytes")
        if entries.get("meshtype", "").lower() != "rectangular":
            self.fail(f"its mesh is {entries.get('meshtype', 'of no type')!r}; only rectangular ones are read")
        return entries

    def number(self, header: dict[str, str], key: str) -> float:
        try:
            value = float(header[key])
        except (KeyError, ValueError):
            self.fail(f"{key} must be a number, it says {header.get(key)!r}")
        if not 0 < value < math.inf:
            self.fail(f"{key} must be positive and finite, it says {header[key]!r}")
        return value

    def count(self, header: dict[str, str], key: str) -> int:
        text = header.get(key, "")
        if not re.fullmatch(r"0*[1-9]\d{0,17}", text):
            self.fail(f"{key} must be a positive integer, it says {header.get(key)!r}")
        return int(text)

    def values(self, header: dict[str, str], *, skip: bool) -> np.ndarray:
        """Return the data block after ``header``, (Nz, Ny, Nx, valuedim); with ``skip`` only pass over it."""
        nx, ny, nz = (self.count(header, key) for key in _NODES)
        shape = nz, ny, nx, self.count(header, "valuedim")
        key, form = self.entry()
        name = " ".join(form.lower().split()[1:])
        if key != "begin" or form.lower().split()[:1] != ["data"] or name not in REPRESENTATIONS:
            self.fail(f"after the header stands '# {key.title()}: {form[:40]}' instead of '# Begin: Data' with one of "
                      f"{', '.join(REPRESENTATIONS)}")
        cells, left = math.prod(shape), self.size - self.file.tell()
        # A number in text takes at least a digit and a separator.
        needed = 2 * cells if name == "text" else (cells + 1) * _BINARY[name][0].itemsize
        if needed > left:
            self.fail(f"its header claims {nx} x {ny} x {nz} cells of {shape[3]} values, {needed} bytes at least, and "
                      f"{left} are left in the file")
        data = self.text(cells) if name == "text" else self.binary(name, cells, skip)
        for wanted in (f"# End: Data {name.title()}", "# End: Segment"):
            line = " ".join(self.line().split())
            if line.lower() != wanted.lower():
                self.fail(f"after its {cells} numbers stands {line[:40]!r} instead of {wanted!r}")
        if skip:
            return data
        if not np.isfinite(data).all():
            self.fail("it holds NaN or infinity")
        return data.reshape(shape)

    def binary(self, name: str, cells: int, skip: bool) -> np.ndarray:
        dtype, check = _BINARY[name]
        raw = self.file.read(dtype.itemsize)
        if np.frombuffer(raw, dtype)[0] != check:
            order = ": its bytes lie in the other order" if np.frombuffer(raw, dtype.newbyteorder())[0] == check else ""
            self.fail(f"the check value before its data is not {check:.0f}{order}; it is damaged")
        if skip:
            self.file.seek(cells * dtype.itemsize, os.SEEK_CUR)
            data = np.empty(0, dtype)
        else:
            data = np.frombuffer(self.file.read(cells * dtype.itemsize), dtype)
        here = self.file.tell()
        while self.file.read(1) in (b"\n", b"\r"):  # the line break after the data is optional
            here = self.file.tell()
        self.file.seek(here)
        return data.astype(dtype.newbyteorder("="))

    def text(self, cells: int) -> np.ndarray:
        """Return the numbers up to the line that begins with #; there must be ``cells`` of them."""
        data, here = np.empty(cells), 0
        while True:
            position = self.file.tell()
            line = self.file.readline(_LINE)
            if not line:
                self.fail(f"it ends after {here} of {cells} numbers")
            if len(line) == _LINE:  # reading on could cut a number in two
                self.fail(f"a line of its data is longer than {_LINE} bytes")
            if line.lstrip().startswith(b"#"):
                self.file.seek(position)
                break
            try:
                numbers = [float(word) for word in line.split()]
            except ValueError:
                shown = line[:60].decode("utf-8", "replace").strip()
                self.fail(f"its data hold the line {shown!r}, which is not numbers")
            if here + len(numbers) > cells:
                self.fail(f"it holds more than the {cells} numbers that its header claims")
            data[here:here + len(numbers)] = numbers
            here += len(numbers)
        if here != cells:
            self.fail(f"it holds {here} of {cells} numbers")
        return data
