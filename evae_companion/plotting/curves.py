"""Figures of curves: losses along a sweep, densities of theta, interpolation energies, the collapse.

A zero on a logarithmic beta or gamma axis stands one decade left of the smallest positive value, under the
tick "0". Values at or below the floor of a logarithmic y axis stand on the floor, as triangles pointing down.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as MplFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from evae_companion.plotting.checks import ladders, members
from evae_companion.plotting.scales import logarithmic_x, logarithmic_y, logarithmic_y_ticks, symmetric_log
from evae_companion.plotting.style import (
    COLOURS,
    FULL,
    GENERATED,
    GUIDE,
    MARKERS,
    NARROW,
    OUT,
    Figure,
    decade,
    letter_panels,
    line_style,
    power,
    styled,
)
from evae_core.validation import check_array, check_choice, check_is, check_keys, check_number

SYMBOLS = {"beta": r"$\beta$", "gamma": r"$\gamma$"}


ENERGY_LABEL = r"$L_\mathrm{H}$ ($J$ per spin $\times\,(0.3J/D)^2$)"  # for axes


def _reference(ax: Axes, value: Any, label: Any, **keywords: Any) -> None:
    style = {"color": GUIDE, "linestyle": "--", "linewidth": 1.0, "zorder": 1.5, "label": label}
    ax.axhline(value, **style | keywords)


@styled
def ladder_curves(series: Any, *, xlabel: str, data_energy: Any = None, lowest: Any = None, marks: Any = None,
                  critical: Any = None, critical_label: str = "critical range", floor: float = 1e-6,
                  energy_label: str = r"$L_\mathrm{H}$ (J per spin)") -> Figure:
    """Draw the three losses along a sweep of beta (Fig. 2A) or gamma (Fig. 2B).

    Parameters
    ----------
    series : a dict or a list of dicts, one per sweep: ``label``, ``x`` (beta or gamma of every stage, ascending),
        ``reconstruction``, ``kl``, ``energy`` (L_H of X_out) and ``energy_generated`` (L_H of X'_out), each as long
        as ``x``. Optional ``validation`` is a dict with ``reconstruction``, ``kl``, ``energy`` of the validation data.
    xlabel : ``"beta"`` or ``"gamma"``.
    data_energy : the training data's mean L_H, a dashed line.
    lowest : L_H of the lowest state known; adds a panel of L_H above it on a logarithmic axis.
    marks : dict label -> x, vertical lines.
    critical : (low, high) in x, a shaded range; ``critical_label`` names it in the legend.
    floor : losses on a logarithmic axis that are smaller stand at this value, as triangles.

    Raises
    ------
    TypeError, ValueError
        missing keys, unequal lengths, x not ascending, or an unknown ``xlabel``.
    """
    check_choice("xlabel", xlabel, SYMBOLS)
    check_is("marks", marks, Mapping, type(None))
    quantities = ("reconstruction", "kl", "energy")
    series = ladders(series, "series", (*quantities, "energy_generated"), "x")
    if data_energy is not None:
        data_energy = float(check_array("data_energy", data_energy, ()))
    if lowest is not None:
        lowest = float(check_array("lowest", lowest, ()))
    ratios = [1, 1, 1.35] + [1.35] * (lowest is not None)
    fig = Figure(figsize=(NARROW, 0.9 + 1.35 * sum(ratios)), layout="constrained")
    axes = fig.subplots(len(ratios), 1, sharex=True, height_ratios=ratios)
    place = logarithmic_x(axes[-1], [s["x"] for s in series])
    validated = False
    for i, s in enumerate(series):
        x, style = place(s["x"]), line_style(i)
        open_style = style | {"markerfacecolor": "white", "linestyle": (0, (2, 1.2))}
        logarithmic_y(axes[0], x, s["reconstruction"], floor, **style | {"linestyle": "-"})
        logarithmic_y(axes[1], x, s["kl"], floor, **style | {"linestyle": "-"})
        axes[2].plot(x, s["energy"], **style | {"linestyle": "-"})
        axes[2].plot(x, s["energy_generated"], **open_style)
        if lowest is not None:
            logarithmic_y(axes[3], x, s["energy"] - lowest, floor, **style | {"linestyle": "-"})
            logarithmic_y(axes[3], x, s["energy_generated"] - lowest, floor, **open_style)
        if s.get("validation") is not None:
            validated = True
            check_keys(f"series[{i}]['validation']", s["validation"], quantities)
            cross = {"linestyle": "", "marker": "x", "color": style["color"], "markersize": 6, "markeredgewidth": 1.0}
            for ax, q in zip(axes, quantities, strict=False):
                y = check_array(f"series[{i}]['validation'][{q!r}]", s["validation"][q], x.shape, finite=False)
                if q == "energy":
                    ax.plot(x, y, **cross)
                else:
                    logarithmic_y(ax, x, y, floor, **cross)
    axes[0].set_ylabel("$L_\\mathrm{RC}$\n(sq. chord per spin)")
    axes[1].set_ylabel("$L_\\mathrm{KL}$\n(nats)")
    axes[2].set_ylabel(energy_label.replace(" (", "\n(", 1))
    axes[-1].set_xlabel(SYMBOLS[xlabel])
    logarithmic_y_ticks(axes[0])
    logarithmic_y_ticks(axes[1])
    if data_energy is not None:
        _reference(axes[2], data_energy, None)
    if lowest is not None:
        axes[3].set_ylabel("$L_\\mathrm{H}$ above the\nlowest state known")
        logarithmic_y_ticks(axes[3])
        if data_energy is not None:
            _reference(axes[3], data_energy - lowest, None)
    for ax in axes:
        if critical is not None:
            low, high = check_array("critical", critical, (2,))
            ax.axvspan(low, high, color="0.92", zorder=0)
        for value in (marks or {}).values():
            ax.axvline(place(value), color=GUIDE, linewidth=0.8, linestyle=":")
    for label, value in (marks or {}).items():
        axes[0].annotate(label, (place(value), 1), xycoords=("data", "axes fraction"), xytext=(0, 2),
                         textcoords="offset points", ha="center", va="bottom", fontsize=8)
    letter_panels(axes)
    extra = _floor_key(axes, floor) + [Patch(color="0.9", label=critical_label)] * (critical is not None)
    _ladder_legend(fig, series, validated, data_energy is not None, extra)
    return fig


def _floor_key(axes: Any, floor: float) -> list[Line2D]:
    """Return the legend entry of values below the floor, if there are any."""
    if not any(line.get_gid() == "floor" for ax in axes for line in ax.lines):
        return []
    return [Line2D([], [], linestyle="", marker="v", markersize=8, markerfacecolor="white", markeredgecolor="0.25",
                   label=f"at most {power(floor)}")]


def _ladder_legend(fig: MplFigure, series: Any, validated: bool, data: bool, extra: Any) -> None:
    line: dict[str, Any] = {"color": "0.25", "linewidth": 1.4}
    handles = [Line2D([], [], label=s["label"], **line_style(i) | {"linestyle": "-"}) for i, s in enumerate(series)]
    handles = handles if len(series) > 1 else []
    handles += [Line2D([], [], marker="o", label=OUT, **line),
                Line2D([], [], marker="o", markerfacecolor="white", linestyle=(0, (2, 1.2)), label=GENERATED, **line)]
    if validated:
        handles.append(Line2D([], [], marker="x", linestyle="", markersize=7, color="0.25", label="validation"))
    if data:
        handles.append(Line2D([], [], color=GUIDE, linestyle="--", linewidth=1.0, label="training data"))
    handles += extra
    rows = -(-len(handles) // 4)
    fig.legend(handles=handles, loc="outside upper center", ncols=-(-len(handles) // rows), columnspacing=1.4)


@styled
def theta_densities(edges: Any, panels: Any, *, data: Any = None, scale: str = "log") -> Figure:
    """Draw densities of the angle theta between spins and their local fields, with peaks marked (Fig. 3B).

    Parameters
    ----------
    edges : (n+1,) bin edges in radians, ascending; drawn in degrees.
    panels : dict label -> density, or dict panel title -> such a dict (X_out and X'_out side by side). A density is
        (n,), per radian, with integral 1.
    data : (n,) density of the training data, in every panel.
    scale : ``"linear"`` draws p(theta) per degree; ``"log"`` a logarithmic theta axis and the density per decade,
        so that equal areas are still equal shares of spins.

    Raises
    ------
    TypeError, ValueError
        edges not ascending or negative, densities of another length or negative, or an unknown ``scale``.
    """
    edges = check_array("edges", edges, (None,))
    if edges.size < 2 or edges[0] < 0 or (np.diff(edges) <= 0).any():
        raise ValueError("edges must be at least two ascending angles >= 0 in radians")
    check_choice("scale", scale, ("linear", "log"))
    check_keys("panels", panels)
    if not all(isinstance(p, dict) for p in panels.values()):
        panels = {"": panels}
    lower, upper = edges[:-1], edges[1:]
    hidden = scale == "log" and edges[0] == 0  # a logarithmic axis has no place for a bin from 0; the legend gives it
    with np.errstate(divide="ignore"):
        span = np.log10(upper / np.where(lower > 0, lower, np.nan)) if scale == "log" else np.degrees(upper - lower)
    middle = np.degrees(np.sqrt(lower * upper) if scale == "log" else (lower + upper) / 2)
    drawn = slice(int(hidden), None)
    fig = Figure(figsize=(FULL if len(panels) > 1 else NARROW, 3.3), layout="constrained")
    axes = fig.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    seen = []
    for ax, (title, densities) in zip(axes, panels.items(), strict=True):
        curves = [(label, density, line_style(i) | {"marker": None}, MARKERS[i % 7])
                  for i, (label, density) in enumerate(densities.items())]
        if data is not None:
            curves.append(("training data", data, {"color": "0.35", "linestyle": "-", "linewidth": 0.9}, "|"))
        for label, density, style, mark in curves:
            density = check_array(f"density of {label}", density, middle.shape)
            if (density < 0).any():
                raise ValueError(f"density of {label} must not be negative, got {density.min():.3g}")
            share = density * (upper - lower)
            y = share[drawn] / span[drawn]
            angle = middle[drawn][y.argmax()]
            below = f", {share[0]:.0%} below {power(np.degrees(upper[0]))}°" if hidden and share[0] > 0.01 else ""
            ax.plot(middle[drawn], y, **style, label=f"{label} (peak {angle:.2g}°{below})")
            ax.plot(angle, y.max(), marker=mark, color=style["color"], markersize=6, zorder=3)
            seen.append(middle[drawn][y > 0.01 * y.max()])
        ax.set(xscale=scale, xlabel=r"$\theta$ (degrees)", title=title)
        if scale == "log":
            ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: decade(round(np.log10(v)))))
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2))
    letter_panels(axes)
    axes[0].set_ylim(bottom=0)  # of all panels, whose common range follows the curves until here
    reached = np.concatenate(seen)  # angles that no curve reaches are cut off
    axes[0].set_xlim(*((reached.min() / 1.3, reached.max() * 1.3) if scale == "log" else (0, reached.max())))
    axes[0].set_ylabel("share of spins per " + ("decade of θ" if scale == "log" else "degree"))
    return fig


@styled
def interpolation_energies(R: Any, energies: Any, *, references: Any = None, marks: Any = None, window: float = 25,
                           energy_label: str = "$E/N$ (J)") -> Figure:
    """Draw the energy along the interpolation from the interstitial to the perfect lattice (Fig. 4B).

    Left: the energy of every decoded configuration. Right: its excess over the perfect lattice's end in units of 0.001,
    within ``window`` steps of the top.

    Parameters
    ----------
    R : (n,) steps from the top of the barrier, positive towards the perfect lattice; or a dict label -> (n,) where
        the tops differ.
    energies : dict label -> (n,), energy per spin in J (or L_H; then say so in ``energy_label``), one curve per gamma.
    references : dict label -> energy, horizontal lines in the left panel.
    marks : values of R whose frames are shown elsewhere, as ticks on the top edge.
    window : half-width of the right panel in steps.

    Raises
    ------
    TypeError, ValueError
        not a dict, arrays of unequal lengths, R not ascending, or ``window`` not positive.
    """
    check_keys("energies", energies)
    check_is("references", references, Mapping, type(None))
    marks = [] if marks is None else check_array("marks", marks, (None,), empty=True).tolist()
    window = check_number("window", window)
    if isinstance(R, dict):
        check_keys("R", R, energies)
    fig = Figure(figsize=(FULL, 3.2), layout="constrained")
    left, right = fig.subplots(1, 2)
    for i, (label, energy) in enumerate(energies.items()):
        steps = check_array("R", R[label] if isinstance(R, dict) else R, (None,))
        if (np.diff(steps) <= 0).any():
            raise ValueError(f"R of {label} must be ascending, towards the perfect lattice")
        energy = check_array(f"energies[{label!r}]", energy, steps.shape)
        style = line_style(i) | {"markersize": 4}
        near = np.abs(steps) <= window
        left.plot(steps, energy, **style, label=label, markevery=max(1, steps.size // 8))
        right.plot(steps[near], 1e3 * (energy[near] - energy[-1]), **style, markevery=max(1, int(near.sum()) // 10))
    for i, (label, value) in enumerate((references or {}).items()):
        _reference(left, float(check_array(f"references[{label!r}]", value, ())), label,
                   linestyle=("--", ":", "-.")[i % 3])
    for ax in (left, right):
        ax.axvline(0, color=GUIDE, linewidth=0.8, linestyle=":", zorder=1)
        for mark in marks:
            ax.plot(mark, 1.0, marker=7, color="black", markersize=5, clip_on=False, transform=ax.get_xaxis_transform(),
                    scalex=False)
    below = "step R from the top" + ("   (\N{BLACK DOWN-POINTING TRIANGLE} frames shown)" if marks else "")
    quantity, bracket, unit = energy_label.partition(" (")
    left.set(ylabel=energy_label, xlabel=below)
    right.set(ylabel=f"{quantity} above the perfect\nlattice's end{bracket}$10^{{-3}}$ {unit}", xlabel=below)
    right.set_xlim(-window, window)
    for ax in (left, right):
        ax.set_title("\N{LEFTWARDS ARROW} interstitial", loc="left", fontsize=8, color=GUIDE)
        ax.set_title("perfect lattice \N{RIGHTWARDS ARROW}", loc="right", fontsize=8, color=GUIDE)
        ax.ticklabel_format(axis="y", useOffset=False)
    letter_panels((left, right))
    handles, labels = left.get_legend_handles_labels()
    rows = -(-len(labels) // 5)
    fig.legend(handles, labels, loc="outside lower center", ncols=-(-len(labels) // rows))
    return fig


@styled
def minimum_barrier(paths: Any, walks: Any, *, window: float = 30) -> Figure:
    """Draw minimum-energy paths from the interstitial to the lattice beside the latent walks' energies.

    Parameters
    ----------
    paths : dict label -> (distances, energies): rad along the path, ascending, and J of the sample above the lattice.
    walks : dict label -> (R, energies): steps from the walk's top, and J of the sample above the lattice.
    window : steps from the top that are drawn.

    Raises
    ------
    TypeError, ValueError
        an empty dict, arrays of unequal lengths, or distances or steps that do not ascend.
    """
    check_keys("paths", paths)
    check_keys("walks", walks)
    window = check_number("window", window)
    fig = Figure(figsize=(FULL, 3.2), layout="constrained")
    axes = fig.subplots(1, 2)
    tops = []
    for ax, name, curves in ((axes[0], "paths", paths), (axes[1], "walks", walks)):
        for i, (label, curve) in enumerate(curves.items()):
            x, energy = members(curve, f"{name}[{label!r}]", "x, energies")
            x = check_array(f"x of {name}[{label!r}]", x, (None,))
            if not x.size or (np.diff(x) <= 0).any():
                raise ValueError(f"x of {name}[{label!r}] must ascend")
            energy = check_array(f"energies of {name}[{label!r}]", energy, x.shape)
            near = np.abs(x) <= window if name == "walks" else np.ones(x.size, bool)
            ax.plot(x[near], energy[near], **line_style(i) | {"markersize": 4}, label=label,
                    markevery=max(1, int(near.sum()) // 8))
            if name == "paths":
                tops.append(energy.max())
    for ax in axes:
        _reference(ax, 0.0, None, linestyle="-")
        _reference(ax, min(tops), None)
        ax.set_title("\N{LEFTWARDS ARROW} interstitial", loc="left", fontsize=8, color=GUIDE)
        ax.set_title("perfect lattice \N{RIGHTWARDS ARROW}", loc="right", fontsize=8, color=GUIDE)
    letter_panels(axes)
    axes[0].legend(loc="center right")
    axes[1].legend(loc="upper left", bbox_to_anchor=(1, 1))  # the walks fill their panel
    axes[0].set(xlabel="distance along the minimum-energy path (rad)", ylabel="energy above the lattice (J)")
    axes[1].set(xlabel="latent walk: step R from its top", ylabel="energy above the lattice (J)")
    return fig


@styled
def collapse_measure(series: Any, *, threshold: Any = None, data: Any = None, ideal_energy: Any = None,
                     floor: float = 1e-9) -> Figure:
    """Draw the collapse onto one state against gamma (Fig. 5B): pairwise k-space MSE, and energy of the samples.

    Parameters
    ----------
    series : a dict or a list of dicts, one per sweep: ``label``, ``gamma`` (ascending, may start at 0), ``mse``,
        ``energy``, each as long as ``gamma``, and optional ``gamma_c``, a vertical line. ``mse`` is the mean pairwise
        MSE of |FFT(S^z)|/sqrt(N) over samples, ``energy`` their mean E/N in J.
    threshold : the MSE below which the sweep counts as collapsed, a dashed line.
    data : (lowest, mean, highest) E/N of the training data: a band with a line.
    ideal_energy : E/N of the ideal lattice. If given, energies are drawn above it on a symmetric logarithmic axis.
    floor : a smaller MSE stands at this value, as a triangle.

    Raises
    ------
    TypeError, ValueError
        missing keys, unequal lengths, gamma not ascending, or ``data`` not ascending.
    """
    series = ladders(series, "series", ("mse", "energy"), "gamma")
    if data is not None:
        data = check_array("data", data, (3,))
        if (np.diff(data) < 0).any():
            raise ValueError(f"data must be (lowest, mean, highest) E/N, got {data.tolist()}")
    zero = 0.0 if ideal_energy is None else float(check_array("ideal_energy", ideal_energy, ()))
    fig = Figure(figsize=(NARROW, 4.8), layout="constrained")
    upper, lower = fig.subplots(2, 1, sharex=True)
    place = logarithmic_x(lower, [s["gamma"] for s in series])
    for i, s in enumerate(series):
        x, style = place(s["gamma"]), line_style(i)
        logarithmic_y(upper, x, s["mse"], floor, **style, label=s["label"])
        lower.plot(x, s["energy"] - zero, **style, label=s["label"])
        if s.get("gamma_c") is not None:
            for ax in (upper, lower):
                ax.axvline(s["gamma_c"], color=COLOURS[i % 7], linewidth=0.9, linestyle=":", zorder=1)
    if threshold is not None:
        _reference(upper, float(check_array("threshold", threshold, ())), "threshold of the collapse", linestyle="-.")
    gaps = [s["energy"] - zero for s in series]
    if data is not None:
        band = lower.axhspan(data[0] - zero, data[2] - zero, color="0.88", zorder=0)
        _reference(lower, data[1] - zero, None)
        gaps.append(data - zero)
    if ideal_energy is not None:
        _reference(lower, 0.0, "ideal lattice", linestyle="-")
        symmetric_log(lower, "y", gaps)
        lower.set_ylabel("$E/N$ above the\nideal lattice (J)")
    else:
        lower.set_ylabel("$E/N$ (J)")
        lower.ticklabel_format(axis="y", useOffset=False)
    letter_panels((upper, lower))
    upper.set_ylabel("pairwise k-space MSE\n(dimensionless)")
    lower.set_xlabel(SYMBOLS["gamma"])
    logarithmic_y_ticks(upper)
    entries = [ax.get_legend_handles_labels()[0] for ax in (lower, upper)]
    handles = entries[0] + entries[1][len(series):] + _floor_key([upper], floor)  # each series once
    if any(s.get("gamma_c") is not None for s in series):
        handles.append(Line2D([], [], color=GUIDE, linewidth=0.9, linestyle=":", label=r"$\gamma_c$"))
    labels = [handle.get_label() for handle in handles]
    if data is not None:
        handles.append((band, Line2D([], [], color=GUIDE, linestyle="--", linewidth=1.0)))
        labels.append("training data: mean, min to max")
    fig.legend(handles, labels, loc="outside upper center", ncols=2)
    return fig
