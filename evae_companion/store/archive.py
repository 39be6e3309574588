"""Archives: the one format in which artifacts travel, by hand (a bundle) or through an object store.

An archive is an uncompressed tar that any tar program lists. For each artifact it holds the files, in order, as
``NAME/file``, and then ``NAME/meta.json``, where NAME is the artifact's name. Owners and times are left out: equal
artifacts give equal bytes. :func:`read` accepts what :func:`write` makes, byte for byte, and nothing else.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from evae_companion.store.artifact import META, identity, meta_bytes, parse_meta, require_meta
from evae_companion.store.store import Store

Artifact = tuple[dict[str, Any], dict[str, bytes]]  # the body of meta.json, and {file: content}

MAX_META_BYTES = 2**20
_BLOCK = 512
_END = bytes(2 * _BLOCK)
_FILE = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)  # plain names only: nothing is written outside a folder
_ABOUT = {"versions": (dict,), "created": (str,), "wall_seconds": (int, float)}  # the store relies on these


def load(folder: Path) -> Artifact:
    """Return the artifact in a folder of the store. Raises RuntimeError if its meta.json is damaged."""
    body = require_meta(folder)
    return body, {file: (folder / file).read_bytes() for file in body["files"]}


def write(artifacts: Iterable[Artifact]) -> bytes:
    """Return artifacts as an archive. Raises ValueError at a file whose name is not plain ASCII, or is too long."""
    stream = io.BytesIO()
    for body, files in artifacts:
        for file, content in (*sorted(files.items()), (META, meta_bytes(body))):
            stream.write(_header(identity(body["spec"])[1], file, len(content)))
            stream.write(content)
            stream.write(bytes(-len(content) % _BLOCK))
    stream.write(_END)
    return stream.getvalue()


def read(content: bytes) -> dict[str, Artifact]:
    """Return {name: artifact} of an archive, verified byte for byte; nothing is written to disk.

    Raises
    ------
    ValueError
        the archive is damaged, or not what :func:`write` makes; the message names the file or the place.
    """
    artifacts: dict[str, Artifact] = {}
    files: dict[str, bytes] = {}  # of the artifact that is being read
    place, end = 0, len(content) - len(_END)
    while place < end:
        header = content[place:place + _BLOCK]
        file, folder = (header[a:b].rstrip(b"\0").decode("latin-1") for a, b in ((0, 100), (345, 500)))
        digits = re.fullmatch(rb"[0-7]{11}", header[124:135])
        if not digits or header != _header(folder, file, size := int(digits[0], 8)):
            raise ValueError(f"what lies at byte {place} is no header of an archive")
        first, last = place + _BLOCK, place + _BLOCK + size
        place = last + -size % _BLOCK
        if place > end or any(content[last:place]):
            raise ValueError(f"{folder}/{file} is cut short, or its padding is not zero")
        if f"{folder}/{file}" in files or folder in artifacts:
            raise ValueError(f"{folder}/{file} is there twice")
        files[f"{folder}/{file}"] = content[first:last]
        if file == META:
            artifacts[folder] = _verified(folder, files)
            files = {}
    if not artifacts or files or content[place:] != _END:
        raise ValueError("it is cut short, or does not end where it should")
    return artifacts


def _verified(name: str, files: dict[str, bytes]) -> Artifact:
    """Return the artifact ``name`` from its files, {NAME/file: content}, in the order in which they were found."""
    raw = files.pop(f"{name}/{META}")
    body = parse_meta(raw) if len(raw) <= MAX_META_BYTES else None
    try:
        right = body is not None and identity(body["spec"])[1] == name
    except (ValueError, RecursionError):  # no spec, or nested too deeply
        right = False
    if body is None or not right or not all(isinstance(body.get(key), kinds) for key, kinds in _ABOUT.items()):
        raise ValueError(f"{name}/{META} is damaged, or of another artifact")
    if not files or list(files) != [f"{name}/{file}" for file in sorted(body["files"])]:
        raise ValueError(f"the files before {name}/{META} are not those that it lists")
    for file, told in body["files"].items():
        content = files[f"{name}/{file}"]
        if told != {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}:
            raise ValueError(f"{name}/{file} has another SHA-256 than when it was made")
    return body, {file: files[f"{name}/{file}"] for file in body["files"]}


def import_into(store: Store, artifact: Artifact) -> bool:
    """Import a verified artifact, with all that its meta.json says; return whether it was not there already."""
    body, files = artifact

    def make(folder: Path) -> None:
        for file, content in files.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(content)

    return store.put(body["spec"], make, {key: value for key, value in body.items() if key not in ("spec", "files")})


def _header(folder: str, file: str, size: int) -> bytes:
    """Return the tar header (ustar) of a plain file, mode 644, owner 0, time 0.

    The standard library's differs from one version of Python to the next.
    """
    if not _FILE.fullmatch(file) or len(file) > 100:
        raise ValueError(f"{file!r:.120} is no plain file name of at most 100 characters")
    header = b"".join((file.encode().ljust(100, b"\0"), b"0000644\0", 2 * b"0000000\0", b"%011o\0" % size,
                       b"00000000000\0", 8 * b" ", b"0".ljust(101, b"\0"), b"ustar\00000".ljust(88, b"\0"),
                       folder.encode("latin-1"))).ljust(_BLOCK, b"\0")
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]  # the sum is that with spaces in its place
