"""The confined explorer: size and shape against the state found."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets

from evae_companion.experiments.size_scan import Sample
from evae_companion.plotting.style import minus
from evae_companion.widgets.base import Explorer, pixels
from evae_companion.widgets.images import png, sheet, spin_picture

SCALE = 6  # CSS pixels a site, the same for all samples


class ConfinedExplorer(Explorer):
    """Choose a square's side or a wire's width: the lowest state known, and the E-VAE's where one was trained.

    Parameters
    ----------
    samples : what :func:`evae_companion.experiments.size_scan` returned.
    """

    def __init__(self, samples: Sequence[Sample]):
        super().__init__()
        if not samples:
            raise ValueError("samples must hold at least one sample, got none")
        self.samples = samples
        self.kind = ipywidgets.ToggleButtons(options=list(dict.fromkeys(sample.kind for sample in samples)))
        self.size = ipywidgets.SelectionSlider(options=self.sizes(), description="size", layout={"width": "420px"})
        self.image, self.words = pixels(100), ipywidgets.HTML()
        self.on_change([self.kind], self._picked)
        self.on_change([self.size], self.redraw)
        self.show(self.kind, self.size, self.image, self.words)
        self.do(self.redraw)

    def sizes(self) -> list[tuple[str, int]]:
        """(words, number of the sample) of the kind chosen, by size."""
        chosen = [(sample.size, number) for number, sample in enumerate(self.samples) if sample.kind == self.kind.value]
        return [(f"{self.samples[number].shape[0]} sites, {size:.2f} a", number) for size, number in sorted(chosen)]

    def _picked(self) -> None:
        self.size.options = self.sizes()  # takes the first, and redraws where that is another sample
        self.redraw()

    def redraw(self) -> None:
        """The sample chosen."""
        sample = self.samples[self.size.value]
        states = [sample.spins] if sample.state is None else [sample.spins, sample.state]
        tall = sample.shape[1] > 2 * sample.shape[0]  # wires stand above each other
        pictures = [spin_picture(state) for state in states]
        whole = sheet([[picture] for picture in pictures] if tall else [pictures], gap=3)
        self.image.layout.width = f"{SCALE * whole.shape[1]}px"
        self.image.value = png(whole)
        self.words.value = in_words(sample)


def in_words(sample: Sample) -> str:
    """What is known of a sample, in lines of HTML."""
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
    """1 skyrmion, 2 skyrmions."""
    return f"{skyrmions} skyrmion" + "s" * (skyrmions != 1)
