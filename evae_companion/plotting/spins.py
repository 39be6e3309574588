"""Maps of single configurations: spins on a colour wheel, the wheel itself, and the local correlation.

Hue is the in-plane angle atan2(S^y, S^x): +x red, +y yellow-green, -x cyan, -y violet. Lightness is
(1 + S^z)/2: up is white, down is black, in-plane a full colour. The y axis points up.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, to_rgb
from matplotlib.figure import Figure as MplFigure
from matplotlib.image import AxesImage
from matplotlib.transforms import offset_copy

from evae_companion.plotting.checks import as_alignment, as_spins
from evae_companion.plotting.style import GUIDE, NEUTRAL, SMALL
from evae_core.validation import check_choice, check_count, check_is

THETA_RANGE = (0.1, 90.0)  # degrees; 1 - cos(theta) from 1.5e-6, about what float32 resolves, to 1
THETA_COLOURS = colormaps["magma_r"].with_extremes(bad=NEUTRAL)  # pale is aligned, so that clean states look clean


def spin_rgb(spins: Any) -> np.ndarray:
    """Return the colours of a spin map: (..., 3, Ny, Nx) -> (..., Ny, Nx, 3), float64 in [0, 1].

    HLS with hue = atan2(S^y, S^x), lightness (1 + S^z)/2 and full saturation. Zero vectors are grey.

    Raises
    ------
    TypeError, ValueError
        ``spins`` is not a float array of shape (..., 3, Ny, Nx) of unit (or zero) vectors.
    """
    array = as_spins(spins).astype(np.float64)
    sx, sy, sz = np.moveaxis(array, -3, 0)
    hue = np.arctan2(sy, sx) / (2 * np.pi)
    lightness = np.clip((1 + sz) / 2, 0, 1)  # a float32 unit vector may exceed 1 by rounding
    chroma = 1 - np.abs(2 * lightness - 1)
    # Each channel is a trapezoid wave of hue that peaks at red, green or blue.
    offset = np.array([0.0, 1 / 3, 2 / 3])
    distance = np.abs((hue[..., None] - offset + 0.5) % 1 - 0.5)  # distance to the peak, around the circle
    rgb = lightness[..., None] + chroma[..., None] * (np.clip(2 - 6 * distance, 0, 1) - 0.5)
    return np.where((array == 0).all(-3)[..., None], to_rgb(NEUTRAL), np.clip(rgb, 0, 1))


def alignment_rgb(cos_theta: Any, magnetic: Any = None) -> np.ndarray:
    """Return the colours of :func:`alignment_map`: (Ny, Nx) -> (Ny, Nx, 3), float64 in [0, 1]; same arguments."""
    return THETA_COLOURS(LogNorm(*THETA_RANGE)(_theta(cos_theta, magnetic)))[..., :3]


def _theta(cos_theta: Any, magnetic: Any) -> Any:
    """Return theta in degrees, (Ny, Nx), masked where it is not defined."""
    array = as_alignment(cos_theta)
    if magnetic is not None:
        magnetic = np.asarray(magnetic)
        if magnetic.dtype != bool or magnetic.shape != array.shape:
            raise ValueError(f"magnetic must be a bool array of shape {array.shape}, "
                             f"got dtype {magnetic.dtype} and shape {magnetic.shape}")
        array = np.where(magnetic, array, np.nan)
    # A perfect site has theta = 0, which a logarithm would drop; it belongs to the pale end.
    return np.ma.masked_invalid(np.maximum(np.degrees(np.arccos(array)), THETA_RANGE[0]))


def scale_bar(ax: Axes, sites: int, drop: float = 7.0) -> None:
    """Draw a bar of a round number of lattice sites below a map ``sites`` wide; ``drop`` is the gap in points."""
    room = max(0.45 * sites, 1)
    length = max(k * 10**n for n in range(6) for k in (1, 2, 5) if k * 10**n <= room)
    fig: Any = ax.figure  # no SubFigure here
    place = offset_copy(ax.get_xaxis_transform(), fig=fig, y=-drop, units="points")
    ax.plot([-0.5, length - 0.5], [0, 0], color="black", linewidth=1.6, solid_capstyle="butt", clip_on=False,
            transform=place, scalex=False, scaley=False, gid="scale bar")
    text = offset_copy(ax.get_xaxis_transform(), fig=fig, x=3, y=-drop, units="points")
    ax.text(length - 0.5, 0, f"{length} site" + "s" * (length > 1), transform=text, fontsize=SMALL, ha="left",
            va="center_baseline")


def _dress(ax: Axes, shape: Any, axes: str, title: str) -> None:
    ny, nx = shape
    check_choice("axes", axes, ("sites", "bar", "none"))
    if axes == "sites":
        ax.set(xlabel="x (lattice sites)", ylabel="y (lattice sites)")
    else:
        ax.set(xticks=[], yticks=[])
        if axes == "bar":
            scale_bar(ax, nx)
    for spine in ax.spines.values():
        spine.set(visible=True, linewidth=0.5, color=GUIDE)
    ax.set(xlim=(-0.5, nx - 0.5), ylim=(-0.5, ny - 0.5))
    if title:
        ax.set_title(title, pad=3)


def spin_map(ax: Axes, spins: Any, *, arrows: int = 0, axes: str = "sites", title: str = "") -> AxesImage:
    """Draw one configuration (3, Ny, Nx) into ``ax``; y points up. Returns the image.

    Parameters
    ----------
    arrows : draw the in-plane part of every ``arrows``-th spin as an arrow; 0 draws none.
    axes : ``"sites"`` labels the axes in lattice sites, ``"bar"`` puts a scale bar below, ``"none"`` leaves both.

    Raises
    ------
    TypeError, ValueError
        bad ``spins`` (see :func:`spin_rgb`), ``arrows`` no int >= 0, or unknown ``axes``.
    """
    check_is("ax", ax, Axes)
    array = as_spins(spins, ndim=3)
    arrows = check_count("arrows", arrows, 0, 10**6)
    image = ax.imshow(spin_rgb(array), origin="lower")
    if arrows:
        ny, nx = array.shape[-2:]
        y, x = np.mgrid[arrows // 2 : ny : arrows, arrows // 2 : nx : arrows]
        sx, sy, sz = array[:, y, x]
        colours = np.where((sz > -0.2).ravel()[:, None], 0.0, 1.0) * np.ones(3)  # black on light, white on dark
        ax.quiver(x, y, sx, sy, color=colours, pivot="mid", angles="xy", scale_units="xy", scale=1 / (0.9 * arrows),
                  width=0.09 * arrows, units="xy", headwidth=4, headlength=4, headaxislength=3.6, minlength=0)
    _dress(ax, array.shape[-2:], axes, title)
    return image


def colour_wheel(ax: Axes, *, note: bool = True) -> None:
    """Draw the key of :func:`spin_map` into ``ax``: every direction of a spin on a disk.

    The angle on the disk is the in-plane angle, the radius the polar angle. S^z = +1 (white) is in the middle,
    in-plane spins are half-way out, and S^z = -1 (black) is at the rim. ``note`` writes that below.
    """
    half = 120
    y, x = np.mgrid[-half : half + 1, -half : half + 1] / half
    radius = np.hypot(x, y)
    polar, azimuth = np.pi * np.minimum(radius, 1), np.arctan2(y, x)
    spins = np.stack([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)])
    soft = np.clip((1 - radius) * half, 0, 1)  # the rim fades over one pixel, against stairs
    ax.imshow(np.concatenate([spin_rgb(spins), soft[..., None]], -1), origin="lower", extent=(-1, 1, -1, 1))
    ax.set(xlim=(-1.45, 1.45), ylim=(-1.45, 1.45))
    ax.axis("off")
    arrow = {"arrowstyle": "-|>", "color": "black", "lw": 0.8, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 7}
    for tip, label in (((1.42, 0), "x"), ((0, 1.42), "y")):
        ax.annotate("", tip, (0.95 * tip[0] / 1.42, 0.95 * tip[1] / 1.42), arrowprops=arrow)
        ax.text(1.2 * tip[0], 1.2 * tip[1], label, fontsize=SMALL, ha="center", va="center", style="italic")
    if note:
        ax.text(0, -1.2, "white: $S^z$ = +1\nblack: $S^z$ = \N{MINUS SIGN}1", fontsize=SMALL - 1, ha="center", va="top",
                linespacing=1.4)


def alignment_map(ax: Axes, cos_theta: Any, *, magnetic: Any = None, axes: str = "sites", title: str = "") -> AxesImage:
    """Draw the local correlation of one configuration: theta in degrees on a logarithmic colour scale.

    theta is the angle between a spin and its effective field, cos_theta (Ny, Nx) its cosine. The scale runs from
    0.1 degrees (pale; smaller angles too, the resolution of float32 cosines) to 90 degrees (dark; larger ones too).
    Sites where ``magnetic`` (Ny, Nx) bool is false, and NaN, are grey. Returns the image; its key is
    :func:`theta_bar`.

    Raises
    ------
    TypeError, ValueError
        ``cos_theta`` is not an array (Ny, Nx) of cosines, ``magnetic`` of another shape, or unknown ``axes``.
    """
    check_is("ax", ax, Axes)
    theta = _theta(cos_theta, magnetic)
    image = ax.imshow(theta, origin="lower", norm=LogNorm(*THETA_RANGE), cmap=THETA_COLOURS)
    _dress(ax, theta.shape, axes, title)
    return image


def theta_bar(fig: MplFigure, cax: Axes, image: Any) -> None:
    """Draw the colour bar of :func:`alignment_map` into ``cax``, vertical or horizontal as the axes is."""
    box = cax.get_position()
    width, height = fig.get_size_inches()
    lying = box.width * width > box.height * height
    bar = fig.colorbar(image, cax=cax, orientation="horizontal" if lying else "vertical", extend="both")
    ticks = [0.1, 1, 10, 90]
    bar.set_ticks(ticks, labels=[f"{t:g}°" for t in ticks])
    bar.ax.minorticks_off()
    bar.ax.tick_params(labelsize=SMALL)
    bar.set_label(r"angle $\theta$, spin to field", fontsize=SMALL)
    bar.outline.set_linewidth(0.5)
