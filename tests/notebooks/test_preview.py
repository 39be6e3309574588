"""Every notebook shown from a record of the run that ``make test`` has just made at the smallest preset."""

import os
from pathlib import Path

import nbformat
import pytest

from evae_companion import cli, places, publish
from evae_companion.cli import notebook_runner
from evae_companion.presets import PRESETS
from evae_companion.store.store import Store

ROOT = Path(__file__).resolve().parents[2]
RUN = os.environ.get("EVAE_TEST_RUN")


@pytest.mark.skipif(RUN is None, reason="make test sets EVAE_TEST_RUN, the folder of a run")
def test_every_notebook_is_shown_and_nothing_is_made(tmp_path, monkeypatch):
    run, smoke = Path(RUN or ""), PRESETS["smoke"]
    names = (run / "requests").read_text().split()
    paths = notebook_runner.sources(ROOT, [])
    monkeypatch.setenv(places.RECORDED, str(tmp_path / "records"))
    *_, total = publish.record(smoke, Store(run / "store"), run / "figures" / "smoke",
                               {path.stem: names for path in paths})
    assert float(total.split()[0]) < 15, total

    root = tmp_path / "root"
    root.mkdir()
    (root / "notebooks").symlink_to(ROOT / "notebooks")
    monkeypatch.setenv("EVAE_STORE", str(tmp_path / "empty"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    assert cli.main(["preview", "--preset", "smoke"], root) == 0
    assert not (tmp_path / "empty").exists()
    shown = root / "build" / "preview" / "smoke"
    assert {path.name for path in shown.glob("*.png")} == {path.name for path in (run / "figures/smoke").glob("*.png")}
    for path in (run / "figures" / "smoke" / "claims").rglob("*.json"):
        assert (shown / path.relative_to(run / "figures" / "smoke")).read_bytes() == path.read_bytes(), path.name
    assert (shown / "claims.md").read_text().startswith("**Recorded** on ")
    for path in paths:
        cells = nbformat.read(shown / path.name, as_version=4).cells
        assert not [o for c in cells for o in c.get("outputs", []) if o.output_type == "error"], path.stem
