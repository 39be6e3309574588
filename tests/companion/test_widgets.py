"""The explorers without a browser: what the sliders choose is shown, errors are seen, pictures are right."""

import ast
import asyncio
import base64
import io
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import ipywidgets
import nbconvert
import nbformat
import numpy as np
import pytest
import torch
from IPython.core.formatters import DisplayFormatter
from matplotlib.image import imread
from torch.nn import functional as F

from evae_companion import plotting, widgets
from evae_companion.experiments.size_scan import Sample
from evae_companion.io import load_state
from evae_companion.presets import PRESETS
from evae_companion.store.preview import NotRecorded
from evae_companion.widgets import annealing_session, axes, base, cursor, download, images, loaders
from evae_core import Hamiltonian, anneal
from evae_core.annealing import Schedule
from evae_core.latent import K_STEPS
from evae_core.model import VAE
from evae_core.observables import topological_charge
from evae_core.textures import uniform
from evae_core.training.checkpoint import NoEncoder

H = Hamiltonian(D=0.6, B=0.2)


def random_spins(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-3)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return VAE(16, latent=8).eval()


def pixels_of(image):
    return imread(io.BytesIO(bytes(image.value)), format="png")


# The plain explorer -------------------------------------------------------------------------------------------------

def figure(text):
    return SimpleNamespace(_repr_png_=lambda: text.encode())


def test_moving_a_slider_draws_again():
    box = widgets.explorer(lambda beta, n: figure(f"{beta:g} {n}"), beta=(1e-6, 1e-3), n=range(3))
    beta, n, image = box.children[:3]
    assert isinstance(beta, ipywidgets.SelectionSlider) and image.value == b"1e-06 0"
    beta.value = 1e-3
    assert image.value == b"0.001 0"
    n.value = 2
    assert image.value == b"0.001 2"
    assert [label for label, _ in beta.options] == ["1e-06", "0.001"]


def test_long_words_beside_a_slider_are_not_cut():
    short, long = (base.chooser("sample", [words]) for words in ("100", "wire 16 x 48"))
    assert (short.layout.width, long.layout.width) == ("300px", "350px")


def test_an_exception_in_the_callback_is_shown_and_raised():
    def draw(n):
        if n == 1:
            raise ArithmeticError("seen")
        return figure(str(n))
    box = widgets.explorer(draw, n=(0, 1, 2))
    slider, image, errors = box.children[:3]
    with pytest.raises(ArithmeticError, match="seen"):
        slider.value = 1
    (shown,) = errors.outputs
    assert shown["output_type"] == "error" and shown["ename"] == "ArithmeticError" and shown["evalue"] == "seen"
    assert "in draw" in "".join(shown["traceback"])
    slider.value = 2
    assert errors.outputs == () and image.value == b"2", "the next success takes the error away"
    with pytest.raises(ArithmeticError, match="seen"):
        widgets.explorer(draw, n=(1,))


def test_bad_arguments():
    with pytest.raises(TypeError, match="draw"):
        widgets.explorer(3, n=(1,))
    with pytest.raises(ValueError, match="control"):
        widgets.explorer(print)
    with pytest.raises(ValueError, match="n has no values"):
        widgets.explorer(print, n=())


def test_a_button_shows_its_error(caplog):
    """It is raised too, and ipywidgets, which runs clicks, writes it to the log."""
    explorer = base.Explorer()
    explorer.button("press", lambda: 1 / 0).click()
    assert explorer.errors.outputs[0]["ename"] == "ZeroDivisionError"
    assert "ZeroDivisionError" in caplog.text


def test_no_explorer_swallows_exceptions():
    """Only Explorer.do may catch. It raises again, except for what a preview lacks, which it says in the box."""
    caught = [(path.name, node) for path in Path(base.__file__).parent.glob("*.py")
              for node in ast.walk(ast.parse(path.read_text()))
              if isinstance(node, ast.ExceptHandler)]
    assert [(name, one.type.id) for name, one in caught] == [("base.py", "NotRecorded"), ("base.py", "Exception")]
    assert isinstance(caught[1][1].body[-1], ast.Raise)


