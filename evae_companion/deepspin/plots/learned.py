"""Figures of learned potentials: the collapse they guide, and how active learning compares with random labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.ticker import LogLocator

from evae_companion.plotting.checks import as_spins, members, tuples
from evae_companion.plotting.spins import spin_rgb
from evae_companion.plotting.style import COLOURS, DASHES, FULL, MARKERS, Figure, letter_panels, styled
from evae_core.validation import check_array

LEAST = 1e-6  # J per spin: states nearer to the lowest one are that state


@styled
def guided_collapse(error: Any, decoded: Any, relaxed: Any, share: Any, references: Any, shown: Any) -> Figure:
    """Draw what guided collapses end at, against the torque error of the potential, and states below.

    Parameters
    ----------
    error : (m,) relative torque errors.
    decoded, relaxed : (seeds, m) mean energies per spin above the lowest state known, J, of states as generated and
        after relaxation; on a logarithmic axis, those below LEAST at LEAST. Points; lines are means.
    share : (seeds, m) of the states that relax to it.
    references : {words: (decoded, relaxed, share)}, drawn as level lines; two at most.
    shown : list of (title, spins (3, Ny, Nx)).
    """
    error = check_array("error", error, (None,))
    order = error.argsort()
    columns = [check_array(name, values, (None, len(error)))[:, order]
               for name, values in (("decoded", decoded), ("relaxed", relaxed), ("share", share))]
    columns[:2] = [np.maximum(values, LEAST) for values in columns[:2]]
    pictures = tuples("shown", shown, "title, spins")
    fig = Figure(figsize=(FULL, 4.9), layout="constrained")
    halves: Any = fig.subfigures(2, 1, height_ratios=(1.7, 1))
    left, right = halves[0].subplots(1, 2)
    for k, (ax, values, words) in enumerate(((left, columns[0], "as generated"), (left, columns[1], "relaxed"),
                                             (right, 100 * columns[2], "guided by a learned energy"))):
        ax.plot(100 * error[order], values.mean(0), color=COLOURS[k], linestyle="-")
        for number, seed in enumerate(values):
            ax.plot(100 * error[order], seed, color=COLOURS[k], marker=MARKERS[k], linestyle="none",
                    label=words if number == 0 else None)
        for (name, levels), dash in zip(references.items(), DASHES[1:3], strict=False):
            level = members(levels, name, "decoded, relaxed, share")[k]
            level = 100 * level if k == 2 else max(level, LEAST)
            ax.axhline(level, color=COLOURS[k], linestyle=dash, linewidth=0.9, label=name if k == 2 else None)
    left.set_yscale("log")
    left.set_ylim(bottom=0.5 * LEAST)
    left.set_ylabel("$E/N$ above the lowest state known ($J$)")
    right.set_ylabel("relax to the lowest known (%)")
    right.set_ylim(-3, 103)
    for ax in (left, right):
        ax.set_xscale("log")
        ax.set_xticks(100 * error[order], [f"{100 * one:.2g}" for one in error[order]])
        ax.set_xticks([], minor=True)
        ax.set_xlabel("torque error of the potential (% of the rms)")
    handles, labels = (one + other for one, other in zip(left.get_legend_handles_labels(),
                                                         right.get_legend_handles_labels(), strict=True))
    halves[0].legend(handles, labels, loc="outside upper center", ncols=3)  # curves fill the panels
    axes = halves[1].subplots(1, len(pictures), squeeze=False)[0]
    letter_panels((left, right, axes[0]))
    for ax, (title, spins) in zip(axes, pictures, strict=True):
        ax.imshow(spin_rgb(as_spins(spins, title, ndim=3)), origin="lower", interpolation="nearest")
        ax.set_title(title)
        ax.set_xticks([])
        ax.set_yticks([])
        for side in ax.spines.values():  # a uniform state is white
            side.set_visible(True)
    return fig


@styled
def active_learning(labels: Any, shares: Any, errors: Any) -> Figure:
    """Draw the share of candidates a round, and errors on a test set against the number of labelled frames.

    Parameters
    ----------
    labels : {way: (rounds,)} numbers of labelled frames; the same keys everywhere.
    shares : {way: (rounds,)} share of candidates among the configurations met, NaN where none were sought.
    errors : list of (label of the axis, {way: (seeds, rounds)}).
    """
    panels = tuples("errors", errors, "label, curves")
    fig = Figure(figsize=(FULL, 2.9), layout="constrained")
    axes = fig.subplots(1, 1 + len(panels), squeeze=False)[0]
    for k, (way, share) in enumerate(shares.items()):
        n = check_array(f"labels of {way}", labels[way], (None,))
        share = check_array(f"shares of {way}", share, n.shape, finite=False)
        axes[0].plot(n, 100 * share, color=COLOURS[k], marker=MARKERS[k], linestyle=DASHES[k])
        for ax, (name, curves) in zip(axes[1:], panels, strict=True):
            one = check_array(f"{name} of {way}", curves[way], (None, len(n)))
            ax.plot(n, one.mean(0), color=COLOURS[k], marker=MARKERS[k], linestyle=DASHES[k], label=way)
            ax.fill_between(n, one.min(0), one.max(0), color=COLOURS[k], alpha=0.2, linewidth=0)
            ax.set_yscale("log")
            ax.yaxis.set_major_formatter("{x:g}")
            ax.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
            ax.yaxis.set_minor_formatter("{x:g}")
            ax.set_ylabel(name)
    axes[0].set_ylabel("candidates (%)")
    axes[-1].legend()
    letter_panels(axes)
    for ax in axes:
        ax.set_xlabel("labelled frames")
    return fig
