"""House style of all figures: settings, the class Figure, panel letters, numbers as labels, and saving.

Figures are made without pyplot: no global list of open figures, nothing to close, safe in widget
callbacks. A notebook shows such a figure once, when it is the last value of a cell.
"""

from __future__ import annotations

import functools
import io
import logging
import math
import os
import re
import string
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.figure
import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure as MplFigure

from evae_companion.plotting.captions import CAPTIONS
from evae_companion.store import preview
from evae_companion.store.serialization import atomic_write
from evae_core.validation import check_is, check_number, check_path

# Full text width of a two-column page is 7 inches; curves at 5 inches are read on a phone held upright.
FULL, NARROW = 7.0, 5.0
FONT, SMALL = 9.0, 8.0

STYLE = {
    "font.family": "DejaVu Sans",  # ships with matplotlib, so that letters and bytes are the same everywhere
    "mathtext.fontset": "dejavusans",
    "font.size": FONT,
    "axes.titlesize": FONT,
    "axes.labelsize": FONT,
    "legend.fontsize": SMALL,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "figure.dpi": 120,
    "figure.facecolor": "white",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.minor.width": 0.5,
    "ytick.minor.width": 0.5,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "pdf.fonttype": 42,  # TrueType: text in the PDF stays text
    "pdf.compression": 6,
}

# Okabe and Ito's colours, told apart by every kind of colour vision; marker and dash differ as well, for print in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (2, 2)))
NEUTRAL = "#8c8c8c"  # non-magnetic sites; the spin colours are fully saturated, so grey is never a spin
GUIDE = "#444444"  # reference lines
OUT, GENERATED = r"$X_\mathrm{out}$", r"$X'_\mathrm{out}$"


def house_style() -> Any:
    """Return a context in which matplotlib follows :data:`STYLE`, whatever the user's own settings are."""
    return mpl.style.context(STYLE, after_reset=True)


class Figure(matplotlib.figure.Figure):
    """A matplotlib Figure that keeps the house style when drawn and shows itself in a notebook without pyplot.

    Attributes
    ----------
    caption : what is drawn; empty until :func:`save` sets it. A notebook's page shows it as the picture's alt text.
    """

    caption = ""

    def draw(self, renderer: Any) -> None:
        with house_style():  # ticks are made while drawing and would otherwise take the caller's settings
            super().draw(renderer)

    def _repr_png_(self) -> bytes:
        return _render(self, "png", self.dpi)

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, bytes], dict[str, Any]]:
        return {"image/png": self._repr_png_()}, {"image/png": {"alt": self.caption}} if self.caption else {}


def styled(function: Any) -> Any:
    """Decorate a function that makes a figure, so that it runs inside :func:`house_style`."""

    @functools.wraps(function)
    def inside(*args: Any, **kwargs: Any) -> Any:
        with house_style():
            return function(*args, **kwargs)

    return inside


def line_style(index: int) -> dict[str, Any]:
    """Return colour, marker and dash of the ``index``-th curve of an axes; they repeat together after seven."""
    return {"color": COLOURS[index % 7], "marker": MARKERS[index % 7], "linestyle": DASHES[index % 7]}


def letter_panels(axes: Iterable[Axes]) -> None:
    """Write a, b, c, ... above the upper left corner of each panel; nothing where there is only one."""
    panels = list(axes)
    for ax, letter in zip(panels, string.ascii_lowercase, strict=False) if len(panels) > 1 else ():
        ax.annotate(letter, (0, 1), xycoords="axes fraction", xytext=(-6, 3), textcoords="offset points", ha="right",
                    va="bottom", fontsize=FONT + 1, fontweight="bold", annotation_clip=False, gid="panel letter")


def decade(exponent: int) -> str:
    """Return 10^exponent as a tick label (mathtext): 1, 10, and powers."""
    return {0: "1", 1: "10"}.get(int(exponent), rf"$10^{{{int(exponent)}}}$")


def minus(text: str) -> str:
    """Return ``text`` with true minus signs before numbers, as long as those of the tick labels."""
    return re.sub(r"-(?=[\d.])", "\N{MINUS SIGN}", text)


