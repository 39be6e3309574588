"""Bundles: export the finished part of a run into a few small files, and import it into the store of another machine.

A data set is annealed again in a minute on a machine with a GPU; trained stages are not. For a preset, ``pack`` writes

* the measurements after every finished stage, and its history as block means;
* the results of the figures;
* the weights that are still needed, in half precision (``weights.halved``): whole networks if a later stage or the
  mapping of a figure starts from them, decoders if a figure generates states with them, no others.

``unpack`` imports all this into another store. The measured.json and meta.json of a stage then name which of its
weights are left.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import safetensors.torch

from evae_companion import training_plans as plans
from evae_companion.data_specs import DataSpec, data_spec
from evae_companion.experiments import (
    beta_sweep,
    collapse,
    data_order,
    latent_interpolation,
    noise_reduction,
    result_cache,
)
from evae_companion.presets import PRESETS, RunPreset
from evae_companion.store import weights
from evae_companion.store.artifact import files_integrity_error, identity, kept_meta, manifest, meta_bytes, read_meta
from evae_companion.store.serialization import PARTIAL, atomic_write, load_arrays, read_json, save_arrays, write_json
from evae_companion.store.store import Store
from evae_companion.store.weights import DECODER, DECODER_FILE, NONE, WEIGHTS_FILE, WHOLE
from evae_companion.trained import block_means, stage_spec
from evae_core.training import checkpoint
from evae_core.training.stages import Stage, stage_schedule

INDEX = "pack.json"
MOST = 16_000_000  # bytes per file
_PART = re.compile(rf"part-\d{{3,}}|{re.escape(INDEX + PARTIAL)}.*")
_FILE = re.compile(r"\w+\.\w+")  # plain file names only, so that nothing is written outside the folder
_ABOUT = ("versions", "created", "wall_seconds")  # entries copied from the original meta.json


def pack(p: RunPreset, store: Store, folder: Path) -> Iterator[str]:
    """Export what a later run at preset ``p`` needs from ``store`` into ``folder``; yield lines about it.

    Raises
    ------
    ValueError
        a folder with files that are not left from a killed ``pack``, nothing to pack, or weights that half precision
        cannot represent.
    """
    if folder.exists() and not (folder.is_dir() and all(_PART.fullmatch(path.name) for path in folder.iterdir())):
        raise ValueError(f"folder must be new or empty, got {folder}")
    levels = needs(p, store)
    specs = [*(stage_spec(*stage) for stage in _stages(p).values()), *_results(p)]
    artefacts = {identity(spec)[1]: (spec, here) for spec in specs if (here := store.find(spec)) is not None}
    if not artefacts:
        raise ValueError(f"the store {store.root} holds nothing of preset {p.name} that is worth carrying")
    folder.mkdir(parents=True, exist_ok=True)
    entries: dict[str, dict[str, Any]] = {}
    contents, size = [], 0
    for name, (spec, source) in artefacts.items():
        body = kept_meta(source)
        about = {key: body[key] for key in _ABOUT}
        if spec["kind"] == "stage":
            files, packed = _packed_stage(spec["steps"], source, levels.get(name, NONE))
        else:
            files, packed = {file: (source / file).read_bytes() for file in body["files"]}, {}
        entries[name] = {"spec": body["spec"], "about": about | {"packed": packed}, "files": {}}
        for file, content in files.items():
            entries[name]["files"][file] = {"first": size, "size": len(content),
                                            "sha256": hashlib.sha256(content).hexdigest()}
            contents.append(content)
            size += len(content)
    stream = b"".join(contents)  # all files in one stream, which is cut into parts
    parts = {f"part-{k:03d}": stream[first:first + MOST] for k, first in enumerate(range(0, size, MOST))}
    for left in folder.iterdir():
        left.unlink()
    for part, content in parts.items():
        (folder / part).write_bytes(content)
    # Written last: without the index the folder is no bundle, and the next pack starts over.
    atomic_write(folder / INDEX, meta_bytes({"spec": {"kind": "pack", "preset": p.name}, "entries": entries,
                                            "files": manifest({part: folder / part for part in parts})}))
    size = sum(path.stat().st_size for path in folder.iterdir())
    counts = {level: sum(entry["about"]["packed"].get("weights") == level for entry in entries.values())
              for level in (WHOLE, DECODER, NONE)}
    yield (f"{sum(counts.values())} stages ({counts[WHOLE]} with the whole network, {counts[DECODER]} with the decoder)"
           f" and {len(entries) - sum(counts.values())} results")
    yield f"{len(parts) + 1} files, {size / 1e6:.1f} MB, in {folder}"


def unpack(folder: Path, store: Store) -> Iterator[str]:
    """Import what :func:`pack` wrote into ``store``; yield a line about it. Artifacts that are there already stay.

    Raises
    ------
    ValueError
        a folder that is not a complete, undamaged bundle; nothing is imported then.
    """
    index = read_meta(folder / INDEX) if (folder / INDEX).is_file() else None
    if index is None or index["spec"].get("kind") != "pack":
        raise ValueError(f"{folder} is not a packed folder: its {INDEX} is missing or damaged")
    try:
        for files in (index["files"], *(entry["files"] for entry in index["entries"].values())):
            _check_names(folder, files)
        if fault := files_integrity_error(folder, index["files"]):
            raise ValueError(f"{folder} is damaged: {fault}; carry it here again")
        stream = b"".join((folder / part).read_bytes() for part in sorted(index["files"]))
        for entry in index["entries"].values():
            kind = identity(entry["spec"])[1].rsplit("-", 1)[0]  # raises if the spec is not valid
            if not entry["files"]:
                raise ValueError(f"{folder} is not a packed folder: its {kind} has no files")
            for key in (*_ABOUT, "packed"):
                entry["about"][key]
            for file, told in entry["files"].items():
                if hashlib.sha256(_cut(stream, told)).hexdigest() != told["sha256"]:
                    raise ValueError(f"{folder} is damaged: {file} of {kind} has another SHA-256")
    except (KeyError, TypeError, AttributeError) as error:  # a foreign index with a valid checksum
        raise ValueError(f"{folder} is not a packed folder: {INDEX} has not the entries of one ({error!r})") from error
    taken = 0
    for entry in index["entries"].values():
        def make(target: Path, files: Any = entry["files"]) -> None:
            for file, told in files.items():
                (target / file).write_bytes(_cut(stream, told))
        taken += store.put(entry["spec"], make, {key: entry["about"][key] for key in (*_ABOUT, "packed")})
    yield f"{taken} artefacts taken into {store.root}, {len(index['entries']) - taken} were there already"


def _check_names(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        if not (_FILE.fullmatch(name) or _PART.fullmatch(name)):
            raise ValueError(f"{folder} is not a packed folder: {name!r} is no plain file name")


def _cut(stream: bytes, told: dict[str, Any]) -> bytes:
    return stream[told["first"]:told["first"] + told["size"]]


def needs(p: RunPreset, store: Store) -> dict[str, str]:
    """Return {artifact name of a stage: WHOLE or DECODER}, what a later run needs of the weights of finished stages.

    Nothing needs the other weights: all stages that start from them are finished, and the figures do without them.
    """
    data = data_spec(p)

    def names(stages: Iterable[Stage]) -> set[str]:
        return {identity(stage_spec(stage, data))[1] for stage in stages}

    noise_stages, walk_stages = (plans.compared(p, plans.BETA, gammas) for gammas in (plans.NOISE, plans.WALK))
    climbs = list(plans.collapsing(p).values())
    # The notebooks generate states with these: first view of their widgets, Fig. 3A and 4C, last stage of every sweep.
    decoders = names([stage_schedule(p)[0], climbs[0][0], *noise_stages, *walk_stages, *(run[-1] for run in climbs)])
    decoders |= {identity(stage_spec(stages[-1], spec))[1] for name, (stages, spec) in plans.ladders(p).items()
                 if name.startswith("confined")}
    if store.find(collapse.spec(p)) is None:
        decoders |= names(stage for run in climbs for stage in run if stage.gamma in plans.COLLAPSE)
    whole = set()
    for result, stages in ((beta_sweep.spec(p), stage_schedule(p)), (noise_reduction.spec(p, plans.BETA), noise_stages),
                           (latent_interpolation.spec(p, plans.BETA), walk_stages)):
        if store.find(result) is None:
            whole |= names(stages)
    for stage, spec in _stages(p).values():
        if stage.parent and store.find(stage_spec(stage, spec)) is None:
            whole.add(identity(stage_spec(stage.parent, spec))[1])
    return dict.fromkeys(decoders, DECODER) | dict.fromkeys(whole, WHOLE)


def thin(p: RunPreset, store: Store) -> int:
    """Delete the encoders of finished stages that no later run needs, keep all decoders; return the bytes saved.

    At 128 x 128 a network takes 51 MB, its decoder 6. An encoder is needed to train the stages that come next, to map
    states back, and for the explorer of the latent space.
    """
    data, whole = data_spec(p), {name for name, level in needs(p, store).items() if level == WHOLE}
    whole |= {identity(stage_spec(stage, data))[1] for stage in plans.compared(p, plans.BETA, plans.WALK)}

    def decoder(old: Path, new: Path) -> None:
        safetensors.torch.save_file(weights.decoder_of(checkpoint.read(old)), new)

    return sum(store.exchange(stage_spec(stage, spec), WEIGHTS_FILE, DECODER_FILE, decoder)
               for name, (stage, spec) in _stages(p).items() if name not in whole)


def thin_preset(name: str) -> None:
    """Call :func:`thin` on the user's store for a preset so large that only the paper's notebooks are run at it."""
    if PRESETS[name].paper_only:
        thin(PRESETS[name], Store())


def _stages(p: RunPreset) -> dict[str, tuple[Stage, DataSpec]]:
    """Return {artifact name: (stage, data set)} of every stage of a preset's run, once each, parents first."""
    result = {}

    def add(stage: Stage, data: Any) -> None:
        if stage.parent:
            add(stage.parent, data)
        result[identity(stage_spec(stage, data))[1]] = stage, data

    for stages, data in plans.ladders(p).values():
        add(stages[-1], data)
    return result


