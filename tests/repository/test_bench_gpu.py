"""The GPU benchmark does what it says on tiny lattices, with the kernels on the CPU; its timings mean nothing here."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch
from cuda_stand_in import emulate

from evae_core.annealing import gpu

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


def load(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def bench():
    return load("bench_gpu")


@pytest.mark.skipif(gpu.usable(), reason="a GPU is usable")
def test_refuses_without_a_gpu(bench, capsys, tmp_path):
    assert bench.main([str(tmp_path / "results.json")]) == 77
    assert "not run" in capsys.readouterr().out and not list(tmp_path.iterdir())


def test_every_part_runs(bench, monkeypatch, emulated_cupy, tmp_path):
    emulate(monkeypatch, emulated_cupy, threads=1)
    monkeypatch.setattr(bench, "synchronize", lambda: None)
    monkeypatch.setattr(bench, "machine", lambda: {})
    results = tmp_path / "results.json"
    arguments = ("--preset smoke --configurations 6 --size 32 --sizes 8 --replicas 2 3 --target 0.01 --sweeps 10 "
                 f"--folder {tmp_path}")
    assert bench.main([str(results), *arguments.split()]) == 0
    found = json.loads(results.read_text())
    assert found["verdict"]["wrong"] == [] and found["data set"]["configurations"] == 6
    assert len(found["updates"]) == 2 * 3 and all(row["updates_per_second"] > 0 for row in found["updates"])
    assert all(row["shared_and_global_agree"] for row in found["lattices"].values())
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]

    monkeypatch.setattr(bench, "REFERENCE", {1.0: (0.0, 1e-4)})  # a wrong energy is found
    rows = bench.energies(128, (2, 2), 10)
    assert not rows["1.0"]["right"]


def test_rounding_is_no_difference_and_more_is(bench):
    """All replicas in one state, 1e-9 J apart in the last digits; a state 1e-5 J higher; two thermal samples."""
    last_digits = 1e-9 * torch.randn(64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    one = -1.9 + last_digits
    assert abs(bench.sigmas_apart(one, one + 3e-8)) < 1
    assert bench.sigmas_apart(one + 1e-5, one) > 5
    spread = one + 1e-3 * torch.linspace(-1, 1, 64, dtype=torch.float64)
    error = float(spread.std()) * 2**0.5 / 8
    assert bench.sigmas_apart(spread + 1e-3, spread) == pytest.approx(1e-3 / error, rel=1e-3)


# A kernel as cuobjdump prints it, in short: a loop for each colour, of one site, and a branch that is rarely taken.
SASS = """Function : kernel
MOV; BAR.SYNC; LDS; LDS; MUFU.RCP; @P1 BRA 7; FADD; STS; STS; STS; @P0 BRA 3; BAR.SYNC; IADD3;
LDS; FFMA; MUFU.RCP; STS; STS; STS; @P0 BRA 13; @P2 BRA 1; EXIT;"""


def test_roofline_counts_what_is_executed():
    roofline = load("gpu_roofline")
    words = [word.strip() for word in SASS.split("\n", 1)[1].replace("\n", " ").split(";") if word.strip()]
    lines = []
    for i, word in enumerate(words):
        head, _, target = word.rpartition(" ") if "BRA" in word else (word, "", "")
        lines.append(f"        /*{16 * i:04x}*/    {head} {hex(16 * int(target)) if target else 'R0, R1'} ;")
    code = roofline.Code("Function : kernel\n" + "\n".join(lines), "kernel")
    assert code.loops() == [(3, 10), (13, 19)]
    # first loop 7 instructions without the FADD, second 7; between them BAR, IADD3 and BRA, BAR, LDS, for 8 rows
    counts = roofline.per_site(code, hot=False)
    assert counts == {"issue slots": 7 + (2 + 3) / 8 / 2, "shared memory": 4 + 1 / 8 / 2, "special functions": 1.0,
                      "float operations": 0.5, "integer operations": 1 / 8 / 2}
    with pytest.raises(ValueError, match="loops"):
        roofline.per_site(code, hot=True)
    rate, why = roofline.ceiling(counts, sms=10, clock=2.0)
    assert why == "shared memory" and rate == pytest.approx(10 * 2 * 32 / counts["shared memory"])


@pytest.mark.skipif(not shutil.which("nvcc") or not (shutil.which("cuobjdump") or shutil.which("nvdisasm")),
                    reason="nvcc or the disassembler is not installed")
def test_kernels_stay_short():
    roofline = load("gpu_roofline")
    said, sass = roofline.compile_and_read("sm_90")
    code = roofline.Code(sass, "sweep_shared_periodic")
    assert roofline.per_site(code, hot=True)["issue slots"] < 110
    assert roofline.per_site(code, hot=False)["issue slots"] < 62
