r"""The term of the grains' number in a measured autocorrelation, which every estimator of the published law needs taken
off.

.. math::
    A_{\mathrm{measured}} = \frac{h}{1 + T(0)}\,\big[|M|^2 P^2 + T\big], \qquad
    T(q) = \frac{1}{N}\,\frac{\langle r^4\,\mathrm{Jinc}^2(qr)\rangle}{\langle r^2\rangle^2}

(see the module law; h: the height beside lag 0). T is not multiplied by |M|^2, so beyond the beam's first rings it is
as large as the rest. It is taken off the autocorrelation itself, before the reduction divides |M|^2 out: an estimate
without it, T from what was found, the estimate again, PASSES times in all. T is formed from the networks' answers
whatever the method: NNLS's own, with spurious fine grains, make <r^4> / <r^2>^2 a hundred times too large.

Where the number of grains is not known but the share c of the lit area S that they cover is, N = c S / (pi <r^2>), and
T = (pi / c S) sum_j a_j r_j^2 Jinc^2(q r_j) in the area weights a, which does not need the number of the smallest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from evae_core.peace.calibration import rescaled
from evae_core.peace.law import Law
from evae_core.peace.optics import Optics
from evae_core.peace.sizes import AREA, quantile, weighted

PASSES = 4  # estimates in all, the first without the term
APART = 6.8  # how many times smaller the term of grains that do not overlap is (measured at 39 % coverage)

TRIM = 0.1  # share of the area whose grains' sizes are not believed one by one


@dataclass(frozen=True)
class Crowd:
    """``grains`` lit in a frame, or ``coverage``, the share of the lit area that they cover; one of the two.
    ``overlap``: grains at random; False: none over another."""

    grains: float | None
    coverage: float | None
    overlap: bool

    def independent(self, optics: Optics, p: np.ndarray, radii: np.ndarray) -> float:
        """N / k: the number of equal grains at random that make the same T(0), for shares p (s,) by number at radii
        (m); k = <r^4> / <r^2>^2."""
        area = weighted(p, radii, AREA)
        second = float(area @ radii**2)
        if self.grains is not None:
            # <r^4> / <r^2>^2 = sum(a r^2) sum(a / r^2): a few grains at the grid's fine end must not make the sum
            fine = np.maximum(radii, quantile(area, radii, TRIM))
            count = self.grains / (second * float(area @ fine**-2.0))
        elif self.coverage is not None:
            count = self.coverage * optics.lit_area / (np.pi * second)
        else:
            raise ValueError("a crowd needs grains or coverage")
        return count if self.overlap else APART * count

    def term(self, optics: Optics, scale: float, crop: int | None, lags: Any, p: np.ndarray, radii: np.ndarray,
             ) -> tuple[np.ndarray, float]:
        """(T at the points of an image of side ``crop`` or of a cut at ``lags``, T(0)) with wave numbers ``scale``
        times those of the optics."""
        there = rescaled(optics if crop is None else replace(optics, crop=crop), scale)
        found, whole = Law(there, radii / optics.radius(1.0), lags).number_term(torch.from_numpy(p), 1.0)
        height = 1 / self.independent(optics, p, radii)
        return found.numpy() * (height / float(whole)), height
