"""Writing of data/known: results that are made on request, as a search for the lowest state or the parts of a study."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evae_companion import places, published
from evae_companion.presets import RunPreset
from evae_companion.store import preview
from evae_companion.store.artifact import identity, meta_bytes, require_meta
from evae_companion.store.serialization import atomic_write, replaced_folder
from evae_companion.store.store import Store
from evae_core.training.numerics import device_name, pick_device


def record_search(p: RunPreset, store: Store, spec: Mapping[str, Any]) -> Iterator[str]:
    """Publish a preset's search for the lowest state from ``store`` into data/known/<preset>/certificate."""
    source, target = store.find(spec), places.known_folder(p.name, spec["kind"])
    if source is None:
        raise ValueError(f"the store {store.root} does not hold {spec['kind']} of preset {p.name}; "
                         f"run evae search --preset {p.name}")
    with replaced_folder(target) as partial:
        entry = _copy(source, partial)
        (partial / preview.INDEX).write_bytes(_known_index(p, {identity(spec)[1]: entry}, entry["files"]))
    yield f"written to {target}"


def record_part(p: RunPreset, store: Store, spec: Mapping[str, Any], current: Sequence[Mapping[str, Any]]
                ) -> Iterator[str]:
    """Publish a part of a study from ``store`` into a folder of its own in data/known/<preset>/<kind>.

    Parameters
    ----------
    current : specs of all parts of the study. Parts that were published with other numbers are removed.
    """
    target, (_, name) = places.known_folder(p.name, spec["kind"]), identity(spec)
    held = published.entries(target)
    if (source := store.find(spec)) is None:
        raise ValueError(f"the store {store.root} does not hold {name} of preset {p.name}; "
                         f"run evae study {spec['kind']} --preset {p.name}")
    with replaced_folder(target / name) as partial:
        entry = _copy(source, partial) | {"folder": name}
    wanted = {identity(one)[1] for one in current}
    entries = {key: one for key, one in held.items() if key in wanted} | {name: entry}
    atomic_write(target / preview.INDEX, _known_index(p, entries, {}))
    for key in held.keys() - entries.keys():
        shutil.rmtree(target / key, ignore_errors=True)
    yield f"written to {target / name}: {len(entries)} of {len(wanted)} parts"


def _copy(source: Path, target: Path) -> dict[str, Any]:
    """Copy the files of an artifact; return its entry in an index."""
    body = require_meta(source)
    for file in body["files"]:
        shutil.copyfile(source / file, target / file)
    entry = {key: body[key] for key in ("spec", "created", "versions", "wall_seconds", "files")}
    return entry | {"on": device_name(pick_device("auto"))}


def _known_index(p: RunPreset, entries: Mapping[str, Any], files: Mapping[str, Any]) -> bytes:
    return meta_bytes({"spec": {"kind": "known", "preset": p.name}, "files": files, "entries": entries})
