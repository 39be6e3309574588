r"""What is measured on spin configurations: charge, skyrmions, order in k-space, local stability.

Plain functions of tensors (..., 3, Ny, Nx). All arithmetic is in float64, whatever the dtype of the
spins: the charge is to be an integer to rounding, and the theta of stable states is tiny.
Skyrmions are taken to have their core along -z in a +z background, as for B > 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import ndimage, spatial
from scipy.sparse import coo_array, csgraph
from torch import Tensor

from evae_core.hamiltonian import Hamiltonian, check_hamiltonian, check_spins
from evae_core.validation import check_array, check_axes, check_flag, check_number

MAX_SIDE, MAX_RATIO = 1e6, 1000  # of a box whose skyrmions are counted: copies fill a square around it


def _checked(spins: Tensor, mask: Any = None) -> tuple[Tensor, Tensor | None]:
    """Spins in float64 of exactly unit length (zero outside the mask), and the mask as a bool tensor (or None)."""
    check_spins(spins)
    if mask is not None:
        if not isinstance(mask, Tensor) and np.asarray(mask).dtype == bool:
            mask = torch.from_numpy(np.array(mask))
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
            raise TypeError("mask must be an array of dtype bool, true on magnetic sites, got "
                            f"{getattr(mask, 'dtype', type(mask).__name__)}")
        mask = mask.to(spins.device)
        if mask.shape != spins.shape[-2:]:
            raise ValueError(f"mask must have shape (Ny, Nx) = {tuple(spins.shape[-2:])}, got {tuple(mask.shape)}")
    check_spins(spins, unit=True, magnetic=None if mask is None else mask.cpu().numpy())
    spins = torch.nn.functional.normalize(spins.double(), dim=-3)
    return (spins, None) if mask is None else (spins * mask, mask)


def _one(spins: Tensor) -> np.ndarray:
    """One configuration as a float64 array (3, Ny, Nx)."""
    check_spins(spins)
    if spins.ndim != 3:
        raise ValueError(f"spins must be one configuration (3, Ny, Nx), got {tuple(spins.shape)}; loop over a batch")
    return spins.detach().cpu().double().numpy()


def _half_solid_angle(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Omega/2 of the spherical triangle abc; positive where the three turn counter-clockwise seen from outside."""
    triple = (a * torch.linalg.cross(b, c, dim=-3)).sum(-3)
    return torch.atan2(triple, 1 + (a * b).sum(-3) + (b * c).sum(-3) + (c * a).sum(-3))


def charge_density(spins: Tensor, mask: Any = None, periodic: bool | tuple[bool, bool] | None = None) -> Tensor:
    r"""Topological charge of the plaquette to the upper right of every site, (..., Ny, Nx) float64.

    .. math::
        q = \frac{\Omega(S_1, S_2, S_3) + \Omega(S_1, S_3, S_4)}{4\pi}, \qquad
        \tan\frac{\Omega(a, b, c)}{2} = \frac{a\cdot(b\times c)}{1 + a\cdot b + b\cdot c + c\cdot a}

    with S_1 ... S_4 at (x, y), (x+1, y), (x+1, y+1), (x, y+1): the lattice charge of B. Berg and
    M. Luescher, Nucl. Phys. B 190, 412 (1981). Omega is taken in (-2 pi, 2 pi].

    Parameters
    ----------
    spins : (..., 3, Ny, Nx), unit length on magnetic sites.
    mask : bool (Ny, Nx), true on magnetic sites; plaquettes that touch another site count 0.
        A masked sample is open, as in :class:`~evae_core.Hamiltonian`.
    periodic : whether the lattice wraps around, for both axes or for (y, x); plaquettes across an open edge count 0.
        Default: True without a mask, False with one.

    Raises
    ------
    TypeError, ValueError
        see :func:`~evae_core.hamiltonian.check_spins`; spins that are not unit vectors on magnetic
        sites, a mask of another shape or dtype, or a periodic axis together with a mask.
    """
    y, x = check_axes("periodic", mask is None if periodic is None else periodic)
    if mask is not None and (y or x):
        raise ValueError("periodic=True contradicts mask: a masked sample is open; leave periodic out")
    spins, mask = _checked(spins, mask)
    right, up = spins.roll(-1, -1), spins.roll(-1, -2)
    corner = right.roll(-1, -2)
    q = (_half_solid_angle(spins, right, corner) + _half_solid_angle(spins, corner, up)) / (2 * math.pi)
    whole = torch.ones(spins.shape[-2:], dtype=torch.bool, device=spins.device) if mask is None else mask
    whole = whole & whole.roll(-1, -1)
    whole = whole & whole.roll(-1, -2)
    whole[-1] &= y
    whole[:, -1] &= x
    return torch.where(whole, q, 0.0)


