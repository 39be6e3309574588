"""From simulated frames through a camera to sizes: what to expect of a measurement, end to end."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from evae_companion.peace import sizes as s
from evae_companion.peace.estimator import METHODS, Estimate, OutsideRange, estimate
from evae_companion.peace.images import autocorrelation
from evae_companion.peace.optics import Optics
from evae_companion.peace.simulator import camera, frames
from evae_core.validation import check_count

CAMERA: dict[str, Any] = {"photons": 500, "read": 0.02, "bits": 8}  # an ordinary one, see simulator.camera


def rehearse(optics: Optics, p: Any, sizes: Any, counts: Sequence[int], known: Mapping[str, Mapping[str, Any]], *,
             grains: int = 5000, overlap: bool = True, methods: Sequence[str] = METHODS, seed: int = 0,
             ) -> Iterator[tuple[str, str, int, Estimate]]:
    """Yield (words, method, count, estimate) for every entry of ``known``, method and count of averaged frames.

    Parameters
    ----------
    optics : its shape must be square: a simulated frame is as large.
    p, sizes : the powder, shares by number (s,) at sizes (m).
    counts : frames that are averaged, rising; all averages share their frames.
    known : what ``estimate`` is told besides, by words for it, e.g. {"published law": {}, "number": {"grains": 5000}}.
    grains, overlap : of the powder, see :func:`~evae_companion.peace.frames`.

    Raises ValueError where the shape is not square or counts do not rise.
    """
    counts = [check_count("counts", n, 1, 10**6) for n in counts]
    if optics.shape[0] != optics.shape[1] or sorted(set(counts)) != counts:
        raise ValueError(f"optics.shape must be square and counts rise, got {optics.shape} and {counts}")
    made = frames(optics, p, sizes, n=optics.shape[0], count=counts[-1], grains=grains, overlap=overlap, seed=seed)
    taken = [camera(frame, **CAMERA, seed=k).numpy().astype(np.uint8) for k, frame in enumerate(made)]
    for count in counts:
        measured = autocorrelation(taken[:count], optics.crop)
        for words, options in known.items():
            for method in methods:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", OutsideRange)  # it is in the notes
                    found = estimate(measured, optics, method=method, **options)
                yield words, method, count, found


def curve(found: Estimate, sizes: Any) -> np.ndarray:
    """The cumulative curve by volume at the middle of the grid's sizes, (s,)."""
    return np.interp(sizes, found.sizes, np.cumsum(found.volume) - found.volume / 2)


def distance(found: Estimate, p: Any, sizes: Any) -> float:
    """Mean |difference| over the sizes of the cumulative curves by volume, of an estimate and the truth p (s,)."""
    volume = s.weighted(np.asarray(p), np.asarray(sizes), s.VOLUME)
    return float(np.abs(curve(found, sizes) - np.cumsum(volume) + volume / 2).mean())
