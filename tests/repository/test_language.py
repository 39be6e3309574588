"""The rules of language that a machine can check, over every text that a reader meets."""

import re
from pathlib import Path

import jupytext
import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md",
         *(path.relative_to(ROOT).as_posix() for folder in ("docs", "notebooks")
           for path in sorted((ROOT / folder).glob("*.md" if folder == "docs" else "[0-9]*.py")))]

UNITS = r"(J|rad|ms|s|bytes|steps|[kMG]B|minutes|seconds|updates|words|numbers)"
# What is not written: what is written instead.
INSTEAD = {
    r"\bat rest\b": "relaxed",
    r"\b(trained|training|networks?) from nothing\b": "trained from random weights",
    r"\bstates? drawn\b|\bdrawn states?\b": "generated",
    rf"\b{UNITS} an? (bond|component|core|cell|epoch|row|run|second|seed|site|spin|stage|state|step|sweep)\b": "per",
    r"\bwhat dies\b|\bis sent again\b": "failed tasks are resubmitted",
    r"\b(data|noise|network|model|lattice|prior)'s(?= (is|are|was|were|has|have)\b|[.,;:])": "the noun that is owned",
    r"\b(kill count|thread factor)s?\b": "a page for developers",
    r"\b(gamma|beta)_c\b": "γ_c or β_c",
}
LONG, LONGEST = 25, 35  # words between two of . ! ? : ;


def markdown(name: str) -> str:
    """A page, or the text cells of a notebook."""
    if name.endswith(".md"):
        return (ROOT / name).read_text(encoding="utf-8")
    return "\n\n".join(cell.source for cell in jupytext.read(ROOT / name).cells if cell.cell_type == "markdown")


def prose(text: str) -> list[str]:
    """Paragraphs of a page without tables, code, addresses and formulas; each of the last is one word, N."""
    text = re.sub(r"\$\$.*?\$\$|\$[^$\n]+(\n[^$\n]+)?\$", "N", text, flags=re.DOTALL)
    inside, paragraphs = False, []
    for token in MarkdownIt().enable("table").parse(text):
        inside = (inside or token.type == "table_open") and token.type != "table_close"
        if token.type == "inline" and not inside:
            words = [{"text": part.content, "code_inline": "N"}.get(part.type, " " if "break" in part.type else "")
                     for part in token.children or []]
            paragraphs.append(re.sub(r" +", " ", "".join(words)))
    return paragraphs


def sentences(paragraphs: list[str]) -> list[str]:
    return [one for text in paragraphs for one in re.split(r"(?<=[.!?:;])\s+", text) if len(one.split()) > 2]


def test_what_is_prose():
    text = ("# Head\n\nThe *data's* are `x = 1`, $a$ and\n[there](at.md).\n\n| a table |\n|---|\n| 1 |\n\n"
            "```\ncode\n```\n\n$$E$$")
    assert prose(text) == ["Head", "The data's are N, N and there.", "N"]
    assert sentences(["It is so. So it is; and so on."]) == ["It is so.", "So it is;", "and so on."]


@pytest.mark.parametrize("wrong", [
    "states at rest", "trained from nothing", "two states drawn", "1e-3 J a spin", "ten bytes a site", "the data's are",
    "as the network's, so", "gamma_c grows"])
def test_rules_find_what_they_are_for(wrong):
    assert any(re.search(rule, wrong) for rule in INSTEAD)


@pytest.mark.parametrize("name", PAGES)
def test_words(name):
    text = "\n".join(prose(markdown(name)))
    found = [f"{match[0]!r} -> {instead}: ...{text[max(0, match.start() - 40):match.end() + 20]}..."
             for rule, instead in INSTEAD.items() for match in re.finditer(rule, text)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", PAGES)
def test_sentences_are_short(name):
    """One idea each: none above LONGEST words, one in ten above LONG, half of that many on average."""
    found = sentences(prose(markdown(name)))
    words = [len(one.split()) for one in found]
    assert max(words) <= LONGEST, next(one for one in found if len(one.split()) > LONGEST)
    long = [one for one in found if len(one.split()) > LONG]
    assert len(long) <= max(1, len(found) // 10), "\n".join(long)
    assert sum(words) / len(words) <= 15


@pytest.mark.parametrize("name", PAGES)
def test_proselint_finds_nothing(name):
    """All its rules but typography's: our sources are typed in ASCII, and MyST sets the quotes."""
    tools = pytest.importorskip("proselint.tools", reason='proselint is not installed: pip install ".[prose]"')
    from proselint.checks import __register__
    from proselint.registry import CheckRegistry

    registry = CheckRegistry()
    if not registry.checks:
        registry.register_many(__register__)
    chosen = {**tools.DEFAULT, "checks": {**tools.DEFAULT["checks"], "typography": False}}
    text = "\n\n---\n\n".join(prose(markdown(name)))
    text = re.sub(r"\bN\b", lambda match: f"N{match.start()}", text)  # two formulas are no word that stands twice
    found = [(one.check_result.message, *one.check_result.span) for one in tools.LintFile(name, text).lint(chosen)]
    found = [one for one in found if not re.search(r"\d", text[one[1] - 1:one[2]])]  # nor is the number 10 000 000
    assert not found, "\n".join(f"{message}: {text[max(0, start - 40):end + 40]!r}" for message, start, end in found)
