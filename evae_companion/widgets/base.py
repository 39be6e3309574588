"""Base of every explorer: a box of widgets, callbacks whose errors are shown, images and sliders."""

from __future__ import annotations

import html
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets
from IPython.display import display

from evae_companion.store.preview import NotRecorded

# One pixel per site is sent; the browser enlarges it without smoothing. Without an outline
# the uniform state would be white on white.
PIXELS = ("<style>.evae-pixels {image-rendering: pixelated; image-rendering: crisp-edges; object-fit: contain; "
          "outline: 1px solid #bbb}</style>")


class Explorer:
    """Widgets in a ``box``, and below them ``errors``, which shows an exception of a callback before it is raised."""

    def __init__(self) -> None:
        self.errors = ipywidgets.Output()
        self.box = ipywidgets.VBox()

    def show(self, *rows: Any) -> None:
        """Fill the box with rows of widgets."""
        self.box.children = (*rows, self.errors, ipywidgets.HTML(PIXELS, layout={"display": "none"}))

    def do(self, action: Callable[[], None]) -> None:
        """Run a callback. An exception is shown to the reader, then raised; what a preview lacks is said instead."""
        if self.errors.outputs:
            self.errors.outputs = ()
        try:
            action()
        except NotRecorded as missing:
            self.box.children = (ipywidgets.HTML(f"Not shown in this preview: {html.escape(str(missing))}."),)
        except Exception as error:
            self.errors.outputs = (error_output(error),)
            raise

    def on_change(self, controls: Sequence[Any], action: Callable[[], None]) -> None:
        """Run ``action`` whenever the value of one of the controls changes."""
        for control in controls:
            control.observe(lambda _change: self.do(action), "value")

    def button(self, label: str, action: Callable[[], None], tip: str = "") -> Any:
        """Return a button that runs ``action``."""
        made = ipywidgets.Button(description=label, tooltip=tip, layout={"width": "auto"})
        made.on_click(lambda _button: self.do(action))
        return made

    def _ipython_display_(self) -> None:
        display(self.box)


def error_output(error: BaseException) -> dict[str, Any]:
    """Return an exception as the error output of a notebook."""
    return {"output_type": "error", "ename": type(error).__name__, "evalue": str(error),
            "traceback": traceback.format_exception(error)}


def pixels(width: int) -> Any:
    """Return an image widget for pictures of one pixel per site, ``width`` CSS pixels wide."""
    made = ipywidgets.Image(format="png", layout={"width": f"{width}px", "max_width": "100%"})
    made.add_class("evae-pixels")
    return made


def chooser(name: str, values: Sequence[Any]) -> Any:
    """Return a slider over the given values.

    Raises
    ------
    ValueError
        no values.
    """
    options = [(f"{value:g}" if isinstance(value, float) else str(value), value) for value in values]
    if not options:
        raise ValueError(f"control {name} has no values")
    longest = max(len(text) for text, _ in options)
    return ipywidgets.SelectionSlider(description=name, options=options, continuous_update=False,
                                      layout={"width": f"{max(300, 230 + 10 * longest)}px"})


def number(name: str, value: float, low: float, high: float, step: float) -> Any:
    """Return a slider for a number, which responds while it is moved."""
    return ipywidgets.FloatSlider(value=value, min=low, max=high, step=step, description=name, readout_format=".2f")
