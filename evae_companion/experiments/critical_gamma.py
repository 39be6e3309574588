"""The critical gamma of the collapse against beta and the excess energy of the data, measured and in linear theory.

The theory is that of :mod:`evae_companion.analysis.linear_theory`, for the data as they are: L_RC per spin, and the
spectrum of the training configurations themselves.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from evae_companion import training_plans as plans
from evae_companion.analysis.linear_theory import beta_c, spectrum
from evae_companion.data_specs import DataSpec, data_spec
from evae_companion.dataset import load_data
from evae_companion.experiments import result_cache
from evae_companion.presets import RunPreset
from evae_companion.store.serialization import read_json, write_json
from evae_companion.store.store import Store
from evae_companion.sweeps import train_sweeps
from evae_companion.trained import history_table
from evae_core.losses import loss_of_energy
from evae_core.model import VAE
from evae_core.training.stages import Stage, chained, stage_schedule

VERSION = 1
USED = 2000  # training configurations from which the spectrum is computed


def linear(data: DataSpec, device: str = "auto", report: result_cache.Report | None = None) -> dict[str, Any]:
    """Return the quantities of linear theory for a data set, cached in the store.

    Returns
    -------
    eigenvalues : of the covariance (:func:`spectrum`).
    sites, latents : numbers of sites and of latent variables.
    one_state : L_RC if all states are reproduced by the mean of the data, and by the best lattice.
    excess : mean L_H of the data above that of the best lattice.
    beta_c : 2 lambda_1 / N.
    """
    def make(folder: Path) -> None:
        train, lattice = load_data(data, device=device, report=report).train, result_cache.ideal_lattice(data)
        spins, H, sites = train[:USED], data.hamiltonian, data.hamiltonian.sites(data.shape)
        values = spectrum(spins)
        per_spin = np.array([float(train.statistics["energy"].mean()), float(H.energy_per_spin(lattice.double()))])
        above, ideal = loss_of_energy(H, per_spin, data.shape)
        write_json(folder / "linear.json", {
            "eigenvalues": values.tolist(), "sites": sites, "latents": VAE(data.shape, boundary=H.boundary).latent,
            "one_state": [float(values.sum() / sites), float((spins - lattice).square().sum((1, 2, 3)).mean() / sites)],
            "excess": float(above - ideal), "beta_c": beta_c(values, sites)})

    numbers = read_json(Store().get({"kind": "linear", "version": VERSION, "data": data.spec(), "used": USED}, make)
                        / "linear.json")
    return numbers | {"eigenvalues": np.array(numbers["eigenvalues"])}


def cooled(p: RunPreset) -> dict[int, tuple[DataSpec, list[Stage]]]:
    """Return small data sets of other excess energy, each with a short gamma sweep.

    Returns
    -------
    {heat-bath sweeps of the annealing: (data set, stages)}
    """
    result = {}
    for sweeps in p.excess_sweeps:
        schedule = replace(data_spec(p).schedule, sweeps=sweeps)
        data = replace(data_spec(p), shape=(p.excess_size,) * 2, schedule=schedule, train=p.excess_train,
                       validation=100, test=0)
        rungs = [(plans.BETA, 0.0, p.excess_first), *((plans.BETA, gamma, p.excess_steps) for gamma in plans.SHORT[1:])]
        result[sweeps] = data, chained(rungs, p, seed=0)
    return result


def run(p: RunPreset, device: str = "auto", report: result_cache.Report = print) -> SimpleNamespace:
    """Train the sweeps that locate the collapse, and evaluate linear theory for their data.

    Returns
    -------
    betas : tables of the beta sweeps, one per seed.
    gammas : {beta: tables of the gamma sweeps, one per seed}.
    cooled : {heat-bath sweeps: (table, theory)}, for the data sets of other excess energy.
    theory : of the first training's data (:func:`linear`).
    """
    data = data_spec(p)
    jobs: dict[tuple[Any, int], tuple[list[Stage], DataSpec]] = {
        (beta or "beta", seed): (stage_schedule(p, beta, seed), data_spec(p, seed))
        for beta in (None, *p.gamma_betas) for seed in range(p.seeds)}
    jobs |= {(beta, 0): (stage_schedule(p, beta, 0, plans.SHORT), data) for beta in p.critical_betas}
    small = cooled(p)
    jobs |= {("cooled", sweeps): (stages, spec) for sweeps, (spec, stages) in small.items()}
    climbed = train_sweeps([stages for stages, _ in jobs.values()], [spec for _, spec in jobs.values()], device=device,
                           report=report)
    tables = {key: history_table(run) for key, run in zip(jobs, climbed, strict=True)}
    return SimpleNamespace(
        betas=[tables["beta", seed] for seed in range(p.seeds)],
        gammas={beta: [tables[beta, seed] for seed in range(p.seeds) if (beta, seed) in tables]
                for beta in sorted({*p.gamma_betas, *p.critical_betas})},
        cooled={sweeps: (tables["cooled", sweeps], linear(spec, device, report))
                for sweeps, (spec, _) in small.items()},
        theory=linear(data, device, report))
