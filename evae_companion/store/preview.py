"""Previews: notebooks that show a record and make nothing, and the list of what a record must hold for that.

EVAE_PREVIEW names the folder of a record, ``data/recorded/<preset>``. A store then answers from the record's
``artifacts`` alone, which are artifacts like its own in small form, and refuses to make any. EVAE_REQUESTS names a file
to which a store appends the name of every artifact that it is asked for. ``evae publish`` records those.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from evae_companion.store.artifact import integrity_error, read_meta
from evae_companion.store.deadline import describe

ENV, REQUESTS = "EVAE_PREVIEW", "EVAE_REQUESTS"
ARTIFACTS = "artifacts"  # folder within a record
INDEX = "record.json"

_noted: set[tuple[str, str]] = set()  # (list, name) that this process has listed


class NotRecorded(RuntimeError):
    """A preview was asked for what its record does not hold; the message names it and the command that makes it."""


def record() -> Path | None:
    """Return the folder of the record that a preview shows, or None outside a preview."""
    chosen = os.environ.get(ENV)
    return Path(chosen) if chosen else None


def find(folder: Path, spec: dict[str, Any], name: str) -> Path | None:
    """Return the artifact ``name`` of ``spec`` in the record ``folder``, or None if it is not recorded.

    Raises
    ------
    ValueError
        a damaged artifact.
    """
    path = folder / ARTIFACTS / name
    if not path.is_dir():
        return None
    if fault := integrity_error(path, spec):
        raise ValueError(f"the record {folder} is damaged: {name}: {fault}; restore it from the repository")
    return path


def refuse(what: str | Mapping[str, Any]) -> None:
    """Raise :class:`NotRecorded` for an artifact (its spec) or anything else (in words); do nothing outside a preview.

    To be called where something is missing, before it would be made.
    """
    if (folder := record()) is not None:
        words = what if isinstance(what, str) else describe(dict(what))
        raise NotRecorded(f"{words} is not in the record {folder}, and a preview makes nothing; "
                          f"evae figures --all --preset {folder.name} computes it")


def note(name: str) -> None:
    """Append ``name`` to the list of requests, if one is kept; what worker processes ask for is not listed."""
    path = os.environ.get(REQUESTS)
    if path and (path, name) not in _noted and multiprocessing.parent_process() is None:
        _noted.add((path, name))
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{name}\n")


def mark() -> str | None:
    """Return the words that mark what a preview shows, or None outside a preview."""
    folder = record()
    return None if folder is None else f"recorded {made(folder)}, preset {folder.name}; nothing is trained here"


@cache
def made(folder: Path) -> str:
    """Return the day on which the youngest result of a record was made.

    Raises
    ------
    ValueError
        a damaged record, or a folder that is none.
    """
    index = read_meta(folder / INDEX) if (folder / INDEX).is_file() else None
    if not index or not index.get("made"):
        raise ValueError(f"{folder / INDEX} is missing or damaged; restore it from the repository")
    return str(index["made"])[:10]
