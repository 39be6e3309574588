"""Data in, matplotlib Figure out: spin maps on a colour wheel and one function per figure of the paper.

Every function takes numpy arrays, numbers, lists and dicts and returns a :class:`Figure`, which shows
itself once as the last value of a notebook cell; :func:`save` writes it as PNG and PDF. Nothing here
computes physics, and nothing is kept between calls.
"""

from evae_core.plotting.cards import score_card
from evae_core.plotting.critical import critical_gammas
from evae_core.plotting.curves import collapse_measure, interpolation_energies, ladder_curves, theta_densities
from evae_core.plotting.deepspin import learning_errors, magnet_in_motion, modes, predictions, spectral_lines
from evae_core.plotting.evidence import budget_curves, phase_strip, strip_curves
from evae_core.plotting.learned import active_learning, guided_collapse
from evae_core.plotting.outputs import noise_reduction, output_ladder, reconstruction_pairs
from evae_core.plotting.peace import (
    cumulative_curves,
    evolution,
    law_against_simulator,
    score_curves,
    skyrmion_speckle,
)
from evae_core.plotting.phases import critical_fields, phase_diagram
from evae_core.plotting.quality import quality_distributions, quality_front, systems_collapse
from evae_core.plotting.samples import annealing_watched, confined_energies, dataset_statistics
from evae_core.plotting.spins import alignment_map, alignment_rgb, colour_wheel, spin_map, spin_rgb
from evae_core.plotting.states import collapse_states, confined_states, gallery, interpolation_frames
from evae_core.plotting.style import Figure, house_style, save

__all__ = [
    "Figure",
    "active_learning",
    "alignment_map",
    "alignment_rgb",
    "annealing_watched",
    "budget_curves",
    "collapse_measure",
    "collapse_states",
    "colour_wheel",
    "confined_energies",
    "confined_states",
    "critical_fields",
    "critical_gammas",
    "cumulative_curves",
    "dataset_statistics",
    "evolution",
    "gallery",
    "guided_collapse",
    "house_style",
    "interpolation_energies",
    "interpolation_frames",
    "ladder_curves",
    "law_against_simulator",
    "learning_errors",
    "magnet_in_motion",
    "modes",
    "noise_reduction",
    "output_ladder",
    "phase_diagram",
    "phase_strip",
    "predictions",
    "quality_distributions",
    "quality_front",
    "reconstruction_pairs",
    "save",
    "score_card",
    "score_curves",
    "skyrmion_speckle",
    "spectral_lines",
    "spin_map",
    "spin_rgb",
    "strip_curves",
    "systems_collapse",
    "theta_densities",
]
