"""From speckle images to their autocorrelation: background, FFT, normalisation, frames with error bars, radial
average."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import fft, ndimage

from evae_companion.peace.optics import MAX_CROP
from evae_core.validation import check_count, check_number, check_path

SUFFIXES = (".tif", ".tiff", ".png")
MAX_PIXELS = 2**26  # 8192 x 8192: beyond, an image is refused before it is decoded
# What Pillow raises of files that are no images: SyntaxError of a broken PNG, EOFError and struct.error of a cut TIFF.
BAD = (OSError, SyntaxError, EOFError, KeyError, IndexError, TypeError, ValueError, OverflowError, struct.error,
       zlib.error, Image.DecompressionBombError)
SATURATED = 0.01  # share of pixels at the largest value of a whole-number image above which a frame is refused


@dataclass(frozen=True)
class Autocorrelation:
    """``mean`` (crop, crop), lag 0 at [crop // 2, crop // 2], where it is 1; ``error``: its standard error over frames
    (None for fewer than two); ``frames``: how many; ``pixels`` of a frame."""

    mean: np.ndarray
    error: np.ndarray | None
    frames: int
    pixels: int


def read_images(folder: Any) -> Iterable[np.ndarray]:
    """Yield the tif and png images of a folder in the order of their names, (ny, nx) float64; colour is refused.

    Raises FileNotFoundError where there is none, ValueError for an image with colours, of more than MAX_PIXELS, or one
    that cannot be read. One page of one file is in memory at a time.
    """
    folder = check_path("folder", folder)
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise FileNotFoundError(f"no images ({', '.join(SUFFIXES)}) in {folder}")
    for path in paths:
        with _named(path):
            image = Image.open(path, formats=("TIFF", "PNG"))
        with image:
            with _named(path):
                count = getattr(image, "n_frames", 1)
            for k in range(count):
                with _named(path):
                    image.seek(k)
                if image.width * image.height > MAX_PIXELS:  # as the header claims: nothing is decoded yet
                    raise ValueError(f"{path} is refused: it claims {image.width} x {image.height} pixels, more than "
                                     f"{MAX_PIXELS}")
                with _named(path):
                    page = np.array(image)
                if page.ndim != 2:
                    raise ValueError(f"{path} has colours, shape {page.shape}; a speckle image has one channel")
                yield page


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """What Pillow raises of a file that is no image becomes a ValueError that names it."""
    try:
        yield
    except BAD as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from error


def check_frame(frame: Any, number: int, least: int) -> np.ndarray:
    """``frame`` as an array (ny, nx) where it can be used.

    Raises
    ------
    TypeError, ValueError
        not a real image (ny, nx); fewer than ``least`` pixels along a side; a value that is not finite; constant; of
        whole numbers of which more than 1 % are at the largest value of the type (8, 10, 12, 14 or 16 bits): saturated.
    """
    try:
        frame = np.asarray(frame)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"frame {number} must be a real image (ny, nx), got {type(frame).__name__}") from error
    if frame.ndim != 2 or frame.dtype.kind not in "uif":
        raise TypeError(f"frame {number} must be a real image (ny, nx), got shape {frame.shape}, dtype {frame.dtype}")
    if min(frame.shape) < least:
        raise ValueError(f"frame {number} has {frame.shape[0]} x {frame.shape[1]} pixels, too few for the lags asked: "
                         f"at least {least} along each side")
    if not np.isfinite(frame).all():
        raise ValueError(f"frame {number} holds values that are not finite")
    top = frame.max()
    if top == frame.min():
        raise ValueError(f"frame {number} is constant ({top:g}): there is no speckle in it")
    if top in [2**bits - 1 for bits in (8, 10, 12, 14, 16)] and (share := (frame == top).mean()) > SATURATED:
        raise ValueError(f"frame {number} is saturated: {100 * share:.1f} % of its pixels are at {top:g}; expose less")
    return frame


def correlate(frame: Any, crop: int, background: float | None = None) -> np.ndarray:
    """Unnormalised autocovariance (crop, crop) of one image (ny, nx), lag 0 at [crop // 2, crop // 2].

    cov(u) = sum_x I'(x) I'(x + u) / number of pairs of pixels, zero-padded so that nothing wraps around; I' = I / b - 1
    with the background b: the mean, or, where the illumination is uneven, the image smoothed by a Gaussian of standard
    deviation ``background`` in pixels.
    """
    ny, nx = frame.shape
    smooth = frame.mean() if background is None else ndimage.gaussian_filter(frame.astype(np.float64), background)
    if background is not None and smooth.min() <= 0:
        raise ValueError("the smoothed background is not positive everywhere; subtract the camera's dark level first, "
                         "or smooth over more pixels")
    signal = frame / smooth - 1
    signal = signal - signal.mean()
    shape = [fft.next_fast_len(n + crop // 2 + 1, real=True) for n in (ny, nx)]
    spectrum = fft.rfft2(signal, shape)
    found = fft.irfft2(np.abs(spectrum) ** 2, shape)
    lags = np.arange(crop) - crop // 2
    return found[np.ix_(lags, lags)] / np.outer(ny - np.abs(lags), nx - np.abs(lags))


def autocorrelation(frames: Any, crop: int = 96, *, background: float | None = None, camera_noise: float | None = 0.0,
                    ) -> Autocorrelation:
    """Background-free normalised autocovariance of speckle images, averaged over frames.

    Parameters
    ----------
    frames : images (ny, nx): an array (frames, ny, nx), an iterable of arrays (or tensors), or the path of a folder.
    crop : side of what is kept, in pixels.
    background : None, or pixels to smooth over where the illumination is uneven (many times the speckle's size).
    camera_noise : variance of white camera noise, (standard deviation / mean intensity)^2, taken from lag 0; None:
        estimated, as what lag 0 is above the parabola through lags 1 and 2 along both axes (speckle at least 4 pixels
        wide).

    Raises
    ------
    TypeError, ValueError
        see :func:`check_frame`, :func:`read_images`; no frame; a noise not less than the variance.
    """
    check_count("crop", crop, 8, MAX_CROP)
    if background is not None:
        check_number("background", background, 0.0, MAX_CROP)
    if camera_noise is not None:
        check_number("camera_noise", camera_noise, equal=True)
    if not isinstance(frames, (str, Path, Iterable)):
        raise TypeError(f"frames must be images (ny, nx) or the path of a folder, got {type(frames).__name__}")
    if isinstance(frames, (str, Path)):
        frames = read_images(check_path("frames", frames))
    elif isinstance(frames, np.ndarray) and not frames.ndim:
        raise TypeError("frames must be images (ny, nx), got an array without an axis")
    total = np.zeros((crop, crop))
    square, count, pixels, c = np.zeros((crop, crop)), 0, 0, crop // 2
    for count, frame in enumerate(frames, 1):  # noqa: B007 the count is used below
        frame = check_frame(frame, count, 2 * crop)
        found, pixels = correlate(frame, crop, background), frame.size
        peak = found[c, c] - camera_noise if camera_noise is not None else \
            (4 * (found[c, c + 1] + found[c + 1, c]) - found[c, c + 2] - found[c + 2, c]) / 6
        if peak <= 0:
            raise ValueError(f"frame {count}: nothing of the variance {found[c, c]:.3g} at lag 0 is left without the "
                             f"background ({background}) and camera_noise ({camera_noise})")
        found = found / peak
        found[c, c] = 1.0
        total += found
        square += found**2
    if count == 0:
        raise ValueError("there are no frames")
    mean = total / count
    error = np.sqrt(np.maximum(square / count - mean**2, 0) / (count - 1)) if count > 1 else None
    return Autocorrelation(mean, error, count, pixels)


def radial(image: Any, error: Any = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over rings one pixel wide: (mean lag in pixels, mean, standard error of independent pixels or NaN), (crop //
    2,)."""
    image = np.asarray(image, np.float64)
    axis = np.arange(len(image)) - len(image) // 2
    radius = np.hypot(axis[:, None], axis)
    ring = np.rint(radius).astype(int)
    inside = ring < len(image) // 2
    count = np.bincount(ring[inside])

    def mean_of(values: Any) -> np.ndarray:
        return np.bincount(ring[inside], values[inside]) / count

    spread = np.full(len(count), np.nan) if error is None else np.sqrt(mean_of(np.asarray(error) ** 2) / count)
    return mean_of(radius), mean_of(image), spread
