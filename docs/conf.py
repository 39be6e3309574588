"""The site: ``make book`` builds it in build/book from the README, the notebooks as committed, and the docstrings.

The source folder is the repository, so that links between files hold here as they do on a Git server. Nothing runs, and
no page loads anything from the network: formulas are MathML, made by docutils itself.
"""

import json
import os
import re
import shutil
import sys
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]  # the docstrings of this checkout, and frames.py
PLAYGROUND = ROOT / "build" / "playground"  # static files; the site links to them where they have been built

NOTEBOOKS = sorted(f"notebooks/{path.stem}" for path in ROOT.glob("notebooks/[0-9][0-9]_*.ipynb"))
# The contents: group -> pages, without their suffix.
CONTENTS = {
    "Tutorial": ["docs/FIRST_EVAE", "notebooks/00_start_here", "docs/SLIDERS"],
    "The paper, figure by figure": [name for name in NOTEBOOKS if "01" <= name[10:12] <= "07"],
    "Beyond the paper": [name for name in NOTEBOOKS if name[10:12] >= "08"],
    "How-to": ["docs/OWN_HAMILTONIAN", "docs/OWN_DATA", "docs/EXPORT", "docs/TOOLS", "docs/WITHOUT_JUPYTER",
               "docs/PAPER_SIZE", "docs/CLUSTER", "docs/TROUBLESHOOTING"],
    "Explanation": ["docs/HOW_IT_WORKS", "docs/FAQ", "docs/RELIABILITY", "docs/DEEPSPIN", "docs/PEACE"],
    "Reference": ["docs/API", "docs/COMMANDS", "docs/MEASURES", "docs/PRESETS", "docs/CLAIMS",
                  "figures/desktop/claims", "docs/FIGURES", "docs/GLOSSARY", "data/README", "benchmarks/README"],
    "Project": ["CONTRIBUTING", "CHANGELOG"],
}

project = "E-VAE companion"
author = copyright = "E-VAE companion authors"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.viewcode", "numpydoc"]
root_doc = "README"
include_patterns = ["README.md", "benchmarks/*.md", *(name + ext for names in CONTENTS.values() for name in names
                                                      for ext in (".md", ".ipynb"))]
exclude_patterns = [".*", "build", "evae_*", "tests", "**/.ipynb_checkpoints"]

nb_execution_mode = "off"
nb_ipywidgets_js = {}  # they would come from a CDN
nb_render_markdown_format = "myst"  # outputs with tables
myst_enable_extensions = ["dollarmath", "html_image"]
myst_heading_anchors = 4  # links to headings, by GitHub's names
suppress_warnings = ["toc.not_included", "myst.header"]  # tables of benchmarks, reached by links; headings of notebooks
autosummary_generate = False
autodoc_typehints = "none"
numpydoc_show_class_members = False

html_theme = "furo"
html_title = "E-VAE companion"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = False
html_math_renderer = "mathml"
html_permalinks_icon = "¶"


def mathml(formula: str, block: bool = False) -> str:
    """LaTeX as MathML, which browsers show without a script; a command that docutils does not know ends the build."""
    made = tex2mathml(re.sub(r"\\[bB]ig+(?![a-zA-Z])", "", formula), as_block=block)
    return made.replace('<mo stretchy="false">|', '<mo stretchy="false" lspace="0" rspace="0">|')  # a modulus


def inline_math(self, node):
    self.body.append(mathml(node.astext()))
    raise nodes.SkipNode


def block_math(self, node):
    self.body.append(f'<div class="math">{mathml(node.astext(), block=True)}</div>\n')
    raise nodes.SkipNode


def commands() -> str:
    """Every command of ``evae`` with its options, from the parser itself."""
    from evae_companion.cli import _parser

    os.environ["COLUMNS"] = "90"
    (chosen,) = (action for action in _parser()._actions if action.dest == "command")
    return "\n\n".join(f"## evae {name}\n\n```text\n{one.format_help()}```" for name, one in chosen.choices.items())