def power(value: float) -> str:
    """Return a number as a reader writes it: 0, 100, 0.05, 10^-4 or 2x10^5 (mathtext)."""
    value = float(value)
    if value == 0 or 1e-2 <= abs(value) < 1e4:
        return minus(f"{value:g}")
    exponent = math.floor(math.log10(abs(value)) + 1e-9)
    factor = value / 10.0**exponent
    if math.isclose(factor, 1.0, rel_tol=1e-6):
        return rf"$10^{{{exponent}}}$"
    return rf"${factor:g}{{\times}}10^{{{exponent}}}$"


def _render(fig: MplFigure, suffix: str, dpi: float, caption: str | None = None) -> bytes:
    # A date or a version in the file would change its bytes from run to run.
    metadata = {"png": {"Software": None, "Description": caption},
                "pdf": {"CreationDate": None, "Producer": None, "Creator": None, "Subject": caption}}[suffix]
    buffer = io.BytesIO()
    font_log = logging.getLogger("fontTools.ttLib.tables._h_e_a_d")
    level = font_log.level
    font_log.setLevel(logging.ERROR)  # it warns of the dates inside the fonts that matplotlib ships
    try:
        with house_style():
            fig.savefig(buffer, format=suffix, dpi=dpi, metadata=metadata, bbox_inches="tight", pad_inches=0.05)
    finally:
        font_log.setLevel(level)
    return buffer.getvalue()


def save(fig: MplFigure, folder: str | os.PathLike[str], name: str, *, caption: str | None = None,
         caption_file: bool = True, dpi: int = 180) -> tuple[Path, Path]:
    """Write ``fig`` to ``folder/name.png`` and ``folder/name.pdf``, its caption to ``folder/name.txt``.

    The caption stands within the PNG and the PDF, too. The folder is created. The same figure gives the same bytes in
    every run. Each file appears whole or not at all: it is written under a temporary name and renamed. In a preview the
    figure is marked as recorded first. Returns the paths of the PNG and the PDF.

    Parameters
    ----------
    caption : what is drawn, in one to three sentences; by default that of :data:`~.captions.CAPTIONS`.
    caption_file : write ``name.txt``.
    dpi : dots per inch of the PNG.

    Raises
    ------
    TypeError
        ``fig`` is not a matplotlib Figure, or ``name`` or ``caption`` not a string.
    ValueError
        ``name`` is empty or holds a path separator, there is no caption, or ``dpi`` is not positive.
    OSError
        the folder cannot be created or written; no partial file stays.
    """
    check_is("fig", fig, matplotlib.figure.Figure)
    check_is("name", name, str)
    if not name or name != os.path.basename(name) or name in (".", "..") or "\\" in name:
        raise ValueError(f"name must be a plain file name without folder and ending, got {name!r}")
    caption = CAPTIONS.get(name, "") if caption is None else caption
    check_is("caption", caption, str)
    check_is("caption_file", caption_file, bool)
    if not caption.strip():
        raise ValueError(f"figure {name!r} has no caption; give caption=..., or add one to CAPTIONS in "
                         "evae_companion/plotting/captions.py")
    check_number("dpi", dpi, most=1e4)
    folder = check_path("folder", folder)
    if isinstance(fig, Figure):
        fig.caption = caption
    if mark := preview.mark():
        # Below the figure, which grows by it.
        fig.text(1, 0, f"\n{mark}", ha="right", va="top", fontsize=6, color="0.4")
    contents = {suffix: _render(fig, suffix, dpi, caption) for suffix in ("png", "pdf")}
    if caption_file:
        contents["txt"] = f"{caption}\n".encode()
    paths = []
    for suffix, content in contents.items():
        path = folder / f"{name}.{suffix}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            atomic_write(path, content)
        except OSError as error:
            raise OSError(f"cannot write figure {path}: {error.strerror or error}; "
                          "choose a folder that can be written and has room") from error
        paths.append(path)
    return paths[0], paths[1]
