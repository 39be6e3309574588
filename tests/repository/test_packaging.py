"""What holds the repository together: versions, environments, who may import whom, the notebooks' two forms, make."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from importlib import metadata
from pathlib import Path

import grimp
import jupytext
import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import evae_core

ROOT = Path(__file__).parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = SETTINGS["project"]
EXTRAS = PROJECT["optional-dependencies"]
LINES = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
PINS = [line.removesuffix(" \\") for line in LINES if not line.startswith(" ")]
LOCK = {canonicalize_name(name): version for name, version in (line.split("==") for line in PINS)}

LOCKED = ("companion", "deepspin", "test", "book")  # the extras that requirements.lock and the conda environments hold

# Packages under another name at conda-forge, and what an environment needs there besides.
CONDA = {"torch": "pytorch", "matplotlib": "matplotlib-base", "cupy-cuda13x": "cupy",
         "vesin": "python-vesin"}
CONDA_EXTRA = {"python": PROJECT["requires-python"], "pip": "", "setuptools": ">=77"}
# What torch brings along for CUDA on Linux: it pins those itself.
UNPINNED = re.compile(r"nvidia-.*|cuda-.*|triton")


# Versions -----------------------------------------------------------------------------------------------------------

def wanted(*extras: str) -> list[Requirement]:
    return [Requirement(text) for text in [*PROJECT["dependencies"], *(t for extra in extras for t in EXTRAS[extra])]]


def test_lock_is_plain_exact_pins():
    """No address, path, build tag or marker: the file must mean the same everywhere. And no pin without a hash."""
    assert all(re.fullmatch(r"(    --hash=sha256:[0-9a-f]{64}|[^ ]+==[^ ]+)( \\)?", line) for line in LINES)
    assert not LINES[-1].endswith("\\")
    for line, after in zip(LINES, [*LINES[1:], "end"], strict=True):
        assert line.endswith(" \\") is after.startswith("    --hash"), f"{line}: every pin has a hash"
    assert not [line for line in LINES if line in PINS], "a pin without a hash"
    assert len(PINS) > 50 and all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.]*", line) for line in PINS)
    assert len(LOCK) == len(PINS) and not [name for name in LOCK if UNPINNED.fullmatch(name)]


def test_the_cpu_build_is_the_same_torch():
    pin, hash_ = (ROOT / "requirements-cpu.lock").read_text().splitlines()[-2:]
    assert pin == f"torch=={LOCK['torch']} \\" and re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}", hash_)


def test_lock_is_within_the_ranges():
    for requirement in wanted(*LOCKED):
        assert LOCK[canonicalize_name(requirement.name)] in requirement.specifier, requirement
    (backend,) = (Requirement(text) for text in SETTINGS["build-system"]["requires"])
    assert LOCK[backend.name] in backend.specifier  # the Makefile installs this package without build isolation


def closure() -> set[str]:
    """All that pyproject's packages and the locked extras need on Linux and Python 3.11, as the installed ones say."""
    platform = {"python_version": "3.11", "python_full_version": "3.11.0", "implementation_name": "cpython",
                "platform_python_implementation": "CPython", "sys_platform": "linux", "platform_system": "Linux",
                "os_name": "posix"}
    found, todo = set(), [(requirement.name, frozenset(requirement.extras)) for requirement in wanted(*LOCKED)]
    while todo:
        name, extras = todo.pop()
        if (canonicalize_name(name), extras) in found or UNPINNED.fullmatch(canonicalize_name(name)):
            continue
        found.add((canonicalize_name(name), extras))
        for text in metadata.requires(name) or []:
            need = Requirement(text)
            if need.marker is None or any(need.marker.evaluate({**platform, "extra": e}) for e in (extras or {""})):
                todo.append((need.name, frozenset(need.extras)))
    return {name for name, _ in found}


made_by_make = pytest.mark.skipif(not (Path(sys.prefix) / ".ready").is_file(),
                                  reason="this environment was not built from the lock by make")


@made_by_make
def test_lock_holds_all_that_is_needed_and_nothing_else():
    assert closure() | {"setuptools"} == set(LOCK)


@made_by_make
def test_lock_is_what_the_tests_run_with():
    """A version of its own would make the lock a promise that nobody tried. Build tags (+cpu) are no difference."""
    installed = {name: metadata.version(name).split("+")[0] for name in LOCK}
    assert {name: version for name, version in installed.items() if LOCK[name] != version} == {}


def test_one_cupy():
    """Two cupy packages overwrite each other's files."""
    named = [text for texts in (PROJECT["dependencies"], *EXTRAS.values()) for text in texts if "cupy" in text]
    assert len(named) == 1 and not [name for name in LOCK if "cupy" in name]