def criteria() -> str:
    """Every claim with the checks that decide about it, from the score card of the paper's lattice."""
    from evae_companion import claims
    from evae_companion.claims.card import _escape

    lines = ["| claim | the paper says | asked for |", "|---|---|---|"]
    for name, result in claims.load(ROOT / "figures" / "desktop").items():
        figure, text = claims.CLAIMS[name]
        checks = [(re.sub(r", β = [\d.e-]+$", ", at each β", one.what), one.asked)
                  for one in result.checks if one.counts]
        asked = "<br>".join(f"• {_escape(what)}: **{_escape(asked).replace('<', '&lt;')}**" for what, asked in
                            dict.fromkeys(checks))
        lines.append(f"| {name} | {_escape(text)} (Fig. {figure}) | {asked} |".replace("Fig. Note", "Note"))
    return "\n".join(lines)


def contents() -> str:
    """The table of contents, which stands at the end of the README, unseen: the sidebar shows it."""
    return "".join(
        f"\n```{{toctree}}\n:hidden:\n:caption: {group}\n\n" + "\n".join(f"/{page}" for page in pages) + "\n```\n"
        for group, pages in CONTENTS.items())


def pictures() -> str:
    """Sliders over recorded states; their pictures lie beside the pages (finish)."""
    import frames

    return frames.write(frames.sliders(), FRAMES)


GENERATED = {"docs/COMMANDS": commands, "docs/CLAIMS": criteria, "docs/SLIDERS": pictures, "README": contents}
FRAMES = ROOT / "build" / "frames"
WIDGET = "application/vnd.jupyter.widget-view+json"
HOME = '<p><a href="../index.html">Back to the documentation</a></p>'
PLAY = '<p><a href="playground/index.html">Playground: decoders and an annealer in the browser</a></p>'
SLIDERS = ('<p class="sliders">Here are sliders in JupyterLab: <code>make lab</code>. '
           '<a href="../docs/SLIDERS.html">Some of them work here.</a></p>')


def read(app, docname, source):
    """Complete a page that is made at build time; name a notebook's pictures; put a note below the still of sliders."""
    if docname == "figures/desktop/claims":  # made by the run, without a title
        source[0] = "# Score card\n\n" + source[0]
    if docname in GENERATED:
        source[0] += "\n" + GENERATED[docname]() + "\n"
    if docname == "README" and (PLAYGROUND / "index.html").is_file():
        source[0] = source[0].replace("\n## ", f"\n{PLAY}\n\n## ", 1)
    if docname in NOTEBOOKS:
        notebook = json.loads(source[0])
        for cell in notebook["cells"]:
            outputs = cell.get("outputs", [])
            captions = [output.get("metadata", {}).get("image/png", {}).get("alt") for output in outputs]
            alt = next(filter(None, captions), "Figure, described in the text")
            cell["metadata"]["mystnb"] = {"image": {"alt": alt}}  # else the file's name
            for output in [one for one in outputs if one.get("data", {}).pop(WIDGET, None)]:
                output["data"].pop("text/plain", None)
                note = {"output_type": "display_data", "metadata": {}, "data": {"text/html": SLIDERS}}
                outputs.insert(outputs.index(output) + 1, note)
        source[0] = json.dumps(notebook)


def docstring(app, what, name, obj, options, lines):
    """``|S x h|`` is a modulus, not a substitution. What ``x : text`` says of x, on one line or more, goes below it."""
    text = re.sub(r"(?<!\\)\|", r"\|", "\n".join(lines))
    lines[:] = re.sub(r"^([\w, ]+) : (.*)$", r"\1\n    \2", text, flags=re.MULTILINE).splitlines()


def finish(app, exception):
    """The README is the front page, under the name that servers look for."""
    if exception is None:
        shutil.copyfile(Path(app.outdir, "README.html"), Path(app.outdir, "index.html"))
        shutil.copytree(FRAMES, Path(app.outdir, "frames"), dirs_exist_ok=True)
        if (PLAYGROUND / "index.html").is_file():
            shutil.copytree(PLAYGROUND, Path(app.outdir, "playground"), dirs_exist_ok=True)
            page = Path(app.outdir, "playground", "index.html")
            page.write_text(page.read_text(encoding="utf-8").replace("<!-- home -->", HOME), encoding="utf-8")


def setup(app):
    app.add_html_math_renderer("mathml", (inline_math, None), (block_math, None))
    app.connect("source-read", read)
    app.connect("autodoc-process-docstring", docstring, priority=400)  # before numpydoc
    app.connect("build-finished", finish)
