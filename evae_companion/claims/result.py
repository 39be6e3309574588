"""The claims of Kwon et al., Advanced Science 2021, shortened, with the checks and the verdict of a claim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evae_core.validation import check_choice, check_list

CLAIMS = {
    "B1": ("2A", "beta 1e-6 to 1e-4: L_RC almost zero, outputs replicate inputs"),
    "B2": ("2A", "L_RC and L_H rise with beta, L_KL falls: the standard VAE's outputs grow less stable"),
    "B3": ("2A, S1", "posterior collapse at beta ~ 1e-2; beyond it every output is the uniform out-of-plane domain"),
    "G1": ("2B", "L_H of the outputs falls as gamma grows, for both betas"),
    "G2": ("2B", "L_RC hardly changes up to gamma ~ 1e2, then rises steeply"),
    "G3": ("2B", "L_H of the outputs drops below the training data's mean"),
    "G4": ("2B", "a sudden drop of L_H at gamma ~ 1e3 to 1e4 for both betas; L_RC saturates, L_KL grows exponentially"),
    "N1": ("3A", "local-correlation maps grow cleaner with gamma = 0, 1, 100, for X_out and for X'_out"),
    "N2": ("3B", "the theta densities sharpen and their peaks move to zero with gamma, for both"),
    "L1": ("4B", "interpolating lattice <-> interstitial shows an energy barrier; it sharpens with gamma"),
    "L2": ("4B", "the plateaus' energy falls with gamma"),
    "L3": ("4C", "at R = 2 the defect is still there for gamma = 0 and gone for gamma = 100"),
    "C1": ("5B", "above gamma_c one state only: pairwise MSE of the Fourier-transformed S^z maps of 100 samples -> 0"),
    "C2": ("5A", "that state is a perfectly ordered skyrmion lattice, lower than every training configuration"),
    "C3": ("5A", "two runs collapse to lattices of different orientation or position and the same energy"),
    "C4": ("5B", "gamma_c depends on beta; small beta too collapses in the end"),
    "S1": ("Note S2", "in square-bounded and wire-shaped samples with open edges the collapse finds the lowest-energy "
                      "state"),
}


@dataclass(frozen=True)
class Check:
    """One criterion of a claim, and whether it was met.

    Attributes
    ----------
    criterion, measured : text of the criterion, and of what was measured against it.
    passed : whether it was met.
    value : number that decided; that of the worst run if there are several.
    evidence : whether passing is evidence alone.
    """

    criterion: str
    measured: str
    passed: bool
    value: float
    evidence: bool = True


@dataclass(frozen=True)
class Result:
    """The checks of one claim; ``verdict`` follows from them."""

    id: str
    checks: tuple[Check, ...]

    def __post_init__(self) -> None:
        check_choice("id", self.id, CLAIMS)
        check_list("checks", self.checks, Check)

    @classmethod
    def parsed(cls, record: dict[str, Any]) -> Result:
        """Return the result that ``dataclasses.asdict`` made a record of. KeyError or TypeError: it is none."""
        return cls(record["id"], tuple(Check(**check) for check in record["checks"]))

    @property
    def verdict(self) -> str:
        if all(check.passed for check in self.checks):
            return "reproduced"
        return "partly" if any(check.passed and check.evidence for check in self.checks) else "not reproduced"


def over_seeds(cards: Sequence[Sequence[Result]]) -> list[Result]:
    """Merge the results of several seeds into one result per claim.

    A check is met if every seed meets it. What is measured are the mean and the standard deviation of its number.

    Raises
    ------
    ValueError
        no card, or cards that do not hold the same claims and criteria.
    """
    cards = [check_list("cards", card, Result, 0) for card in check_list("cards", cards)]
    if len({tuple((r.id, *(c.criterion for c in r.checks)) for r in card) for card in cards}) != 1:
        raise ValueError("cards must be one a seed, all of the same claims and criteria")
    merged = []
    for results in zip(*cards, strict=True):
        checks = []
        for same in zip(*(result.checks for result in results), strict=True):
            values = np.array([check.value for check in same])
            met = sum(check.passed for check in same)
            spread = f" ± {values.std(ddof=1):.2g}" if len(values) > 1 and np.isfinite(values).all() else ""
            checks.append(Check(same[0].criterion, f"{values.mean():.4g}{spread} (met by {met} of {len(same)} seeds)",
                                met == len(same), float(values.mean()), same[0].evidence))
        merged.append(Result(results[0].id, tuple(checks)))
    return merged
