"""Figures of particle sizing: the law against the simulator, cumulative curves, tables as curves, a powder in time."""

from __future__ import annotations

from typing import Any

import numpy as np

from evae_companion.plotting.checks import tuples
from evae_companion.plotting.style import (
    COLOURS,
    DASHES,
    FULL,
    GUIDE,
    MARKERS,
    NARROW,
    Figure,
    letter_panels,
    styled,
)
from evae_core.validation import check_array


@styled
def law_against_simulator(lags: Any, law: Any, mean: Any, error: Any, *, plain: Any = None) -> Figure:
    """Draw the radial autocorrelation of simulated frames on the law, and their difference in units of its error.

    Parameters
    ----------
    lags, law, mean, error : (m,) lag in camera pixels, the law, the mean over frames and its standard error.
    plain : (m,) the law without the term of the grains' number, dashed.
    """
    lags = check_array("lags", lags, (None,))
    law, mean, error = (check_array(name, x, lags.shape)
                        for x, name in ((law, "law"), (mean, "mean"), (error, "error")))
    fig = Figure(figsize=(NARROW, 4.4), layout="constrained")
    top, below = fig.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    top.plot(lags, law, color=COLOURS[0], label="law with the grains' number")
    if plain is not None:
        top.plot(lags, check_array("plain", plain, lags.shape), color=COLOURS[0], linestyle=DASHES[1],
                 label="published law")
    top.errorbar(lags, mean, error, color=COLOURS[1], linestyle="", marker="o", markersize=3, elinewidth=0.8,
                 label="simulated frames")
    top.set_yscale("log")
    top.set_ylim(bottom=0.3 * law[law > 0].min())
    top.set_ylabel("autocorrelation $A$")
    top.legend()
    below.axhline(0, color=GUIDE, linewidth=0.6)
    with np.errstate(invalid="ignore", divide="ignore"):
        below.plot(lags, np.where(error > 0, (mean - law) / error, np.nan), color=COLOURS[1], linestyle="", marker="o",
                   markersize=3)
    letter_panels((top, below))
    below.set_ylabel("difference\n/ error")
    below.set_xlabel("lag (camera pixels)")
    return fig


@styled
def cumulative_curves(panels: Any) -> Figure:
    """Draw cumulative size curves by volume, one panel each.

    Parameters
    ----------
    panels : list of (title, sizes (s,) in m, curves); curves is a dict label -> (s,) or, with an error, a pair of (s,).
    """
    panels = tuples("panels", panels, "title, sizes, curves")
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    fig = Figure(figsize=(FULL, 0.3 + 2.2 * rows), layout="constrained")
    axes = fig.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for ax in axes.flat[len(panels):]:
        ax.set_visible(False)
    for ax, (title, sizes, curves) in zip(axes.flat, panels, strict=False):
        for k, (label, curve) in enumerate(curves.items()):
            curve, error = curve if isinstance(curve, tuple) else (curve, None)
            ax.plot(np.asarray(sizes) * 1e6, curve, color="black" if k == 0 else COLOURS[k - 1],
                    linestyle=DASHES[k % len(DASHES)], label=label)
            if error is not None:
                ax.fill_between(np.asarray(sizes) * 1e6, np.clip(curve - error, 0, 1), np.clip(curve + error, 0, 1),
                                color=COLOURS[k - 1], alpha=0.2, linewidth=0)
        ax.set_title(title)
        ax.set_xlabel("size (µm)")
    letter_panels(axes.flat[:len(panels)])
    axes[0, 0].set_ylabel("share of the volume below")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return fig