# Stills -------------------------------------------------------------------------------------------------------------

def shown(box):
    """(data, metadata) of the output that a notebook keeps of a widget."""
    return DisplayFormatter().format(box)


def words_of_still(explorer):
    """The alt text of an explorer's still, which must leave what the explorer itself shows as it is."""
    before = explorer.image.value if hasattr(explorer, "image") else [image.value for image in explorer.images]
    data, metadata = shown(explorer.box)
    after = explorer.image.value if hasattr(explorer, "image") else [image.value for image in explorer.images]
    assert data["image/png"].startswith(b"\x89PNG") and before == after
    return metadata["image/png"]["alt"]


def test_an_explorer_brings_a_still_for_readers_without_a_kernel():
    seen = []

    def draw(frame, other):
        seen.append((frame, other))
        return plotting.gallery(random_spins(1, 3, 8, 8, seed=frame).numpy(), columns=1)

    box = widgets.explorer(draw, other=(0, 1), frame=range(9))
    assert seen == [(0, 0)], "nothing but what is shown is drawn before the box is shown"
    data, metadata = shown(box)
    assert base.WIDGET in data and data["image/png"].startswith(b"\x89PNG")
    assert metadata["image/png"]["alt"] == "Sliders at frame = 0, frame = 4, frame = 8"
    assert seen[1:] == [(4, 0), (8, 0), (0, 0)] and box.children[1].value == 0, "the slider is where it was"
    again, _ = shown(box)
    assert again["image/png"] == data["image/png"]
    wide = widgets.explorer(lambda n: plotting.gallery(random_spins(4, 3, 8, 8).numpy()), n=range(9))
    assert shown(wide)[1]["image/png"]["alt"] == "Sliders at n = 0, n = 8", "figures of a page's width"


def test_a_notebook_page_shows_the_still_and_jupyter_the_widget():
    """nbconvert takes the picture, with its words, where the notebook holds no state of the widget."""
    data, metadata = shown(widgets.explorer(lambda n: plotting.gallery(random_spins(1, 3, 8, 8).numpy()), n=(1, 2)))
    data |= {"image/png": base64.b64encode(data["image/png"]).decode()}
    output = nbformat.v4.new_output("display_data", data=data, metadata=metadata)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=[output])])
    page, _ = nbconvert.HTMLExporter(template_name="classic").from_notebook_node(notebook)
    assert page.count('src="data:image/png') == 1 and 'alt="Sliders at n = 1, n = 2"' in page
    assert '<script type="application/vnd.jupyter.widget-view+json">' not in page
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {
        "state": {data[base.WIDGET]["model_id"]: {}}, "version_major": 2, "version_minor": 0}}
    page, _ = nbconvert.HTMLExporter(template_name="classic").from_notebook_node(notebook)
    assert '<script type="application/vnd.jupyter.widget-view+json">' in page and 'src="data:image/png' not in page


def test_a_preview_that_lacks_the_states_has_no_still():
    def draw(n):
        raise NotRecorded("that")

    data, _ = shown(widgets.explorer(draw, n=(0, 1)))
    assert base.WIDGET in data and "image/png" not in data


def test_stills_of_the_other_explorers(model):
    explorer = widgets.LatentExplorer(model, H, random_spins(12, 3, 16, 16))
    before, state = explorer.z.clone(), explorer.state.clone()
    data, metadata = shown(explorer.box)
    assert "image/png" in data and "axis 1 = \N{MINUS SIGN}2" in metadata["image/png"]["alt"]
    torch.testing.assert_close(explorer.z, before)
    torch.testing.assert_close(explorer.state, state)
    annealing = widgets.AnnealingExplorer(size=16)
    frame = annealing.cooling.frame().spins.clone()
    data, metadata = shown(annealing.box)
    assert "image/png" in data and "annealing" in metadata["image/png"]["alt"]
    assert torch.equal(annealing.cooling.frame().spins, frame), "the reader's own annealing has not begun"


def test_few_values_are_spread_evenly():
    assert base.spread(range(9)) == [0, 4, 8] and base.spread([1, 2]) == [1, 2] and base.spread("a", 4) == ["a"]


