"""Annealing explorer: sliders for couplings and cooling rate, with a live view of the lattice."""

from __future__ import annotations

import asyncio
import time

import ipywidgets
import numpy as np

from evae_companion.plotting.stills import still_frames
from evae_companion.plotting.style import Figure, minus
from evae_companion.widgets.annealing_session import BOUNDARIES, CELLS, Cooling, Frame, Settings, disk
from evae_companion.widgets.base import Explorer, number, pixels, spread
from evae_companion.widgets.images import png, spin_picture

RATE = 25.0  # frames per second at most
BREATH = 0.005  # least time between frames, in s, in which the kernel answers sliders and buttons
RATES = {"very fast (30)": 30, "fast (120)": 120, "240": 240, "slow (1000)": 1000, "very slow (4000)": 4000}


class AnnealingExplorer(Explorer):
    """Explorer that anneals one lattice live; moving a slider restarts it from random spins.

    Parameters
    ----------
    size : sites per side, even.
    J, D, B, K : initial values of the sliders, in units of J.
    """

    def __init__(self, size: int = 64, J: float = 1.0, D: float = 0.6, B: float = 0.2, K: float = 0.0):
        super().__init__()
        self.size, self.playing = size, False
        self.task: asyncio.Task[None] | None = None
        self.couplings = {"J": number("J", J, -1.0, 2.0, 0.05), "D": number("D", D, -1.0, 1.0, 0.05),
                          "B": number("B", B, -0.5, 1.0, 0.01), "K": number("K", K, -1.0, 1.0, 0.05)}
        self.dmi = ipywidgets.Dropdown(options=["bloch", "neel"], description="DM type")
        self.boundary = ipywidgets.Dropdown(options=BOUNDARIES, description="boundary")
        self.sweeps = ipywidgets.SelectionSlider(options=list(RATES.items()), value=240, description="sweeps",
                                                 continuous_update=False)
        self.seed = ipywidgets.IntSlider(value=0, min=0, max=99, description="seed")
        small = ipywidgets.Layout(width="26px", height="26px", padding="0")
        self.squares = [[ipywidgets.ToggleButton(value=bool(inside), layout=small) for inside in row]
                        for row in disk()]
        grid = ipywidgets.GridBox([square for row in self.squares[::-1] for square in row], layout={
            "grid_template_columns": f"repeat({CELLS}, 26px)", "grid_gap": "1px", "margin": "4px 0 4px 90px"})
        self.grid = ipywidgets.VBox([ipywidgets.HTML("click squares in and out of the sample"), grid],
                                    layout={"display": "none"})
        self.image, self.caption = pixels(448), ipywidgets.HTML()
        controls = [*self.couplings.values(), self.dmi, self.boundary, self.sweeps, self.seed]
        self.on_change([*controls, *(square for row in self.squares for square in row)], self.restart)
        buttons = [self.button("run", self.run), self.button("pause", self.pause), self.button("step", self.step),
                   self.button("from random spins", self.restart)]
        left = ipywidgets.VBox([*controls, self.grid, ipywidgets.HBox(buttons)])
        self.show(ipywidgets.HBox([left, ipywidgets.VBox([self.image, self.caption])], layout={"flex_flow": "wrap"}))
        self.box.still = self.course
        self.do(self.restart)

    def course(self) -> tuple[str, Figure]:
        """Return the picture of a whole annealing with the settings of the sliders, for readers without a kernel."""
        cooling, frames = Cooling(self.settings()), []
        while not cooling.done:
            frame = cooling.step()
            frames.append((f"sweep {frame.sweep}", spin_picture(frame.spins)))
        return "One annealing, from hot to relaxed", still_frames(spread(frames, 4), across=4)

    def settings(self) -> Settings:
        """Return the settings of the sliders."""
        return Settings(**{name: slider.value for name, slider in self.couplings.items()}, dmi=self.dmi.value,
                        boundary=self.boundary.value, sweeps=self.sweeps.value, size=self.size, seed=self.seed.value,
                        drawn=tuple(tuple(bool(square.value) for square in row) for row in self.squares))

    def restart(self) -> None:
        """Restart from random spins with the settings of the sliders."""
        self.grid.layout.display = "" if self.boundary.value == "drawn" else "none"
        self.cooling = Cooling(self.settings())
        self._draw(self.cooling.frame())

    def step(self) -> None:
        """Advance by one frame."""
        self._draw(self.cooling.step())

    def run(self) -> None:
        """Run until the lattice is relaxed or paused; restart from random spins if it is relaxed already."""
        if self.cooling.done:
            self.restart()
        if not self.playing:
            self.playing = True
            self.task = asyncio.get_running_loop().create_task(self._play())

    def pause(self) -> None:
        """Stop at the current frame."""
        self.playing = False

    async def _play(self) -> None:
        begin, frames = time.perf_counter(), 0
        try:
            while self.playing and not self.cooling.done:
                now = time.perf_counter()
                self.do(self.step)
                frames += 1
                await asyncio.sleep(max(BREATH, 1 / RATE - (time.perf_counter() - now)))
        finally:
            self.playing = False
            self.caption.value += f"<br>{frames / (time.perf_counter() - begin):.0f} frames a second"

    def _draw(self, frame: Frame) -> None:
        self.image.value = png(spin_picture(frame.spins))
        T = "∞" if np.isinf(frame.temperature) else f"{frame.temperature:.3f}"
        state = "relaxed" if frame.done else f"sweep {frame.sweep} of {self.cooling.sweeps}"
        self.caption.value = (f"T = {T} J/k<sub>B</sub>, {state}<br>E/N = {minus(f'{frame.energy:.4f}')} J, "
                            f"charge {minus(f'{frame.charge:z.1f}')}")
