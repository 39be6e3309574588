"""Published results of long runs, loaded from data/recorded/<preset>, for machines that cannot repeat the run.

The files are tables, states and decoders. For each result, record.json holds the spec (as in the store), when, how and
with which versions it was made, and the SHA-256 of its files. It also lists which artifacts each notebook asked the
store for: what is not among the results lies in ``artifacts``, in small form (:mod:`evae_companion.store.preview`).
``evae_companion.publish`` writes all this.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evae_companion import places
from evae_companion.store.artifact import files_integrity_error, identity, read_meta
from evae_companion.store.preview import ARTIFACTS, INDEX
from evae_companion.store.serialization import load_table, read_json

CLAIMS = "claims.json"
STAGES = "stages.csv"  # one row per stage of every sweep
# What records show that were made before they listed the notebooks.
UNLISTED: dict[str, list[str]] = {"04_noise_reduction": [], "05_latent_interpolation": [], "06_collapse": []}


def find(preset: str, spec: Mapping[str, Any]) -> tuple[Path, dict[str, Any]] | None:
    """Return (folder, entry) of the published result ``spec`` of a preset, or None if there is none.

    The entry is its meta.json (spec, versions, created, files). It comes from the record of a run, or from the results
    that are only made on request, in data/known.

    Raises
    ------
    ValueError
        a damaged record. None would be worse here: the result would then be computed, for days.
    """
    place = places.record_folder(preset)
    if place is not None and (place / INDEX).is_file():
        if (entry := _index(place)["entries"].get(identity(spec)[1])) is not None:
            return _intact(place, entry)
    place = places.known_folder(preset, spec["kind"])
    entry = entries(place).get(identity(spec)[1])
    return None if entry is None else _intact(place, entry)


def notebooks(place: Path) -> list[str]:
    """Return the notebooks that the record ``place`` can show, by name without ending.

    Raises
    ------
    ValueError
        a damaged record.
    """
    index = _index(place)
    listed = index.get("notebooks", UNLISTED)
    for name in {name for names in listed.values() for name in names} - index["entries"].keys():
        if not (place / ARTIFACTS / name).is_dir():
            raise ValueError(f"the record {place} is damaged: {name} is missing; restore it from the repository")
    return sorted(listed)


def claims(place: Path) -> list[dict[str, Any]]:
    """Return the recorded claims of the record ``place``, none of our own notebooks; raises as :func:`notebooks`."""
    index = _index(place)
    return list(read_json(_file(place, index, CLAIMS))) if CLAIMS in index["files"] else []


def stages(preset: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return the preset's numbers and the table of all stages from its record, or None if there is none.

    The table has the columns that ``evae_companion.publish.write_tables`` writes; raises as :func:`notebooks`.
    """
    place = places.record_folder(preset)
    if place is None or not (place / INDEX).is_file():
        return None
    index = _index(place)
    if STAGES not in index["files"]:
        return None
    return index["spec"]["preset"], load_table(_file(place, index, STAGES))


def known_search(preset: str) -> tuple[Path, dict[str, Any]] | None:
    """Return (folder, entry) of a preset's published search for the lowest state, or None; raises as :func:`find`.

    Like the parts of a study it is only made on request. No run makes them as it goes, so EVAE_RECORDED does not affect
    them.
    """
    place = places.known_folder(preset, "certificate")
    found = list(entries(place).values())
    return _intact(place, found[0]) if found else None


def entries(place: Path) -> dict[str, Any]:
    """Return what the index of a folder of published results lists, by name; nothing where there is none."""
    return dict(_index(place)["entries"]) if (place / INDEX).is_file() else {}


def _index(place: Path) -> dict[str, Any]:
    index = read_meta(place / INDEX)
    if index is None:
        raise ValueError(f"{place / INDEX} is damaged; restore it from the repository")
    if not isinstance(index.get("entries"), dict):
        raise ValueError(f"{place / INDEX} is not a record: it has no entries; restore it from the repository")
    return index


def _file(place: Path, index: dict[str, Any], name: str) -> Path:
    """Return one of the record's own files, intact; ValueError if it is not."""
    if fault := files_integrity_error(place, {key: file for key, file in index["files"].items() if key == name}):
        raise ValueError(f"the record {place} is damaged: {name}: {fault}; restore it from the repository")
    return place / name


def _intact(place: Path, entry: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
    try:
        within = entry.get("folder", ".")
        names = (*entry["files"], *(() if within == "." else (within,)))
        outside = [name for name in names if Path(name).name != name or name in ("", "..")]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{place / INDEX} is not a record: {error!r}; restore it from the repository") from error
    if outside:
        raise ValueError(f"{place / INDEX} is not a record: {outside[0]!r} is no plain file name")
    if fault := files_integrity_error(place / within, entry["files"]):
        raise ValueError(f"the record {place / within} is damaged: {fault}; restore it from the repository")
    return place / within, entry
