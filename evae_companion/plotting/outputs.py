"""Figures of model outputs beside their inputs: outputs along a sweep, noise reduction, inverse-mapped targets.

Every map of a figure has the same scale, given by the bar below a map of the first column, and the
colours of the wheel. Local-correlation maps have the logarithmic colour scale of
:func:`~evae_companion.plotting.spins.alignment_map`; the number in their corner is the median angle.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from evae_companion.plotting.checks import as_spins, pair_of, same_shape, tuples
from evae_companion.plotting.layout import KEY, KEYS, WHEEL, Panels, map_size
from evae_companion.plotting.spins import alignment_map
from evae_companion.plotting.style import FONT, FULL, GENERATED, OUT, Figure, styled
from evae_core.validation import check_count, check_list


def _draw_pair(panels: Any, place: Any, correlation_place: Any, pair: Any) -> Any:
    panels.spins(*place, pair[0])
    return _draw_theta(panels[correlation_place], pair)


def _draw_theta(ax: Any, pair: Any) -> Any:
    """Draw the local correlation of (spins, cos_theta), with the median angle in a corner."""
    spins, cos_theta = pair
    magnetic = (spins != 0).any(-3)
    median = np.degrees(np.median(np.arccos(np.clip(np.asarray(cos_theta, float)[magnetic], -1, 1))))
    ax.text(0.03, 0.03, f"{median:.2g}°", transform=ax.transAxes, fontsize=FONT - 1, va="bottom",
            bbox={"boxstyle": "square,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85})
    return alignment_map(ax, cos_theta, magnetic=magnetic, axes="none")


@styled
def output_ladder(given: Any, columns: Any, *, wrap: int = 7) -> Figure:
    """Draw what a model returns at every stage of a sweep (Fig. S1).

    Parameters
    ----------
    given : (3, Ny, Nx), the input that is reconstructed.
    columns : list of (label, x_out, x_generated): the stage's name, its reconstruction of ``given`` and a
        configuration decoded from a random latent vector, each (3, Ny, Nx).
    wrap : most stages per row; more go to further rows.

    Raises
    ------
    TypeError, ValueError
        configurations of unequal or wrong shapes, or an empty list.
    """
    given = as_spins(given, "given", ndim=3)
    columns = tuples("columns", columns, "label, x_out, x_generated")
    columns = [(label, as_spins(a, f"x_out of {label}", 3), as_spins(b, f"x_generated of {label}", 3))
               for label, a, b in columns]
    shape = same_shape([given] + [m for _, *pair in columns for m in pair], "given and columns")
    wide = -(-len(columns) // -(-len(columns) // check_count("wrap", wrap, 1)))  # rows of equal length
    blocks = -(-len(columns) // wide)
    width, height = map_size(shape, wide + 1, FULL - 0.5, 1.5)
    panels = Panels([width] * (wide + 1), [height] * (2 * blocks), [0.38] + [0.05] * (wide - 1),
                    ([0.05, 0.3] * blocks)[:-1], left=0.05, right=0.05, top=0.28, bottom=0.55)
    panels.spins(0, 0, given)
    panels.column_label(0, "input")
    panels.bar(2 * blocks - 1, 1, shape[1])
    panels.wheel(x=0.05 + max((width - 0.75) / 2, 0), y=panels.y[1] + 0.12, size=0.75)
    for i, (label, out, generated) in enumerate(columns):
        row, column = 2 * (i // wide), 1 + i % wide
        panels.spins(row, column, out)
        panels.spins(row + 1, column, generated)
        panels.column_label(column, label, row=row)
        if column == 1:
            for extra, name in enumerate((OUT, GENERATED)):
                panels.text(panels.x[1] - 0.05, panels.y[row + extra] + height / 2, name, rotation=90, ha="right",
                            va="center")
    return panels.figure


@styled
def noise_reduction(given: Any, columns: Any) -> Figure:
    """Draw the input, X_out and X'_out, each beside its local-correlation map, for a few gammas (Fig. 3A).

    Parameters
    ----------
    given : (spins, cos_theta) of the input: (3, Ny, Nx) and (Ny, Nx).
    columns : list of (label, (spins, cos_theta) of X_out, (spins, cos_theta) of X'_out), one per gamma.

    Raises
    ------
    TypeError, ValueError
        maps of unequal or wrong shapes, cosines beyond [-1, 1], or an empty list.
    """
    given = pair_of(given, "given")
    columns = tuples("columns", columns, "label, x_out, x_generated")
    columns = [(label, pair_of(out, f"x_out of {label}"), pair_of(generated, f"x_generated of {label}"))
               for label, out, generated in columns]
    shape = same_shape([given[0]] + [p[0] for _, *pairs in columns for p in pairs], "given and columns")
    n = len(columns)
    room = FULL - 0.4 - 0.03 * n - 0.12 * (n - 1)
    width, height = map_size(shape, 2 * n, room, 1.6)
    keys = height > 0.9 and (2 * n - 2) * width > 4.0  # wheel and colour bar go into the free place beside the input
    if not keys:
        width, height = map_size(shape, 2 * n, room - KEY, 1.6)
    panels = Panels([width] * (2 * n), [height] * 3, ([0.03, 0.12] * n)[:-1], [0.3, 0.05], top=0.12,
                    right=0.05 if keys else KEY, bottom=0.3, least=0.0 if keys else KEYS)
    image = _draw_pair(panels, (0, 0), (0, 1), given)
    panels.row_label(0, "input")
    for i, (label, *pairs) in enumerate(columns):
        for row, pair in enumerate(pairs, start=1):
            _draw_pair(panels, (row, 2 * i), (row, 2 * i + 1), pair)
        panels.column_label(2 * i, label, row=1, span=2)
    panels.row_label(1, OUT)
    panels.row_label(2, GENERATED)
    panels.bar(2, 0, shape[1])
    if keys:
        free = panels.x[1] + width
        panels.wheel(x=free + 0.25, y=0.1, note=False)
        panels.text(free + 1.45, 0.1 + WHEEL / 2, "white: $S^z$ = +1\nblack: $S^z$ = \N{MINUS SIGN}1", va="center",
                    fontsize=7.5, linespacing=1.5)
        panels.theta_bar(image, x=panels.x[-1] + width - 1.55, y=0.35, width=1.4, height=0.1)
    else:
        panels.wheel()
        panels.theta_bar(image)
    return panels.figure


@styled
def theta_maps(labels: Any, rows: Any) -> Figure:
    """Draw the local correlation of several states through several networks, the median angle in a corner of each map.

    Parameters
    ----------
    labels : n strings, one per network.
    rows : list of (name, pairs): the name of a state and n pairs (spins, cos_theta), (3, Ny, Nx) and (Ny, Nx).

    Raises
    ------
    TypeError, ValueError
        maps of unequal or wrong shapes, another number of pairs than labels, cosines beyond [-1, 1], or an empty list.
    """
    labels = check_list("labels", labels, "strings")
    rows = [(name, [pair_of(pair, f"pairs of {name}") for pair in check_list(f"pairs of {name}", pairs, "pairs")])
            for name, pairs in tuples("rows", rows, "name, pairs")]
    if any(len(pairs) != len(labels) for _, pairs in rows):
        raise ValueError(f"rows must hold one pair per label, {len(labels)}, got {[len(pairs) for _, pairs in rows]}")
    shape = same_shape([spins for _, pairs in rows for spins, _ in pairs], "rows")
    width, height = map_size(shape, len(labels), FULL - KEY - 0.35, 1.1)
    panels = Panels([width] * len(labels), [height] * len(rows), least=KEYS, bottom=0.3)
    for r, (name, pairs) in enumerate(rows):
        for c, pair in enumerate(pairs):
            image = _draw_theta(panels[r, c], pair)
        panels.row_label(r, name)
    for c, label in enumerate(labels):
        panels.column_label(c, label)
    panels.bar(len(rows) - 1, 0, shape[1])
    panels.text(panels.x[-1] + width + 0.1, panels.y[0] + 0.1, "number: median", va="top", fontsize=FONT - 1)
    panels.theta_bar(image)
    return panels.figure


@styled
def reconstruction_pairs(targets: Any) -> Figure:
    """Draw targets and their inverse-mapped reconstructions with local-correlation maps (Fig. S2).

    Parameters
    ----------
    targets : list of (label, (spins, cos_theta), reconstructions); reconstructions is a list of
        (label, (spins, cos_theta)), one per gamma, equally many for every target. A label may have two lines.

    Raises
    ------
    TypeError, ValueError
        maps of unequal or wrong shapes, cosines beyond [-1, 1], unequal numbers of reconstructions, or an empty list.
    """
    rows = []
    for label, target, results in tuples("targets", targets, "label, target, reconstructions"):
        results = tuples(f"reconstructions of {label}", results, "label, pair")
        rows.append((label, [("target", pair_of(target, f"target {label}"))]
                     + [(name, pair_of(pair, f"{name} of {label}")) for name, pair in results]))
    if len({len(cells) for _, cells in rows}) > 1:
        raise ValueError("targets must all have equally many reconstructions, got "
                         f"{[len(cells) - 1 for _, cells in rows]}")
    shape = same_shape([pair[0] for _, cells in rows for _, pair in cells], "targets and reconstructions")
    n = len(rows[0][1])
    lines = max(name.count("\n") + 1 for _, cells in rows for name, _ in cells)
    width, height = map_size(shape, n, FULL - KEY - 0.5, 1.3)
    panels = Panels([width] * n, [height] * (2 * len(rows)), [0.15] + [0.05] * (n - 2),
                    ([0.03, 0.12 + 0.17 * lines] * len(rows))[:-1], top=0.08 + 0.17 * lines, bottom=0.3, least=KEYS)
    for r, (label, cells) in enumerate(rows):
        for c, (name, pair) in enumerate(cells):
            image = _draw_pair(panels, (2 * r, c), (2 * r + 1, c), pair)
            panels.column_label(c, name, row=2 * r)
        panels.text(panels.x[0] - 0.06, panels.y[2 * r + 1] - 0.015, label, rotation=90, ha="right", va="center")
    panels.bar(2 * len(rows) - 1, 0, shape[1])
    panels.wheel()
    panels.theta_bar(image)
    return panels.figure
