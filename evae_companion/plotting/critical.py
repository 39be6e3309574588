"""Figures of where the collapse sets in, against beta and the data's excess energy, and of what collapses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from evae_companion.plotting.checks import tuples
from evae_companion.plotting.scales import logarithmic_x, logarithmic_y_ticks
from evae_companion.plotting.style import (
    COLOURS,
    FULL,
    GUIDE,
    MARKERS,
    NARROW,
    Figure,
    letter_panels,
    line_style,
    styled,
)
from evae_core.validation import check_array, check_is, check_keys, check_number

FLOOR = {"share": 1e-6, "excess": 1e-8}  # of the logarithmic axes; energies below the lowest known stand on it
RULES = {"kspace": "states become one", "kl": r"$L_\mathrm{KL}$ has doubled"}


def _few(x: float, position: int | None = None) -> str:
    """Label twice and five times a power of ten only: there is no room for more."""
    mantissa = x / 10.0 ** np.floor(np.log10(x))
    power = int(np.floor(np.log10(x)))
    return rf"${mantissa:.0f}\times10^{{{power}}}$" if round(mantissa) in (2, 5) else ""


@styled
def critical_gammas(panels: Any) -> Figure:
    """Draw gamma_c by both rules, and the band that linear theory expects, one panel per abscissa.

    Parameters
    ----------
    panels : list of (label, table), ``label`` the label of the x axis. table is a dict of ``x`` (m,), ``kspace`` and
        ``kl``, each (m, seeds), and ``expected`` (m, 2), the two values of linear theory. NaN stands where a sweep was
        not trained or did not reach gamma_c.

    Raises
    ------
    TypeError, ValueError
        an empty list, missing keys, or unequal lengths.
    """
    panels = tuples("panels", panels, "label, table")
    fig = Figure(figsize=(FULL, 3.0), layout="constrained")
    axes = fig.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for ax, (xlabel, table) in zip(axes, panels, strict=True):
        check_keys(f"the table of {xlabel}", table, ("x", "expected", *RULES))
        x = check_array(f"x of {xlabel}", table["x"], (None,))
        expected = np.sort(check_array(f"expected of {xlabel}", table["expected"], (len(x), 2)), axis=1)
        order = x.argsort()
        ax.fill_between(x[order], *expected[order].T, color=GUIDE, alpha=0.2, linewidth=0, label="linear theory")
        for k, (rule, label) in enumerate(RULES.items()):
            values = check_array(f"{rule} of {xlabel}", table[rule], (len(x), None), finite=False)
            ax.plot(np.repeat(x, values.shape[1]), values.ravel(), linestyle="", marker=MARKERS[k],
                    color=COLOURS[k], markerfacecolor="none" if k else COLOURS[k], label=label)
        ax.set_xscale("log")
        ax.set_yscale("log")
        if x.max() < 30 * x.min():
            ax.xaxis.set_minor_formatter(_few)
        ax.set_xlabel(xlabel)
    letter_panels(axes)
    axes[0].set_ylabel(r"$\gamma_c$")
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=3)
    return fig


@styled
def what_collapses(gamma: Any, share: Any, excess: Any, variance: Any, threshold: float = 1e-2) -> Figure:
    """Draw diversity and energy of reconstructed and generated states along a gamma sweep, and the latents' variance.

    Parameters
    ----------
    gamma : (m,) of the stages, ascending and positive.
    share : {label: (m,)}, k-space MSE of states of each kind as a share of the training data's.
    excess : {label: (m,)}, their mean energy above the lowest state known, J per spin.
    variance : (m,), of the aggregated posterior per latent variable; 1 is the prior's.
    threshold : share below which states are one, a dashed line.

    Raises
    ------
    TypeError, ValueError
        unequal lengths, no kind of states, gamma not ascending.
    """
    gamma = check_array("gamma", gamma, (None,))
    if not (gamma[0] > 0 and (np.diff(gamma) > 0).all()):
        raise ValueError(f"gamma must be positive and ascending, got {gamma!r:.60}")
    for name, rows in (("share", share), ("excess", excess)):
        check_is(name, rows, Mapping)
        check_keys(name, rows)
    fig = Figure(figsize=(NARROW, 6.0), layout="constrained")
    axes = fig.subplots(3, 1, sharex=True, height_ratios=[1.2, 1.2, 0.8])
    labels = list(dict.fromkeys([*share, *excess]))
    for ax, rows, name in ((axes[0], share, "share"), (axes[1], excess, "excess")):
        for label, values in rows.items():
            y = check_array(f"{name} of {label}", values, gamma.shape, finite=False)
            ax.plot(gamma, np.maximum(y, FLOOR[name]), label=label, **line_style(labels.index(label)))
        ax.set_yscale("log")
    axes[0].axhline(check_number("threshold", threshold), color=GUIDE, linestyle="--", linewidth=1.0)
    axes[2].plot(gamma, check_array("variance", variance, gamma.shape, finite=False), **line_style(len(labels)))
    axes[2].axhline(1.0, color=GUIDE, linestyle="--", linewidth=1.0)
    axes[2].set_yscale("log")
    letter_panels(axes)
    axes[0].set_ylabel("k-space MSE\n(share of the data's)")
    axes[1].set_ylabel("$E/N$ above the\nlowest known (J)")
    axes[2].set_ylabel("variance of $z$\n(prior: 1)")
    logarithmic_x(axes[2], [gamma])
    for ax in axes:
        logarithmic_y_ticks(ax)
    axes[2].set_xlabel(r"$\gamma$")
    handles, names = axes[0].get_legend_handles_labels()
    fig.legend(handles, names, loc="outside upper center", ncols=3)
    return fig
