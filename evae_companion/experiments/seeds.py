"""The numbers behind every claim, measured separately for each seed of the trainings."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from evae_companion import training_plans as plans
from evae_companion.data_specs import DataSpec, confined_spec, data_spec
from evae_companion.experiments import collapse, confined, latent_interpolation, noise_reduction, result_cache
from evae_companion.experiments.latent_interpolation import measures
from evae_companion.presets import RunPreset
from evae_companion.sweeps import train_sweeps
from evae_companion.trained import history_table
from evae_core.training.stages import Stage, confined_stages, control_stages, stage_schedule

WALKED = (0.0, 100.0)  # gammas of the latent paths: only two, because the inverse mapping takes long


def ladders(p: RunPreset, seed: int) -> dict[str, list[Stage]]:
    """Return the sweeps of one seed in the periodic box; at the second beta only seed 0 trains every gamma."""
    one, two = p.gamma_betas
    return {"beta": stage_schedule(p, seed=seed), "gamma": stage_schedule(p, one, seed),
            "control": control_stages(p, plans.BETA, seed),
            "other": stage_schedule(p, two, seed, None if seed == 0 else plans.SHORT)}


def by_seed(p: RunPreset, device: str = "auto", report: result_cache.Report = print) -> list[SimpleNamespace]:
    """Measure the arguments of each function of :mod:`evae_companion.claims` for one seed at a time.

    Of the preset's samples with edges, only the first and the last are used: a square and the wire.

    Returns
    -------
    list of namespaces, one per seed, with beta_sweep, gamma_sweep, noise_reduction, latent_interpolation, collapse and
    confined: dicts of arguments.
    """
    data, seeds = data_spec(p), range(p.seeds)
    edged = {shape: confined_spec(p, shape) for shape in (p.confined[0], p.confined[-1])}
    climbs = {seed: ladders(p, seed) for seed in seeds}
    jobs: dict[tuple[int, Any], tuple[list[Stage], DataSpec]] = {
        (seed, name): (stages, data) for seed in seeds for name, stages in climbs[seed].items()}
    jobs |= {(seed, shape): (confined_stages(p, plans.BETA, seed), spec) for seed in seeds
             for shape, spec in edged.items()}
    climbed = dict(zip(jobs, train_sweeps([stages for stages, _ in jobs.values()], [spec for _, spec in jobs.values()],
                                          device=device, report=report), strict=True))
    ends, result = collapse.run(p, device, report), []
    for seed in seeds:
        tables = {name: history_table(climbed[seed, name]) for name in climbs[seed]}
        twin = ends.twins[seed]
        theta = noise_reduction.run(p, plans.BETA, device, report, seed, networks=False)
        path = latent_interpolation.run(p, plans.BETA, device, report, seed, WALKED, networks=False)
        result.append(SimpleNamespace(
            beta_sweep={"ladders": [tables["beta"]]},
            gamma_sweep={"ladders": [tables["gamma"], tables["other"]], "data_energy": tables["beta"]["data_energy"]},
            noise_reduction={"gammas": theta.gammas, "median": theta.median, "peak": theta.peak,
                             "height": theta.height},
            latent_interpolation=measures(path),
            collapse={"runs": [tables["gamma"] | ends.final[twin]
                               | {key: tables["gamma"][key] for key in ("gamma", "kspace_mse")}],
                      "other": [tables["other"]], "best_data": ends.data["energy_min"], "ideal": ends.ideal["energy"],
                      "seeds": [history_table(climbed[other, "gamma"]) for other in seeds],
                      "distances": [d for k, d in enumerate(ends.distances[seed]) if k != seed]},
            confined={"samples": [confined.run(p, shape, climbed[seed, shape][-1], device) for shape in edged]}))
    return result
