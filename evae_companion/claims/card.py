"""The score card of the claims: results saved as JSON beside the figures, and shown as Markdown tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from evae_companion.claims.result import CLAIMS, VERDICTS, Result
from evae_companion.store.serialization import read_checksummed, write_checksummed
from evae_core.validation import check_flag, check_is, check_list, check_path


def save(folder: str | Path, notebook: str, results: Sequence[Result]) -> str:
    """Save the results of a notebook as claims/<notebook>.json under ``folder``, and return their Markdown table."""
    check_is("notebook", notebook, str)
    check_list("results", results, Result, 0)
    path = check_path("folder", folder) / "claims" / f"{check_path('notebook', notebook)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_checksummed(path, [asdict(result) for result in results])
    return table(results)


def load(folder: str | Path) -> dict[str, Result]:
    """Return {claim: result} of every result saved under ``folder``.

    Raises
    ------
    ValueError
        a damaged file.
    """
    results = {}
    for path in sorted((check_path("folder", folder) / "claims").glob("*.json")):
        try:
            for one in read_checksummed(path):
                results[one["id"]] = Result.parsed(one)
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path} does not hold claims as they were measured; delete it and run its notebook "
                             f"again ({error})") from error
    return {claim: results[claim] for claim in CLAIMS if claim in results}


def table(results: Sequence[Result]) -> str:
    """Return the Markdown table "claim | paper | here | trainings | verdict": of every claim the number that decides.

    "Trainings" counts those that pass the same test alone.
    """
    lines = ["| claim | paper | here | trainings | verdict |", "|---|---|---|---|---|"]
    for result in check_list("results", results, Result, 0):
        figure, text = CLAIMS[result.id]
        check = result.deciding
        lines.append(f"| {result.id} | {_escape(text)} (Fig. {figure}) | {_escape(check.what)}: {check.number} "
                     f"(asked: {check.asked}) | {sum(check.passed)} of {len(check.passed)} | **{result.verdict}** |")
    return "\n".join(lines).replace("Fig. Note", "Note")


def summary(results: Sequence[Result]) -> str:
    """Return the README's Markdown table "the paper says | here | trainings | verdict".

    "Here" is the number that decides; "trainings" counts those that pass the same test alone.
    """
    lines = ["| | the paper says | here | trainings | verdict |", "|---|---|---|---|---|"]
    for result in check_list("results", results, Result, 0):
        check = result.deciding
        lines.append(f"| {result.id} | {_escape(CLAIMS[result.id][1])} | {_escape(check.what)}: {check.number} | "
                     f"{sum(check.passed)}/{len(check.passed)} | {result.verdict} |")
    return "\n".join(lines)


def details(results: Sequence[Result]) -> str:
    """Return the Markdown table of every check: the value of each training, the mean with its error, the outcome."""
    lines = ["| claim | number | trainings | mean | asked | outcome |", "|---|---|---|---|---|---|"]
    for result in check_list("results", results, Result):
        for check in result.checks:
            values = ", ".join(f"{value:.3g}" for value in check.values)
            lines.append(f"| {result.id} | {_escape(check.what)} | {values} | {check.number} | {check.asked} | "
                         f"{check.outcome if check.counts else 'shown only'} |")
    return "\n".join(lines)


def _escape(text: str) -> str:
    return re.sub(r"([|*_])", r"\\\1", text)


def card(folder: str | Path, small: bool = False) -> str:
    """Return the score card of everything saved under ``folder`` as Markdown; it names the claims not measured yet.

    Parameters
    ----------
    small : whether the box is too small for verdicts, which the card's first line then says.
    """
    results = load(folder)
    missing = [claim for claim in CLAIMS if claim not in results]
    warning = "**Too small a box for verdicts: the paper's lattice has 128 x 128 sites (preset desktop).**"
    lines = [warning, ""] if check_flag("small", small) else []
    lines += [counts(results.values()) + (f"; not run: {', '.join(missing)}" if missing else ""), "",
              table(list(results.values())), "",
              "Mean over trainings, each on data of its own, with its standard error. A verdict needs the mean to lie "
              "beyond the threshold by more than the one-sided error at 95 %; else it is not decidable. Criteria: "
              "`evae_companion/claims/criteria.py`. Every check:", ""]
    if results:
        lines.append(details(list(results.values())))
    return "\n".join(lines) + "\n"


def counts(results: Iterable[Result]) -> str:
    """Return the number of claims per verdict, as text."""
    verdicts = [result.verdict for result in check_list("results", results, Result, 0)]
    return ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in VERDICTS)
