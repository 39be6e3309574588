"""Figure of gamma_c, where the collapse sets in, against beta and against the excess energy of the data."""

from __future__ import annotations

from typing import Any

import numpy as np

from evae_companion.plotting.checks import tuples
from evae_companion.plotting.style import COLOURS, FULL, GUIDE, MARKERS, Figure, styled
from evae_core.validation import check_array, check_keys

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
    axes[0].set_ylabel(r"$\gamma_c$")
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=3)
    return fig
