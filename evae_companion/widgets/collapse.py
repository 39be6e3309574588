"""Collapse explorer: k-space MSE against gamma, with the states of all trainings side by side."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import ipywidgets

from evae_companion.plotting.style import minus
from evae_companion.widgets.base import Explorer, chooser, pixels
from evae_companion.widgets.cursor import CursorPlot
from evae_companion.widgets.images import png, sheet, spin_picture
from evae_core.hamiltonian import Hamiltonian


class CollapseExplorer(Explorer):
    """Explorer with a slider for gamma: the k-space MSE with a cursor, and two generated states of every training.

    Parameters
    ----------
    result : what :func:`evae_companion.experiments.collapse.run` returned.
    H : for energies.
    figure : of :func:`evae_companion.plotting.collapse_measure`, the same that the notebook shows before.
    """

    def __init__(self, result: SimpleNamespace, H: Hamiltonian, figure: Any):
        super().__init__()
        self.result, self.H, self.plot = result, H, CursorPlot(figure, (0, 1))
        self.gamma = chooser("gamma", result.shown)
        self.curves = ipywidgets.Image(format="png", layout={"width": "420px", "object_fit": "contain"})
        self.image, self.caption = pixels(150 * len(result.twins)), ipywidgets.HTML()
        self.on_change([self.gamma], self.redraw)
        self.show(self.gamma, ipywidgets.HBox([self.curves, ipywidgets.VBox([self.image, self.caption])],
                                              layout={"flex_flow": "wrap"}))
        self.film(self.gamma, self.image)
        self.do(self.redraw)

    def redraw(self) -> None:
        """Show the states at gamma, one column per training, and what was measured there."""
        number = self.result.shown.index(self.gamma.value)
        self.curves.value = self.plot.at(self.gamma.value)
        pairs = [self.result.states[name][number] for name in self.result.twins]
        self.image.value = png(sheet([[spin_picture(pair[row]) for pair in pairs] for row in (0, 1)]))
        self.caption.value = "".join(f"<div>{line}</div>" for line in self.lines(pairs))

    def lines(self, pairs: Sequence[Any]) -> list[str]:
        """Return one line per training: E/N of its two states, k-space MSE of all its samples."""
        lines = []
        for name, pair in zip(self.result.twins, pairs, strict=True):
            run = self.result.runs[name]
            mse = float(run["kspace_mse"][run["gamma"] == self.gamma.value][0])
            low, high = (minus(f"{e:.5f}") for e in self.H.energy_per_spin(pair.double()).tolist())
            lines.append(f"{name}: E/N = {low} and {high} J, k-space MSE {mse:.2g}")
        return lines
