"""The score card of the claims: results saved as JSON beside the figures, and shown as Markdown tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from evae_companion.claims.result import CLAIMS, Result
from evae_companion.store.serialization import read_checksummed, write_checksummed
from evae_core.validation import check_is, check_list, check_path


def save(folder: str | Path, notebook: str, results: Sequence[Result]) -> str:
    """Save the results of a notebook as claims/<notebook>.json under ``folder``, and return their Markdown table.

    A notebook in a folder of its own ("seeds/08") measures the same claims in another way: :func:`load` omits it.
    """
    check_is("notebook", notebook, str)
    check_list("results", results, Result, 0)
    path = check_path("folder", folder) / "claims" / f"{check_path('notebook', notebook)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_checksummed(path, [asdict(result) for result in results])
    return table(results)


def load(folder: str | Path, where: str = "claims") -> dict[str, Result]:
    """Return {claim: result} of every result saved in ``where`` under ``folder``.

    Raises
    ------
    ValueError
        a damaged file.
    """
    results = {}
    for path in sorted((check_path("folder", folder) / check_path("where", where)).glob("*.json")):
        try:
            for one in read_checksummed(path):
                results[one["id"]] = Result.parsed(one)
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path} does not hold claims as they were measured; delete it and run its notebook "
                             f"again ({error})") from error
    return {claim: results[claim] for claim in CLAIMS if claim in results}


def table(results: Sequence[Result]) -> str:
    """Return the Markdown table "claim | paper | here | verdict"."""
    lines = ["| claim | paper | here | verdict |", "|---|---|---|---|"]
    for result in check_list("results", results, Result, 0):
        figure, text = CLAIMS[result.id]
        here = "; ".join(f"{'+' if check.passed else '-'} {check.criterion}: {check.measured}"
                         for check in result.checks)
        lines.append(f"| {result.id} | {_escape(text)} (Fig. {figure}) | {_escape(here)} | **{result.verdict}** |")
    return "\n".join(lines).replace("Fig. Note", "Note")


def _escape(text: str) -> str:
    return re.sub(r"([|*_])", r"\\\1", text)


def card(folder: str | Path) -> str:
    """Return the score card of everything saved under ``folder`` as Markdown; it names the claims not measured yet.

    If the claims were measured over several seeds ("claims/seeds"), a second table gives that result.
    """
    results, seeds = load(folder), load(folder, "claims/seeds")
    missing = [claim for claim in CLAIMS if claim not in results]
    lines = [counts(results.values()) + (f", not run: {', '.join(missing)}" if missing else ""), "",
             table(list(results.values())), "",
             "A check that passed is marked +, one that failed -. Criteria: `evae_companion/claims/criteria.py`."]
    if seeds:
        lines += ["", f"By every seed alone, a check being met where all seeds meet it: {counts(seeds.values())}", "",
                  table(list(seeds.values()))]
    return "\n".join(lines) + "\n"


def counts(results: Iterable[Result]) -> str:
    """Return the number of claims per verdict, as text."""
    verdicts = [result.verdict for result in check_list("results", results, Result, 0)]
    return ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in ("reproduced", "partly", "not reproduced"))
