"""Figures of the learned spin-lattice potential: learning curve, predictions on labels, modes, and what it does hot."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.ticker import LogLocator

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
def learning_errors(counts: Any, errors: Any, *, xlabel: str = "training frames") -> Figure:
    """Draw relative errors against the number of frames, both axes logarithmic.

    Parameters
    ----------
    counts : (n,) numbers of frames.
    errors : dict label -> (n,), root mean square errors as parts of the labels' own.
    """
    counts = check_array("counts", counts, (None,))
    fig = Figure(figsize=(NARROW, 2.9), layout="constrained")
    ax = fig.subplots()
    for k, (label, values) in enumerate(errors.items()):
        ax.plot(counts, 100 * check_array(f"errors of {label}", values, counts.shape), color=COLOURS[k],
                linestyle=DASHES[k], marker=MARKERS[k], label=label)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(counts, [f"{count:g}" for count in counts])
    ax.xaxis.minorticks_off()
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.minorticks_off()
    ax.set_xlabel(xlabel)
    ax.set_ylabel("error on validation frames\n(% of the labels' rms)")
    ax.legend()
    return fig


@styled
def predictions(panels: Any) -> Figure:
    """Draw predictions on labels, one panel per quantity, with the diagonal and the slope of a straight fit.

    Parameters
    ----------
    panels : list of (words, unit, labels (n,), predictions (n,)).
    """
    panels = tuples("panels", panels, "words, unit, labels, predictions")
    fig = Figure(figsize=(FULL, 2.6), layout="constrained")
    for ax, (words, unit, labels, found) in zip(fig.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        labels = check_array(f"labels of {words}", labels, (None,))
        found = check_array(f"predictions of {words}", found, labels.shape)
        ends = np.array([min(labels.min(), found.min()), max(labels.max(), found.max())])
        ax.plot(ends, ends, color=GUIDE, linewidth=0.8)
        ax.plot(labels, found, color=COLOURS[0], linestyle="", marker=".", markersize=1.5, alpha=0.5, rasterized=True)
        ax.set_title(words)
        ax.text(0.04, 0.97, f"rms error {np.sqrt(np.mean((found - labels) ** 2)):.2g}\nslope "
                f"{np.polyfit(labels, found, 1)[0]:.2f}", transform=ax.transAxes, va="top", fontsize=8)
        ax.set_xlabel(f"label ({unit})")
    letter_panels(fig.axes)
    fig.axes[0].set_ylabel("prediction")
    return fig


@styled
def modes(panels: Any, *, xlabel: str = r"q from $\Gamma$ to X (parts of the way)") -> Figure:
    """Draw frequencies along a path: linear theory as lines, peaks of spectra as marks, one panel a kind of mode.

    Parameters
    ----------
    panels : list of (title, parts (Q,), curves); curves is a dict label -> (linear (Q, modes), peaks (Q, modes)), THz.
    """
    panels = tuples("panels", panels, "title, parts, curves")
    fig = Figure(figsize=(FULL, 3.2), layout="constrained")
    axes = fig.subplots(1, len(panels), squeeze=False)[0]
    for ax, (title, parts, curves) in zip(axes, panels, strict=True):
        parts = check_array(f"parts of {title}", parts, (None,))
        for k, (label, (linear, found)) in enumerate(curves.items()):
            linear = check_array(f"linear of {label}", linear, (len(parts), None))
            found = check_array(f"peaks of {label}", found, linear.shape)
            for j in range(linear.shape[1]):
                ax.plot(parts, linear[:, j], color=COLOURS[k], linestyle=DASHES[k], marker="", linewidth=1.0,
                        label=None if j else f"{label}, linear theory")
                ax.plot(parts, found[:, j], color=COLOURS[k], linestyle="", marker=MARKERS[k], markersize=6 - 2.5 * k,
                        markerfacecolor="none" if k == 0 else COLOURS[k], label=None if j else f"{label}, motion")
        ax.set_title(title)
        ax.set_xlim(0, 1.03 * parts.max())
        ax.set_ylim(bottom=min(0, ax.get_ylim()[0]))
        ax.set_xlabel(xlabel)
    letter_panels(axes)
    axes[0].set_ylabel("frequency (THz)")
    axes[-1].legend()
    return fig


@styled
def magnet_in_motion(curves: Any, *, free: float) -> Figure:
    """Draw the magnetisation against temperature, and the total energy of a motion without thermostat against time.

    Parameters
    ----------
    curves : dict label -> dict of temperatures (T,) K, magnetisation (T, 2) mean and standard error, times (n,) ps,
        drift (n,) eV per atom.
    free : the mean magnetisation that as many free moments have, dotted.
    """
    fig = Figure(figsize=(FULL, 2.9), layout="constrained")
    left, right = fig.subplots(1, 2)
    left.axhline(free, color=GUIDE, linewidth=0.8, linestyle=":", label="free moments")
    for k, (label, found) in enumerate(curves.items()):
        temperatures = check_array(f"temperatures of {label}", found["temperatures"], (None,))
        mean, error = check_array(f"magnetisation of {label}", found["magnetisation"], (len(temperatures), 2)).T
        left.errorbar(temperatures, mean, error, color=COLOURS[k], linestyle=DASHES[k], marker=MARKERS[k], capsize=2,
                      label=label)
        times = check_array(f"times of {label}", found["times"], (None,))
        right.plot(times, 1e6 * check_array(f"drift of {label}", found["drift"], times.shape), color=COLOURS[k],
                   linewidth=0.7, label=label)
    left.set_xlabel("temperature (K)")
    left.set_ylabel(r"magnetisation $|\sum S|\,/\,\sum |S|$")
    left.set_ylim(0, 1.02)
    left.legend()
    letter_panels((left, right))
    right.set_xlabel("time (ps)")
    right.set_ylabel("total energy, from its start\n(µeV per atom)")
    return fig


@styled
def spectral_lines(frequencies: Any, curves: Any, lines: Any, *, title: str = "") -> Figure:
    """Draw the power at one wave vector, and linear theory's frequencies as vertical lines in the same colours.

    Parameters
    ----------
    frequencies : (W,) THz.
    curves, lines : dicts with the same labels, of the power (W,) in units of its mean, and of frequencies (m,), THz.
    """
    frequencies = check_array("frequencies", frequencies, (None,))
    if list(curves) != list(lines):
        raise ValueError(f"curves and lines must have the same labels, got {list(curves)} and {list(lines)}")
    fig = Figure(figsize=(NARROW, 2.9), layout="constrained")
    ax = fig.subplots()
    for k, (label, values) in enumerate(curves.items()):
        values = check_array(f"power of {label}", values, frequencies.shape)
        ax.plot(frequencies, values, color=COLOURS[k], linestyle=DASHES[k], linewidth=1.0, label=label)
        for line in check_array(f"lines of {label}", lines[label], (None,)):
            ax.axvline(line, color=COLOURS[k], linestyle=DASHES[k], linewidth=0.6, alpha=0.7)
    ax.set_yscale("log")
    ax.set_ylim(bottom=1e-4)
    ax.set_xlim(0, min(frequencies.max(), 25.0))
    ax.set_xlabel("frequency (THz); lines: linear theory")
    ax.set_ylabel("power (of its mean)")
    ax.set_title(title)
    ax.legend()
    return fig
