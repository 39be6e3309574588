"""P^2 of any camera as the camera that the networks were trained for would show it.

Where a pixel is another wave number, or the beam another, the noise of neighbouring nodes is correlated in another way,
and a node averages over another neighbourhood; networks take both for structure (with pixels twice as large, ten times
the error; with a beam of 4.6 mm instead of 4.8, 157 um for 100). So P^2
- 1 is fitted by least squares of its own noise to the principal functions of the families (module calibration), each
averaged as the reduction averages, and put together again from the functions as the networks' camera averages them. Its
noise is told as so many times that camera's own, by what both leave in the fit. A cut at whole pixels is left as it is
where pixel and beam are the networks', which saw such cuts.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from evae_companion.peace.calibration import WEAK, principal
from evae_companion.peace.law import beam
from evae_companion.peace.measured import Measured, reduction_of
from evae_companion.peace.network import Shape
from evae_companion.peace.optics import Optics
from evae_companion.peace.reduction import Reduction

ALIKE_PIXEL = 0.01  # relative difference of a pixel's wave number that makes no difference
ALIKE = 0.001  # of the beam's diameter
RIDGE = 1e-3  # of the noise's variance, taken for independent
FRAMES, GRAINS = 200.0, 1e6  # of the networks' camera, for the shape of its noise


def resample_for(optics: Optics, data: Measured, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """(P^2, its standard deviation) (nodes,) for networks of a shape: trained with a pixel of the wave number
    ``shape.node`` and a clear beam of diameter ``shape.beam`` (None: with the beam of these optics)."""
    beam_alike = shape.beam is None or optics.mask is None and abs(optics.beam_diameter / shape.beam - 1) < ALIKE
    if beam_alike and abs(optics.q_step / shape.node - 1) < ALIKE_PIXEL:
        return data.squared, data.spread
    ours, theirs, prior, noise = _functions(optics, data.crop, data.lags, tuple(data.nodes), shape)
    # a height that is not 1 is the networks' to judge: it is kept
    prior = np.append(prior, data.doubt[1] ** 2 + 1e-12)
    ours, theirs = (np.hstack((x, np.ones((len(x), 1)))) for x in (ours, theirs))
    seen = data.seen
    gain, left = _fit(ours[seen], theirs, prior, data.noise[np.ix_(seen, seen)])
    _, usual = _fit(theirs, theirs, prior, noise)
    ratio = np.exp(np.mean(np.log(left / usual)) / 2)
    return 1 + gain @ (data.squared[seen] - 1), np.sqrt(np.diag(noise)) * ratio


def _fit(from_: np.ndarray, to: np.ndarray, prior: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(gain (to, from), variance (to,) of what it makes of the noise) of the fit with a prior."""
    noise = noise + RIDGE * np.diag(np.diag(noise))
    whole = cho_factor(from_ * prior @ from_.T + noise)
    gain = (to * prior) @ cho_solve(whole, from_).T
    return gain, np.einsum("ij,jk,ik->i", gain, noise, gain)


@lru_cache(8)
def _functions(optics: Optics, crop: int | None, lags: tuple[float, ...] | None, nodes: tuple[float, ...],
               shape: Shape) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The functions as these optics average them and as the networks' (nodes, TERMS), their variance (TERMS,), and the
    noise of the networks' camera (nodes, nodes)."""
    there = replace(optics, pixel=optics.pixel * shape.node / optics.q_step, crop=Optics.crop, shape=Optics.shape)
    if shape.beam is not None:
        there = replace(there, beam_diameter=shape.beam, mask=None, mask_spacing=None)
    mine, usual = (reduction_of(o, c, at, nodes) for o, c, at in ((optics, crop, lags), (there, there.crop, None)))
    sets = [points(optics, crop, lags), points(there, there.crop, None)]
    functions, spread = principal(1.001 * max(float(q.max()) for q, _ in sets))

    def averaged(made: Reduction, q: np.ndarray, beam2: np.ndarray) -> np.ndarray:
        return made.matrix @ (beam2[:, None] * functions(q))

    ours, theirs = (averaged(made, *points) for made, points in zip((mine, usual), sets, strict=True))
    return ours, theirs, WEAK * spread**2, usual.covariance(FRAMES, GRAINS)


def points(optics: Optics, crop: int | None, lags: tuple[float, ...] | None) -> tuple[np.ndarray, np.ndarray]:
    """(q, |M|^2) of the points of an image or a cut."""
    if crop is None:
        q = np.array(lags) * optics.q_step
        return np.abs(q), beam(optics, q, 0.0)[0]
    axis = optics.lags(crop) * optics.q_step
    return np.hypot(axis[:, None], axis).ravel(), beam(optics, axis, axis).ravel()
