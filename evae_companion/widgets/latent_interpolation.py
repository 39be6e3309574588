"""Interpolation explorer: a slider for R, with two gammas side by side."""

from __future__ import annotations

from types import SimpleNamespace

import ipywidgets

from evae_companion import plotting
from evae_companion.analysis.barrier import barrier
from evae_companion.widgets.base import Explorer, pixels
from evae_companion.widgets.cursor import CursorPlot
from evae_companion.widgets.images import angle_picture, png, sheet, spin_picture, summary, summary_line
from evae_core.hamiltonian import Hamiltonian
from evae_core.latent import K_STEPS


class LatentInterpolationExplorer(Explorer):
    """Explorer from the interstitial to the perfect lattice with two networks at once, R steps from each barrier.

    Parameters
    ----------
    result : what :func:`evae_companion.experiments.latent_interpolation.run` returned.
    H : for energies and angles.
    gammas : two of the gammas whose frames it has.
    """

    def __init__(self, result: SimpleNamespace, H: Hamiltonian, gammas: tuple[float, float] = (0.0, 100.0)):
        super().__init__()
        self.result, self.H, self.gammas = result, H, gammas
        self.first = {g: int(barrier(result.profile[g]).R[0]) for g in gammas}  # R at k = 0
        low, high = max(self.first.values()), min(first + K_STEPS for first in self.first.values())
        figure = plotting.interpolation_energies({f"γ = {g:g}": barrier(result.profile[g]).R for g in gammas},
                                                 {f"γ = {g:g}": result.profile[g] for g in gammas},
                                                 references=result.energy)
        self.plot = CursorPlot(figure, (0, 1))
        self.R = ipywidgets.IntSlider(value=max(low, min(0, high)), min=low, max=high, description="R",
                                      layout={"width": "600px"})
        self.energies = ipywidgets.Image(format="png", layout={"width": "640px", "object_fit": "contain"})
        self.images = [pixels(340) for _ in gammas]
        self.captions = [ipywidgets.HTML() for _ in gammas]
        self.on_change([self.R], self.redraw)
        columns = [ipywidgets.VBox(pair, layout={"margin": "0 2em 0 0"})
                   for pair in zip(self.images, self.captions, strict=True)]
        self.show(self.R, self.energies, ipywidgets.HBox(columns, layout={"flex_flow": "wrap"}))
        self.film(self.R, *self.images, values=list(dict.fromkeys(max(low, min(R, high)) for R in (-10, 0, 10))),
                  across=1)
        self.do(self.redraw)

    def redraw(self) -> None:
        """Show the frames at R, spins and angles to the field, and the cursor."""
        self.energies.value = self.plot.at(self.R.value)
        for g, image, caption in zip(self.gammas, self.images, self.captions, strict=True):
            state = self.result.frame(g, self.R.value - self.first[g])
            image.value = png(sheet([[spin_picture(state), angle_picture(self.H, state)]]))
            caption.value = f"γ = {g:g}: " + summary_line(summary(self.H, state))
