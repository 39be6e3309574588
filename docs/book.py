"""The executed notebooks, the README and the package's own documentation as a static site: ``make book``.

Read from a folder, without a server, a script or the network: formulas are MathML, figures are files beside the pages,
and a link that leads nowhere ends the build. nbconvert and mistune, which the notebooks need anyway, make the pages;
pdoc makes those of the package; latex2mathml the formulas, which browsers show without help since 2023.
"""

from __future__ import annotations

import base64
import html
import pkgutil
import re
import shutil
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments.formatters import HtmlFormatter

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
NAME = "E-VAE companion"
WIDE = 600  # pixels: figures from here on scroll sideways on a phone instead of shrinking
# Markdown files that become pages, in the order of the contents: file -> page, title.
PAGES = {"README.md": ("index.html", "About"), "figures/desktop/claims.md": ("claims.html", "Score card"),
         "docs/HOW_IT_WORKS.md": ("how_it_works.html", "How it works"),
         "docs/MEASURES.md": ("measures.html", "Measures"),
         "docs/FIGURES.md": ("figures.html", "Figures"), "docs/PRESETS.md": ("presets.html", "Presets"),
         "docs/TOOLS.md": ("tools.html", "Your own system"), "docs/PAPER_SIZE.md": ("paper_size.html", "Paper size"),
         "docs/CLUSTER.md": ("cluster.html", "Clusters"), "docs/RELIABILITY.md": ("reliability.html", "Reliability"),
         "docs/DEEPSPIN.md": ("deepspin.html", "DeepSPIN"), "docs/PEACE.md": ("peace.html", "PEACE"),
         "data/README.md": ("data.html", "The files"), "benchmarks/README.md": ("benchmarks.html", "Benchmarks"),
         "CONTRIBUTING.md": ("contributing.html", "Contributing"), "CHANGELOG.md": ("changelog.html", "Changes")}
WIDGET = "application/vnd.jupyter.widget-view+json"


@dataclass(frozen=True)
class Page:
    """One page: where it lies in the site, what it is called, and its text as HTML."""

    href: str
    title: str
    body: str
    source: str = ""


def formula(latex: str, display: str = "inline") -> str:
    """LaTeX as MathML; a command that latex2mathml does not know ends the build.

    Bold letters become Unicode's own: browsers pass over mathvariant.
    """
    def bold(match: re.Match[str]) -> str:
        letter = match[1]
        start = 0x1D41A - ord("a") if letter.islower() else 0x1D400 - ord("A")
        return f"<mi>{chr(ord(letter) + start)}</mi>"

    mathml = convert(re.sub(r"\\arg\b", r"\\mathrm{arg}", " ".join(latex.split())), display=display)
    if unknown := re.search(r"\\[A-Za-z]+", mathml):
        raise SystemExit(f"book: {unknown[0]} in the formula {latex!r} cannot be made into MathML; write it otherwise")
    mathml = re.sub(r'<mi mathvariant="bold">([A-Za-z])</mi>', bold, mathml)
    mathml = re.sub(r"<mo[^>]*>(&#x0007C;|\|)</mo>", r'<mo stretchy="false" lspace="0" rspace="0">\1</mo>', mathml)
    return f'<div class="formula">{mathml}</div>' if display == "block" else mathml


class Renderer(IPythonRenderer):
    """Markdown with its formulas as MathML, and with links that lead to pages and files of the site."""

    def __init__(self, resolve: Callable[[str], str | None]):
        super().__init__(escape=False, anchor_link_text="¶")
        self.resolve = resolve

    def inline_math(self, body: str) -> str:
        return formula(body)

    def block_math(self, body: str) -> str:
        return formula(body, "block")

    def latex_environment(self, name: str, body: str) -> str:
        raise ValueError(f"the environment {name} is not made into MathML; write the formula between $$")

    def heading(self, text: str, level: int, **attrs: object) -> str:
        """With GitHub's name for the place, lower case without punctuation: links within a file lead there on both."""
        words = html.unescape(re.sub(r"<[^>]+>", "", text)).strip().lower()
        name = re.sub(r"[^\w -]", "", words).replace(" ", "-")
        anchor = f'<a class="anchor-link" href="#{name}">{self.anchor_link_text}</a>'
        return f'<h{level} id="{name}">{text}{anchor}</h{level}>\n'

    def link(self, text: str, url: str, title: str | None = None) -> str:
        found = self.resolve(url)
        return text if found is None else super().link(text, found, title)

    def image(self, text: str, url: str, title: str | None = None) -> str:
        if urlsplit(url).scheme:
            return text  # a badge: the site loads nothing from the network
        return f'<img src="{self.resolve(url)}" alt="{html.escape(text)}">'

    def block_html(self, html: str) -> str:
        return re.sub(r'src="([^":]+)"', lambda m: f'src="{self.resolve(m[1])}"', html)

    inline_html = block_html


