"""The front door: a measured autocorrelation and its optics -> a size distribution with its uncertainty."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import safe_open

from evae_companion.peace import camera_transfer, inverse, learning
from evae_companion.peace import sizes as s
from evae_companion.peace.calibration import WIDEST
from evae_companion.peace.grain_number import PASSES, Crowd
from evae_companion.peace.measured import PACKED, Measured, measure
from evae_companion.peace.network import Shape, SizeNet
from evae_companion.peace.optics import RADIUS, Optics
from evae_companion.store.serialization import atomic_write
from evae_companion.store.weights import halved
from evae_core.training import checkpoint
from evae_core.validation import (
    check_choice,
    check_count,
    check_device,
    check_flag,
    check_is,
    check_list,
    check_number,
    check_path,
)

METHODS = ("peace", "plain", "nnls", "tikhonov")  # plain: the network without physics
COARSE = 64  # sizes of the estimators that learn nothing
CALIBRATION = 0.01  # relative standard error of the optics' scale where nothing is said
FOLDER = Path(__file__).with_name("trained")


class OutsideRange(UserWarning):
    """The sizes are, or may be, outside of what the estimators are trained for, or the law does not fit the data."""


@dataclass(frozen=True)
class Estimate:
    """A size distribution. ``sizes`` (s,) in m by the convention of the optics; ``number``, ``volume`` (s,): shares
    that sum to 1; ``error_number``, ``error_volume`` (s,): expected absolute errors of their cumulative curves (NaN for
    nnls and tikhonov); ``effective`` = sqrt(<s^4>/<s^2>) in m from the curvature alone, with its standard error;
    ``misfit``: mean squared whitened residual a node, 1 where all of it is noise; ``scale``: true wave numbers over
    those of the optics, and ``height`` of the autocorrelation beside lag 0, each with its standard error, (1, 0) where
    they were taken as given; ``notes``: what was warned of."""

    sizes: np.ndarray
    number: np.ndarray
    volume: np.ndarray
    error_number: np.ndarray
    error_volume: np.ndarray
    effective: tuple[float, float]
    misfit: float
    scale: tuple[float, float] = (1.0, 0.0)
    height: tuple[float, float] = (1.0, 0.0)
    notes: tuple[str, ...] = field(default=())

    def d(self, percent: float, by: str = "volume") -> tuple[float, float, float]:
        """(d, low, high) in m: the size below which ``percent`` of the volume (or number) lies, and where it would be
        were the cumulative curve off by its error. ValueError for another percentage or ``by``."""
        check_choice("by", by, ("volume", "number"))
        check_number("percent", percent, below=100.0)
        w, error = (self.volume, self.error_volume) if by == "volume" else (self.number, self.error_number)
        middle = np.cumsum(w) - w / 2
        level = percent / 100

        def at(curve: Any) -> float:
            return float(np.interp(level, np.maximum.accumulate(curve), self.sizes))

        if not np.isfinite(error).all():
            return at(middle), np.nan, np.nan
        return at(middle), at(np.clip(middle + error, 0, 1)), at(np.clip(middle - error, 0, 1))


def save(nets: Sequence[SizeNet], path: Any) -> None:
    """Write an ensemble in half precision, with what its numbers mean in the header."""
    nets, path = _ensemble("nets", nets), check_path("path", path)
    tensors = {f"{i}.{name}": value.clone() for i, net in enumerate(nets)
               for name, value in halved(net.state_dict()).items()}
    header = {"shape": json.dumps(nets[0].shape.dictionary()), "members": str(len(nets))}
    atomic_write(path, safetensors.torch.save(tensors, header | {"sha256": _digest(tensors, header)}))


def _digest(tensors: Mapping[str, torch.Tensor], header: Mapping[str, str]) -> str:
    """SHA-256 of what a file of networks holds."""
    found = hashlib.sha256(json.dumps([header["shape"], header["members"]]).encode())
    for name in sorted(tensors):
        value = tensors[name].contiguous().numpy()
        found.update(f"{name} {value.dtype} {value.shape}".encode() + value.tobytes())
    return found.hexdigest()


def _ensemble(name: str, nets: Any) -> list[SizeNet]:
    """``nets`` as a list; TypeError unless it is a sequence of networks of one shape, at least one."""
    nets = check_list(name, nets, SizeNet)
    if any(net.shape != nets[0].shape for net in nets):
        raise ValueError(f"{name} must have one shape")
    return nets


def load(path: Any, device: Any = "cpu") -> list[SizeNet]:
    """Read what :func:`save` wrote. Raises RuntimeError where the file is missing or holds something else, ValueError
    where it is damaged."""
    path = check_path("path", path)
    check_device(device)
    if not path.is_file():
        raise RuntimeError(f"path {path} is not there; train networks with peace.train(optics) and pass "
                           "them as networks=[...]")
    tensors = checkpoint.read(path)
    with safe_open(path, "pt") as file:
        header = file.metadata() or {}
    if not {"shape", "members", "sha256"} <= header.keys():
        raise RuntimeError(f"{path} holds no ensemble of this package")
    if _digest(tensors, header) != header["sha256"]:
        raise ValueError(f"{path} is damaged: its SHA-256 is not the one that was written with it")
    shape, nets = Shape(**{"rounds": 0, **json.loads(header["shape"])}), []  # files from before there were rounds
    for i in range(int(header["members"])):
        net = SizeNet(shape)
        net.load_state_dict({name.split(".", 1)[1]: value.float() for name, value in tensors.items()
                             if name.startswith(f"{i}.")})
        nets.append(net.to(device).eval())
    return nets


@cache
def trained(method: str) -> tuple[SizeNet, ...]:
    """The networks that come with the package, by method: "peace" or "plain"."""
    return tuple(load(FOLDER / f"{method}.safetensors"))


def available() -> list[str]:
    """The methods whose networks come with the package."""
    return [method for method in ("peace", "plain") if (FOLDER / f"{method}.safetensors").is_file()]


def predict(nets: Sequence[SizeNet], squared: Any, spread: Any, doubt: Any = None,
            ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean over an ensemble of (area, number, volume) weights (..., s), and the expected absolute error of the
    cumulative curves by number and by volume (..., 2, s): the mean of the members' own, and the members'
    disagreement. ``doubt`` (..., 2): standard errors of scale and height, None: exact."""
    device = nets[0].ratio.device
    given = [torch.as_tensor(np.array(x), dtype=torch.float32, device=device)
             for x in (squared, spread, *(() if doubt is None else (doubt,)))]
    with torch.no_grad():
        found = [net(*given) for net in nets]
    area, number, volume = (torch.stack([getattr(f, name) for f in found]).double().cpu().numpy()
                            for name in ("area", "number", "volume"))
    curves = np.stack((number, volume), -2).cumsum(-1)
    own = torch.stack([f.spread for f in found]).double().mean(0).cpu().numpy()
    return area.mean(0), number.mean(0), volume.mean(0), np.hypot(own, curves.std(0))


