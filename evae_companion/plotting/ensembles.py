"""Figure of an ensemble of states from any source: some states, energies, charges and the structure factor."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from evae_companion.plotting.checks import as_spins
from evae_companion.plotting.layout import KEY, Panels, map_size
from evae_companion.plotting.scales import logarithmic_y_ticks
from evae_companion.plotting.style import COLOURS, DASHES, FULL, Figure, letter_panels, styled
from evae_core.validation import check_array, check_keys, check_number

LEAST = 1e-6  # J per spin; states nearer to the lowest one stand at the left edge


@styled
def ensemble_scores(spins: Any, sets: Any, lowest: float = 0.0) -> Figure:
    """Draw states above their energies as given and relaxed, their charges and their structure factor.

    Parameters
    ----------
    spins : (k, 3, Ny, Nx), states that are shown.
    sets : dict label -> dict with ``energy``, ``relaxed_energy`` and ``charge`` (n,), E/N in J, and ``structure``
        (m,), the structure factor in rings of |k|. The first is the ensemble; a reference may follow.
    lowest : E/N from which energies are measured, J.

    Raises
    ------
    TypeError, ValueError
        bad ``spins``, no sets, or members that are missing or not numbers.
    """
    spins = as_spins(spins, ndim=4)
    lowest = check_number("lowest", lowest, -np.inf)
    check_keys("sets", sets)
    k = len(spins)
    width, height = map_size(spins.shape[-2:], k, FULL - KEY - 0.15 - 0.06 * k, 1.4)
    panels = Panels([width] * k, [height], left=0.2, top=0.2, right=max(KEY, FULL - 0.2 - k * (width + 0.06)),
                    bottom=3.3)
    for i, state in enumerate(spins):
        panels.spins(0, i, state)
    panels.bar(0, 0, spins.shape[-1])
    panels.wheel()
    wide, top = (panels.width - 2.3) / 3, panels.y[0] + height + 0.5
    energies, charges, waves = (panels.place(0.6 + i * (wide + 0.8), top, wide, 1.95) for i in range(3))
    bar = 0.8 / len(sets)
    for i, (label, one) in enumerate(sets.items()):
        check_keys(f"sets[{label!r}]", one, ("energy", "relaxed_energy", "charge", "structure"))
        colour = COLOURS[i % 7]
        energy = check_array(f"energy of {label}", one["energy"], (None,))
        relaxed, charge = (check_array(f"{name} of {label}", one[name], energy.shape)
                           for name in ("relaxed_energy", "charge"))
        structure = check_array(f"structure of {label}", one["structure"], (None,))
        share = np.arange(1, len(energy) + 1) / len(energy)
        for values, dash, how in ((energy, DASHES[0], "as given"), (relaxed, DASHES[1], "relaxed")):
            energies.step(np.maximum(np.sort(values) - lowest, LEAST / 10), share, where="post", linestyle=dash,
                          label=f"{label}, {how}", color=colour)
        values, counts = np.unique(np.round(charge), return_counts=True)
        charges.bar(values + (i + 0.5) * bar - 0.4, counts / len(charge), width=bar, color=colour)
        waves.plot(np.arange(len(structure)), np.maximum(structure, 1e-8), color=colour)
    energies.set(xscale="log", xlabel="$E/N$ above the lowest (J)", ylabel="share of states", ylim=(0, 1.02))
    energies.set_xlim(left=LEAST)
    charges.set(xlabel="topological charge, rounded", ylabel="share of states")
    charges.set_ylim(bottom=0)
    charges.xaxis.set_major_locator(MaxNLocator(integer=True))
    waves.set(yscale="log", xlabel=r"$|k|$ (turns per box)", ylabel="$S(k)$, sum over a ring", ylim=(1e-6, 2))
    waves.set_xlim(0, max(spins.shape[-2:]) / 2)
    logarithmic_y_ticks(waves)
    letter_panels((panels[0, 0], energies, charges, waves))
    handles, labels = energies.get_legend_handles_labels()
    panels.figure.legend(handles, labels, loc="lower center", ncols=4, handlelength=2)
    return panels.figure
