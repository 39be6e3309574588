"""The README's code runs as printed, its commands exist, and the files it shows are there."""

import re
from pathlib import Path

import pytest

from evae_companion import claims
from evae_companion.cli.errors import DEFAULT_PRESET
from evae_companion.presets import PRESETS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_ten_lines_run(capsys):
    tools, code, own = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(code.strip().splitlines()) <= 14
    exec(compile(code, "README.md", "exec"), {})
    assert "Losses(" in capsys.readouterr().out
    names: dict = {}
    exec(compile(own, "README.md", "exec"), names)
    assert names["H"].D == pytest.approx(-0.6)
    exec(compile(tools, "README.md", "exec"), names)
    assert names["wire"].boundary == ("open", "periodic")


def test_links_and_pictures_exist():
    targets = re.findall(r"\]\(([^)#:]+)\)", README) + re.findall(r'src="([^":]+)"', README)
    assert len(targets) >= 5
    assert [t for t in targets if not (ROOT / t).exists()] == []


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"make (\w+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_table_of_sizes_is_the_presets():
    rows = dict(re.findall(r"^\| ([^|]+) \| (.*) \|$", README, re.MULTILINE))
    def cells(beginning):
        (row,) = [row for head, row in rows.items() if head.startswith(beginning)]
        return [cell.strip().replace(" ", "") for cell in row.split("|")]
    p = list(PRESETS.values())
    assert f"| `{DEFAULT_PRESET}` (default) |" in README
    assert cells("lattice, D, B") == [f"{q.size}x{q.size},{q.D:g},{q.B:g}" for q in p]
    assert cells("training / validation") == [f"{q.train}/{q.validation}/{q.test}" for q in p]
    assert cells("optimiser steps") == [f"{q.first_steps},{q.beta_steps},{q.gamma_steps}" for q in p]
    assert cells("batch") == [str(q.batch) for q in p]
    assert cells("learning rate") == [f"{q.first_rate:g},{q.learning_rate:g}" for q in p]
    assert cells("trainings") == [str(q.seeds) for q in p]


@pytest.mark.parametrize("heading, preset", [("the paper's lattice", "desktop"),
                                             ("48 x 48, too small a box for verdicts", "laptop")])
def test_the_score_card_is_the_measured_one(heading, preset):
    (card,) = re.findall(rf"## Score card: {heading}\n(.*?)\n## ", README, re.DOTALL)
    rows = re.findall(r"^\| ([A-Z]\d) \| .* \| ([a-z ]+) \|$", card, re.MULTILINE)
    found = claims.load(ROOT / "figures" / preset)
    assert rows == [(name, result.verdict) for name, result in found.items()] and list(found) == list(claims.CLAIMS)
    assert ("too small a box" in heading) == PRESETS[preset].small
