"""Figures of the package: spin maps on a colour wheel, and one function per figure of the paper.

Every function takes numpy arrays, numbers, lists and dicts, and returns a :class:`Figure`. A notebook shows it once, as
the last value of a cell; :func:`save` writes it as PNG and PDF, and its caption as text. Nothing here computes physics,
and no state is kept between calls.
"""

from evae_companion.plotting.captions import CAPTIONS
from evae_companion.plotting.cards import score_card
from evae_companion.plotting.critical import critical_gammas, what_collapses
from evae_companion.plotting.curves import (
    ENERGY_LABEL,
    collapse_measure,
    interpolation_energies,
    ladder_curves,
    minimum_barrier,
    theta_densities,
)
from evae_companion.plotting.drawings import inverse_mapping, network
from evae_companion.plotting.ensembles import ensemble_scores
from evae_companion.plotting.evidence import budget_curves, phase_strip, strip_curves
from evae_companion.plotting.outputs import noise_reduction, output_ladder, reconstruction_pairs, theta_maps
from evae_companion.plotting.phases import critical_fields, phase_diagram
from evae_companion.plotting.quality import quality_distributions, quality_front, systems_collapse
from evae_companion.plotting.samples import annealing_watched, confined_energies, dataset_statistics
from evae_companion.plotting.spins import alignment_map, alignment_rgb, colour_wheel, spin_map, spin_rgb
from evae_companion.plotting.states import collapse_states, confined_states, gallery, interpolation_frames
from evae_companion.plotting.stills import still_frames
from evae_companion.plotting.style import Figure, house_style, save

__all__ = [
    "CAPTIONS",
    "ENERGY_LABEL",
    "Figure",
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
    "dataset_statistics",
    "ensemble_scores",
    "gallery",
    "house_style",
    "interpolation_energies",
    "interpolation_frames",
    "inverse_mapping",
    "ladder_curves",
    "minimum_barrier",
    "network",
    "noise_reduction",
    "output_ladder",
    "phase_diagram",
    "phase_strip",
    "quality_distributions",
    "quality_front",
    "reconstruction_pairs",
    "save",
    "score_card",
    "spin_map",
    "spin_rgb",
    "still_frames",
    "strip_curves",
    "systems_collapse",
    "theta_densities",
    "theta_maps",
    "what_collapses",
]
