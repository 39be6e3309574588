"""The claims of the paper as code: for each claim the criteria, the numbers measured here and the verdict.

The claims are those of Kwon et al., Advanced Science 2021, shortened. The criteria are applied to numbers that the
notebooks measure, one per training; no result is typed in. The numbers in the criteria (what "almost zero" or
"suddenly" means) are choices of this project.

A claim is *reproduced* if all its checks are met, *not decidable* if none is refuted but some are open, *partly* if one
is met and another refuted, and *not reproduced* otherwise (:mod:`~evae_companion.claims.result`).
"""

from evae_companion.claims.card import card, counts, details, load, save, summary, table
from evae_companion.claims.criteria import (
    COLLAPSED,
    beta_by_kl,
    beta_sweep,
    collapse,
    confined,
    critical,
    criticals,
    crossing,
    dataset,
    gamma_by_kl,
    gamma_sweep,
    latent_interpolation,
    noise_reduction,
)
from evae_companion.claims.result import CLAIMS, VERDICTS, Check, Result, agreement

__all__ = ["CLAIMS", "COLLAPSED", "VERDICTS", "Check", "Result", "agreement", "beta_by_kl", "beta_sweep", "card",
           "collapse", "confined", "counts", "critical", "criticals", "crossing", "dataset", "details", "gamma_by_kl",
           "gamma_sweep", "latent_interpolation", "load", "noise_reduction", "save", "summary",
           "table"]
