"""File formats: JSON for records, CSV for tables, .npy/.npz without pickle for arrays. Loading runs no code."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
import re
import secrets
import shutil
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, NoReturn

import numpy as np

MAX_BYTES = 64 * 2**20  # bytes; the default limit for a record or table that is read
PARTIAL = ".partial-"  # stands between a file name and the id of the process still writing it
_FLOAT = "__float__"  # {"__float__": "inf"} stands for a float that JSON cannot express


def plain_values(value: Any, where: str, *, strict: bool) -> Any:
    """Return ``value`` as plain JSON values; ``where`` names it in errors.

    ``strict`` (for specs) refuses NaN, infinity and floats rounded to other than double precision; 1.0 becomes 1.
    """
    if value is None or isinstance(value, (bool, np.bool_)):
        return None if value is None else bool(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, float) or (isinstance(value, np.floating) and not strict):
        value = float(value)
        if strict and not math.isfinite(value):
            raise ValueError(f"{where} must be finite, got {value!r}; use None or leave it out")
        if not math.isfinite(value):
            return {_FLOAT: repr(value)}
        return int(value) if strict and value.is_integer() else value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{where} must have str keys, got {key!r}; use str(key)")
            if key == _FLOAT:
                raise ValueError(f"{where} must not have the key {_FLOAT!r}: it stands for NaN and infinity in files")
        return {str(key): plain_values(item, f"{where}[{key!r}]", strict=strict) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_values(item, f"{where}[{i}]", strict=strict) for i, item in enumerate(value)]
    raise TypeError(f"{where} must be None, bool, int, float, str, list or dict, got {type(value).__name__} {value!r}; "
                    "use float(...), str(...) or .tolist()")


def partial_path(path: Path) -> Path:
    """Return the name under which this process writes ``path`` before renaming it.

    What killed processes left under such names is removed first.
    """
    left = re.compile(re.escape(path.name + PARTIAL) + r"(\d+)-[0-9a-f]{8}")
    for other in path.parent.iterdir():
        if (match := left.fullmatch(other.name)) and not _alive(int(match[1])):
            shutil.rmtree(other, ignore_errors=True) if other.is_dir() else other.unlink(missing_ok=True)
    return path.with_name(f"{path.name}{PARTIAL}{os.getpid()}-{secrets.token_hex(4)}")


def _alive(process: int) -> bool:
    if os.name != "posix":
        return True  # assumed: other systems have no harmless way to ask
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def atomic_write(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file that appears whole or not at all, even if others write it too or this process is killed."""
    path = Path(path)
    partial = partial_path(path)
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """Yield a new, empty folder that replaces ``folder`` at the end; after an error the old one stays as it was."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(folder)
    partial.mkdir()
    try:
        yield partial
        before = partial_path(folder)
        if folder.exists():
            folder.rename(before)
        try:
            partial.rename(folder)
        except BaseException:
            if before.exists():
                before.rename(folder)
            raise
        shutil.rmtree(before, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write ``value`` as JSON, whole or not at all.

    Parameters
    ----------
    value : dict, list, str, numbers, numpy scalars, bool or None. NaN and the infinities are not JSON numbers. They
        are stored as {"__float__": "inf"} and read back as floats.

    Raises
    ------
    TypeError, ValueError
        an entry that is not plain; the message names it.
    """
    text = json.dumps(plain_values(value, "value", strict=False), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    atomic_write(path, text.encode())


def _seal(plain: Any) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True, allow_nan=False).encode()).hexdigest()


def write_checksummed(path: str | os.PathLike[str], value: Any) -> None:
    """Write ``value`` as JSON together with its SHA-256, for :func:`read_checksummed`."""
    write_json(path, {"sha256": _seal(plain_values(value, "value", strict=False)), "value": value})


def read_checksummed(path: str | os.PathLike[str]) -> Any:
    """Read what :func:`write_checksummed` wrote. Raises ValueError if the value does not match its SHA-256."""
    record = read_json(path)
    if not isinstance(record, dict) or set(record) != {"sha256", "value"} or (
            _seal(plain_values(record["value"], "value", strict=False)) != record["sha256"]):
        raise ValueError(f"{path} is damaged: what it holds has not the SHA-256 that was written with it")
    return record["value"]


