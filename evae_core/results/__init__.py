"""What figures are drawn from: small artefacts, computed once from trained stages and searches.

Of notebooks 2, 4, 5 and 6: ``outputs``, ``noise``, ``walk`` and ``collapse`` each return their numbers, tables and
states in a namespace. They lie in the store like everything expensive; where the store has none and
data/recorded holds them, the recorded ones are taken, and a printed line says so. Of notebooks 7 and 8: ``strip``,
``gaps``, ``budget``, ``quality``, ``by_seed``, ``critical`` and ``other_systems``, from the store alone; ``known_best``
is the search recorded in data/known, which is always said to be recorded. Of notebook 10, ``fig10_spin_lattice``: a
module of them.
"""

from evae_core.results.budget import budget
from evae_core.results.certified import gaps, known_best
from evae_core.results.critical import critical
from evae_core.results.fig3_noise import noise
from evae_core.results.fig4_walk import walk
from evae_core.results.fig5_collapse import collapse
from evae_core.results.figs1_outputs import outputs
from evae_core.results.other_systems import other_systems
from evae_core.results.sample_quality import quality
from evae_core.results.seeds import by_seed
from evae_core.results.strip import strip
from evae_core.results.which_data import data_decides

__all__ = ["budget", "by_seed", "collapse", "critical", "data_decides", "gaps", "known_best", "noise", "other_systems",
           "outputs", "quality", "strip", "walk"]
