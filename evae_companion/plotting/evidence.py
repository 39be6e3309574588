"""Figures of further evidence: energy against the budget of several methods, lowest states of open samples by size."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.lines import Line2D

from evae_companion.plotting.checks import as_spins, tuples
from evae_companion.plotting.layout import KEY, Panels
from evae_companion.plotting.scales import logarithmic_y, logarithmic_y_ticks
from evae_companion.plotting.spins import scale_bar, spin_map
from evae_companion.plotting.style import COLOURS, DASHES, FULL, GUIDE, MARKERS, Figure, letter_panels, minus, styled
from evae_core.validation import check_array, check_keys

AXES = {"seconds": "wall time on one core (s)", "updates": "spin updates"}


@styled
def budget_curves(samples: Any, *, floor: float = 1e-6) -> Figure:
    """Draw the lowest E/N above the best known state against what was spent, by wall time and by spin updates.

    Parameters
    ----------
    samples : list of (label, curves), one column each. A curve is a dict with ``label``, ``seconds`` and ``updates``
        (m,). ``lowest`` (m, 3) is E/N above the best known in J as (low, middle, high), drawn as a line in a band.
        ``mean`` is the mean E/N of single runs above it, a cross at point ``mean_at`` of the curve (default: the
        first). Optional ``once``: None for a method without training, True if its training is counted, False if not
        (drawn open and dotted).
    floor : a lower energy, in J, counts as arrived at the best known state, and stands at this value as a triangle,
        where a curve ends.

    Raises
    ------
    TypeError, ValueError
        an empty list, missing keys, or unlike lengths.
    """
    samples = tuples("samples", samples, "label, curves")
    labels = list(dict.fromkeys(curve["label"] for _, curves in samples for curve in curves))
    style: dict[str, dict[str, Any]] = {
        label: {"color": COLOURS[i % 7], "marker": MARKERS[i % 7], "linestyle": DASHES[i % 7]}
        for i, label in enumerate(labels)}
    fig = Figure(figsize=(FULL, 5.2), layout="constrained")
    axes = fig.subplots(2, len(samples), sharex="row", sharey=True, squeeze=False)
    for column, (title, curves) in enumerate(samples):
        for k, curve in enumerate(curves):
            name = f"curve {k} of {title}"
            check_keys(name, curve, ("label", "seconds", "updates", "lowest", "mean"))
            seconds = check_array(f"seconds of {name}", curve["seconds"], (None,))
            lowest = np.maximum(check_array(f"lowest of {name}", curve["lowest"], (len(seconds), 3)), floor)
            mean = max(float(check_array(f"mean of {name}", curve["mean"], ())), floor)
            for ax, key in zip(axes[:, column], AXES, strict=True):
                x = check_array(f"{key} of {name}", curve[key], seconds.shape)
                if not (x > 0).all():  # a trained network makes no updates of its own
                    continue
                arrived = np.flatnonzero(lowest[:, 1] <= floor)
                end = arrived[0] + 1 if len(arrived) else len(x)  # what it costs to get there is all that matters
                own = style[curve["label"]] | {"markersize": 3.5, "linewidth": 1.1}
                if curve.get("once") is False:
                    own |= {"markerfacecolor": "white", "linestyle": (0, (1, 1.5))}
                logarithmic_y(ax, x[:end], lowest[:end, 1], floor, **own)
                ax.fill_between(x[:end], lowest[:end, 0], lowest[:end, 2], color=own["color"], alpha=0.15, linewidth=0)
                ax.plot(x[curve.get("mean_at", 0)], mean, linestyle="", marker="x", color=own["color"], markersize=5)
                ax.set_xscale("log")
        axes[0, column].set_title(title)
    for ax in axes.flat:
        logarithmic_y_ticks(ax)
        ax.axhline(floor, color=GUIDE, linewidth=0.6, linestyle=":")
    letter_panels(axes.flat)
    for row, xlabel in enumerate(AXES.values()):
        for ax in axes[row]:
            ax.set_xlabel(xlabel)
        axes[row, 0].set_ylabel("lowest $E/N$ above\nthe best known (J)")
    handles = [Line2D([], [], label=label, **style[label]) for label in labels]
    if any(curve.get("once") is False for _, curves in samples for curve in curves):
        handles.append(Line2D([], [], color=GUIDE, marker="o", markerfacecolor="white", linestyle=(0, (1, 1.5)),
                              label="training not counted"))
    handles += [Line2D([], [], color=GUIDE, marker="x", linestyle="", label="mean of all runs"),
                Line2D([], [], color=GUIDE, marker="v", markerfacecolor="white", linestyle="",
                       label="at the best known state")]
    fig.legend(handles=handles, loc="outside upper center", ncols=4)
    return fig


@styled
def phase_strip(rows: Any, *, largest: float = 1.1) -> Figure:
    """Draw the lowest states found for samples of growing size, all to one scale.

    Parameters
    ----------
    rows : list of (title, samples), such as squares and wires; samples is a list of (spins (3, Ny, Nx), caption), drawn
        in order, with the caption below, in as many lines as needed.
    largest : the longest side of all samples, in inches.

    Raises
    ------
    TypeError, ValueError
        bad configurations or an empty list.
    """
    named = []
    for title, samples in tuples("rows", rows, "title, samples"):
        samples = tuples(f"samples of {title}", samples, "spins, caption")
        named.append((title, [(as_spins(spins, f"spins of {title}", 3), caption) for spins, caption in samples]))
    scale = largest / max(max(spins.shape[-2:]) for _, maps in named for spins, _ in maps)  # inches per site
    room, gap, least = FULL - KEY - 0.1, 0.14, 0.36
    lines: list[tuple[str | None, list[Any]]] = []
    for title, maps in named:
        used = room + 1
        for spins, caption in maps:
            width = max(spins.shape[-1] * scale, least) + gap
            if used + width > room + gap:
                lines.append((title, []))
                title, used = None, 0.0
            lines[-1][1].append((spins, caption))
            used += width
    tall = [max(spins.shape[-2] for spins, _ in maps) * scale for _, maps in lines]
    panels = Panels([room], tall, 0.06, [0.64 if title else 0.4 for title, _ in lines[1:]], left=0.1, top=0.3,
                    bottom=0.65)
    for row, (title, maps) in enumerate(lines):
        x = panels.x[0]
        if title:
            panels.text(x, panels.y[row] - 0.06, title, ha="left", va="bottom")
        for spins, caption in maps:
            ny, nx = (n * scale for n in spins.shape[-2:])
            wide = max(nx, least)
            ax = panels.place(x + (wide - nx) / 2, panels.y[row] + tall[row] - ny, nx, ny)
            spin_map(ax, spins, axes="none")
            if row == len(lines) - 1 and spins is maps[0][0]:
                scale_bar(ax, spins.shape[-1], 28)
            panels.text(x + wide / 2, panels.y[row] + tall[row] + 0.04, minus(str(caption)), ha="center", va="top",
                        fontsize=7, linespacing=1.2)
            x += wide + gap
    panels.wheel()
    return panels.figure


@styled
def strip_curves(samples: Any) -> Figure:
    """Draw the number of skyrmions and E/N of the lowest state of open samples against their size, beside the E-VAE.

    Parameters
    ----------
    samples : list of (title, table), one column each; table is a dict with ``size`` (in spacings of the bulk,
        ascending), ``skyrmions`` and ``energy`` (E/N, J). ``trained_size``, ``trained_skyrmions``, ``trained_energy``
        and ``agrees`` (bools) are of the sizes that have an E-VAE, and may be empty.

    Raises
    ------
    TypeError, ValueError
        an empty list, missing keys, or unlike lengths.
    """
    samples = tuples("samples", samples, "title, table")
    fig = Figure(figsize=(FULL, 4.2), layout="constrained")
    axes = fig.subplots(2, len(samples), sharex="col", squeeze=False)
    for column, (title, table) in enumerate(samples):
        size = check_array(f"size of {title}", table["size"], (None,))
        agrees = np.asarray(table["agrees"], bool)
        for ax, key, label in ((axes[0, column], "skyrmions", "skyrmions"), (axes[1, column], "energy", "$E/N$ (J)")):
            y = check_array(f"{key} of {title}", table[key], size.shape)
            ax.plot(size, y, color=COLOURS[0], marker=MARKERS[0], linestyle="-", linewidth=0.8,
                    label="lowest state of the search")
            if len(agrees):
                x = check_array(f"trained_size of {title}", table["trained_size"], agrees.shape)
                z = check_array(f"trained_{key} of {title}", table[f"trained_{key}"], agrees.shape)
                for same, face, legend in ((True, COLOURS[1], "E-VAE, relaxed: the same state"),
                                          (False, "white", "E-VAE, relaxed: a higher state")):
                    ax.plot(x[agrees == same], z[agrees == same], linestyle="", marker="D", markersize=7,
                            color=COLOURS[1], markerfacecolor=face if same else "none", label=legend)
            if column == 0:
                ax.set_ylabel(label)
        axes[0, column].set_title(title)
        axes[0, column].yaxis.get_major_locator().set_params(integer=True)
        axes[1, column].ticklabel_format(axis="y", useOffset=False)
        axes[1, column].set_xlabel("size in spacings of the bulk's skyrmions")
    letter_panels(axes.flat)
    handles = {label: handle for ax in axes.flat
               for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    fig.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=3)
    return fig