class Exporter(HTMLExporter):
    """A notebook's cells as HTML, Markdown through :class:`Renderer`."""

    renderer: Renderer

    def markdown2html(self, context, source):
        return MarkdownWithMath(renderer=self.renderer).render(source)

    markdown2html.jinja_pass_arg = HTMLExporter.markdown2html.jinja_pass_arg  # jinja hands it the cell, as to the other


class Book:
    """Builds the site of the repository at ``root`` in ``folder``."""

    def __init__(self, root: Path, folder: Path):
        self.root, self.folder = root, folder
        self.notebooks = sorted(root.glob("notebooks/[0-9][0-9]_*.ipynb"))
        self.hrefs = {name: page for name, (page, _) in PAGES.items() if (root / name).is_file()}
        self.hrefs |= {f"notebooks/{path.name}": f"{path.stem}.html" for path in self.notebooks}
        if "README.md" not in self.hrefs or not self.notebooks:
            raise SystemExit(f"book: {root} holds no README.md or no executed notebooks; run make notebooks")

    def resolver(self, source: str) -> Callable[[str], str | None]:
        """What a link in the file ``source`` becomes: a page, a file that is copied, or None for other files."""
        def resolve(url: str) -> str | None:
            parts = urlsplit(url)
            if parts.scheme or url.startswith("#"):
                return url
            path = (self.root / source).parent / unquote(parts.path)
            if not path.exists() or not path.resolve().is_relative_to(self.root):
                raise SystemExit(f"book: {source} links to {url}, which does not exist")
            name = path.resolve().relative_to(self.root).as_posix()
            if name in self.hrefs:
                return self.hrefs[name] + (f"#{parts.fragment}" if parts.fragment else "")
            if path.suffix in (".png", ".svg"):
                target = self.folder / "images" / name.replace("/", "_")
                shutil.copyfile(path, target)
                return f"images/{target.name}"
            return None  # code and data: named, not shown

        return resolve

    def markdown(self, name: str) -> Page:
        text = (self.root / name).read_text(encoding="utf-8")
        body = MarkdownWithMath(renderer=Renderer(self.resolver(name))).render(text)
        return Page(*PAGES[name], _framed(self.sized(body)))

    def notebook(self, path: Path) -> Page:
        name = f"notebooks/{path.name}"
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            for number, output in enumerate(cell.get("outputs", [])):
                if WIDGET in output.get("data", {}):
                    note = '<p class="widget">Here are sliders, in JupyterLab.</p>'
                    cell.outputs[number] = nbformat.v4.new_output("display_data", {"text/html": note})
        exporter = Exporter(template_name="basic")
        exporter.renderer = Renderer(self.resolver(name))
        body, _ = exporter.from_notebook_node(notebook)
        figures = iter(range(1, 1000))

        def saved(match: re.Match[str]) -> str:
            image = self.folder / "images" / f"{path.stem}-{next(figures)}.png"
            image.write_bytes(base64.b64decode(match[1]))
            return f'src="images/{image.name}"'

        body = re.sub(r'src="data:image/png;base64,([^"]+)"', saved, body)
        return Page(self.hrefs[name], _title(body, path.stem), _framed(self.sized(body)), name)

    def sized(self, body: str) -> str:
        """Give every figure its width and height, so that nothing moves while a page loads, and wide ones a class."""
        def tag(match: re.Match[str]) -> str:
            raw = (self.folder / match[1]).read_bytes()
            width, height = (int.from_bytes(raw[k:k + 4], "big") for k in (16, 20))  # of the PNG's first chunk
            wide = ' class="wide"' if width >= WIDE else ""
            said = re.search(r'alt="([^"]*)"', match[0])  # nbconvert's own words for no words are of no use
            alt = said[1] if said and not said[1].startswith("No description") else "figure, described in the text"
            return (f'<a href="{match[1]}"><img src="{match[1]}"{wide} width="{width}" height="{height}" '
                    f'alt="{alt}"></a>')

        return re.sub(r'<img\b[^>]*src="(images/[^"]+\.png)"[^>]*>', tag, body)

    def build(self) -> list[Page]:
        """Write the whole site anew; return its pages."""
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "images").mkdir(parents=True)
        pages = [self.markdown("README.md"), *(self.notebook(path) for path in self.notebooks),
                 *(self.markdown(name) for name in list(PAGES)[1:] if name in self.hrefs)]
        api(self.folder / "api")
        contents = [*pages, Page("api/index.html", "The package", "")]
        template = Environment(loader=FileSystemLoader(HERE), undefined=StrictUndefined).get_template("page.html.j2")
        for number, page in enumerate(pages):
            text = template.render(
                title=f"{page.title} · {NAME}", name=NAME, pages=contents, here=page.href,
                body=page.body, source=page.source,
                before=contents[number - 1] if number else None, after=contents[number + 1])
            (self.folder / page.href).write_text(text, encoding="utf-8")
        style = (HERE / "style.css").read_text(encoding="utf-8")
        (self.folder / "style.css").write_text(style + HtmlFormatter().get_style_defs(".highlight"), encoding="utf-8")
        return pages


