"""What notebook 12 is made of: its sizes, labels, small functions, and its figures."""

import os
from functools import partial

import numpy as np
import pytest
import torch

from evae_companion.deepspin import magnet, plots
from evae_companion.deepspin.experiments import spin_lattice as results
from evae_companion.deepspin.potential import evaluate
from evae_companion.experiments import result_cache
from evae_companion.presets import PRESETS

SMOKE = PRESETS["smoke"]


def test_every_preset_has_a_size():
    assert set(results.SIZES) == set(PRESETS)
    for size in results.SIZES.values():
        assert max(size.counts) <= len(size.temperatures) * size.each and list(size.counts) == sorted(size.counts)


def test_labels_are_the_engines_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("EVAE_STORE", str(tmp_path))
    frames, validation = results.labels(SMOKE)
    assert len(frames) == 6 and len(validation) == 2 and frames.atoms == 32
    found = evaluate(magnet.ENGINE, validation)
    torch.testing.assert_close(found.forces, validation.forces, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(found.force_mags, validation.force_mags, rtol=1e-12, atol=1e-13)
    assert float(validation.forces.abs().max()) > 0.1
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    assert results.labels(SMOKE)[1].digest() == validation.digest()
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}


def test_free_moments():
    """Against random directions."""
    spins = np.random.default_rng(0).standard_normal((4000, 100, 3))
    spins /= np.linalg.norm(spins, axis=-1, keepdims=True)
    sizes = np.linalg.norm(spins.mean(1), axis=-1)
    assert results.free_moments(100) == pytest.approx(sizes.mean(), abs=4 * sizes.std() / 4000**0.5 + 1e-3)


def test_nio_is_left_out_where_it_is_not(tmp_path):
    assert results.nio(SMOKE, tmp_path) is None


def test_recorded_tables(tmp_path, monkeypatch):
    monkeypatch.setattr(results.places, "need_repository", lambda what: tmp_path)
    assert "missing" in results.recorded_tables()
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "DEEPSPIN.md").write_text("# NiO\nwords\n\n| a |\n|---|\n| 1 |\n")
    assert results.recorded_tables() == "### NiO\n\n| a |\n|---|\n| 1 |"


def test_figures():
    fig = plots.learning_errors([2, 6], {"force": [0.5, 0.1]})
    (line,) = fig.axes[0].lines
    np.testing.assert_allclose(line.get_ydata(), [50.0, 10.0])  # per cent
    fig = plots.predictions([("force", "eV/Å", [0.0, 1.0], [0.0, 1.2])])
    assert [text.get_text() for text in fig.axes[0].texts] == ["rms error 0.14\nslope 1.20"]
    curves = {"reference": (np.ones((2, 3)), 2 * np.ones((2, 3))), "learned": (np.ones((2, 3)), np.ones((2, 3)))}
    fig = plots.modes([("phonons", [0.5, 1.0], curves)])
    assert len(fig.axes[0].lines) == 12 and fig.axes[0].get_ylabel() == "frequency (THz)"
    hot = {"temperatures": [10.0, 20.0], "magnetisation": [[0.9, 0.01], [0.8, 0.02]], "times": [0.1, 0.2],
           "drift": [0.0, 2e-6]}
    fig = plots.magnet_in_motion({"reference": hot}, free=0.1)
    np.testing.assert_allclose(fig.axes[1].lines[0].get_ydata(), [0.0, 2.0])  # micro
    fig = plots.spectral_lines([1.0, 2.0, 3.0], {"a": [1.0, 2.0, 1.0]}, {"a": [2.1]})
    assert fig.axes[0].lines[1].get_xdata()[0] == 2.1


def test_figures_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match=r"errors of force must have shape \(2\)"):
        plots.learning_errors([2, 6], {"force": [0.5]})
    with pytest.raises(ValueError, match="predictions of force must have shape"):
        plots.predictions([("force", "eV/Å", [0.0, 1.0], [0.0])])
    with pytest.raises(ValueError, match="panels must hold at least 1"):
        plots.modes([])
    with pytest.raises(ValueError, match="curves and lines must have the same labels"):
        plots.spectral_lines([1.0], {"a": [1.0]}, {"b": [1.0]})


def _twice(number, report):
    report(f"doubling {number}")
    if number < 0:
        raise ValueError("negative")
    return os.getpid(), 2 * number


def test_together_is_one_after_the_other_in_other_processes():
    for name in ("smoke", "laptop"):
        said = []
        found = result_cache.run_jobs(PRESETS[name], [partial(_twice, n) for n in range(3)], said.append)
        assert [double for _, double in found] == [0, 2, 4] and sorted(said) == [f"doubling {n}" for n in range(3)]
        assert (os.getpid() in {pid for pid, _ in found}) == (name == "smoke")
        with pytest.raises(ValueError, match="negative"):
            result_cache.run_jobs(PRESETS[name], [partial(_twice, n) for n in (1, -1)], said.append)
