"""Pictures that an explorer shows, side by side, for readers without a kernel."""

from __future__ import annotations

from typing import Any

import numpy as np

from evae_companion.plotting.checks import tuples
from evae_companion.plotting.layout import Panels
from evae_companion.plotting.style import FULL, Figure, styled
from evae_core.validation import check_array, check_count


@styled
def still_frames(frames: Any, *, across: int = 3) -> Figure:
    """Draw pictures in reading order, each below its words: what an explorer shows at a few values of a slider.

    Parameters
    ----------
    frames : list of (words, picture), a picture of shape (height, width, 3 or 4) with row 0 on top, floats in [0, 1] or
        uint8.
    across : pictures per row; the widest share the page, and all have one scale.

    Raises
    ------
    TypeError, ValueError
        an empty list, or a picture of another shape.
    """
    pictures = []
    for words, picture in tuples("frames", frames, "words, picture"):
        check_array(f"picture of {words}", picture, (None, None, None))
        pictures.append((words, np.asarray(picture)))
    across = min(check_count("across", across, 1), len(pictures))
    width = (FULL - 0.1 * (across - 1)) / across
    scale = width / max(picture.shape[1] for _, picture in pictures)  # inches per pixel
    rows = [pictures[k:k + across] for k in range(0, len(pictures), across)]
    heights = [scale * max(len(picture) for _, picture in row) for row in rows]
    panels = Panels([width] * across, heights, 0.1, 0.3, left=0.0, right=0.0, top=0.25, bottom=0.0)
    for r, row in enumerate(rows):
        for c, (words, picture) in enumerate(row):
            high, wide = (scale * side for side in picture.shape[:2])
            ax = panels.place(panels.x[c] + (width - wide) / 2, panels.y[r] + heights[r] - high, wide, high)
            ax.imshow(picture, aspect="auto")
            ax.axis("off")
            panels.column_label(c, words, row=r)
    return panels.figure
