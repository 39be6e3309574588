"""Latent space explorer: random vectors, sliders along principal axes, lines between two states, relax, keep."""

from __future__ import annotations

from functools import partial

import ipywidgets
import torch
from torch import Tensor

from evae_companion.widgets.axes import axes_of
from evae_companion.widgets.base import Explorer, number, pixels
from evae_companion.widgets.download import links
from evae_companion.widgets.images import angle_picture, png, sheet, spin_picture, summary, summary_line
from evae_core.annealing import relax
from evae_core.hamiltonian import Hamiltonian
from evae_core.model import VAE

REACH = 3.0  # widths; initial range of the sliders to either side
STEP = 0.05  # widths; step of the sliders


class LatentExplorer(Explorer):
    """Explorer of the states that a decoder generates from the latent vectors that the reader chooses.

    Parameters
    ----------
    model : in evaluation mode, on the CPU.
    H : for energies and relaxation.
    spins : (m, 3, Ny, Nx) states whose means span the sliders' axes; None: the first latent variables instead.
    axes : number of sliders.
    seed : of the random vectors.

    Attributes
    ----------
    z : (latent,) of the state shown.
    state : (3, Ny, Nx), the state shown.
    kept : list of the states kept.
    """

    def __init__(self, model: VAE, H: Hamiltonian, spins: Tensor | None = None, axes: int = 6, seed: int = 0):
        super().__init__()
        self.model, self.H = model, H
        self.random = torch.Generator().manual_seed(seed)
        self.axes, about = axes_of(model, spins, axes)
        self.z, self.kept = self.axes.middle.clone(), list[Tensor]()
        self.ends: dict[str, Tensor] = {}
        name = "z" if self.axes.share is None else "axis"
        self.sliders = [number(f"{name} {k + 1}", 0.0, -REACH, REACH, STEP) for k in range(axes)]
        self.between = ipywidgets.FloatSlider(value=0.0, min=0.0, max=1.0, step=0.01, description="A to B",
                                              disabled=True)
        self.image, self.caption, self.files = pixels(640), ipywidgets.HTML(), ipywidgets.HTML()
        self.strip = pixels(640)
        self.strip.layout.display = "none"
        for k, slider in enumerate(self.sliders):
            self.on_change([slider], partial(self._moved, k))
        self.on_change([self.between], self._walk)
        buttons = [self.button("random sample", self.sample), self.button("this is A", lambda: self.pick("A")),
                   self.button("this is B", lambda: self.pick("B")),
                   self.button("relax it", self.relax, "to the nearest local minimum of the energy"),
                   self.button("keep it", self.keep, "below, with links to save it")]
        left = ipywidgets.VBox([*self.sliders, self.between])
        right = ipywidgets.VBox([self.image, self.caption])
        self.show(ipywidgets.HTML(about), ipywidgets.HBox(buttons),
                  ipywidgets.HBox([left, right], layout={"flex_flow": "wrap"}), self.strip, self.files)
        self.film(self.sliders[0], self.image, values=(-2.0, 0.0, 2.0))
        self.do(self.sample)

    def sample(self) -> None:
        """Show a random vector from the prior N(0, 1)."""
        self.go(torch.randn(self.model.latent, generator=self.random))

    def go(self, z: Tensor) -> None:
        """Show what ``z`` decodes to, and move the sliders to its coordinates."""
        self.z = z
        for slider, place in zip(self.sliders, self.axes.coordinates(z).tolist(), strict=True):
            reach = max(REACH, abs(place))
            slider.min, slider.max = min(slider.min, -reach), max(slider.max, reach)
            slider.value = place
        self._decode()

    def pick(self, end: str) -> None:
        """Make the vector shown an end, "A" or "B", of the line along which the lowest slider moves."""
        self.ends[end] = self.z.clone()
        self.between.disabled = len(self.ends) < 2

    def relax(self) -> None:
        """Relax the state shown to its local minimum and show that; the next slider continues from z."""
        self._draw(relax(self.H, self.state, tolerance=1e-4, device="cpu"), "relaxed: ")

    def keep(self) -> None:
        """Append the state shown to ``kept``, with links to save it as .npy and as OVF."""
        html = links(self.state, f"state_{len(self.kept) + 1}")
        self.kept.append(self.state.clone())
        rows = [self.kept[k:k + 6] for k in range(0, len(self.kept), 6)]
        self.strip.value = png(sheet([[spin_picture(state) for state in row] for row in rows]))
        self.strip.layout.display, self.strip.layout.width = "", f"{106 * min(6, len(self.kept))}px"
        self.files.value += f"<div>{html}</div>"

    def _moved(self, axis: int) -> None:
        value = self.sliders[axis].value
        # After go() sets a slider, the browser later reports its value, rounded to a step: no move of the reader.
        if abs(value - float(self.axes.coordinates(self.z)[axis])) > STEP / 2:
            self.z = self.axes.moved(self.z, axis, value)
            self._decode()

    def _walk(self) -> None:
        self.go(torch.lerp(self.ends["A"], self.ends["B"], self.between.value))

    @torch.no_grad()
    def _decode(self) -> None:
        self._draw(self.model.decode(self.z[None])[0], "")

    def _draw(self, state: Tensor, before: str) -> None:
        self.state = state
        self.image.value = png(sheet([[spin_picture(state), angle_picture(self.H, state)]]))
        self.caption.value = before + summary_line(summary(self.H, state))
