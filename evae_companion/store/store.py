"""Store of expensive artifacts: each is a folder, named after the spec it depends on, and made once.

``Store().get(spec, make)`` returns the folder of the artifact that ``spec`` describes, and calls ``make(folder)`` if
it is absent. A folder appears whole or not at all: it is written under another name and renamed. ``meta.json`` beside
the files holds the spec, versions, times and the SHA-256 of every file. An artifact that no longer agrees with it is
reported as damaged, moved aside and made again. While one process makes an artifact, others wait.

In a preview (:mod:`evae_companion.store.preview`) artifacts come from a record, and none is made.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from evae_companion.places import store_root
from evae_companion.store import deadline, preview
from evae_companion.store.artifact import (
    META,
    NAME,
    identity,
    integrity_error,
    list_files,
    manifest,
    meta_bytes,
    read_meta,
    require_meta,
    versions,
)
from evae_companion.store.serialization import PARTIAL, atomic_write, partial_path

# Explanations of the system errors raised if a store cannot be written.
_REFUSALS = {errno.EROFS: "it is read-only", errno.EACCES: "you may not write there",
             errno.EPERM: "you may not write there", errno.ENOTDIR: "it is not a folder",
             errno.EEXIST: "it is not a folder", errno.ENOSPC: "the disk is full",
             errno.EDQUOT: "the disk quota is used up", errno.EFBIG: "a file went over the size limit"}
_NAMELESS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # raised by write(), which does not know its file's name

# .names: artifacts this thread is making, so that one requesting itself is an error; .seconds: spent in all makes.
_making = threading.local()


class Store:
    """Store of artifacts in one folder.

    Parameters
    ----------
    root : the folder; None means :func:`~evae_companion.places.store_root`. Nothing is created before the first
        ``get``.
    """

    def __init__(self, root: str | os.PathLike[str] | None = None):
        self.root = store_root() if root is None else Path(root).expanduser().absolute()

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r})"

    def get(self, spec: Mapping[str, Any], make: Callable[[Path], None]) -> Path:
        """Return the folder of the intact artifact that ``spec`` describes; call ``make(folder)`` if it is absent.

        Parameters
        ----------
        spec : dict of plain JSON values with a str "kind": everything the artifact depends on and nothing else.
            Key order does not matter, and 1 and 1.0 are the same. "seed" and "device" are recorded when present.
        make : writes the artifact's files into the (empty, temporary) folder it is given.

        Raises
        ------
        TypeError, ValueError
            a spec that is not plain JSON, holds NaN or infinity, or lacks a usable "kind".
        RuntimeError
            the store cannot be written, ``make`` wrote nothing, or ``make`` requested its own artifact.
        DeadlineExceeded
            the artifact is absent and the deadline (see :mod:`evae_companion.store.deadline`) has passed or is too
            near. ``make`` is not called.
        NotRecorded
            in a preview, if the record does not hold the artifact.

        A ``make`` that needs other artifacts requests them first: if the deadline passes among them, its own work has
        not begun. An exception from ``make`` propagates, and leaves no folder behind.
        """
        if not callable(make):
            raise TypeError(f"make must be a function of one folder, got {make!r}")
        spec, name = identity(spec)
        if (found := self._find(spec, name)) is not None:  # without the lock, so that a read-only store can be read
            return found
        preview.refuse(spec)
        folder = self.root / name
        with self._locked(name):
            reason = integrity_error(folder, spec)  # another process may have made it while this one waited
            if reason is not None:
                deadline.check(name, spec, self.root)
                with self._explained():
                    self._make_room(folder, reason)
                    self._make(folder, spec, make, {})
        _note(name)
        return folder

    def put(self, spec: Mapping[str, Any], make: Callable[[Path], None], about: Mapping[str, Any]) -> bool:
        """Import an artifact made elsewhere: like :meth:`get`, with ``about`` in its meta.json.

        Parameters
        ----------
        about : entries that replace or extend those of meta.json: when and how the original was made, what has become
            of its weights.

        Returns
        -------
        bool
            whether it was imported; an intact artifact of this store stays as it is.
        """
        spec, name = identity(spec)
        with self._locked(name):
            reason = integrity_error(self.root / name, spec)
            if reason is not None:
                with self._explained():
                    self._make_room(self.root / name, reason)
                    self._make(self.root / name, spec, make, about)
        return reason is not None

    def exchange(self, spec: Mapping[str, Any], old: str, new: str, make: Callable[[Path, Path], None]) -> int:
        """Replace the file ``old`` by the smaller file ``new``, which ``make(old file, new file)`` writes.

        The artifact is whole at any moment. The new file is written beside the old one, then meta.json names it, and
        only then is the old one removed.

        Returns
        -------
        int
            bytes saved; 0 if the artifact is absent, being made, damaged, or already exchanged.
        """
        spec, name = identity(spec)
        folder = self.root / name
        if integrity_error(folder, spec) is not None:
            return 0
        with self._locked(name), self._explained():
            if old not in (body := require_meta(folder))["files"]:
                (folder / old).unlink(missing_ok=True)  # a killed exchange may have left it
                return 0
            partial = partial_path(folder / new)
            try:
                make(folder / old, partial)
                _flush(partial)
                partial.replace(folder / new)
            finally:
                partial.unlink(missing_ok=True)
            before = body["files"].pop(old)["size"]
            body["files"] |= manifest({new: folder / new})
            atomic_write(folder / META, meta_bytes(body))
            (folder / old).unlink()
        return int(before - (folder / new).stat().st_size)

    def meta(self, spec: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the body of the meta.json of ``spec``'s artifact; None unless it is present and intact."""
        folder = self.find(spec)
        return None if folder is None else read_meta(folder / META)

    def held(self, spec: Mapping[str, Any]) -> Path:
        """Return the folder of an artifact that was there a moment ago. Raises RuntimeError if it is gone."""
        if (folder := self.find(spec)) is None:
            raise RuntimeError(f"{identity(spec)[1]} has gone from the store {self.root} meanwhile; run this again")
        return folder

    def names(self) -> set[str]:
        """Return the names of the artifacts in this folder, intact or not."""
        return {path.name for path in self.root.iterdir() if NAME.fullmatch(path.name)} if self.root.is_dir() else set()

    def find(self, spec: Mapping[str, Any]) -> Path | None:
        """Return the folder of the artifact that ``spec`` describes; None unless it is present and intact."""
        return self._find(*identity(spec))

    def _find(self, spec: dict[str, Any], name: str) -> Path | None:
        """:meth:`find`, of the record in a preview; lists the request, unless an artifact in the making asks."""
        if (record := preview.record()) is not None:
            return preview.find(record, spec, name)
        if integrity_error(self.root / name, spec) is not None:
            return None
        _note(name)
        return self.root / name

    def size(self) -> int:
        """Return the bytes of all artifacts, of what was set aside as damaged and of what killed runs left."""
        return sum(_bytes_in(folder) for folder, _ in self._contents())

    def clean(self) -> dict[str, int]:
        """Remove every artifact, what was set aside as damaged and what killed runs left; nothing else in the root.

        An artifact that another process is making stays, and a line reports it.

        Returns
        -------
        dict
            {folder name: bytes} of what was removed.
        """
        removed = {}
        with self._explained():
            for folder, name in self._contents():
                try:
                    with self._locked(name, wait=False):
                        if not os.path.lexists(folder):  # its maker finished, or another clean removed it
                            continue
                        removed[folder.relative_to(self.root).as_posix()] = _bytes_in(folder)
                        doomed = folder
                        if NAME.fullmatch(folder.name) and folder.parent == self.root:
                            # Renamed first, so that a clean killed half-way leaves no partial artifact behind.
                            doomed = folder.rename(self.root / f"{name}{PARTIAL}{os.getpid()}-{secrets.token_hex(4)}")
                        _remove(doomed)
                except Timeout:
                    _say(f"{folder} is being made by another process and stays")
        return removed

    def _contents(self) -> list[tuple[Path, str]]:
        """Return (path, artifact name) of everything the store put below its root, except locks."""
        result = []
        for parent, pattern in ((self.root, rf"({NAME.pattern})({re.escape(PARTIAL)}.*)?"),
                                (self.root / "damaged", rf"({NAME.pattern})-\d{{8}}T\d{{12}}"),
                                (self.root / "progress", rf"({NAME.pattern})\.safetensors.*")):
            if parent.is_dir():
                matches = ((path, re.fullmatch(pattern, path.name)) for path in sorted(parent.iterdir()))
                result += [(path, match[1]) for path, match in matches if match]
        return result

    @contextmanager
    def _locked(self, name: str, wait: bool = True) -> Iterator[None]:
        """Hold the artifact's lock. It is the kernel's (flock), so a dead holder's lock is free at once."""
        mine = _making.__dict__.setdefault("names", set())
        key = (str(self.root), name)
        if key in mine:
            raise RuntimeError(f"the making of {name} asks the store for {name} itself; "
                               "make must ask only for artifacts with another spec")
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
        """Turn a system error on writing below the root into one sentence that says what would help."""
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

    def _make_room(self, folder: Path, reason: str) -> None:
        """Move a damaged folder aside and remove what killed runs left. The lock is held, so their makers are dead."""
        if os.path.lexists(folder):
            aside = self.root / "damaged" / f"{folder.name}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
            aside.parent.mkdir(exist_ok=True)
            folder.rename(aside)
            _say(f"{folder} is damaged: {reason}; moved to {aside}, making it anew")
        for path in self.root.iterdir():
            if path.name.startswith(folder.name + PARTIAL):
                _remove(path)

    def _make(self, folder: Path, spec: dict[str, Any], make: Callable[[Path], None], about: Mapping[str, Any]) -> None:
        """Make the artifact in a temporary folder of the same file system, write meta.json, rename it into place."""
        partial = self.root / f"{folder.name}{PARTIAL}{os.getpid()}-{secrets.token_hex(4)}"
        partial.mkdir()
        try:
            start, others = time.perf_counter(), _making.__dict__.setdefault("seconds", 0.0)
            make(partial)
            # Time of this artifact alone: those it requested, and that were made on the way, record their own.
            seconds = time.perf_counter() - start - (_making.seconds - others)
            _making.seconds += seconds
            files = list_files(partial)
            (partial / META).write_bytes(meta_bytes({
                "spec": spec, "seed": spec.get("seed"), "device": spec.get("device"), "versions": versions(),
                "created": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", "wall_seconds": round(seconds, 3),
                **about, "files": manifest(files)}))
            for path in (*files.values(), partial / META, *sorted({p.parent for p in files.values()} | {partial})):
                _flush(path)
            partial.rename(folder)
            _flush(self.root)
        except BaseException as error:
            error.add_note(f"while making {folder.name} in the store {self.root}")
            # A removal that fails must not hide the error; the next get removes what is left.
            shutil.rmtree(partial, ignore_errors=True)
            raise


def _note(name: str) -> None:
    """List a request (:func:`preview.note`), unless it comes from the making of another artifact."""
    if not _making.__dict__.get("names"):
        preview.note(name)


def _flush(path: Path) -> None:
    """Flush a file or folder to disk, so that after a power cut a renamed folder matches its meta.json."""
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
