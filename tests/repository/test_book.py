"""The static site: a small repository of its own is built, its links are checked, and faults are found."""

import re

import book
import nbformat
import pytest

MARKDOWN = r"""# A notebook

Text with $\mathbf S_i$ and

$$E = -J\sum_{\langle ij\rangle}\mathbf S_i\cdot\mathbf S_j$$

and a [link](../README.md), a [file](../code.py), [elsewhere](https://example.org)."""
PIXEL = ("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==")


@pytest.fixture
def root(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "code.py").write_text("x = 1\n")
    (tmp_path / "README.md").write_text(
        "# About\n\n[one](notebooks/01_one.ipynb) [![a badge](https://example.org/b.svg)](https://example.org)\n\n"
        "| a | b |\n|---|---|\n| 1 | 2 |\n")
    outputs = [nbformat.v4.new_output("display_data", {"image/png": PIXEL}),
               nbformat.v4.new_output("display_data", {book.WIDGET: {"model_id": "0"}, "text/plain": "VBox"}),
               nbformat.v4.new_output("stream", name="stdout", text="said <this>\n")]
    code = nbformat.v4.new_code_cell("x = 1", outputs=outputs, execution_count=1)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(MARKDOWN), code])
    nbformat.write(notebook, tmp_path / "notebooks" / "01_one.ipynb")

    def api(folder):
        folder.mkdir()
        (folder / "index.html").write_text("<p>the package</p>")

    monkeypatch.setattr(book, "api", api)
    return tmp_path


def test_a_site_that_needs_no_network(root):
    pages = book.Book(root, root / "site").build()
    assert [page.href for page in pages] == ["index.html", "01_one.html"] and pages[1].title == "A notebook"
    assert book.faults(root / "site") == []
    text = (root / "site" / "01_one.html").read_text()
    assert "<script" not in text and text.count("<math") == 2 and "𝐒" in text and "$" not in text
    assert 'href="index.html"' in text and 'href="https://example.org"' in text
    assert "file," in text and "code.py" not in text
    assert "said &lt;this&gt;" in text and "Here are sliders" in text and "VBox" not in text
    assert '<a href="images/01_one-1.png"><img src="images/01_one-1.png" width="1" height="1"' in text
    assert (root / "site" / "images" / "01_one-1.png").read_bytes()[1:4] == b"PNG"
    assert 'name="viewport"' in text
    assert '<a href="https://example.org">a badge</a>' in (root / "site" / "index.html").read_text()
    assert '<div class="table"><table>' in (root / "site" / "index.html").read_text().replace("\n", "")


def test_built_anew_nothing_old_is_left(root):
    book.Book(root, root / "site").build()
    (root / "site" / "old.html").write_text("old")
    book.Book(root, root / "site").build()
    assert not (root / "site" / "old.html").exists()


@pytest.mark.parametrize("text, words", [
    ('<a href="nowhere.html">', "links to nowhere.html, which is not there"),
    ('<a href="index.html#nowhere">', "index.html#nowhere, a page without that place"),
    ('<a href="#nowhere">', "#nowhere, a page without that place"),
    ('<img src="images/none.png">', "images/none.png, which is not there"),
    ('<script src="https://cdn.example.org/x.js">', "loads https://cdn.example.org/x.js from the network"),
    ('<link rel="stylesheet" href="//cdn.example.org/x.css">', "loads //cdn.example.org/x.css from the network"),
])
def test_faults_are_found(root, text, words):
    book.Book(root, root / "site").build()
    (root / "site" / "bad.html").write_text(text)
    assert [line for line in book.faults(root / "site") if line.startswith("bad.html") and words in line]


def test_a_link_to_nothing_ends_the_build(root):
    (root / "README.md").write_text("[gone](notebooks/99_gone.ipynb)")
    with pytest.raises(SystemExit, match=r"README.md links to notebooks/99_gone.ipynb, which does not exist"):
        book.Book(root, root / "site").build()
    (root / "README.md").unlink()
    with pytest.raises(SystemExit, match="no README.md"):
        book.Book(root, root / "site")


def test_links_within_a_file_lead_to_its_headings():
    """By GitHub's names for them; those of this repository's pages are checked here, without building the site."""
    def rendered(text):
        return book.Links(book.MarkdownWithMath(renderer=book.Renderer(lambda url: url)).render(text))
    assert rendered("# Hard to `break`: $J$, 5 %?").ids == {"hard-to-break-j-5-"}
    for name in book.PAGES:
        page = rendered((book.ROOT / name).read_text(encoding="utf-8"))
        assert {url[1:] for url in page.links if url.startswith("#")} <= page.ids, name


def test_links_to_what_pdoc_does_not_show_become_text():
    text = '<p id="A.there"><a href="#A.there">there()</a> <code><a href="#A.to">to()</a></code></p>'
    assert book._unlinked(text) == '<p id="A.there"><a href="#A.there">there()</a> <code>to()</code></p>'


def test_every_formula_of_the_notebooks_becomes_mathml():
    """Those of this repository, not of the small one: no formula is left as LaTeX."""
    for path in book.ROOT.glob("notebooks/[0-9][0-9]_*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown":
                page = book.MarkdownWithMath(renderer=book.Renderer(lambda url: url)).render(cell.source)
                assert not re.search(r"\\[a-z]{2,}|<merror", page), f"{path.name}: {cell.source}"


def test_an_unknown_command_ends_the_build():
    with pytest.raises(SystemExit, match=r"\\dance in the formula"):
        book.formula(r"x \dance y")


def test_formulas_of_docstrings():
    text = '<div class="docstring"><p>a $$x_i &lt; 1$$ b \\(y\\)</p></div><pre>$$not this$$</pre>'
    found = book._formulas(text)
    assert found.count("<math") == 2 and "$$not this$$" in found
