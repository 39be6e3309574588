"""Pictures of spins and angles without axes, placed side by side and encoded as PNG in milliseconds.

Arrays are (height, width, 3) uint8 with row 0 on top, so the lattice's row 0 is the last one.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.image import imsave
from torch import Tensor

from evae_companion.plotting.spins import alignment_rgb, spin_rgb
from evae_companion.plotting.style import minus
from evae_core.hamiltonian import Hamiltonian
from evae_core.observables import topological_charge

GAP = 2  # white pixels between maps


def spin_picture(spins: Tensor) -> np.ndarray:
    """Return one configuration (3, Ny, Nx) in the colours of :func:`~evae_companion.plotting.spin_rgb`; y points up."""
    return _bytes(spin_rgb(spins.detach().cpu().numpy()))


def angle_picture(H: Hamiltonian, spins: Tensor) -> np.ndarray:
    """Return the angle between spin and field of one configuration, in the colours of ``plotting.alignment_map``."""
    cosines = H.alignment(spins.double()).clamp(-1, 1).numpy()
    return _bytes(alignment_rgb(cosines, H.mask))


def _bytes(rgb: np.ndarray) -> np.ndarray:
    return np.rint(rgb[::-1] * 255).astype(np.uint8)


def sheet(rows: Sequence[Sequence[np.ndarray]], gap: int = GAP) -> np.ndarray:
    """Join pictures in rows, on white; each row is as high as its highest picture, pictures at its lower edge."""
    strips = []
    for row in rows:
        high = max(len(picture) for picture in row)
        parts = [part for picture in row for part in (_white(high, gap), _raised(picture, high))][1:]
        strips.append(np.concatenate(parts, 1))
    wide = max(strip.shape[1] for strip in strips)
    parts = [part for strip in strips for part in (
        _white(gap, wide), np.concatenate((strip, _white(len(strip), wide - strip.shape[1])), 1))][1:]
    return np.concatenate(parts)


def _raised(picture: np.ndarray, high: int) -> np.ndarray:
    return np.concatenate((_white(high - len(picture), picture.shape[1]), picture))


def _white(high: int, wide: int) -> np.ndarray:
    return np.full((high, wide, 3), 255, np.uint8)


def png(picture: np.ndarray) -> bytes:
    """Return a picture (height, width, 3 or 4) uint8 as PNG, with little compression to save time."""
    buffer = io.BytesIO()
    imsave(buffer, picture, format="png", pil_kwargs={"compress_level": 1})
    return buffer.getvalue()


def summary(H: Hamiltonian, spins: Tensor) -> dict[str, float]:
    """Return energy (E/N, J), charge, and angle (mean angle between spin and field, degrees) of one configuration."""
    spins = spins.double()
    cosines = H.alignment(spins).clamp(-1, 1)
    magnetic = cosines if H.mask is None else cosines[np_mask(H)]
    return {"energy": float(H.energy_per_spin(spins)),
            "charge": float(topological_charge(spins, H.mask, H.periodic_axes)),
            "angle": float(magnetic.arccos().mean().rad2deg())}


def np_mask(H: Hamiltonian) -> np.ndarray:
    """Return a copy of the mask: torch does not take read-only arrays."""
    return np.array(H.mask)


def summary_line(numbers: dict[str, float]) -> str:
    """Return the result of :func:`summary` as one line of text."""
    return minus(f"E/N = {numbers['energy']:.5f} J, charge {numbers['charge']:z.1f}, mean angle to the field "
                 f"{numbers['angle']:.2f}°")
