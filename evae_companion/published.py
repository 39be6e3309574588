"""Published results of long runs, loaded from data/recorded/<preset>, for machines that cannot repeat the run.

The files are tables, states and decoders. For each result, record.json holds the spec (as in the store), when, how and
with which versions it was made, and the SHA-256 of its files. ``evae_companion.publish`` writes all this.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evae_companion import places
from evae_companion.store.artifact import files_integrity_error, identity, read_meta

INDEX = "record.json"


def find(preset: str, spec: Mapping[str, Any]) -> tuple[Path, dict[str, Any]] | None:
    """Return (folder, entry) of the published result ``spec`` of a preset, or None if there is none.

    The entry is its meta.json (spec, versions, created, files).

    Raises
    ------
    ValueError
        a damaged record. None would be worse here: the result would then be computed, for days.
    """
    place = places.record_folder(preset)
    if place is None or not (place / INDEX).is_file():
        return None
    entry = _index(place)["entries"].get(identity(spec)[1])
    return None if entry is None else _intact(place, entry)


def known(preset: str) -> tuple[Path, dict[str, Any]] | None:
    """Return (folder, entry) of the published ground-state search of a preset, or None; raises as :func:`find`.

    It is shown beside computed results and never replaces them, so EVAE_RECORDED does not affect it.
    """
    place = places.known_folder(preset)
    if not (place / INDEX).is_file():
        return None
    (entry,) = _index(place)["entries"].values()
    return _intact(place, entry)


def _index(place: Path) -> dict[str, Any]:
    index = read_meta(place / INDEX)
    if index is None:
        raise ValueError(f"{place / INDEX} is damaged; restore it from the repository")
    if not isinstance(index.get("entries"), dict):
        raise ValueError(f"{place / INDEX} is not a record: it has no entries; restore it from the repository")
    return index


def _intact(place: Path, entry: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
    try:
        outside = [name for name in entry["files"] if Path(name).name != name]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{place / INDEX} is not a record: {error!r}; restore it from the repository") from error
    if outside:
        raise ValueError(f"{place / INDEX} is not a record: {outside[0]!r} is no plain file name")
    if fault := files_integrity_error(place, entry["files"]):
        raise ValueError(f"the record {place} is damaged: {fault}; restore it from the repository")
    return place, entry
