"""Drawings of the network with its losses, after Fig. 1, and of the inverse mapping, after Fig. 4A."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from evae_companion.plotting.checks import as_spins, tuples
from evae_companion.plotting.spins import spin_map
from evae_companion.plotting.style import COLOURS, FULL, GUIDE, OUT, SMALL, Figure, styled
from evae_core.validation import check_choice

TINY = SMALL - 1.5
ARROW = {"arrowstyle": "-|>", "color": GUIDE, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 8}


@styled
def network(encoder: Any, decoder: Any, given: Any, returned: Any) -> Figure:
    """Draw the network, every layer with the shape of its output, and where the three losses are taken (Fig. 1).

    Parameters
    ----------
    encoder, decoder : lists of (kind, shape) per layer, as :func:`evae_core.model.layer_shapes` gives them; the
        encoder's last one is "heads".
    given, returned : (3, Ny, Nx), an input and its reconstruction.

    Raises
    ------
    TypeError, ValueError
        empty lists, an unknown kind, or bad configurations.
    """
    encoder, decoder = tuples("encoder", encoder, "kind, shape"), tuples("decoder", decoder, "kind, shape")
    given, returned = as_spins(given, "given", 3), as_spins(returned, "returned", 3)
    side, bars = 0.95, [*encoder, ("z", encoder[-1][1]), *decoder]
    for kind, _ in bars:
        check_choice("kind", kind, ("conv", "dense", "heads", "z"))
    fig = Figure(figsize=(FULL, 2.5))
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, FULL), ylim=(0, 2.5))
    ax.axis("off")
    middle, left, right = 1.3, 0.08 + side + 0.12, FULL - 0.08 - side - 0.12
    step = (right - left) / len(bars)
    for spins, x, name in ((given, 0.08, r"$X_\mathrm{in}$"), (returned, FULL - 0.08 - side, OUT)):
        small = fig.add_axes((x / FULL, (middle - side / 2) / 2.5, side / FULL, side / 2.5))
        spin_map(small, spins, axes="none")
        ax.text(x + side / 2, middle + side / 2 + 0.06, name, ha="center", va="bottom")
        ax.text(x + side / 2, middle - side / 2 - 0.06, _shape(spins.shape), ha="center", va="top", fontsize=TINY)
    place: dict[str, float] = {}
    for k, (kind, shape) in enumerate(bars):
        x = left + (k + 0.5) * step
        tall = 1.15 * np.sqrt(shape[-1] / max(given.shape)) if len(shape) == 3 else 0.25 + 0.13 * np.log10(shape[0])
        colour = {"conv": COLOURS[5], "dense": COLOURS[4], "heads": COLOURS[3], "z": COLOURS[3]}[kind]
        ax.add_patch(Rectangle((x - 0.09, middle - tall / 2), 0.18, tall, facecolor=colour, edgecolor=GUIDE,
                               linewidth=0.6, alpha=0.75))
        words = {"heads": "μ, log σ²\n2 × ", "z": "z\n"}.get(kind, "") + _shape(shape).replace(" × ", " ×\n")
        ax.text(x, middle - tall / 2 - 0.05, words, ha="center", va="top", fontsize=TINY, linespacing=1.2)
        place.setdefault(kind, x)
    for name, low, high in (("encoder", 0, len(encoder)), ("decoder", len(encoder) + 1, len(bars))):
        a, b = left + low * step, left + high * step
        ax.plot([a, a, b, b], [2.06, 2.1, 2.1, 2.06], color=GUIDE, linewidth=0.8)
        ax.text((a + b) / 2, 2.13, name, ha="center", va="bottom")
    key = "blue: 5 × 5 convolution, batch norm, leaky ReLU, 2 × 2 pooling or upsampling     orange: dense"
    ax.text(left, 2.44, key, va="top", fontsize=TINY, color=GUIDE)
    _losses(ax, place["heads"])
    return fig


def _losses(ax: Axes, heads: float) -> None:
    """Write the three losses below the places that they are taken at."""
    low, line = 0.6, 0.3
    ax.plot([0.4, 0.4, FULL - 0.8, FULL - 0.8], [low, line, line, low], color=GUIDE, linewidth=0.9)
    ax.plot([heads, heads], [low + 0.06, low - 0.04], color=GUIDE, linewidth=0.9)
    ax.plot([FULL - 0.3, FULL - 0.3], [low, line - 0.06], color=GUIDE, linewidth=0.9)
    ax.text(heads, low - 0.06, r"$\beta\,L_\mathrm{KL}$", ha="center", va="top")
    ax.text(2.2, line - 0.05, r"$L_\mathrm{RC}$: squared distance per spin", ha="center", va="top")
    ax.text(FULL - 0.08, line - 0.08, r"$\gamma\,L_\mathrm{H}$: energy per spin", ha="right", va="top")


def _shape(shape: tuple[int, ...]) -> str:
    """Return the shape of a layer's output as a reader writes it: 6 × 64², or 512."""
    if len(shape) == 1:
        return str(shape[0])
    channels, ny, nx = shape
    return f"{channels} × {ny}²" if ny == nx else f"{channels} × {ny} × {nx}"


