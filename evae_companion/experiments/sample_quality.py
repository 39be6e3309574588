"""Quality and diversity of states generated at gamma = 0, 1, 10, 100 and 1000, measured against the training data."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from scipy.stats import wasserstein_distance

from evae_companion import training_plans as plans
from evae_companion.analysis import sample_metrics as q
from evae_companion.data_specs import data_spec
from evae_companion.dataset import load_data
from evae_companion.experiments import result_cache
from evae_companion.presets import RunPreset
from evae_companion.store.packed_spins import pack, unpack
from evae_companion.store.serialization import load_arrays, read_json, save_arrays, write_json
from evae_companion.sweeps import train_stages
from evae_companion.trained import stage_spec
from evae_core.observables import theta

GAMMAS = (0.0, 1.0, 10.0, 100.0, 1000.0)
DATA = "data"  # test states, on which no network was trained
STEPS = ("as generated", "at rest")
SHARES = np.linspace(0, 1, 201)  # quantiles over the sites, for the distribution of theta
SHOWN = 2  # states of each set that are stored
KEYS = ("energy", "charge", "charge_at_rest", "lost", "moved", "theta")


def spec(p: RunPreset, beta: float) -> dict[str, Any]:
    """What :func:`run` depends on."""
    stages = [stage_spec(stage, data_spec(p)) for stage in plans.compared(p, beta, GAMMAS)]
    return {"kind": "quality", "version": result_cache.VERSION, "stages": stages, "samples": _size(p)}


def _size(p: RunPreset) -> int:
    return min(p.samples, p.test, p.train)


def _measures(reference: torch.Tensor, own: q.Pairs, of_reference: q.Pairs, between: q.Pairs,
              spins: torch.Tensor) -> dict[str, float]:
    """Return the measures of one set of states against the reference, which are training states."""
    roots, others = own.kernel.diagonal(), of_reference.kernel.diagonal()
    kernel = q.normalised(own.kernel, roots, roots)
    n = len(kernel)
    return q.manifold_measures(of_reference.distance, own.distance, between.distance) | {
        "vendi": q.vendi(kernel), "apart": float(own.distance.sum() - own.distance.trace()) / (n * (n - 1)),
        "mmd": q.mmd(q.normalised(of_reference.kernel, others, others), kernel,
                     q.normalised(between.kernel, others, roots)),
        "structure": q.total_variation(q.radial_structure_factor(reference), q.radial_structure_factor(spins))}


def run(p: RunPreset, beta: float = plans.BETA, device: str = "auto",
        report: result_cache.Report = print) -> SimpleNamespace:
    """Compare generated states of the networks of GAMMAS, and test states, with as many training states.

    Returns
    -------
    names : "data" and one per gamma.
    n : states per set.
    ideal : E/N (J) of the best commensurate lattice found.
    measures : {name: {"as generated", "at rest": dict}} with

        * precision, recall, density, coverage, vendi, mmd: see :mod:`~evae_companion.analysis.sample_metrics`;
        * apart : mean distance of a pair of states;
        * structure : total variation between radial structure factors;
        * energy : mean E/N (J);
        * energy_distance, charge_distance : first Wasserstein distances to the training states (J per spin, charges).
    way : {name: {same_charge (share), moved, lost (means)}}, of the relaxation.
    distributions : {name: {energy, charge, charge_at_rest, lost, moved (n,), theta (201 quantiles, radians)}}.
    states : {name: (2, SHOWN, 3, N, N)}, as generated and relaxed.
    """
    data, stages = data_spec(p), plans.compared(p, beta, GAMMAS)
    H, n = data.hamiltonian, _size(p)

    def make(folder: Path) -> None:
        sets, lattice = load_data(data, device=device, report=report), result_cache.ideal_lattice(data)
        trained = train_stages(stages, data, device=device, report=report)
        reference = sets.train[:n]
        of_reference = q.pairs(reference, reference)
        charges = np.round(sets.train.statistics["charge"][:n])
        result: dict[str, Any] = {"n": n, "ideal": float(H.energy_per_spin(lattice.double())),
                                  "measures": {}, "way": {}}
        arrays = []
        samples = {DATA: sets.test[:n]} | {
            f"gamma {one.stage.gamma:g}": result_cache.generate(one.model(device), n, seed=8) for one in trained}
        for name, spins in samples.items():
            rest, way = q.settled(H, spins, device=device)
            result["measures"][name] = {}
            for step, states, ending in zip(STEPS, (spins, rest), ("", "_at_rest"), strict=True):
                energy, charge = way["energy" + ending], np.round(way["charge" + ending])
                result["measures"][name][step] = _measures(reference, q.pairs(states, states), of_reference,
                                                           q.pairs(reference, states), states) | {
                    "energy": energy.mean(),
                    "energy_distance": wasserstein_distance(energy, sets.train.statistics["energy"][:n]),
                    "charge_distance": wasserstein_distance(charge, charges)}
            result["way"][name] = {"same_charge": np.mean(np.round(way["charge"]) == np.round(way["charge_at_rest"])),
                                   "moved": way["moved"].mean(), "lost": way["lost"].mean()}
            arrays.append(way | {"theta": np.quantile(theta(H, spins).numpy(), SHARES),
                                 "states": pack(torch.stack((spins[:SHOWN], rest[:SHOWN])))})
        write_json(folder / "quality.json", result)
        save_arrays(folder / "quality.npz", {key: np.stack([one[key] for one in arrays]) for key in (*KEYS, "states")})

    folder, _ = result_cache.get(p, spec(p, beta), make, report)
    result, arrays = read_json(folder / "quality.json"), load_arrays(folder / "quality.npz")
    names = list(result["measures"])
    return SimpleNamespace(
        **result, names=names, states=dict(zip(names, unpack(arrays["states"]), strict=True)),
        distributions={name: {key: arrays[key][i] for key in KEYS} for i, name in enumerate(names)})
