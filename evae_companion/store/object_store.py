"""Artefacts shared between machines: each is one sealed tar behind a URL, put there whole or not at all.

The URL is anything that fsspec opens: a folder of a network file system (``file:///shared/evae``), an object store
(``s3://bucket/evae``). A worker keeps a store of its own and takes from the URL what it lacks. A tar holds the
artefact's files with its ``meta.json``; the store takes it in only where every SHA-256 is right. On an object store a
tar appears when its PUT is complete, and only where nothing lies there yet (If-None-Match); on a file system it is
written under another name and linked. So the first one stays, and who comes second has done the work for nothing.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import secrets
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evae_companion.store.artifact import META, NAME, canonical, identity, meta_bytes
from evae_companion.store.serialization import PARTIAL
from evae_companion.store.store import Store

SUFFIX = ".tar"
MOST = 2**20  # bytes of a meta.json
_FILE = re.compile(r"[\w.-]+(/[\w.-]+)*")


class Remote:
    """The artefacts behind ``url``; nothing is created before the first :meth:`push`."""

    def __init__(self, url: str):
        import fsspec  # here: stores of one machine need none of it

        self.url = url
        try:
            self.fs, self.root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise ValueError(f"the address of shared artefacts must be one that fsspec opens, as file:///shared/evae "
                             f"or s3://bucket/evae, got {url!r} ({error})") from error
        self.local = "file" in (self.fs.protocol if isinstance(self.fs.protocol, tuple) else (self.fs.protocol,))

    def names(self) -> set[str]:
        """Names of the artefacts that lie there."""
        self.fs.invalidate_cache()
        if not self.fs.isdir(self.root):
            return set()
        found = (str(path).rsplit("/", 1)[-1] for path in self.fs.ls(self.root, detail=False))
        return {name.removesuffix(SUFFIX) for name in found
                if name.endswith(SUFFIX) and NAME.fullmatch(name.removesuffix(SUFFIX))}

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}{SUFFIX}"

    def push(self, spec: dict[str, Any], store: Store) -> int:
        """Put the artefact of ``spec`` there, from ``store``; bytes sent, 0 where one lies there already.

        Raises RuntimeError where the store does not hold it intact.
        """
        path, folder = self._path(identity(spec)[1]), store.held(spec)
        self.fs.invalidate_cache()
        if self.fs.exists(path):
            return 0
        content = sealed(folder)
        if self.local:
            self._link(Path(path), content)
        else:
            try:
                self.fs.pipe_file(path, content, mode="create")
            except FileExistsError:
                return 0
            except OSError as error:
                if "PreconditionFailed" not in repr(error) and "pre-conditions" not in str(error):
                    raise
                return 0
        return len(content)

    def _link(self, path: Path, content: bytes) -> None:
        """Write a file whole, and only where there is none: written aside, flushed, linked (never over another)."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}{PARTIAL}{os.getpid()}-{secrets.token_hex(4)}")
        try:
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(partial, path)
            except FileExistsError:
                pass
        finally:
            partial.unlink(missing_ok=True)

    def pull(self, spec: dict[str, Any], store: Store) -> int:
        """Take the artefact of ``spec`` from there into ``store``; bytes received, 0 where it is here or not there.

        One that is damaged there is said to be, removed, and counts as absent: it will be made and pushed anew.
        """
        if store.find(spec) is not None:
            return 0
        plain, name = identity(spec)
        try:
            self.fs.invalidate_cache()
            content = self.fs.cat_file(self._path(name))
        except FileNotFoundError:
            return 0
        try:
            meta, files = opened(content, plain)
        except ValueError as error:
            print(f"{self._path(name)} is damaged: {error}; removed, to be made anew", flush=True)
            self.fs.rm_file(self._path(name))
            return 0

        def make(folder: Path) -> None:
            for file, bytes_ in files.items():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (folder / file).write_bytes(bytes_)

        store.put(plain, make, {key: meta[key] for key in ("versions", "created", "wall_seconds")})
        return len(content)


def sealed(folder: Path) -> bytes:
    """The tar of an artefact's folder: its files in order, without times and owners, meta.json last."""
    buffer = io.BytesIO()
    body = json.loads((folder / META).read_bytes())
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in (*sorted(body["files"]), META):
            entry = tarfile.TarInfo(name)
            entry.size = (folder / name).stat().st_size
            with (folder / name).open("rb") as file:
                tar.addfile(entry, file)
    return buffer.getvalue()


def opened(content: bytes, spec: dict[str, Any]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What meta.json tells and the files of a tar; ValueError where it is not the artefact of ``spec``, byte for byte.

    Nothing is unpacked by name: only the files that meta.json tells, with its sizes and hashes, are read.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
            members = {entry.name: entry for entry in tar.getmembers() if entry.isreg()}
            if META not in members or members[META].size > MOST:
                raise ValueError(f"it has no {META}")
            raw = _read(tar, members[META])
            body = json.loads(raw)
            del body["sha256"]
            if meta_bytes(body) != raw or canonical(body["spec"]) != canonical(spec):
                raise ValueError(f"its {META} is not that of this artefact")
            files = {}
            for name, told in body["files"].items():
                if not _FILE.fullmatch(name) or ".." in name.split("/"):
                    raise ValueError(f"{name!r} is no plain file name")
                files[name] = _read(tar, members[name])
                if len(files[name]) != told["size"] or hashlib.sha256(files[name]).hexdigest() != told["sha256"]:
                    raise ValueError(f"{name} has another SHA-256 than when it was made")
            if not files:
                raise ValueError("it holds no file")
            return {key: body[key] for key in ("versions", "created", "wall_seconds")}, files
    except (tarfile.TarError, KeyError, TypeError, AttributeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"it is no sealed artefact ({error!r:.100})") from error


def _read(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(entry)
    assert file is not None  # it is a regular file
    return file.read()


@dataclass(frozen=True)
class StoreLocation:
    """Where artefacts lie: ``root``, a store's folder (None: the worker's own default); ``url``, shared artefacts.

    Without a url the folder itself is shared: one machine, or a network file system.
    """

    root: str | None = None
    url: str | None = None

    def store(self) -> Store:
        return Store(self.root)
