"""The GPU's quarter of an hour, rehearsed on a CPU as on a bare machine; its timings mean nothing here."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import gpu_annealer
import gpu_pack
import gpu_report
import gpu_roofline as roofline
import gpu_train
import numpy as np
import pytest
import torch
from cuda_stand_in import emulate

from evae_core.annealing import cpu, gpu

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks" / "gpu_quarter_hour.sh"
# Of these the steps must need none: scipy and filelock have stand-ins, the others are not there on a bare machine.
ABSENT = ("scipy", "filelock", "safetensors", "fsspec", "matplotlib", "papermill", "jupyterlab", "tqdm", "platformdirs",
          "IPython", "ipywidgets")
GPU = shutil.which("nvidia-smi") is not None


def call(folder, *arguments, python=sys.executable, **environment):
    """Run the script with $OUT and its work below ``folder``."""
    own = {"OUT": str(folder / "out"), "EVAE_GPU_WORK": str(folder / "work"), "PYTHON": str(python)}
    return subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, env=os.environ | own | environment)


def steps_of(folder):
    with (folder / "work" / "steps.csv").open() as file:
        return {row["step"]: row["ended"] for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory, emulated_cupy):
    """The folder of a whole rehearsal, and what it printed."""
    folder = tmp_path_factory.mktemp("gpu")
    shutil.copytree(emulated_cupy.folder, folder / "work" / "stand_in")  # compiled once for all tests
    bare = folder / "bare"
    bare.mkdir()
    (bare / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({ABSENT}))\n")
    done = call(folder, "--rehearse", "--seconds", "200", PYTHONPATH=str(bare), OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


def test_every_step_runs_on_a_bare_machine(rehearsed):
    folder, said = rehearsed
    assert steps_of(folder) == dict.fromkeys(("what", "verify", "speed", "step", "data", "train"), "well")
    assert "MISSING: safetensors" in said and "papermill" in said
    found = json.loads((folder / "out" / "results.json").read_text())
    assert set(found["verify"]["energies"]) == {"1.0", "0.5", "0.2"}
    assert all(row["right"] for row in (*found["verify"]["energies"].values(), *found["verify"]["lattices"].values()))
    assert all(row["updates_per_second"] > 0 for row in found["speed"]["updates 8"])
    assert found["step"]["agreement 16"]["float32"]["right"]
    data = found["data"]
    assert data["made"] == data["asked"] == 200 and data["equal"] == 0 and 0 < data["left_out"] < 100
    assert sum(data["histogram_energy"]["states"]) == data["made"] - data["left_out"]
    assert list(found["stages"]) == found["train"]["order"] and len(found["stages"]) == 15


def test_what_is_packed_fits_and_has_its_columns(rehearsed):
    files = {path.name: path.stat().st_size for path in (rehearsed[0] / "out").iterdir()}
    assert set(files) == {"results.json", "stages.csv", "GPU.md", "sample.npz", "states.npz", "decoders_1.npz"}
    assert len(files) <= 8 and max(files.values()) <= 16_000_000
    with (rehearsed[0] / "out" / "stages.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {"stage", "seed", "beta", "gamma", "steps", "L_RC train", "L_KL train", "L_H train", "L_RC validation",
            "X'_out E/N above (1e-4 J)", "X'_out k-MSE, share of the data's", "X_out relaxed, least above (1e-4 J)",
            "variance of z", "diverged", "seconds", "precision"} <= set(rows[0]) and len(rows) == 15
    assert all(0 < float(row[f"L_RC {of}"]) <= 4 for row in rows for of in ("train", "validation"))  # a squared chord
    with np.load(rehearsed[0] / "out" / "states.npz") as states:
        assert states["seed0_beta0.001_gamma5000/generated"].shape == (2, 3, 32, 32)
        assert states["seed0_beta0.001_gamma5000/generated"].dtype == np.float16


def test_a_rehearsal_is_marked_everywhere(rehearsed):
    out = rehearsed[0] / "out"
    assert json.loads((out / "results.json").read_text())["rehearsal"] is True
    for path in out.glob("*.npz"):
        with np.load(path) as arrays:
            assert arrays["rehearsal"], path
    assert "REHEARSAL" in (out / "GPU.md").read_text() and "Not run on a GPU" in (out / "GPU.md").read_text()
    assert all(line.startswith(gpu_pack.MARK) for line in (out / "stages.csv").read_text().splitlines()[1:])


MARKS = ("results.json", "stages.csv", "sample.npz", "states.npz", "decoders_1.npz")


def forged(rehearsed, folder, left=()):
    """A copy of the rehearsal that passes for a run on a GPU, but for the marks ``left`` on it."""
    shutil.copytree(rehearsed[0] / "out", folder)
    for name in set(MARKS) - set(left):
        path = folder / name
        if path.suffix == ".npz":
            with np.load(path) as file:
                arrays = dict(file)
            np.savez(path, **arrays | {"rehearsal": np.array(False)})
        elif path.suffix == ".csv":
            path.write_text(path.read_text().replace(gpu_pack.MARK, "GPU"))
        else:
            found = json.loads(path.read_text())
            path.write_text(json.dumps(found | {"rehearsal": False, "what": {"gpu": "a GPU"}}))
    return folder


@pytest.mark.parametrize("mark", MARKS)
def test_one_mark_is_enough_for_a_refusal(rehearsed, mark, tmp_path):
    with pytest.raises(ValueError, match="rehearsal"):
        gpu_report.Carriage(forged(rehearsed, tmp_path / "carried", [mark]))


def test_a_run_becomes_tables_figures_and_a_card(rehearsed, tmp_path):
    gpu_report.publish(gpu_report.Carriage(forged(rehearsed, tmp_path / "carried")), tmp_path)
    recorded, figures = tmp_path / "data" / "recorded" / "smoke", tmp_path / "figures" / "smoke"
    with (recorded / "stages.csv").open() as file:
        ladders = [row["ladder"] for row in csv.DictReader(file)]
    assert {name: ladders.count(name) for name in ladders} == dict.fromkeys((
        "gamma, beta 0.001, seed 0", "beta, seed 0", "gamma, beta 0.0001, seed 0", "gamma, beta 0.001, seed 1"), 3)
    assert {"decoder_gamma_0.safetensors", "decoder_gamma_1.safetensors", "decoder_gamma_100.safetensors",
            "decoder_collapsed.safetensors", "histories.csv", "claims.json", "gpu.json"} <= {
                path.name for path in recorded.iterdir()}
    assert {"fig2a_beta_sweep.png", "fig2b_gamma_sweep.png", "figS1_outputs.png", "fig5a_collapse.png",
            "fig5b_kspace_mse.png", "collapsed_states.png", "data_gallery.png"} <= {
                path.name for path in figures.iterdir()}
    card = (figures / "claims.md").read_text()
    assert "not run: D1, N1, N2, N3, N4, L1, L2, L3, S1" in card and "| C1 |" in card
    assert "REHEARSAL" not in (tmp_path / "benchmarks" / "GPU.md").read_text()


def test_its_tables_have_the_columns_of_a_published_record(rehearsed, tmp_path):
    gpu_report.publish(gpu_report.Carriage(forged(rehearsed, tmp_path / "carried")), tmp_path)
    with (ROOT / "data" / "recorded" / "desktop" / "stages.csv").open() as published, (
            tmp_path / "data" / "recorded" / "smoke" / "stages.csv").open() as mine:
        assert next(csv.reader(published)) == next(csv.reader(mine))


def test_a_sweep_in_part_gets_no_verdict(rehearsed, tmp_path):
    carried = forged(rehearsed, tmp_path / "carried")
    found = json.loads((carried / "results.json").read_text())
    for name in ("seed0_beta0.001_gamma5000", "seed0_beta0.001"):
        found["stages"].pop(name, None)
    (carried / "results.json").write_text(json.dumps(found))
    there = gpu_report.Carriage(carried)
    assert "gamma, beta 0.001, seed 0, in part" in there.ladders and "gamma, beta 0.001, seed 1" in there.ladders
    assert {result.id[0] for result in gpu_report.judge(there, tmp_path)} == {"B"}


def test_a_step_that_fails_or_sleeps_does_not_stop_the_others(tmp_path):
    """verify fails, speed sleeps, step ends well; then no time is left for data."""
    python = tmp_path / "python"
    python.write_text(f"""#!/bin/sh