def estimate(autocorrelation: Any, optics: Optics | None = None, *, lags: Any = None, unit: str = "pixels",
             frames: float | None = None, grains: float | None = None, coverage: float | None = None,
             overlap: bool = True, calibration: float = CALIBRATION,
             lag_zero: bool | None = None, method: str = "peace", networks: Sequence[SizeNet] | None = None,
             tune: int = 0) -> Estimate:
    """The size distribution behind a measured autocorrelation.

    Parameters
    ----------
    autocorrelation : image (rows, columns), lag 0 at [rows // 2, columns // 2], of which the largest square around lag
        0 counts; a cut (n,); or what :func:`~evae_companion.peace.autocorrelation` returns. Background-free; it is
        divided by its value at lag 0.
    optics : default: the published set-up.
    lags : (n,) of a cut, in camera pixels or, with ``unit="metres"``, in metres on the camera; default 0, 1, 2, ...
        Lag 0 may be missing.
    frames : averaged frames of the optics' camera; default: what the autocorrelation says, else what its own noise
        amounts to.
    grains : lit grains in one frame. They set the noise at small lags, and the term of their number (see the module
        crowd), which is then taken off, lag 0 ignored unless ``lag_zero`` is False. Default: that noise from the
        curvature, for grains side by side, and no such term, as in the published law. inf: neither.
    coverage : instead of ``grains``, the share of the lit area that they cover, 0.6 to 0.9 for a bed of powder.
    overlap : whether grains lie at random, one over another; False: side by side, as hard discs do, with a term that is
        smaller where lags are small (law.packing).
    calibration : relative standard error of the optics' scale (focal length, beam width, pixel). The scale is then
        found from the data (see the module calibration) and the error told grows by what stays uncertain; 0: trusted.
    lag_zero : None: ignored in what :func:`~evae_companion.peace.autocorrelation` returns of images; elsewhere, where
    lag 0
        stands out from its neighbours it is taken for the camera's noise, with a note; True: lag 0 is always ignored;
        False: always trusted.
    method : "peace", "plain" (the network without physics), "nnls" or "tikhonov".
    networks : an ensemble of your own, from :func:`~evae_companion.peace.train`; default: what comes with the package.
    tune : optimiser steps on this autocorrelation by the physics term alone ("peace" only).

    Warns OutsideRange where sizes are not within what was trained, or the law does not fit: nothing is clipped
    silently.

    Raises
    ------
    TypeError, ValueError
        grains and coverage both; an autocorrelation that is not real numbers, of another shape, not finite, constant,
        saturated, too small, not largest at lag 0, or with its background; lags that are not as many, or in metres
        without saying so; an unknown method; frames, calibration or tune out of range; optics whose lags miss the wave
        numbers of the networks.
    """
    check_choice("method", method, METHODS)
    if frames is not None:
        check_number("frames", frames, 1e-6, 1e12)
    if grains is not None and not (isinstance(grains, float) and grains == np.inf):
        check_number("grains", grains, 1e-3)
    if coverage is not None:
        check_number("coverage", coverage, 1e-3, 1e3)
        if grains is not None:
            raise ValueError("give grains or coverage, not both")
    check_flag("overlap", overlap)
    check_number("calibration", calibration, 0.0, WIDEST, equal=True)
    if lag_zero is not None:
        check_flag("lag_zero", lag_zero)
    if check_count("tune", tune, 0, 10**5) and method != "peace":
        raise ValueError(f"tune is for the method peace, got {method!r}")
    if networks is not None:
        networks = _ensemble("networks", networks)
    check_is("optics", optics, Optics, type(None))
    optics = optics or Optics()
    if networks is None and method in ("peace", "plain"):
        networks = trained(method)
    shape = networks[0].shape if networks else Shape()
    radii = np.linspace(shape.low, shape.high, shape.count if method in ("peace", "plain") else COARSE)
    nodes = shape.node * np.arange(1, shape.nodes + 1)
    known: dict[str, Any] = {"lags": lags, "unit": unit, "frames": frames, "calibration": calibration}
    taken: dict[str, Any] = {"grains": grains, "lag_zero": lag_zero, "taken": None}
    if coverage is not None or grains not in (None, np.inf):
        taken = _taken(autocorrelation, optics, nodes, Crowd(grains, coverage, overlap),
                       networks or trained("peace"), known, lag_zero)
    data = measure(autocorrelation, optics, nodes, **known, **taken)
    least = inverse.nonnegative(data.squared, data.nodes, data.covariance,
                                np.linspace(shape.low, shape.high, COARSE))
    number, volume, errors = _solved(data, optics, method, radii, networks, tune, least)
    white = inverse.whitening(data.covariance[np.ix_(data.seen, data.seen)])
    away = learning.squared_of(number, radii, data.nodes) - data.squared
    misfit = float(np.mean((white @ away[data.seen]) ** 2))
    effective = inverse.effective_radius(data.squared, data.nodes, data.covariance)
    to_size = 1 / RADIUS[optics.size]
    scale = data.found.scale, data.found.scale_error
    far = () if abs(scale[0] - 1) <= 2.5 * calibration + scale[1] else \
        (f"wave numbers are {scale[0]:.4f} +- {scale[1]:.4f} times the optics': focal length, beam width or pixel are "
         f"off by more than the calibration of {calibration:g} says",)
    notes = (*data.notes, *far, *_notes(radii, volume, effective, min(least.misfit, misfit), to_size,
                                   calibration))
    for note in notes:
        warnings.warn(note, OutsideRange, stacklevel=2)
    return Estimate(radii * to_size, number, volume, errors[0], errors[1],
                    (effective[0] * to_size, effective[1] * to_size), misfit,
                    scale, (data.found.height, data.found.height_error), notes)