# Pictures -----------------------------------------------------------------------------------------------------------

def test_a_picture_is_the_map_with_y_up():
    spins = random_spins(3, 4, 6)
    picture = images.spin_picture(spins)
    assert picture.shape == (4, 6, 3) and picture.dtype == np.uint8
    assert np.abs(picture[::-1] / 255 - plotting.spin_rgb(spins.numpy())).max() <= 0.5 / 255 + 1e-9
    again = imread(io.BytesIO(images.png(picture)), format="png")[..., :3]
    assert np.array_equal(np.rint(again * 255), picture)


def test_angle_picture_has_the_colours_of_the_alignment_map():
    mask = np.ones((6, 6), bool)
    mask[2, 3] = False
    open_H = Hamiltonian(D=0.6, B=0.2, boundary=mask)
    spins = random_spins(3, 6, 6) * torch.from_numpy(mask)
    picture = images.angle_picture(open_H, spins)
    fig = plotting.Figure()
    image = plotting.alignment_map(fig.add_subplot(), open_H.alignment(spins.double()).clamp(-1, 1).numpy(),
                                   magnetic=mask)
    expected = image.cmap(image.norm(image.get_array()))[..., :3]
    assert np.abs(picture[::-1] / 255 - expected).max() <= 0.5 / 255 + 1e-9
    assert len({tuple(c) for c in picture.reshape(-1, 3)}) > 10


def test_sheet_sets_pictures_on_white():
    a, b, c = (np.full((h, w, 3), v, np.uint8) for h, w, v in ((2, 3, 1), (4, 1, 2), (1, 2, 3)))
    whole = images.sheet([[a, b], [c]], gap=1)
    assert whole.shape == (4 + 1 + 1, 3 + 1 + 1, 3)
    assert (whole[2:4, :3] == 1).all() and (whole[:2, :4] == 255).all() and (whole[:4, 4] == 2).all()
    assert (whole[5, :2] == 3).all() and (whole[4] == 255).all() and (whole[5, 2:] == 255).all()


def test_described_is_the_core():
    spins = random_spins(3, 16, 16)
    found = images.summary(H, spins)
    assert found["energy"] == pytest.approx(float(H.energy_per_spin(spins.double())), abs=1e-12)
    assert found["charge"] == pytest.approx(float(topological_charge(spins)), abs=1e-9)
    up = images.summary(H, uniform((8, 8)))
    assert up["energy"] == pytest.approx(-2.2) and up["charge"] == 0 and up["angle"] == pytest.approx(0, abs=1e-4)
    assert "−2.20000 J" in images.summary_line(up)
    mask = np.zeros((8, 8), bool)
    mask[:4] = True
    half = Hamiltonian(D=0.0, B=0.2, boundary=mask)
    tilted = torch.zeros(3, 8, 8)
    tilted[0, :4] = 1.0  # in the plane, across the field: every angle is that between x and J sum + B z
    angle = images.summary(half, tilted)["angle"]
    number = (np.pad(mask, 1)[2:, 1:-1] + np.pad(mask, 1)[:-2, 1:-1].astype(int) + np.pad(mask, 1)[1:-1, 2:]
              + np.pad(mask, 1)[1:-1, :-2])[mask]
    assert angle == pytest.approx(np.degrees(np.arctan2(0.2, number)).mean(), abs=1e-4)


def test_cursor_stands_where_matplotlib_has_x():
    fig = plotting.Figure(figsize=(4, 3))
    upper, lower = fig.subplots(2, 1)
    for ax in (upper, lower):
        ax.semilogx([1, 1000], [0, 1])
        ax.set_xlim(1, 1000)
    plot = cursor.CursorPlot(fig, (0, 1), dpi=100)
    assert plot.picture.shape == (300, 400, 3)
    drawn = imread(io.BytesIO(plot.at(10 ** 1.5)), format="png")[..., :3]
    moved = np.argwhere((np.rint(drawn * 255) != plot.picture).any(-1))
    middle = (0.125 + 0.9) / 2 * 400  # of matplotlib's default axes
    assert np.abs(moved[:, 1] - middle).max() <= 1.5
    assert {int(r) for r in moved[:, 0]} & set(range(20, 120)) and {int(r) for r in moved[:, 0]} & set(range(180, 280))
    assert not {int(r) for r in moved[:, 0]} & set(range(150, 155)), "not between the axes"
    assert plot.columns(1e9) == [] and plot.at(1e9) == images.png(plot.picture)


