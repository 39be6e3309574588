"""The store: every expensive artefact is a folder, named by what it depends on, made once.

``Store().get(spec, make)`` returns the folder of the artefact that ``spec`` describes, and calls ``make(folder)`` where
it is absent. A folder appears whole or not at all: it is written under another name and renamed. ``meta.json`` beside
the files holds the spec, versions, times and the SHA-256 of every file; an artefact that no longer agrees with it is
said to be damaged, moved aside and made anew. One process makes, others wait.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from filelock import FileLock, Timeout

from evae_core.files import PARTIAL, plain_values

META = "meta.json"
_KIND = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}-[0-9a-f]{16}")
_RECENT_NS = 2_000_000_000  # file systems round time stamps to as much as this

# What the system says when a store cannot be written, in words.
_REFUSALS = {errno.EROFS: "it is read-only", errno.EACCES: "you may not write there",
             errno.EPERM: "you may not write there", errno.ENOTDIR: "it is not a folder",
             errno.EEXIST: "it is not a folder", errno.ENOSPC: "the disk is full",
             errno.EDQUOT: "the disk quota is used up", errno.EFBIG: "a file went over the size limit"}
_NAMELESS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # raised by write(), which does not know its file's name

_verified: dict[str, bytes] = {}  # folder -> sizes and times of the files whose hashes this process has checked
_making = threading.local()  # .names: artefacts this thread is making, so that one asking for itself is an error


def default_root() -> Path:
    """Where artefacts live: $EVAE_STORE, or data/store in the repository this package is installed from.

    Raises RuntimeError where EVAE_STORE is not set and the package does not lie in its repository.
    """
    if chosen := os.environ.get("EVAE_STORE"):
        return Path(chosen).expanduser().absolute()
    repository = Path(__file__).resolve().parents[1]
    if not (repository / "pyproject.toml").is_file():
        raise RuntimeError(f"evae_core lies in {repository}, outside its repository, so there is no default store; "
                           "set EVAE_STORE to a folder")
    return repository / "data" / "store"


class Store:
    """A folder of artefacts. ``root`` None means :func:`default_root`; nothing is created before the first ``get``."""

    def __init__(self, root: str | os.PathLike | None = None):
        self.root = default_root() if root is None else Path(root).expanduser().absolute()

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r})"

    def get(self, spec: Mapping, make: Callable[[Path], None]) -> Path:
        """Return the folder of the artefact that ``spec`` describes, intact; call ``make(folder)`` where it is absent.

        Parameters
        ----------
        spec : dict of plain JSON values with a str "kind": everything the artefact depends on and nothing else.
            Key order does not matter, and 1 and 1.0 are the same. "seed" and "device" are recorded when present.
        make : writes the artefact's files into the (empty, temporary) folder it is given.

        Raises
        ------
        TypeError, ValueError
            a spec that is not plain JSON, holds NaN or infinity, or lacks a usable "kind".
        RuntimeError
            the store cannot be written, ``make`` wrote nothing, or ``make`` asked for its own artefact.

        An exception from ``make`` goes through, and leaves no folder behind.
        """
        if not callable(make):
            raise TypeError(f"make must be a function of one folder, got {make!r}")
        spec, name = _identity(spec)
        folder = self.root / name
        if _fault(folder, spec) is None:  # without the lock, so that a read-only store can be read
            return folder
        with self._locked(name):
            fault = _fault(folder, spec)  # another process may have made it while this one waited
            if fault is not None:
                with self._explained():
                    self._make_room(folder, fault)
                    self._make(folder, spec, make)
        return folder

    def find(self, spec: Mapping) -> Path | None:
        """The folder of the artefact that ``spec`` describes where it is present and intact, else None."""
        spec, name = _identity(spec)
        folder = self.root / name
        return folder if _fault(folder, spec) is None else None

    def size(self) -> int:
        """Bytes in all artefacts, with what was set aside as damaged and what killed runs left."""
        return sum(_bytes_in(folder) for folder, _ in self._contents())

    def clean(self) -> dict[str, int]:
        """Remove every artefact, what was set aside as damaged and what killed runs left; nothing else in the root.

        Returns {folder name: bytes}. An artefact that another process is making stays, and a line says so.
        """
        removed = {}
        with self._explained():
            for folder, name in self._contents():
                try:
                    with self._locked(name, wait=False):
                        if not os.path.lexists(folder):  # its maker finished, or another clean was faster
                            continue
                        removed[folder.relative_to(self.root).as_posix()] = _bytes_in(folder)
                        doomed = folder
                        if _NAME.fullmatch(folder.name) and folder.parent == self.root:
                            # Renamed first: a clean that is killed half way leaves no half an artefact behind.
                            doomed = folder.rename(self.root / f"{name}{PARTIAL}{os.getpid()}-{secrets.token_hex(4)}")
                        _remove(doomed)
                except Timeout:
                    _say(f"{folder} is being made by another process and stays")
        return removed

    def _contents(self) -> list[tuple[Path, str]]:
        """(path, artefact name) of everything the store put below its root, locks excepted."""
        found = []
        for parent, pattern in ((self.root, rf"({_NAME.pattern})({re.escape(PARTIAL)}.*)?"),
                                (self.root / "damaged", rf"({_NAME.pattern})-\d{{8}}T\d{{12}}")):
            if parent.is_dir():
                matches = ((path, re.fullmatch(pattern, path.name)) for path in sorted(parent.iterdir()))
                found += [(path, match[1]) for path, match in matches if match]
        return found

    @contextmanager
    def _locked(self, name: str, wait: bool = True) -> Iterator[None]:
        """Hold the artefact's lock. It is the kernel's (flock), so a dead holder's lock is free at once."""
        mine = _making.__dict__.setdefault("names", set())
        key = (str(self.root), name)
        if key in mine:
            raise RuntimeError(f"the making of {name} asks the store for {name} itself; "
                               "make must ask only for artefacts with another spec")
        with self._explained():
            (self.root / "locks").mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.root / "locks" / f"{name}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                if not wait:
                    raise
                _say(f"another process is making {self.root / name}; waiting for it")
                lock.acquire()
        mine.add(key)
        try:
            yield
        finally:
            mine.discard(key)
            lock.release()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn the system's refusal to write below the root into one sentence that says what would do."""
        try:
            yield
        except OSError as error:
            named = isinstance(error.filename, (str, bytes))
            inside = Path(os.fsdecode(error.filename)).is_relative_to(self.root) if named else error.errno in _NAMELESS
            above = named and self.root.is_relative_to(os.fsdecode(error.filename))
            if error.errno not in _REFUSALS or not (inside or above):
                raise
            raise RuntimeError(f"cannot write to the store {self.root}: {_REFUSALS[error.errno]} ({error}); "
                               "set EVAE_STORE to a folder that you may write, with room") from error

    def _make_room(self, folder: Path, fault: str) -> None:
        """Move a damaged folder aside and remove what killed runs left. The lock is held: their makers are dead."""
        if os.path.lexists(folder):
            aside = self.root / "damaged" / f"{folder.name}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
            aside.parent.mkdir(exist_ok=True)
            folder.rename(aside)
            _say(f"{folder} is damaged: {fault}; moved to {aside}, making it anew")
        for path in self.root.iterdir():
            if path.name.startswith(folder.name + PARTIAL):
                _remove(path)

    def _make(self, folder: Path, spec: dict, make: Callable[[Path], None]) -> None:
        """Make the artefact in a temporary folder of the same file system, describe it, rename it into place."""
        partial = self.root / f"{folder.name}{PARTIAL}{os.getpid()}-{secrets.token_hex(4)}"
        partial.mkdir()
        try:
            start = time.perf_counter()
            make(partial)
            seconds = time.perf_counter() - start
            files = _list_files(partial)
            (partial / META).write_bytes(_meta_bytes({
                "spec": spec, "seed": spec.get("seed"), "device": spec.get("device"), "versions": _versions(),
                "created": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", "wall_seconds": round(seconds, 3),
                "files": {name: {"size": path.stat().st_size, "sha256": _hash(path)} for name, path in files.items()}}))
            for path in (*files.values(), partial / META, *sorted({p.parent for p in files.values()} | {partial})):
                _flush(path)
            partial.rename(folder)
            _flush(self.root)
        except BaseException as error:
            error.add_note(f"while making {folder.name} in the store {self.root}")
            # A removal that fails must not hide the error; the next get removes what is left.
            shutil.rmtree(partial, ignore_errors=True)
            raise


