"""Publish the results of a finished run into data/recorded/<preset>: tables to cite, states and decoders.

The folder then holds everything that the figures of notebooks 2, 4, 5 and 6 need (:mod:`evae_companion.published` reads
it). It also holds the measurements after every stage, its history as block means, and the claims. For a preview of all
notebooks it holds, in ``artifacts``, what else they asked the store for, in small form: stages without their networks,
shards without their states, results as they are.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from evae_companion import claims, places, published
from evae_companion import training_plans as plans
from evae_companion.data_specs import DataSpec, data_spec
from evae_companion.dataset import STATISTICS
from evae_companion.experiments import (
    beta_sweep,
    collapse,
    latent_interpolation,
    minimum_barrier,
    noise_reduction,
    priors,
)
from evae_companion.experiments.ground_state import STATE
from evae_companion.presets import RunPreset
from evae_companion.store import preview, weights
from evae_companion.store.artifact import (
    META,
    files_integrity_error,
    identity,
    integrity_error,
    manifest,
    meta_bytes,
    read_meta,
    require_meta,
    sha256,
)
from evae_companion.store.packed_spins import pack
from evae_companion.store.serialization import (
    load_arrays,
    load_table,
    replaced_folder,
    save_arrays,
    save_table,
    write_json,
)
from evae_companion.store.store import Store
from evae_companion.trained import TrainedStage, block_means, stage_spec
from evae_core.losses import LOSSES
from evae_core.training import checkpoint
from evae_core.training.numerics import device_name, pick_device
from evae_core.training.stages import Stage, stage_schedule

DECODER = "decoder_"  # begins the names of the networks' files
LIMIT = 25_000_000  # bytes of a record


def record(p: RunPreset, store: Store, figures: Path, requests: Mapping[str, Iterable[str]] | None = None
           ) -> Iterator[str]:
    """Publish a run that is complete in ``store``, with the claims in the folder ``figures``; yield lines about it.

    Parameters
    ----------
    requests : {notebook: names of the artifacts that it asked for}, of the notebooks that a preview shall show.

    Raises
    ------
    ValueError
        a run that is not complete, a record above LIMIT, or EVAE_RECORDED "off", so that there is no folder to write
        to.
    RuntimeError
        the written files differ from those in the store.
    """
    target = _target(p)
    planned, results, notebooks = plans.ladders(p), _results(p, store), _asked(requests or {})
    missing = [f"stage ({stage})" for stages, data in planned.values() for stage in stages
               if store.find(stage_spec(stage, data)) is None]
    missing += [spec["kind"] for spec, _ in results if store.find(spec) is None]
    measured = claims.load(figures)
    missing += [f"claim {claim} in {figures}" for claim in claims.CLAIMS if claim not in measured]
    if missing:
        raise ValueError(f"the run of preset {p.name} is not complete in {store.root}: {len(missing)} missing, first "
                         f"{missing[0]}; run evae figures --all --preset {p.name}")
    with replaced_folder(target) as partial:
        write_tables(_complete(p, store), partial)
        write_json(partial / published.CLAIMS, [asdict(result) for result in measured.values()])
        kept = {identity(spec)[1] for spec, _ in results}
        _artifacts({name for names in notebooks.values() for name in names} - kept, store, partial)
        _write_results(p, store, results, notebooks, partial)
        sizes = _sizes(partial)
    _compare(target, [store.held(spec) for spec, _ in results])
    yield from (f"{size / 1e6:8.3f} MB  {name}" for name, size in sizes.items())
    yield f"{sum(sizes.values()) / 1e6:8.3f} MB  in {target}"


def record_notebooks(p: RunPreset, store: Store, requests: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """Publish what notebooks asked a store for, so that a preview shows them, and no results of a run beside it.

    Parameters and errors are those of :func:`record`; ValueError also if the record of a whole run is there already.
    """
    target, notebooks = _target(p), _asked(requests)
    if (target / published.CLAIMS).exists():
        raise ValueError(f"{target} is the record of a whole run, which holds more; run evae publish without --own")
    with replaced_folder(target) as partial:
        _artifacts({name for names in notebooks.values() for name in names}, store, partial)
        _write_index(p, {}, notebooks, partial)
        sizes = _sizes(partial)
    yield f"{sum(sizes.values()) / 1e6:8.3f} MB  in {target}"


def _asked(requests: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    return {name: sorted(set(names)) for name, names in requests.items()}


def _target(p: RunPreset) -> Path:
    if (target := places.record_folder(p.name)) is None:
        raise ValueError(f'{places.RECORDED} is "off"; unset it, or set it to the folder that records go to')
    return target


def _sizes(folder: Path) -> dict[str, int]:
    """Return the bytes of each file and folder of the record in the making; ValueError above LIMIT in all."""
    sizes = {path.name: _size(path) for path in sorted(folder.iterdir())}
    if sum(sizes.values()) > LIMIT:
        largest = sorted((path for path in folder.rglob("*") if path.is_file()), key=_size)[:-6:-1]
        raise ValueError(f"the record would hold {sum(sizes.values()) / 1e6:.1f} MB, at most are {LIMIT / 1e6:g}; the "
                         "largest: " + ", ".join(path.relative_to(folder).as_posix() for path in largest))
    return sizes


def _artifacts(names: Iterable[str], store: Store, folder: Path) -> None:
    """Copy artifacts of ``store`` in small form to the record in the making ``folder``."""
    small = Store(folder / preview.ARTIFACTS)
    for name in sorted(names):
        source = store.root / name
        body = read_meta(source / META) if (source / META).is_file() else None
        if body is None or (fault := integrity_error(source, body["spec"])):
            raise ValueError(f"{name}, which a notebook asked for, is not in the store {store.root}: "
                             f"{'missing or damaged' if body is None else fault}; run evae figures again")
        about = {key: body[key] for key in ("created", "versions", "wall_seconds")}

        def make(target: Path, source: Path = source, body: dict[str, Any] = body) -> None:
            kind, files = body["spec"]["kind"], list(body["files"])
            if kind == "stage":
                shutil.copyfile(source / "measured.json", target / "measured.json")
                save_arrays(target / "history.npy", block_means(load_arrays(source / "history.npy"),
                                                                body["spec"]["steps"])[1])
                return
            if kind == "certificate":  # its state is drawn, no more
                files.remove(STATE)
                save_arrays(target / STATE, pack(torch.from_numpy(load_arrays(source / STATE))))
            for file in [STATISTICS] if kind == "shard" else files:
                (target / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / file, target / file)
                if sha256(target / file) != body["files"][file]["sha256"]:
                    raise RuntimeError(f"{target / file} is not what was recorded; run the same command again")

        small.put(body["spec"], make, about)
    shutil.rmtree(small.root / "locks", ignore_errors=True)


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())


def record_stages(p: RunPreset, store: Store) -> Iterator[str]:
    """Publish the tables of those sweeps of an incomplete run that are complete in ``store``; yield a line about it.

    The measurements of a long run then survive the loss of its store.

    Raises
    ------
    ValueError
        no sweep is complete, or EVAE_RECORDED is "off". Also if a whole run, or sweeps that the store does not hold,
        are published already: these are not overwritten.
    """
    target, ladders = places.record_folder(p.name), _complete(p, store)
    if target is None or (target / preview.INDEX).exists():
        raise ValueError(f'{places.RECORDED} is "off"' if target is None else f"{target} is the record of a whole run")
    if not ladders:
        raise ValueError(f"no ladder of preset {p.name} is complete in {store.root}; run evae train "
                         f"--preset {p.name}")
    before = set(load_table(target / "stages.csv")["ladder"]) if (target / "stages.csv").is_file() else set()
    if lost := before - set(ladders):
        raise ValueError(f"{target} holds ladders that this store does not, first {sorted(lost)[0]}; move it aside")
    with replaced_folder(target) as partial:
        write_tables(ladders, partial)
    yield f"{len(ladders)} of {len(plans.ladders(p))} ladders written to {target}: {', '.join(ladders)}"


def _complete(p: RunPreset, store: Store) -> dict[str, list[TrainedStage]]:
    """Return the sweeps of a run that are complete in ``store``, by name."""
    result = {}
    for name, (stages, data) in plans.ladders(p).items():
        folders = [store.find(stage_spec(stage, data)) for stage in stages]
        here = [TrainedStage(stage, data, folder) for stage, folder in zip(stages, folders, strict=True) if folder]
        if len(here) == len(stages):
            result[name] = here
    return result


def _results(p: RunPreset, store: Store) -> list[tuple[dict[str, Any], list[tuple[Stage, DataSpec]]]]:
    """Return the specs of the results behind the figures of notebooks 2, 4, 5 and 6, each with the stages it needs."""
    collapsing = [(stages[-1], data) for stages, data in plans.collapsing(p).values()]

    def of_seed(stages: list[Stage], seed: int = 0) -> list[tuple[Stage, DataSpec]]:
        return [(stage, data_spec(p, seed)) for stage in stages]

    result = [(beta_sweep.spec(p), of_seed(stage_schedule(p))), (collapse.spec(p), collapsing),
              (priors.spec(p), of_seed(priors.compared(p))), (minimum_barrier.spec(p), [])]
    for seed in range(p.seeds):
        walked = plans.compared(p, plans.BETA, latent_interpolation.gammas_of(seed), seed)
        result += [(noise_reduction.spec(p, plans.BETA, seed),
                    of_seed(noise_reduction.compared(p, plans.BETA, seed), seed)),
                   (latent_interpolation.spec(p, plans.BETA, seed), of_seed(walked, seed))]
    return result


def write_tables(ladders: Mapping[str, Sequence[TrainedStage]], folder: Path) -> None:
    """Write stages.csv, one row per stage, and histories.csv, block means of the losses of the batch of every step.

    The column "stage" of the latter is the row of the former, from 0. The total loss follows from its parts.
    """
    rows, histories = [], []
    for name, climbed in ladders.items():
        for number, trained in enumerate(climbed):
            stage, measured = trained.stage, trained.measured
            row = {"ladder": name, "number": number, "seed": stage.seed, "beta": stage.beta, "gamma": stage.gamma,
                   "steps": stage.steps}
            for of in ("train", "validation", "x_out", "x_mu", "generated", "posterior", "data"):
                row |= {f"{of} {key}": value for key, value in measured[of].items()}
            for one in measured["scaled"]:
                row |= {f"scaled {one['scale']:g} {key}": value for key, value in one.items() if key != "scale"}
            for of, rest in measured["relaxed"].items():
                row |= {f"relaxed {of} {name} {key}": choose(rest[key]) for key in ("energies", "charges")
                        for name, choose in (("least", min), ("largest", max))}
            row["diverged"] = len(measured.get("diverged", []))
            rows.append(row | {"seconds": measured["seconds"], "device": measured["device"],
                               "weights": "float16" if "weights" in measured else "float32"})
            last, means = block_means(trained.history, stage.steps)
            histories += [{"stage": len(rows) - 1, "last step": int(step),
                           **dict(zip(LOSSES[:3], (float(str(v)) for v in mean[:3]), strict=True))}
                          for step, mean in zip(last, means, strict=True)]
    for file, table in (("stages.csv", rows), ("histories.csv", histories)):
        save_table(folder / file, {key: [row[key] for row in table] for key in table[0]})


def _write_results(p: RunPreset, store: Store, results: Sequence[tuple[dict[str, Any], list[tuple[Stage, DataSpec]]]],
                   notebooks: Mapping[str, list[str]], folder: Path) -> None:
    """Write the files of the results, the decoders, and record.json."""
    data = data_spec(p)
    entries: dict[str, dict[str, Any]] = {}

    def add(spec: dict[str, Any], files: dict[str, Path], stages: list[TrainedStage], within: str = ".") -> None:
        body = require_meta(store.held(spec))
        entries[identity(spec)[1]] = {
            "spec": body["spec"], "created": body["created"], "versions": body["versions"],
            "wall_seconds": body["wall_seconds"],
            "on": ", ".join(sorted({t.measured["device"] for t in stages})) or device_name(pick_device("cpu")),
            "folder": within, "files": manifest(files)}

    for spec, stages in results:
        source, seed = store.held(spec), stages[0][0].seed if stages else 0
        names = list(require_meta(source)["files"])
        # Those of other trainings have the file names of the first, and lie in a folder of their own.
        within = f"seed_{seed}" if seed else "."
        (folder / within).mkdir(exist_ok=True)
        for file in names:
            shutil.copyfile(source / file, folder / within / file)
        add(spec, {file: folder / within / file for file in names},
            [_trained(stage, of, store) for stage, of in stages], within)
    framed = plans.compared(p, plans.BETA, latent_interpolation.FRAMED)
    decoders = {**{f"{DECODER}gamma_{stage.gamma:g}": stage for stage in framed},
                f"{DECODER}collapsed": next(iter(plans.collapsing(p).values()))[0][-1]}
    for name, stage in decoders.items():
        trained = _trained(stage, data, store)
        state = checkpoint.read(weights.file_in(trained.folder))
        path = folder / f"{name}.safetensors"
        safetensors.torch.save_file(weights.halved(state, decoder_only=True), path)
        add(stage_spec(stage, data), {path.name: path}, [trained])
    _write_index(p, entries, notebooks, folder)


def _write_index(p: RunPreset, entries: dict[str, dict[str, Any]], notebooks: Mapping[str, list[str]], folder: Path
                 ) -> None:
    """Write record.json: the files that are there, the results, what each notebook asked for, when it was made."""
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))
             if path.is_file() and preview.ARTIFACTS not in path.relative_to(folder).parts}
    made = [entry["created"] for entry in entries.values()]
    made += [require_meta(path.parent)["created"] for path in folder.glob(f"{preview.ARTIFACTS}/*/{META}")]
    (folder / preview.INDEX).write_bytes(meta_bytes({
        "spec": {"kind": "record", "preset": p.spec()}, "files": manifest(files), "entries": entries,
        "notebooks": dict(notebooks), "made": max(made)}))


def _compare(target: Path, results: list[Path]) -> None:
    """Raise RuntimeError if the record ``target`` is damaged, or its files differ from the artifacts ``results``."""
    body = read_meta(target / preview.INDEX)
    entries = {} if body is None else body["entries"]
    described = [(".", {} if body is None else body["files"])]
    for source in results:
        meta = require_meta(source)
        described.append((entries.get(identity(meta["spec"])[1], {}).get("folder", "."), meta["files"]))
    for within, files in described:
        if fault := files_integrity_error(target / within, files):
            raise RuntimeError(f"{target} is not what was recorded: {fault}; run the same command again")


def _trained(stage: Stage, data: DataSpec, store: Store) -> TrainedStage:
    return TrainedStage(stage, data, store.held(stage_spec(stage, data)))
