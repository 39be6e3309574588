"""Figures of a phase diagram: the phase at every point by several methods, and where the sweeps collapse."""

from __future__ import annotations

from typing import Any

from evae_companion.plotting.checks import tuples
from evae_companion.plotting.scales import logarithmic_y_ticks
from evae_companion.plotting.style import (
    COLOURS,
    DASHES,
    FULL,
    GUIDE,
    MARKERS,
    Figure,
    letter_panels,
    line_style,
    styled,
)
from evae_core.validation import check_array, check_choice, check_list

PHASES = {"helix": 0, "skyrmions": 1, "uniform": 2}  # indices of their colours and markers


@styled
def phase_diagram(panels: Any, lines: Any = ()) -> Figure:
    """Draw the phase of every point (D, B J/D^2), one panel per method.

    Parameters
    ----------
    panels : list of (title, points); a point is (D, field, phase, sure), the phase one of PHASES, drawn open if it
        is not ``sure``.
    lines : list of (label, D (n,), field (n,)), the same in every panel; a single point is drawn as a horizontal line.

    Raises
    ------
    TypeError, ValueError
        an empty list, unequal lengths, an unknown phase.
    """
    panels = tuples("panels", panels, "title, points")
    lines = tuples("lines", lines, "label, D, field", 0)
    fig = Figure(figsize=(FULL, 3.3), layout="constrained")
    axes = fig.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    for ax, (title, points) in zip(axes, panels, strict=True):
        for D, field, phase, sure in check_list(f"points of {title}", points, "(D, field, phase, sure)"):
            k = PHASES[check_choice("phase", phase, PHASES)]
            ax.plot(D, field, linestyle="", marker=MARKERS[k], color=COLOURS[k], markersize=8,
                    markerfacecolor=COLOURS[k] if sure else "white", zorder=3)
        for k, (label, D, field) in enumerate(lines):
            x = check_array(f"D of {label}", D, (None,))
            y = check_array(f"field of {label}", field, (len(x),))
            style: dict[str, Any] = {"color": GUIDE, "linestyle": DASHES[k % 7], "linewidth": 1, "label": label}
            if len(x) == 1:
                ax.axhline(y[0], **style)
            else:
                ax.plot(x, y, **style)
        ax.set_title(title)
        ax.set_xlabel("$D$ ($J$)")
        ax.margins(0.2, 0.08)
    axes[0].set_xticks(sorted({D for _, points in panels for D, *_ in points}))  # of all panels
    axes[0].set_ylabel("field $BJ/D^2$")
    letter_panels(axes)
    for phase, k in PHASES.items():
        axes[0].plot([], [], linestyle="", marker=MARKERS[k], color=COLOURS[k], markersize=7, label=phase)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return fig


@styled
def critical_fields(panels: Any) -> Figure:
    """Draw where sweeps collapse against the field, one panel per quantity, one marker per D; none if they do not.

    Parameters
    ----------
    panels : list of (label of the y axis, curves); curves is a list of (label, field (n,), value (n,), NaN for none).
    """
    panels = tuples("panels", panels, "label, curves")
    fig = Figure(figsize=(FULL, 2.8), layout="constrained")
    axes = fig.subplots(1, len(panels), sharex=True, squeeze=False)[0]
    for ax, (ylabel, curves) in zip(axes, panels, strict=True):
        marked = False
        for k, (label, field, value) in enumerate(check_list(f"curves of {ylabel}", curves, "(label, field, value)")):
            x = check_array(f"field of {label}", field, (None,))
            y = check_array(f"value of {label}", value, (len(x),), finite=False)
            # Without a line: such sweeps show no trend.
            ax.plot(x, y, label=label, **line_style(k) | {"linestyle": "", "markerfacecolor": "none"})
            marked |= bool((y > 0).any())
        fields = [value for _, field, _ in curves for value in field]
        room = 0.05 * (max(fields) - min(fields)) or 0.1
        ax.set_xlim(min(fields) - room, max(fields) + room)  # also where no mark is drawn
        if marked:
            ax.set_yscale("log")
            logarithmic_y_ticks(ax)
        else:
            ax.set_yticks([])
            ax.text(0.5, 0.5, "no sweep collapses", transform=ax.transAxes, ha="center", va="center")
        ax.set_xlabel("field $BJ/D^2$")
        ax.set_ylabel(ylabel)
    letter_panels(axes)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return fig
