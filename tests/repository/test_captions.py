"""Captions: one for every figure, short, beside every picture, and the alt text of every picture that a page shows.

Run as a script it writes the caption files beside the committed figures, and docs/FIGURES.md.
"""

import html
import re
from pathlib import Path

import pytest
from matplotlib.image import imread

from evae_companion.cli import notebook_runner, publishing
from evae_companion.plotting.captions import CAPTIONS

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "FIGURES.md"
PICTURES = sorted((ROOT / "figures").glob("*/*.png"))
HEAD = """# Every figure and the notebook that makes it

Names lead to PNG files; a PDF and the caption as text (.txt) stand beside each. Names that begin with "fig" are the
paper's figures, others are ours. Notebooks 00 to 07 ran at the preset desktop (the paper's lattice), the others at the
preset laptop.
"""


def sentences(text):
    return re.split(r"(?<=[.!?])\s+", text)


def page() -> str:
    """What docs/FIGURES.md holds: a section per notebook, a line per figure."""
    parts = [HEAD]
    for path in notebook_runner.sources(ROOT, []):
        parts.append(f"## [{notebook_runner.title(path)}](../notebooks/{path.name})\n")
        lines = []
        for name in publishing.saved([path])[0]:
            at = next((picture for picture in PICTURES if picture.stem == name), None)
            shown = f"[{name}](../{at.relative_to(ROOT).as_posix()})" if at else f"{name} (made on request)"
            lines.append(f"* {shown}. {CAPTIONS[name]}\n")
        parts.append("".join(lines))
    return "\n".join(parts)


def test_every_figure_has_a_caption_and_every_caption_a_figure():
    figures, _ = publishing.saved(notebook_runner.sources(ROOT, []))
    assert sorted(figures) == sorted(CAPTIONS)


@pytest.mark.parametrize("name", CAPTIONS)
def test_captions_are_short_and_plain(name):
    text, said = CAPTIONS[name], sentences(CAPTIONS[name])
    assert len(text.split()) <= 80 and len(said) <= 3
    assert all(len(sentence.split()) <= 25 and sentence.endswith(".") for sentence in said), said
    assert not re.search("[\N{EM DASH}\N{EN DASH}$\\\\\n]| -+ |  ", text), "no dashes, mathtext or line breaks"
    assert not re.search(r"\b(drawn|at rest)\b", text) and not re.search(r"'s(?= (?:is|are|of|in)\b|[.,;])", text)


def test_captions_and_panels_have_the_same_letters():
    for name, text in CAPTIONS.items():
        letters = re.findall(r"\(([a-d])\)", text)
        assert sorted(set(letters)) == [chr(ord("a") + k) for k in range(len(set(letters)))], name


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_picture_has_its_caption_beside_it(picture):
    assert picture.with_suffix(".txt").read_text(encoding="utf-8") == CAPTIONS[picture.stem] + "\n"
    assert imread(picture).ndim == 3


def test_names_of_the_papers_figures_alone_begin_with_fig():
    assert all(re.match(r"Figure S?\d[ABC]?: ", CAPTIONS[name]) for name in CAPTIONS if name.startswith("fig"))
    assert not [name for name, text in CAPTIONS.items() if text.startswith("Figure") and not name.startswith("fig")]


@pytest.mark.parametrize("name", ["README.md", *(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/*.md"))])
def test_alt_text_is_the_caption(name):
    """Of the figures that a page shows: the caption, or its first sentence."""
    text = (ROOT / name).read_text(encoding="utf-8")
    tags = re.findall(r"<img\b[^>]*>", text)
    shown = [[html.unescape(re.search(rf'\b{key}="([^"]*)"', tag)[1]) for key in ("src", "alt")] for tag in tags]
    shown += [[url, alt] for alt, url in re.findall(r"!\[([^]]*)\]\(([^) ]+)\)", text)]
    for url, alt in shown:
        assert alt.strip(), f"{name} shows {url} without alt text"
        if "figures/" in url:
            caption = CAPTIONS[Path(url).stem]
            assert alt in (caption, sentences(caption)[0]), f"{name}: {url}"


def test_the_page_of_figures_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page(), "run python tests/repository/test_captions.py"


if __name__ == "__main__":
    for picture in PICTURES:
        picture.with_suffix(".txt").write_text(CAPTIONS[picture.stem] + "\n", encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
