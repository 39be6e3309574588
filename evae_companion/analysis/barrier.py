"""The energy barrier along a path of states: its plateaus, height and width."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from evae_core.validation import check_array


class Barrier(NamedTuple):
    """An energy profile e(k), read as a barrier between two plateaus; energies in the units of the profile.

    Attributes
    ----------
    R : k - argmax e, steps from the top, positive towards the end of the path.
    start, end : plateaus, means over the first and last tenth.
    height : the top above the higher plateau.
    width : full width at half that height, in steps. NaN if no top lies above both plateaus and between them.
    """

    R: np.ndarray
    start: float
    end: float
    height: float
    width: float


def barrier(energy: Any) -> Barrier:
    """Read an energy profile (K + 1,) as a :class:`Barrier`.

    Raises
    ------
    ValueError
        fewer than 11 points, or one that is not finite.
    """
    energy = check_array("energy", energy, (None,))
    if len(energy) < 11:
        raise ValueError(f"energy must be at least 11 values along the path, got {len(energy)}")
    tenth = len(energy) // 10
    top = int(energy.argmax())
    start, end = float(energy[:tenth].mean()), float(energy[-tenth:].mean())
    height = float(energy[top] - max(start, end))
    width = float("nan")
    if height > 0 and tenth <= top < len(energy) - tenth:
        half = energy[top] - height / 2
        below = energy < half
        left = np.flatnonzero(below[:top])
        right = np.flatnonzero(below[top:])
        if len(left) and len(right):
            a, b = left[-1], top + right[0]
            first = a + (half - energy[a]) / (energy[a + 1] - energy[a])
            last = b - (half - energy[b]) / (energy[b - 1] - energy[b])
            width = float(last - first)
    return Barrier(np.arange(len(energy)) - top, start, end, height, width)
