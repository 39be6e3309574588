"""Colours against the definition, axes that say what they show, files that do not change, errors that help."""

import ast
import colorsys
import os
import subprocess
import sys
from pathlib import Path

import matplotlib.figure
import matplotlib.pyplot as plt
import numpy as np
import PIL.Image
import pytest
from figure_examples import (
    CARD,
    CONFINED,
    DENSITY,
    EDGES,
    FIGURES,
    FRONT,
    SAMPLES,
    collapse,
    ladder,
    pair,
    rival,
    states,
    system,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from IPython.core.formatters import DisplayFormatter
from matplotlib.backends.backend_agg import FigureCanvasAgg

from evae_companion import plotting
from evae_companion.plotting import Figure, alignment_map, colour_wheel, save, spin_map, spin_rgb
from evae_companion.plotting.style import COLOURS, MARKERS, house_style, minus, power

PACKAGE = Path(plotting.__file__).parent
ANGLE = st.floats(-np.pi, np.pi)
POLAR = st.floats(0.0, np.pi)


def direction(polar, azimuth, dtype=np.float64):
    """One spin as a configuration (3, 1, 1)."""
    s = [np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)]
    return np.array(s, dtype).reshape(3, 1, 1)


# ---- colours

@pytest.mark.parametrize("spin, colour", [
    ((0, 0, 1), (1, 1, 1)), ((0, 0, -1), (0, 0, 0)), ((1, 0, 0), (1, 0, 0)), ((0, 1, 0), (0.5, 1, 0)),
    ((-1, 0, 0), (0, 1, 1)), ((0, -1, 0), (0.5, 0, 1))])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_six_directions(spin, colour, dtype):
    rgb = spin_rgb(np.array(spin, dtype).reshape(3, 1, 1))
    np.testing.assert_allclose(rgb[0, 0], colour, atol=1e-6)