def topological_charge(spins: Tensor, mask: Any = None, periodic: bool | tuple[bool, bool] | None = None) -> Tensor:
    """Topological charge Q, (...,) float64: the sum of :func:`charge_density`, with its arguments and errors.

    An integer to rounding on a lattice that is periodic along both axes; one skyrmion with its core down counts -1. Not
    defined where two neighbouring spins are exactly antiparallel (such a triangle counts 0).

    Examples
    --------
    >>> up = torch.zeros(3, 8, 8); up[2] = 1.0
    >>> float(topological_charge(up))
    0.0
    """
    return charge_density(spins, mask, periodic).sum((-2, -1))


class Skyrmions(NamedTuple):
    """The regions with S^z below a threshold: ``centres`` (n, 2) of (x, y) in lattice sites, ``areas`` (n,) in sites,
    and ``elongation`` (n,): the ratio of their half axes, 1 for a round one."""

    centres: np.ndarray
    areas: np.ndarray
    elongation: np.ndarray


def skyrmion_centres(spins: Tensor, threshold: float = 0.0, periodic: bool | tuple[bool, bool] = True) -> np.ndarray:
    """Centres of the connected regions with S^z < threshold, (n, 2) float64 array of (x, y) in lattice sites.

    Arguments, conventions and errors as for :func:`find_skyrmions`.
    """
    return find_skyrmions(spins, threshold, periodic).centres


def find_skyrmions(spins: Tensor, threshold: float = 0.0, periodic: bool | tuple[bool, bool] = True) -> Skyrmions:
    """Centres, areas and elongations of the connected regions with S^z < threshold.

    Sites are connected along x and y. A centre is the mean position weighted by w = (1 - S^z)/2; across a
    periodic edge first the circular mean, then the mean of the shortest displacements from it, with
    0 <= x < Nx and 0 <= y < Ny. A stripe that closes on itself around the box counts as one region
    whose position along the stripe means nothing. The elongation is sqrt(l_1/l_2), l_1 >= l_2 the eigenvalues of the
    second moments <r_a r_b>_w + delta_ab/12 about the centre; the last term is that of a site's own square.

    Parameters
    ----------
    spins : one configuration (3, Ny, Nx); sites that hold the zero vector are not magnetic.
    threshold : between -1 and 1.
    periodic : whether regions join across the edges, for both axes or for (y, x).

    Raises
    ------
    TypeError, ValueError
        see :func:`~evae_core.hamiltonian.check_spins`; a batch, or a threshold out of range.
    """
    check_number("threshold", threshold, -1.0, below=1.0)
    S, (wraps_y, wraps_x) = _one(spins), check_axes("periodic", periodic)
    shape = S.shape[1:]
    labels, count = ndimage.label((S[2] < threshold) & (np.abs(S).sum(0) > 0))
    if count == 0:
        return Skyrmions(np.zeros((0, 2)), np.zeros(0), np.zeros(0))
    if wraps_y or wraps_x:  # the same region on both sides of an edge: one node of a graph a label, one bond a contact
        first = np.concatenate((labels[0] if wraps_y else [], labels[:, 0] if wraps_x else [])).astype(int)
        last = np.concatenate((labels[-1] if wraps_y else [], labels[:, -1] if wraps_x else [])).astype(int)
        touch = (first > 0) & (last > 0)
        pairs = (first[touch] - 1, last[touch] - 1)
        graph = coo_array((np.ones(len(pairs[0])), pairs), shape=(count, count))
        count, joined = csgraph.connected_components(graph, directed=False)
        labels = np.where(labels > 0, joined[labels - 1] + 1, 0)
    y, x = np.nonzero(labels)
    region = labels[y, x] - 1
    weight = (1 - S[2, y, x]) / 2
    total = np.bincount(region, weight, count)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(region, weight * values, count) / total

    centres, steps = np.empty((count, 2)), np.empty((2, len(region)))
    for axis, (position, size, wraps) in enumerate(((x, shape[1], wraps_x), (y, shape[0], wraps_y))):
        if wraps:
            angle = 2 * np.pi * position / size
            middle = np.arctan2(mean(np.sin(angle)), mean(np.cos(angle))) * size / (2 * np.pi)
            step = (position - middle[region] + size / 2) % size - size / 2
            centres[:, axis] = (middle + mean(step)) % size % size
        else:
            step = position.astype(float)
            centres[:, axis] = mean(step)
        steps[axis] = step - mean(step)[region]
    across, up, both = (mean(steps[a] * steps[b]) for a, b in ((0, 0), (1, 1), (0, 1)))
    half, root = (across + up) / 2 + 1 / 12, np.hypot((across - up) / 2, both)
    areas = np.bincount(region, minlength=count).astype(float)
    return Skyrmions(centres, areas, np.sqrt((half + root) / (half - root)))


