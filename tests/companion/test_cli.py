"""The command line, on small notebooks in a folder of their own: order, presets, failures in plain words."""

import dataclasses
import io
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import nbformat
import pytest

from evae_companion import bundle, claims, places, trained
from evae_companion import cli as command
from evae_companion import training_plans as plans
from evae_companion.cli import notebook_runner
from evae_companion.cli.errors import human_size
from evae_companion.presets import PRESETS
from evae_companion.store import deadline, preview
from evae_companion.store.artifact import identity, manifest, meta_bytes
from evae_companion.store.serialization import write_json
from evae_companion.store.store import Store

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
LOOK = """import os
with open("seen.txt", "a") as file:
    print("{name}", preset, os.environ["EVAE_PRESET"], os.environ["MPLBACKEND"] != "Agg", sep=", ", file=file)
print("seen")"""


@pytest.fixture(autouse=True)
def trainings(monkeypatch):
    """The presets whose sweeps ``figures`` would train before the notebooks; only ``train`` does so here."""
    asked, real = [], bundle.train_all
    monkeypatch.setattr(bundle, "train_all", lambda name, *least: asked.append(name) if least else real(name))
    return asked


@pytest.fixture(autouse=True)
def figures(tmp_path, monkeypatch):
    """Figures of its own, and a card that only says where it looked."""
    monkeypatch.setenv("EVAE_FIGURES", str(tmp_path / "figures"))
    monkeypatch.setattr(claims, "card", lambda folder, small: f"# card of {folder.name}, {small=}\n")
    return tmp_path / "figures"


@pytest.fixture
def root(tmp_path):
    """A repository in a folder whose name is hard on whoever formats or splits it."""
    (tmp_path / "a {b} é" / "notebooks").mkdir(parents=True)
    return tmp_path / "a {b} é"


def notebook(root: Path, name: str, *cells: str, tag: str = "parameters", setting: str = 'preset = "laptop"') -> Path:
    nb = nbformat.v4.new_notebook(metadata={"kernelspec": KERNEL})
    nb.cells = [nbformat.v4.new_markdown_cell("# Title"),
                nbformat.v4.new_code_cell(setting, metadata={"tags": [tag]})]
    nb.cells += [nbformat.v4.new_code_cell(cell) for cell in cells or [LOOK.format(name=name)]]
    nbformat.write(nb, root / "notebooks" / f"{name}.ipynb")
    return root / "notebooks" / f"{name}.ipynb"


def outputs(path: Path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    return "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", []))


# figures ------------------------------------------------------------------------------------------------------------

def test_figures_in_order_into_build_with_the_preset(root, figures, monkeypatch, capsys):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("EVAE_PRESET", "paper")
    sources = [notebook(root, name) for name in ("02_second", "01_first", "10_tenth")]
    before = [path.read_bytes() for path in sources]
    notebook(root, "scratch")  # no number: not one of ours
    assert command.main(["figures", "--preset", "smoke", "--all"], root) == 0
    assert (root / "seen.txt").read_text().splitlines() == [
        f"{name}, smoke, smoke, True" for name in ("01_first", "02_second", "10_tenth")]
    assert [path.read_bytes() for path in sources] == before
    assert sorted(path.name for path in (root / "build" / "smoke").iterdir()) == [
        "01_first.ipynb", "02_second.ipynb", "10_tenth.ipynb"]
    assert outputs(root / "build" / "smoke" / "01_first.ipynb") == "seen\n"
    assert (figures / "smoke" / "claims.md").read_text() == "# card of smoke, small=True\n"
    said = capsys.readouterr().out
    assert "EVAE_PRESET is paper" in said and "MPLBACKEND=Agg is left out" in said and "# card of smoke" in said
    timed = [line.split()[0] for line in said.splitlines() if line.endswith(" s")]
    assert timed == ["01_first", "02_second", "10_tenth"]
    assert (os.environ["EVAE_PRESET"], os.environ["MPLBACKEND"]) == ("paper", "Agg")


@pytest.mark.parametrize("more, asked", [([], 1), (["--minutes", "9"], 1), (["--only", "1"], 0), (["--list"], 0)])
def test_all_sweeps_are_trained_before_the_notebooks_unless_some_are_chosen(root, trainings, more, asked):
    notebook(root, "01_first")
    assert command.main(["figures", "--preset", "laptop", *more], root) == 0
    assert trainings == ["laptop"] * asked


