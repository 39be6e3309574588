"""A measured autocorrelation, checked in plain words, its scale, height and noise -> what every estimator takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from evae_companion.peace import inverse
from evae_companion.peace import sizes as s
from evae_companion.peace.calibration import Calibration, ScaleCalibration, rescaled
from evae_companion.peace.images import Autocorrelation
from evae_companion.peace.law import beam
from evae_companion.peace.optics import MAX_CROP, Optics
from evae_companion.peace.reduction import Reduction, matrix_of, reduce_cut, reduce_image
from evae_core.validation import check_array, check_choice

PACKED = 4.0  # how many times their number grains without overlap count for the noise of the surface (measured: 4.7)
SPIKE = 4.0  # standard errors by which lag 0 must stand out before it is taken for the camera's noise
UNITS = ("pixels", "metres")


@dataclass(frozen=True)
class Measured:
    """P^2 at the nodes. ``squared``, ``spread``, ``beam2`` (nodes,); ``covariance`` (nodes, nodes) with what scale and
    height may be off by, ``noise`` and ``spread``, the root of its diagonal, without; ``doubt`` (2,): standard errors
    of scale and height; ``seen`` (nodes,); ``crop`` or ``lags``: of the image or the cut; ``strength``: of the law's
    first term in the autocorrelation as :func:`checked` gives it."""

    nodes: np.ndarray
    squared: np.ndarray
    spread: np.ndarray
    covariance: np.ndarray
    noise: np.ndarray
    doubt: np.ndarray
    beam2: np.ndarray
    seen: np.ndarray
    found: Calibration
    notes: tuple[str, ...]
    crop: int | None
    lags: tuple[float, ...] | None
    strength: float


@lru_cache(8)
def reduction_of(optics: Optics, crop: int | None, lags: tuple[float, ...] | None,
                 nodes: tuple[float, ...]) -> Reduction:
    """Kept, for a stream of images of the same optics."""
    return reduce_cut(optics, lags, np.array(nodes)) if crop is None else reduce_image(optics, crop, np.array(nodes))


@lru_cache(8)
def gauge_of(optics: Optics, crop: int | None, lags: tuple[float, ...] | None) -> ScaleCalibration:
    """Kept likewise."""
    return ScaleCalibration(optics, crop, None if lags is None else np.array(lags))


def measure(autocorrelation: Any, optics: Optics, nodes: np.ndarray, *, lags: Any = None, unit: str = "pixels",
            frames: float | None = None, grains: float | None = None, calibration: float = 0.0,
            lag_zero: bool | None = None, taken: Any = None) -> Measured:
    """Everything that estimators need of an autocorrelation; parameters and errors: see ``peace.estimate``.

    ``taken``: to be taken off what :func:`checked` gives, at its points, before anything else; lag 0 then counts only
    where it is trusted (``lag_zero`` False). None: nothing."""
    values, crop, cut, counted = checked(autocorrelation, optics, lags, unit)
    norm = 1.0
    if taken is not None:
        values = values - taken
        norm = _at_zero(values, optics, crop, cut)
        values = values / norm
    reduction = reduction_of(optics, crop, cut, tuple(nodes))
    if reduction.seen.sum() < 8:
        raise ValueError(f"the lags reach only {reduction.seen.sum()} of {len(nodes)} wave numbers at which networks "
                         f"were trained, {nodes[0]:.4g} to {nodes[-1]:.4g} 1/m; train for these optics: "
                         "peace.estimate(..., networks=[peace.train(optics, shape=peace.Shape(node=optics.q_step))])")
    frames = counted if frames is None else frames
    has_zero = cut is None or min(abs(x) for x in cut) < 1e-9
    grains = _grains(reduction(values), reduction, frames, optics) if grains is None else grains
    found, notes = Calibration(1.0, 0.0, 1.0, 0.0, frames or 0.0, np.nan), []
    if frames is None or calibration > 0 or lag_zero is not False or not has_zero:
        gauge = gauge_of(optics, crop, cut)

        def fit(free: bool) -> Calibration:
            return gauge.fit(values, frames=frames, grains=grains, trust=calibration, free_height=free)

        free = fit(True) if not has_zero or lag_zero is not False else None
        spike = free is not None and has_zero and lag_zero is None and (free.misfit < 3 or taken is not None) \
            and 1 - free.height > SPIKE * free.height_error
        # every camera's noise sits on lag 0: where it is not seen to stand out it spoils the height all the same
        filmed = lag_zero is None and isinstance(autocorrelation, Autocorrelation)
        if free is not None and (spike or filmed or lag_zero is True or not has_zero or taken is not None):
            found = free
            if spike:
                notes.append(f"lag 0 stands out by {100 * (1 / free.height - 1):.2g} % of the speckle's own variance: "
                             "taken for the camera's noise and left out (lag_zero=False trusts it)")
        elif calibration > 0 or frames is None:
            found = fit(False)
    frames = found.frames if frames is None else frames
    squared = _at(optics, found.scale, values, nodes, crop, cut, reduction) / found.height
    covariance = plain = reduction.covariance(frames, frames * grains)
    if found.scale_error > 0:
        low, high = (_at(optics, found.scale + d, values, nodes, crop, cut, reduction) / found.height
                     for d in (-found.scale_error, found.scale_error))
        slope = np.nan_to_num((high - low) / 2)
        covariance = covariance + np.outer(slope, slope)
    if found.height_error > 0:
        moved = np.nan_to_num(squared) * found.height_error / found.height
        covariance = covariance + np.outer(moved, moved)
    spread = np.where(reduction.seen, np.sqrt(np.diag(plain).clip(0)), np.inf)
    doubt = np.array([found.scale_error, found.height_error / found.height])
    return Measured(nodes, squared, spread, covariance, plain, doubt, reduction.beam2, reduction.seen, found,
                    tuple(notes), crop, cut, found.height * norm)


def _at(optics: Optics, scale: float, values: Any, nodes: np.ndarray, crop: int | None, cut: Any,
        reduction: Reduction) -> np.ndarray:
    """P^2 with wave numbers ``scale`` times as large; the noise at given wave numbers hardly changes with it."""
    if scale == 1.0:
        return reduction(values)
    matrix, _ = matrix_of(rescaled(optics, scale), nodes, crop, None if cut is None else np.array(cut))
    return replace(reduction, matrix=matrix)(values)


def _at_zero(values: np.ndarray, optics: Optics, crop: int | None, cut: tuple[float, ...] | None) -> float:
    """What lag 0, or the lag next to it, says of the height of the law."""
    if crop is not None:
        return float(values[crop // 2, crop // 2])
    lags = np.array(cut)
    nearest = int(np.argmin(np.abs(lags)))
    return float(values[nearest] / beam(optics, lags[nearest] * optics.q_step, 0.0)[0, 0])


def _grains(squared: Any, reduction: Reduction, frames: float | None, optics: Optics) -> float:
    """Independent grains in a frame, from the curvature."""
    count = 200.0 if frames is None else frames
    first = reduction.covariance(count, count * independent_grains(optics, 300e-6))
    effective, error = inverse.effective_radius(squared, reduction.nodes, first)
    return independent_grains(optics, effective if effective > 2 * error else 100e-6)


def independent_grains(optics: Optics, effective: float) -> float:
    """Independent grains in a frame of a powder of effective radius r: the lit area over pi r^2, times PACKED.

    Grains that lie side by side cover the surface more evenly than grains at random."""
    return float(max(1.0, PACKED * optics.lit_area / (np.pi * max(effective, s.LOW) ** 2)))


def checked(autocorrelation: Any, optics: Optics, lags: Any = None, unit: str = "pixels",
            ) -> tuple[np.ndarray, int | None, tuple[float, ...] | None, float | None]:
    """(values, crop or None, lags in pixels or None, frames of the optics' camera or None): about 1 at lag 0."""
    frames = None
    if isinstance(autocorrelation, Autocorrelation):
        frames = autocorrelation.frames * autocorrelation.pixels / optics.pixels
        autocorrelation = autocorrelation.mean
    values = check_array("autocorrelation", autocorrelation, finite=False)
    check_choice("unit", unit, UNITS)
    if values.ndim not in (1, 2) or values.ndim == 2 and lags is not None:
        raise ValueError("autocorrelation must be an image (side, side), a cut (n,) with its lags, or what "
                         f"peace.autocorrelation() returns; got shape {values.shape}"
                         + (" with lags" if lags is not None else ""))
    if bad := int((~np.isfinite(values)).sum()):
        raise ValueError(f"autocorrelation holds {bad} values that are not finite (NaN or infinite); leave them out of "
                         "a cut, or mend the image")
    if values.size and values.max() == values.min():
        raise ValueError(f"autocorrelation is constant ({values.flat[0]:g}): there is no speckle in it")
    return *(_image(values, optics) if values.ndim == 2 else _cut(values, lags, unit, optics)), frames


def _image(values: np.ndarray, optics: Optics) -> tuple[np.ndarray, int, None]:
    side = min(values.shape)
    if side < 16:
        raise ValueError(f"an autocorrelation image must have at least 16 pixels along each side, lag 0 at "
                         f"[rows // 2, columns // 2], got {values.shape}")
    rows, columns = (n // 2 - side // 2 for n in values.shape)  # the largest square around lag 0
    values = values[rows:rows + side, columns:columns + side]
    axis = optics.lags(side)
    away = np.hypot(axis[:, None], axis)
    far = np.abs(axis * optics.q_step)
    _not_plain(values, values[side // 2, side // 2], away.ravel(), beam(optics, far, far).ravel())
    return values / values[side // 2, side // 2], side, None


def _cut(values: np.ndarray, lags: Any, unit: str, optics: Optics) -> tuple[np.ndarray, None, tuple[float, ...]]:
    lags = np.arange(len(values)) if lags is None else check_array("lags", lags) / (
        optics.pixel if unit == "metres" else 1.0)
    if lags.shape != values.shape or len(lags) < 8:
        raise ValueError(f"a cut needs one finite lag a value and at least 8 of them, got {values.shape} values and "
                         f"{lags.shape} lags")
    if len(np.unique(lags)) < len(lags):
        raise ValueError("the lags of a cut must differ from one another")
    if np.abs(lags).max() < 1:
        raise ValueError(f"the lags reach no further than {np.abs(lags).max():.3g} camera pixels; are they in metres? "
                         "Then say unit='metres'")
    if np.abs(lags).max() > MAX_CROP // 2:
        raise ValueError(f"the lags reach {np.abs(lags).max():.3g} camera pixels, at most {MAX_CROP // 2} are taken; "
                         f"is unit={unit!r} right?")
    beam2, nearest = beam(optics, lags * optics.q_step, 0.0)[0], int(np.argmin(np.abs(lags)))
    _not_plain(values, values[nearest] / beam2[nearest], np.abs(lags), beam2)
    return values * beam2[nearest] / values[nearest], None, tuple(lags.tolist())


def _not_plain(values: np.ndarray, centre: float, away: np.ndarray, beam2: np.ndarray) -> None:
    """Raise ValueError for an autocorrelation that is not largest at lag 0, has a flat top or a background."""
    values = values.ravel()
    if centre <= 0 or np.abs(values).max() > 1.001 * centre:
        raise ValueError(f"lag 0 must hold the largest value of the autocorrelation, got {centre:g} of "
                         f"{np.abs(values).max():g}; is lag 0 in the right place, and the background taken off?")
    top = int((values[away > 0] >= (1 - 1e-9) * centre).sum())
    if top > 1:
        raise ValueError(f"autocorrelation is saturated: {top} values beside lag 0 are as large as the one there")
    outside = (beam2 < 0.02) & (away > 0.5 * away.max())
    if outside.sum() >= 4 and np.median(values[outside]) > 0.1 * centre:
        raise ValueError(f"autocorrelation does not fall to 0: far from lag 0 it is still "
                         f"{np.median(values[outside]) / centre:.2f} of its largest value; take the background off "
                         "(the mean intensity squared)")