def _title(body: str, otherwise: str) -> str:
    found = re.search(r"<h1[^>]*>(.*?)</h1>", body, re.DOTALL)
    return html.unescape(re.sub(r"<[^>]+>", "", found[1])).strip(" ¶\n") if found else otherwise


def _framed(body: str) -> str:
    """Tables and figures in boxes that scroll sideways on their own."""
    body = re.sub(r"(<table\b.*?</table>)", r'<div class="table">\1</div>', body, flags=re.DOTALL)
    return re.sub(r'(<a href="images/[^"]+"><img [^>]+></a>)', r'<div class="figure">\1</div>', body)


def api(folder: Path) -> None:
    """The package's documentation from its docstrings, formulas as MathML."""
    import pdoc
    import pdoc.render

    import evae_companion
    import evae_core

    for name in evae_core.__all__:  # imported when first asked for, and pdoc does not ask
        setattr(evae_core, name, getattr(evae_core, name))
    packages = (evae_core, evae_companion)
    names = [found.name for package in packages
             for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    pdoc.render.configure(docformat="numpy", footer_text="", show_source=True, search=True)
    with warnings.catch_warnings():
        # A NamedTuple's own __init__ knows its types by name only; a package brings its modules a second time.
        warnings.filterwarnings("ignore", message="Error parsing type annotation|The module specification")
        pdoc.pdoc("evae_core", "evae_companion", *(name for name in names if not name.endswith("__main__")),
                  output_directory=folder)
    lines = (HERE / "style.css").read_text(encoding="utf-8").splitlines()
    style = "".join(line for line in lines if line.startswith(("math ", ".formula ")))  # all else is pdoc's
    for path in folder.rglob("*.html"):
        text = path.read_text(encoding="utf-8").replace("</head>", f"<style>{style}</style></head>", 1)
        path.write_text(_unlinked(_formulas(text)), encoding="utf-8")


def _formulas(text: str) -> str:
    """``.. math::`` blocks and :math: roles, as pdoc leaves them in its docstrings, as MathML."""
    def block(match: re.Match[str]) -> str:
        return formula(html.unescape(re.sub(r"<[^>]+>", " ", match[1])), "block")

    def docstring(match: re.Match[str]) -> str:
        inside = re.sub(r"\$\$(.+?)\$\$", block, match[0], flags=re.DOTALL)
        return re.sub(r"\\\((.+?)\\\)", lambda m: formula(html.unescape(m[1])), inside)

    return re.sub(r'<div class="docstring">.*?</div>', docstring, text, flags=re.DOTALL)


def _unlinked(text: str) -> str:
    """Without links to places that the page lacks: pdoc makes them of inherited methods, which it does not show."""
    ids = Links(text).ids
    return re.sub(r'<a href="#([^"]+)">(.*?)</a>', lambda m: m[0] if m[1] in ids else m[2], text)


class Links(HTMLParser):
    """What a page links to, loads, and offers as targets."""

    def __init__(self, text: str):
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.ids |= {value for key in ("id", "name") if (value := named.get(key))}
        if tag == "a" and named.get("href"):
            self.links.append(named["href"] or "")
        elif tag == "link" or named.get("src"):
            self.loaded.append(named.get("src") or named.get("href") or "")


def faults(folder: Path) -> list[str]:
    """What is wrong with the site: links and images that lead nowhere, and anything loaded from the network."""
    pages = {path.resolve(): Links(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        here = path.relative_to(folder.resolve())
        found += [f"{here} loads {url} from the network" for url in page.loaded if urlsplit(url).scheme in
                  ("http", "https") or url.startswith("//")]
        for url in [*page.links, *page.loaded]:
            parts = urlsplit(url)
            if parts.scheme or url.startswith("//"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                found.append(f"{here} links to {url}, which is not there")
            elif (target in pages and parts.fragment
                  and not {parts.fragment, unquote(parts.fragment)} & pages[target].ids):
                found.append(f"{here} links to {url}, a page without that place")
    return found


def main() -> int:
    folder = ROOT / "build" / "book"
    pages = Book(ROOT, folder).build()
    wrong = faults(folder)
    for line in wrong:
        print(f"book: {line}", file=sys.stderr)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{len(pages)} pages and the package's documentation, {size / 2**20:.1f} MiB: {folder / 'index.html'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
