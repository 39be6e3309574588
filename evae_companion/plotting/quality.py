"""Figures of sample quality against diversity, and of the collapse in other systems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from evae_companion.plotting.checks import ladders
from evae_companion.plotting.scales import logarithmic_x, logarithmic_y, logarithmic_y_ticks
from evae_companion.plotting.style import FULL, GUIDE, NARROW, Figure, letter_panels, line_style, power, styled
from evae_core.validation import check_array, check_keys, check_list

LEAST = 1e-5  # J per spin; states nearer to the lattice stand at the left edge


@styled
def quality_front(rows: Any, *, labels: Sequence[str] = ("coverage of the data", "Vendi score")) -> Figure:
    """Draw stability against diversity: E/N over two measures of diversity, with the data as the reference point.

    Parameters
    ----------
    rows : dict title -> list of (label, first, second, excess), one row of panels each, with the same labels: the two
        measures, and the mean energy above the reference in J per spin. The first entry is the data, a star. The
        others are joined in order.
    labels : of the two measures, on the x axes.

    Raises
    ------
    TypeError, ValueError
        no rows, fewer than two entries, unequal labels, or energies that are not above the reference.
    """
    check_keys("rows", rows)
    fig = Figure(figsize=(FULL, 0.6 + 2.4 * len(rows)), layout="constrained")
    axes = fig.subplots(len(rows), 2, squeeze=False, sharex="col", sharey="row")
    seen: list[str] = []
    for row, (title, points) in zip(axes, rows.items(), strict=True):
        points = check_list(title, points, "(label, first, second, excess)", 2)  # the data, and samples
        names = [point[0] for point in points]
        if names != (seen := seen or names):
            raise ValueError(f"{title} must have the labels {seen}, got {names}")
        values = check_array(f"values of {title}", [point[1:] for point in points], (len(points), 3))
        if (values[:, 2] <= 0).any():
            raise ValueError(f"{title} must lie above the reference energy, got {values[:, 2].min():g}")
        for ax, x in zip(row, values.T, strict=False):
            ax.plot(x[1:], values[1:, 2], color=GUIDE, linewidth=0.8, zorder=1)
            for k, name in enumerate(names):
                style = {"marker": "*", "markersize": 13, "color": "0.35"} if k == 0 else line_style(k - 1)
                ax.plot(x[k], values[k, 2], **(style | {"linestyle": ""}), label=name)
            ax.set_yscale("log")
            ax.margins(x=0.12, y=0.25)
            ax.grid(color="0.92", linewidth=0.6)
            ax.set_axisbelow(True)
        row[0].set_ylabel(f"{title}:\n$E/N$ above the lattice (J)")
        logarithmic_y_ticks(row[0])
    letter_panels(axes.flat)
    for ax, label in zip(axes[-1], labels, strict=True):
        ax.set_xlabel(label)
        ax.set_xlim(left=0)
    handles, shown = axes[0][0].get_legend_handles_labels()
    fig.legend(handles, shown, loc="outside upper center", ncols=len(seen), handlelength=1.2)
    return fig


@styled
def quality_distributions(sets: Any) -> Figure:
    """Draw cumulative distributions of energy, theta and charge over states and sites.

    Parameters
    ----------
    sets : dict label -> dict with ``energy`` (n,), ``theta`` (m,) and ``charge`` (n,). The first is the data, in grey.
        ``energy`` is in J per spin above a reference, drawn from LEAST on. ``theta`` holds quantiles in radians at
        even shares from 0 to 1.

    Raises
    ------
    TypeError, ValueError
        no sets, or members that are missing or not numbers.
    """
    check_keys("sets", sets)
    fig = Figure(figsize=(FULL, 2.9), layout="constrained")
    axes = fig.subplots(1, 3, sharey=True)
    for i, (label, values) in enumerate(sets.items()):
        style = ({"color": "0.35", "linewidth": 2.2} if i == 0 else line_style(i - 1) | {"marker": None})
        check_keys(f"sets[{label!r}]", values, ("energy", "theta", "charge"))
        energy, theta = (np.sort(check_array(f"{key} of {label}", values[key], (None,)))
                         for key in ("energy", "theta"))
        charge = np.sort(check_array(f"charge of {label}", values["charge"], energy.shape))
        share = np.arange(1, len(energy) + 1) / len(energy)
        axes[0].step(np.maximum(energy, LEAST / 10), share, where="post", label=label, **style)
        axes[1].plot(np.degrees(np.maximum(theta, 1e-8)), np.linspace(0, 1, len(theta)), **style)
        axes[2].step(charge, share, where="post", **style)
    letter_panels(axes)
    axes[0].set(xscale="log", xlabel="$E/N$ above the lattice (J)", ylabel="share of states, or of sites")
    axes[0].set_xlim(left=LEAST)
    axes[1].set(xscale="log", xlabel=r"$\theta$ (degrees)", xlim=(1e-5, 180))
    axes[2].set(xlabel="topological charge")
    fig.legend(loc="outside upper center", ncols=len(sets), handlelength=2)
    return fig


@styled
def systems_collapse(series: Any, *, threshold: float | None = None, floor: float = 1e-7) -> Figure:
    """Draw how several systems collapse with gamma: difference between samples, and E/N above the lowest known.

    Parameters
    ----------
    series : list of dicts, one per system: ``label``, ``gamma`` (ascending, may start at 0), ``mse``, ``excess`` and
        ``data``. ``mse`` is the pairwise k-space MSE of generated states divided by that of the data. ``excess`` is
        their mean E/N above the lowest state known, in J. ``data`` is (lowest, mean) of the training states' E/N above
        it, a bar at the right.
    threshold : the MSE below which a system counts as collapsed, a dashed line.
    floor : a smaller excess, in J, stands at this value, as a triangle; bars end there.

    Raises
    ------
    TypeError, ValueError
        missing keys, unequal lengths, or gamma not ascending.
    """
    series = ladders(series, "series", ("mse", "excess"), "gamma")
    fig = Figure(figsize=(NARROW, 5.2), layout="constrained")
    upper, lower = fig.subplots(2, 1, sharex=True, height_ratios=[1, 1.3])
    place = logarithmic_x(lower, [one["gamma"] for one in series])
    right = 10 ** (np.log10(lower.get_xlim()[1]) + 0.1 + 0.22 * np.arange(len(series)))
    lower.set_xlim(right=right[-1] * 1.8)
    for i, one in enumerate(series):
        x, style = place(one["gamma"]), line_style(i)
        logarithmic_y(upper, x, one["mse"], 1e-9, **style, label=one["label"])
        logarithmic_y(lower, x, one["excess"], floor, **style)
        low, mean = check_array(f"data of {one['label']}", one["data"], (2,))
        lower.plot([right[i]] * 2, [max(low, floor), max(mean, floor)], color=style["color"], linewidth=3,
                   solid_capstyle="butt")
        lower.plot(right[i], max(mean, floor), marker="_", markersize=9, color=style["color"])
    if threshold is not None:
        upper.axhline(float(check_array("threshold", threshold, ())), color=GUIDE, linewidth=1, linestyle="--")
    letter_panels((upper, lower))
    upper.set_ylabel("pairwise k-space MSE\nover that of the data")
    lower.set_ylabel("$E/N$ above the lowest\nstate known (J)")
    lower.set_xlabel(r"$\gamma$ (bars: training data, lowest to mean)")
    logarithmic_y_ticks(upper)
    logarithmic_y_ticks(lower)
    lower.annotate(f"nothing is drawn below {power(floor)} J", (0.02, 0.03), xycoords="axes fraction", fontsize=8)
    fig.legend(loc="outside upper center", ncols=len(series))
    return fig
