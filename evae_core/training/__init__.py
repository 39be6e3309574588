"""Training: a stage is a number of optimiser steps at fixed beta and gamma, and stages follow one another.

The loop of :func:`train_stage`, from top to bottom: every batch and learning rate of the stage is drawn beforehand
(:mod:`~evae_core.training.batch_schedule`); weights come from the stage before or are random; each step computes the
three losses, their gradients and Adam's update (:mod:`~evae_core.training.step`). Nothing is stored here.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evae_core.losses import LOSSES, EnergyModel
from evae_core.model import VAE
from evae_core.presets import TrainingOptions
from evae_core.training.batch_schedule import BatchSchedule, batch_schedule
from evae_core.training.checkpoint import NoEncoder
from evae_core.training.cuda_graph import GraphLoop
from evae_core.training.divergence import Diverged, check, check_state, with_lr_backoff
from evae_core.training.numerics import pick_device
from evae_core.training.stages import Stage, chained, confined_stages, control_stages, stage_schedule
from evae_core.training.step import Step, make_step, new_model

__all__ = ["Diverged", "History", "SpinData", "Stage", "Step", "chained", "confined_stages", "control_stages",
           "make_step", "new_model", "pick_device", "stage_schedule", "train_stage", "with_lr_backoff"]


AfterStep = Callable[[Callable[[], dict[str, Tensor]]], None]


@dataclass(frozen=True)
class SpinData:
    """Configurations to train on, and the Hamiltonian that they are states of.

    spins : (n, 3, Ny, Nx) unit spins; a tensor, or what is indexed by arrays of numbers like one and has its shape.
    resident : the same spins as :func:`~evae_core.training.cuda_graph.upload` puts them on a GPU; made for each stage
        where it is missing.
    """

    spins: Any
    hamiltonian: EnergyModel
    resident: Tensor | None = None


@dataclass(frozen=True)
class History:
    """What a stage went through.

    losses : (steps, 4) float32, LOSSES of every batch.
    mode, precision : of the steps; mode is eager, compiled or graph.
    adam : Adam's moments after the last step, for a later stage that does not begin with new ones.
    """

    losses: Tensor
    mode: str
    precision: str
    adam: dict[str, Tensor]


def train_stage(stage: Stage, data: SpinData, parent: VAE | None = None, *, device: str = "auto",
                energy: EnergyModel | None = None, seeds: Callable[[str], int] | None = None,
                fused: bool | None = None, precision: str | None = None, adam: Mapping[str, Tensor] | None = None,
                resume: Mapping[str, Tensor] | None = None, after_step: AfterStep | None = None
                ) -> tuple[VAE, History]:
    """Train one stage; return its network, in evaluation mode, and what it went through.

    Parameters
    ----------
    stage : what is trained; its own ``parent`` is only a description here.
    parent : the network that the training starts from, which stays as it is; None: random weights.
    energy : what L_H is made of; None: the Hamiltonian of the data.
    seeds : the seed of each purpose ("weights", "noise", "batches"); None: hashed from the stage.
    fused, precision : those of :func:`make_step`.
    adam : the ``History.adam`` of the parent, for a stage whose options say ``fresh_adam=False``.
    resume : what ``snapshot()`` gave in the middle of the same stage; the training goes on from there, to the same
        weights as if it had not been interrupted.
    after_step : on a CPU, called as after_step(snapshot) after every step but the last. ``snapshot()`` is a dict of
        tensors on the CPU: weights, Adam's moments, the state of the noise and the losses so far.

    Raises
    ------
    Diverged
        losses or weights that are not finite, or an L_KL that explodes; :func:`with_lr_backoff` tries lower rates.
    TypeError, ValueError
        as :func:`make_step`; translations of an open sample, a parent without its encoder, ``resume`` of another stage.

    Examples
    --------
    >>> from evae_core import Hamiltonian, anneal, load_preset
    >>> H = Hamiltonian(D=0.6, B=0.2)
    >>> data = SpinData(anneal(H, (16, 16), 32), H)
    >>> first, second = chained([(1e-3, 0.0, 3), (1e-3, 100.0, 3)], load_preset("smoke"), seed=0)
    >>> model, _ = train_stage(first, data, device="cpu")
    >>> model, history = train_stage(second, data, model, device="cpu")
    >>> history.losses.shape
    torch.Size([3, 4])
    """
    shape = (int(data.spins.shape[-2]), int(data.spins.shape[-1]))
    seeds = seeds or seeds_of(stage)
    if stage.translate and (data.hamiltonian.mask is not None or data.hamiltonian.boundary != "periodic"):
        raise ValueError("translate needs a sample that is periodic along both axes: it moves a state along both")
    if parent is not None and isinstance(parent.encoder, NoEncoder):
        raise ValueError("parent must have its encoder to be trained on; this one came with its decoder alone")
    options = stage.options or TrainingOptions()
    if (adam is None) == bool(parent and not options.fresh_adam):
        raise ValueError("adam must be the History.adam of the parent where a stage is not to begin with a fresh Adam, "
                         "and only there")
    schedule = batch_schedule(stage, len(data.spins), shape, np.random.default_rng(seeds("batches")))
    energy = energy or data.hamiltonian
    model = copy.deepcopy(parent) if parent else new_model(shape, energy, seeds("weights"), stage.config)
    step = make_step(shape, energy, stage.beta, stage.gamma, device, learning_rate=stage.learning_rate,
                     seed=seeds("noise"), model=model, fused=fused, precision=precision)
    if adam is not None:
        step.load_adam(adam)
    losses, mode = _take(step, schedule, data, resume, after_step)
    check_state(step.model.state_dict())
    return step.model.eval(), History(losses, mode, step.precision, step.adam())


def seeds_of(stage: Stage) -> Callable[[str], int]:
    """The seed of each purpose ("weights", "noise", "batches") in a stage.

    Data sets, options, networks and the fall of the learning rate take no part: what is compared under them has the
    same random numbers.
    """
    def plain(one: Stage) -> Stage:
        return replace(one, options=None, config=None, final_rate=1.0, parent=one.parent and plain(one.parent))

    return partial(seed_of, plain(stage).spec())


def seed_of(spec: Mapping[str, Any], purpose: str) -> int:
    """A 63-bit seed that is specific to a spec and a purpose."""
    digest = hashlib.sha256(json.dumps([purpose, spec], sort_keys=True).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def _take(step: Step, schedule: BatchSchedule, data: SpinData, resume: Mapping[str, Tensor] | None,
          after_step: AfterStep | None) -> tuple[Tensor, str]:
    """Take all steps of the schedule: their losses (steps, 4), and the mode they were taken in."""
    if step.device.type == "cuda" or data.resident is not None:
        # A mask is copied from the host in every step, and no graph may do that.
        captured = step.device.type == "cuda" and data.hamiltonian.mask is None
        if resume is not None:
            raise ValueError("resume goes on with a stage on a CPU; on a GPU it is trained from its start")
        loop = GraphLoop(step, data.spins if data.resident is None else data.resident, schedule)
        return loop.run(captured, check), "graph" if captured else "eager"
    losses = torch.empty(len(schedule.rates), len(LOSSES))
    begin = 0 if resume is None else _restore(step, resume, losses)
    for number, rate in enumerate(schedule.rates[begin:], begin):
        for group in step.optimizer.param_groups:
            group["lr"] = float(rate)
        batch = data.spins[schedule.indices[number]]
        if schedule.shifts is not None:
            batch = torch.stack([spins.roll(tuple(shift), (-2, -1))
                                 for spins, shift in zip(batch, schedule.shifts[number].tolist(), strict=True)])
        losses[number] = torch.stack(step.update(batch))
        check(losses[number:number + 1], number)
        if after_step is not None and number + 1 < len(losses):
            after_step(partial(_snapshot, step, losses[:number + 1]))
    return losses, step.mode


def _snapshot(step: Step, losses: Tensor) -> dict[str, Tensor]:
    weights = {f"model.{name}": value.detach().cpu().clone() for name, value in step.model.state_dict().items()}
    moments = {f"adam.{name}": value for name, value in step.adam().items()}
    return weights | moments | {"noise": step.generator.get_state(), "losses": losses.clone()}


def _restore(step: Step, resume: Mapping[str, Tensor], losses: Tensor) -> int:
    """Put the step back to where a snapshot was taken; return how many steps had been taken."""
    def part(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): value for name, value in resume.items() if name.startswith(prefix)}

    try:
        step.model.load_state_dict(part("model."))
        step.load_adam(part("adam."))
        step.generator.set_state(resume["noise"])
        losses[:len(resume["losses"])] = resume["losses"]
    except (KeyError, RuntimeError, ValueError) as error:
        raise ValueError(f"resume must be a snapshot of this stage: {error}") from error
    return len(resume["losses"])
