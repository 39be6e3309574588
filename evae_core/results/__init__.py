"""What the figures of notebooks 2, 4, 5, 6 and 8 are drawn from: small artefacts, computed once from trained stages.

``outputs``, ``noise``, ``walk``, ``collapse``, ``quality`` and ``other_systems`` each return their numbers, tables and
states in a namespace. They lie in the store like everything expensive; where the store has none and data/recorded holds
them, the recorded ones are taken, and a printed line says so.
"""

from evae_core.results.fig3_noise import noise
from evae_core.results.fig4_walk import walk
from evae_core.results.fig5_collapse import collapse
from evae_core.results.figs1_outputs import outputs
from evae_core.results.other_systems import other_systems
from evae_core.results.sample_quality import quality

__all__ = ["collapse", "noise", "other_systems", "outputs", "quality", "walk"]