@pytest.mark.parametrize("file, extras", [("environment.yml", LOCKED), ("environment-gpu.yml", (*LOCKED, "gpu"))])
def test_conda_environment_is_pyproject(file, extras):
    environment = yaml.safe_load((ROOT / file).read_text())
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    listed = {}
    for text in environment["dependencies"]:
        assert isinstance(text, str), f"{text}: a pip section is not needed"
        name, _, ranges = text.partition(" ")
        listed[name] = SpecifierSet(ranges)
    expected = {name: SpecifierSet(ranges) for name, ranges in CONDA_EXTRA.items()}
    expected |= {CONDA.get(r.name, r.name): r.specifier for r in wanted(*extras)}
    assert listed == expected and len(listed) == len(environment["dependencies"])


def test_citation_and_license():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)  # what CFF 1.2.0 requires
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    assert citation["version"] == PROJECT["version"] and citation["license"] == PROJECT["license"] == "MIT"
    (paper,) = citation["references"]
    assert {"type", "title", "authors"} <= set(paper) and paper["year"] == 2021
    assert [author["family-names"] for author in paper["authors"]] == ["Kwon", "Yoon", "Park", "Lee", "Choi", "Won"]
    text = (ROOT / "LICENSE").read_text()
    assert text.startswith("MIT License") and citation["authors"][0]["name"] in text
    assert PROJECT["authors"][0]["name"] == citation["authors"][0]["name"]