def read_limited(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the bytes of a file. Raises ValueError if it has more than ``max_bytes``."""
    if (size := path.stat().st_size) > max_bytes:
        raise ValueError(f"{path} has {size} bytes, more than max_bytes = {max_bytes}; raise max_bytes if you trust it")
    return path.read_bytes()


def read_json(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> Any:
    """Read what :func:`write_json` wrote.

    Raises
    ------
    ValueError
        a file larger than ``max_bytes``, not JSON, with NaN tokens or with repeated keys.
    """
    path = Path(path)
    content = read_limited(path, max_bytes)

    def pairs(items: Any) -> Any:
        if len(items) == 1 and items[0][0] == _FLOAT:
            if items[0][1] not in ("nan", "inf", "-inf"):
                raise ValueError(f"{_FLOAT} must be nan, inf or -inf, got {items[0][1]!r}")
            return float(items[0][1])
        if len(result := dict(items)) != len(items):
            raise ValueError(f"a key is repeated among {[key for key, _ in items]}")
        return result

    def constant(token: str) -> NoReturn:
        raise ValueError(f"{token} is not JSON")

    try:
        return json.loads(content, object_pairs_hook=pairs, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a JSON file this module wrote: {error}") from error


def save_arrays(path: str | os.PathLike[str], arrays: np.ndarray | Mapping[str, np.ndarray]) -> None:
    """Save one array as .npy, or a dict of named arrays as .npz, never with pickle.

    The same arrays give the same bytes.

    Raises
    ------
    TypeError
        anything but plain numpy arrays.
    ValueError
        a suffix or the name of an array that does not fit.
    """
    path = Path(path)
    held: Any = arrays
    named = isinstance(arrays, Mapping)
    if path.suffix != (".npz" if named else ".npy"):
        raise ValueError(f"path must end in .npz for a dict of arrays and in .npy for one array, got {path}")
    for name, array in (held.items() if named else [("arrays", held)]):
        if not isinstance(name, str) or not name.isidentifier() or name == "file":  # np.savez reserves "file"
            raise ValueError(f'the name of an array must be a Python identifier other than "file", got {name!r}')
        if not isinstance(array, np.ndarray):
            raise TypeError(f"{name} must be a numpy array, got {type(array).__name__}; a tensor's is .cpu().numpy()")
        if array.dtype.hasobject:
            raise TypeError(f"{name} has dtype {array.dtype}, which only pickle could save; use numbers or fixed str")
    if named:
        np.savez(path, **held)
    else:
        with path.open("wb") as file:
            # numpy gets a bare write(): given the file itself, its error does not say that the disk is full.
            np.save(SimpleNamespace(write=file.write), held, allow_pickle=False)


def load_arrays(path: str | os.PathLike[str], mmap: bool = False) -> Any:
    """Load what :func:`save_arrays` wrote: an array (.npy) or a dict of arrays (.npz); pickle is refused.

    Parameters
    ----------
    mmap : leave a .npy on disk and read it, read-only, as it is used.

    Raises
    ------
    ValueError
        a file that is not what its suffix says, or that is compressed or claims more than it holds. Nothing is
        allocated then. Also ``mmap`` with .npz.
    """
    path = Path(path)
    if path.suffix not in (".npy", ".npz"):
        raise ValueError(f"path must end in .npy or .npz, got {path}")
    if mmap and path.suffix == ".npz":
        raise ValueError(f"mmap needs a .npy file, got {path}: arrays inside .npz cannot be mapped")
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if path.suffix == ".npy":
                _check_header(file, size)
                if mmap:
                    return np.lib.format.open_memmap(path, mode="r")
                return np.lib.format.read_array(file, allow_pickle=False)
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
                if any(one.compress_type != zipfile.ZIP_STORED or one.compress_size != one.file_size
                       for one in members) or sum(one.file_size for one in members) > size:
                    raise ValueError("it is compressed, or claims more bytes than it has; this module writes none such")
                result = {}
                for one in members:
                    with archive.open(one) as array:
                        _check_header(array, one.file_size)
                        result[one.filename.removesuffix(".npy")] = np.lib.format.read_array(array, allow_pickle=False)
                return result
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, OverflowError,
            SyntaxError, TypeError, RecursionError, MemoryError,
            tokenize.TokenError) as error:  # raised by zip and header code on damaged bytes
        raise ValueError(f"{path} is not a readable {path.suffix} file without pickle: {error}") from error


def _check_header(file: IO[bytes], size: int) -> None:
    """Raise ValueError unless a .npy of ``size`` bytes is as long as its header says; otherwise rewind."""
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"version {version} of the format is none that this module writes")
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise ValueError(f"dtype {dtype} could only be read by pickle")
    if file.tell() + math.prod(shape) * dtype.itemsize != size:
        raise ValueError(f"its header claims shape {shape} of {dtype}, and it has {size} bytes")
    file.seek(0)


def save_table(path: str | os.PathLike[str], columns: Mapping[str, Any]) -> None:
    """Write columns of equal length as CSV, with their names in the first line; floats are read back to the last bit.

    Raises
    ------
    ValueError
        columns of unequal length.
    """
    columns = {name: np.asarray(values).tolist() for name, values in columns.items()}
    if len({len(values) for values in columns.values()}) != 1:
        raise ValueError(f"columns must be equally long, got { {name: len(v) for name, v in columns.items()} }")
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def load_table(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """Read what :func:`save_table` wrote: float64 columns, and str for columns that hold words.

    Raises
    ------
    ValueError
        any other file, or more than ``max_bytes``.
    """
    content = read_limited(Path(path), max_bytes)
    try:
        names, *rows = csv.reader(io.StringIO(content.decode(), newline=""), strict=True)
        columns = zip(*(row for row in rows), strict=True) if rows else [()] * len(names)
        return {name: _column(values) for name, values in zip(names, columns, strict=True)}
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path} is not a table this module wrote: {error}") from error


def _column(values: Sequence[str]) -> np.ndarray:
    try:
        return np.array(values, float)
    except ValueError:
        return np.array(values, str)
