"""Do small steps of the latent vector translate the lattice, before and after the collapse?"""

from __future__ import annotations

import torch

from evae_companion import training_plans as plans
from evae_companion.analysis.latent_directions import LatentDirections, latent_directions
from evae_companion.data_specs import data_spec
from evae_companion.experiments import result_cache
from evae_companion.presets import RunPreset
from evae_companion.store import preview
from evae_companion.store.store import Store
from evae_companion.sweeps import models
from evae_companion.trained import stage_spec

VECTORS = 4  # random latent vectors at which the decoder is differentiated
GAMMAS = (0.0, 100.0)  # and the largest; 0 is the control


def run(p: RunPreset, device: str = "auto", report: result_cache.Report = print) -> dict[float, LatentDirections]:
    """Return {gamma: directions} of the first training at beta = 1e-3, for GAMMAS and the largest gamma."""
    data = data_spec(p)
    stages = [*plans.compared(p, plans.BETA, GAMMAS), next(iter(plans.collapsing(p).values()))[0][-1]]
    recorded = preview.record() is not None or Store().find(stage_spec(stages[-1], data)) is None
    z = torch.randn(VECTORS, stages[0].config.latent if stages[0].config else 100,
                    generator=torch.Generator().manual_seed(11))
    found = models(p, stages, data, recorded, device, report)
    return {stage.gamma: latent_directions(model.cpu(), z) for stage, model in zip(stages, found, strict=True)}