@pytest.mark.parametrize("preset, more, runs", [
    ("smoke", [], ["01_first"]), ("smoke", ["--all"], ["01_first", "08_eighth"]), ("desktop", [], ["01_first"]),
    ("desktop", ["--all"], ["01_first", "08_eighth"])])
def test_our_own_notebooks_are_run_on_request(root, capsys, preset, more, runs):
    for name in ("01_first", "08_eighth"):
        notebook(root, name)
    assert command.main(["figures", "--list", "--preset", preset, *more], root) == 0
    assert capsys.readouterr().out.split() == runs


def test_our_own_notebooks_are_run_at_a_smaller_preset_where_that_of_the_run_is_the_papers(root, trainings, figures):
    for name in ("08_eighth", "01_first"):
        notebook(root, name)
    assert command.main(["figures", "--all", "--preset", "desktop"], root) == 0
    assert (root / "seen.txt").read_text().splitlines() == ["01_first, desktop, desktop, True",
                                                            "08_eighth, laptop, laptop, True"]
    assert trainings == ["desktop", "laptop"] and all((figures / name / "claims.md").is_file() for name in trainings)


def test_one_deadline_and_one_run_for_both_presets(root, monkeypatch, capsys):
    """What a box completes at the first preset is not run again by the call that completes the second."""
    asked = []
    monkeypatch.setattr(deadline, "after", lambda minutes: asked.append(minutes) or f"{time.time()!r}+{seconds!r}")
    notebook(root, "01_first", LOOK.format(name="01_first"))
    own = notebook(root, "08_eighth", "import time\nfrom evae_companion.store import deadline\n"
                   "time.sleep(max(0, deadline.interval()[1] - time.time()) + 0.1)", CLIMB.format(first=0, seconds=0))
    seconds = 20.0
    argv = ["figures", "--all", "--preset", "desktop", "--minutes", "1"]
    assert command.main(argv, root) == 3 and asked == [1.0]
    assert "complete: no notebook yet; in 08_eighth: next is thing-" in capsys.readouterr().out
    notebook(root, own.stem, CLIMB.format(first=0, seconds=0))
    seconds = 300.0
    assert command.main(argv, root) == 0
    assert "01_first is complete" in capsys.readouterr().out and things() == [0, 1, 2]
    assert command.main(argv, root) == 0  # all complete: the next call is a new run
    assert (root / "seen.txt").read_text().count("01_first") == 2


def test_only_and_the_preset_of_the_environment(root, monkeypatch):
    for name in ("01_first", "06_sixth"):
        notebook(root, name)
    monkeypatch.setenv("EVAE_PRESET", "smoke")
    assert command.main(["figures", "--only", "6"], root) == 0
    assert (root / "seen.txt").read_text() == "06_sixth, smoke, smoke, True\n"


def test_a_failing_notebook_stops_in_plain_words(root, figures, capsys):
    notebook(root, "01_first")
    failing = "\nvalue = 2 * x\nraise ValueError(f'beta must be positive, got {value}')"
    notebook(root, "02_second", "x = 1", failing, "y = 1")
    notebook(root, "03_third")
    assert command.main(["figures", "--preset", "smoke"], root) == 1
    said = capsys.readouterr().err
    partial = root / "build" / "smoke" / "02_second.ipynb"
    assert "02_second.ipynb failed in code cell 3 ('value = 2 * x'): ValueError: beta must be positive, got 2" in said
    assert str(partial) in said and partial.is_file() and "Traceback" not in said
    assert len((root / "seen.txt").read_text().splitlines()) == 1 and not figures.exists()


