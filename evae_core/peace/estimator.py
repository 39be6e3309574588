"""The front door: a measured autocorrelation and its optics -> a size distribution with its uncertainty."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from safetensors import safe_open

from evae_core import weights
from evae_core.arguments import (
    check_choice,
    check_count,
    check_device,
    check_is,
    check_number,
    check_path,
    finite_array,
)
from evae_core.files import write_whole
from evae_core.peace import inverse, learning
from evae_core.peace import sizes as s
from evae_core.peace.images import Autocorrelation
from evae_core.peace.network import Shape, SizeNet
from evae_core.peace.optics import RADIUS, Optics
from evae_core.peace.reduction import Reduction, reduce_cut, reduce_image
from evae_core.weights import halved

METHODS = ("peace", "plain", "nnls", "tikhonov")  # plain: the network without physics
COARSE = 64  # sizes of the estimators that learn nothing
PACKED = 4.0  # how many times their number grains without overlap count for the noise of the surface (measured: 4.7)
FOLDER = Path(__file__).with_name("trained")


class OutsideRange(UserWarning):
    """The sizes are, or may be, outside of what the estimators are trained for, or the law does not fit the data."""


@dataclass(frozen=True)
class Estimate:
    """A size distribution. ``sizes`` (s,) in m by the convention of the optics; ``number``, ``volume`` (s,): shares
    that sum to 1; ``error_number``, ``error_volume`` (s,): expected absolute errors of their cumulative curves (NaN for
    nnls and tikhonov); ``effective`` = sqrt(<s^4>/<s^2>) in m from the curvature alone, with its standard error;
    ``misfit``: mean squared whitened residual a node, 1 where all of it is noise; ``notes``: what was warned of."""

    sizes: np.ndarray
    number: np.ndarray
    volume: np.ndarray
    error_number: np.ndarray
    error_volume: np.ndarray
    effective: tuple[float, float]
    misfit: float
    notes: tuple[str, ...] = field(default=())

    def d(self, percent: float, by: str = "volume") -> tuple[float, float, float]:
        """(d, low, high) in m: the size below which ``percent`` of the volume (or number) lies, and where it would be
        were the cumulative curve off by its error. ValueError for another percentage or ``by``."""
        if by not in ("volume", "number") or not 0 < percent < 100:
            raise ValueError(f"percent must lie between 0 and 100 and by be volume or number, got {percent!r}, {by!r}")
        w, error = (self.volume, self.error_volume) if by == "volume" else (self.number, self.error_number)
        middle = np.cumsum(w) - w / 2
        level = percent / 100

        def at(curve):
            return float(np.interp(level, np.maximum.accumulate(curve), self.sizes))

        if not np.isfinite(error).all():
            return at(middle), np.nan, np.nan
        return at(middle), at(np.clip(middle + error, 0, 1)), at(np.clip(middle - error, 0, 1))


def save(nets: Sequence[SizeNet], path) -> None:
    """Write an ensemble in half precision, with what its numbers mean in the header."""
    nets, path = _ensemble("nets", nets), check_path("path", path)
    tensors = {f"{i}.{name}": value.clone() for i, net in enumerate(nets)
               for name, value in halved(net.state_dict()).items()}
    header = {"shape": json.dumps(nets[0].shape.dictionary()), "members": str(len(nets))}
    write_whole(path, safetensors.torch.save(tensors, header | {"sha256": _digest(tensors, header)}))


def _digest(tensors: Mapping[str, torch.Tensor], header: Mapping[str, str]) -> str:
    """SHA-256 of what a file of networks holds."""
    found = hashlib.sha256(json.dumps([header["shape"], header["members"]]).encode())
    for name in sorted(tensors):
        value = tensors[name].contiguous().numpy()
        found.update(f"{name} {value.dtype} {value.shape}".encode() + value.tobytes())
    return found.hexdigest()


def _ensemble(name: str, nets) -> list[SizeNet]:
    """``nets`` as a list; TypeError unless it is a sequence of networks of one shape, at least one."""
    if not isinstance(nets, (list, tuple)) or not nets or not all(isinstance(net, SizeNet) for net in nets):
        raise TypeError(f"{name} must be a list of networks from peace.train() or peace.load(), at least one, got "
                        f"{nets!r:.60}")
    if any(net.shape != nets[0].shape for net in nets):
        raise ValueError(f"{name} must have one shape")
    return list(nets)


def load(path, device="cpu") -> list[SizeNet]:
    """Read what :func:`save` wrote. Raises RuntimeError where the file is missing or holds something else, ValueError
    where it is damaged."""
    path = check_path("path", path)
    check_device(device)
    if not path.is_file():
        raise RuntimeError(f"path {path} is not there; train networks with peace.train(optics) and pass "
                           "them as networks=[...]")
    tensors = weights.read(path)
    with safe_open(path, "pt") as file:
        header = file.metadata() or {}
    if not {"shape", "members", "sha256"} <= header.keys():
        raise RuntimeError(f"{path} holds no ensemble of this package")
    if _digest(tensors, header) != header["sha256"]:
        raise ValueError(f"{path} is damaged: its SHA-256 is not the one that was written with it")
    shape, nets = Shape(**json.loads(header["shape"])), []
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


def predict(nets: Sequence[SizeNet], squared, spread) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean over an ensemble of (area, number, volume) weights (..., s), and the expected absolute error of the
    cumulative curves by number and by volume (..., 2, s): the mean of the members' own, and the members'
    disagreement."""
    device = nets[0].ratio.device
    given = [torch.as_tensor(np.array(x), dtype=torch.float32, device=device) for x in (squared, spread)]
    with torch.no_grad():
        found = [net(*given) for net in nets]
    area, number, volume = (torch.stack([getattr(f, name) for f in found]).double().cpu().numpy()
                            for name in ("area", "number", "volume"))
    curves = np.stack((number, volume), -2).cumsum(-1)
    own = torch.stack([f.spread for f in found]).double().mean(0).cpu().numpy()
    return area.mean(0), number.mean(0), volume.mean(0), np.hypot(own, curves.std(0))