@styled
def score_curves(panels: Any, *, goal: float | None = None) -> Figure:
    """Draw a distance against a condition for several methods.

    Parameters
    ----------
    panels : list of (label of the x axis, x (m,), dict method -> (m,)).
    goal : a value to reach, dotted.
    """
    panels = tuples("panels", panels, "label, x, curves")
    fig = Figure(figsize=(FULL, 2.8), layout="constrained")
    axes = fig.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for ax, (label, x, curves) in zip(axes, panels, strict=True):
        for k, (name, y) in enumerate(curves.items()):
            ax.plot(x, y, color=COLOURS[k], linestyle=DASHES[k], marker=MARKERS[k], label=name)
        if goal is not None:
            ax.axhline(goal, color=GUIDE, linewidth=0.8, linestyle=":", label=f"goal {goal:g}")
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel(label)
    letter_panels(axes)
    axes[0].set_ylabel("mean distance $W_1$ of\ncumulative curves by volume")
    fig.legend(*axes[-1].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return fig


@styled
def evolution(time: Any, truth: Any, found: Any, low: float, high: float, *, label: str = "time (frames)") -> Figure:
    """Draw d10, d50 and d90 by volume (in m) of a powder that changes: lines the truth, dots the estimate with its
    band.

    Parameters
    ----------
    time : (n,); truth, found, low, high : (n, 3).
    """
    time = check_array("time", time, (None,))
    arrays = [check_array(name, x, (len(time), 3)) * 1e6
              for x, name in ((truth, "truth"), (found, "found"), (low, "low"), (high, "high"))]
    fig = Figure(figsize=(NARROW, 3.2), layout="constrained")
    ax = fig.subplots()
    for k, name in enumerate(("d10", "d50", "d90")):
        true, middle, lower, upper = (x[:, k] for x in arrays)
        ax.plot(time, true, color=COLOURS[k], linestyle=DASHES[1])
        ax.plot(time, middle, color=COLOURS[k], marker=MARKERS[k], markersize=2.5, linewidth=0.8, label=name)
        ax.fill_between(time, lower, upper, color=COLOURS[k], alpha=0.2, linewidth=0)
    ax.set_xlabel(label)
    ax.set_ylabel("size (µm), dashed: true")
    ax.legend()
    return fig


@styled
def skyrmion_speckle(lags: np.ndarray, beam: np.ndarray, correlations: dict[str, np.ndarray], q: np.ndarray,
                     envelopes: dict[str, np.ndarray], radii: np.ndarray, shares: dict[str, Any]) -> Figure:
    """Draw what coherent scattering of skyrmions tells: the speckle's autocorrelation, its envelope, sizes from it.

    Parameters
    ----------
    lags, beam : (m,) lag in steps of q, and |M|^2 of the beam; correlations: label -> (m,).
    q, envelopes : (k,) in 1 / site; label -> (k,), each drawn over its largest value.
    radii, shares : (s,) in sites; label -> (counted (s,), found (s,)), cumulative.
    """
    fig = Figure(figsize=(FULL, 3.0), layout="constrained")
    left, middle, right = fig.subplots(1, 3)
    letter_panels((left, middle, right))
    names = list(envelopes)  # in one colour each in all panels
    left.plot(lags, beam, color="black")
    for label, y in correlations.items():
        k = names.index(label)
        left.plot(lags, y, color=COLOURS[k], linestyle="", marker=MARKERS[k], markersize=4)
    left.set_xlabel("lag (steps of $q$)")
    left.set_ylabel("autocorrelation of the speckle\n(black: beam alone, $|M|^2$)")
    for k, (label, y) in enumerate(envelopes.items()):
        middle.plot(q, y / np.max(y), color=COLOURS[k], linestyle=DASHES[k % len(DASHES)], label=label)
    middle.set_yscale("log")
    middle.set_ylim(1e-5, 2)
    middle.set_xlabel("$q$ (1 / site)")
    middle.set_ylabel("envelope / largest")
    for label, (counted, found) in shares.items():
        k = names.index(label)
        right.plot(radii, counted, color=COLOURS[k], linestyle=DASHES[1])
        right.plot(radii, found, color=COLOURS[k])
    right.set_xlabel("radius (sites)")
    right.set_ylabel("share below\n(dashed: counted)")  # in one line it is longer than the axis
    fig.legend(*middle.get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return fig
