"""The claims of Kwon et al., Advanced Science 2021, shortened, with the checks and the verdict of a claim.

A check compares one number of every training with a threshold, by Student's t over the trainings: it is met, or not
met, where the mean lies beyond the threshold by more than the one-sided error at CONFIDENCE, and "not decidable"
between. So no verdict hangs on a difference that another seed or another processor's rounding would undo.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from evae_core.validation import check_choice, check_list

CONFIDENCE = 0.95
MET, NOT_MET, OPEN = "met", "not met", "not decidable"
VERDICTS = ("reproduced", "partly", "not reproduced", "not decidable")

CLAIMS = {
    "D1": ("1", "no configuration twice in the data"),
    "B1": ("2A", "β up to 1e-4: L_RC almost zero"),
    "B2": ("2A", "L_RC and L_H rise with β, L_KL falls"),
    "B3": ("2A, S1", "posterior collapse at β ~ 1e-2"),
    "G1": ("2B", "L_H falls as γ grows"),
    "G2": ("2B", "L_RC stays up to γ ~ 100, then rises steeply"),
    "G3": ("2B", "L_H drops below that of the data"),
    "G4": ("2B", "L_H drops suddenly at γ ~ 1e3 to 1e4; L_RC saturates, L_KL grows exponentially"),
    "N1": ("3A", "θ falls with γ, in X_out and X'_out"),
    "N2": ("3B", "the peak of θ sharpens and moves to zero"),
    "N3": ("3", "no truncated or stretched skyrmions"),
    "N4": ("3", "stable states are generated more often"),
    "L1": ("4B", "a barrier from interstitial to lattice sharpens with γ"),
    "L2": ("4B", "the energy of its plateaus falls with γ"),
    "L3": ("4C", "at R = 2 the defect stays for γ = 0, is gone for γ = 100"),
    "C1": ("5B", "past γ_c the k-space MSE is zero: one state"),
    "C2": ("5A", "it is a perfect lattice, below all training states"),
    "C3": ("5A", "two trainings: other orientation or position, same energy"),
    "C4": ("5B", "γ_c depends on β; small β collapses, too"),
    "C5": ("5B", "past γ_c the energy stays the same, the lowest"),
    "S1": ("Note S2", "with open edges, too, it finds the lowest state"),
}


@dataclass(frozen=True)
class Check:
    """One criterion of a claim: a number of every training, and what is asked of it.

    Attributes
    ----------
    what : the number, in words.
    values : the number of each training. One that is not finite: the training does not show what is looked for.
    threshold : the check asks for values on one side of it:
    above : whether that is the upper side.
    unit : of the values.
    log : whether the values are positive and scatter by factors; mean and error are then geometric.
    resolution : what each value is known to apart from its scatter (a grid's half step); a factor's logarithm with log.
    evidence : whether meeting it is evidence alone. A network that has learned nothing passes "hardly changes".
    counts : whether it takes part in the verdict; if not, it is only shown.
    """

    what: str
    values: tuple[float, ...]
    threshold: float
    above: bool
    unit: str = ""
    log: bool = False
    resolution: float = 0.0
    evidence: bool = True
    counts: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(float(value) for value in self.values))
        if not self.values:
            raise ValueError("values must hold one number per training, got none")

    @property
    def asked(self) -> str:
        """What is asked of the number, as text."""
        unit = self.unit if self.threshold else ""  # 0 J is 0
        return f"{'>' if self.above else '<'} {self.threshold:g} {unit}".rstrip()

    @property
    def passed(self) -> tuple[bool, ...]:
        """Whether each training alone lies on the side asked for."""
        return tuple(math.isfinite(value) and (value > self.threshold if self.above else value < self.threshold)
                     for value in self.values)

    def _scale(self, value: float) -> float:
        return math.log(max(value, 1e-300)) if self.log else value

    @property
    def margin(self) -> tuple[float, float]:
        """Mean distance beyond the threshold, positive where it is met, and its one-sided error at CONFIDENCE.

        Values that are not finite are left out. One value alone has an error of inf.
        """
        sign = 1.0 if self.above else -1.0
        d = np.array([sign * (self._scale(v) - self._scale(self.threshold)) for v in self.values if math.isfinite(v)])
        if len(d) < 2:
            return float(d.mean()) if len(d) else -math.inf, math.inf
        student = float(stats.t.ppf(CONFIDENCE, len(d) - 1))
        return float(d.mean()), student * float(d.std(ddof=1)) / math.sqrt(len(d)) + self.resolution

    @property
    def outcome(self) -> str:
        """MET, NOT_MET or OPEN."""
        finite = [math.isfinite(value) for value in self.values]
        if not any(finite):
            return NOT_MET if len(finite) > 1 else OPEN
        mean, error = self.margin
        if all(finite) and mean > error:
            return MET
        if mean < -error or not any(self.passed) and len(finite) > 1 and not all(finite):
            return NOT_MET
        return OPEN

    @property
    def number(self) -> str:
        """The mean over trainings with its standard error, as text; the values if some are not finite."""
        values = [value for value in self.values if math.isfinite(value)]
        power = self.unit.startswith("1e")  # (61 ± 1) × 1e-4 J
        unit = f" × {self.unit}" if power else f" {self.unit}" if self.unit else ""
        if not values:
            return "never"
        x = np.array([self._scale(value) for value in values])
        error = float(x.std(ddof=1)) / math.sqrt(len(x)) + self.resolution if len(x) > 1 else math.nan
        of = "" if len(values) == len(self.values) else f" in {len(values)} of {len(self.values)}"
        mean = math.exp(x.mean()) if self.log else float(x.mean())
        if not math.isfinite(error):
            return f"{mean:.3g}{unit}{of}"
        if self.log:
            return f"{mean:.2g}{unit} (× or ÷ {math.exp(error):.3g}){of}"
        if error <= 1e-9 * abs(mean):  # equal values, up to rounding
            both = f"{mean:.4g} ± 0"
        else:  # the error to one digit, the mean as far
            digits = min(8, -math.floor(math.log10(float(f"{error:.0e}"))))
            both = f"{round(mean, digits):.{max(0, digits)}f} ± {round(error, digits):.{max(0, digits)}f}"
        return f"{f'({both})' if power else both}{unit}{of}"


@dataclass(frozen=True)
class Result:
    """The checks of one claim; ``verdict`` follows from them."""

    id: str
    checks: tuple[Check, ...]

    def __post_init__(self) -> None:
        check_choice("id", self.id, CLAIMS)
        if not any(check.counts for check in check_list("checks", self.checks, Check)):
            raise ValueError("checks must hold one that counts")

    @classmethod
    def parsed(cls, record: dict[str, Any]) -> Result:
        """Return the result that ``dataclasses.asdict`` made a record of. KeyError or TypeError: it is none."""
        return cls(record["id"], tuple(Check(**check) for check in record["checks"]))

    @property
    def verdict(self) -> str:
        """One of VERDICTS.

        "Reproduced" needs every check to be met, "not decidable" that none is refuted. If some are refuted, "partly"
        needs one that is met and is evidence alone.
        """
        counted = [check for check in self.checks if check.counts]
        outcomes = {check.outcome for check in counted}
        if outcomes == {MET}:
            return "reproduced"
        if NOT_MET not in outcomes:
            return "not decidable"
        return "partly" if any(check.outcome == MET and check.evidence for check in counted) else "not reproduced"

    @property
    def deciding(self) -> Check:
        """The check on which the verdict hangs: the one farthest from being met, in units of its error."""
        def distance(check: Check) -> tuple[int, float]:
            mean, error = check.margin
            return (NOT_MET, OPEN, MET).index(check.outcome), mean / error if 0 < error < math.inf else mean

        return min((check for check in self.checks if check.counts), key=distance)


def agreement(one: Sequence[Result], other: Sequence[Result]) -> tuple[int, int]:
    """Return for how many claims two cards give the same verdict, and how many claims both hold."""
    verdicts = [{result.id: result.verdict for result in check_list(name, card, Result)}
                for name, card in (("one", one), ("other", other))]
    both = verdicts[0].keys() & verdicts[1].keys()
    return sum(verdicts[0][claim] == verdicts[1][claim] for claim in both), len(both)
