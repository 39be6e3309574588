"""The site is built once as ``make book`` does it: offline, with every page, formula and documented object in place.

The code of its pages runs, and its commands and messages exist.
"""

import html
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest

from evae_companion import claims
from evae_companion.cli import _parser

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(path.stem for path in ROOT.glob("docs/*.md"))
NOTEBOOKS = sorted(path.stem for path in ROOT.glob("notebooks/[0-9][0-9]_*.ipynb"))
WITH_CODE = ["FIRST_EVAE", "OWN_HAMILTONIAN", "OWN_DATA", "EXPORT", "WITHOUT_JUPYTER", "FAQ"]


class Page(HTMLParser):
    """What a page links to, what it loads, and which places in it can be linked to."""

    def __init__(self, path):
        super().__init__()
        self.links, self.loaded, self.ids = [], [], set()
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.ids |= {named[key] for key in ("id", "name") if named.get(key)}
        if tag == "a" and named.get("href"):
            self.links.append(named["href"])
        elif tag == "link" and named.get("rel") in ("stylesheet", "preload", "preconnect", "icon"):
            self.loaded.append(named["href"])
        elif named.get("src"):
            self.loaded.append(named["src"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """{path in the site: page}; half a minute on two cores."""
    pytest.importorskip("myst_nb", reason="the extra book is not installed")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run([sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs", "-d",
                           folder / "doctrees", ".", folder / "book"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {path.relative_to(folder / "book").as_posix(): Page(path) for path in folder.glob("book/**/*.html")
            } | {"": folder / "book"}


def pages(site):
    return {name: page for name, page in site.items() if name}


def test_every_page_is_there_and_in_the_contents(site):
    names = {f"docs/{name}.html" for name in PAGES} | {f"notebooks/{name}.html" for name in NOTEBOOKS}
    assert names | {"index.html", "README.html", "search.html"} <= set(site)
    assert site["index.html"].text == site["README.html"].text
    assert names <= set(site["index.html"].links)
    for group in ("Tutorial", "How-to", "Explanation", "Reference"):
        assert f'<span class="caption-text">{group}</span>' in site["index.html"].text


def test_nothing_comes_from_the_network(site):
    """Scripts, styles, images and fonts lie in the folder; the search, too."""
    files = [*pages(site).values()]
    assert not [url for page in files for url in page.loaded if urlsplit(url).netloc]
    styles = [path.read_text(encoding="utf-8") for path in site[""].rglob("*.css")]
    assert styles and not re.findall(r"""(?:@import|url\()\s*["']?(?:https?:)?//""", "".join(styles))
    inline = "".join(re.findall(r"<script>(.*?)</script>", "".join(page.text for page in files), re.DOTALL))
    assert "http" not in inline
    assert "topological" in (site[""] / "searchindex.js").read_text(encoding="utf-8")


def test_every_link_leads_somewhere(site):
    for name, page in pages(site).items():
        for url in [*page.links, *page.loaded]:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc:
                continue
            target = (site[""] / name).parent / unquote(parts.path) if parts.path else site[""] / name
            assert target.is_file(), f"{name} links to {url}"
            other = site.get(target.resolve().relative_to(site[""].resolve()).as_posix())
            if parts.fragment and other:
                assert {parts.fragment, unquote(parts.fragment)} & other.ids, f"{name} links to {url}"


def test_formulas_are_mathml(site):
    for name in NOTEBOOKS:
        notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
        text = site[f"notebooks/{name}.html"].text
        formulas = "".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown").count("$") > 0
        assert ("<math" in text) is formulas, name
        assert not re.search(r"\\(frac|sum|mathbf|mathrm)|merror", re.sub(r"<pre>.*?</pre>", "", text, flags=re.DOTALL))


def test_notebooks_are_shown_as_committed(site):
    """Their pictures with their captions, and a note below the stills of their sliders."""
    for name in NOTEBOOKS:
        notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
        outputs = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])]
        text = site[f"notebooks/{name}.html"].text
        assert text.count("Here are sliders") == sum("widget-view" in "".join(data) for data in outputs), name
        assert text.count("<img ") >= sum("image/png" in data for data in outputs), name
        assert text.count('alt="Sliders at ') == sum("widget-view" in "".join(data) for data in outputs) - (
            text.count('alt="One annealing, from hot')), name
        named = [output.get("metadata", {}).get("image/png", {}).get("alt") for cell in notebook.cells
                 for output in cell.get("outputs", [])]
        assert [alt for alt in named if alt and f'alt="{alt}"' not in html.unescape(text)] == [], name
        assert "VBox(" not in text


def test_the_api_is_documented(site):
    listed = re.findall(r"^   ~(evae_\w+(?:\.\w+)+)$", (ROOT / "docs/API.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert 25 <= len(listed) <= 40
    page = site["docs/API.html"]
    assert set(listed) <= page.ids and "Parameters" in page.text
    assert not re.search(r"system-message|class=\"problematic", "".join(one.text for one in pages(site).values()))


def test_commands_and_criteria_are_those_of_the_code(site):
    (chosen,) = (action for action in _parser()._actions if action.dest == "command")
    for command, parser in chosen.choices.items():
        assert f"evae {command}" in site["docs/COMMANDS.html"].text
        for option in parser._option_string_actions:
            assert option in site["docs/COMMANDS.html"].text
    for claim in claims.CLAIMS:
        assert f"<p>{claim}</p>" in site["docs/CLAIMS.html"].text
    assert "share of the uniform answer" in site["docs/CLAIMS.html"].text


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of torch's exporter, about itself
@pytest.mark.parametrize("name", WITH_CODE)
def test_the_code_of_a_page_runs(name, tmp_path, monkeypatch):
    if name == "EXPORT":
        pytest.importorskip("onnxscript")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(ROOT / "data")
    text = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    text = text.replace("n, steps = 1000, 1000", "n, steps = 32, 2")  # the tutorial alone has real sizes
    names: dict = {}
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    for block in blocks:
        exec(compile(block, f"{name}.md", "exec"), names)
    assert blocks


@pytest.mark.parametrize("name", PAGES)
def test_commands_of_a_page_are_right(name):
    text = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    for line in re.findall(r"^    (?:\.venv/bin/)?evae (.*)$", text, re.MULTILINE):
        words = shlex.split(line.replace("...", ""), comments=True)
        _parser().parse_args(words)  # exits where the line is wrong


def test_messages_of_the_troubleshooting_page_exist():
    sources = "".join(path.read_text(encoding="utf-8") for package in ("evae_core", "evae_companion")
                      for path in (ROOT / package).rglob("*.py")) + (ROOT / "Makefile").read_text(encoding="utf-8")
    sources = re.sub(r'"\s*\n\s*f?"', "", sources)
    text = (ROOT / "docs/TROUBLESHOOTING.md").read_text(encoding="utf-8")
    messages = re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)
    assert len(messages) >= 10 and [one for one in messages if one not in sources] == []
