"""Artifacts shared between machines: each is one tar behind a URL, uploaded whole or not at all.

The URL is anything that fsspec opens: a folder of a network file system (``file:///shared/evae``) or an object store
(``s3://bucket/evae``). A worker keeps a store of its own and pulls from the URL what it lacks. A tar holds the
artifact's files with its ``meta.json``. The store takes it in only if every SHA-256 is right.

First writer wins; later uploads are discarded. On an object store a tar appears when its PUT is complete, and only if
no object has its name yet (If-None-Match). On a file system it is written under another name, then linked.
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
MOST = 2**20  # bytes; the largest meta.json that is read
_FILE = re.compile(r"[\w.-]+(/[\w.-]+)*")


class Remote:
    """Artifacts behind ``url``; nothing is created there before the first :meth:`push`."""

    def __init__(self, url: str):
        import fsspec  # imported here: stores of one machine do not need it

        self.url = url
        try:
            self.fs, self.root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise ValueError(f"the address of shared artefacts must be one that fsspec opens, as file:///shared/evae "
                             f"or s3://bucket/evae, got {url!r} ({error})") from error
        self.local = "file" in (self.fs.protocol if isinstance(self.fs.protocol, tuple) else (self.fs.protocol,))

    def names(self) -> set[str]:
        """Return the names of the artifacts stored there."""
        self.fs.invalidate_cache()
        if not self.fs.isdir(self.root):
            return set()
        names = (str(path).rsplit("/", 1)[-1] for path in self.fs.ls(self.root, detail=False))
        return {name.removesuffix(SUFFIX) for name in names
                if name.endswith(SUFFIX) and NAME.fullmatch(name.removesuffix(SUFFIX))}

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}{SUFFIX}"

    def push(self, spec: dict[str, Any], store: Store) -> int:
        """Upload the artifact of ``spec`` from ``store``.

        Returns
        -------
        int
            bytes sent; 0 if the artifact is there already.

        Raises
        ------
        RuntimeError
            ``store`` does not hold it intact.
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
        """Write a file whole, and only if none exists: write it aside, flush, link (which never overwrites)."""
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
        """Download the artifact of ``spec`` into ``store``.

        A damaged one is reported, removed, and counts as absent: it will be made and pushed again.

        Returns
        -------
        int
            bytes received; 0 if ``store`` holds it already, or if it is not there.
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
    """Return an artifact's folder as a tar: its files in order, without times and owners, meta.json last."""
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
    """Read a tar, verified byte for byte as the artifact of ``spec``.

    Nothing is unpacked by name: only files that meta.json lists, with its sizes and hashes, are read.

    Returns
    -------
    meta, files : versions, created and wall_seconds of meta.json; {name: bytes}.

    Raises
    ------
    ValueError
        the tar is not the artifact of ``spec``.
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
    """Where artifacts are stored.

    Attributes
    ----------
    root : folder of the store; None: the worker's own default.
    url : address of shared artifacts (:class:`Remote`). Without it the folder itself is shared, on one machine or
        a network file system.
    """

    root: str | None = None
    url: str | None = None

    def store(self) -> Store:
        """Return the store at ``root``."""
        return Store(self.root)
