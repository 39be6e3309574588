"""A powder that changes while it is watched, as in drying: a size distribution after every frame, in real time."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from evae_companion.peace import sizes as s
from evae_companion.peace.estimator import Estimate, OutsideRange, estimate
from evae_companion.peace.images import check_frame, correlate
from evae_companion.peace.optics import Optics
from evae_core.validation import check_is, check_number


class Tracker:
    """Forgets exponentially: the autocorrelation is a running mean over about ``window`` frames.

    ``update(frame)`` takes one image and returns the estimate after it. The networks and the optics' reduction are
    loaded with the first frame; warnings of single estimates are kept in their ``notes`` alone. ``options``: of
    :func:`~evae_companion.peace.estimate`; the optics' scale is trusted (calibration 0) where they do not say
    otherwise. Say ``lag_zero=True`` for a camera with noise; with False, the fastest, lag 0 is trusted.
    """

    def __init__(self, optics: Optics | None = None, window: float = 20.0, **options: Any):
        check_is("optics", optics, Optics, type(None))
        check_number("window", window, 1.0, equal=True)
        self.optics, self.window, self.options = optics or Optics(), window, {"calibration": 0.0, **options}
        self.mean: np.ndarray | None = None
        self.seen = 0

    def update(self, frame: Any) -> Estimate:
        """The estimate after one more image (ny, nx); errors as for one frame of ``peace.autocorrelation``."""
        frame = check_frame(frame, self.seen + 1, 2 * self.optics.crop)
        found = correlate(frame, self.optics.crop)
        return self.add(found / found[self.optics.crop // 2, self.optics.crop // 2], frame.size)

    def add(self, autocorrelation: Any, pixels: int | None = None) -> Estimate:
        """The same of an autocorrelation (crop, crop) that was made elsewhere."""
        self.seen += 1
        share = max(1 / self.seen, 1 / self.window)
        now = np.asarray(autocorrelation, np.float64)
        self.mean = now if self.mean is None else self.mean + share * (now - self.mean)
        # A running mean with weights (1 - a)^k a has the noise of (2 - a) / a frames
        frames = min(self.seen, 2 * self.window - 1) * (pixels or self.optics.pixels) / self.optics.pixels
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OutsideRange)
            return estimate(self.mean, self.optics, frames=frames, **self.options)


def break_up(sizes: np.ndarray, frames: int, *, lumps: float = 700e-6, grains: float = 250e-6, width: float = 0.15,
             middle: float = 0.5, sharpness: float = 12.0) -> Iterator[np.ndarray]:
    """Distributions (s,) by number of lumps that break up into grains: the lumps' share of the volume falls from 1 to 0
    along a logistic curve in time, centred at ``middle`` of the run."""
    parts = [s.weighted(s.lognormal(sizes, np.array(m), np.array(width)), sizes, s.VOLUME) for m in (lumps, grains)]
    for t in np.linspace(0, 1, frames):
        share = 1 / (1 + np.exp(sharpness * (t - middle)))
        yield s.numbers(share * parts[0] + (1 - share) * parts[1], sizes, s.VOLUME)