@lru_cache(8)
def _reduction(optics: Optics, crop: int | None, lags: tuple | None, nodes: tuple) -> Reduction:
    """Kept, for a stream of images of the same optics."""
    return reduce_cut(optics, lags, np.array(nodes)) if crop is None else reduce_image(optics, crop, np.array(nodes))


def _measured(autocorrelation, optics: Optics, lags, nodes) -> tuple[np.ndarray, Reduction, float | None]:
    """(values, reduction, frames) of what was given, checked and normalised; frames in units of the optics' camera."""
    frames = None
    if isinstance(autocorrelation, Autocorrelation):
        frames = autocorrelation.frames * autocorrelation.pixels / optics.pixels
        autocorrelation = autocorrelation.mean
    values = finite_array("autocorrelation", autocorrelation).copy()
    if values.ndim == 2 and lags is None:
        if values.shape[0] != values.shape[1] or len(values) < 16:
            raise ValueError(f"an autocorrelation image must be square with at least 16 pixels along a side, lag 0 at "
                             f"[side // 2, side // 2], got {values.shape}")
        centre = values[len(values) // 2, len(values) // 2]
        reduction = _reduction(optics, len(values), None, tuple(nodes))
    elif values.ndim == 1:
        lags = np.arange(len(values)) if lags is None else finite_array("lags", lags)
        if lags.shape != values.shape or len(lags) < 8:
            raise ValueError(f"a cut needs one lag (in camera pixels) a value and at least 8 of them, got "
                             f"{values.shape} values and {lags.shape} lags")
        centre = values[np.argmin(np.abs(lags))] if np.abs(lags).min() < 1e-9 else 1.0
        reduction = _reduction(optics, None, tuple(lags.tolist()), tuple(nodes))
    else:
        raise ValueError("autocorrelation must be an image (side, side), a cut (n,) with its lags, or what "
                         f"peace.autocorrelation() returns; got shape {values.shape}")
    if centre <= 0 or np.abs(values).max() > 1.001 * centre:
        raise ValueError(f"lag 0 must hold the largest value of the autocorrelation, got {centre:g} of "
                         f"{values.max():g}; is lag 0 in the right place, and the background taken off?")
    if reduction.seen.sum() < 8:
        raise ValueError(f"the lags reach only {reduction.seen.sum()} of {len(nodes)} wave numbers at which networks "
                         f"were trained, {nodes[0]:.4g} to {nodes[-1]:.4g} 1/m; train for these optics: "
                         "peace.estimate(..., networks=[peace.train(optics, shape=peace.Shape(node=optics.q_step))])")
    return values / centre, reduction, frames


def independent_grains(optics: Optics, effective: float) -> float:
    """Independent grains in a frame of a powder of effective radius r: the lit area over pi r^2, times PACKED.

    Grains that lie side by side cover the surface more evenly than grains at random."""
    area = np.pi * optics.beam_diameter**2 / 4 if optics.mask is None else \
        optics.mask.sum() ** 2 / (optics.mask**2).sum() * optics.mask_spacing**2
    return max(1.0, PACKED * area / (np.pi * max(effective, s.LOW) ** 2))


def noise_covariance(squared, reduction: Reduction, radii, frames, grains, optics: Optics) -> np.ndarray:
    """Covariance of P^2 for so many frames and independent grains a frame; what is not given is taken from the data.

    Grains: from the curvature. Frames: from what non-negative least squares leave over.
    """
    first = reduction.covariance(200, 200 * independent_grains(optics, 300e-6)) if frames is None else \
        reduction.covariance(frames, frames * independent_grains(optics, 300e-6))
    if grains is None:
        effective, error = inverse.effective_radius(squared, reduction.nodes, first)
        grains = independent_grains(optics, effective if effective > 2 * error else 100e-6)
    if frames is None:
        guess = reduction.covariance(200, 200 * grains)
        misfit = inverse.nonnegative(squared, reduction.nodes, guess, radii).misfit
        frames = 200 / max(1.3 * misfit, 1e-2)  # 1.3: what the fit takes of the noise
    return reduction.covariance(frames, frames * grains)


def estimate(autocorrelation, optics: Optics | None = None, *, lags=None, frames: float | None = None,
             grains: float | None = None, method: str = "peace", networks: Sequence[SizeNet] | None = None,
             tune: int = 0) -> Estimate:
    """The size distribution behind a measured autocorrelation.

    Parameters
    ----------
    autocorrelation : image (side, side), lag 0 at [side // 2, side // 2]; a cut (n,); or what
        :func:`~evae_core.peace.autocorrelation` returns. Background-free; it is divided by its value at lag 0.
    optics : default: the published set-up.
    lags : (n,) of a cut, in camera pixels; default 0, 1, 2, ...
    frames : averaged frames of the optics' camera; default: what the autocorrelation says, else the noise is
        estimated from the residual of non-negative least squares.
    grains : independent grains seen in one frame, which set the noise at small lags; default: from the curvature, for
        grains side by side (see :func:`independent_grains`). inf: none of that noise.
    method : "peace", "plain" (the network without physics), "nnls" or "tikhonov".
    networks : an ensemble of your own, from :func:`~evae_core.peace.train`; default: what comes with the package.
    tune : optimiser steps on this autocorrelation by the physics term alone ("peace" only).

    Warns OutsideRange where sizes are not within what was trained, or the law does not fit: nothing is clipped
    silently.

    Raises
    ------
    TypeError, ValueError
        an autocorrelation of another shape, not finite, too small, or not largest at lag 0; an unknown method;
        frames not positive; optics whose lags miss the wave numbers of the networks.
    """
    check_choice("method", method, METHODS)
    if frames is not None:
        check_number("frames", frames, 1e-6, 1e12)
    if grains is not None and not (isinstance(grains, float) and grains == np.inf):
        check_number("grains", grains, 1e-3)
    check_count("tune", tune, 0, 10**5)
    if networks is not None:
        networks = _ensemble("networks", networks)
    check_is("optics", optics, Optics, type(None))
    optics = optics or Optics()
    if networks is None and method in ("peace", "plain"):
        networks = trained(method)
    shape = networks[0].shape if networks else Shape()
    radii = np.linspace(shape.low, shape.high, shape.count if method in ("peace", "plain") else COARSE)
    nodes = shape.node * np.arange(1, shape.nodes + 1)
    values, reduction, counted = _measured(autocorrelation, optics, lags, nodes)
    squared = reduction(values)
    coarse = np.linspace(shape.low, shape.high, COARSE)
    covariance = noise_covariance(squared, reduction, coarse, counted if frames is None else frames, grains, optics)
    spread = np.where(reduction.seen, np.sqrt(np.diag(covariance).clip(0)), np.inf)
    if method in ("nnls", "tikhonov"):
        smooth = 0.0 if method == "nnls" else None
        number = inverse.nonnegative(squared, nodes, covariance, radii, smooth=smooth).numbers
        volume, errors = s.weighted(number, radii, s.VOLUME), np.full((2, len(radii)), np.nan)
    else:
        if tune:
            networks = learning.fine_tune(networks, squared[None], spread[None], reduction.beam2, steps=tune)
        _, number, volume, errors = predict(networks, squared, spread)
    white = inverse.whitening(covariance[np.ix_(reduction.seen, reduction.seen)])
    misfit = float(np.mean((white @ (learning.squared_of(number, radii, nodes) - squared)[reduction.seen]) ** 2))
    effective = inverse.effective_radius(squared, nodes, covariance)
    to_size = 1 / RADIUS[optics.size]
    best = inverse.nonnegative(squared, nodes, covariance, coarse).misfit  # of any distribution at all
    notes = tuple(_notes(radii, volume, effective, best, to_size))
    for note in notes:
        warnings.warn(note, OutsideRange, stacklevel=2)
    return Estimate(radii * to_size, number, volume, *errors, tuple(x * to_size for x in effective), misfit, notes)


def _notes(radii, volume, effective, best: float, to_size: float):
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
               "the beam, the focal length and the size's convention right?")
