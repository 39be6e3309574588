"""Cursor on a figure that is drawn once: moving it only copies the picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg

from evae_companion.plotting.style import house_style
from evae_companion.widgets.images import png

COLOUR = (200, 0, 60)  # used by none of the curves


class CursorPlot:
    """Picture of ``figure``; :meth:`at` draws a vertical line at x into the axes numbered ``axes``."""

    def __init__(self, figure: Any, axes: tuple[int, ...], dpi: int = 90):
        before, canvas = figure.dpi, FigureCanvasAgg(figure)
        figure.set_dpi(dpi)
        with house_style():
            canvas.draw()
        self.picture = np.array(canvas.buffer_rgba())[..., :3]
        drawn = [figure.axes[number] for number in axes]
        self.axes = [(ax.transData.frozen(), ax.bbox.frozen(), ax.get_ylim()[0]) for ax in drawn]
        figure.set_dpi(before)

    def columns(self, x: float) -> list[tuple[int, int, int]]:
        """Return (column, first row, last row) of the cursor in each axes; nothing for axes that x lies outside."""
        result = []
        for to_pixels, box, bottom in self.axes:
            column = to_pixels.transform((x, bottom))[0]
            if box.x0 <= column <= box.x1:
                result.append((int(round(column)), int(len(self.picture) - box.y1), int(len(self.picture) - box.y0)))
        return result

    def at(self, x: float) -> bytes:
        """Return the figure with the cursor at ``x``, as PNG."""
        picture = self.picture.copy()
        for column, first, last in self.columns(x):
            picture[first:last, column - 1:column + 1] = COLOUR
        return png(picture)
