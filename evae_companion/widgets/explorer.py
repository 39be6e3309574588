"""Plain explorer: sliders that choose among values, above a figure that a function draws."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import ipywidgets

from evae_companion.widgets.base import Explorer, chooser
from evae_core.validation import check_is


def explorer(draw: Callable[..., Any], **controls: Iterable[Any]) -> ipywidgets.VBox:
    """Return sliders that choose one of the given values each, above the figure ``draw(name=value, ...)``.

    Without a kernel the figures of three values of the slider with the most are shown, or of two if they are wide.

    ``draw`` returns a figure of :mod:`evae_companion.plotting` and takes all it needs as arguments. An exception in it
    is shown below the figure, and raised.

    Raises
    ------
    TypeError, ValueError
        ``draw`` is not callable, no control, a control without values, or what ``draw`` raises for the first values.
    """
    check_is("draw", draw, Callable)
    if not controls:
        raise ValueError("give at least one control, name=values")
    sliders = {name: chooser(name, list(values)) for name, values in controls.items()}
    image, frame = ipywidgets.Image(format="png", layout={"max_width": "100%", "align_self": "flex-start"}), Explorer()

    def redraw() -> None:
        image.value = draw(**{name: slider.value for name, slider in sliders.items()})._repr_png_()

    frame.on_change(list(sliders.values()), redraw)
    frame.show(*sliders.values(), image)
    frame.do(redraw)
    frame.film(max(sliders.values(), key=lambda slider: len(slider.options)), image, across=None)
    return frame.box
