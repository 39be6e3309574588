"""The contract of the notebooks, read from the files; that they run is tested by nbval (make test)."""

import ast
import re
from pathlib import Path

import jupytext
import nbformat
import papermill
import pytest

from evae_companion import claims
from evae_companion.cli.errors import DEFAULT_PRESET, OWN_PRESET

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
CLAIMING = ["01_dataset", "02_beta_sweep", "03_gamma_sweep", "04_noise_reduction", "05_latent_interpolation",
            "06_collapse", "07_confined_geometries"]  # those that measure the paper's claims
PAPER = sorted(["00_start_here", "01_network_and_loss", *CLAIMING])
NAMES = [*PAPER, "08_ground_state", "09_sample_quality",
         "10_where_it_collapses", "11_your_own_system", "12_deepspin", "13_peace",
         "14_phase_diagram"]


@pytest.fixture(params=NAMES)
def source(request):
    return jupytext.read(FOLDER / f"{request.param}.py")


def test_all_are_there():
    assert sorted(path.stem for path in FOLDER.glob("[0-9]*.py")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_papermill_sees_the_parameters(name):
    preset = DEFAULT_PRESET if name in PAPER else OWN_PRESET
    found = papermill.inspect_notebook(str(FOLDER / f"{name}.ipynb"))
    assert {"preset", "device"} <= set(found) and found["preset"]["default"] == f'"{preset}"'


def test_one_parameters_cell_of_plain_constants(source):
    (cell,) = [c for c in source.cells if "parameters" in c.metadata.get("tags", [])]
    for statement in ast.parse(cell.source).body:
        assert isinstance(statement, ast.Assign)
        assert isinstance(ast.literal_eval(statement.value), (int, float, str, bool, list, dict))


def test_kernel_is_python3(source):
    assert source.metadata.kernelspec.name == "python3"


def test_nbval_compares_something(source):
    marked = [c for c in source.cells if c.cell_type == "code" and c.source.startswith("# NBVAL_CHECK_OUTPUT")]
    assert marked and all("print(" in c.source for c in marked)


def test_a_static_figure_comes_before_the_widget(source):
    code = [c.source for c in source.cells if c.cell_type == "code"]
    widget = [k for k, text in enumerate(code) if re.search(r"^widgets\.\w*[eE]xplorer\(", text, re.M)]
    figures = [k for k, text in enumerate(code) if "plotting.save(" in text]
    assert widget and widget[-1] == len(code) - 1 and figures and max(figures) < widget[0]
    shown = re.compile(r"\n( +display\(fig\)|fig)$")  # the former: of what is not known at every preset
    assert all(shown.search(code[k].rstrip()) for k in figures), "a saved figure is also shown"


def test_every_claim_is_measured_in_one_notebook():
    prefixes = {"D": "01", "B": "02", "G": "03", "N": "04", "L": "05", "C": "06", "S": "07"}
    for name in CLAIMING:
        text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
        assert f'claims.save(figures, "{name}", results)' in text
    assert {claim[0] for claim in claims.CLAIMS} == set(prefixes)


@pytest.mark.parametrize("name", NAMES)
def test_committed_executed_without_widget_state(name):
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    assert "widgets" not in notebook.metadata
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code), "run make notebooks"
    assert any("image/png" in out.get("data", {}) for cell in code for out in cell.outputs)
    assert not any(out.output_type == "error" for cell in code for out in cell.outputs)
    assert not re.search(r'"/(home|root|tmp|Users)/', nbformat.writes(notebook)), "a path of somebody's machine"


def test_the_map_leads_to_every_notebook():
    text = (FOLDER / "00_start_here.py").read_text(encoding="utf-8")
    assert re.findall(r"\]\(([^)]+)\.ipynb\)", text) == NAMES[1:]


def test_cells_are_small(source):
    """What is read at one glance: 15 lines of code, 170 words, 120 characters a line but in tables."""
    for number, cell in enumerate(source.cells):
        lines, text = cell.source.splitlines(), cell.cell_type == "markdown"
        wide = [line for line in lines if len(line) > 120 and not (text and line.startswith("|"))]
        assert not wide, f"cell {number}: {wide[0]}"
        assert text or len(lines) <= 15, f"cell {number} has {len(lines)} lines: {lines[0]}"
        assert not text or len(cell.source.split()) <= 170, f"cell {number} has too many words: {lines[0]}"