def _taken(autocorrelation: Any, optics: Optics, nodes: np.ndarray, crowd: Crowd, nets: Sequence[SizeNet],
           known: Mapping[str, Any], lag_zero: bool | None) -> dict[str, Any]:
    """What :func:`measure` is told of the grains' number: the term to take off, as the networks' answers have it."""
    options: dict[str, Any] = {"grains": crowd.grains if crowd.overlap or crowd.grains is None else
                               PACKED * crowd.grains, "lag_zero": lag_zero, "taken": 0.0}
    radii = nets[0].radii.numpy()
    data = measure(autocorrelation, optics, nodes, **{**known, "calibration": 0.0}, **options)
    number = crowd.start(optics, data, radii)
    for turn in range(PASSES + 1):
        term, whole = crowd.term(optics, data.found.scale, data.crop, data.lags, number, radii)
        options["taken"] = data.strength * term
        if crowd.grains is None or not crowd.overlap:
            options["grains"] = 1 / whole
        if turn == PASSES:
            break
        data = measure(autocorrelation, optics, nodes, **known, **options)
        _, found, _, _ = predict(nets, *camera_transfer.resample_for(optics, data, nets[0].shape), data.doubt)
        if not crowd.better(optics, data, number, found, radii):
            break
        number = found
    return options


