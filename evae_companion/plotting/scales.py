"""Logarithmic axes that also show zeros, small numbers and both signs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

from evae_companion.plotting.style import decade, power


def logarithmic_x(ax: Axes, all_x: Any) -> Callable[[Any], np.ndarray]:
    """Make the x axis of ``ax`` logarithmic for the arrays ``all_x``; return the map from values to places.

    The places are the values, but for zero, which stands left of the smallest positive value under the tick "0".
    """
    values = np.unique(np.concatenate(all_x))
    positive = values[values > 0]
    if positive.size == 0:
        raise ValueError("a logarithmic axis needs at least one positive value, got only 0")
    low, high = np.log10(positive[0]), np.log10(positive[-1])
    ax.set_xscale("log")
    if high - low > 2:
        step = max(1, round((high - low) / 11))
        ticks = 10.0 ** np.arange(np.ceil(low - 1e-9), high + 1e-9, step)
        edges = low - 0.35, high + 0.35
    else:  # at most two decades: ticks at 1, 2, 5
        ticks = np.array([k * 10.0**n for n in range(int(np.floor(low)), int(np.ceil(high)) + 1) for k in (1, 2, 5)])
        ticks = ticks[(ticks > positive[0] * 0.8) & (ticks < positive[-1] * 1.25)]
        edges = low - 0.1, high + 0.1
    zero = 10.0 ** (low - (1 if high - low > 2 else 0.25))
    if values[0] == 0:
        ticks = np.concatenate([[zero], ticks])
        edges = np.log10(zero) - (edges[1] - high), edges[1]
    ax.xaxis.set_major_locator(FixedLocator(ticks.tolist()))
    label: Callable[[float], str] = (lambda v: decade(round(np.log10(v)))) if high - low > 2 else "{:g}".format
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: "0" if values[0] == 0 and v <= zero * 1.001 else label(v)))
    ax.xaxis.set_minor_locator(LogLocator(subs=range(2, 10)))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlim(10.0 ** edges[0], 10.0 ** edges[1])
    return lambda x: np.where(np.asarray(x) == 0, zero, x)


def logarithmic_y(ax: Axes, x: Any, y: Any, floor: float, **style: Any) -> None:
    """Draw a curve on a logarithmic y axis; points at or below ``floor`` (rounding, exact zeros) stand at ``floor``."""
    ax.set_yscale("log")
    low = y <= floor
    ax.plot(x, np.where(low, floor, y), **style)
    if low.any():
        ax.plot(x[low], np.full(low.sum(), floor), linestyle="", marker="v", markersize=8, clip_on=False,
                markerfacecolor="white", markeredgecolor=style["color"], gid="floor")


def logarithmic_y_ticks(ax: Axes) -> None:
    """Label the y axis of ``ax`` after its curves are drawn: decades, or 1, 2, 5 if fewer than two are visible."""
    low, high = np.log10(ax.get_ylim())
    label = (lambda v: decade(round(np.log10(v)))) if high - low >= 2 else power
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high - low < 2 else (1,)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: label(v)))
    if high - low < 6:
        ax.yaxis.set_minor_locator(LogLocator(subs=range(2, 10)))
    ax.yaxis.set_minor_formatter(NullFormatter())


def _threshold(gaps: Any) -> float:
    """Return the half-width of the linear part of a symmetric logarithmic axis for these values: a power of ten."""
    gaps = gaps[np.isfinite(gaps) & (gaps > 0)]
    if gaps.size == 0:
        return 1e-6
    top = np.log10(gaps.max())
    return 10.0 ** np.clip(np.floor(np.log10(gaps.min())), np.floor(top) - 3, np.ceil(top) - 1)


def symmetric_log(ax: Axes, which: str, values: Any) -> None:
    """Make axis ``which`` ("x" or "y") logarithmic for ``values`` of both signs, with a linear middle.

    ``values`` is a list of arrays. Zero and the decades within the limits are labelled, nothing else.
    """
    values = np.concatenate([np.ravel(v) for v in values])
    values = values[np.isfinite(values)]
    threshold = _threshold(np.abs(values))
    low, high = values.min(initial=0.0), values.max(initial=0.0)
    low = 1.6 * low if low < -threshold else -0.6 * threshold
    high = 1.6 * high if high > threshold else 0.6 * threshold
    if which == "y":
        ax.set_yscale("symlog", linthresh=threshold, linscale=0.5)
        ax.set_ylim(low, high)
    else:
        ax.set_xscale("symlog", linthresh=threshold, linscale=0.5)
        ax.set_xlim(low, high)
    decades = threshold * 10.0 ** np.arange(0, 12)
    ticks = [-d for d in decades[::-1] if -d >= low] + [0.0] + [d for d in decades if d <= high]
    axis = ax.yaxis if which == "y" else ax.xaxis
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FuncFormatter(lambda v, _: _signed(v)))
    axis.set_minor_locator(FixedLocator([]))  # minor ticks crowd around zero


def _signed(value: float) -> str:
    if value == 0:
        return "0"
    sign = "\N{MINUS SIGN}" if value < 0 else ""
    return sign + decade(round(np.log10(abs(value))))
