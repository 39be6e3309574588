"""Training of sweeps: sequences of stages, each from the weights of the one before, cached in the store.

The paper raises beta from 1e-6 to 1. It then starts from the models of beta = 1e-3 and beta = 1e-4 and raises gamma
from 1e-4 to 1e6 (Kwon et al., Advanced Science 2021). :func:`evae_core.training.stage_schedule` lists the stages.
``train_stages`` trains those that the store does not hold yet, ``train_sweeps`` does so for several sweeps at once. The
loop itself is :func:`evae_core.training.train_stage`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
import torch

from evae_companion import published
from evae_companion.data_specs import DataSpec
from evae_companion.dataset import Data, load_data
from evae_companion.evaluation import check_measured, evaluate
from evae_companion.presets import RunPreset
from evae_companion.processes import Task, one_thread, run_tasks
from evae_companion.progress import Progress, Report
from evae_companion.store import preview
from evae_companion.store.artifact import identity
from evae_companion.store.serialization import save_arrays, write_json
from evae_companion.store.stage_progress import StageProgress
from evae_companion.store.store import Store
from evae_companion.store.weights import WEIGHTS_FILE
from evae_companion.trained import TrainedStage, stage_spec
from evae_core.losses import LearnedEnergy
from evae_core.model import VAE
from evae_core.training import History, SpinData, checkpoint, seeds_of, train_stage, with_lr_backoff
from evae_core.training.checkpoint import NoEncoder
from evae_core.training.cuda_graph import upload
from evae_core.training.numerics import device_name, pick_device
from evae_core.training.stages import Stage
from evae_core.training.step import fused_available

_Data = TypeVar("_Data", bound=Hashable)  # identifies the data set of a sweep
FEW_STEPS = 400  # up to this number of steps, starting processes costs more seconds than it saves
# Steps x batch x sites of a stage above which a CPU trains it with the fused passes. Such a stage saves seconds, and
# compiling costs some 8 s once per machine. Shorter stages run as plain torch.
FUSED_WORK = 5e6
ADAM_FILE = "adam.safetensors"  # kept where a later stage goes on with its parent's moments


def train_stages(stages: list[Stage], data: DataSpec, store: Store | None = None, device: str = "auto",
                 report: Callable[[str], None] | None = None, *, fused: bool | None = None,
                 precision: str | None = None, guide: LearnedEnergy | None = None) -> list[TrainedStage]:
    """Train every stage that the store does not hold, after its parents; return all stages in order.

    A run killed at any moment loses only the stage in progress. The same seed gives the same bytes on the same machine
    in the same mode, which the stage's ``measured`` names. To this end a CPU trains a stage on one thread, however
    many sweeps run in parallel (:func:`train_sweeps` uses the other cores).

    Parameters
    ----------
    report : called with one line per stage.
    fused, precision : as in :func:`make_step`. By default a CPU compiles kernels for stages of FUSED_WORK, and a GPU
        runs every stage as a CUDA graph.
    guide : L_H of stages with gamma > 0 instead of the Hamiltonian of the data set, which still measures all energies.
        Batches and noise stay the same.

    Raises
    ------
    RuntimeError
        a stage that diverges at every learning rate tried; names the stage and the numbers.
    """
    store = store or Store()
    say = _progress(report, [stages], [data], store, [guide])
    return _train_stages(stages, data, store, device, say, fused, precision, {}, guide)


def _progress(report: Report | None, sweeps: list[list[Stage]], specs: list[DataSpec], store: Store,
              guides: Sequence[LearnedEnergy | None]) -> Progress:
    """``report`` with the time left of the stages that the store does not hold. A preview ends at the first of them."""
    def is_trained(stage: Stage, of: tuple[DataSpec, LearnedEnergy | None]) -> bool:
        if (here := store.find(spec := stage_spec(stage, *of))) is None:
            preview.refuse(spec)
        return here is not None

    return Progress(report, steps_to_train(sweeps, list(zip(specs, guides, strict=True)), is_trained), "step")


def _train_stages(stages: list[Stage], data: DataSpec, store: Store, device: str, report: Report | None,
                  fused: bool | None, precision: str | None, loaded: dict[DataSpec, Any],
                  guide: LearnedEnergy | None = None) -> list[TrainedStage]:
    """:func:`train_stages` with the data sets cached in ``loaded``, for later sweeps."""
    on_gpu = pick_device(device).type == "cuda"

    def data_once() -> tuple[Data, SpinData]:
        if data not in loaded:
            sets = load_data(data, store, device)
            there = upload(sets.train, pick_device(device)) if on_gpu else None
            loaded[data] = sets, SpinData(sets.train, data.hamiltonian, there)
        return loaded[data]

    @cache
    def kernels() -> bool:
        return fused_available(report)

    def trained(stage: Stage) -> TrainedStage:
        parent = trained(stage.parent) if stage.parent else None
        def make(folder: Path) -> None:
            sets, spins = data_once()
            wanted = not on_gpu and use_fused(stage, data) and kernels() if fused is None else fused
            with nullcontext() if on_gpu else one_thread():
                _train(stage, parent, sets, spins, folder, device, report, wanted, precision, guide, progress)
        spec = stage_spec(stage, data, guide)
        progress = None if on_gpu else partial(StageProgress, store, spec)
        if (folder := store.find(spec)) is None:
            data_once()  # load the data before the stage's own timer starts
            folder = store.get(spec, make)
            if progress is not None:
                progress().remove()
        return TrainedStage(stage, data, folder)

    return [trained(stage) for stage in stages]


_loaded: dict[DataSpec, Any] = {}  # of a worker: the data set of its last stage


def _worker(stage: Stage, data: DataSpec, guide: LearnedEnergy | None, root: Path, device: str, fused: bool | None,
            precision: str | None, report: Report) -> None:
    """Train one stage, whose parents are trained, in a process of its own."""
    if data not in _loaded:
        _loaded.clear()
    _train_stages([stage], data, Store(root), device, report, fused, precision, _loaded, guide)


def train_sweeps(sweeps: list[list[Stage]], data: DataSpec | list[DataSpec], store: Store | None = None,
                 device: str = "auto", report: Callable[[str], None] | None = None,
                 workers: int | None = None, *, fused: bool | None = None, precision: str | None = None,
                 guides: Sequence[LearnedEnergy | None] | None = None) -> list[list[TrainedStage]]:
    """Train sweeps in parallel, one process and one thread a stage; return them like :func:`train_stages`.

    A stage begins as soon as its parent is trained, those first that the longest chain of steps waits for. One thread
    per stage uses two cores better than two threads for one stage. It also makes the bytes independent of the number
    of cores.

    Parameters
    ----------
    data : one data set for all sweeps, or one per sweep.
    workers : processes at a time; by default the number of cores on a CPU, and 1 on a GPU. More
        on one GPU are processes with a copy of the data each; two captured stages at once are not tried yet.
    guides : one per sweep, or None.

    The other parameters are those of :func:`train_stages`.
    """
    store = store or Store()
    specs = data if isinstance(data, list) else [data] * len(sweeps)
    guided = [None] * len(sweeps) if guides is None else list(guides)
    jobs = list(zip(sweeps, specs, guided, strict=True))
    todo = [number for number, (stages, spec, guide) in enumerate(jobs)
            if any(store.find(stage_spec(stage, spec, guide)) is None for stage in stages)]
    if workers is None:
        workers = 1 if pick_device(device).type == "cuda" else os.cpu_count() or 1
    say = _progress(report, sweeps, specs, store, guided)
    long = any(use_fused(stage, specs[number]) for number in todo for stage in sweeps[number])
    if fused is None and long and pick_device(device).type == "cpu" and not fused_available(say):
        fused = False  # here the kernels are compiled, or reported missing, once for all workers
    if len(todo) > 1 and workers > 1 and say.total > FEW_STEPS:
        for spec in {id(specs[n]): specs[n] for n in todo}.values():
            load_data(spec, store, device, say)  # once and on all cores, before the workers start
        tasks: dict[Hashable, Task[None]] = {}
        for stages, spec, guide in jobs:
            for stage in stages:
                _add_tasks(tasks, stage, spec, guide, store, (device, fused, precision))
        run_tasks(tasks, say, workers)
    loaded: dict[DataSpec, Any] = {}
    try:
        return [_train_stages(stages, spec, store, device, say, fused, precision, loaded, guide)
                for stages, spec, guide in jobs]
    finally:
        loaded.clear()  # it may hold gigabytes of GPU memory


def _add_tasks(tasks: dict[Hashable, Task[None]], stage: Stage, data: DataSpec, guide: LearnedEnergy | None,
               store: Store, how: tuple[Any, ...]) -> str | None:
    """Add the stage and its parents, where the store lacks them; return its key, or None if the store has it."""
    spec = stage_spec(stage, data, guide)
    key = identity(spec)[1]
    if key not in tasks:
        if store.find(spec) is not None:
            return None
        parent = stage.parent and _add_tasks(tasks, stage.parent, data, guide, store, how)
        tasks[key] = Task(partial(_worker, stage, data, guide, store.root, *how), (parent,) if parent else (),
                          stage.steps * stage.batch * data.shape[0] * data.shape[1])
    return key


def _train(stage: Stage, parent: TrainedStage | None, data: Data, spins: SpinData, folder: Path, device: str,
           report: Report | None, fused: bool | None, precision: str | None, energy: LearnedEnergy | None,
           progress: Callable[..., StageProgress] | None) -> None:
    """Train one stage and write its artifact into ``folder``; ``progress`` keeps it while it lasts."""
    say = report or Progress(None, 0, "step")
    start_from = parent.model(device) if parent else None
    if parent and start_from and isinstance(start_from.encoder, NoEncoder):
        raise RuntimeError(f"stage ({stage}) starts from stage ({parent.stage}), of which {parent.folder} keeps the "
                           "decoder alone; remove that folder to train it anew")

    keeps_adam = stage.options is not None and not stage.options.fresh_adam
    adam = safetensors.torch.load_file(parent.folder / ADAM_FILE) if parent and keeps_adam else None

    def attempt(rate: float) -> tuple[VAE, History, dict[str, Any]]:
        """Train the stage at this learning rate, always with the same batches and noise."""
        start, kept = time.perf_counter(), progress(rate, fused, precision) if progress else None
        resume = kept.load(say) if kept else None
        model, history = train_stage(replace(stage, learning_rate=rate), spins, start_from, device=device,
                                     energy=energy, seeds=seeds_of(stage), fused=fused, precision=precision, adam=adam,
                                     resume=resume, after_step=kept.after_step if kept else None)
        seconds = round(kept.seconds if kept else time.perf_counter() - start, 3)
        measured = evaluate(model, data)
        check_measured(measured)
        return model, history, measured | {
            "seconds": seconds, "device": device_name(pick_device(device)), "mode": history.mode,
            "precision": history.precision, "threads": torch.get_num_threads()}

    (model, history, measured), failures = with_lr_backoff(stage, attempt, say)
    if failures:
        measured["diverged"] = failures
    if parent and "weights" in parent.measured:  # the parent was imported in half precision
        measured["parent_weights"] = parent.measured["weights"]
    safetensors.torch.save_file({name: value.contiguous().cpu() for name, value in model.state_dict().items()},
                                folder / WEIGHTS_FILE)
    if keeps_adam:
        safetensors.torch.save_file({name: value.contiguous() for name, value in history.adam.items()},
                                    folder / ADAM_FILE)
    save_arrays(folder / "history.npy", history.losses.numpy())
    write_json(folder / "measured.json", measured)
    last, guided = measured["train"], f", guided by {energy.name}" if energy is not None and stage.gamma else ""
    say(f"{stage}{guided}: L_RC {last['reconstruction']:.3f}, L_KL {last['kl']:.1f}, L_H {last['energy']:.4f}, "
        f"generated {measured['generated']['energy']:.4f} ({stage.steps} steps, {measured['seconds']:.0f} s)",
        stage.steps)


def steps_to_train(ladders: Sequence[Sequence[Stage]], data: Sequence[_Data],
                   is_trained: Callable[[Stage, _Data], bool]) -> int:
    """Return the optimiser steps of all stages, and of their parents, that are still to be trained, each counted once.

    Parameters
    ----------
    ladders, data : the sweeps, and what each of them is trained on.
    is_trained : whether a stage with this data is already trained.
    """
    todo: set[tuple[Stage, _Data]] = set()
    for stages, own in zip(ladders, data, strict=True):
        for stage in stages:
            ancestor: Stage | None = stage
            while ancestor is not None and (ancestor, own) not in todo and not is_trained(ancestor, own):
                todo.add((ancestor, own))
                ancestor = ancestor.parent
    return sum(stage.steps for stage, _ in todo)


def use_fused(stage: Stage, data: DataSpec) -> bool:
    """Return whether a stage is long enough for the fused passes (FUSED_WORK)."""
    return stage.steps * stage.batch * data.shape[0] * data.shape[1] >= FUSED_WORK


def models(p: RunPreset, stages: list[Stage], data: DataSpec, is_recorded: bool, device: str,
           report: Report) -> list[VAE]:
    """Return the networks of ``stages`` on the CPU: published decoders of a published result, else from the store."""
    if is_recorded:
        return recorded_models(p, stages, data)
    return [trained.model() for trained in train_stages(stages, data, device=device, report=report)]


def recorded_models(p: RunPreset, stages: list[Stage], data: DataSpec) -> list[VAE]:
    """Return the decoders of ``stages`` from the published results of the preset, on the CPU."""
    models = []
    for stage in stages:
        entry = published.find(p.name, stage_spec(stage, data))
        if entry is None:
            raise RuntimeError(f"the record of {p.name} holds no decoder of stage ({stage})")
        model = VAE(data.shape, boundary=data.hamiltonian.boundary, config=stage.config)
        checkpoint.load(model, entry[0] / next(iter(entry[1]["files"])))
        models.append(model.eval())
    return models
