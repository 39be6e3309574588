"""Figure of the score card: every claim of the paper, what was measured here, and the verdict."""

from __future__ import annotations

import textwrap
from typing import Any

from matplotlib.patches import FancyBboxPatch

from evae_companion.plotting.style import FULL, Figure, styled
from evae_core.validation import check_keys, check_list

# (background, text), all with strong contrast. The verdict is written out; its colour only repeats it.
VERDICTS = {"reproduced": ("#c7e9d9", "#00533b"), "partly": ("#fde3b0", "#6b4500"), "other": ("#e4e4e4", "#333333")}


@styled
def score_card(rows: Any, *, title: str = "") -> Figure:
    """Draw the table of claims: id, claim, what was measured here, verdict.

    Parameters
    ----------
    rows : list of dicts with the strings ``id``, ``claim``, ``here`` and ``verdict``. A verdict that begins with
        "reproduced" is green, with "partly" amber, any other grey; its words are always written out.

    Raises
    ------
    TypeError, ValueError
        not a list of dicts, an empty one, or a row that lacks a key.
    """
    for i, row in enumerate(check_list("rows", rows, dict)):
        check_keys(f"rows[{i}]", row, ("id", "claim", "here", "verdict"))
    starts, wraps = (0.1, 0.5, 3.55, 5.85), (4, 50, 36, 15)  # inches; letters of 8 points that fit each column
    cells = [[textwrap.wrap(str(row[key]), wrap) or [""]
              for key, wrap in zip(("id", "claim", "here", "verdict"), wraps, strict=True)] for row in rows]
    heights = [0.14 * max(len(cell) for cell in row) + 0.12 for row in cells]
    top = 0.35 + (0.3 if title else 0)
    total = top + sum(heights) + 0.05
    fig = Figure(figsize=(FULL, total))
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, FULL), ylim=(total, 0))  # inches from the upper left corner
    ax.axis("off")
    if title:
        ax.text(starts[0], 0.2, title, va="center", fontsize=10, fontweight="bold")
    for x, heading in zip(starts, ("", "the paper's claim", "measured here", "verdict"), strict=True):
        ax.text(x, top - 0.12, heading, va="center", fontsize=8, fontweight="bold")
    y = top
    for row, lines, height in zip(rows, cells, heights, strict=True):
        ax.plot([0.05, FULL - 0.05], [y, y], color="0.8", linewidth=0.6)
        word = str(row["verdict"]).lower()
        background, ink = next((c for name, c in VERDICTS.items() if word.startswith(name)), VERDICTS["other"])
        ax.add_patch(FancyBboxPatch((starts[3] - 0.06, y + 0.045), FULL - starts[3] - 0.02, height - 0.09, linewidth=0,
                                    boxstyle="round,pad=0,rounding_size=0.04", facecolor=background))
        for i, (x, wrapped) in enumerate(zip(starts, lines, strict=True)):
            ax.text(x, y + height / 2, "\n".join(wrapped), va="center", fontsize=8, linespacing=1.2,
                    fontweight="bold" if i == 0 else "normal", color=ink if i == 3 else "black")
        y += height
    return fig
