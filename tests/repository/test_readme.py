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
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(code.strip().splitlines()) <= 14
    exec(compile(code, "README.md", "exec"), {})
    assert "Losses(" in capsys.readouterr().out


def test_the_tools_run():
    own, tools = re.findall(r"```python\n(.*?)```", (ROOT / "docs/TOOLS.md").read_text(encoding="utf-8"), re.DOTALL)
    names: dict = {}
    exec(compile(own, "TOOLS.md", "exec"), names)
    assert names["H"].D == pytest.approx(-0.6)
    exec(compile(tools, "TOOLS.md", "exec"), names)
    assert names["wire"].boundary == ("open", "periodic")


def test_it_is_read_in_minutes():
    """At most 1 100 words besides code and BibTeX, and 9 kB in all."""
    text = re.sub(r"\]\([^)]*\)|<img[^>]*>", "", re.sub(r"```.*?```", "", README, flags=re.DOTALL))
    assert len([word for word in text.split() if re.search(r"\w", word)]) <= 1100
    assert len(README.encode()) <= 9_000


@pytest.mark.parametrize("name", ["README.md", *(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/*.md"))])
def test_links_and_pictures_exist(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text) + re.findall(r'src="([^":]+)"', text)
    assert [t for t in targets if not ((ROOT / name).parent / t).exists()] == []
    said = re.findall(r'alt="([^"]*)"', text)
    assert all(words.strip() for words in said) and len(said) == text.count("<img")


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"make (\w+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_table_of_sizes_is_the_presets():
    text = (ROOT / "docs/PRESETS.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([^|]+) \| (.*) \|$", text, re.MULTILINE))
    def cells(beginning):
        (row,) = [row for head, row in rows.items() if head.startswith(beginning)]
        return [cell.strip().replace(" ", "") for cell in row.split("|")]
    p = list(PRESETS.values())
    assert f"| `{DEFAULT_PRESET}` (default) |" in text
    assert cells("lattice, D, B") == [f"{q.size}x{q.size},{q.D:g},{q.B:g}" for q in p]
    assert cells("training / validation") == [f"{q.train}/{q.validation}/{q.test}" for q in p]
    assert cells("optimiser steps") == [f"{q.first_steps},{q.beta_steps},{q.gamma_steps}" for q in p]
    assert cells("batch") == [str(q.batch) for q in p]
    assert cells("learning rate") == [f"{q.first_rate:g},{q.learning_rate:g}" for q in p]
    assert cells("trainings") == [str(q.seeds) for q in p]


def test_the_results_are_the_measured_ones():
    found = claims.load(ROOT / "figures" / DEFAULT_PRESET)
    assert claims.summary(list(found.values())) in README and list(found) == list(claims.CLAIMS)
    assert not PRESETS[DEFAULT_PRESET].small