def _results(p: RunPreset) -> list[dict[str, Any]]:
    """Return the specs of all results of a preset's run, and of the results that they are made from."""
    data = data_spec(p)
    return [beta_sweep.spec(p), noise_reduction.spec(p, plans.BETA), latent_interpolation.spec(p, plans.BETA),
            collapse.spec(p), data_order.spec(p),
            *(latent_interpolation.inverse_spec(p, stage) for stage in plans.compared(p, plans.BETA, plans.WALK)),
            result_cache.system("pair", data), result_cache.system("lattice", data)]


def _packed_stage(steps: int, source: Path, level: str) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return the bundled files of a finished stage, and what is left of its weights and its history."""
    weights_file = weights.file_in(source)
    state = {}
    if level != NONE and weights_file.is_file():  # an imported stage may have no weights
        state = weights.halved(checkpoint.read(weights_file), decoder_only=level == DECODER)
    level = weights.extent(state)
    last, means = block_means(load_arrays(source / "history.npy"), steps)
    packed = {"weights": level, "precision": "float16" if state else None, "history_block": int(last[0])}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if state:
            safetensors.torch.save_file(state, folder / WEIGHTS_FILE)
        save_arrays(folder / "history.npy", means)
        write_json(folder / "measured.json", read_json(source / "measured.json") | {"weights": packed})
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}, packed
