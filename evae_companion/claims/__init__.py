"""The claims of the paper as code: for each claim the criteria, the numbers measured here and the verdict.

The claims are those of Kwon et al., Advanced Science 2021, shortened. The criteria are applied to numbers that the
notebooks measure; no result is typed in. The numbers in the criteria (what "almost zero" or "suddenly" means) are
choices of this project.

A claim is *reproduced* if all its checks pass, *partly* if some do, and *not reproduced* if none does. A check that a
network would pass without having learned anything ("hardly changes") is no evidence alone and makes no "partly".
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