@pytest.mark.parametrize("package", ["evae_core", "evae_companion"])
def test_kernels_and_every_package_are_shipped(package):
    """What a built package must hold: every folder with code, and the CUDA source beside it."""
    settings = SETTINGS["tool"]["setuptools"]
    assert f"{package}*" in settings["packages"]["find"]["include"]
    for folder in {path.parent for path in (ROOT / package).rglob("*.py")}:
        assert (folder / "__init__.py").is_file(), f"{folder} has no __init__.py"
    files = [path for path in (ROOT / package).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    data = {Path(pattern).suffix for pattern in settings["package-data"][package]}
    assert {path.suffix for path in files} <= {".py"} | data


# Who may import whom ------------------------------------------------------------------------------------------------

# Packages that few may import; who may not import whom of ours stands in pyproject.toml.
ONLY = {"matplotlib": {"plotting", "widgets", "deepspin", "peace"}, "ipywidgets": {"widgets"}, "IPython": {"widgets"},
        "cupy": {"annealing"}, "papermill": {"cli"}, "nbclient": {"cli"}, "nbformat": {"cli"}, "jupytext": {"cli"},
        "pytest": set(), "hypothesis": set()}


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph("evae_core", "evae_companion", include_external_packages=True,
                             exclude_type_checking_imports=True, cache_dir=None)


def test_layers():
    """The contracts of pyproject.toml: the companion on the core, and the layers within each."""
    done = subprocess.run([sys.executable, "-c", "from importlinter.cli import lint_imports_command as main; main()",
                           "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout


def test_few_may_import_what_draws_and_runs(graph):
    for package, users in ONLY.items():
        if package in graph.modules:
            found = {name.split(".")[1] for name in graph.find_modules_that_directly_import(package)}
            assert found <= users, f"{package} is imported in {found - users}"


@pytest.mark.parametrize("inside, most", [("evae_core", 8), ("evae_", 12)])
def test_chains_of_imports_are_short_and_run_in_no_circle(graph, inside, most):
    below = {name: {other for other in graph.find_modules_directly_imported_by(name) if other.startswith(inside)}
             for name in graph.modules if name.startswith(inside)}
    length = {}
    for name in TopologicalSorter(below).static_order():  # raises where there is a circle
        length[name] = 1 + max((length[other] for other in below[name]), default=0)
    longest = max(length, key=length.get)
    assert length[longest] <= most, f"{longest} stands on a chain of {length[longest]} modules"


def test_the_core_is_small():
    entries = [path for path in (ROOT / "evae_core").iterdir() if path.name != "__pycache__"]
    assert len(entries) <= 16
    other = {"kernels.py", "general_lattice.py", "fused"}  # kernels, and the passes in C++
    lines = sum(len(path.read_text().splitlines()) for path in (ROOT / "evae_core").rglob("*.py")
                if not other & {path.name, path.parent.name})
    assert lines <= 4400


@pytest.mark.parametrize("module", ["evae_core", "evae_core.training", "evae_core.textures"])
def test_importing_the_core_draws_nothing_and_stores_nothing(module):
    code = (f"import sys; from {module} import *; assert 'torch' in sys.modules; "
            "print({'matplotlib', 'ipywidgets', 'papermill', 'IPython', 'evae_companion'} & set(sys.modules))")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "set()", done.stderr


def test_public_names():
    """Every name is where __init__ says, and is found by attribute, by import and by dir()."""
    for name in evae_core.__all__:
        value = getattr(evae_core, name)
        assert value.__module__.startswith("evae_core.") and name in dir(evae_core)
    assert set(evae_core.__all__) == set(evae_core._HOME)
    assert evae_core.model.VAE is evae_core.VAE
    with pytest.raises(AttributeError, match="dance"):
        evae_core.dance  # noqa: B018


# Notebooks ----------------------------------------------------------------------------------------------------------

def cells(notebook) -> list[tuple]:
    return [(cell.cell_type, cell.source, cell.metadata.get("tags", [])) for cell in notebook.cells]


def test_notebooks_are_their_sources():
    """The committed .ipynb holds the cells of the .py, was executed to the end, and carries no widget state."""
    folder = ROOT / "notebooks"
    sources, targets = ({path.stem for path in folder.glob(f"[0-9][0-9]_*.{ext}")} for ext in ("py", "ipynb"))
    assert sources == targets
    for stem in sorted(sources):
        notebook = nbformat.read(folder / f"{stem}.ipynb", as_version=4)
        assert cells(notebook) == cells(jupytext.read(folder / f"{stem}.py")), f"{stem}: run make notebooks"
        assert notebook.metadata.kernelspec.name == "python3" and "widgets" not in notebook.metadata
        code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
        assert all(cell.execution_count for cell in code), f"{stem} was not executed to its end: run make notebooks"
        assert not [o for cell in code for o in cell.outputs if o.output_type == "error"]
        assert str(ROOT) not in (folder / f"{stem}.ipynb").read_text(), f"{stem} names a folder of this machine"


# The build ----------------------------------------------------------------------------------------------------------

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make on this machine")

# Stands for python: notes its arguments, makes an environment that holds itself, fails where FAIL names an argument.
FAKE = """#!/bin/sh
echo "$@" >> log
case "$*" in -c*) [ -z "$OLD" ] || { echo "Python 3.11 or newer is needed" >&2; exit 1; };; esac
case "$*" in *"$FAIL"*) exit 1;; esac
case "$*" in "-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python && cp "$0" .venv/bin/evae;; esac
"""


@pytest.fixture
def build(tmp_path):
    """Runs make with a python that only takes notes, in a path that is hard on make; returns (code, output, log)."""
    folder = tmp_path / "a folder's $name (é)"
    folder.mkdir()
    for name in ("Makefile", "requirements.lock", "requirements-cpu.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    fake = folder / "python3"
    fake.write_text(FAKE)
    fake.chmod(0o755)

    def run(*arguments, **environment):
        (folder / "log").write_text("")
        plain = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS", "EVAE"))}
        done = subprocess.run(["make", "PYTHON=./python3", *arguments], cwd=folder, capture_output=True, text=True,
                              env={**plain, "FAIL": "nothing", "OLD": "", **environment}, timeout=60)
        return done.returncode, done.stdout + done.stderr, (folder / "log").read_text().splitlines()

    run.folder = folder
    return run


@needs_make
def test_make_builds_the_environment_once(build):
    code, said, log = build(".venv")
    assert code == 0 and [line for line in log if "install" in line] == [
        "-m pip --disable-pip-version-check install --quiet --require-hashes --no-deps --no-index --requirement "
        "requirements-cpu.lock",
        "-m pip --disable-pip-version-check install --quiet --require-hashes --no-deps --requirement requirements.lock",
        "-m pip --disable-pip-version-check install --quiet --no-build-isolation --editable "
        ".[companion,deepspin,test,book]"]
    assert build(".venv")[::2] == (0, [])
    assert build("figures")[::2] == (0, ["figures --preset desktop"])
    assert build("figures", EVAE_PRESET="smoke")[2] == ["figures --preset smoke"]
    assert build("figures", "PRESET=paper", EVAE_PRESET="smoke")[2] == ["figures --preset paper"]
    assert build("figures-all", EVAE_PRESET="smoke")[2] == ["figures --all --preset smoke"]
    assert build("preview")[2] == build("preview", EVAE_PRESET="smoke")[2] == ["preview"]
    for asked in (build("preview", "PRESET=desktop"), build("preview", PRESET="desktop")):
        assert asked[2] == ["preview --preset desktop"]
    assert build("publish", EVAE_PRESET="smoke")[2] == ["publish --preset smoke"]


@needs_make
@pytest.mark.parametrize("file", ["requirements.lock", "pyproject.toml"])
def test_make_builds_a_stale_environment_anew(build, file):
    build(".venv")
    later = (build.folder / ".venv" / ".ready").stat().st_mtime + 5
    os.utime(build.folder / file, (later, later))
    assert "-m venv --clear .venv" in build("lint")[2]


@needs_make
@pytest.mark.parametrize("step", ["-m venv", "--requirement", "--editable"])
def test_an_interrupted_environment_is_never_ready(build, step):
    build(".venv")
    later = (build.folder / ".venv" / ".ready").stat().st_mtime + 5
    os.utime(build.folder / "requirements.lock", (later, later))
    code, _, log = build("figures", FAIL=step)
    assert code != 0 and "figures" not in " ".join(log) and not (build.folder / ".venv" / ".ready").exists()
    code, _, log = build("figures")
    assert code == 0 and "-m venv --clear .venv" in log and log[-1] == "figures --preset desktop"


@needs_make
def test_make_says_which_python_it_needs(build):
    code, said, log = build(".venv", OLD="1")
    assert code != 0 and "3.11" in said and not [line for line in log if "venv" in line]
    code, said, _ = build(".venv", "PYTHON=python-that-is-not")
    assert code != 0 and "python-that-is-not is not found" in said and "make PYTHON=" in said


@needs_make
@pytest.mark.parametrize("target, commands", [
    ("test", ["-m ruff check", "-m pytest -q", "-m mypy", "-m pytest --doctest-modules", "-m pytest -n 2",
              "-m pytest tests/notebooks/test_preview.py"]),
    ("lab", ["-m jupyter lab"]),
    ("notebooks", ["notebooks"]),
    ("clean", ["clean"]), ("lint", ["-m ruff check", "-m pytest"]),
    ("bench", ["benchmarks/report.py"]), ("playground", ["docs/playground/build.py"]),
    ("book", ["docs/playground/build.py", "-m sphinx"]),
    ("report", ["-m pip", "docs/report/report.py"]),
    ("test-portable", ["-m pytest --doctest-modules", "-m pytest"]),
    ("test-browser", ["-m pip", "-m playwright install", "-m pytest"]),
])
def test_make_targets(build, target, commands):
    (build.folder / "notebooks").mkdir()
    build(".venv")
    code, said, log = build(target)
    assert code == 0, said
    assert len(log) == len(commands)
    assert all(line.startswith(command) for line, command in zip(log, commands, strict=True))
    assert build("clean", "YES=1")[2] == ["clean --yes"]


@needs_make
@pytest.mark.parametrize("step", ["-m ruff", "-m mypy", "evae_core", "nbval"])
def test_make_test_fails_where_a_part_fails(build, step):
    build(".venv")
    assert build("test", FAIL=step)[0] != 0


def test_python_in_the_makefile_is_the_projects():
    (version,) = re.findall(r"version_info >= \((\d+, \d+)\)", (ROOT / "Makefile").read_text())
    assert PROJECT["requires-python"] == ">=" + version.replace(", ", ".")


def test_ci_runs_the_readers_test_command():
    script = ROOT / ".ci" / "run"
    lines = script.read_text().splitlines()
    # On a line of its own after "set -eu": what fails there ends the script.
    assert os.access(script, os.X_OK) and lines.index("set -eu") < lines.index("make test")


# Contributors, and launching elsewhere ------------------------------------------------------------------------------

def test_hooks_use_the_environments_own_tools_and_pair_notebooks(tmp_path):
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local" and all(hook["language"] == "system" for hook in repository["hooks"])
    entries = {hook["id"]: hook for hook in repository["hooks"]}
    assert all(hook["entry"].startswith(".venv/bin/python -m ") for hook in entries.values())
    names = [path.relative_to(ROOT).as_posix() for path in (ROOT / "notebooks").iterdir()]
    paired = [name for name in names if re.search(entries["pair"]["files"], name)]
    assert sorted(paired) == sorted(name for name in names if name.endswith(".py")) and len(paired) >= 7
    # The hook's own command, on a copy: outputs stay where the cell is as it was, and go where it was changed.
    for name in ("02_beta_sweep.py", "02_beta_sweep.ipynb", "jupytext.toml"):
        shutil.copy(ROOT / "notebooks" / name, tmp_path)
    source = tmp_path / "02_beta_sweep.py"
    source.write_text(source.read_text() + "\n# %%\nprint('a new cell')\n")
    command = [sys.executable, *entries["pair"]["entry"].split()[1:], str(source)]
    subprocess.run(command, check=True, capture_output=True, timeout=100)
    notebook = nbformat.read(tmp_path / "02_beta_sweep.ipynb", as_version=4)
    assert notebook.cells[-1].source == "print('a new cell')" and not notebook.cells[-1].outputs
    before = nbformat.read(ROOT / "notebooks" / "02_beta_sweep.ipynb", as_version=4)
    assert [cell.get("outputs") for cell in notebook.cells[:-1]] == [cell.get("outputs") for cell in before.cells]


def test_binder_gets_the_conda_environment_and_this_package():
    assert (ROOT / ".binder" / "environment.yml").resolve() == ROOT / "environment.yml"
    script = ROOT / ".binder" / "postBuild"
    assert os.access(script, os.X_OK) and "pip install --no-deps --no-build-isolation -e ." in script.read_text()
