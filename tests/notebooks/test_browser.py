"""A reader at the keyboard: JupyterLab on loopback, Chromium without a window, every notebook run, its sliders moved.

Run by ``make test-browser``; screenshots go to build/browser. EVAE_CHROMIUM names a Chromium where Playwright's own is
not installed. This drives the real front end: what companion/test_widgets.py shows of callbacks is seen here on screen.
"""

import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from evae_companion.io import load_state
from evae_companion.presets import load_preset
from evae_core import Hamiltonian

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "build" / "browser"
TESTED = ROOT / "build" / "test" / "store"  # what make test has trained, where it ran before
NAMES = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))
CELLS = 900_000  # ms for all cells of a notebook; the smoke preset takes well below a minute where nothing else runs
ANSWER = 60_000  # ms until a picture must have changed: the machine's load must not decide

if not os.environ.get("EVAE_BROWSER"):
    pytest.skip("starts a browser and takes minutes: make test-browser", allow_module_level=True)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """(address, token) of a JupyterLab on copies of the notebooks, at the smoke preset, with settings of its own."""
    home, token = tmp_path_factory.mktemp("lab"), secrets.token_hex(16)
    folder = home / "notebooks"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.ipynb").write_bytes((ROOT / "notebooks" / f"{name}.ipynb").read_bytes())
    chosen = home / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    chosen.parent.mkdir(parents=True)
    chosen.write_text('{"fetchNews": "false"}')  # else a question about news covers the page
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {f"JUPYTER_{kind}_DIR": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    environment = {**os.environ, **own, "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"), "EVAE_PRESET": "smoke",
                   "EVAE_STORE": str(TESTED if TESTED.is_dir() else OUT / "store"),
                   "EVAE_FIGURES": str(OUT / "figures"), "PYTHONPATH": str(ROOT),
                   "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces")}
    OUT.mkdir(parents=True, exist_ok=True)
    said = OUT / f"lab{os.environ.get('PYTEST_XDIST_WORKER', '')}.log"  # every worker has a JupyterLab of its own
    with said.open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--ServerApp.ip=127.0.0.1", "--allow-root",
             f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}",
             f"--ServerApp.root_dir={folder}", "--LabApp.expose_app_in_browser=True",
             "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"],
            env=environment, stdout=log, stderr=subprocess.STDOUT)
        address = f"http://127.0.0.1:{port}"
        try:
            for _ in range(1200):
                assert server.poll() is None, said.read_text()
                try:
                    urllib.request.urlopen(f"{address}/api?token={token}", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.1)
            yield address, token
        finally:
            server.terminate()
            server.wait(60)


@pytest.fixture
def opened(lab, browser, request):
    """The page of the notebook ``request.param`` after all its cells have run."""
    address, token = lab
    page = browser.new_page(viewport={"width": 1400, "height": 1000}, accept_downloads=True)
    page.set_default_timeout(ANSWER)
    page.goto(f"{address}/lab/tree/{request.param}.ipynb?token={token}&reset")
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=120_000)
    run_all(page)
    yield page
    page.evaluate("""async () => { const app = window.jupyterapp;
                     await app.commands.execute('docmanager:save').catch(() => null);
                     await app.serviceManager.sessions.shutdownAll(); }""")
    page.close()


def run_all(page) -> None:
    """Run > Run All Cells, and wait until none is left; fails where a cell does."""
    page.wait_for_function("""() => { const panel = window.jupyterapp?.shell.currentWidget;
        return panel?.sessionContext?.session?.kernel?.status === 'idle'; }""", timeout=300_000)
    page.evaluate("""async () => { const app = window.jupyterapp;
        app.shell.currentWidget.content.notebookConfig = {...app.shell.currentWidget.content.notebookConfig,
                                                          windowingMode: 'none'};
        window.allRun = undefined;
        app.commands.execute('notebook:run-all-cells').then(() => {window.allRun = true}); }""")
    page.wait_for_function("""() => { if (window.allRun === undefined) return false;
        const cells = [...window.jupyterapp.shell.currentWidget.content.model.cells].filter(c => c.type === 'code');
        return cells.every(c => c.executionCount !== null && c.executionState !== 'running'); }""", timeout=CELLS)
    assert errors(page) == []


def errors(page) -> list[str]:
    """Every error on the page: of cells, and those that explorers show."""
    shown = page.locator("[data-mime-type='application/vnd.jupyter.stderr']")  # so JupyterLab draws errors, too
    return [text for text in shown.all_inner_texts() if "Traceback" in text]