def _solved(data: Measured, optics: Optics, method: str, radii: np.ndarray,
            networks: Sequence[SizeNet] | None, tune: int,
            least: inverse.Fit) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(number, volume) shares (s,) and the expected errors of their cumulative curves (2, s); ``least``: NNLS's fit."""
    if networks is None or method in ("nnls", "tikhonov"):
        fit = least if method == "nnls" else \
            inverse.nonnegative(data.squared, data.nodes, data.covariance, radii, smooth=None)
        found = fit.numbers
        return found, s.weighted(found, radii, s.VOLUME), np.full((2, len(radii)), np.nan)
    squared, spread = camera_transfer.resample_for(optics, data, networks[0].shape)
    if tune:
        networks = learning.fine_tune(networks, squared[None], spread[None], data.beam2, data.doubt[None], steps=tune)
    _, number, volume, errors = predict(networks, squared, spread, data.doubt)
    return number, volume, errors


def _notes(radii: np.ndarray, volume: np.ndarray, effective: tuple[float, float], best: float, to_size: float,
           calibration: float) -> Iterator[str]:
    low, high = (x * 1e6 * to_size for x in s.TRUSTED)
    below, above = (float(volume[part].sum()) for part in (radii < s.TRUSTED[0], radii > s.TRUSTED[1]))
    size, error = (x * 1e6 * to_size for x in effective)
    if above > 0.1 or size - 2 * error > high:
        yield (f"sizes beyond {high:.0f} um, the largest trained for: {100 * above:.0f} % of the volume is put there, "
               f"the curvature alone says {size:.0f} um")
    if below > 0.1 or size + 2 * error < low:
        yield (f"sizes below {low:.0f} um, the smallest trained for: {100 * below:.0f} % of the volume is put there, "
               f"the curvature alone says {size:.0f} +- {error:.0f} um")
    elif size < 2 * error:
        yield "sizes are not resolved: the curvature at small lags is within its noise; take more frames"
    if best > 4:
        yield (f"no size distribution fits: the least mean squared residual is {best:.1f} times the noise's; are "
               "the beam, the focal length and the size's convention right?"
               + (" A larger calibration looks further for the scale." if calibration < 0.02 else ""))
