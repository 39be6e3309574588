"""What the paper claims, claim by claim: the criterion, what was measured here, and the verdict.

The criteria stand here, in code, and are applied to numbers that the notebooks measure; nothing is typed in. A
claim is *reproduced* where all its checks pass, *partly* where some do, *not reproduced* where none does; a check
that a network which learnt nothing would pass ("hardly changes") is no evidence alone and makes no "partly". The
claims are those of Kwon et al., Advanced Science 2021, shortened; the numbers in the criteria (what "almost zero" or
"suddenly" means) are choices of this project.
"""

from evae_companion.claims.card import card, counts, load, save, table
from evae_companion.claims.criteria import (
    COLLAPSED,
    beta_by_kl,
    beta_sweep,
    collapse,
    confined,
    critical,
    criticals,
    crossing,
    gamma_by_kl,
    gamma_sweep,
    latent_interpolation,
    noise_reduction,
)
from evae_companion.claims.result import CLAIMS, Check, Result, over_seeds

__all__ = ["CLAIMS", "COLLAPSED", "Check", "Result", "beta_by_kl", "beta_sweep", "card", "collapse", "confined",
           "counts", "critical", "criticals", "crossing", "gamma_by_kl", "gamma_sweep", "latent_interpolation",
           "load", "noise_reduction", "over_seeds", "save", "table"]