def _identity(spec: Mapping) -> tuple[dict, str]:
    """The spec as canonical JSON values, and the artefact's name: its kind and a hash of that JSON."""
    if not isinstance(spec, Mapping):
        raise TypeError(f'spec must be a dict with a "kind", got {type(spec).__name__}')
    kind = spec.get("kind")
    if not isinstance(kind, str) or not _KIND.fullmatch(kind):
        raise ValueError('spec["kind"] must be a name of at most 64 lower-case letters, digits, - and _, '
                         f"and begin with a letter; got {kind!r}")
    plain = plain_values(spec, "spec", strict=True)
    return plain, f"{kind}-{hashlib.sha256(_canonical(plain)).hexdigest()[:16]}"


def _canonical(plain) -> bytes:
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _meta_bytes(body: dict) -> bytes:
    """meta.json: the body and, last, the SHA-256 of the body, so that damage to meta.json itself is seen."""
    return (json.dumps({**body, "sha256": hashlib.sha256(_canonical(body)).hexdigest()}, indent=1) + "\n").encode()


def _read_meta(path: Path) -> dict | None:
    """The body of a meta.json, or None where it is not, byte for byte, what this module writes."""
    raw = path.read_bytes()
    try:
        body = json.loads(raw)
        del body["sha256"]
        whole = _meta_bytes(body) == raw and isinstance(body["spec"], dict) and isinstance(body["files"], dict)
        return body if whole else None
    except (ValueError, KeyError, TypeError, RecursionError):  # not UTF-8, not JSON, not a dict, too deep
        return None