def _check_centres(centres: np.ndarray, shape: Sequence[int]) -> tuple[np.ndarray, float, float]:
    box = check_array("shape", shape, (2,))
    if box.min() < 1 or box.max() > MAX_SIDE or box.max() > MAX_RATIO * box.min():
        raise ValueError(f"shape must be (Ny, Nx), two numbers from 1 to {MAX_SIDE:.0g}, of which none is more than "
                         f"{MAX_RATIO} times the other, got {shape!r:.60}")
    return check_array("centres", centres, (None, 2), empty=True), float(box[0]), float(box[1])


def periodic_images(centres: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The centres (n, 2) and their periodic copies all around, (m, 2), originals first.

    The copies reach a box diagonal beyond the box. No empty circle of a periodic set is wider than that, so the
    Delaunay triangles of the originals are those of the infinite set, however few centres there are.

    Raises ValueError where centres are not (n, 2) and finite, or shape is not (Ny, Nx).
    """
    centres, ny, nx = _check_centres(centres, shape)
    across, up = (math.ceil(math.hypot(ny, nx) / size) for size in (nx, ny))
    around = [(i, j) for i in range(-across, across + 1) for j in range(-up, up + 1) if (i, j) != (0, 0)]
    return np.concatenate([centres + (i * nx, j * ny) for i, j in [(0, 0), *around]])


def coordination(centres: np.ndarray, shape: Sequence[int], periodic: bool = True) -> np.ndarray:
    """Number of Delaunay neighbours of every skyrmion, (n,) int; 6 everywhere in a perfect triangular lattice.

    Periodic images count as neighbours of their own. In an open sample the outermost skyrmions have
    fewer neighbours by nature; skyrmions on one line have those beside them.

    Parameters
    ----------
    centres : (n, 2) array of (x, y) in lattice sites, as from :func:`skyrmion_centres`.
    shape : (Ny, Nx).

    Raises
    ------
    ValueError
        centres that are not (n, 2), not finite or not distinct; shape that is not (Ny, Nx).
    """
    centres, *_ = _check_centres(centres, shape)
    n, periodic = len(centres), check_flag("periodic", periodic)
    if len(np.unique(centres, axis=0)) < n:
        raise ValueError(f"centres must be distinct, got {n - len(np.unique(centres, axis=0))} repeated")
    points = periodic_images(centres, shape) if periodic else centres
    offsets = points - points[:1]
    if len(points) < 3 or np.linalg.matrix_rank(offsets, tol=1e-9 * max(shape)) < 2:
        order = np.argsort(offsets @ offsets[-1] if n > 1 else offsets[:, 0])  # no triangle: a line, a point, nothing
        numbers = np.zeros(n, int)
        numbers[order[1:]] += 1
        numbers[order[:-1]] += 1
        return numbers
    # Four neighbours on a circle have two triangulations: a strain of 1e-6 makes all images choose the same one.
    starts, _ = spatial.Delaunay(points @ (np.eye(2) + [[7e-7, 4e-7], [0, 0]])).vertex_neighbor_vertices
    return np.diff(starts)[:n]


def defects(centres: np.ndarray, shape: Sequence[int]) -> float:
    """Share of skyrmions without six neighbours on a periodic lattice, between 0 and 1; 0 in a perfect lattice.

    Raises ValueError as :func:`coordination`, and without any skyrmion.
    """
    numbers = coordination(centres, shape)
    if not len(numbers):
        raise ValueError("centres must hold at least one skyrmion, got none")
    return float((numbers != 6).mean())


def kspace(spins: Tensor, complex: bool = False, shift: bool = False) -> Tensor:
    r"""Fourier transform of the S^z map, (..., Ny, Nx): |FFT2(S^z)|/sqrt(N) float64, or the complex value itself.

    The magnitude does not change when the configuration is translated. With ``shift=True`` k = 0 is
    in the middle. Raises as :func:`~evae_core.hamiltonian.check_spins`.
    """
    check_spins(spins)
    complex, shift = check_flag("complex", complex), check_flag("shift", shift)
    if not spins.numel():
        raise ValueError(f"spins must hold at least one configuration, got shape {tuple(spins.shape)}")
    waves = torch.fft.fft2(spins.select(-3, 2).double(), norm="ortho")
    if shift:
        waves = torch.fft.fftshift(waves, dim=(-2, -1))
    return waves if complex else waves.abs()


def structure_factor(spins: Tensor, shift: bool = False) -> Tensor:
    """|FFT2(S^z)|^2 / N, (..., Ny, Nx) float64; its sum over k is the sum of (S^z)^2 over sites.

    With ``shift=True`` k = 0 is in the middle. Raises as :func:`~evae_core.hamiltonian.check_spins`.
    """
    return kspace(spins, shift=shift).square()


def _samples_in_kspace(spins: Tensor, complex: bool) -> Tensor:
    """The samples (n, 3, Ny, Nx) as real vectors (n, d)."""
    check_spins(spins)
    if spins.ndim != 4 or len(spins) < 2:
        raise ValueError(f"spins must be (n, 3, Ny, Nx) with n >= 2 samples to compare, got shape {tuple(spins.shape)}")
    waves = kspace(spins, complex)
    return (torch.view_as_real(waves) if complex else waves).flatten(1)


def kspace_mse(spins: Tensor, complex: bool = False) -> float:
    r"""Mean over all pairs of samples of the mean over k of (F_i - F_j)^2, F = :func:`kspace`; claim C1's measure.

    By the variance identity, without a loop over pairs:
    mean_{i<j} (F_i - F_j)^2 = 2/(n - 1) sum_i (F_i - mean F)^2.
    0 when all samples are one state; with the default magnitudes, also up to a translation. The
    complex variant equals the mean squared difference of the S^z maps themselves (Parseval).

    Parameters
    ----------
    spins : (n, 3, Ny, Nx), n >= 2 samples.

    Raises
    ------
    TypeError, ValueError
        see :func:`~evae_core.hamiltonian.check_spins`; fewer than two samples.
    """
    waves = _samples_in_kspace(spins, complex)
    spread = (waves - waves.mean(0)).square().sum(0)  # a sum over samples, float64
    return float(spread.sum()) * 2 / (len(waves) - 1) / spins.shape[-2:].numel()


def kspace_pairs(spins: Tensor, complex: bool = False) -> Tensor:
    """The squared differences of every pair i < j, (n(n-1)/2,) float64, each a mean over k; mean: :func:`kspace_mse`.

    Raises as :func:`kspace_mse`.
    """
    return torch.pdist(_samples_in_kspace(spins, complex)).square() / spins.shape[-2:].numel()


def theta(H: Hamiltonian, spins: Tensor) -> Tensor:
    """Angle between spin and effective field, (..., Ny, Nx) float64 in radians, 0 to pi; NaN on non-magnetic sites.

    theta = atan2(|S x h|, S.h) in float64: the arccos of a float32 cosine is 0 for everything below
    3e-4. pi/2 where the field of a magnetic site vanishes (alignment 0). Float32 spins carry a
    rounding of some 1e-7 rad.

    Raises
    ------
    TypeError, ValueError
        as :func:`~evae_core.hamiltonian.check_spins`; not unit vectors on magnetic sites.
    """
    check_hamiltonian(H)
    spins, mask = _checked(spins, H.mask)
    h = H.field(spins)
    angle = torch.atan2(torch.linalg.vector_norm(torch.linalg.cross(spins, h, dim=-3), dim=-3), (spins * h).sum(-3))
    angle = torch.where((h == 0).all(-3), math.pi / 2, angle)
    return angle if mask is None else torch.where(mask, angle, math.nan)
