"""What every test gets: a store, figures and preset of its own, whatever the environment of the caller says."""

import os
import shutil

import pytest
from hypothesis import settings

# The machine's load must not decide about a test.
settings.register_profile("repository", deadline=None, print_blob=True)
settings.load_profile("repository")


@pytest.fixture(autouse=True)
def own_environment(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("EVAE_STORE", str(tmp_path_factory.mktemp("evae") / "store"))
    for name in ("EVAE_PRESET", "EVAE_FIGURES", "EVAE_RECORDED", "EVAE_PREVIEW",
                 "EVAE_REQUESTS", "EVAE_DEADLINE", "EVAE_PROGRESS", "MPLBACKEND"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def emulated_cupy(tmp_path_factory):
    """A stand-in for CuPy that runs the GPU's kernels on the CPU."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    from cuda_stand_in import build  # here: few tests need it, and it takes a second
    return build(tmp_path_factory.mktemp("kernels"))


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium; EVAE_CHROMIUM names one where Playwright's own is not installed."""
    from playwright.sync_api import sync_playwright  # make test-browser installs it; missing, it must not skip

    with sync_playwright() as playwright:
        chosen = os.environ.get("EVAE_CHROMIUM")
        started = playwright.chromium.launch(executable_path=chosen or None, args=["--no-sandbox"])
        yield started
        started.close()