def _fault(folder: Path, spec: dict) -> str | None:
    """What keeps ``folder`` from being the intact artefact of ``spec``, naming the file; None if nothing.

    The hashes are read once a process: afterwards sizes and time stamps tell whether a file was written.
    """
    try:
        body = _read_meta(folder / META)
        if body is None:
            return f"{META} is not readable"
        if _canonical(body["spec"]) != _canonical(spec):
            return f"{META} holds another spec"
        files = body["files"]
        stats = [(folder / name).stat() for name in files]  # before the hashes: what is written meanwhile shows later
        for (name, file), stat in zip(files.items(), stats, strict=True):
            if stat.st_size != file["size"]:
                return f"{name} has {stat.st_size} bytes instead of {file['size']}"
        signature = _canonical([files, [[s.st_ino, s.st_mtime_ns, s.st_ctime_ns] for s in stats]])
        if _verified.get(str(folder)) != signature:
            now = time.time_ns()
            for name, file in files.items():
                if _hash(folder / name) != file["sha256"]:
                    return f"{name} has another SHA-256 than when it was made"
            # Two writes within one tick of the file system's clock carry the same stamp: a fresh one proves nothing.
            if now - max(max(s.st_mtime_ns, s.st_ctime_ns) for s in stats) > _RECENT_NS:
                _verified[str(folder)] = signature
        return None
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        return f"{Path(error.filename).relative_to(folder)} is missing"


def _list_files(folder: Path) -> dict[str, Path]:
    """{relative name: path} of what ``make`` wrote, sorted; raise RuntimeError where it is not an artefact."""
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise RuntimeError(f"make wrote {name}, which is not a plain file; an artefact holds plain files only")
        if path.is_file():
            files[name] = path
    if META in files:
        raise RuntimeError(f"make wrote {META}, the name the store keeps its own record under; use another name")
    if not files:
        raise RuntimeError("make wrote no file into the folder it was given, so there is nothing to keep")
    return files


def _versions() -> dict[str, str | None]:
    """Versions of what the numbers depend on; None for a package that is used from its folder, not installed."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in ("numpy", "torch", "evae-core"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    """fsync a file or folder, so that after a power cut a renamed folder holds what its meta.json says."""
    if path.is_dir() and os.name != "posix":
        return  # Windows opens no folders
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _bytes_in(path: Path) -> int:
    try:
        if path.is_symlink() or not path.is_dir():
            return path.lstat().st_size
        return sum(p.lstat().st_size for p in path.rglob("*") if p.is_symlink() or not p.is_dir())
    except FileNotFoundError:  # another process is removing it
        return 0


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _say(line: str) -> None:
    print(f"store: {line}", file=sys.stderr, flush=True)
