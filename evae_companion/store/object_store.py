"""Artifacts shared between machines: each is an archive behind a URL, uploaded whole or not at all.

The URL is anything that fsspec opens: a folder of a network file system (``file:///shared/evae``) or an object store
(``s3://bucket/evae``). A worker keeps a store of its own and pulls from the URL what it lacks. ``NAME.tar``
is an archive (:mod:`evae_companion.store.archive`) of the one artifact NAME.

First writer wins; later uploads are discarded. On an object store a tar appears when its PUT is complete, and only if
no object has its name yet (If-None-Match). On a file system it is written under another name, then linked.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evae_companion.store import archive
from evae_companion.store.artifact import NAME, identity
from evae_companion.store.serialization import PARTIAL
from evae_companion.store.store import Store

SUFFIX = ".tar"


class Remote:
    """Artifacts behind ``url``; nothing is created there before the first :meth:`push`."""

    def __init__(self, url: str):
        import fsspec  # imported here: stores of one machine do not need it

        self.url = url
        try:
            self.fs, self.root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise ValueError(f"the address of shared artifacts must be one that fsspec opens, as file:///shared/evae "
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
        content = archive.write([archive.load(folder)])
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

        Raises
        ------
        ValueError
            a version of evae before 0.2 wrote it.
        """
        if store.find(spec) is not None:
            return 0
        name = identity(spec)[1]
        try:
            self.fs.invalidate_cache()
            content = self.fs.cat_file(self._path(name))
        except FileNotFoundError:
            return 0
        if content[257:262] == b"ustar" and not any(content[345:500]):  # the first file lies in no folder
            raise ValueError(f"{self._path(name)} was written by evae before version 0.2, in another format; give "
                             "another address, or empty this one, and the artifacts are made anew")
        try:
            artifacts = archive.read(content)
            if list(artifacts) != [name]:
                raise ValueError(f"it holds {', '.join(artifacts)}")
        except ValueError as error:
            print(f"{self._path(name)} is damaged: {error}; removed, to be made anew", flush=True)
            self.fs.rm_file(self._path(name))
            return 0
        archive.import_into(store, artifacts[name])
        return len(content)


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
