"""The optics of a speckle measurement: one frozen dataclass, SI units, and the convention of size spelled out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from evae_core.validation import check_array, check_choice, check_count, check_number, check_numbers

# The law knows a grain's radius r. What a powder's "size" is, is a convention: r = RADIUS[convention] * size.
# "published": the size reported (a diameter, elsewhere) stands where the law has r, as in the public code of the
# method, and public measurements agree better with that than with half of it; "radius": the size is the radius;
# "diameter": the size is the diameter.
RADIUS = {"published": 1.0, "radius": 1.0, "diameter": 0.5}

MAX_PIXELS = 2**16  # along a side of a camera
MAX_CROP = 2**12  # the reduction's arrays grow as its square


@dataclass(frozen=True, eq=False)
class Optics:
    """A laser beam on a powder, a lens, and a camera in its Fourier plane. Defaults: the published set-up.

    A shift of one camera pixel is a wave number ``q_step`` = 2 pi pixel / (wavelength focal_length). The focal length
    and the beam are inferred for the published set-up, not stated.

    Raises
    ------
    TypeError, ValueError
        a length that is not a positive finite number, a shape or crop that is not, a convention that is unknown, a
        mask that is not a square-pixel map of finite numbers >= 0, or that comes without its spacing.
    """

    wavelength: float = 532e-9  # m
    focal_length: float = 0.25  # m
    beam_diameter: float = 4.8e-3  # m, of the clear circular beam on the powder; not used where there is a mask
    pixel: float = 4.8e-6  # m, of the camera, after binning
    shape: tuple[int, int] = (1836, 2744)  # camera pixels (rows, columns): they set the noise of a frame
    crop: int = 96  # side of the autocorrelation that is kept, in pixels; lag 0 at [crop // 2, crop // 2]
    size: str = "published"  # convention: what a reported size is, see RADIUS
    mask: np.ndarray | None = None  # (my, mx) intensity of the beam on the powder, any unit; None: clear circle
    mask_spacing: float | None = None  # m, of the mask's pixels

    def __post_init__(self) -> None:
        for name in ("wavelength", "focal_length", "beam_diameter", "pixel"):
            check_number(name, getattr(self, name))
        check_choice("size", self.size, RADIUS)
        check_numbers("shape", self.shape, count=2)
        for side in self.shape:
            check_count("shape", side, 2, MAX_PIXELS)
        check_count("crop", self.crop, 8, MAX_CROP)
        if self.mask is None:
            if self.mask_spacing is not None:
                raise ValueError("mask_spacing is given without a mask")
            return
        mask = check_array("mask", self.mask, (None, None))
        if mask.min() < 0 or mask.max() == 0:
            raise ValueError(f"mask must be a map (my, mx) of finite intensities >= 0, not all zero, got {mask.shape}")
        if self.mask_spacing is None:
            raise ValueError("mask needs mask_spacing, the side of its pixels on the powder in metres")
        check_number("mask_spacing", self.mask_spacing)
        mask.setflags(write=False)
        object.__setattr__(self, "mask", mask)

    @property
    def q_step(self) -> float:
        """Wave number of a shift by one camera pixel, in 1/m."""
        return 2 * math.pi * self.pixel / (self.wavelength * self.focal_length)

    @property
    def pixels(self) -> int:
        """Camera pixels of a frame."""
        return self.shape[0] * self.shape[1]

    @property
    def lit_area(self) -> float:
        """Of the beam on the powder, in m^2; of a mask, (sum I)^2 / sum I^2."""
        if self.mask is None or self.mask_spacing is None:
            return math.pi * self.beam_diameter**2 / 4
        return float(self.mask.sum() ** 2 / (self.mask**2).sum() * self.mask_spacing**2)

    def radius(self, size: Any) -> Any:
        """The law's radius r of a reported ``size``, both in metres."""
        return RADIUS[self.size] * size

    def lags(self, count: int | None = None) -> np.ndarray:
        """Lags of one axis of a cropped autocorrelation of side ``count`` (default: crop), in pixels, 0 in the
        middle."""
        count = self.crop if count is None else count
        return np.arange(count) - count // 2
