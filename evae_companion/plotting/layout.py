"""Layout of small multiples in inches: maps keep one scale, and gaps stay the same at any number of panels."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from evae_companion.plotting.spins import colour_wheel, scale_bar, spin_map, theta_bar
from evae_companion.plotting.style import FONT, GUIDE, SMALL, Figure

ALIGNED = 0.95  # cosine of the largest angle to the mean spin in a map that is of one colour to the eye, and says so
WHEEL = 0.95  # inches; the wheel with its labels
KEY = 1.2  # inches; width of the column that holds the wheel
KEYS = 3.1  # inches; height of the wheel and the key of theta below it


def map_size(shape: Any, columns: int, room: float, largest: float) -> tuple[float, float]:
    """Return width and height in inches of ``columns`` equal maps that share ``room``, no side above ``largest``."""
    ny, nx = shape
    width = min(room / columns, largest, largest * nx / ny)
    return width, width * ny / nx


class Panels:
    """Figure with a table of axes, in inches.

    ``panels[row, column]`` is an axes, made when first accessed, so that a table may have empty places.

    Parameters
    ----------
    widths, heights : of the columns and of the rows.
    gaps_x, gaps_y : distances after every column and row but the last; a number: all the same.
    left, right, top, bottom : margins.
    least : least height of the figure.
    """

    def __init__(self, widths: Any, heights: Any, gaps_x: Any = 0.06, gaps_y: Any = 0.06, *, left: float = 0.3,
                 right: float = KEY, top: float = 0.25, bottom: float = 0.25, least: float = 0.0) -> None:
        self.widths, self.heights = list(widths), list(heights)
        gaps_x = [gaps_x] * (len(self.widths) - 1) if isinstance(gaps_x, float) else list(gaps_x)
        gaps_y = [gaps_y] * (len(self.heights) - 1) if isinstance(gaps_y, float) else list(gaps_y)
        self.x = [left + sum(self.widths[:i]) + sum(gaps_x[:i]) for i in range(len(self.widths))]
        self.y = [top + sum(self.heights[:i]) + sum(gaps_y[:i]) for i in range(len(self.heights))]  # from the top
        self.width = self.x[-1] + self.widths[-1] + right
        self.height = max(self.y[-1] + self.heights[-1] + bottom, least)
        self.figure = Figure(figsize=(self.width, self.height))
        self._axes: dict[tuple[int, int], Axes] = {}

    def __getitem__(self, place: Any) -> Axes:
        row, column = place
        if place not in self._axes:
            self._axes[place] = self.place(self.x[column], self.y[row], self.widths[column], self.heights[row])
        return self._axes[place]

    def place(self, x: Any, y: Any, width: float, height: float) -> Axes:
        """Return new axes whose upper left corner is at (x, y) inches from the upper left corner of the figure."""
        return self.figure.add_axes(
            (x / self.width, 1 - (y + height) / self.height, width / self.width, height / self.height))

    def text(self, x: Any, y: Any, text: str, **keywords: Any) -> Any:
        """Write at (x, y) inches from the upper left corner of the figure."""
        return self.figure.text(x / self.width, 1 - y / self.height, text, **({"fontsize": FONT} | keywords))

    def row_label(self, row: int, text: str, offset: float = 0.06) -> None:
        """Write ``text`` upright, left of ``row``."""
        self.text(self.x[0] - offset, self.y[row] + self.heights[row] / 2, text, rotation=90, ha="right", va="center")

    def column_label(self, column: int, text: str, row: int = 0, span: int = 1, offset: float = 0.04) -> None:
        """Write ``text`` above ``span`` columns from ``column`` on, over ``row``."""
        last = column + span - 1
        middle = (self.x[column] + self.x[last] + self.widths[last]) / 2
        self.text(middle, self.y[row] - offset, text, ha="center", va="bottom", linespacing=1.3)

    def under(self, row: int, column: int, text: str) -> None:
        """Write ``text`` below a panel."""
        self.text(self.x[column] + self.widths[column] / 2, self.y[row] + self.heights[row] + 0.04, text, ha="center",
                  va="top", fontsize=FONT - 1, linespacing=1.3)

    def wheel(self, x: Any = None, y: Any = None, note: bool = True, size: Any = WHEEL) -> None:
        """Draw the colour wheel at (x, y) inches; by default in the right margin, beside the first row."""
        x = self.x[-1] + self.widths[-1] + 0.15 if x is None else x
        y = self.y[0] if y is None else y
        colour_wheel(self.place(x, y, size, size), note=note)

    def theta_bar(self, image: Any, x: Any = None, y: Any = None, width: float = 0.1, height: float = 1.3) -> None:
        """Draw the key of the local correlation at (x, y) inches; by default below the wheel in the margin."""
        x = self.x[-1] + self.widths[-1] + 0.3 if x is None else x
        y = self.y[0] + WHEEL + 0.65 if y is None else y
        theta_bar(self.figure, self.place(x, y, width, height), image)

    def spins(self, row: int, column: int, configuration: Any, **keywords: Any) -> Any:
        """Draw a spin map without ticks into panel (row, column), named if it is of one colour; return its axes."""
        ax = self[row, column]
        spin_map(ax, configuration, **({"axes": "none"} | keywords))
        mean = np.mean(configuration, (-2, -1), keepdims=True)
        if (mean * configuration).sum(-3).min() > ALIGNED * np.linalg.norm(mean):
            ax.text(0.5, 0.5, "uniform", transform=ax.transAxes, ha="center", va="center", fontsize=SMALL, color=GUIDE)
        return ax

    def bar(self, row: int, column: int, sites: Any, drop: Any = 7.0) -> None:
        """Draw the scale bar of all maps below panel (row, column), whose map is ``sites`` wide."""
        scale_bar(self[row, column], sites, drop)