def explorers(page):
    """The explorers of the notebook on screen, in order."""
    return page.locator(".jp-Notebook .jp-OutputArea-output > .widget-vbox, "
                        ".jp-Notebook .jp-OutputArea-output .jupyter-widgets-view > .widget-vbox")


def pictures(explorer) -> list[str]:
    """The pictures of an explorer, as their addresses: a new picture has a new one."""
    return [image.get_attribute("src") for image in explorer.locator("img.widget-image").all()]


def answers(page, explorer, action) -> None:
    """Do ``action`` and wait until a picture of the explorer has changed to one that is drawn."""
    before = pictures(explorer)
    action()
    deadline = time.monotonic() + ANSWER / 1000
    while pictures(explorer) == before:
        assert time.monotonic() < deadline, f"no picture changed; errors: {errors(page)}"
        page.wait_for_timeout(50)
    page.wait_for_function("images => images.every(i => i.complete && i.naturalWidth > 8)",
                           arg=explorer.locator("img.widget-image:visible").element_handles())
    assert errors(page) == []


def move(explorer) -> None:
    """One key to the right, or to the left at the right end, on the first slider."""
    handle = explorer.locator(".noUi-handle").first
    handle.scroll_into_view_if_needed()
    at_end = handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemax")
    handle.focus()
    handle.press("ArrowLeft" if at_end else "ArrowRight")


@pytest.mark.parametrize("opened, name", [(name, name) for name in NAMES], indirect=["opened"], ids=NAMES)
def test_sliders_change_the_picture(opened, name):
    found = explorers(opened)
    assert found.count() >= 1
    for number in range(found.count()):
        explorer = found.nth(number)
        explorer.scroll_into_view_if_needed()
        answers(opened, explorer, lambda explorer=explorer: move(explorer))
        explorer.screenshot(path=OUT / f"{name}_{number + 1}.png")


@pytest.mark.parametrize("opened", ["01_dataset"], indirect=True)
def test_annealing_runs_by_itself(opened):
    explorer = explorers(opened).last
    press = {words: explorer.get_by_role("button", name=words, exact=True) for words in ("run", "pause", "step")}
    explorer.scroll_into_view_if_needed()
    answers(opened, explorer, press["step"].click)
    press["run"].click()
    seen, begin = set(), time.monotonic()
    while len(seen) < 20 and time.monotonic() < begin + ANSWER / 1000:
        seen.update(pictures(explorer))
        opened.wait_for_timeout(10)
    assert len(seen) >= 20, "the lattice does not move"
    press["pause"].click()
    explorer.get_by_text("frames a second").wait_for()
    print(explorer.get_by_text("frames a second").inner_text())
    explorer.screenshot(path=OUT / "annealing_paused.png")
    explorer.locator("select").last.select_option("drawn")  # DM type comes first, the boundary last
    square = explorer.locator("button.widget-toggle-button").first
    answers(opened, explorer, square.click)
    explorer.screenshot(path=OUT / "annealing_drawn.png")
    while (inside := explorer.locator("button.widget-toggle-button.mod-active")).count():
        inside.first.click()
    opened.wait_for_function("() => document.body.innerText.includes('drawn must hold at least one square')")
    assert len(errors(opened)) == 1, "an error of a callback is seen"
    explorer.screenshot(path=OUT / "annealing_error.png")


@pytest.mark.parametrize("opened", ["05_latent_interpolation"], indirect=True)
def test_latent_space_relaxes_keeps_and_saves(opened):
    explorer = explorers(opened).last

    def press(words):
        return explorer.get_by_role("button", name=words, exact=True)
    explorer.scroll_into_view_if_needed()
    press("this is A").click()
    answers(opened, explorer, press("random sample").click)
    press("this is B").click()
    answers(opened, explorer, press("relax it").click)
    explorer.get_by_text("relaxed: ").wait_for()
    answers(opened, explorer, press("keep it").click)
    for suffix in (".npy", ".ovf"):
        with opened.expect_download() as saved:
            explorer.get_by_text(f"state_1{suffix}").click()
        path = OUT / saved.value.suggested_filename
        saved.value.save_as(path)
        p = load_preset("smoke")
        torque = Hamiltonian(J=p.J, D=p.D, B=p.B).torque(load_state(path).double())
        assert path.suffix == suffix and torque.shape == (p.size, p.size) and float(torque.max()) < 1e-3
    explorer.screenshot(path=OUT / "latent_kept.png")
