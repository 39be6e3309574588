"""Base of every explorer: a box of widgets with a still picture, callbacks whose errors are shown, images, sliders."""

from __future__ import annotations

import html
import io
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets
import numpy as np
from IPython.display import display
from matplotlib.image import imread
from PIL import Image

from evae_companion.plotting.stills import still_frames
from evae_companion.plotting.style import minus
from evae_companion.store.preview import NotRecorded

# One pixel per site is sent; the browser enlarges it without smoothing. Without an outline
# the uniform state would be white on white.
PIXELS = ("<style>.evae-pixels {image-rendering: pixelated; image-rendering: crisp-edges; object-fit: contain; "
          "outline: 1px solid #bbb}</style>")
WIDGET = "application/vnd.jupyter.widget-view+json"  # MIME type of a widget's output


class Box(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets is not typed
    """Box of widgets that brings a picture for readers without a kernel: GitHub, nbconvert and the site show it."""

    still: Callable[[], tuple[str, Any] | None] = staticmethod(lambda: None)  # words for it, and the picture's figure

    def _repr_mimebundle_(self, **keywords: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        shown = self.still()
        data = super()._repr_mimebundle_(**keywords)
        if shown is None:
            return data, {}
        words, figure = shown
        picture = io.BytesIO()
        with Image.open(io.BytesIO(figure._repr_png_())) as full:  # in 256 colours it takes a quarter of the bytes
            full.convert("RGB").quantize(256).save(picture, "png", optimize=True)
        return data | {"image/png": picture.getvalue()}, {"image/png": {"alt": words}}


class Explorer:
    """Widgets in a ``box``, and below them ``errors``, which shows an exception of a callback before it is raised."""

    def __init__(self) -> None:
        self.errors = ipywidgets.Output()
        self.box = Box()

    def show(self, *rows: Any) -> None:
        """Fill the box with rows of widgets."""
        self.box.children = (*rows, self.errors, ipywidgets.HTML(PIXELS, layout={"display": "none"}))

    def film(self, control: Any, *images: Any, values: Sequence[Any] | None = None, across: int | None = 3) -> None:
        """Make the still of the box from what ``images`` show at some values of a control.

        Parameters
        ----------
        control : a slider; at the end it is where it was.
        images : widgets, placed beside each other.
        values : of the control; None: three of its options.
        across : values per row; None: as many figures as can be read beside each other.
        """
        def taken() -> list[tuple[str, np.ndarray]]:
            before, frames = control.value, []
            for value in spread([value for _, value in control.options]) if values is None else values:
                control.value = value
                frames.append((words_of(control), np.concatenate(
                    [imread(io.BytesIO(image.value))[..., :3] for image in images], 1)))
            control.value = before
            return frames

        def still() -> tuple[str, Any] | None:
            if self.errors not in self.box.children:  # a preview that lacks the states says so in place of the widgets
                return None
            frames = taken()
            room = across or next((n for n, width in ((3, 500), (2, 700)) if frames[0][1].shape[1] < width), 1)
            if across is None and room == 1:
                frames = frames[::max(1, len(frames) - 1)]  # figures of a page's width: the first and the last
            return f"Sliders at {', '.join(words for words, _ in frames)}", still_frames(frames, across=room)

        self.box.still = still

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


def words_of(control: Any) -> str:
    """Return the name and the value of a slider, as the reader sees them."""
    value = control.label if isinstance(control, ipywidgets.SelectionSlider) else f"{control.value:g}"
    return minus(f"{control.description} = {value}")


def spread(values: Sequence[Any], count: int = 3) -> list[Any]:
    """Return at most ``count`` of the values, evenly spread, the first and the last among them."""
    places = np.unique(np.linspace(0, len(values) - 1, min(count, len(values))).round().astype(int))
    return [values[place] for place in places]


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