# Annealing ----------------------------------------------------------------------------------------------------------

def test_a_watched_anneal_is_the_anneal():
    settings = annealing_session.Settings(size=16, sweeps=12, seed=3)
    watched = annealing_session.Cooling(settings)
    first = watched.frame()
    assert first.temperature == float("inf") and first.sweep == 0 and not first.done
    frames = [watched.step()]
    while not frames[-1].done:
        frames.append(watched.step())
    assert [f.sweep for f in frames] == [*range(1, 13), 12] and frames[-1].temperature == 0
    expected = anneal(settings.hamiltonian(), (16, 16), 1, seed=3, device="cpu", schedule=Schedule(sweeps=12))[0]
    assert torch.equal(frames[-1].spins, expected)
    assert frames[-1].energy == pytest.approx(float(H.energy_per_spin(expected)), abs=1e-6)
    assert torch.equal(watched.step().spins, expected), "at rest nothing changes"
    assert annealing_session.Cooling(replace(settings, sweeps=4000)).stride == 16


@pytest.mark.parametrize("change", [{"J": 0.5}, {"D": -0.3}, {"B": 0.0}, {"K": 0.4}, {"dmi": "neel"},
                                    {"boundary": "open"}])
def test_every_setting_reaches_the_hamiltonian(change):
    (name, value), = change.items()
    assert getattr(replace(annealing_session.Settings(), **change).hamiltonian(), name) == value
    assert replace(annealing_session.Settings(), **change).hamiltonian() != annealing_session.Settings().hamiltonian()


def test_a_drawn_sample_is_its_squares():
    squares = np.zeros((2, 2), bool)
    squares[1, 0] = True
    settings = annealing_session.Settings(boundary="drawn", drawn=tuple(map(tuple, squares.tolist())), size=8)
    mask = settings.hamiltonian().mask
    assert mask[4:, :4].all() and mask.sum() == 16
    frame_now = annealing_session.Cooling(settings).step()
    assert (frame_now.spins[:, torch.from_numpy(~mask.copy())] == 0).all()
    with pytest.raises(ValueError, match="drawn"):
        replace(settings, drawn=((False,),)).hamiltonian()
    with pytest.raises(ValueError, match="boundary"):
        replace(settings, boundary="round").hamiltonian()
    assert 0 < annealing_session.disk().mean() < 1


def test_annealing_explorer_steps_runs_and_pauses():
    explorer = widgets.AnnealingExplorer(size=16)
    explorer.sweeps.value = 30
    before = explorer.image.value
    explorer.step()
    assert explorer.image.value != before and explorer.cooling.annealing.sweep == 1
    explorer.couplings["B"].value = 0.3
    assert explorer.cooling.annealing.sweep == 0 and explorer.cooling.H.B == 0.3, "a moved slider begins anew"

    async def watch():
        explorer.run()
        await asyncio.sleep(0.15)
        explorer.pause()
        await explorer.task
        paused = explorer.cooling.annealing.sweep
        assert 0 < paused < 30 and not explorer.playing
        explorer.run()
        await explorer.task
        assert explorer.cooling.done and explorer.cooling.annealing.sweep == 30
        explorer.run()  # from random spins again
        explorer.pause()
        await explorer.task

    asyncio.run(watch())
    assert "frames a second" in explorer.caption.value and not explorer.errors.outputs


def test_annealing_explorer_draws_a_mask_and_shows_errors():
    explorer = widgets.AnnealingExplorer(size=16)
    assert explorer.grid.layout.display == "none"
    explorer.boundary.value = "drawn"
    assert explorer.grid.layout.display == "" and explorer.cooling.H.mask.mean() == annealing_session.disk().mean()
    explorer.squares[0][0].value = not explorer.squares[0][0].value
    assert explorer.cooling.H.mask[0, 0] == explorer.squares[0][0].value
    with pytest.raises(ValueError, match="drawn"):
        for row in explorer.squares:
            for square in row:
                square.value = False
    assert "drawn" in explorer.errors.outputs[0]["evalue"]


