"""How long the explorers take from a slider to its picture: medians, and the time until the first one shows.

    python benchmarks/slider_latency.py [--preset laptop] [--write]

Takes the preset's run from the store, and makes what is missing there (make figures does). One thread, no browser: what
Python takes from the slider's new value to the new PNG. ``--write`` puts the table into benchmarks/SLIDERS.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from measure import machine

from evae_companion import plotting, widgets
from evae_companion.claims import COLLAPSED
from evae_companion.data_specs import data_spec
from evae_companion.experiments import collapse, latent_interpolation, size_scan
from evae_companion.presets import load_preset
from evae_core.presets import Preset

GOAL = 100  # ms


def timed(slider, values: Iterable) -> np.ndarray:
    """ms of every value that is not the one before."""
    taken = []
    for value in values:
        if value != slider.value:
            start = time.perf_counter()
            slider.value = value
            taken.append(time.perf_counter() - start)
    return 1e3 * np.array(taken)


def opened(make):
    """(explorer, seconds until it shows)."""
    start = time.perf_counter()
    explorer = make()
    return explorer, time.perf_counter() - start


def rows(p: Preset) -> Iterator[tuple[str, float, np.ndarray]]:
    """(explorer and slider, s to open, ms a value)."""
    H, rng = data_spec(p).hamiltonian, np.random.default_rng(0)
    cooling, first = opened(lambda: widgets.AnnealingExplorer(size=64, J=p.J, D=p.D, B=p.B))
    frames = []
    while not cooling.cooling.done:
        start = time.perf_counter()
        cooling.step()
        frames.append(1e3 * (time.perf_counter() - start))
    yield "annealing, 64 x 64: a frame", first, np.array(frames)
    ladder, first = opened(lambda: widgets.SweepExplorer(widgets.finished_sweeps(p)))
    places = ladder.places()
    yield "ladder: gamma, seen first", first, timed(ladder.place, places[1:])
    yield "ladder: other samples", first, timed(ladder.seed, range(1, 31))
    model, spins = widgets.latent_network(p)
    latent, first = opened(lambda: widgets.LatentExplorer(model, H, spins))
    yield "latent space: an axis", first, timed(latent.sliders[0], np.round(rng.uniform(-3, 3, 60), 2))
    latent.pick("A")
    latent.sample()
    latent.pick("B")
    yield "latent space: from A to B", first, timed(latent.between, np.round(rng.uniform(0, 1, 60), 2))
    walked = latent_interpolation.run(p, device="cpu")
    interpolation, first = opened(lambda: widgets.LatentInterpolationExplorer(walked, H))
    steps = np.arange(interpolation.R.min, interpolation.R.max)
    yield "interpolation: R", first, timed(interpolation.R, rng.permutation(steps)[:60].tolist())
    found = collapse.run(p, device="cpu")
    figure = plotting.collapse_measure(
        [{"label": name, "gamma": run["gamma"], "mse": run["kspace_mse"], "energy": run["energy_per_spin"]}
         for name, run in found.runs.items()], threshold=COLLAPSED * found.data["kspace_mse"],
        ideal_energy=found.ideal["energy"], data=tuple(found.data[f"energy_{k}"] for k in ("min", "mean", "max")))
    collapsed, first = opened(lambda: widgets.CollapseExplorer(found, H, figure))
    yield "collapse: gamma", first, timed(collapsed.gamma, list(found.shown)[1:] * 3)
    confined, first = opened(lambda: widgets.ConfinedExplorer(size_scan.run(p, device="cpu")))
    yield "confined: size", first, timed(confined.size, [n for _, n in confined.size.options] * 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="laptop")
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/SLIDERS.md")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    lines = ["# From a slider to its picture", "",
             f"`python benchmarks/slider_latency.py --preset {arguments.preset} --write`. {machine()}. One thread; the "
             f"goal is a median of {GOAL} ms.", "",
             "| explorer: slider | shows after | median | 90 % | longest | values |", "|---|---|---|---|---|---|"]
    for name, first, taken in rows(load_preset(arguments.preset)):
        lines.append(f"| {name} | {first:.2f} s | {np.median(taken):.0f} ms | {np.quantile(taken, 0.9):.0f} ms | "
                     f"{taken.max():.0f} ms | {len(taken)} |")
        print(lines[-1], flush=True)
    if arguments.write:
        (Path(__file__).parent / "SLIDERS.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
