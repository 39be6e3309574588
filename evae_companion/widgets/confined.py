"""Explorer of confined samples: the state found for each shape and size."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets

from evae_companion.experiments.size_scan import Sample
from evae_companion.plotting.style import minus
from evae_companion.widgets.base import Explorer, pixels
from evae_companion.widgets.images import png, sheet, spin_picture
from evae_core.validation import check_list

SCALE = 6  # CSS pixels per site, the same for all samples


class ConfinedExplorer(Explorer):
    """Explorer by the side of a square or the width of a wire: lowest state known, and that of the E-VAE, if trained.

    Parameters
    ----------
    samples : what :func:`evae_companion.experiments.size_scan.run` returned.
    """

    def __init__(self, samples: Sequence[Sample]):
        super().__init__()
        self.samples = check_list("samples", samples, "samples")
        self.kind = ipywidgets.ToggleButtons(options=list(dict.fromkeys(sample.kind for sample in samples)))
        self.size = ipywidgets.SelectionSlider(options=self.sizes(), description="size", layout={"width": "420px"})
        self.image, self.caption = pixels(100), ipywidgets.HTML()
        self.on_change([self.kind], self._picked)
        self.on_change([self.size], self.redraw)
        self.show(self.kind, self.size, self.image, self.caption)
        self.film(self.size, self.image)
        self.do(self.redraw)

    def sizes(self) -> list[tuple[str, int]]:
        """Return (label, number of the sample) for the chosen kind, by size."""
        chosen = [(sample.size, number) for number, sample in enumerate(self.samples) if sample.kind == self.kind.value]
        return [(f"{self.samples[number].shape[0]} sites, {size:.2f} a", number) for size, number in sorted(chosen)]

    def _picked(self) -> None:
        self.size.options = self.sizes()  # selects the first, and redraws if that is another sample
        self.redraw()

    def redraw(self) -> None:
        """Show the chosen sample."""
        sample = self.samples[self.size.value]
        states = [sample.spins] if sample.state is None else [sample.spins, sample.state]
        tall = sample.shape[1] > 2 * sample.shape[0]  # states of wires are placed above each other
        pictures = [spin_picture(state) for state in states]
        whole = sheet([[picture] for picture in pictures] if tall else [pictures], gap=3)
        self.image.layout.width = f"{SCALE * whole.shape[1]}px"
        self.image.value = png(whole)
        self.caption.value = summary_line(sample)


def summary_line(sample: Sample) -> str:
    """Return what is known of a sample, in lines of HTML."""
    charge, energy = minus(f"{sample.charge:z.2f}"), minus(f"{sample.energy:.6f}")
    lines = [f"{sample.kind} {sample.shape[0]} x {sample.shape[1]} sites, {sample.size:.2f} spacings a of the bulk",
             f"lowest known: {counted(sample.skyrmions)}, charge {charge}, E/N = {energy} J; "
             f"{100 * sample.annealed:.1f} % of the annealings came down to it; first found as: {sample.origin}"]
    if sample.relaxed is None:
        lines.append("no E-VAE was trained for this sample")
    else:
        side = "below" if sample.shape[1] > 2 * sample.shape[0] else "right"
        verdict = "the same state" if sample.agrees else "another state"
        lines.append(f"E-VAE, relaxed ({side}): {counted(sample.relaxed_skyrmions or 0)}, "
                     f"E/N = {minus(f'{sample.relaxed:.6f}')} J, {verdict}")
    return "<br>".join(lines)


def counted(skyrmions: int) -> str:
    """Return a number of skyrmions as text: 1 skyrmion, 2 skyrmions."""
    return f"{skyrmions} skyrmion" + "s" * (skyrmions != 1)