def test_a_dead_kernel_is_said(root, capsys):
    notebook(root, "01_first", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    assert command.main(["figures", "--preset", "smoke"], root) == 1
    said = capsys.readouterr().err
    assert "01_first.ipynb failed in code cell 2 ('import os, signal'): the kernel died" in said


@pytest.mark.parametrize("changes", [{"tag": "parameter"}, {"setting": 'name = "laptop"'}])
def test_a_notebook_without_the_parameter_is_found_before_anything_runs(root, capsys, changes):
    notebook(root, "01_first")
    notebook(root, "02_second", **changes)
    assert command.main(["figures", "--preset", "smoke"], root) == 1
    assert '02_second.ipynb has no parameter "preset"' in capsys.readouterr().err
    assert not (root / "build").exists()


@pytest.mark.parametrize("text", ["", "{}", "not JSON", '{"cells": [], "nbformat": 4, "nbformat_minor": 5}'])
def test_what_is_no_notebook(root, capsys, text):
    (root / "notebooks" / "01_first.ipynb").write_text(text)
    assert command.main(["figures"], root) == 1
    assert "01_first.ipynb cannot be run" in capsys.readouterr().err


def test_missing_notebooks(root, tmp_path, capsys):
    assert command.main(["figures"], root) == 1 and "no notebooks" in capsys.readouterr().err
    assert command.main(["figures"], tmp_path / "nowhere") == 1 and "no notebooks" in capsys.readouterr().err
    (root / "notebooks" / "03_third.py").write_text("# %%\n")
    assert command.main(["figures"], root) == 1
    said = capsys.readouterr().err
    assert "03_third.ipynb is missing" in said and "evae notebooks --only 03" in said


def test_list(root, capsys):
    notebook(root, "02_second")
    (root / "notebooks" / "01_first.py").write_text("# %% [markdown]\n# # 1 · The first\n# text\n")
    assert command.main(["figures", "--list"], root) == 0
    assert capsys.readouterr().out == f"{'01_first':<26}1 · The first\n02_second\n"


@pytest.mark.parametrize("argv, environment, words", [
    (["figures", "--preset", "huge"], "", ["--preset must be one of", *PRESETS, "'huge'"]),
    (["claims", "--preset", "huge"], "", ["--preset must be one of", *PRESETS]),
    (["figures"], "huge", ["EVAE_PRESET must be one of", *PRESETS, "'huge'"]),
    (["figures", "--only", "1", "7", "x"], "", ["--only must be", "01, 02", "07, 0x"]),
    (["clean"], "", ["--yes"]),
    (["figures", "--minutes", "-1"], "", ["--minutes must be", "-1"]),
])
def test_a_wrong_command_line_is_2_and_names_the_choices(root, capsys, monkeypatch, argv, environment, words):
    monkeypatch.setenv("EVAE_PRESET", environment)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    notebook(root, "01_first")
    notebook(root, "02_second")
    Store().get({"kind": "thing"}, lambda folder: (folder / "a").write_text("a"))
    assert command.main(argv, root) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words)
    assert Store().size() > 0 and not (root / "build").exists()


@pytest.mark.parametrize("argv", [[], ["dance"], ["figures", "--only"], ["figures", "--color"]])
def test_argparse_refuses_the_rest(root, argv):
    with pytest.raises(SystemExit) as caught:
        command.main(argv, root)
    assert caught.value.code == 2


def test_stopped_by_hand(root, monkeypatch, capsys):
    def stop(*args):
        raise KeyboardInterrupt

    notebook(root, "01_first")
    monkeypatch.setattr(notebook_runner, "run", stop)
    assert command.main(["figures"], root) == 130 and "stopped" in capsys.readouterr().err


# Deadlines ----------------------------------------------------------------------------------------------------------

CLIMB = """import sys, time
from evae_companion.store.store import Store
for number in range({first}, {first} + 3):
    def make(folder):
        time.sleep({seconds})
        (folder / "a").write_text(str(number))
    path = Store().get({{"kind": "thing", "seed": number}}, make)
print(path.name)"""


def things() -> list[int]:
    found = (Store().meta({"kind": "thing", "seed": seed}) for seed in range(9))
    return [meta["spec"]["seed"] for meta in found if meta]


def test_no_minutes_make_nothing_and_the_next_call_goes_on(root, figures, capsys):
    notebook(root, "01_first", CLIMB.format(first=0, seconds=0))
    notebook(root, "02_second", CLIMB.format(first=3, seconds=0), LOOK.format(name="02_second"))
    assert command.main(["figures", "--preset", "smoke", "--minutes", "0"], root) == 3
    said = capsys.readouterr().out
    assert "made in this call: nothing" in said and "complete: no notebook yet; in 01_first" in said
    assert "the same command goes on" in said and things() == [] and not (root / "build").exists()
    assert not figures.exists() and "EVAE_DEADLINE" not in os.environ
    assert command.main(["figures", "--preset", "smoke", "--minutes", "5"], root) == 0
    assert "made in this call: 6 x thing" in capsys.readouterr().out and things() == list(range(6))
    assert (figures / "smoke" / "claims.md").is_file()


