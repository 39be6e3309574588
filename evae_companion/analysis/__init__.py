"""Other ways to low energies, to judge the E-VAE by: a search for the lowest states known, and rival samplers.

:func:`certificate` searches a box independently of any network and says what it found; :class:`Tempering` and
:mod:`~evae_companion.analysis.samplers` are measured on the same budget.
"""

from evae_companion.analysis.descent import at_rest, descended
from evae_companion.analysis.ground_state_search import Candidate, Certificate, Gap, Search, certificate
from evae_companion.analysis.tempering import Tempering, overlap_rate, rate, temperatures

__all__ = ["Candidate", "Certificate", "Gap", "Search", "Tempering", "at_rest", "certificate", "descended",
           "overlap_rate", "rate", "temperatures"]