@settings(max_examples=200, deadline=None)
@given(polar=POLAR, azimuth=ANGLE)
def test_colours_are_those_of_the_standard_library(polar, azimuth):
    expected = colorsys.hls_to_rgb(azimuth / (2 * np.pi) % 1, (1 + np.cos(polar)) / 2, 1.0)
    np.testing.assert_allclose(spin_rgb(direction(polar, azimuth))[0, 0], expected, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(polar=POLAR, azimuth=ANGLE, turns=st.integers(-3, 3))
def test_a_full_turn_changes_no_colour(polar, azimuth, turns):
    turned = spin_rgb(direction(polar, azimuth + 2 * np.pi * turns))
    np.testing.assert_allclose(turned, spin_rgb(direction(polar, azimuth)), atol=1e-6)


@settings(max_examples=100, deadline=None)
@given(polar=st.floats(0.2, np.pi - 0.2), azimuth=ANGLE, turn=ANGLE)
def test_a_rotation_about_z_shifts_the_hue_only(polar, azimuth, turn):
    before, after = (colorsys.rgb_to_hls(*spin_rgb(direction(polar, a))[0, 0]) for a in (azimuth, azimuth + turn))
    assert after[1:] == pytest.approx(before[1:], abs=1e-6)
    shift = (after[0] - before[0] - turn / (2 * np.pi) + 0.5) % 1 - 0.5
    assert shift == pytest.approx(0, abs=1e-6)


def test_sites_without_a_moment_are_grey_and_keep_to_themselves():
    spins = states()
    spins[:, 2, 3] = 0
    rgb = spin_rgb(spins)
    assert rgb[2, 3].max() - rgb[2, 3].min() < 1e-9 and 0.3 < rgb[2, 3].mean() < 0.8
    spins[:, 2, 3] = [0, 0, 1]
    np.testing.assert_array_equal(np.delete(rgb.reshape(-1, 3), 2 * 12 + 3, 0),
                                  np.delete(spin_rgb(spins).reshape(-1, 3), 2 * 12 + 3, 0))


def test_batches_keep_their_axes():
    spins = states(2, 5)
    rgb = spin_rgb(spins)
    assert rgb.shape == (2, 5, 8, 12, 3)
    np.testing.assert_array_equal(rgb[1, 4], spin_rgb(spins[1, 4]))


def test_curves_differ_by_colour_and_by_marker():
    assert len(set(COLOURS)) == len(set(MARKERS)) == 7


# ---- orientation of a drawn map

def raster(fig):
    """The drawn figure as colours (rows from the top, columns, 3) in [0, 1]."""
    canvas = FigureCanvasAgg(fig)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(float) / 255


def bare_map(spins):
    fig = Figure(figsize=(2, 2), dpi=50)
    spin_map(fig.add_axes((0, 0, 1, 1)), spins, axes="none")
    return raster(fig)


def test_y_points_up_and_x_to_the_right():
    spins = np.zeros((3, 10, 10), np.float32)
    spins[2] = -1
    spins[:, 8:, :2] = np.array([0, 0, 1.0]).reshape(3, 1, 1)  # large y, small x
    image = bare_map(spins)
    assert image[8, 8].min() > 0.95  # upper left of the picture, whose first row is the top
    assert image[90, 8].max() < 0.05 and image[8, 90].max() < 0.05 and image[90, 90].max() < 0.05


def test_the_wheel_shows_each_direction_in_its_colour_where_it_points():
    fig = Figure(figsize=(2, 2), dpi=100)
    ax = fig.add_axes((0, 0, 1, 1))
    colour_wheel(ax, note=False)
    image = raster(fig)

    def seen(x, y):
        column, row = ax.transData.transform((x, y))
        return image[int(image.shape[0] - row), int(column)]

    np.testing.assert_allclose(seen(0, 0), 1, atol=0.06)
    np.testing.assert_allclose(seen(0.5, 0), (1, 0, 0), atol=0.06)
    np.testing.assert_allclose(seen(0, 0.5), (0.5, 1, 0), atol=0.06)
    np.testing.assert_allclose(seen(0, -0.5), (0.5, 0, 1), atol=0.06)
    np.testing.assert_allclose(seen(-0.68, -0.68), 0, atol=0.1)


def test_arrows_point_along_the_spins():
    fig = Figure()
    ax = fig.subplots()
    spin_map(ax, direction(np.pi / 2, 0.7) * np.ones((3, 9, 9)), arrows=3)
    (quiver,) = [c for c in ax.collections if hasattr(c, "U")]
    assert quiver.N == 9
    np.testing.assert_allclose(np.arctan2(quiver.V, quiver.U), 0.7, atol=1e-6)


def test_the_scale_bar_is_as_long_as_it_says():
    fig = Figure()
    ax = fig.subplots()
    spin_map(ax, states(ny=64, nx=64), axes="bar")
    (bar,) = [line for line in ax.lines if line.get_gid() == "scale bar"]
    (label,) = [t.get_text() for t in ax.texts]
    assert np.ptp(bar.get_xdata()) == 20 and label == "20 sites"


# ---- local correlation

def test_the_correlation_map_is_theta_in_degrees():
    fig = Figure()
    angles = np.radians([[0.0, 0.5, 10.0], [90.0, 180.0, np.nan]])
    image = alignment_map(fig.subplots(), np.cos(angles))
    shown = image.get_array()
    np.testing.assert_allclose(shown.filled(-1), [[0.1, 0.5, 10], [90, 180, -1]], rtol=1e-6)
    lightness = image.to_rgba(shown)[..., :3].mean(-1)
    assert lightness[0, 0] > lightness[0, 1] > lightness[0, 2] > lightness[1, 0]  # cleaner is paler


def test_the_correlation_map_masks_sites_and_forgives_rounding():
    fig = Figure()
    magnetic = np.array([[True, False]])
    image = alignment_map(fig.subplots(), np.array([[1 + 1e-7, 0.0]], np.float32), magnetic=magnetic)
    assert image.get_array().mask.tolist() == [[False, True]]
    assert image.get_array()[0, 0] == pytest.approx(0.1)


# ---- every figure

def data_axes(fig):
    """Axes that hold something, without the wheel, colour bars and tables, which have no axis."""
    return [ax for ax in fig.axes if ax.axison and (ax.lines or ax.patches or ax.images or ax.collections)]


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_reads_on_its_own(name):
    before = plt.get_fignums()
    fig = FIGURES[name]()
    assert isinstance(fig, matplotlib.figure.Figure)
    assert plt.get_fignums() == before == []
    assert fig._repr_png_().startswith(b"\x89PNG")
    maps = [ax for ax in data_axes(fig) if ax.images]
    bars = [image.colorbar.ax for ax in maps for image in ax.images if image.colorbar]
    assert len(bars) == ("noise" in name or "pairs" in name)
    if maps and "drawing" not in name:  # whose maps stand for any state
        assert sum(line.get_gid() == "scale bar" for ax in maps for line in ax.lines) == 1
        spins = not name.startswith("theta_maps")
        assert not spins or any("S^z" in t.get_text() for t in [*fig.texts, *(t for ax in fig.axes for t in ax.texts)])
    for ax in data_axes(fig):
        if ax.images:
            continue
        if ax in bars:
            assert "theta" in ax.get_xlabel() + ax.get_ylabel()
            continue
        box = ax.get_position()
        others = [o.get_position() for o in data_axes(fig) if o is not ax]
        lowest = not any(o.y1 < box.y0 + 1e-6 and abs(o.x0 - box.x0) < 1e-3 for o in others)
        leftmost = not any(o.x1 < box.x0 + 1e-6 and abs(o.y0 - box.y0) < 1e-3 for o in others)
        assert ax.get_xlabel() or not lowest
        assert ax.get_ylabel() or not leftmost or any(t.get_text() for t in ax.get_yticklabels())
        named = [line for line in ax.lines if not line.get_label().startswith("_")]
        assert len(named) < 2 or ax.get_legend() or fig.legends


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_is_cut_off_or_lost_at_the_edge_of_the_page(name):
    fig = FIGURES[name]()
    fig.draw_without_rendering()
    width, height = fig.get_size_inches()
    box = fig.get_tightbbox()
    assert width <= 7.5 and height <= 9.5  # a journal page
    assert -0.1 < box.x0 and box.x1 < width + 0.1 and -0.1 < box.y0 and box.y1 < height + 0.1


def test_a_notebook_shows_a_figure_as_one_png():
    data, _ = DisplayFormatter().format(FIGURES["score_card"]())
    assert [kind for kind in data if kind.startswith("image/")] == ["image/png"]


def test_the_callers_style_is_neither_used_nor_changed():
    plain = FIGURES["dataset_statistics"]()._repr_png_()
    with matplotlib.rc_context({"axes.facecolor": "pink", "font.size": 20, "xtick.labelsize": 25}):
        assert FIGURES["dataset_statistics"]()._repr_png_() == plain
        assert matplotlib.rcParams["axes.facecolor"] == "pink"
    with house_style():
        assert matplotlib.rcParams["axes.spines.top"] is False


# ---- what the curves say

def test_budget_curves_show_arrivals_on_the_floor_and_skip_what_costs_no_updates():
    time, updates = FIGURES["budget_curves"]().axes[0], FIGURES["budget_curves"]().axes[2]
    lines = [line for line in time.lines if len(line.get_xdata()) == 2 and line.get_linestyle() != "None"]
    assert [list(line.get_ydata()) for line in lines[:3]] == [[2e-3, 1e-6]] * 3
    assert sum(line.get_gid() == "floor" for line in time.lines) == 3
    assert sum(line.get_gid() == "floor" for line in updates.lines) == 2
    assert [line.get_xdata()[0] for line in time.lines if line.get_marker() == "x"] == [0.1, 1.0, 0.1]
    with pytest.raises(ValueError, match=r"curve 0 of box lacks mean"):
        plotting.budget_curves([("box", [{k: v for k, v in rival("a").items() if k != "mean"}])])


def test_the_strip_is_to_one_scale_in_the_given_order():
    fig = FIGURES["phase_strip"]()
    fig.draw_without_rendering()
    maps = [ax for ax in fig.axes if ax.images and ax.axison]
    sizes = [ax.images[0].get_array().shape[1] for ax in maps]
    assert sizes == [*range(4, 24, 2), 20]
    inches = [ax.get_position().width * fig.get_figwidth() / n for ax, n in zip(maps, sizes, strict=True)]
    assert np.ptp(inches) < 1e-6


def test_strip_curves_mark_agreement_by_the_filling():
    ax = FIGURES["strip_curves"]().axes[0]
    found = {line.get_markerfacecolor(): list(line.get_xdata()) for line in ax.lines if line.get_marker() == "D"}
    assert found == {COLOURS[1]: [2.0], "none": [3.0]}


def test_ladder_curves_show_the_numbers_they_are_given():
    s = ladder()
    fig = plotting.ladder_curves(s, xlabel="gamma", data_energy=-0.052, lowest=-0.06)
    reconstruction, kl, energy, above = fig.axes
    assert [ax.get_yscale() for ax in fig.axes] == ["log", "log", "linear", "log"]
    np.testing.assert_allclose(reconstruction.lines[0].get_ydata(), s["reconstruction"])
    np.testing.assert_allclose(kl.lines[0].get_ydata(), s["kl"])
    np.testing.assert_allclose([line.get_ydata() for line in energy.lines[:2]], [s["energy"], s["energy_generated"]])
    np.testing.assert_allclose([line.get_ydata() for line in above.lines[:2]],
                               [s["energy"] + 0.06, s["energy_generated"] + 0.06])
    assert above.lines[2].get_ydata()[0] == pytest.approx(0.008)
    assert energy.lines[2].get_ydata()[0] == -0.052 and energy.lines[2].get_linestyle() == "--"


def test_zeros_have_a_place_on_logarithmic_axes():
    fig = plotting.collapse_measure(collapse(), floor=1e-7)
    upper, lower = fig.axes
    x, y = upper.lines[0].get_data()
    np.testing.assert_allclose(x, [0.1, 1, 100, 1e4])
    np.testing.assert_allclose(y, [0.1, 0.1, 1e-2, 1e-7])
    (floor,) = [line for line in upper.lines if line.get_gid() == "floor"]
    assert floor.get_xdata() == [1e4] and floor.get_marker() == "v"
    fig.draw_without_rendering()
    ticks = dict(zip(lower.get_xticks(), (t.get_text() for t in lower.get_xticklabels()), strict=True))
    assert ticks[0.1] == "0" and ticks[1.0] == "1"
    assert any("at most" in t.get_text() for t in fig.legends[0].get_texts())


def test_energies_below_the_ideal_lattice_are_seen_below_zero():
    lower = plotting.collapse_measure(collapse(), ideal_energy=-2.22).axes[1]
    y = lower.lines[0].get_ydata()
    np.testing.assert_allclose(y, [0.12, 0.07, 0.02, -0.005], atol=1e-12)
    assert lower.get_yscale() == "symlog" and lower.get_ylim()[0] < -0.005 and lower.get_ylim()[1] > 0.12


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_theta_densities_keep_shares_and_mark_the_peak(scale):
    edges = np.concatenate([[0], np.geomspace(1e-4, np.pi, 300)])
    sigma = 0.05
    share = np.exp(-edges[:-1] ** 2 / 2 / sigma**2) - np.exp(-edges[1:] ** 2 / 2 / sigma**2)  # Rayleigh
    fig = plotting.theta_densities(edges, {"a": share / np.diff(edges)}, scale=scale)
    (ax,) = fig.axes
    curve, peak = ax.lines
    x, y = curve.get_data()
    drawn = edges[-1 - len(x):]
    spans = np.diff(np.log10(drawn)) if scale == "log" else np.diff(np.degrees(drawn))
    assert (y * spans).sum() == pytest.approx(1, abs=1e-4)
    top = sigma * (np.sqrt(2) if scale == "log" else 1)  # of theta p(theta), of p(theta)
    assert peak.get_xdata()[0] == pytest.approx(np.degrees(top), rel=0.05)
    assert "peak" in ax.get_legend().get_texts()[0].get_text()


@pytest.mark.parametrize("order", [(1, 3), (3, 1)])
def test_theta_densities_fit_into_every_panel(order):
    """Panels have one axis: a peak in any of them, the highest included, is drawn with its mark."""
    edges = np.geomspace(1e-3, np.pi, 50)
    density = np.zeros(49)
    density[20:23] = 1
    flat = np.full(49, 1.0)
    curves = [flat + 20 * height * density for height in order]
    fig = plotting.theta_densities(edges, {str(k): {"a": c / (c * np.diff(edges)).sum()} for k, c in enumerate(curves)})
    for ax in fig.axes:
        assert ax.get_ylim()[0] == 0 and ax.get_ylim()[1] > max(line.get_ydata().max() for line in ax.lines)


def test_theta_below_the_logarithmic_axis_is_told():
    edges = np.concatenate([[0], np.geomspace(1e-3, np.pi, 50)])
    density = np.zeros(50)
    density[[0, 20]] = 0.25 / np.diff(edges)[0], 0.75 / np.diff(edges)[20]
    legend = plotting.theta_densities(edges, {"a": density}).axes[0].get_legend().get_texts()[0].get_text()
    assert "25% below 0.057" in legend


def test_interpolation_starts_from_the_perfect_end():
    energy = np.array([3.0, 4.0, 9.0, 2.0, 1.0])
    left, right = plotting.interpolation_energies([-2, -1, 0, 1, 2], {"a": energy}).axes
    np.testing.assert_allclose(left.lines[0].get_ydata(), energy)
    np.testing.assert_allclose(right.lines[0].get_ydata(), 1e3 * (energy - 1))
    assert left.get_legend_handles_labels()[1] == ["a"]


def test_every_frame_has_its_note_below():
    fig = plotting.interpolation_frames(states(1, 2), [0, 2], ["a"], notes=[["31", "30"]])
    maps = [ax.get_position() for ax in fig.axes if ax.images and ax.axison]
    for box, note in zip(maps, ("31", "30"), strict=True):
        (text,) = [t for t in fig.texts if t.get_text() == note]
        assert box.x0 < text.get_position()[0] < box.x1 and text.get_position()[1] < box.y0


def test_the_median_angle_stands_on_its_map():
    spins = states(ny=4, nx=4)
    spins[:, 0, 0] = 0.0  # no magnetic site: its angle does not count
    angles = np.radians(np.arange(16.0)).reshape(4, 4)
    fig = plotting.theta_maps(["γ = 0"], [("test", [(spins, np.cos(angles))])])
    (ax,) = [ax for ax in fig.axes if ax.images and ax.axison and ax.texts]
    assert ax.texts[0].get_text() == "8°"


def test_confined_samples_have_one_scale():
    fig = plotting.confined_states(CONFINED)
    width, height = fig.get_size_inches()
    maps = [ax for ax in fig.axes if ax.images and ax.axison]
    scales = [ax.get_position().width * width / np.ptp(ax.get_xlim()) for ax in maps]
    assert len(maps) == 4 and np.ptp(scales) < 1e-9
    words = " ".join(t.get_text() for t in fig.texts)
    assert "\N{MINUS SIGN}2.20000 J" in words and "\N{MINUS SIGN}1.90000 J" in words


def test_the_front_and_the_systems_show_their_numbers():
    upper, _, lower, _ = plotting.quality_front({"raw": FRONT, "at rest": FRONT}).axes
    assert [line.get_xydata()[0].tolist() for line in upper.lines[1:]] == [[p[1], p[3]] for p in FRONT]
    assert upper.get_yscale() == "log" and lower.get_xlabel() == "coverage of the data"
    energy, theta, charge = plotting.quality_distributions({"data": SAMPLES}).axes
    np.testing.assert_allclose(charge.lines[0].get_xdata(), np.arange(-8.0, 1))
    np.testing.assert_allclose(theta.lines[0].get_xdata()[-1], np.degrees(0.1))
    assert energy.lines[0].get_ydata()[-1] == 1
    fig = plotting.systems_collapse(system(excess=[1.0, 0.1, 1e-2, 1e-9]), floor=1e-6)
    (floored,) = [line for line in fig.axes[1].lines if line.get_gid() == "floor"]
    assert floored.get_ydata().tolist() == [1e-6]
    bar = fig.axes[1].lines[2]
    assert bar.get_ydata().tolist() == [1e-3, 1e-2] and bar.get_xdata()[0] > 1e4


def test_confined_energies_are_measured_from_the_best_annealed_state():
    fig = plotting.confined_energies({"label": "s", "annealed": [-2.0, -2.1], "relaxed": -2.1005})
    diamonds = [line for line in fig.axes[0].lines if line.get_marker() == "D"]
    assert diamonds[0].get_xdata()[0] == pytest.approx(-0.5)
    assert fig.axes[0].get_xlim()[0] < -0.5


def test_verdicts_are_words():
    words = " ".join(t.get_text() for t in plotting.score_card(CARD).axes[0].texts)
    assert "reproduced" in words and "not measured" in words


@pytest.mark.parametrize("value, words", [(0, "0"), (1, "1"), (0.05, "0.05"), (500, "500"), (1e-4, "$10^{-4}$"),
                                          (1e6, "$10^{6}$"), (2e5, r"$2{\times}10^{5}$"), (-2.5, "\N{MINUS SIGN}2.5")])
def test_numbers_in_words(value, words):
    assert power(value) == words


def test_panels_of_different_content_have_letters():
    """Above their upper left corners; not a single panel, and no gallery of states."""
    letters = {name: [text.get_text() for ax in figure().axes for text in ax.texts if text.get_gid() == "panel letter"]
               for name, figure in FIGURES.items()}
    assert letters["interpolation_energies"] == ["a", "b"] and letters["ladder_curves of gamma"] == list("abcd")
    assert letters["annealing_watched"] == list("abc") and letters["budget_curves"] == list("abcd")
    assert not any(letters[name] for name in ("gallery", "collapse_states", "theta_densities, linear", "score_card"))
    left, right = FIGURES["interpolation_energies"]().axes
    assert left.texts[0].xy == right.texts[0].xy == (0, 1)


def test_a_map_of_one_colour_says_what_it_is():
    up = np.zeros((2, 3, 8, 8), np.float32)
    up[:, 2] = 1
    up[1, :, 2:6, 2:6] = np.array([1, 0, 0]).reshape(3, 1, 1)
    first, second = [ax for ax in plotting.gallery(up).axes if ax.axison]
    assert "uniform" in [text.get_text() for text in first.texts]
    assert "uniform" not in [text.get_text() for text in second.texts]


def test_minus_signs_stand_before_numbers_alone():
    assert minus("E-VAE at -2.5 J, charge -3") == "E-VAE at \N{MINUS SIGN}2.5 J, charge \N{MINUS SIGN}3"


def test_still_frames_have_one_scale():
    small, large = np.zeros((4, 8, 3)), np.zeros((8, 16, 3))
    fig = plotting.still_frames([("n = 1", small), ("n = 2", large)], across=2)
    (a, b), (width, height) = (ax.get_position() for ax in fig.axes), fig.get_size_inches()
    assert b.width == pytest.approx(2 * a.width) and b.height == pytest.approx(2 * a.height)
    assert a.width * width / 8 == pytest.approx(a.height * height / 4)


# ---- files

def test_saving_twice_gives_the_same_bytes(tmp_path):
    paths = save(FIGURES["noise_reduction"](), tmp_path / "new" / "folder", "fig3a", caption="Maps of γ.")
    first = [path.read_bytes() for path in paths]
    assert [path.name for path in paths] == ["fig3a.png", "fig3a.pdf"]
    assert first[0].startswith(b"\x89PNG") and first[1].startswith(b"%PDF")
    assert b"CreationDate" not in first[1]
    again = save(FIGURES["noise_reduction"](), tmp_path / "new" / "folder", "fig3a", caption="Maps of γ.")
    assert [path.read_bytes() for path in again] == first
    assert sorted(p.name for p in (tmp_path / "new" / "folder").iterdir()) == ["fig3a.pdf", "fig3a.png", "fig3a.txt"]


def test_saved_bytes_do_not_depend_on_the_process(tmp_path):
    code = ("import sys, numpy as np; from evae_companion import plotting as p;"
            "fig = p.dataset_statistics(np.linspace(-2, -1, 9), np.arange(9.0), np.ones(9));"
            "p.save(fig, sys.argv[1], 'a', caption='γ')")
    for seed in "12":
        subprocess.run([sys.executable, "-c", code, str(tmp_path / seed)], check=True, timeout=120,
                       cwd=PACKAGE.parents[1], env=os.environ | {"PYTHONHASHSEED": seed})
    for name in ("a.png", "a.pdf"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_a_failed_save_leaves_nothing_and_keeps_the_old_file(tmp_path, monkeypatch):
    fig = FIGURES["score_card"]()
    old = [path.read_bytes() for path in save(fig, tmp_path, "a", caption="A table.")]

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="cannot write figure .*a.png: No space left"):
        save(plotting.score_card(CARD[:1]), tmp_path, "a", caption="Another.")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pdf", "a.png", "a.txt"]
    assert [(tmp_path / f"a.{s}").read_bytes() for s in ("png", "pdf")] == old


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(OSError, match="taken"):
        save(FIGURES["score_card"](), tmp_path / "taken", "a", caption="A table.")


def test_nothing_is_said_while_saving(tmp_path, capfd, caplog):
    save(FIGURES["collapse_measure"](), tmp_path, "a", caption="Curves.")
    assert capfd.readouterr() == ("", "") and not caplog.records


def test_the_caption_stands_beside_and_within_the_files(tmp_path):
    fig = FIGURES["gallery of one"]()
    assert fig._repr_mimebundle_()[1] == {}
    save(fig, tmp_path, "start_skyrmions")
    words = plotting.CAPTIONS["start_skyrmions"]
    assert (tmp_path / "start_skyrmions.txt").read_text(encoding="utf-8") == words + "\n"
    with PIL.Image.open(tmp_path / "start_skyrmions.png") as picture:
        assert picture.text["Description"] == words
    assert b"/Subject" in (tmp_path / "start_skyrmions.pdf").read_bytes()
    data, metadata = DisplayFormatter().format(fig)
    assert metadata == {"image/png": {"alt": words}} and data["image/png"] == fig._repr_png_()
    save(fig, tmp_path, "mine", caption="One map of γ.", caption_file=False)
    assert not (tmp_path / "mine.txt").exists() and fig.caption == "One map of γ."


# ---- bad input

NAN = np.full((3, 8, 12), np.nan, np.float32)
AX = Figure().subplots()


@pytest.mark.parametrize("error, match, call", [
    (TypeError, "spins must be an array of floats.*int64", lambda: spin_rgb(np.zeros((3, 4, 4), np.int64))),
    (ValueError, r"spins must have shape \(..., 3, Ny, Nx\).*\(4, 4, 3\)", lambda: spin_rgb(np.zeros((4, 4, 3)))),
    (ValueError, "spins must not be empty", lambda: spin_rgb(np.zeros((3, 0, 4)))),
    (ValueError, "spins must be finite", lambda: spin_rgb(NAN)),
    (ValueError, "unit vectors.*off by 1", lambda: spin_rgb(2 * states())),
    (TypeError, "spins must be an array of real", lambda: spin_rgb([[1.0, 2.0], [3.0]])),
    (ValueError, r"spins must have shape \(3, Ny, Nx\)", lambda: spin_map(AX, states(2))),
    (ValueError, "cos_theta must be cosines.*1.5", lambda: alignment_map(AX, np.full((4, 4), 1.5))),
    (ValueError, "cos_theta must have shape", lambda: alignment_map(AX, np.zeros(4))),
    (ValueError, "magnetic must be a bool array", lambda: alignment_map(AX, np.ones((4, 4)), magnetic=np.ones((4, 4)))),
    (ValueError, r"spins must have shape \(n, 3, Ny, Nx\)", lambda: plotting.gallery(states())),
    (ValueError, "labels must be one a configuration: 2 configurations, 1", lambda: plotting.gallery(states(2), ["a"])),
    (ValueError, "temperatures must have shape", lambda: plotting.annealing_watched([1.0], states(2), {})),
    (ValueError, "trace lacks temperature", lambda: plotting.annealing_watched([1.0], states(1), {"charge": [1]})),
    (ValueError, "charge must have shape", lambda: plotting.dataset_statistics([1.0, 2.0], [1.0], [1.0, 2.0])),
    (TypeError, "charge must be an array of real", lambda: plotting.dataset_statistics([1.0], ["a"], [1.0])),
    (ValueError, r"series\[0\] lacks kl", lambda: plotting.ladder_curves(
        {k: v for k, v in ladder().items() if k != "kl"}, xlabel="beta")),
    (ValueError, "ascending", lambda: plotting.ladder_curves(ladder(x=[1, 3, 2, 4, 5]), xlabel="beta")),
    (ValueError, r"'kl'\] must have shape \(5\)", lambda: plotting.ladder_curves(ladder(kl=[1.0]), xlabel="beta")),
    (ValueError, "at least one positive", lambda: plotting.ladder_curves(
        {k: v if k == "label" else v[:1] * 0 for k, v in ladder().items()}, xlabel="beta")),
    (TypeError, "lowest must", lambda: plotting.ladder_curves(ladder(), xlabel="beta", lowest="x")),
    (ValueError, "validation.*lacks", lambda: plotting.ladder_curves(ladder(validation={}), xlabel="beta")),
    (ValueError, "given and columns must all have one lattice shape", lambda: plotting.output_ladder(
        states(), [("a", states(ny=4), states())])),
    (ValueError, "columns must hold at least 1", lambda: plotting.output_ladder(states(), [])),
    (ValueError, r"columns\[0\] must be \(label, x_out, x_generated\)", lambda: plotting.output_ladder(
        states(), [("a", states())])),
    (ValueError, "given cos_theta must have shape", lambda: plotting.noise_reduction((states(), np.ones((3, 3))), [])),
    (ValueError, "equally many reconstructions", lambda: plotting.reconstruction_pairs(
        [("a", pair(), [("0", pair())]), ("b", pair(), [("0", pair()), ("1", pair())])])),
    (ValueError, "edges must be at least two ascending", lambda: plotting.theta_densities([1, 0], {"a": [1]})),
    (ValueError, "density of a must not be negative", lambda: plotting.theta_densities(EDGES, {"a": -DENSITY})),
    (ValueError, "R lacks b", lambda: plotting.interpolation_energies({"a": [0, 1]}, {"b": [0, 1]})),
    (ValueError, "R of a must be ascending", lambda: plotting.interpolation_energies([1, 0], {"a": [0, 1]})),
    (ValueError, "labels must be one a row", lambda: plotting.interpolation_frames(states(2, 2), [0, 1], ["a"])),
    (ValueError, "notes must be", lambda: plotting.interpolation_frames(states(1, 2), [0, 1], ["a"], notes=[["a"]])),
    (ValueError, "one pair per label", lambda: plotting.theta_maps(["0", "1"], [("a", [pair()])])),
    (ValueError, "one entry a label", lambda: plotting.collapse_states(["a"], {"1": states(2, 1)})),
    (ValueError, "at rest must have the labels", lambda: plotting.quality_front({"raw": FRONT, "at rest": FRONT[:2]})),
    (ValueError, "above the reference", lambda: plotting.quality_front({"raw": [*FRONT, ("γ = 2", 0.2, 50.0, 0.0)]})),
    (ValueError, "lacks charge", lambda: plotting.quality_distributions({"a": {"energy": [1.0], "theta": [1.0]}})),
    (ValueError, "must have shape", lambda: plotting.quality_distributions({"a": SAMPLES | {"charge": [1.0]}})),
    (ValueError, r"series\[0\] lacks excess", lambda: plotting.systems_collapse(collapse())),
    (ValueError, "data must be .lowest, mean, highest", lambda: plotting.collapse_measure(collapse(), data=(0, 1, -1))),
    (ValueError, "must have the rows", lambda: plotting.confined_states([CONFINED[0], ("b", {"x": (states(), 0.0)})])),
    (TypeError, "states of b must be a dict", lambda: plotting.confined_states([("b", [states()])])),
    (ValueError, r"samples\[0\] lacks relaxed", lambda: plotting.confined_energies(
        [{"label": "a", "annealed": [1.0]}])),
    (ValueError, r"rows\[0\] lacks verdict", lambda: plotting.score_card([{"id": "", "claim": "", "here": ""}])),
    (ValueError, "rows must hold at least 1", lambda: plotting.score_card([])),
    (ValueError, r"picture of a must have shape", lambda: plotting.still_frames([("a", np.zeros((2, 2)))])),
    (ValueError, "frames must hold at least 1", lambda: plotting.still_frames([])),
    (ValueError, "figure 'mine' has no caption; give caption=", lambda: save(Figure(), ".", "mine")),
    (ValueError, "figure 'mine' has no caption", lambda: save(Figure(), ".", "mine", caption=" ")),
    (TypeError, "caption must be str", lambda: save(Figure(), ".", "mine", caption=3)),
    (ValueError, "name must be a plain file name", lambda: save(Figure(), ".", "a/b")),
    (ValueError, "name must be a plain file name", lambda: save(Figure(), ".", "")),
])
def test_bad_input_is_named(error, match, call):
    with pytest.raises(error, match=match):
        call()


# ---- the house rules

def test_plotting_draws_only():
    """No torch, no pyplot, nothing of ours but itself, what writes files, marks previews and checks arguments."""
    ours = ("evae_companion.store.serialization", "evae_companion.store", "evae_core.validation")
    for path in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else (
                [node.module] if isinstance(node, ast.ImportFrom) else [])
            for name in names:
                assert name.split(".")[0] in sys.stdlib_module_names | {"numpy", "matplotlib"} or name.startswith(
                    "evae_companion.plotting.") or name in ours, (path.name, name)
                assert "pyplot" not in name
