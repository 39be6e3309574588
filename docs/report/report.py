"""The replication report as a PDF: every number and figure in it is read from data/recorded, data/known and figures.

``report.typ`` holds prose and layout and no measured number, ``measured.py`` reads these. ``make report`` writes
build/report/report.pdf, the same bytes each time.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import measured
import yaml
from wording import grouped, listed, markup

from evae_companion import claims
from evae_companion.claims import Result
from evae_companion.presets import PRESETS, RunPreset
from evae_companion.store.serialization import read_json

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SOURCE = HERE / "report.typ"
# The verdicts that the prose of report.typ was written for: where a record has others, it has to be read again.
WRITTEN_FOR = {
    "reproduced": "D1 B2 B3 G1 G3 N1 N2 L1 L2 C2 C3", "partly": "G2 S1", "not reproduced": "B1 N3 L3",
    "not decidable": "G4 N4 C1 C4 C5"}


def judged(folder: Path) -> dict[str, Result]:
    """Return the recorded results of the claims; ValueError where a verdict is not the one the prose was written for.
    """
    results = {one["id"]: Result.parsed(one) for one in read_json(folder / "claims.json")}
    written = {claim: verdict for verdict, ids in WRITTEN_FOR.items() for claim in ids.split()}
    other = [f"{claim}: {result.verdict}, not {written.get(claim)}" for claim, result in results.items()
             if result.verdict != written.get(claim)]
    if other or written.keys() - results.keys():
        raise ValueError(f"{SOURCE.name} was written for other verdicts ({'; '.join(other) or 'claims are missing'}); "
                         f"read its prose again, then change WRITTEN_FOR in {Path(__file__).name}")
    return results


def cited() -> dict[str, str]:
    """Return the paper and this software as CITATION.cff names them."""
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    (paper,) = (one for one in [cff.get("preferred-citation"), *cff.get("references", [])]
                if one and one["type"] == "article")
    names = [one["family-names"] for one in paper["authors"]]
    return {"paper_title": markup(paper["title"]), "paper_authors": listed(names), "paper_journal": paper["journal"],
            "paper_year": str(paper["year"]), "paper_doi": paper["doi"], "paper_short": f"{names[0]} et al.",
            "authors": listed(one.get("name") or one["family-names"] for one in cff["authors"]),
            "software": cff["title"], "version": cff["version"], "licence": cff["license"]}


def settings(paper: RunPreset, p: RunPreset) -> list[list[str]]:
    """Return the rows of the table "the paper, here"."""
    def row(name: str, *values: str) -> list[str]:
        return [markup(text) for text in (name, *values)]

    both = paper, p
    return [
        row("lattice, periodic", *(f"{q.size} × {q.size}" for q in both)),
        row("D, B", *(f"{q.D:g}, {q.B:g}" for q in both)),
        row("training, validation, test states",
            *(", ".join(map(grouped, (q.train, q.validation, q.test))) for q in both)),
        row("batch", *(str(q.batch) for q in both)),
        row("steps of the first stage, of a β stage, of a γ stage",
            *(", ".join(map(grouped, (q.first_steps, q.beta_steps, q.gamma_steps))) for q in both)),
        row("learning rate of the first stage, of later ones",
            *(f"{q.first_rate:.0e}, {q.learning_rate:.0e}" for q in both))]


def gathered(recorded: Path = ROOT / "data/recorded", known: Path = ROOT / "data/known") -> dict[str, Any]:
    """Return all that ``report.typ`` shows: ``numbers``, {name: Typst markup}, and the rows of its two tables.

    Raises
    ------
    ValueError
        a record without what is asked for, or one that the prose does not fit.
    """
    p, paper, small = (PRESETS[name] for name in ("desktop", "paper", "laptop"))
    record, price = (measured.Record(recorded / q.name) for q in (p, small))
    results = judged(record.folder)
    versions = next(iter(record.index["entries"].values()))["versions"]
    n = {"made": record.index["made"][:10]} | {key: versions[key] for key in ("python", "torch", "numpy")}
    for part in (cited(), measured.of_system(p, paper), measured.of_claims(results, p), measured.of_data(record, p),
                 measured.of_sweeps(record, p), measured.of_noise(record, p), measured.of_walks(record, p),
                 measured.of_collapse(record, p), measured.of_edges(record, p),
                 measured.of_cost(record, p, price, small, known / paper.name / "certificate")):
        if twice := n.keys() & part.keys():
            raise ValueError(f"two numbers are called {sorted(twice)[0]}")
        n |= part
    rows = [[claim, markup(claims.CLAIMS[claim][1]), f"{markup(one.what)}: *{markup(one.number)}*", markup(one.asked),
             f"{sum(one.passed)} of {len(one.passed)}", result.verdict]
            for claim, result in results.items() for one in [result.deciding]]
    return {"numbers": n, "made": record.index["made"], "claims": rows, "presets": settings(paper, p)}


def compiled(content: dict[str, Any], **more: Any) -> Any:
    """Return the report as the bytes of a PDF; ``more`` goes to typst.compile, as format="png" for a list of pages."""
    import typst  # here: numbers are gathered and tested without it

    return typst.compile(SOURCE, root=ROOT, ignore_system_fonts=True, timestamp=datetime.fromisoformat(content["made"]),
                         sys_inputs={"content": json.dumps(content, ensure_ascii=False)}, **more)


def main(arguments: Sequence[str]) -> None:
    """Write report.pdf into the folder named, else into build/report."""
    folder = Path(arguments[0]) if arguments else ROOT / "build/report"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.pdf").write_bytes(compiled(gathered()))
    print(folder / "report.pdf")


if __name__ == "__main__":
    main(sys.argv[1:])
