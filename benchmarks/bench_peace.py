"""Images a second and latency of particle sizing, and what labels are worth: writes benchmarks/PEACE.md.

    python benchmarks/bench_peace.py        # a minute on a quiet machine

An image is noise with the speckle's statistics; its content does not change the work. The second table is what
benchmarks/peace_labels.py has left in build/peace/labels.json, if it was run.
"""

import json
import os
import time
from pathlib import Path

import numpy as np

from evae_core import peace
from evae_core.peace import images

ROOT = Path(__file__).resolve().parents[1]
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
    lines = ["| camera | image to autocorrelation | image to sizes (latency) | images a second "
             "| numpy FFT of twice the size | ratio |", "|---|---|---|---|---|---|"]
    for shape in SHAPES:
        frame = np.random.default_rng(0).exponential(size=shape).astype(np.float32)
        smooth = np.fft.irfft2(np.fft.rfft2(frame) * (np.arange(shape[1] // 2 + 1) < shape[1] // 14), shape)
        frame = (smooth - smooth.min()).astype(np.float32)
        tracker = peace.Tracker(peace.Optics(shape=shape), window=20, lag_zero=False)
        plain = median(lambda frame=frame, shape=shape: np.fft.irfft2(
            np.abs(np.fft.rfft2(frame, [2 * n for n in shape], axes=(0, 1))) ** 2))
        alone = median(lambda frame=frame: images.correlate(frame, 96))
        whole = median(lambda frame=frame, tracker=tracker: tracker.update(frame))
        lines.append(f"| {shape[0]} x {shape[1]} | {1e3 * alone:.0f} ms | {1e3 * whole:.0f} ms | {1 / whole:.1f} "
                     f"| {1e3 * plain:.0f} ms | {whole / plain:.2f} |")
        print(lines[-1], flush=True)
    return lines


def labels() -> list[str]:
    path = ROOT / "build" / "peace" / "labels.json"
    if not path.is_file():
        return ["Not run: python benchmarks/peace_labels.py"]
    rows = json.loads(path.read_text())
    kinds = [key for key in rows[0] if key not in ("labelled", "weight", "steps")]
    lines = ["| labelled distributions | weight of the physics term | steps | " + " | ".join(kinds) + " |",
             "|---" * (3 + len(kinds)) + "|"]
    return lines + [f"| {row['labelled'] or 'all 120 000'} | {row['weight']:g} | {row['steps']} | "
                    + " | ".join(f"{row[kind]:.4f}" for kind in kinds) + " |" for row in rows]


if __name__ == "__main__":
    text = ["# Particle sizes from speckle: speed, and labels", "",
            f"Written by benchmarks/bench_peace.py: CPU time of one core (OMP_NUM_THREADS="
            f"{os.environ.get('OMP_NUM_THREADS', 'not set')}), median of {REPEATS}, which other work changes little; "
            f"{os.cpu_count()} logical cores, load {os.getloadavg()[0]:.0f}.",
            "", *timings(), "",
            "Mean distance of the cumulative curves by volume, 200 frames, 200 distributions a kind:", "", *labels(),
            ""]
    (ROOT / "benchmarks" / "PEACE.md").write_text("\n".join(text))