@styled
def inverse_mapping(targets: Any, decoded: Any) -> Figure:
    """Draw how two states are mapped into latent space and the line between them is decoded (Fig. 4A).

    Parameters
    ----------
    targets : (2, 3, Ny, Nx), the states that are mapped: the interstitial and the lattice.
    decoded : (n, 3, Ny, Nx), decoded from the straight line between their latent vectors, ends included; n >= 3.

    Raises
    ------
    TypeError, ValueError
        bad configurations, not two targets, or fewer than three decoded ones.
    """
    targets, decoded = as_spins(targets, "targets", 4), as_spins(decoded, "decoded", 4)
    if len(targets) != 2 or len(decoded) < 3:
        raise ValueError(f"targets must be two states and decoded three or more, got {len(targets)} and {len(decoded)}")
    tall = 2.45
    fig = Figure(figsize=(FULL, tall))
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, FULL), ylim=(0, tall))
    ax.axis("off")
    side, line = 0.95, 0.92

    def draw(spins: Any, x: float, y: float, size: float) -> None:
        spin_map(fig.add_axes((x / FULL, y / tall, size / FULL, size / tall)), spins, axes="none")

    xs = np.linspace(1.7, FULL - 1.7, len(decoded))
    for spins, x, z, name, symbol in ((targets[0], 0.1, xs[0], "interstitial", "$z_i$"),
                                      (targets[1], FULL - 0.1 - side, xs[-1], "perfect lattice", "$z_f$")):
        draw(spins, x, line - side / 2, side)
        ax.text(x + side / 2, line + side / 2 + 0.06, f"target:\n{name}", ha="center", va="bottom", fontsize=SMALL)
        inner, outer = (x + side + 0.05, z - 0.1) if x < FULL / 2 else (x - 0.05, z + 0.1)
        ax.annotate("", (outer, line), (inner, line), arrowprops=ARROW)
        ax.text(z, line + 0.14, symbol, ha="center", va="bottom")
    ax.text(0.1, 0.06, r"mapping: $z^*=\arg\min_z |\mathrm{decoder}(z)-\mathrm{target}|^2$, from the encoder's $\mu$; "
            "the decoder stays as it is", va="bottom", fontsize=SMALL)
    ax.plot([xs[0], xs[-1]], [line, line], color=COLOURS[0], linewidth=1.4)
    ax.plot(xs, np.full(len(xs), line), linestyle="", marker="o", color=COLOURS[0], markersize=5)
    ax.text(FULL / 2, line - 0.12, "latent space: a straight line", ha="center", va="top", color=COLOURS[0],
            fontsize=SMALL)
    size = min(0.8, 0.92 * (xs[1] - xs[0]))
    for spins, x in zip(decoded, xs, strict=True):
        ax.annotate("", (x, line + 0.55), (x, line + (0.36 if x in (xs[0], xs[-1]) else 0.1)), arrowprops=ARROW)
        draw(spins, x - size / 2, line + 0.6, size)
    ax.text(FULL / 2, tall - 0.02, "decoded", ha="center", va="top", fontsize=SMALL)
    return fig
