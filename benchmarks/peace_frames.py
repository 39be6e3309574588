"""Simulated frames through a camera to sizes, end to end: the published law against the number of grains known.

    python benchmarks/peace_frames.py [most]     # default 200 frames; about five minutes of one core

Grains at random (5000 lit), and beds of grains side by side. Results go to build/peace/frames.json, from which
benchmarks/bench_peace.py makes its tables.
"""

import json
import sys
from pathlib import Path

import numpy as np

from evae_companion import peace
from evae_companion.peace import end_to_end, sizes

ROOT = Path(__file__).resolve().parents[1]
CAMERA = peace.Optics(pixel=9.6e-6, crop=64, shape=(512, 512))
GRID = sizes.size_grid()
GRAINS = 5000
RANDOM = ((100e-6, 0.3), (150e-6, 0.3), (200e-6, 0.2), (300e-6, 0.3), (400e-6, 0.2))  # m, width
BEDS = ((100e-6, 0.3, 371), (100e-6, 0.2, 200), (150e-6, 0.2, 100), (200e-6, 0.2, 60))  # and lit grains


def two_peaks(one=150e-6, two=450e-6):
    return sizes.numbers(sum(sizes.weighted(sizes.lognormal(GRID, m, 0.1), GRID, sizes.VOLUME) for m in (one, two)) / 2,
                         GRID, sizes.VOLUME)


def covered(p, grains: int) -> float:
    """Share of the lit area that so many grains cover, counting those under others."""
    return grains * float(p @ GRID**2) / (CAMERA.beam_diameter / 2) ** 2


def main(most: int = 200) -> None:
    counts = [n for n in (10, 50, 200) if n <= most]
    rows, path = {"random": {}, "beds": []}, ROOT / "build" / "peace" / "frames.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    for seed, p in enumerate([*(sizes.lognormal(GRID, *one) for one in RANDOM), two_peaks()]):
        known = {"published law": {}, "grains": {"grains": GRAINS}, "coverage": {"coverage": covered(p, GRAINS)}}
        rehearsed = end_to_end.rehearse(CAMERA, p, GRID, counts, known, grains=GRAINS, seed=seed)
        for words, method, count, found in rehearsed:
            rows["random"].setdefault(f"{words}/{method}/{count}", []).append(end_to_end.distance(found, p, GRID))
        print("random", seed, flush=True)
    for median, width, grains in BEDS:
        p = sizes.lognormal(GRID, median, width)
        told = {"published law": {}, "grains": {"grains": grains, "overlap": False},
                "coverage": {"coverage": covered(p, grains), "overlap": False}}
        rehearsed = end_to_end.rehearse(CAMERA, p, GRID, [50], told, grains=grains, overlap=False,
                                        methods=("peace", "plain"), seed=3)
        for words, method, count, found in rehearsed:
            rows["beds"].append({"median": median, "width": width, "grains": grains, "covered": covered(p, grains),
                                 "known": words, "method": method, "frames": count, "d50": found.d(50)[0],
                                 "misfit": found.misfit, "distance": end_to_end.distance(found, p, GRID)})
            print(rows["beds"][-1], flush=True)
    rows["random"] = {key: float(np.mean(values)) for key, values in rows["random"].items()}
    path.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:2]))
