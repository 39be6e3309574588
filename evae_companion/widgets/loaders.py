"""What explorers show without training: trained stages of the store, and decoders of data/recorded."""

from __future__ import annotations

import torch
from torch import Tensor

from evae_companion import published
from evae_companion import training_plans as plans
from evae_companion.data_specs import DataSpec, data_spec
from evae_companion.dataset import load_data
from evae_companion.experiments import result_cache
from evae_companion.store.store import Store
from evae_companion.trained import TrainedStage, stage_spec
from evae_core.model import VAE
from evae_core.presets import Preset
from evae_core.training.stages import Stage, stage_schedule


def climbed(p: Preset) -> dict[str, list[TrainedStage]]:
    """The gamma ladders of ``p`` as far as the store holds them, by name; nothing is trained.

    Raises
    ------
    RuntimeError
        it holds no stage of them.
    """
    data, store = data_spec(p), Store()
    found = {}
    for beta in p.gamma_betas:
        stages = [(stage, store.find(stage_spec(stage, data))) for stage in stage_schedule(p, beta)]
        if here := [TrainedStage(stage, data, folder) for stage, folder in stages if folder]:
            found[f"β = {beta:g}"] = here
    if not found:
        raise RuntimeError(f"the store {store.root} holds no stage of the gamma ladders of preset {p.name}; run "
                           "notebook 3, or evae figures")
    return found


def network(p: Preset, stage: Stage, data: DataSpec) -> VAE:
    """The network of a stage from the store, else its decoder from data/recorded; nothing is trained.

    Raises
    ------
    RuntimeError
        neither holds it.
    """
    if folder := Store().find(stage_spec(stage, data)):
        return TrainedStage(stage, data, folder).model()
    if published.find(p.name, stage_spec(stage, data)):
        return result_cache.recorded_models(p, [stage], data)[0]
    raise RuntimeError(f"neither the store {Store().root} nor the record of preset {p.name} holds the stage ({stage}); "
                       "run notebook 3, or evae figures")


def latent_network(p: Preset, beta: float = plans.BETA, gamma: float = 100.0) -> tuple[VAE, Tensor | None]:
    """The network of (beta, gamma), and training states to see where it maps them; None where no data lie in the store.

    Raises
    ------
    ValueError
        a beta or gamma that the preset does not train. RuntimeError: neither store nor record holds the network.
    """
    stages = {stage.gamma: stage for stage in stage_schedule(p, beta)}
    if gamma not in stages:
        raise ValueError(f"gamma must be one of the preset's {tuple(stages)}, got {gamma!r}")
    data, store = data_spec(p), Store()
    model = network(p, stages[gamma], data)
    if any(store.find(shard) is None for shard in data.shards()):
        return model, None
    train = load_data(data, store, "cpu").train
    return model, torch.as_tensor(train[:min(300, len(train))])
