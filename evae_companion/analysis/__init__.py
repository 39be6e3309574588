"""Reference methods for low-energy states, by which the E-VAE is judged: a ground-state search and rival samplers.

:func:`ground_state_candidates` searches a box independently of any network and lists what it found. :class:`Tempering`
and :mod:`~evae_companion.analysis.samplers` are measured on the same budget. :func:`minimum_energy_path`,
:func:`saddle_point` and :func:`lowest_modes` ask how a relaxed state is left, and whether it is a minimum.
:func:`latent_directions` asks whether steps of z translate the decoded texture. :func:`forecast` says where linear
theory expects the collapses of an E-VAE. :func:`certificate` asks of one state whether anything lower is known, and
:func:`judge` scores an ensemble of states from anywhere.
"""

from evae_companion.analysis.certificate import Certificate, certificate, certificate_search
from evae_companion.analysis.collapse_forecast import Forecast, forecast
from evae_companion.analysis.descent import at_rest, descended
from evae_companion.analysis.ground_state_search import (
    Candidate,
    Gap,
    GroundStateCandidates,
    Search,
    ground_state_candidates,
)
from evae_companion.analysis.judge import Judgement, judge
from evae_companion.analysis.latent_directions import LatentDirections, latent_directions
from evae_companion.analysis.lowest_modes import LowestModes, lowest_modes
from evae_companion.analysis.minimum_energy_path import MinimumEnergyPath, minimum_energy_path
from evae_companion.analysis.saddle_point import SaddlePoint, saddle_point
from evae_companion.analysis.tempering import Tempering, overlap_rate, rate, temperatures

__all__ = ["Candidate", "Certificate", "Forecast", "Gap", "GroundStateCandidates", "Judgement", "LatentDirections",
           "LowestModes", "MinimumEnergyPath", "SaddlePoint", "Search", "Tempering", "at_rest",
           "certificate", "certificate_search", "descended", "forecast", "ground_state_candidates", "judge",
           "latent_directions", "lowest_modes", "minimum_energy_path", "overlap_rate", "rate",
           "saddle_point", "temperatures"]