case "$*" in
    *verify) exit 3 ;;
    *speed) sleep 100 ;;
    *gpu_step.py) sleep 1 ;;
    *) exec {sys.executable} "$@" ;;
esac
""")
    python.chmod(0o755)
    done = call(tmp_path, "--rehearse", "--limit", "speed=1", "what", "verify", "speed", "step", python=python)
    assert done.returncode == 1
    assert steps_of(tmp_path) == {"what": "well", "verify": "failed: exit status 3", "speed": "cut after 1 s",
                                  "step": "well"}
    # What it took counts from a whole second to a whole second, on a busy machine more than the limit.
    assert re.search(r"\| speed \| 1 \| \d+ \| cut after 1 s \|", (tmp_path / "out" / "GPU.md").read_text())
    done = call(tmp_path, "--rehearse", "--seconds", "15", "data")
    assert done.returncode == 1 and steps_of(tmp_path)["data"] == "not run: no time left"


@pytest.mark.parametrize("arguments", [("--limit", "speed"), ("--limit", "lunch=3"), ("--seconds", "x"), ("lunch",),
                                       ("--seconds",)])
def test_wrong_options_are_refused(arguments, tmp_path):
    done = call(tmp_path, *arguments)
    assert done.returncode == 2 and "gpu_quarter_hour.sh:" in done.stderr and not list(tmp_path.iterdir())


@pytest.mark.skipif(GPU, reason="there is a GPU")
def test_without_a_gpu_nothing_is_run(tmp_path):
    done = call(tmp_path)
    assert done.returncode == 77 and "no GPU" in done.stdout and not list((tmp_path / "out").iterdir())


def test_every_place_says_that_no_gpu_has_run_it():
    """Until there is a record of one; then none may say so any more."""
    recorded = (ROOT / "data" / "recorded" / "paper").is_dir()
    for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md", "benchmarks/GPU.md"):
        text = re.sub(r"\s+", " ", (ROOT / name).read_text(encoding="utf-8")).lower()
        assert ("not run on a gpu" in text) is not recorded, name


def test_steps_fit_the_clock():
    """1 500 a stage where a step takes 1 ms; fewer where it takes longer, so that all sweeps fit; never below 250."""
    p = gpu_train.preset("paper", {})
    assert len(gpu_train.in_order(p)) == 55 and gpu_train.steps_a_stage(p, 1.0, 520.0) == 1500
    steps = gpu_train.steps_a_stage(p, 5.0, 520.0)
    assert 250 < steps < 1500
    taken = 53 * steps + 2 * gpu_train.first_steps(steps)
    assert 460 < gpu_train.OVERHEAD * 55 + 5e-3 * taken <= 520
    assert gpu_train.steps_a_stage(p, 100.0, 520.0) == 250


def test_the_papers_size_fits_eight_files():
    """All stages of the paper preset, with arrays of its sizes: nothing is too large, every sweep's end is there."""
    class Stored(dict):
        files = property(list)

    half = np.zeros((4, 3, 128, 128), np.float16)
    stage = Stored({"generated": half, "x_out": half[:1]} | {
        "decoder.a": np.zeros((512, 100), np.float16), "decoder.b": np.zeros((3072, 512), np.float16)})
    p = gpu_train.preset("paper", {})
    order = gpu_train.in_order(p)
    names = [gpu_train.name_of(one) for one in order]
    found = {"stages": {name: {"gamma": one.gamma} for name, one in zip(names, order, strict=True)},
             "train": {"sweeps": {name: [gpu_train.name_of(one) for one in stages]
                                  for name, stages in gpu_train.sweeps(p).items()}}}
    files = dict.fromkeys(names, stage)
    states = gpu_pack._states(found, files, {"given": half[0]})
    assert all(f"{name}/generated" in states for name in names) and gpu_pack._size(states) <= gpu_pack.MAX_BYTES
    decoders = gpu_pack._decoders(found, files)
    assert len(decoders) <= 3 and all(gpu_pack._size(one) <= gpu_pack.MAX_BYTES for one in decoders)
    packed = {key.split("/")[0] for one in decoders for key in one}
    assert {"seed0_beta0.001_gamma0", "seed0_beta0.001_gamma100", "seed0_beta0.001_gamma1e+06",
            "seed1_beta0.001_gamma1e+06", "seed0_beta0.0001_gamma1e+06"} <= packed


