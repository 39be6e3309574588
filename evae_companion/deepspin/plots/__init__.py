"""Figures of learned spin-lattice potentials; the house style and :func:`save` are those of the plotting package."""

from evae_companion.deepspin.plots.learned import active_learning, guided_collapse
from evae_companion.deepspin.plots.potential import (
    learning_errors,
    magnet_in_motion,
    modes,
    predictions,
    spectral_lines,
)

__all__ = ["active_learning", "guided_collapse", "learning_errors", "magnet_in_motion", "modes", "predictions",
           "spectral_lines"]
