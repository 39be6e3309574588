"""Active learning of a spin-lattice potential against random labelling: candidates per round, tails of the errors."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from evae_companion.deepspin.active import CANDIDATE, ActiveSpec, Exploration, Trust, explore, learn, tails
from evae_companion.deepspin.data import Frames
from evae_companion.deepspin.model import ModelSpec
from evae_companion.deepspin.potential import label
from evae_companion.deepspin.reference import iron_like
from evae_companion.deepspin.training import NETWORK
from evae_companion.experiments import result_cache
from evae_companion.presets import RunPreset
from evae_companion.store.serialization import load_table, save_table

VERSION = 2  # raise when what is computed changes
ENGINE = iron_like(cutoff=3.6, smooth_from=3.0)  # first two shells of bcc iron
LATTICE, MOMENT, MASS = 2.87, 2.2, 55.845  # angstrom, mu_B, g/mol
MODEL = ModelSpec(("Fe",), (0.3 / MOMENT,), cutoff=3.6, smooth_from=3.0, embedding=(12,), axis=3, components=24,
                  fitting=(16,))
TEMPERATURES = (300.0, 600.0, 1000.0, 1500.0, 1500.0)  # K, one per round
# About a tenth of, and about equal to, the forces and magnetic forces of ENGINE at the highest temperature, whose rms
# are 2.2 and 0.14.
TRUST = Trust(force=(0.2, 2.0), force_mag=(0.014, 0.14))
FIRST, LABELS, TESTED = 4, 5, 24  # initial frames, labels per round, frames of the test set
MEASURES = ("force_rms", "force_95", "force_max", "force_mag_rms", "force_mag_95", "force_mag_max")


def crystal() -> Frames:
    """Return the ferromagnetic bcc crystal of 16 atoms, undisplaced."""
    steps = torch.stack(torch.meshgrid(*[torch.arange(2.0)] * 3, indexing="ij"), -1).reshape(-1, 3)
    positions = LATTICE * (steps[:, None] + torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]])).reshape(1, -1, 3)
    spins = torch.zeros_like(positions)
    spins[..., 2] = MOMENT
    return Frames(("Fe",), torch.zeros(positions.shape[1], dtype=torch.int64), 2 * LATTICE * torch.eye(3)[None],
                  positions, spins)


def sample_md(temperature: float, n: int, seed: int) -> Frames:
    """Sample ``n`` labelled configurations from the dynamics of the explicit Hamiltonian at a temperature (K)."""
    plan = Exploration((temperature,), (MASS,), walkers=max(1, n // 4), steps=120, every=30)
    return label(ENGINE, explore(ENGINE, crystal(), temperature, plan, torch.Generator().manual_seed(seed))[:n])


def run(p: RunPreset, report: result_cache.Report = print) -> SimpleNamespace:
    """Compare active with random labelling from the same first frames, for each seed.

    The test set is sampled at the highest temperature.

    Returns
    -------
    labels, shares : {"active", "random": (rounds,)}, number of labelled frames and share of candidates, means over
        seeds. The share is NaN after the last exploration.
    errors : {measure: {way: (seeds, rounds)}}, MEASURES of :func:`~evae_companion.deepspin.active.tails`, mean over the
        potentials of a committee.
    """
    small = p.name == "smoke"
    seeds = 1 if small else 2
    plan = Exploration(TEMPERATURES[:1] if small else TEMPERATURES, (MASS,), walkers=2, steps=10 if small else 100,
                       every=4)
    tested = 4 if small else TESTED
    one = ActiveSpec(replace(MODEL, embedding=(4,)) if small else MODEL, plan, TRUST, labels=LABELS)
    spec = {"kind": "active", "version": VERSION, "network": NETWORK, "engine": ENGINE.spec(), "learning": one.spec(),
            "seeds": seeds, "first": FIRST, "tested": tested}

    def make(folder: Path) -> None:
        runs = [(seed, way) for seed in range(seeds) for way in ("active", "random")]
        tables = result_cache.run_jobs(p, [partial(_learned, replace(one, actively=way == "active", seed=seed), tested)
                                           for seed, way in runs], report)
        rows = [{"way": way, "seed": seed} | row for (seed, way), of_run in zip(runs, tables, strict=True)
                for row in of_run]
        save_table(folder / "active.csv", {key: np.array([row[key] for row in rows]) for key in rows[0]})

    folder, _ = result_cache.get(p, spec, make, report)
    return _gathered(load_table(folder / "active.csv"))


def _learned(spec: ActiveSpec, tested: int, report: result_cache.Report) -> list[dict[str, Any]]:
    """Return one run as rows, one per round: round, labels, share and MEASURES."""
    test, rows = sample_md(TEMPERATURES[-1], tested, 99), []
    way = "active" if spec.actively else "random"
    for number, round_ in enumerate(learn(ENGINE, sample_md(100.0, FIRST, spec.seed), spec,
                                          report=lambda line: report(f"seed {spec.seed}, {way}: {line}"))):
        wrong = [tails(potential, test) for potential in round_.committee]
        share = float((round_.kinds == CANDIDATE).double().mean()) if len(round_.kinds) else float("nan")
        rows.append({"round": number, "labels": round_.frames, "share": share}
                    | {name: float(np.mean([one[name] for one in wrong])) for name in MEASURES})
    return rows


def _gathered(table: dict[str, Any]) -> SimpleNamespace:
    """Return the table split by way, "active" or "random"."""
    ways = list(dict.fromkeys(table["way"].tolist()))

    def of(way: str, key: str) -> np.ndarray:
        return np.stack([table[key][(table["way"] == way) & (table["seed"] == seed)]
                         for seed in np.unique(table["seed"])])

    return SimpleNamespace(labels={way: of(way, "labels").mean(0) for way in ways},
                           shares={way: of(way, "share").mean(0) for way in ways},
                           errors={name: {way: of(way, name) for way in ways} for name in MEASURES})
