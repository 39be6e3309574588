"""Cost and lowest energies of the collapsed E-VAE, annealing and parallel tempering, on three samples."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from torch import Tensor

from evae_companion import training_plans as plans
from evae_companion.analysis.samplers import EnergyTrace, annealings, decoded, tempering
from evae_companion.data_specs import confined_spec, ordered_schedule
from evae_companion.experiments import result_cache
from evae_companion.experiments.ground_state import best_stage, cached_candidates, search_of
from evae_companion.presets import RunPreset
from evae_companion.store.artifact import require_meta
from evae_companion.store.serialization import read_json, write_json
from evae_companion.store.store import Store
from evae_companion.sweeps import train_sweeps
from evae_companion.trained import TrainedStage, stage_spec
from evae_core.annealing import ALGORITHM, Schedule
from evae_core.model import VAE
from evae_core.training.stages import Stage, confined_stages

VERSION = 1
TEMPERED = (0.15, 0.7)  # J/k_B: from well below the temperature at which the lattice freezes to well above it
COUNTS = tuple(2**k for k in range(10))  # numbers of runs of which the best is taken
FOUND = 1e-6  # E/N, J: a state less than this above the best known counts as the best known
SEED = 11  # differs from the seed of the search: the compared methods must not share its random numbers


def samples(p: RunPreset) -> dict[str, dict[str, plans.Sweep]]:
    """Return the trainings {name: sweep} of the periodic box, of the largest open square and of the wire."""
    square, wire = p.confined[-2:]
    return {f"periodic {p.size} x {p.size}": plans.collapsing(p)} | {
        f"{kind} {shape[0]} x {shape[1]}": {"seed 0": (confined_stages(p, plans.BETA), confined_spec(p, shape))}
        for kind, shape in (("square", square), ("wire", wire))}


def _spent(trained: TrainedStage, store: Store) -> tuple[float, float]:
    """Return the seconds and spin updates spent on a network: on its stages and on its training data.

    Descents of the data count in the time alone.
    """
    data, seconds = trained.data, 0.0
    stage: Stage | None = trained.stage
    while stage is not None:
        seconds += TrainedStage(stage, data, store.held(stage_spec(stage, data))).measured["seconds"]
        stage = stage.parent
    seconds += sum(require_meta(store.held(shard))["wall_seconds"] for shard in data.shards())
    sweeps = data.schedule.sweeps * (1 + data.schedule.overrelax) + data.schedule.quench
    return seconds, float(sweeps * data.hamiltonian.sites(data.shape) * (data.train + data.validation + data.test))


def run(p: RunPreset, device: str = "auto", report: result_cache.Report = print) -> dict[str, SimpleNamespace]:
    """Measure all methods on every sample of :func:`samples`.

    Returns
    -------
    {sample: namespace} with

    best : E/N (J) of the lowest state that the search knows.
    traces : list of :class:`~evae_companion.analysis.samplers.EnergyTrace`; the E-VAE once per training, from its best
        stage.
    ladder : {"temperatures" (J/k_B), "rates"} of the parallel tempering.
    training : {name: seconds}.
    """
    return {name: _one(p, name, ladders, device, report) for name, ladders in samples(p).items()}


def _one(p: RunPreset, name: str, ladders: dict[str, plans.Sweep], device: str,
         report: result_cache.Report) -> SimpleNamespace:
    data = next(iter(ladders.values()))[1]
    H, shape, store = data.hamiltonian, data.shape, Store()
    best = cached_candidates(H, shape, search_of(p, H.periodic), device).best.energy
    fast = replace(ordered_schedule(p), T_start=1.0)
    slow = Schedule(T_start=1.0, sweeps=p.rival_sweeps)
    spec = {"kind": "budget", "version": VERSION, "annealer": ALGORITHM, "device": device, "samples": p.samples,
            "last": [stage_spec(stages[-1], of) for stages, of in ladders.values()], "runs": p.rival_runs,
            "slow": p.rival_sweeps, "tempering": [p.tempering_runs, p.tempering_sweeps, *TEMPERED], "seed": SEED,
            "warm": True}

    def make(folder: Path) -> None:
        climbed = train_sweeps([stages for stages, _ in ladders.values()], [of for _, of in ladders.values()],
                               device=device, report=report)
        begin = time.perf_counter()
        annealings(H, shape, 1, fast, "", SEED, device)  # not timed, because the first call also loads the kernels
        traces = annealings(H, shape, p.rival_runs, fast, "annealing, fast", SEED, device)
        traces += annealings(H, shape, p.rival_runs, slow, "annealing, slow", SEED, device)
        tempered, ladder = tempering(H, shape, p.tempering_runs, p.tempering_sweeps, TEMPERED, SEED, device=device)
        traces.append(tempered)
        training = {}
        for run, stages in zip(ladders, climbed, strict=True):
            trained = best_stage(stages)
            model, once = trained.model(device), _spent(trained, store)
            training[run] = once[0]
            result_cache.generate(model, 2, seed=0)  # not timed, because the first call also loads libraries

            def draw(n: int, model: VAE = model) -> Tensor:
                return result_cache.generate(model, n, seed=SEED)

            traces += decoded(H, draw, p.samples, once, device=device)
        write_json(folder / "budget.json", {
            "traces": [{"method": t.method, "seconds": t.seconds.tolist(), "updates": t.updates.tolist(),
                        "energies": t.energies.tolist(), "once": t.once} for t in traces],
            "ladder": {key: value.tolist() for key, value in ladder.items()}, "training": training})
        report(f"{name}: rivals measured in {time.perf_counter() - begin:.0f} s")

    numbers = read_json(store.get(spec, make) / "budget.json")
    traces = [EnergyTrace(t["method"], np.array(t["seconds"]), np.array(t["updates"]), np.array(t["energies"]),
                    tuple(t["once"])) for t in numbers["traces"]]
    return SimpleNamespace(best=best, traces=traces, training=numbers["training"],
                           ladder={key: np.array(value) for key, value in numbers["ladder"].items()})


def curves(sample: SimpleNamespace) -> list[dict[str, Any]]:
    """Return the traces of one sample as curves, for the figure and for the text about it.

    The trainings of the E-VAE are merged into one curve. All energies are E/N in J above the best known state.

    Returns
    -------
    list of dicts with

    label : the method.
    seconds, updates : (m,), the cost.
    lowest : (m, 3), 16, 50 and 84 % quantiles of the lowest energy over groups of runs. For the E-VAE, the least,
        middle and largest of the medians of its trainings.
    mean, least : mean and lowest energy of all runs.
    mean_at : index of the point whose cost is that of one run of the mean.
    once : for the E-VAE, True if its training is counted and False if not; None for the other methods.
    """
    result = []
    for method in dict.fromkeys(trace.method for trace in sample.traces):
        traces = [trace for trace in sample.traces if trace.method == method]
        trained = traces[0].once[0] > 0
        for once in ((True, False) if trained else (None,)):
            along = len(traces[0].seconds) > 1  # one run along its checkpoints; else the best of more and more runs
            each = [trace.in_time() if along else trace.best_of(COUNTS, once is not False)
                    for trace in traces]
            lowest = np.stack([one["lowest"] for one in each]) - sample.best
            if trained:
                lowest = np.quantile(lowest[..., 1], (0, 0.5, 1), axis=0).T[None]
            result.append({"label": method, "once": once, "lowest": lowest[0], "mean_at": -1 if along else 0,
                           "least": min(float(trace.energies.min()) for trace in traces) - sample.best,
                           "mean": float(np.mean([one["mean"] for one in each])) - sample.best,
                           **{key: np.median([one[key] for one in each], axis=0) for key in ("seconds", "updates")}})
    return result


def arrival(curve: dict[str, Any]) -> float:
    """Return the seconds until the median of a curve of :func:`curves` is within FOUND of the best known, or inf."""
    there = curve["lowest"][:, 1] < FOUND
    return float(curve["seconds"][there][0]) if there.any() else float("inf")
