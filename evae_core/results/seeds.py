"""Every claim's numbers by every seed alone: what the notebooks measure, once more with other random numbers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from evae_core import runs
from evae_core.dataset import DataSpec, confined_spec, data_spec
from evae_core.ladders import Stage, confined_ladder, control, ladder
from evae_core.presets import Preset
from evae_core.results import kept
from evae_core.results.fig3_noise import noise
from evae_core.results.fig4_walk import measures, walk
from evae_core.results.fig5_collapse import collapse
from evae_core.results.figs_confined import collapsed
from evae_core.training import climb_all, table

WALKED = (0.0, 100.0)  # gammas of the paths: the inverse mapping is what takes long


def ladders(p: Preset, seed: int) -> dict[str, list[Stage]]:
    """What a seed trains in the periodic box; at the second beta only seed 0 climbs every gamma."""
    one, two = p.gamma_betas
    return {"beta": ladder(p, seed=seed), "gamma": ladder(p, one, seed), "control": control(p, runs.BETA, seed),
            "other": ladder(p, two, seed, None if seed == 0 else runs.SHORT)}


def by_seed(p: Preset, device: str = "auto", report: kept.Report = print) -> list[SimpleNamespace]:
    """The arguments of each function of :mod:`evae_core.claims`, measured for one seed at a time.

    Of the samples with edges the first and the last of the preset's: a square and the wire.

    Returns
    -------
    one namespace a seed: beta_sweep, gamma_sweep, noise, interpolation, collapse and confined, dicts of arguments.
    """
    data, seeds = data_spec(p), range(p.seeds)
    edged = {shape: confined_spec(p, shape) for shape in (p.confined[0], p.confined[-1])}
    plans = {seed: ladders(p, seed) for seed in seeds}
    jobs: dict[tuple[int, Any], tuple[list[Stage], DataSpec]] = {
        (seed, name): (stages, data) for seed in seeds for name, stages in plans[seed].items()}
    jobs |= {(seed, shape): (confined_ladder(p, runs.BETA, seed), spec) for seed in seeds
             for shape, spec in edged.items()}
    climbed = dict(zip(jobs, climb_all([stages for stages, _ in jobs.values()], [spec for _, spec in jobs.values()],
                                       device=device, report=report), strict=True))
    ends, found = collapse(p, device, report), []
    for seed in seeds:
        tables = {name: table(climbed[seed, name]) for name in plans[seed]}
        twin = ends.twins[seed]
        theta = noise(p, runs.BETA, device, report, seed)
        path = walk(p, runs.BETA, device, report, seed, WALKED)
        found.append(SimpleNamespace(
            beta_sweep={"ladders": [tables["beta"]]},
            gamma_sweep={"ladders": [tables["gamma"], tables["other"]], "data_energy": tables["beta"]["data_energy"]},
            noise={"gammas": theta.gammas, "median": theta.median, "peak": theta.peak, "height": theta.height},
            interpolation=measures(path),
            collapse={"runs": [tables["gamma"] | ends.final[twin]
                               | {key: tables["gamma"][key] for key in ("gamma", "kspace_mse")}],
                      "other": [tables["other"]], "best_data": ends.data["energy_min"], "ideal": ends.ideal["energy"],
                      "seeds": [table(climbed[other, "gamma"]) for other in seeds],
                      "distances": [d for k, d in enumerate(ends.distances[seed]) if k != seed]},
            confined={"samples": [collapsed(p, shape, climbed[seed, shape][-1], device) for shape in edged]}))
    return found
