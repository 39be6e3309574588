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

import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import safetensors.torch

from evae_companion import training_plans as plans
from evae_companion.data_specs import DataSpec, data_spec
from evae_companion.experiments import (
    beta_sweep,
    collapse,
    confined,
    latent_interpolation,
    noise_reduction,
    priors,
    result_cache,
)
from evae_companion.presets import PRESETS, RunPreset
from evae_companion.store import archive, weights
from evae_companion.store.archive import Artifact
from evae_companion.store.artifact import files_integrity_error, identity, manifest, meta_bytes, read_meta, require_meta
from evae_companion.store.serialization import PARTIAL, atomic_write, load_arrays, read_json, save_arrays, write_json
from evae_companion.store.store import Store
from evae_companion.store.weights import DECODER, DECODER_FILE, NONE, WEIGHTS_FILE, WHOLE
from evae_companion.sweeps import steps_to_train, train_sweeps
from evae_companion.trained import block_means, stage_spec
from evae_core.training import checkpoint
from evae_core.training.stages import Stage, stage_schedule

INDEX = "pack.json"
FORMAT = 2  # 1, before version 0.2: an index with the place of every file
MAX_BYTES = 16_000_000  # per file
_PART = re.compile(r"part-\d{3,}")
_LEFT = re.compile(rf"{_PART.pattern}|{re.escape(INDEX + PARTIAL)}.*")  # names that a killed pack may leave


def pack(p: RunPreset, store: Store, folder: Path) -> Iterator[str]:
    """Export what a later run at preset ``p`` needs from ``store`` into ``folder``; yield lines about it.

    The bundle is an archive (:mod:`evae_companion.store.archive`), cut into files part-000, part-001, ..., and an
    index with their SHA-256.

    Raises
    ------
    ValueError
        a folder with files that are not left from a killed ``pack``, nothing to pack, or weights that half precision
        cannot represent.
    """
    if folder.exists() and not (folder.is_dir() and all(_LEFT.fullmatch(path.name) for path in folder.iterdir())):
        raise ValueError(f"folder must be new or empty, got {folder}")
    levels = needs(p, store)
    specs = [*(stage_spec(*stage) for stage in _stages(p).values()), *_results(p)]
    sources = {identity(spec)[1]: source for spec in specs if (source := store.find(spec)) is not None}
    if not sources:
        raise ValueError(f"the store {store.root} holds nothing of preset {p.name} that is worth carrying")
    counts: Counter[str] = Counter()

    def artifacts() -> Iterator[Artifact]:
        for name, source in sources.items():
            if name.startswith("stage-"):
                artifact = _packed_stage(source, levels.get(name, NONE))
                counts[artifact[0]["packed"]["weights"]] += 1
            else:
                artifact = archive.load(source)
                artifact[0]["packed"] = {}  # made on another machine
            yield artifact

    content = archive.write(artifacts())
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.iterdir():
        left.unlink()
    parts = {f"part-{k:03d}": first for k, first in enumerate(range(0, len(content), MAX_BYTES))}
    for part, first in parts.items():
        (folder / part).write_bytes(content[first:first + MAX_BYTES])
    # Written last: without the index the folder is no bundle, and the next pack starts over.
    atomic_write(folder / INDEX, meta_bytes({"spec": {"kind": "pack", "format": FORMAT, "preset": p.name},
                                            "files": manifest({part: folder / part for part in parts})}))
    size = sum(path.stat().st_size for path in folder.iterdir())
    yield (f"{counts.total()} stages ({counts[WHOLE]} with the whole network, {counts[DECODER]} with the decoder)"
           f" and {len(sources) - counts.total()} results")
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
    if index["spec"].get("format") != FORMAT:
        raise ValueError(f"{folder} was packed by another version of evae; unpack it with that version, or pack again "
                         "with this one")
    if foreign := [part for part in index["files"] if not _PART.fullmatch(part)]:
        raise ValueError(f"{folder} is not a packed folder: {foreign[0]!r} is none of its files")
    try:
        reason = files_integrity_error(folder, index["files"])
    except (KeyError, TypeError) as error:  # a foreign index with a valid checksum
        raise ValueError(f"{folder} is not a packed folder: {INDEX} has not the entries of one ({error!r})") from error
    try:
        if reason:
            raise ValueError(reason)
        artifacts = archive.read(b"".join((folder / part).read_bytes() for part in index["files"]))
    except ValueError as error:
        raise ValueError(f"{folder} is damaged: {error}; carry it here again") from error
    taken = sum(archive.import_into(store, artifact) for artifact in artifacts.values())
    yield f"{taken} artifacts taken into {store.root}, {len(artifacts) - taken} were there already"


