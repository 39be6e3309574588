"""What every test gets: a store, figures and preset of its own, whatever the environment of the caller says."""

import pytest
from hypothesis import settings

# The machine's load must not decide about a test.
settings.register_profile("repository", deadline=None, print_blob=True)
settings.load_profile("repository")


@pytest.fixture(autouse=True)
def own_environment(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("EVAE_STORE", str(tmp_path_factory.mktemp("evae") / "store"))
    for name in ("EVAE_PRESET", "EVAE_FIGURES", "EVAE_RECORDED", "EVAE_DEADLINE", "MPLBACKEND"):
        monkeypatch.delenv(name, raising=False)
