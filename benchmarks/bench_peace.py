"""Images a second and latency of particle sizing, and the tables of its other benchmarks: writes benchmarks/PEACE.md.

    python benchmarks/bench_peace.py        # a minute on a quiet machine

An image is noise with the speckle's statistics; its content does not change the work. The other tables are made from
what benchmarks/peace_floor.py, peace_frames.py and peace_labels.py have left in build/peace; it is kept in
benchmarks/peace.json, from which notebook 13 quotes, and taken from there where they have not run.
"""

import json
import os
import time
from pathlib import Path

import numpy as np

from evae_companion import peace
from evae_companion.peace import images
from evae_companion.peace.estimator import METHODS

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "benchmarks" / "peace.json"
SHAPES = ((1024, 1024), (1836, 2744))
REPEATS = 3


def median(call) -> float:
    """Median CPU seconds of REPEATS calls after one that warms up: with one thread, the time of a quiet core."""
    call()
    seconds = []
    for _ in range(REPEATS):
        start = time.process_time()
        call()
        seconds.append(time.process_time() - start)
    return float(np.median(seconds))


def timings() -> list[str]:
    lines = ["| camera | image to autocorrelation | image to sizes (latency) | images a second | with the grains' "
             "number | numpy FFT of twice the size | ratio |", "|---" * 7 + "|"]
    for shape in SHAPES:
        frame = np.random.default_rng(0).exponential(size=shape).astype(np.float32)
        smooth = np.fft.irfft2(np.fft.rfft2(frame) * (np.arange(shape[1] // 2 + 1) < shape[1] // 14), shape)
        frame = (smooth - smooth.min()).astype(np.float32)
        optics = peace.Optics(shape=shape)
        plain = median(lambda frame=frame, shape=shape: np.fft.irfft2(
            np.abs(np.fft.rfft2(frame, [2 * n for n in shape], axes=(0, 1))) ** 2))
        alone = median(lambda frame=frame: images.correlate(frame, 96))
        whole, known = (median(lambda frame=frame, tracker=tracker: tracker.update(frame)) for tracker in (
            peace.Tracker(optics, window=20, lag_zero=False), peace.Tracker(optics, window=20, grains=5000)))
        lines.append(f"| {shape[0]} x {shape[1]} | {1e3 * alone:.0f} ms | {1e3 * whole:.0f} ms | {1 / whole:.1f} "
                     f"| {1e3 * known:.0f} ms | {1e3 * plain:.0f} ms | {whole / plain:.2f} |")
        print(lines[-1], flush=True)
    return lines


def left_by(name: str):
    """What a benchmark has left in build/peace, or what is recorded of it where it has not run here."""
    path = ROOT / "build" / "peace" / f"{name}.json"
    return json.loads(path.read_text()) if path.is_file() else json.loads(RECORD.read_text())[name]


def floor(rows) -> list[str]:
    n, few = rows["powders"], rows["posterior's powders"]
    lines = [f"| log-normals, 200 frames | {n} powders | the first {few} |", "|---" * 3 + "|",
             f"| posterior, families of the training known | | {rows['posterior']:.4f} |",
             f"| least-squares fit of median and width, family known | {rows['log-normal fit']:.4f} | |"]
    for name in ("peace", "plain"):
        lines += [f"| network {name}{words} | {rows[name + words]:.4f} | {rows[f'{name}{words}, first {few}']:.4f} |"
                  for words in ("", ", no noise")]
    return lines + ["", f"Mean squared residual a node, in units of the noise's: peace {rows['peace, misfit']:.1f}, "
                    f"plain {rows['plain, misfit']:.1f}."]


def frames(rows) -> list[str]:
    counts = sorted({int(key.split("/")[2]) for key in rows["random"]})
    lines = ["| " + " / ".join(map(str, counts)) + " frames | " + " | ".join(METHODS) + " |", "|---" * 5 + "|"]
    for words in ("published law", "grains", "coverage"):
        cells = [" / ".join(f"{rows['random'][f'{words}/{method}/{n}']:.3f}" for n in counts) for method in METHODS]
        lines.append(f"| {words} | " + " | ".join(cells) + " |")
    lines += ["", "Grains side by side, 50 frames: d50 in um (distance; misfit).", "",
              "| true d50, width, lit grains, coverage | method | published law | `grains=`, side by side | "
              "`coverage=`, side by side |", "|---" * 5 + "|"]
    for first in [row for row in rows["beds"] if row["known"] == "published law"]:
        same = [row for row in rows["beds"] if all(row[key] == first[key] for key in (
            "median", "width", "grains", "method"))]
        lines.append(f"| {1e6 * first['median']:.0f}, {first['width']}, {first['grains']}, {first['covered']:.2f} | "
                     f"{first['method']} | " + " | ".join(
                         f"{1e6 * row['d50']:.0f} ({row['distance']:.3f}; {row['misfit']:.1f})" for row in same) + " |")
    return lines


def labels(rows) -> list[str]:
    kinds = [key for key in rows["trained"][0] if key not in ("labelled", "rounds", "weight", "steps")]
    lines = ["| labelled distributions | law's residual given back | weight of the physics term | steps | "
             + " | ".join(kinds) + " |", "|---" * (4 + len(kinds)) + "|"]
    lines += [f"| {row['labelled'] or 'all 120 000'} | {row['rounds'] or 'no'} | {row['weight']:g} | {row['steps']} | "
              + " | ".join(f"{row[kind]:.4f}" for kind in kinds) + " |" for row in rows["trained"]]
    lines += ["", "Tuned by the physics term alone on 200 unlabelled autocorrelations of the kind:", "",
              "| network | steps | rate | " + " | ".join(kinds) + " |", "|---" * (3 + len(kinds)) + "|"]
    return lines + [f"| {row['network']} | {row['steps']} | {row['rate']:g} | "
                    + " | ".join(f"{row[kind]:.4f}" for kind in kinds) + " |" for row in rows["tuned"]]


if __name__ == "__main__":
    left = {name: left_by(name) for name in ("floor", "frames", "labels")}
    RECORD.write_text(json.dumps(left, indent=1) + "\n")
    text = ["# Particle sizes from speckle: speed, the noise's floor, frames to sizes, labels", "",
            f"Written by benchmarks/bench_peace.py: CPU time of one core (OMP_NUM_THREADS="
            f"{os.environ.get('OMP_NUM_THREADS', 'not set')}), median of {REPEATS}, which other work changes little; "
            f"{os.cpu_count()} logical cores, load {os.getloadavg()[0]:.0f}.",
            "", *timings(), "",
            "## What the noise allows", "",
            "Mean distance of the cumulative curves by volume (benchmarks/peace_floor.py):",
            "", *floor(left["floor"]), "",
            "## Frames to sizes", "",
            "Simulated frames through an 8-bit camera with noise, pixels of 9.6 um (benchmarks/peace_frames.py): mean "
            "distance by volume of six powders of 100 to 400 um, one with two peaks; 5000 lit grains at random:", "",
            *frames(left["frames"]), "",
            "## What the law is worth to a network", "",
            "Mean distance by volume, 200 frames, 200 distributions a kind, networks trained from nothing "
            "(benchmarks/peace_labels.py):", "", *labels(left["labels"]), ""]
    (ROOT / "benchmarks" / "PEACE.md").write_text("\n".join(text))
