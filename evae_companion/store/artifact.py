"""Artifacts of the store: folders of plain files with a manifest, ``meta.json``.

``meta.json`` holds the spec (everything the artifact depends on), versions, times, and the size and SHA-256 of every
file. An artifact's name is its kind and a hash of its spec. :func:`integrity_error` verifies a folder against a spec.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from evae_companion.store.serialization import plain_values, read_limited

META = "meta.json"
_KIND = re.compile(r"[a-z][a-z0-9_-]{0,63}")
NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}-[0-9a-f]{16}")
_RECENT_NS = 2_000_000_000  # 2 s; file systems round time stamps by up to this much

# (folder, files) -> sizes, inodes and time stamps of files whose hashes this process has verified
_verified: dict[tuple[str, ...], bytes] = {}


def identity(spec: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the spec as canonical JSON values, and the artifact's name: its kind and a hash of that JSON.

    Raises
    ------
    TypeError, ValueError
        a spec that is not plain JSON, holds NaN or infinity, or lacks a usable "kind".
    """
    if not isinstance(spec, Mapping):
        raise TypeError(f'spec must be a dict with a "kind", got {type(spec).__name__}')
    kind = spec.get("kind")
    if not isinstance(kind, str) or not _KIND.fullmatch(kind):
        raise ValueError('spec["kind"] must be a name of at most 64 lower-case letters, digits, - and _, '
                         f"and begin with a letter; got {kind!r}")
    plain = plain_values(spec, "spec", strict=True)
    return plain, f"{kind}-{hashlib.sha256(canonical(plain)).hexdigest()[:16]}"


def canonical(plain: Any) -> bytes:
    """Return the canonical JSON text of plain values, which is hashed and compared."""
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def meta_bytes(body: dict[str, Any]) -> bytes:
    """Return the content of meta.json: the body and, last, its SHA-256, so that damage to meta.json is detected."""
    return (json.dumps({**body, "sha256": hashlib.sha256(canonical(body)).hexdigest()}, indent=1) + "\n").encode()


def parse_meta(raw: bytes) -> dict[str, Any] | None:
    """Return the body of a meta.json's content, or None unless it is byte for byte what this module writes."""
    try:
        body = json.loads(raw)
        del body["sha256"]
        whole = meta_bytes(body) == raw and isinstance(body["spec"], dict) and isinstance(body["files"], dict)
        return body if whole else None
    except (ValueError, KeyError, TypeError, RecursionError):  # not UTF-8, not JSON, not a dict, too deep
        return None


def read_meta(path: Path) -> dict[str, Any] | None:
    """Return the body of a meta.json, or None unless it is byte for byte what this module writes."""
    try:
        return parse_meta(read_limited(path))
    except ValueError:  # too large
        return None


def require_meta(folder: Path) -> dict[str, Any]:
    """Return the body of an artifact's meta.json. Raises RuntimeError if it is damaged."""
    body = read_meta(folder / META)
    if body is None:
        raise RuntimeError(f"{folder / META} is damaged; run the same command again, which makes the artifact anew")
    return body


def integrity_error(folder: Path, spec: dict[str, Any]) -> str | None:
    """Return why ``folder`` fails verification as the artifact of ``spec``, naming the file; None if it is intact."""
    try:
        body = read_meta(folder / META)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return f"{META} is missing"
    if body is None:
        return f"{META} is not readable"
    if canonical(body["spec"]) != canonical(spec):
        return f"{META} holds another spec"
    return files_integrity_error(folder, body["files"])


def manifest(files: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """Return {name: size and SHA-256} of the files {name: path}, as meta.json holds them."""
    return {name: {"size": path.stat().st_size, "sha256": sha256(path)} for name, path in files.items()}


def files_integrity_error(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return why the first changed file of ``files`` (see :func:`manifest`) fails verification, or None.

    Hashes are computed once per process. Afterwards sizes and time stamps tell whether a file was written.
    """
    if not files:
        return "no file of it is named"
    key = (str(folder), *files)
    try:
        stats = [(folder / name).stat() for name in files]  # before the hashes: a write meanwhile shows next time
        for (name, file), stat in zip(files.items(), stats, strict=True):
            if stat.st_size != file["size"]:
                return f"{name} has {stat.st_size} bytes instead of {file['size']}"
        signature = canonical([dict(files), [[s.st_ino, s.st_mtime_ns, s.st_ctime_ns] for s in stats]])
        if _verified.get(key) != signature:
            now = time.time_ns()
            for name, file in files.items():
                if sha256(folder / name) != file["sha256"]:
                    return f"{name} has another SHA-256 than when it was made"
            # Two writes within one tick of the file system's clock carry the same stamp: a recent one proves nothing.
            if now - max(max(s.st_mtime_ns, s.st_ctime_ns) for s in stats) > _RECENT_NS:
                _verified[key] = signature
        return None
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        return f"{Path(error.filename).relative_to(folder)} is missing"


def list_files(folder: Path) -> dict[str, Path]:
    """Return {relative name: path} of what ``make`` wrote, sorted. Raises RuntimeError if it is no valid artifact."""
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise RuntimeError(f"make wrote {name}, which is not a plain file; an artifact holds plain files only")
        if path.is_file():
            files[name] = path
    if META in files:
        raise RuntimeError(f"make wrote {META}, the name the store keeps its own record under; use another name")
    if not files:
        raise RuntimeError("make wrote no file into the folder it was given, so there is nothing to keep")
    return files


def versions() -> dict[str, str | None]:
    """Return versions of what the numbers depend on; None for a package used from its folder, not installed."""
    result: dict[str, str | None] = {"python": platform.python_version()}
    for package in ("numpy", "torch", "evae"):
        try:
            result[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            result[package] = None
    return result


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
