"""Generated states from three priors, N(0, 1) and two fitted to the training set's latent vectors, beside X_out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evae_companion import priors
from evae_companion import training_plans as plans
from evae_companion.analysis import sample_metrics
from evae_companion.data_specs import data_spec
from evae_companion.dataset import load_data
from evae_companion.experiments import result_cache
from evae_companion.presets import RunPreset
from evae_companion.store.serialization import read_json, write_json
from evae_companion.sweeps import train_stages
from evae_companion.trained import stage_spec
from evae_core.hamiltonian import Hamiltonian
from evae_core.model import PRIORS, VAE
from evae_core.observables import kspace_mse
from evae_core.training.stages import Stage

X_OUT = "X_out"
STATES = (*PRIORS, X_OUT)
SEED = 9  # of generated states, and of epsilon in X_out
PART = 100  # states in the network at a time
MEASURES = ("energy", "spread", "diversity", "coverage")


def compared(p: RunPreset) -> list[Stage]:
    """Return the stages compared: the control, gamma = 100 and 1000, and the largest gamma."""
    return plans.compared(p, plans.BETA, (100.0, 1e3, max(p.gammas)))


def spec(p: RunPreset) -> dict[str, Any]:
    """Return the cache key of :func:`run`."""
    return {"kind": "priors", "version": result_cache.VERSION, "fits": priors.VERSION, "samples": p.samples,
            "stages": [stage_spec(stage, data_spec(p)) for stage in compared(p)]}


def run(p: RunPreset, device: str = "auto", report: result_cache.Report = print) -> SimpleNamespace:
    """Compare states generated from each prior, and X_out, of the control and gamma = 100, 1000 and the largest.

    X_out belongs to training states, with z drawn as in training: it is what a perfect prior would generate.

    Returns
    -------
    n : states per set.
    data : the measures of as many training states.
    table : columns gamma, states (a prior's name, or "X_out") and the measures, one row per network and set:

        * energy, spread : mean of E/N and its standard deviation over the states, J per spin;
        * diversity : k-space MSE of the set over that of the training states, 1 for states like them;
        * coverage : share of held-out test states with a state of the set inside their ball, which reaches to the
          fifth neighbour among the test states (M. F. Naeem et al., ICML (2020)), in the distance up to translation
          of :mod:`~evae_companion.analysis.sample_metrics`. Sets from one source have 1 - 2^-5 = 0.97.
    """
    def make(folder: Path) -> None:
        data = load_data(data_spec(p), device=device, report=report)
        H, n = data.spec.hamiltonian, min(p.samples, len(data.test), len(data.train))
        train, test = data.train[:n], data.test[:n]
        own, diversity = sample_metrics.distances(test, test), kspace_mse(train)
        table: dict[str, list[Any]] = {name: [] for name in ("gamma", "states", *MEASURES)}
        for trained in train_stages(compared(p), data.spec, device=device, report=report):
            for name, states in _sets(priors.attach(trained, device, report=report), train):
                row = {"gamma": trained.stage.gamma, "states": name} | measures(H, states, test, own, diversity)
                for key, value in row.items():
                    table[key].append(value)
        write_json(folder / "priors.json", {"n": n, "data": measures(H, train, test, own, diversity), "table": table})

    found = read_json(result_cache.get(p, spec(p), make, report)[0] / "priors.json")
    return SimpleNamespace(n=found["n"], data=found["data"],
                           table={key: np.array(values) for key, values in found["table"].items()})


@torch.no_grad()
def _sets(model: VAE, train: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield (name, states), as many as ``train`` holds: of every prior, and X_out."""
    for prior in PRIORS:
        yield prior, result_cache.generate(model, len(train), SEED, prior)
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(SEED)
    yield X_OUT, torch.cat([model(part.to(device), generator)[0].cpu() for part in train.split(PART)])


def measures(H: Hamiltonian, states: Tensor, test: Tensor, own: Tensor, diversity: float) -> dict[str, float]:
    """Return the :data:`MEASURES` of ``states``, given distances within ``test`` and the k-space MSE of the data."""
    energies = H.energy_per_spin(states.double())
    of_states, between = sample_metrics.distances(states, states), sample_metrics.distances(test, states)
    return {"energy": float(energies.mean()), "spread": float(energies.std()),
            "diversity": kspace_mse(states) / diversity,
            "coverage": sample_metrics.manifold_measures(own, of_states, between)["coverage"]}