def test_a_box_ends_within_a_notebook(root, monkeypatch, capsys):
    """The second notebook's first artifact outlasts the deadline: it is kept, what follows is left to the next call."""
    monkeypatch.setattr(deadline, "after", lambda minutes: f"{time.time()!r}+{seconds!r}")
    notebook(root, "01_first", LOOK.format(name="01_first"))
    notebook(root, "02_second", "import time\nfrom evae_companion.store import deadline\n"
             "from evae_companion.store.store import Store\n"
             "Store().get({'kind': 'thing', 'seed': 0}, lambda f: "
             "(time.sleep(max(0, deadline.interval()[1] - time.time()) + 0.1), (f / 'a').write_text('a')))",
             CLIMB.format(first=1, seconds=0))
    notebook(root, "03_third")
    seconds = 20.0
    argv = ["figures", "--preset", "smoke", "--minutes", "1"]
    assert command.main(argv, root) == 3
    said = capsys.readouterr().out
    assert "complete: 01_first; in 02_second: next is thing-" in said and "(thing seed 1)" in said
    assert "made in this call: 1 x thing\n  thing seed 0" in said and things() == [0]
    notebook(root, "02_second", CLIMB.format(first=0, seconds=0))
    seconds = 300.0
    assert command.main(argv, root) == 0
    said = capsys.readouterr().out
    assert "01_first is complete" in said and things() == [0, 1, 2]
    assert (root / "seen.txt").read_text().count("01_first") == 1 and "03_third" in (root / "seen.txt").read_text()
    assert command.main(argv, root) == 0  # all complete: the next call is a new run
    assert (root / "seen.txt").read_text().count("01_first") == 2


def test_a_changed_notebook_is_not_taken_for_complete(root):
    for name in ("01_first", "02_second"):
        notebook(root, name, "from evae_companion.store.store import Store\n"
                 "Store().get({'kind': 'thing', 'seed': 0}, lambda f: (f / 'a').write_text('a'))"
                 if name == "02_second" else LOOK.format(name=name))
    (root / "build" / "smoke").mkdir(parents=True)
    done = root / "build" / "smoke" / "complete.json"
    done.write_text('{"01_first": "another", "07_other": "stamp"}')
    assert command.main(["figures", "--preset", "smoke", "--minutes", "5"], root) == 0
    assert "01_first" in (root / "seen.txt").read_text() and "07_other" in done.read_text()
    assert command.main(["figures", "--preset", "smoke"], root) == 0 and not done.exists()


def test_a_run_lists_what_its_notebooks_ask_for_and_reads_no_record(root, tmp_path, monkeypatch):
    look = "import os\nprint([os.environ.get('EVAE_' + name) for name in ('RECORDED', 'PREVIEW', 'DEADLINE')])"
    nested = """from evae_companion.store.store import Store
def inner(folder):
    (folder / "a").write_text("inner")
def outer(folder):
    Store().get({"kind": "inner"}, inner)
    (folder / "a").write_text("outer")
for time in (1, 2):
    Store().get({"kind": "outer"}, outer)"""
    notebook(root, "04_fourth", look, nested)
    monkeypatch.setenv("EVAE_RECORDED", str(tmp_path / "records"))
    monkeypatch.setenv("EVAE_PREVIEW", str(tmp_path / "records" / "smoke"))
    monkeypatch.setenv("EVAE_DEADLINE", deadline.after(0))
    for _ in range(2):
        assert command.main(["figures", "--preset", "smoke", "--only", "04"], root) == 0
        assert outputs(root / "build" / "smoke" / "04_fourth.ipynb") == "['off', None, None]\n"
        (asked,) = (root / "build" / "smoke" / "requests" / "04_fourth.txt").read_text().splitlines()
        assert asked == identity({"kind": "outer"})[1]
    notebook(root, "04_fourth", nested, "1 / 0")
    assert command.main(["figures", "--preset", "smoke", "--only", "04"], root) == 1
    assert not list((root / "build" / "smoke" / "requests").glob("*.txt")), "it has not asked for everything"