def needs(p: RunPreset, store: Store) -> dict[str, str]:
    """Return {artifact name of a stage: WHOLE or DECODER}, what a later run needs of the weights of finished stages.

    Nothing needs the other weights: all stages that start from them are finished, and the figures do without them.
    """
    def names(stages: Iterable[Stage]) -> set[str]:
        return {identity(stage_spec(stage, data_spec(p, stage.seed)))[1] for stage in stages}

    # The notebooks generate states with these: first view of their widgets, Fig. 3A and 4C, last stage of every sweep.
    ladders = plans.ladders(p)
    decoders = {identity(stage_spec(stages[-1], data))[1] for stages, data in ladders.values()}
    decoders |= names([stage_schedule(p)[0], stage_schedule(p, p.gamma_betas[0])[0]])
    whole = set()
    for result, stages in _mapped(p):
        decoders |= names(stages)
        if store.find(result) is None:
            whole |= names(stages)
    if store.find(collapse.spec(p)) is None:
        decoders |= names(stage for run, _ in plans.collapsing(p).values() for stage in run
                          if stage.gamma in plans.COLLAPSE)
    for name, (stages, data) in ladders.items():  # the samples with edges are encoded for their reconstructions
        if name.startswith("confined") and store.find(confined.spec(p, stages[-1], data)) is None:
            whole.add(identity(stage_spec(stages[-1], data))[1])
    for stage, spec in _stages(p).values():
        if stage.parent and store.find(stage_spec(stage, spec)) is None:
            whole.add(identity(stage_spec(stage.parent, spec))[1])
    return dict.fromkeys(decoders, DECODER) | dict.fromkeys(whole, WHOLE)


def thin(p: RunPreset, store: Store) -> int:
    """Delete the encoders of finished stages that no later run needs, keep all decoders; return the bytes saved.

    At 128 x 128 a network takes 51 MB, its decoder 6. An encoder is needed to train the stages that come next, to map
    states back, and for the explorer of the latent space.
    """
    whole = {name for name, level in needs(p, store).items() if level == WHOLE}
    studied = [stages[-1].parent for stages, _ in plans.lengths(p).values()]  # evae study goes on from these
    whole |= {identity(stage_spec(stage, data_spec(p)))[1]
              for stage in (*plans.compared(p, plans.BETA, plans.WALK), *studied) if stage}

    def decoder(old: Path, new: Path) -> None:
        safetensors.torch.save_file(weights.decoder_of(checkpoint.read(old)), new)

    return sum(store.exchange(stage_spec(stage, spec), WEIGHTS_FILE, DECODER_FILE, decoder)
               for name, (stage, spec) in _stages(p).items() if name not in whole)


def train_all(name: str, least: int = 0) -> None:
    """Train what the user's store lacks of a preset's sweeps, if more than ``least`` steps, and thin it on the way."""
    store = Store()
    stages, data = zip(*plans.ladders(PRESETS[name]).values(), strict=True)

    def report(line: str) -> None:
        print(line, flush=True)
        thin_preset(name)

    if steps_to_train(stages, data, lambda *stage: store.find(stage_spec(*stage)) is not None) > least:
        train_sweeps(list(stages), list(data), store, report=report)


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


def _mapped(p: RunPreset) -> list[tuple[dict[str, Any], list[Stage]]]:
    """Return the specs of the results that encode states, each with the stages whose encoders it needs."""
    result = [(beta_sweep.spec(p), stage_schedule(p)), (priors.spec(p), priors.compared(p))]
    for seed in range(p.seeds):
        gammas = latent_interpolation.gammas_of(seed)
        result += [(noise_reduction.spec(p, plans.BETA, seed), noise_reduction.compared(p, plans.BETA, seed)),
                   (latent_interpolation.spec(p, plans.BETA, seed), plans.compared(p, plans.BETA, gammas, seed))]
    return result


def _results(p: RunPreset) -> list[dict[str, Any]]:
    """Return the specs of all results of a preset's run, and of the results that they are made from."""
    data = data_spec(p)
    walked = [stage for seed in range(p.seeds)
              for stage in plans.compared(p, plans.BETA, latent_interpolation.gammas_of(seed), seed)]
    return [*(spec for spec, _ in _mapped(p)), collapse.spec(p),
            *(latent_interpolation.inverse_spec(p, stage) for stage in walked),
            result_cache.system("pair", data), result_cache.system("lattice", data)]


def _packed_stage(source: Path, level: str) -> Artifact:
    """Return a finished stage as it is bundled; "packed" says what is left of its weights and its history."""
    body = require_meta(source)
    weights_file = weights.file_in(source)
    state = {}
    if level != NONE and weights_file.is_file():  # an imported stage may have no weights
        state = weights.halved(checkpoint.read(weights_file), decoder_only=level == DECODER)
    last, means = block_means(load_arrays(source / "history.npy"), body["spec"]["steps"])
    packed = {"weights": weights.extent(state), "precision": "float16" if state else None,
              "history_block": int(last[0])}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if state:
            safetensors.torch.save_file(state, folder / WEIGHTS_FILE)
        save_arrays(folder / "history.npy", means)
        write_json(folder / "measured.json", read_json(source / "measured.json") | {"weights": packed})
        files = {path.name: path for path in sorted(folder.iterdir())}
        return (body | {"packed": packed, "files": manifest(files)},
                {name: path.read_bytes() for name, path in files.items()})
