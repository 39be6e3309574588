"""Figures of the data: the course of an annealing, statistics of a data set, energies of confined samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from evae_companion.plotting.checks import as_spins
from evae_companion.plotting.layout import WHEEL, Panels
from evae_companion.plotting.scales import symmetric_log
from evae_companion.plotting.style import (
    COLOURS,
    FULL,
    GUIDE,
    MARKERS,
    NARROW,
    Figure,
    letter_panels,
    minus,
    power,
    styled,
)
from evae_core.validation import check_array, check_is, check_keys, check_list


@styled
def annealing_watched(temperatures: Any, frames: Any, trace: Any) -> Figure:
    """Draw an annealing: configurations at chosen temperatures above energy and charge against temperature (T).

    Parameters
    ----------
    temperatures : (k,) in J/k_B, from high to low.
    frames : (k, 3, Ny, Nx), the configurations at these temperatures.
    trace : dict with ``temperature`` (m,), ``energy_per_spin`` (m,) in J and ``charge`` (m,), the topological charge,
        whose absolute value is drawn.

    Raises
    ------
    TypeError, ValueError
        bad ``frames``, missing keys, or arrays of unequal lengths.
    """
    frames = as_spins(frames, "frames", ndim=4)
    temperatures = check_array("temperatures", temperatures, (len(frames),))
    names = ("temperature", "energy_per_spin", "charge")
    check_keys("trace", trace, names)
    t = check_array("trace['temperature']", trace["temperature"], (None,))
    energy, charge = (check_array(f"trace[{name!r}]", trace[name], t.shape) for name in names[1:])
    k = len(frames)
    ny, nx = frames.shape[-2:]
    width = min((FULL - WHEEL - 0.45 - 0.06 * k) / k, 1.5, 1.5 * nx / ny)
    panels = Panels([width] * k, [width * ny / nx], 0.06, left=0.2, right=WHEEL + 0.2, bottom=3.0)
    for i, (frame, value) in enumerate(zip(frames, temperatures, strict=True)):
        panels.spins(0, i, frame)
        panels.column_label(i, f"T = {power(round(float(value), 3))}")
    panels.bar(0, 0, nx)
    panels.wheel(x=panels.x[-1] + width + 0.1)
    wide = (panels.width - 1.5) / 2
    curves = []
    for i, (y, label) in enumerate(((energy, "$E/N$ (J)"), (np.abs(charge), "|topological charge|"))):
        ax = panels.place(0.6 + i * (wide + 0.8), panels.y[0] + width * ny / nx + 0.5, wide, 2.0)
        curves.append(ax)
        ax.plot(t, y, color=COLOURS[i], linestyle=("-", (0, (5, 1.5)))[i])
        order = np.argsort(t)
        shown = np.interp(temperatures, t[order], y[order])
        ax.plot(temperatures, shown, linestyle="", marker=MARKERS[i], color=COLOURS[i])
        # Time runs from left to right, from hot to cold, as in the row of maps.
        ax.set(xlabel="temperature T (J/$k_\\mathrm{B}$), cooling \N{RIGHTWARDS ARROW}", ylabel=label)
        ax.set_xlim(1.03 * t.max(), -0.03 * t.max())
        ax.ticklabel_format(axis="y", useOffset=False)
    letter_panels((panels[0, 0], *curves))
    return panels.figure


@styled
def dataset_statistics(energy_per_spin: Any, charge: Any, defects: Any, *, references: Any = None,
                       defect_label: str = "defects per configuration") -> Figure:
    """Draw histograms of energy per spin, topological charge and defects over the configurations of a data set.

    Parameters
    ----------
    energy_per_spin : (n,) in J.
    charge : (n,) topological charge, integers to rounding.
    defects : (n,) per configuration, a count or a share as ``defect_label`` says.
    references : dict label -> E/N, such as the ideal lattice's: vertical lines.

    Raises
    ------
    TypeError, ValueError
        arrays that are empty, not of one length, or hold NaN.
    """
    check_is("references", references, Mapping, type(None))
    energy = check_array("energy_per_spin", energy_per_spin, (None,))
    charge = check_array("charge", charge, energy.shape)
    defects = check_array("defects", defects, energy.shape)
    fig = Figure(figsize=(FULL, 2.8), layout="constrained")
    axes = fig.subplots(1, 3, width_ratios=[1.5, 1, 1], sharey=True)
    bins = int(np.clip(np.sqrt(energy.size), 8, 40))
    axes[0].hist(energy, bins=bins, color=COLOURS[0], alpha=0.75)
    for i, (label, value) in enumerate((references or {}).items()):
        value = float(check_array(f"references[{label!r}]", value, ()))
        axes[0].axvline(value, color=COLOURS[1] if i == 0 else GUIDE, linestyle=("--", ":", "-.")[i % 3],
                        label=minus(f"{label}: {value:.4f}"))
    for ax, values in ((axes[1], charge), (axes[2], defects)):
        whole = np.allclose(values, np.round(values), atol=1e-3)
        if whole and np.ptp(values) < 80:
            edges = np.arange(np.round(values.min()) - 0.5, np.round(values.max()) + 1)
            ax.hist(np.round(values), bins=edges, color=COLOURS[0], alpha=0.75, rwidth=0.85)
            ax.xaxis.get_major_locator().set_params(integer=True)
        else:
            ax.hist(values, bins=bins, color=COLOURS[0], alpha=0.75)
    letter_panels(axes)
    if references:
        fig.legend(loc="outside upper left", ncols=len(references))
    axes[0].set(xlabel="$E/N$ (J)", ylabel="configurations")
    axes[0].ticklabel_format(axis="x", useOffset=False)
    axes[0].xaxis.get_major_locator().set_params(nbins=5)
    axes[1].set(xlabel="topological charge")
    axes[2].set(xlabel=defect_label)
    return fig


@styled
def confined_energies(samples: Any) -> Figure:
    """Draw what annealing and the collapsed model find in samples with edges: E/N above the best annealed state.

    Parameters
    ----------
    samples : list of dicts, one per sample shape: ``label``, ``annealed``, ``relaxed`` and optional ``collapsed``.
        ``annealed`` (n,) is E/N in J of the annealed states. ``collapsed`` is E/N of the state as the collapsed model
        gives it, ``relaxed`` that after relaxation. Energies are drawn in 1e-3 J on a symmetric logarithmic axis. Left
        of 0 the model is below every annealed state.

    Raises
    ------
    TypeError, ValueError
        an empty list, missing keys, or values that are not numbers.
    """
    samples = check_list("samples", [samples] if isinstance(samples, dict) else samples, dict)
    fig = Figure(figsize=(NARROW, 1.35 + 0.55 * len(samples)), layout="constrained")
    ax = fig.subplots()
    everything = []
    for row, sample in enumerate(samples):
        check_keys(f"samples[{row}]", sample, ("label", "annealed", "relaxed"))
        annealed = check_array(f"samples[{row}]['annealed']", sample["annealed"], (None,))
        best = annealed.min()
        x = 1e3 * (annealed - best)
        spread = (np.arange(x.size) * 0.618034 % 1 - 0.5) * 0.5  # golden ratio: an even spread, the same in every run
        ax.plot(x, row + spread, linestyle="", marker=".", markersize=4, color="0.6", zorder=1,
                label="annealed" if row == 0 else None)
        ax.plot(0, row, linestyle="", marker="|", markersize=14, markeredgewidth=1.6, color="black", zorder=2,
                label="best annealed" if row == 0 else None)
        everything.append(x)
        for key, marker, colour, fill, name in (
                ("collapsed", "o", COLOURS[1], "white", "collapsed model, as decoded"),
                ("relaxed", "D", COLOURS[0], COLOURS[0], "collapsed model, relaxed")):
            if sample.get(key) is None:
                continue
            value = 1e3 * (float(check_array(f"samples[{row}][{key!r}]", sample[key], ())) - best)
            everything.append([value])
            ax.plot(value, row, linestyle="", marker=marker, markersize=7, color=colour, markerfacecolor=fill, zorder=3,
                    label=name)
    ax.set(yticks=range(len(samples)), yticklabels=[sample["label"] for sample in samples],
           ylim=(len(samples) - 0.5, -0.5), xlabel="$E/N$ above the best annealed state ($10^{-3}$ J)")
    ax.axvline(0, color=GUIDE, linewidth=0.7, linestyle=":", zorder=0)
    ax.tick_params(axis="y", length=0)
    symmetric_log(ax, "x", everything)
    handles = dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True))
    fig.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=2, markerscale=0.75)
    return fig
