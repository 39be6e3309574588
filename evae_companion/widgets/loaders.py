"""Loaders of what explorers show without training: stages of the store, and decoders of data/recorded."""

from __future__ import annotations

import torch
from torch import Tensor

from evae_companion import published
from evae_companion import training_plans as plans
from evae_companion.data_specs import DataSpec, data_spec
from evae_companion.dataset import load_data
from evae_companion.presets import RunPreset
from evae_companion.store import weights
from evae_companion.store.store import Store
from evae_companion.sweeps import recorded_models
from evae_companion.trained import TrainedStage, stage_spec
from evae_core.model import VAE
from evae_core.training.checkpoint import NoEncoder
from evae_core.training.stages import Stage, stage_schedule


def finished_sweeps(p: RunPreset) -> dict[str, list[TrainedStage]]:
    """Return the gamma sweeps of ``p``, as far as the store holds them, by name; nothing is trained.

    Raises
    ------
    RuntimeError
        the store holds no stage of them.
    """
    data, store = data_spec(p), Store()
    result = {}
    for beta in p.gamma_betas:
        stages = [(stage, store.find(stage_spec(stage, data))) for stage in stage_schedule(p, beta)]
        if here := [TrainedStage(stage, data, folder) for stage, folder in stages if folder]:
            result[f"β = {beta:g}"] = here
    if not result:
        raise RuntimeError(f"the store {store.root} holds no stage of the gamma sweeps of preset {p.name}; run "
                           "notebook 3, or evae figures")
    return result


def network(p: RunPreset, stage: Stage, data: DataSpec) -> VAE:
    """Return the network of a stage from the store, else its decoder from data/recorded; nothing is trained.

    Raises
    ------
    RuntimeError
        neither the store nor the record holds it.
    """
    if (folder := Store().find(stage_spec(stage, data))) and weights.file_in(folder).is_file():
        return TrainedStage(stage, data, folder).model()
    if published.find(p.name, stage_spec(stage, data)):
        return recorded_models(p, [stage], data)[0]
    raise RuntimeError(f"neither the store {Store().root} nor the record of preset {p.name} holds the stage ({stage}); "
                       "run notebook 3, or evae figures")


def latent_network(p: RunPreset, beta: float = plans.BETA, gamma: float = 100.0) -> tuple[VAE, Tensor | None]:
    """Return the network of (beta, gamma) and training states to encode, None without an encoder or data.

    Raises
    ------
    ValueError
        a beta or gamma that the preset does not train.
    RuntimeError
        neither the store nor the record holds the network.
    """
    stages = {stage.gamma: stage for stage in stage_schedule(p, beta)}
    if gamma not in stages:
        raise ValueError(f"gamma must be one of the preset's {tuple(stages)}, got {gamma!r}")
    data, store = data_spec(p), Store()
    model = network(p, stages[gamma], data)
    if isinstance(model.encoder, NoEncoder) or any(store.find(shard) is None for shard in data.shards()):
        return model, None
    train = load_data(data, store, "cpu").train
    return model, torch.as_tensor(train[:min(300, len(train))])