# preview ------------------------------------------------------------------------------------------------------------

ASK = """from evae_companion.store.store import Store
from evae_companion.places import figures_folder
from evae_companion.presets import load_preset
def make(folder):
    open("made.txt", "w").close()
print((Store().get({spec}, make) / "a").read_text(), figures_folder(load_preset()).name)"""


@pytest.fixture
def recorded(root, tmp_path, monkeypatch):
    """Records of two presets that hold one artifact each; of four notebooks the first two are recorded at one each."""
    for preset, name in (("desktop", "01_first"), ("laptop", "02_second")):
        place = tmp_path / "records" / preset
        spec = {"kind": "thing", "of": preset}
        Store(place / preview.ARTIFACTS).get(spec, lambda folder, preset=preset: (folder / "a").write_text(preset))
        write_json(place / "claims.json", [asdict(claims.Result("B1", (claims.Check("met", "1", True, 1.0),)))])
        index = {"spec": {"kind": "record"}, "files": manifest({"claims.json": place / "claims.json"}),
                 "entries": {}, "made": "2026-01-02T03:04:05Z", "notebooks": {name: [identity(spec)[1]]}}
        (place / "record.json").write_bytes(meta_bytes(index))
        notebook(root, name, ASK.format(spec=spec))
    notebook(root, "03_third", ASK.format(spec={"kind": "thing", "of": "nobody"}))
    monkeypatch.setenv("EVAE_RECORDED", str(tmp_path / "records"))
    yield tmp_path / "records"
    assert not Store().root.exists() and not (root / "made.txt").exists()


def test_a_preview_takes_each_notebook_from_its_record(root, recorded, figures, capsys):
    assert command.main(["preview"], root) == 0
    said = capsys.readouterr().out
    shown = root / "build" / "preview"
    assert outputs(shown / "desktop" / "01_first.ipynb") == "desktop desktop\n"
    assert outputs(shown / "laptop" / "02_second.ipynb") == "laptop laptop\n"
    assert "03_third is not recorded yet; to compute it: evae figures --preset desktop --only 03\n" in said
    assert "recorded at preset desktop on 2026-01-02: " in said
    for preset in ("desktop", "laptop"):
        card = (shown / preset / "claims.md").read_text()
        assert card.startswith(f"**Recorded** on 2026-01-02 at preset {preset} (")
        assert f"# card of {preset}, small={PRESETS[preset].small}" in card
        assert list(claims.load(shown / preset)) == ["B1"]
    assert not figures.exists() and not (root / "build" / "desktop").exists()


def test_a_preview_of_one_preset(root, recorded, capsys):
    assert command.main(["preview", "--preset", "laptop", "--only", "1", "2"], root) == 0
    said = capsys.readouterr().out
    assert "01_first is not recorded yet; to compute it: evae figures --preset laptop --only 01" in said
    assert "02_second" in said and "desktop" not in said
    assert command.main(["preview", "--preset", "smoke"], root) == 1
    assert "nothing is recorded of preset smoke in" in capsys.readouterr().err


def test_what_is_not_recorded_is_said_in_plain_words(root, recorded, capsys):
    notebook(root, "02_second", ASK.format(spec={"kind": "thing", "seed": 5}))
    assert command.main(["preview"], root) == 1
    said = capsys.readouterr().err
    assert "02_second.ipynb failed in code cell 2" in said and "thing seed 5 is not in the record" in said
    assert "evae figures --all --preset laptop computes it" in said


@pytest.mark.parametrize("damage, words", [
    (lambda place: next(place.glob("artifacts/thing-*/a")).write_text("desk-top"), "a has 8 bytes instead of 7;"),
    (lambda place: next(place.glob("artifacts/thing-*/a")).write_text("desktoq"), "another SHA-256"),
    (lambda place: next(place.glob("artifacts/thing-*/meta.json")).write_text("{}"), "meta.json is not readable"),
    (lambda place: shutil.rmtree(next(place.glob("artifacts/thing-*"))), "is missing; restore it from the repository"),
    (lambda place: (place / "record.json").write_text("{}"), "record.json is damaged; restore it from the repository"),
    (lambda place: (place / "claims.json").write_text("[]"), "claims.json has 2 bytes"),
])
def test_a_damaged_record_is_an_error(root, recorded, capsys, damage, words):
    damage(recorded / "desktop")
    assert command.main(["preview"], root) == 1
    said = capsys.readouterr().err
    assert words in said and "Traceback" not in said and str(recorded / "desktop") in said


