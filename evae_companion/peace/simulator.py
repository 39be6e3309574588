r"""Wave-optics speckle of a powder: grains in the beam, random phases, the Fourier plane by FFT, a camera. Batched
torch.

The object plane is an n x n grid whose spacing wavelength * focal_length / (n * pixel) makes one sample of the FFT one
camera pixel. A grain is a disc of radius r; it radiates over its whole disc where its centre is lit, with the beam's
intensity there, and with independent phases at the grid's points (a surface rough on the scale of the wavelength). So a
frame is |FFT(sqrt(W) exp(i phi))|^2 with W the sum of the discs. Edges of discs are one grid spacing wide, which keeps
their area to a few per cent for radii of two spacings and more.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evae_companion.peace.optics import Optics
from evae_core.validation import check_array, check_count, check_device, check_flag, check_is, check_number

MAX_POINTS = 2**13  # along a side of the object plane: complex numbers there take 8 bytes a point
MAX_GRAINS = 10**7


def spacing(optics: Optics, n: int) -> float:
    """Spacing of the object plane's grid of n x n points, in m."""
    return optics.wavelength * optics.focal_length / (n * optics.pixel)


def lit(optics: Optics, x: Any, y: np.ndarray) -> np.ndarray:
    """The beam's intensity at positions x, y (m, equal shapes), 1 at most: the clear circle, or the mask's pixels."""
    if optics.mask is None:
        return (np.hypot(x, y) <= optics.beam_diameter / 2).astype(np.float64)
    my, mx = optics.mask.shape
    row, column = (np.rint(u / optics.mask_spacing).astype(int) + m // 2 for u, m in ((y, my), (x, mx)))
    inside = (row >= 0) & (row < my) & (column >= 0) & (column < mx)
    return np.where(inside, optics.mask[row.clip(0, my - 1), column.clip(0, mx - 1)], 0.0) / optics.mask.max()


def reach(optics: Optics) -> float:
    """Half of the side of the square that holds the beam, in m."""
    if optics.mask is None:
        return optics.beam_diameter / 2
    return max(optics.mask.shape) / 2 * optics.mask_spacing


def scatter(optics: Optics, p: Any, sizes: Any, grains: int, rng: np.random.Generator, *, overlap: bool = True,
            length: float = 0.0, tries: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Positions (m) and radii (m) of grains in the beam's square, made longer by ``length`` along x: (k, 2), (k,).

    ``grains`` is the expected number of grains lit by a clear beam. Without overlap they are placed one after another,
    the largest first (random sequential adsorption), each where it touches none, or, after so many tries, not at all.

    Raises
    ------
    ValueError
        grains that is not a positive whole number; grains without overlap of which more than 2 % find no place.
    """
    check_count("grains", grains, 1)
    half = reach(optics)
    density = grains / (math.pi * half**2 if optics.mask is None else 4 * half**2)
    count = int(rng.poisson(density * 2 * half * (2 * half + length)))
    radii = optics.radius(rng.choice(sizes, count, p=np.asarray(p, np.float64) / np.sum(p)))
    if overlap:
        return np.stack((rng.uniform(-half, half + length, count), rng.uniform(-half, half, count)), 1), radii
    radii = np.sort(radii)[::-1]
    placed, taken = np.empty((count, 2)), np.empty(count)
    k = 0
    for r in radii:
        for _ in range(tries):
            at = rng.uniform((-half, -half), (half + length, half))
            if ((placed[:k] - at) ** 2).sum(1).min(initial=math.inf) and \
                    (((placed[:k] - at) ** 2).sum(1) >= (taken[:k] + r) ** 2).all():
                placed[k], taken[k] = at, r
                k += 1
                break
    if k < 0.98 * count:
        raise ValueError(f"only {k} of {count} grains found a place without overlap, they would cover "
                         f"{math.pi * (radii**2).sum() / (2 * half * (2 * half + length)):.2f} of the "
                         "surface; ask for fewer")
    return placed[:k], taken[:k]


def coverage(positions: Any, radii: np.ndarray, weights: Any, spacing: float, n: int) -> Tensor:
    """W: the sum of discs, each times its weight, on the n x n grid, (n, n) float32; origin at [n // 2, n // 2].

    Raises ValueError where discs reach beyond the grid: the beam is too wide for it.
    """
    keep = np.asarray(weights) > 0
    xy = torch.from_numpy(np.asarray(positions)[keep] / spacing + n // 2)
    r, weight = torch.from_numpy(np.asarray(radii)[keep] / spacing), torch.from_numpy(np.asarray(weights)[keep])
    out = torch.zeros(n * n)
    if len(r) and (bool((xy - r[:, None] < 1).any()) or bool((xy + r[:, None] > n - 2).any())):
        raise ValueError(f"grains in the beam reach beyond the object plane of {n * spacing:.3g} m; the beam must be "
                         "narrower, or the camera's pixels smaller")
    classes = torch.ceil(torch.log2(r.clamp(min=2.0)))  # stamps of one size for radii within a factor of two
    for c in classes.unique():
        mine = classes == c
        half = int(2**c) + 1
        for at, radius, w in zip(xy[mine].split(2000), r[mine].split(2000), weight[mine].split(2000), strict=True):
            base = at.round().long()
            step = torch.arange(-half, half + 1)
            dx = (base[:, :1] + step - at[:, :1])[:, None, :]
            dy = (base[:, 1:] + step - at[:, 1:])[:, :, None]
            disc = (radius[:, None, None] + 0.5 - torch.hypot(dx, dy)).clamp(0, 1)
            # The soft edge is as wide inside as outside, but outside is longer: the area is put right.
            disc = disc * (math.pi * radius**2 * w / disc.sum((1, 2)))[:, None, None]
            columns, rows = ((base[:, i:i + 1] + step).clamp(0, n - 1) for i in (0, 1))
            out.index_add_(0, (rows[:, :, None] * n + columns[:, None, :]).flatten(), disc.flatten().float())
    return out.reshape(n, n)


def frames(optics: Optics, p: Any, sizes: Any, *, n: int = 512, count: int = 1, grains: int = 5000,
           overlap: bool = True, step: float | None = None, seed: int = 0, device: Any = "cpu") -> Iterator[Tensor]:
    """Yield ``count`` speckle images (n, n) float32 of mean about 1 of a powder.

    Parameters
    ----------
    p, sizes : shares of grains (s,) at the sizes (s,) in m.
    n : grid points and camera pixels along a side.
    grains : expected number in the beam (for a mask: in its square).
    overlap : grains at random, or none over another.
    step : distance in m that the powder moves between frames, in whole grid points; None: a fresh powder in every
        frame.
    seed : of everything random.

    Raises
    ------
    ValueError
        see :func:`scatter` and :func:`coverage`; n below 16, count below 1, step negative.
    """
    check_is("optics", optics, Optics)
    check_count("n", n, 16, MAX_POINTS)
    check_count("count", count, 1, 10**6)
    check_count("grains", grains, 1, MAX_GRAINS)
    check_count("seed", seed, 0, 2**63 - 1)
    check_flag("overlap", overlap)
    check_device(device)
    if step is not None:
        check_number("step", step, equal=True)
        if step / spacing(optics, n) * count > MAX_POINTS:
            raise ValueError(f"step must be less than {MAX_POINTS / count:g} grid points of this optics, got "
                             f"{step!r} m")
    sizes = check_array("sizes", sizes, (None,))
    p = check_array("p", p, sizes.shape)
    if p.min() < 0 or not p.any():
        raise ValueError(f"p must be shares >= 0, not all 0, got {p!r:.60}")
    if sizes.min() <= 0:
        raise ValueError(f"sizes must be positive, in metres, got {sizes.min():g}")
    rng, dx = np.random.default_rng(seed), spacing(optics, n)
    generator = torch.Generator(device).manual_seed(seed)
    moves = None if step is None else round(step / dx)  # whole points: the phases move with the grains
    if moves is not None:
        xy, radii = scatter(optics, p, sizes, grains, rng, overlap=overlap, length=moves * dx * count)
        phases = torch.rand(n, n + moves * count, generator=generator, device=device)
    for k in range(count):
        if moves is None:
            xy, radii = scatter(optics, p, sizes, grains, rng, overlap=overlap)
            phase = torch.rand(n, n, generator=generator, device=device)
            at = xy
        else:
            at, phase = xy - (k * moves * dx, 0.0), phases[:, k * moves:k * moves + n]
        w = coverage(at, radii, lit(optics, at[:, 0], at[:, 1]), dx, n).to(device)
        if not bool(w.any()):
            raise ValueError(f"grains must be more: of {grains} expected none lies in the beam of frame {k + 1}")
        image = torch.fft.fft2(torch.polar(w.sqrt(), 2 * math.pi * phase)).abs() ** 2
        yield image / w.sum()


def camera(images: Tensor, *, photons: float = math.inf, read: float = 0.0, bits: int | None = None,
           exposure: float = 0.1, seed: int = 0) -> Tensor:
    """What a camera makes of intensities of mean 1: shot noise, read noise, digits. Same shape, float32.

    Parameters
    ----------
    images : (..., ny, nx).
    photons : photo-electrons of the mean intensity; inf: no shot noise.
    read : standard deviation of the read noise, in units of the mean intensity.
    bits : whole numbers 0 to 2^bits - 1, the mean intensity at ``exposure`` of the largest; brighter pixels saturate.
    """
    check_is("images", images, Tensor)
    if images.is_complex() or not bool(((images >= 0) & torch.isfinite(images)).all()):
        raise ValueError("images must be finite intensities, not negative")
    exposure, read = check_number("exposure", exposure, most=1e6), check_number("read", read, most=1e6, equal=True)
    if not (isinstance(photons, float) and photons == math.inf):
        photons = check_number("photons", photons, 1e-3, 1e12)
    if bits is not None:
        check_count("bits", bits, 1, 16)
    generator = torch.Generator(images.device).manual_seed(check_count("seed", seed, 0, 2**63 - 1))
    found = images.float()
    if math.isfinite(photons):
        found = torch.poisson(found * photons, generator=generator) / photons
    if read > 0:
        found = found + read * torch.randn(found.shape, generator=generator, device=found.device)
    if bits is not None:
        top = 2**bits - 1
        found = (found * exposure * top).round().clamp(0, top)
    return found
