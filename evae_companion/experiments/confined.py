"""Note S2: states that a collapsed network generates in a sample with edges, against its annealed training data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from evae_companion.data_specs import DataSpec
from evae_companion.dataset import load_data, rest_energies
from evae_companion.experiments import result_cache
from evae_companion.presets import RunPreset
from evae_companion.store.packed_spins import pack, unpack
from evae_companion.store.serialization import load_arrays, read_json, save_arrays, write_json
from evae_companion.store.store import Store
from evae_companion.trained import TrainedStage, stage_spec
from evae_core.annealing import relax
from evae_core.observables import kspace_mse
from evae_core.training.stages import Stage

SAME = 1e-6  # J per spin, within which two energies at rest are one


def spec(p: RunPreset, stage: Stage, data: DataSpec) -> dict[str, Any]:
    """Return the cache key of :func:`run`."""
    return {"kind": "collapsed", "version": result_cache.VERSION, "stage": stage_spec(stage, data),
            "samples": p.samples}


def run(p: RunPreset, trained: TrainedStage, device: str = "auto") -> dict[str, Any]:
    """Generate ``p.samples`` states and compare them, as generated and relaxed, with the training data.

    Returns
    -------
    name : the sample.
    energy, relaxed : E/N (J) of the lowest generated state, as generated and relaxed.
    mean : E/N (J) of all generated states.
    lowest : share of them that relaxes to the lowest energy of the training data, or below.
    x_out_kspace_mse, x_out_lowest : the same of reconstructed training states; kspace_mse is of generated states.
    annealed : (n,), relaxed E/N (J) of the training data.
    best_annealed, reached : the lowest of them, and the share of the data within 1e-6 J of it.
    kspace_mse, data_kspace_mse : of the generated states and of the data.
    states : {"an annealed state", "best annealed", "E-VAE, lowest", "E-VAE, lowest, relaxed": (3, Ny, Nx)}, of seed 0
        alone, as is
    few : (4, 3, Ny, Nx), generated states.
    """
    data, first = trained.data, trained.stage.seed == 0
    H, shape, train = data.hamiltonian, data.shape, load_data(data, device=device).train
    annealed = train.statistics["rest_energy"]

    def make(folder: Path) -> None:
        model = trained.model(device)
        generated = result_cache.generate(model, p.samples, seed=6)
        x_out = result_cache.reconstruct(model, train[:p.samples], seed=6)
        energies = H.energy_per_spin(generated.double())
        state = generated[energies.argmin()]
        rest = relax(H, state, device=device)
        write_json(folder / "confined.json", {
            "energy": float(energies.min()), "mean": float(energies.mean()),
            "relaxed": float(H.energy_per_spin(rest.double())), "kspace_mse": kspace_mse(generated),
            "data_kspace_mse": kspace_mse(train[:100]), "x_out_kspace_mse": kspace_mse(x_out),
            **{name: float(np.mean(rest_energies(H, states, device) < annealed.min() + SAME))
               for name, states in (("lowest", generated), ("x_out_lowest", x_out))}})
        if first:
            shown = relax(H, train[[0, int(annealed.argmin())]], tolerance=1e-3, device=device)
            save_arrays(folder / "confined.npz", {name: pack(spins) for name, spins in (
                ("annealed", shown[0]), ("best", shown[1]), ("lowest", state), ("relaxed", rest),
                ("few", generated[:4]))})

    folder = Store().get(spec(p, trained.stage, data), make)
    states = {name: unpack(codes) for name, codes in load_arrays(folder / "confined.npz").items()} if first else {}
    least = float(annealed.min())
    kind = ("square" if shape[0] == shape[1] else "wire") if H.boundary == "open" else "infinite wire"
    return {"name": f"{kind} {shape[0]} x {shape[1]}",
            **read_json(folder / "confined.json"), "annealed": annealed, "best_annealed": least,
            "reached": float(np.mean(annealed < least + SAME)), "few": states.get("few"),
            "states": {label: states[name] for label, name in (
                ("an annealed state", "annealed"), ("best annealed", "best"), ("E-VAE, lowest", "lowest"),
                ("E-VAE, lowest, relaxed", "relaxed")) if first}}
