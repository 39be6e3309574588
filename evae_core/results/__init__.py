"""What the figures of notebooks 2, 4, 5 and 6 are drawn from: small artefacts, computed once from trained stages.

``outputs``, ``noise``, ``walk`` and ``collapse`` each return their numbers, tables and states in a namespace. They lie
in the store like everything expensive; where the store has none and data/recorded holds them, the recorded ones are
taken, and a printed line says so.
"""

from evae_core.results.fig3_noise import noise
from evae_core.results.fig4_walk import walk
from evae_core.results.fig5_collapse import collapse
from evae_core.results.figs1_outputs import outputs

__all__ = ["collapse", "noise", "outputs", "walk"]
