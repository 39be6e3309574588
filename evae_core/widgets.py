"""Interactive explorers for the notebooks: sliders above a figure that the notebooks' own functions draw."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import ipywidgets
from IPython.display import display


def explorer(draw: Callable[..., Any], **controls: Iterable[Any]) -> ipywidgets.VBox:
    """Sliders that choose one of the given values each, and the figure ``draw(name=value, ...)`` below them.

    ``draw`` returns a matplotlib Figure and takes all it needs as arguments. An exception in it is shown below
    the sliders, where the figure would be.

    Raises
    ------
    TypeError, ValueError
        ``draw`` is not callable, no control, or a control without values.
    """
    if not callable(draw):
        raise TypeError(f"draw must be a function that returns a figure, got {draw!r}")
    if not controls:
        raise ValueError("give at least one control, name=values")
    sliders = {}
    for name, values in controls.items():
        options = [(f"{value:g}" if isinstance(value, float) else str(value), value) for value in values]
        if not options:
            raise ValueError(f"control {name} has no values")
        sliders[name] = ipywidgets.SelectionSlider(description=name, options=options, continuous_update=False)
    out = ipywidgets.Output()

    def redraw(_change: Any = None) -> None:
        with out:
            out.clear_output(wait=True)
            display(draw(**{name: slider.value for name, slider in sliders.items()}))

    for slider in sliders.values():
        slider.observe(redraw, "value")
    redraw()
    return ipywidgets.VBox([*sliders.values(), out])
