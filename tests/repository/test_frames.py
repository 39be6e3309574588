"""The site's sliders over recorded states: pictures of the right states, and a slider that shows them in a browser."""

import importlib
import json
import os
import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from evae_companion.presets import PRESETS
from evae_companion.widgets.images import spin_picture

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def frames():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "docs")
        yield importlib.import_module("frames")


@pytest.fixture(scope="module")
def made(frames, tmp_path_factory):
    """(sliders, folder, page)"""
    folder = tmp_path_factory.mktemp("site") / "frames"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVAE_STORE", str(folder / "store"))
        found = frames.sliders()
    page = folder.parent / "docs" / "SLIDERS.html"
    page.parent.mkdir()
    page.write_text("<meta charset='utf-8'>" + frames.write(found, folder), encoding="utf-8")
    return found, folder, page


def test_every_position_has_its_picture_and_words(made):
    found, folder, page = made
    boxes = re.findall(r'data-words="(.*?)">\n<img src="\.\./frames/(\w+)-0\.png" alt="(.*?)">.*?max="(\d+)"',
                       page.read_text(encoding="utf-8"), re.DOTALL)
    assert [name for _, name, _, _ in boxes] == [one.name for one in found] == ["gamma", "beta", "walk"]
    for (words, name, alt, last), one in zip(boxes, found, strict=True):
        words = json.loads(unescape(words))
        assert words == list(one.words) and unescape(alt) == words[0] and len(words) == len(one.rows) == int(last) + 1
        shapes = {imread(folder / f"{name}-{k}.png").shape for k in range(len(words))}
        assert len(shapes) == 1 and len(list(folder.glob(f"{name}-*.png"))) == len(words)
    assert not (folder / "store").exists(), "nothing is computed"


def test_pictures_are_those_of_the_record(made):
    (gamma, beta, walk), folder, _ = made
    p = PRESETS["desktop"]
    assert list(gamma.words)[-1] == f"γ = {p.gammas[-1]:g}" and list(beta.words) == [f"β = {b:g}" for b in p.betas]
    last = np.rint(255 * imread(folder / f"beta-{len(p.betas) - 1}.png")[..., :3]).astype(np.uint8)
    assert np.array_equal(last[:, -p.size:], spin_picture(beta.rows[-1][0][-1]))
    first, second = gamma.rows[-1]
    assert all((a - b).square().sum(0).mean() < 0.05 for a, b in zip(first[:2], second[:2], strict=True)), (
        "at the largest γ two latent vectors give one state in the trainings that have collapsed")
    assert "R = 0; charge" in "".join(walk.words)


@pytest.mark.skipif(not os.environ.get("EVAE_BROWSER"), reason="starts a browser: make test-browser")
def test_a_slider_shows_its_pictures(made, browser):
    found, _, address = made
    page = browser.new_page(viewport={"width": 390, "height": 800})
    wrong = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(address.as_uri())
    boxes = page.locator(".frames").all()
    assert len(boxes) == len(found)
    for box, one in zip(boxes, found, strict=True):
        slider, picture = box.locator("input"), box.locator("img")
        for k in (len(one.words) - 1, 1):
            slider.fill(str(k))
            assert picture.get_attribute("src").endswith(f"{one.name}-{k}.png")
            assert box.locator("output").inner_text() == picture.get_attribute("alt") == one.words[k]
            assert picture.evaluate("async image => { await image.decode(); return image.naturalWidth; }") > 100
    assert wrong == []
    page.close()
