"""Figures of many configurations: galleries, interpolation frames, the collapse, samples with edges.

Every map of a figure has the same scale, given by the bar below a map of the first column, and the
colours of the wheel.
"""

from __future__ import annotations

from typing import Any

from evae_companion.plotting.checks import as_spins, members, same_shape, tuples
from evae_companion.plotting.layout import KEY, Panels, map_size
from evae_companion.plotting.style import FULL, Figure, minus, styled
from evae_core.validation import check_array, check_count, check_keys, check_list


@styled
def gallery(spins: Any, labels: Any = None, columns: int = 4, *, arrows: int = 0, title: str = "") -> Figure:
    """Draw several configurations side by side.

    Parameters
    ----------
    spins : (n, 3, Ny, Nx).
    labels : n strings, written above the maps; None writes nothing.
    columns : maps per row.
    arrows : draw every ``arrows``-th spin as an arrow; 0 draws none.

    Raises
    ------
    TypeError, ValueError
        bad ``spins``, another number of ``labels``, or ``columns`` below 1.
    """
    spins = as_spins(spins, ndim=4)
    labels = [""] * len(spins) if labels is None else check_list("labels", labels, "strings")
    if len(labels) != len(spins):
        raise ValueError(f"labels must be one a configuration: {len(spins)} configurations, {len(labels)} labels")
    columns = min(check_count("columns", columns, 1), len(spins))
    rows = -(-len(spins) // columns)
    lines = max(label.count("\n") + 1 if label else 0 for label in labels)
    width, height = map_size(spins.shape[-2:], columns, FULL - KEY - 0.1, 2.4)
    panels = Panels([width] * columns, [height] * rows, 0.06, 0.07 + 0.17 * lines, left=0.05,
                    top=0.08 + 0.17 * lines + (0.25 if title else 0), bottom=0.3 if rows > 1 else 0.5)
    for i, (state, label) in enumerate(zip(spins, labels, strict=True)):
        panels.spins(i // columns, i % columns, state, arrows=arrows)
        if label:
            panels.column_label(i % columns, minus(label), row=i // columns)
    panels.bar(rows - 1, 0, spins.shape[-1])
    panels.wheel()
    if title:
        panels.text(panels.x[0], 0.18, title, va="center")
    return panels.figure


@styled
def interpolation_frames(frames: Any, R: Any, labels: Any, *, notes: Any = None) -> Figure:
    """Draw decoded configurations along the interpolation (Fig. 4C): one row per gamma, one column per step R.

    Parameters
    ----------
    frames : (n_gamma, n_R, 3, Ny, Nx).
    R : (n_R,) steps from the top of the barrier, positive towards the perfect lattice.
    labels : n_gamma strings.
    notes : per gamma and R a string, written below the frame; None writes nothing.

    Raises
    ------
    TypeError, ValueError
        bad ``frames``, or ``R``, ``labels`` or ``notes`` of another length.
    """
    frames = as_spins(frames, "frames", ndim=5)
    rows, columns = frames.shape[:2]
    steps = check_array("R", R, (columns,))
    labels = check_list("labels", labels, "strings")
    if len(labels) != rows:
        raise ValueError(f"labels must be one a row of frames: {rows} rows, {len(labels)} labels")
    rows_of_notes = [] if notes is None else check_list("notes", notes, "lists", 0)
    below = [check_list("notes", row, "strings") for row in rows_of_notes]
    if below and (len(below) != rows or any(len(row) != columns for row in below)):
        raise ValueError(f"notes must be {rows} lists of {columns} strings")
    shape = frames.shape[-2:]
    width, height = map_size(shape, columns, FULL - KEY - 0.35, 1.5)
    panels = Panels([width] * columns, [height] * rows, gaps_y=0.24 if below else 0.06,
                    bottom=0.5 if below or rows == 1 else 0.3)
    for r in range(rows):
        for c in range(columns):
            panels.spins(r, c, frames[r, c])
            if below:
                panels.under(r, c, minus(below[r][c]))
        panels.row_label(r, labels[r])
    for c, step in enumerate(steps):
        panels.column_label(c, minus(f"R = {step:g}"))
    panels.bar(rows - 1, 0, shape[1], drop=24.0 if below else 7.0)
    panels.wheel()
    return panels.figure


@styled
def collapse_states(labels: Any, runs: Any) -> Figure:
    """Draw a few generated configurations per gamma for several independent trainings (Fig. 5A).

    Parameters
    ----------
    labels : n_gamma strings, one per column.
    runs : dict name of the training -> (n_gamma, m, 3, Ny, Nx): m samples per gamma, drawn below each other.

    Raises
    ------
    TypeError, ValueError
        bad arrays, unequal shapes, or another number of gammas than labels.
    """
    labels = check_list("labels", labels, "strings")
    check_keys("runs", runs)
    runs = {name: as_spins(states, f"runs[{name!r}]", ndim=5) for name, states in runs.items()}
    for name, states in runs.items():
        if len(states) != len(labels):
            raise ValueError(f"runs[{name!r}] must hold one entry a label: {len(labels)} labels, shape {states.shape}")
    shape = same_shape(runs.values(), "runs")
    counts = [states.shape[1] for states in runs.values()]
    width, height = map_size(shape, len(labels), FULL - KEY - 0.35, 1.2)
    gaps = [gap for count in counts for gap in [0.05] * (count - 1) + [0.2]][:-1]
    panels = Panels([width] * len(labels), [height] * sum(counts), 0.05, gaps,
                    bottom=0.3 if sum(counts) > 1 else 0.5)
    first = 0
    for name, states in runs.items():
        for c in range(len(labels)):
            for s, state in enumerate(states[c]):
                panels.spins(first + s, c, state)
        last = first + states.shape[1] - 1
        panels.text(panels.x[0] - 0.06, (panels.y[first] + panels.y[last] + height) / 2, name, rotation=90,
                    ha="right", va="center")
        first = last + 1
    for c, label in enumerate(labels):
        panels.column_label(c, label)
    panels.bar(sum(counts) - 1, 0, shape[1])
    panels.wheel()
    return panels.figure


@styled
def confined_states(columns: Any) -> Figure:
    """Draw the states found in samples with edges, to one scale, with E/N under each (Note S2).

    Parameters
    ----------
    columns : list of (label, states), one per sample shape; states is a dict row name -> (spins (3, Ny, Nx), E/N in J).
        Row names (a data state, the best annealed one, the collapsed model's, ...) are the same in every column.

    Raises
    ------
    TypeError, ValueError
        bad configurations, unequal row names, or an empty list.
    """
    cells = []
    for label, states in tuples("columns", columns, "label, states"):
        check_keys(f"states of {label}", states)
        states = {name: members(s, f"{name} of {label}", "spins, energy") for name, s in states.items()}
        cells.append((label, {name: (as_spins(spins, f"{name} of {label}", 3),
                                     float(check_array(f"energy of {name} of {label}", energy, ())))
                              for name, (spins, energy) in states.items()}))
    names = list(cells[0][1])
    for label, states in cells:
        if list(states) != names:
            raise ValueError(f"states of {label} must have the rows {names}, got {list(states)}")
    shapes = [same_shape([s for s, _ in states.values()], f"states of {label}") for label, states in cells]
    # One scale for all samples, in inches per site.
    scale = min((FULL - KEY - 0.4 - 0.2 * (len(cells) - 1)) / sum(nx for _, nx in shapes),
                1.7 / max(ny for ny, _ in shapes))
    # The text under a map is wider than a narrow map.
    widths, tall = [nx * scale for _, nx in shapes], max(ny for ny, _ in shapes) * scale
    gaps = [max(0.2, 1.05 - (a + b) / 2) for a, b in zip(widths, widths[1:], strict=False)]
    panels = Panels(widths, [tall] * len(names), gaps, 0.32, bottom=0.6, left=0.35 + max(0, (1.05 - widths[0]) / 2))
    for c, ((label, states), (ny, _)) in enumerate(zip(cells, shapes, strict=True)):
        for r, (spins, energy) in enumerate(states.values()):
            panels.spins(r, c, spins).set_anchor("S")
            panels.under(r, c, minus(f"{energy:.5f} J"))
        above = panels.y[0] + tall - ny * scale - 0.04
        panels.text(panels.x[c] + widths[c] / 2, above, label, ha="center", va="bottom")
    for r, name in enumerate(names):
        panels.row_label(r, name, offset=0.06 + max(0, (1.05 - widths[0]) / 2))
    panels.bar(len(names) - 1, 0, shapes[0][1], drop=24)
    panels.text(panels.x[-1] + widths[-1], panels.y[-1] + tall + 0.3, "below each map: E/N", ha="right", va="top",
                fontsize=8)
    panels.wheel()
    return panels.figure