def test_an_error_while_playing_is_shown_and_raised(monkeypatch):
    explorer = widgets.AnnealingExplorer(size=16)

    def broken():
        raise RuntimeError("no more")

    async def watch():
        explorer.run()
        monkeypatch.setattr(explorer.cooling, "step", broken)
        await explorer.task

    with pytest.raises(RuntimeError, match="no more"):
        asyncio.run(watch())
    assert explorer.errors.outputs[0]["evalue"] == "no more" and not explorer.playing


# Latent space -------------------------------------------------------------------------------------------------------

def test_principal_axes_are_those_of_the_means(model):
    spins = random_spins(40, 3, 16, 16)
    found = axes.principal_axes(model, spins, 3)
    with torch.no_grad():
        mu = model.encode(spins)[0].double()
    values, vectors = torch.linalg.eigh(torch.cov(mu.T))
    assert torch.allclose(found.widths.double() ** 2, values.flip(0)[:3], rtol=1e-4)
    overlap = (found.directions.double() * vectors.flip(1).T[:3]).sum(1).abs()
    assert torch.allclose(overlap, torch.ones(3, dtype=torch.float64), atol=1e-3)
    assert torch.allclose(found.share.double(), values.flip(0)[:3] / values.sum(), rtol=1e-4)
    z = torch.randn(8, generator=torch.Generator().manual_seed(1))
    moved = found.moved(z, 1, 2.5)
    assert found.coordinates(moved)[1] == pytest.approx(2.5, abs=1e-4)
    assert torch.allclose(found.coordinates(moved)[[0, 2]], found.coordinates(z)[[0, 2]], atol=1e-4)
    with pytest.raises(ValueError, match="n must be"):
        axes.principal_axes(model, spins[:2], 3)
    with pytest.raises(ValueError, match="do not differ"):
        axes.principal_axes(model, spins[:1].expand(9, -1, -1, -1), 3)


def test_without_an_encoder_the_axes_say_so(model):
    found, words = axes.axes_of(model, None, 2)
    assert "No training data" in words and found.share is None
    assert found.moved(torch.zeros(8), 1, 2.0).tolist() == [0, 2, 0, 0, 0, 0, 0, 0]
    bare = VAE(16, latent=8).eval()
    bare.encoder = NoEncoder()
    assert "No encoder" in axes.axes_of(bare, random_spins(9, 3, 16, 16), 2)[1]
    assert "principal axes" in axes.axes_of(model, random_spins(9, 3, 16, 16), 2)[1]


@pytest.fixture
def latent(model):
    return widgets.LatentExplorer(model, H, random_spins(40, 3, 16, 16), axes=3)


def test_latent_sliders_move_the_state(latent, model):
    for k, slider in enumerate(latent.sliders):
        before, others = latent.state, latent.axes.coordinates(latent.z)
        slider.value = 0.37 * (k + 1)
        now = latent.axes.coordinates(latent.z)
        assert not torch.equal(latent.state, before) and now[k] == pytest.approx(0.37 * (k + 1), abs=1e-3)
        rest = [i for i in range(3) if i != k]
        assert torch.allclose(now[rest], others[rest], atol=1e-3)
    with torch.no_grad():
        assert torch.equal(latent.state, model.decode(latent.z[None])[0])
    assert images.summary_line(images.summary(H, latent.state)) in latent.caption.value
    assert latent.image.value == images.png(images.sheet([[images.spin_picture(latent.state),
                                                               images.angle_picture(H, latent.state)]]))


def test_a_random_sample_takes_the_sliders_along(latent):
    latent.axes = replace(latent.axes, widths=latent.axes.widths / 100)  # so that it lies far outside their range
    latent.sample()
    places = latent.axes.coordinates(latent.z).tolist()
    assert max(map(abs, places)) > 3
    assert [slider.value for slider in latent.sliders] == pytest.approx(places, rel=1e-4)


