"""The replication report: no measured number is typed, each one that is read is shown, and the PDF stays the same."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs/report"
LAYOUT, TEXT = (FOLDER / "report.typ").read_text(encoding="utf-8").split("// Text ---")
PROSE = TEXT.split("// References ---")[0]
# Where the prose may have digits: the paper's figures and notes, claims, figure files, formulas on lines of their own.
NAMES = re.compile(r"#n\.\w+|Fig\. \d[A-C]?|Note S\d|\bN4\b|sigma\^2"
                   r'|#claim\("\w+"\)|#(shown|beside)\("\w+", [\d.]+(cm|%)|^\$ [^$]*\$$', re.MULTILINE)
COUNTS = ("three|four|five|six|seven|eight|nine|ten|eleven|twelve|[a-z]+teen|(twen|thir|for|fif|six|seven|eigh|nine)ty"
          "|hundred|thousand|third|quarter|twice|double|[a-z]+fold")


def typed(text):
    """Return the numbers in prose, in digits or words; of words, neighbours of a skyrmion may be counted."""
    bare = NAMES.sub("", text)
    return [match[0] for match in re.finditer(rf"\d+|\b({COUNTS})\b(?! neighbours)", bare, re.IGNORECASE)]


@pytest.fixture(scope="module")
def report():
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location("replication_report", FOLDER / "report.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def content(report):
    return report.gathered()


@pytest.fixture(scope="module")
def typst():
    return pytest.importorskip("typst", reason='typst is not installed; make report does it, from the extra "report"')


def test_every_number_is_used_and_every_used_one_is_there(content):
    shown = set(re.findall(r"\b(?:n|content\.numbers)\.(?!pairs\b)(\w+)", LAYOUT + TEXT))
    assert shown == set(content["numbers"])
    assert not re.findall(r"#n\.\w+;(?!;)", TEXT), "Typst swallows a semicolon after a number"


def test_no_measured_number_is_typed():
    assert typed(PROSE) == []
    for text in ("falls by 40 %", "at $gamma = 100$ of", "six trainings", "grows threefold", "a third of it", "by 40%"):
        assert typed(text), text


def test_the_figures_exist_and_have_captions():
    figures = re.findall(r'#(?:shown|beside)\("(\w+)", [\d.]+(?:cm|%), "([^"]+)"\)\[\n(.+?)\n\] <(\w+)>', PROSE,
                         re.DOTALL)
    assert len(figures) == PROSE.count("#shown(") + PROSE.count("#beside(") >= 6
    for name, alt, caption, label in figures:
        assert (ROOT / f"figures/desktop/{name}.pdf").is_file() and len(alt) > 20 and len(caption) > 80
        assert f"@{label}" in PROSE, f"the text does not mention {name}"


def test_every_claim_has_its_place(content):
    said = set(re.findall(r'#claim\("(\w+)"\)', PROSE))
    assert said == {row[0] for row in content["claims"]}


def test_markup(report):
    markup, space = report.markup, "\N{NO-BREAK SPACE}"
    assert markup("L_RC at γ = 1e4") == '$L_"RC"$ at $gamma$ = $10^(4)$'
    assert markup("3.2e+04 (× or ÷ 9.5)") == f"$3.2 times 10^(4)$ (×{space}or{space}÷{space}9.5)"
    assert markup("(-8.9 ± 0.3) × 1e-4 J") == f"(\N{MINUS SIGN}8.9{space}±{space}0.3){space}×{space}$10^(-4)$ J"
    assert markup("β = 0.001, 1 ± 0.001") == f"$beta$ = $10^(-3)$, 1{space}±{space}0.001"
    assert markup("X'_out < 5 %") == f"$X'_\"out\"$ \\< 5{space}%"


@pytest.fixture
def records(tmp_path):
    """Records of which one file can be changed."""
    for source in (ROOT / "data/recorded").iterdir():
        (tmp_path / source.name).mkdir()
        for path in source.iterdir():
            (tmp_path / source.name / path.name).symlink_to(path)
    return tmp_path


def change(file, edit):
    value = json.loads(file.read_text())
    file.unlink()
    edit(value)
    file.write_text(json.dumps(value))


def test_another_result_changes_the_report(report, content, records):
    def grow(claims):
        (one,) = (claim for claim in claims if claim["id"] == "B1")
        one["checks"][1]["values"] = [2 * value for value in one["checks"][1]["values"]]

    change(records / "desktop/claims.json", grow)
    other = report.gathered(recorded=records)
    changed = {key for key, text in content["numbers"].items() if other["numbers"][key] != text}
    assert changed == {"b1_validation"} and other["claims"] != content["claims"]


def test_prose_that_the_record_denies_is_refused(report, records):
    def collapse_later(claims):
        (one,) = (claim for claim in claims if claim["id"] == "B1")
        for check in one["checks"]:
            check["values"] = [1.0, 1.1, 1.2]

    change(records / "desktop/claims.json", collapse_later)
    with pytest.raises(ValueError, match="written for other verdicts.*B1: reproduced, not not reproduced"):
        report.gathered(recorded=records)


def test_a_sentence_that_the_record_denies_is_refused(report, records):
    def worsen(collapse):
        next(iter(collapse["final"].values()))["defects"] = 0.1

    change(records / "desktop/collapse.json", worsen)
    with pytest.raises(ValueError, match="all trainings end in one perfect lattice"):
        report.gathered(recorded=records)


def test_the_pdf(report, content, typst, tmp_path):
    report.main([str(tmp_path)])
    pdf = (tmp_path / "report.pdf").read_bytes()
    assert pdf.startswith(b"%PDF") and pdf == report.compiled(content)
    pages = typst.compile(report.SOURCE, root=ROOT, ignore_system_fonts=True, format="svg",
                          sys_inputs={"content": json.dumps(content)})
    assert 6 <= len(pages) <= 10
    other = {**content, "numbers": content["numbers"] | {"b1_validation": "99"}}
    assert report.compiled(other) != pdf