# claims, clean, info ------------------------------------------------------------------------------------------------

def test_a_readers_run_stays_below_build(root, monkeypatch):
    """Without EVAE_FIGURES too; the committed figures and records are somebody else's."""
    monkeypatch.delenv("EVAE_FIGURES")
    monkeypatch.setattr(places, "repository", lambda: root)
    notebook(root, "01_first")
    assert command.main(["figures", "--preset", "smoke"], root) == 0
    assert (root / "build" / "smoke" / "figures" / "claims.md").read_text() == "# card of figures, small=True\n"
    assert not {path.name for path in root.iterdir()} & {"figures", "data"}


def test_claims(root, figures, capsys):
    assert command.main(["claims", "--preset", "smoke"], root) == 1
    assert "evae figures --preset smoke" in capsys.readouterr().err
    (figures / "desktop").mkdir(parents=True)
    assert command.main(["claims"], root) == 0
    assert "# card of desktop" in capsys.readouterr().out
    assert (figures / "desktop" / "claims.md").read_text() == "# card of desktop, small=False\n"


def test_clean_and_info(root, capsys, monkeypatch):
    artifacts = Store()
    folder = artifacts.get({"kind": "thing"}, lambda folder: (folder / "a").write_bytes(bytes(5000)))
    assert command.main(["info"], root) == 0
    said = capsys.readouterr().out
    assert str(artifacts.root) in said and "KiB" in said and "torch" in said and "preset          desktop" in said
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: "" if str(artifacts.root) in question else "y")
    assert command.main(["clean"], root) == 0 and "nothing removed" in capsys.readouterr().out
    assert artifacts.find({"kind": "thing"}) == folder
    assert command.main(["clean", "--yes"], root) == 0
    said = capsys.readouterr().out
    assert folder.name in said and "removed from" in said and artifacts.size() == 0
    assert command.main(["clean", "--yes"], root) == 0 and "holds no artifacts" in capsys.readouterr().out


@pytest.mark.parametrize("argv", [["preview"], ["figures"], ["notebooks"], ["publish"], ["search"]])
def test_what_needs_the_repository_says_so_without_a_traceback(tmp_path, monkeypatch, capsys, argv):
    monkeypatch.setattr(places, "PACKAGES", tmp_path / "site-packages")
    assert command.main(argv) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"evae {argv[0]} needs the repository" in line and "clone" in line
    assert command.main(["info"]) == 0


@pytest.mark.parametrize("count, words", [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 * 2**30, "3.0 GiB"),
                                          (5 * 2**40, "5120.0 GiB")])
def test_sizes_in_words(count, words):
    assert human_size(count) == words


# notebooks ----------------------------------------------------------------------------------------------------------

SOURCE = '''# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Title

# %% tags=["parameters"]
preset = "laptop"

# %%
import os
print(preset, os.environ["EVAE_PRESET"], os.path.basename(os.getcwd()))
'''