def test_a_slider_that_answers_rounded_changes_nothing(latent):
    latent.relax()
    shown = latent.state
    for slider in latent.sliders:
        slider.value = round(slider.value / 0.05) * 0.05 + 1e-9
    assert latent.state is shown


def test_between_two_states(latent):
    assert latent.between.disabled
    latent.pick("A")
    start = latent.z
    latent.sample()
    latent.pick("B")
    end = latent.z
    assert not latent.between.disabled and not torch.equal(start, end)
    latent.between.value = 0.5
    assert torch.allclose(latent.z, (start + end) / 2, atol=1e-6)
    latent.between.value = 1.0
    assert torch.equal(latent.z, end)


def test_relaxed_states_are_at_rest(latent):
    latent.relax()
    assert float(H.torque(latent.state.double()).max()) < 2e-4 and latent.caption.value.startswith("relaxed")


def test_kept_states_can_be_saved(latent, tmp_path):
    latent.keep()
    latent.sample()
    latent.keep()
    assert len(latent.kept) == 2 and not torch.equal(*latent.kept) and latent.strip.layout.display == ""
    found = re.findall(r'download="(state_2(\.\w+))" href="data:application/octet-stream;base64,([^"]+)"',
                       latent.files.value)
    assert [suffix for _, suffix, _ in found] == list(download.SUFFIXES)
    for name, _, content in found:
        (tmp_path / name).write_bytes(base64.b64decode(content))
        assert torch.equal(load_state(tmp_path / name), latent.kept[1])


# What is trained ----------------------------------------------------------------------------------------------------

def test_nothing_at_hand_is_said(monkeypatch):
    monkeypatch.setenv("EVAE_RECORDED", "off")
    p = PRESETS["smoke"]
    for ask in (loaders.finished_sweeps, loaders.latent_network):
        with pytest.raises(RuntimeError, match="notebook 3"):
            ask(p)
    with pytest.raises(ValueError, match="gamma must be"):
        loaders.latent_network(p, gamma=3.0)


@pytest.fixture(scope="module")
def tiny():
    """A preset that trains in a second."""
    return replace(PRESETS["smoke"], size=16, train=20, validation=4, test=4, batch=4, sweeps=5, first_steps=2,
                   beta_steps=1, gamma_steps=1, samples=4, gammas=(1.0, 100.0, 1e4), seeds=1)


def test_the_sweep_explorer_shows_what_was_trained(tiny):
    from evae_companion.data_specs import data_spec
    from evae_companion.sweeps import train_sweeps
    from evae_core.training.stages import stage_schedule
    plans = [stage_schedule(tiny, beta) for beta in tiny.gamma_betas]
    runs = train_sweeps(plans, data_spec(tiny), device="cpu", workers=1)
    found = widgets.finished_sweeps(tiny)
    assert list(found) == ["β = 0.001", "β = 0.0001"] and [len(run) for run in found.values()] == [3, 3]
    explorer = widgets.SweepExplorer(found)
    assert explorer.places() == [1.0, 100.0, 1e4]
    drawn, losses = explorer.image.value, explorer.losses.value
    explorer.place.value = 100.0
    assert explorer.image.value != drawn and explorer.losses.value != losses and "gamma = 100" in explorer.caption.value
    drawn = explorer.image.value
    explorer.name.value = "β = 0.0001"
    assert explorer.image.value != drawn and explorer.place.value == 100.0
    drawn = explorer.image.value
    explorer.seed.value = 1
    assert explorer.image.value != drawn
    explorer.seed.value = 0
    state = runs[1][1].model()
    expected = state.generate(4, torch.Generator().manual_seed(0))
    assert torch.allclose(explorer.samples("β = 0.0001", 1, 0), expected, atol=1e-6)
    model, spins = widgets.latent_network(tiny)
    assert spins.shape == (20, 3, 16, 16) and not model.training
    (run,) = train_sweeps([stage_schedule(tiny)], data_spec(tiny), device="cpu")
    beta = widgets.SweepExplorer({"seed 0": run}, "beta")
    assert beta.places() == list(tiny.betas)
    assert words_of_still(explorer) == "Sliders at gamma = 1, gamma = 100, gamma = 10000"
    with pytest.raises(ValueError, match="along"):
        widgets.SweepExplorer(found, "delta")
    with pytest.raises(ValueError, match="sweeps"):
        widgets.SweepExplorer({})


