"""Explorer of a sweep: a cursor on the losses, and the states that the network generates there."""

from __future__ import annotations

from functools import lru_cache

import ipywidgets
from torch import Tensor

from evae_companion import plotting
from evae_companion.experiments import result_cache
from evae_companion.plotting import ENERGY_LABEL
from evae_companion.plotting.style import minus
from evae_companion.trained import TrainedStage, history_table
from evae_companion.widgets.base import Explorer, chooser, pixels
from evae_companion.widgets.cursor import CursorPlot
from evae_companion.widgets.images import angle_picture, png, sheet, spin_picture, summary
from evae_core.validation import check_choice, check_keys, check_list

SAMPLES = 4


class SweepExplorer(Explorer):
    """Explorer along the stages of a sweep: losses with a cursor, generated states and their angles to the field.

    Parameters
    ----------
    sweeps : name -> trained stages.
    along : "beta" or "gamma", in which the stages differ.
    """

    def __init__(self, sweeps: dict[str, list[TrainedStage]], along: str = "gamma"):
        super().__init__()
        check_choice("along", along, ("beta", "gamma"))
        check_keys("sweeps", sweeps)
        for name, stages in sweeps.items():
            check_list(f"sweeps[{name!r}]", stages, "stages")
        self.sweeps, self.along = sweeps, along
        self.curves = lru_cache(maxsize=None)(self._curves)
        self.samples = lru_cache(maxsize=64)(self._samples)
        self.name = ipywidgets.Dropdown(options=list(sweeps), description="training")
        self.place = chooser(along, self.places())
        self.seed = ipywidgets.IntSlider(value=0, min=0, max=99, description="vectors")
        self.losses = ipywidgets.Image(format="png", layout={"width": "460px", "object_fit": "contain"})
        self.image, self.caption = pixels(480), ipywidgets.HTML()
        self.on_change([self.name], self._picked)
        self.on_change([self.place, self.seed], self.redraw)
        self.show(ipywidgets.HBox([self.name, self.place, self.seed], layout={"flex_flow": "wrap"}),
                  ipywidgets.HBox([self.losses, ipywidgets.VBox([self.image, self.caption])],
                                  layout={"flex_flow": "wrap"}))
        self.film(self.place, self.image)
        self.do(self.redraw)

    def places(self) -> list[float]:
        """Return beta or gamma of every stage of the chosen sweep."""
        return [getattr(trained.stage, self.along) for trained in self.sweeps[self.name.value]]

    def _picked(self) -> None:
        wanted, places = self.place.value, self.places()
        options = [(f"{value:g}", value) for value in places]
        if list(self.place.options) != options:
            self.place.options = options
        if wanted in places:
            self.place.value = wanted
        self.redraw()

    def _curves(self, name: str) -> CursorPlot:
        table = history_table(self.sweeps[name])
        figure = plotting.ladder_curves(table | {"label": name, "x": table[self.along]}, xlabel=self.along,
                                        data_energy=table["data_energy"], energy_label=ENERGY_LABEL)
        return CursorPlot(figure, tuple(range(len(figure.axes))))

    def _samples(self, name: str, number: int, seed: int) -> Tensor:
        return result_cache.generate(self.sweeps[name][number].model(), SAMPLES, seed)

    def redraw(self) -> None:
        """Show the losses and states that the sliders select."""
        name, number = self.name.value, self.places().index(self.place.value)
        H = self.sweeps[name][number].data.hamiltonian
        states = self.samples(name, number, self.seed.value)
        self.losses.value = self.curves(name).at(self.place.value)
        self.image.value = png(sheet([[spin_picture(state) for state in states],
                                      [angle_picture(H, state) for state in states]]))
        numbers = [summary(H, state) for state in states]
        self.caption.value = "<br>".join([f"{self.along} = {self.place.value:g}", *(
            f"{what}: " + ", ".join(minus(form.format(one[key])) for one in numbers)
            for what, key, form in (("E/N (J)", "energy", "{:.4f}"), ("charge", "charge", "{:z.0f}"),
                                    ("mean angle to the field (degrees)", "angle", "{:.2f}")))])