def test_notebooks_are_made_from_their_sources(root, monkeypatch, capsys):
    monkeypatch.setenv("EVAE_PRESET", "smoke")  # committed notebooks are at their own presets all the same
    source, target = root / "notebooks" / "01_first.py", root / "notebooks" / "01_first.ipynb"
    source.write_text(SOURCE)
    own = root / "notebooks" / "08_eighth.py"
    own.write_text(SOURCE)
    assert command.main(["notebooks"], root) == 0
    first = nbformat.read(target, as_version=4)
    nbformat.validate(first)
    assert [cell.cell_type for cell in first.cells] == ["markdown", "code", "code"]  # no injected parameters
    assert outputs(own.with_suffix(".ipynb")) == f"laptop laptop {root.name}\n", "one of ours"
    own.unlink()
    own.with_suffix(".ipynb").unlink()
    assert outputs(target) == f"laptop desktop {root.name}\n" and first.cells[1].metadata.tags == ["parameters"]
    assert not {"papermill", "widgets"} & set(first.metadata)
    assert all(not {"papermill", "execution"} & set(cell.metadata) for cell in first.cells)
    assert str(root) not in target.read_text() and source.read_text() == SOURCE

    source.write_text(SOURCE + "\n# %%\nprint('more')\n")
    assert command.main(["notebooks", "--only", "01"], root) == 0
    second = nbformat.read(target, as_version=4)
    assert [cell.id for cell in second.cells[:3]] == [cell.id for cell in first.cells] and len(second.cells) == 4
    assert outputs(target) == f"laptop desktop {root.name}\nmore\n"

    assert command.main(["notebooks", "--preset", "paper", "--only", "01"], root) == 0
    assert outputs(target) == f"laptop paper {root.name}\nmore\n"

    executed = target.read_bytes()
    source.write_text(SOURCE + "\n# %%\n1 / 0\n")
    assert command.main(["notebooks"], root) == 1
    said = capsys.readouterr().err
    assert "failed in code cell 3 ('1 / 0'): ZeroDivisionError" in said and target.read_bytes() == executed


def test_notebooks_from_the_record(root):
    """--recorded: a kernel that shows the record of its preset and makes nothing; without it, one that reads none."""
    source, target = root / "notebooks" / "01_first.py", root / "notebooks" / "01_first.ipynb"
    source.write_text(SOURCE.replace('os.environ["EVAE_PRESET"]', 'os.environ.get("EVAE_PREVIEW")'))
    assert command.main(["notebooks", "--recorded"], root) == 0
    assert outputs(target) == f"laptop {root / 'data' / 'recorded' / 'desktop'} {root.name}\n"
    assert command.main(["notebooks"], root) == 0 and outputs(target) == f"laptop None {root.name}\n"


def test_a_notebook_without_a_source(root, capsys):
    notebook(root, "01_first")
    assert command.main(["notebooks"], root) == 1 and "has no source 01_first.py" in capsys.readouterr().err


# Starting up --------------------------------------------------------------------------------------------------------

def test_help_needs_no_heavy_import():
    code = ("import sys\nfrom evae_companion.cli import main\ntry:\n    main(['--help'])\nfinally:\n"
            "    heavy = {'torch', 'numba', 'papermill', 'matplotlib', 'nbformat'} & set(sys.modules)\n"
            "    print(sorted(heavy), file=sys.stderr)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stderr == "[]\n" and "--minutes" not in done.stdout


def test_python_dash_m():
    done = subprocess.run([Path(sys.executable).with_name("evae"), "--help"], capture_output=True, text=True,
                          timeout=120,
                          cwd=Path(command.__file__).parents[2])
    assert done.returncode == 0 and "figures" in done.stdout and done.stderr == ""


def test_train_makes_every_stage_in_boxes_and_without_notebooks(root, monkeypatch, tmp_path, capsys):
    """No deadline: all stages; one of no minutes: none, and exit code 3; again: nothing is left to do."""
    tiny = dataclasses.replace(PRESETS["smoke"], size=16, train=24, validation=4, test=4, sweeps=5, batch=8,
                               first_steps=2, beta_steps=2, gamma_steps=2, betas=(1e-4, 1e-3),
                               gammas=(1.0, 1e3), confined=((16, 16),), confined_train=10, confined_steps=2)
    monkeypatch.setitem(PRESETS, "smoke", tiny)
    monkeypatch.setenv("EVAE_STORE", str(tmp_path / "store"))
    assert command.main(["train", "--preset", "smoke", "--minutes", "0"], root) == 3
    assert "the same command goes on" in capsys.readouterr().out
    todo = [(ladder[-1], data) for ladder, data in plans.ladders(tiny).values()]
    stages = set()
    for stage, data in todo:  # grows: parents too
        stages.add(identity(trained.stage_spec(stage, data))[1])
        todo += [(stage.parent, data)] if stage.parent else []
    assert not stages & Store().names()
    assert command.main(["train", "--preset", "smoke"], root) == 0
    assert stages <= Store().names()
    assert f"{len(stages)} x stage" in capsys.readouterr().out.replace("made in this call: ", "")
    assert command.main(["train", "--preset", "smoke"], root) == 0
    assert "made in this call: nothing" in capsys.readouterr().out