def test_the_interpolation_explorer_walks_both_networks():
    k = np.arange(K_STEPS + 1)
    profile = {0.0: -2 - 0.1 * k / K_STEPS + 0.2 * np.exp(-(k - 80) ** 2 / 50),
               100.0: -2.05 - 0.1 * k / K_STEPS + 0.3 * np.exp(-(k - 120) ** 2 / 50)}
    asked = []

    def state(gamma, step):
        asked.append((gamma, step))
        return random_spins(3, 16, 16, seed=step)
    found = SimpleNamespace(profile=profile, energy={"lattice": -2.1}, frame=state)
    explorer = widgets.LatentInterpolationExplorer(found, H)
    assert asked == [(0.0, 80), (100.0, 120)] and (explorer.R.min, explorer.R.max) == (-80, 80)
    before = [image.value for image in (*explorer.images, explorer.energies)]
    explorer.R.value = 7
    assert asked[2:] == [(0.0, 87), (100.0, 127)]
    assert all(a != b.value for a, b in zip(before, (*explorer.images, explorer.energies), strict=True))
    assert "γ = 100" in explorer.captions[1].value
    assert words_of_still(explorer) == "Sliders at R = \N{MINUS SIGN}10, R = 0, R = 10"


def test_the_collapse_explorer_sets_seeds_side_by_side():
    gammas = np.array([1.0, 100.0, 1e4])
    twins = ["β = 0.001, seed 0", "β = 0.001, seed 1"]
    run = {"gamma": gammas, "kspace_mse": np.array([1e-1, 1e-2, 1e-7]),
           "energy_per_spin": np.array([-2.2, -2.21, -2.22])}
    found = SimpleNamespace(shown=(100.0, 1e4), twins=twins, runs=dict.fromkeys(twins, run),
                            states={name: random_spins(2, 2, 3, 16, 16, seed=k) for k, name in enumerate(twins)})
    fig = plotting.collapse_measure({"label": "one", "gamma": gammas, "mse": run["kspace_mse"],
                                     "energy": run["energy_per_spin"]})
    explorer = widgets.CollapseExplorer(found, H, fig)
    assert pixels_of(explorer.image).shape[:2] == (34, 34)
    before = explorer.image.value, explorer.curves.value
    assert "MSE 0.01" in explorer.caption.value
    explorer.gamma.value = 1e4
    assert explorer.image.value != before[0] and explorer.curves.value != before[1]
    assert explorer.caption.value.count("MSE 1e-07") == 2
    assert words_of_still(explorer) == "Sliders at gamma = 100, gamma = 10000"


def test_the_confined_explorer_shows_size_and_shape():
    def sample(kind, shape, size, **network):
        return Sample(kind, shape, size, -2.2, -3.0, 3, 1e-7, "annealed", -2.19, 0.25,
                      random_spins(3, *shape), **network)
    samples = [sample("square", (20, 20), 2.5), sample("square", (16, 16), 2.0, raw=-2.1, relaxed=-2.2,
                                                       relaxed_skyrmions=3, state=random_spins(3, 16, 16, seed=2)),
               sample("wire", (8, 32), 1.0, raw=-2.1, relaxed=-2.1, relaxed_skyrmions=2,
                      state=random_spins(3, 8, 32, seed=1))]
    explorer = widgets.ConfinedExplorer(samples)
    assert pixels_of(explorer.image).shape[:2] == (16, 35) and "the same state" in explorer.caption.value
    explorer.size.value = 0
    assert pixels_of(explorer.image).shape[:2] == (20, 20) and "no E-VAE" in explorer.caption.value
    assert words_of_still(explorer) == "Sliders at size = 16 sites, 2.00 a, size = 20 sites, 2.50 a"
    explorer.kind.value = "wire"
    assert pixels_of(explorer.image).shape[:2] == (19, 32) and "another state" in explorer.caption.value
    with pytest.raises(ValueError, match="samples"):
        widgets.ConfinedExplorer([])
