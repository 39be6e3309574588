"""The GPU benchmark does what it says on tiny lattices, with the kernels on the CPU; its timings mean nothing here."""

import importlib.util
import json
from pathlib import Path

import pytest
from cuda_stand_in import emulate

from evae_core.annealing import gpu

PATH = Path(__file__).resolve().parents[1] / "benchmarks" / "bench_gpu.py"


@pytest.fixture
def bench():
    spec = importlib.util.spec_from_file_location("bench_gpu", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