def test_wrong_kernels_are_found(monkeypatch, emulated_cupy):
    """A wrong energy, another field, other random streams."""
    emulate(monkeypatch, emulated_cupy, threads=1)
    monkeypatch.setattr(gpu_annealer, "DEVICE", "cpu")
    assert gpu_annealer.against_cpu_kernels(8)["right"]
    monkeypatch.setattr(gpu_annealer, "REFERENCE", {1.0: (0.0, 1e-4)})
    assert not gpu_annealer.energies(128, (2, 2), 10)["1.0"]["right"]
    model = gpu.Replicas._model
    with monkeypatch.context() as patch:
        patch.setattr(gpu.Replicas, "_model", lambda replicas: (model(replicas)[0], *(-v for v in model(replicas)[1:])))
        assert gpu_annealer.against_cpu_kernels(8)["reflections_apart"] > 0.01
    seeds = cpu.seed_streams
    monkeypatch.setattr(cpu, "seed_streams", lambda seed, *a: seeds(seed + 1, *a))
    assert not gpu_annealer.against_cpu_kernels(8)["streams_agree"]


def test_rounding_is_no_difference_and_more_is():
    """All replicas in one state, 1e-9 J apart in the last digits; a state 1e-5 J higher; two thermal samples."""
    last_digits = 1e-9 * torch.randn(64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    one = -1.9 + last_digits
    assert abs(gpu_annealer.sigmas_apart(one, one + 3e-8)) < 1
    assert gpu_annealer.sigmas_apart(one + 1e-5, one) > 5
    spread = one + 1e-3 * torch.linspace(-1, 1, 64, dtype=torch.float64)
    error = float(spread.std()) * 2**0.5 / 8
    assert gpu_annealer.sigmas_apart(spread + 1e-3, spread) == pytest.approx(1e-3 / error, rel=1e-3)


# A kernel as cuobjdump prints it, in short: a loop for each colour, of one site, and a branch that is rarely taken.
SASS = """Function : kernel
MOV; BAR.SYNC; LDS; LDS; MUFU.RCP; @P1 BRA 7; FADD; STS; STS; STS; @P0 BRA 3; BAR.SYNC; IADD3;
LDS; FFMA; MUFU.RCP; STS; STS; STS; @P0 BRA 13; @P2 BRA 1; EXIT;"""


def test_roofline_counts_what_is_executed():
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
    said, sass = roofline.compile_and_read("sm_90")
    code = roofline.Code(sass, "sweep_shared_periodic")
    assert roofline.per_site(code, hot=True)["issue slots"] < 110
    assert roofline.per_site(code, hot=False)["issue slots"] < 62
