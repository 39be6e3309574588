"""Pictures behind sliders for the page docs/SLIDERS, drawn from data/recorded/desktop while the site is built."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from evae_companion.analysis.barrier import barrier
from evae_companion.experiments import beta_sweep, collapse, latent_interpolation
from evae_companion.presets import PRESETS
from evae_companion.widgets.images import png, sheet, spin_picture

PRESET = PRESETS["desktop"]
FOLDER = "frames"  # of the site
RANGE = np.arange(-30, 31, 2)  # R of the walk
# Shows the picture and the words of the number that the slider stands at; without a script the first stays.
SCRIPT = """<script>
for (const box of document.querySelectorAll(".frames")) {
  const [slider, picture, said] = ["input", "img", "output"].map(name => box.querySelector(name));
  const words = JSON.parse(box.dataset.words);
  slider.addEventListener("input", () => {
    picture.src = picture.src.replace(/-\\d+\\.png$/, `-${slider.value}.png`);
    said.textContent = picture.alt = words[slider.value];
  });
}
</script>"""


@dataclass(frozen=True)
class Slider:
    """A heading, a text, and per position of the slider its words and rows of states."""

    name: str
    heading: str
    text: str
    words: Sequence[str]
    rows: Sequence[Sequence[Sequence[Tensor]]]


def sliders() -> list[Slider]:
    """Return the sliders of the page."""
    def quiet(line: str) -> None:
        pass

    fallen, swept = collapse.run(PRESET, report=quiet), beta_sweep.run(PRESET, report=quiet)
    walk = latent_interpolation.run(PRESET, report=quiet)
    read = {g: barrier(walk.profile[g]) for g in (0.0, 100.0)}
    R = [int(r) for r in RANGE if all(one.R[0] <= r <= one.R[-1] for one in read.values())]

    def frame(g: float, r: int) -> Tensor:
        return walk.frame(g, int(r - read[g].R[0]))

    def charge(g: float, r: int) -> int:
        return round(walk.charges[g][int(r - read[g].R[0])])

    return [
        Slider("gamma", "γ: the collapse",
               "States generated from two random latent vectors, one row each; three trainings, one column each "
               "(Fig. 5A).",
               [f"γ = {g:g}" for g in fallen.shown],
               [[[fallen.states[name][k][row] for name in fallen.twins] for row in (0, 1)]
                for k in range(len(fallen.shown))]),
        Slider("beta", "β: the standard VAE",
               "A state that was not trained on, its reconstruction, and a generated state (Fig. S1).",
               [f"β = {b:g}" for b in PRESET.betas],
               [[[swept.given, *pair]] for pair in zip(swept.x_out, swept.generated, strict=True)]),
        Slider("walk", "R: a walk from the interstitial to the lattice",
               "Decoded states along the line between two latent vectors, R steps from the top of the barrier. Left: "
               "trained without the Hamiltonian; right: at γ = 100 (Fig. 4C).",
               [f"R = {r}; charge {charge(0.0, r)} (γ = 0), {charge(100.0, r)} (γ = 100)" for r in R],
               [[[frame(0.0, r), frame(100.0, r)]] for r in R])]


def write(found: Sequence[Slider], folder: Path) -> str:
    """Write the pictures into ``folder``; return the page's part that shows them, in Markdown with HTML."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for one in found:
        for k, rows in enumerate(one.rows):
            picture = sheet([[spin_picture(state) for state in row] for row in rows])
            (folder / f"{one.name}-{k}.png").write_bytes(png(picture))
        words = html.escape("[" + ", ".join(f'"{word}"' for word in one.words) + "]")
        first, last = html.escape(one.words[0]), len(one.words) - 1
        parts.append(f"""## {one.heading}

{one.text}

<div class="frames" data-words="{words}">
<img src="../{FOLDER}/{one.name}-0.png" alt="{first}">
<label><input type="range" min="0" max="{last}" value="0" aria-label="{html.escape(one.heading)}">
<output>{first}</output></label>
</div>
""")
    return "\n".join(parts) + "\n" + SCRIPT + "\n"
