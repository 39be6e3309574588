"""The fit of the linear part: that it finds what is there, is even in the moments, and does not follow outliers."""

from dataclasses import replace

import pytest
import torch
from test_deepspin_training import LEARNABLE, SPEC, labelled

from evae_companion.deepspin import leastsquares
from evae_companion.deepspin.leastsquares import fit_linear
from evae_companion.deepspin.model import DeepSpin
from evae_companion.deepspin.potential import evaluate, label, neighbours_of
from evae_companion.deepspin.training import TrainSpec, errors

WANTED = TrainSpec().wanted()


def silent(frames, seed=3) -> DeepSpin:
    """A model whose linear part is all its energy, and zero still."""
    model = DeepSpin(SPEC, seed)
    model.normalise(frames, neighbours_of(model, frames))
    for a in range(2):
        model.atomic(a).silence()
    return model


def test_a_linear_energy_is_found_again():
    """Labels from the model's own linear part with random weights, energies of an atom and all: errors vanish, on
    frames not seen too."""
    frames, others = labelled(48), labelled(4, seed=5)
    truth = silent(frames).double()
    with torch.no_grad():
        for a in range(2):
            weights = truth.atomic(a).linear
            weights.copy_(torch.randn(len(weights), generator=torch.Generator().manual_seed(a)))
        truth.scale.fill_(1e-3)
        truth.bias.add_(2.0)
    found = silent(frames)
    tables = neighbours_of(found, frames)
    weights = fit_linear(found, label(truth, frames), tables, WANTED, reversal=False)
    wrong = errors(found.double(), label(truth, others))
    for name in ("energy", "force", "force_mag"):  # fewer labels than weights: not to rounding
        assert wrong[name] < 5e-2 * wrong[name + "_label"], name
    assert weights.shape == (48,) and float(weights.max()) == 1.0


def test_both_signs_make_it_even():
    """With S -> -S among the rows F_mag changes its sign with the moments more nearly than without."""
    frames = labelled(8)
    parts = {}
    for reversal in (True, False):
        model = silent(frames)
        fit_linear(model, frames, neighbours_of(model, frames), WANTED, reversal)
        model.double()
        found, turned = (evaluate(model, replace(frames, spins=sign * frames.spins)).force_mags for sign in (1, -1))
        parts[reversal] = float((found + turned).norm() / found.norm())
    assert parts[True] < 0.8 * parts[False]


@pytest.mark.parametrize("spoilt", [True, False])
def test_a_bad_frame_is_found(spoilt):
    """Its weight is small and the least; with the labels as they were it is not small."""
    frames = labelled(16)
    wrong = frames.force_mags.clone()
    wrong[3] += 5 * spoilt * wrong.std() * torch.randn(wrong[3].shape, generator=torch.Generator().manual_seed(0))
    given = replace(frames, force_mags=wrong * (frames.spins.norm(dim=-1, keepdim=True) > 0))
    model = silent(frames)
    weights = fit_linear(model, given, neighbours_of(model, frames), WANTED)
    assert (float(weights[3]) < 0.2) == spoilt and (int(weights.argmin()) == 3 or not spoilt)


def test_random_directions_serve_where_there_are_too_many(monkeypatch):
    """A third of the rows, each a mixture of all: nearly the same errors."""
    frames, others = labelled(24), labelled(4, seed=5)
    ends = []
    for rows in (20000, 300):
        monkeypatch.setattr(leastsquares, "ROWS", rows)
        model = silent(frames)
        fit_linear(model, frames, neighbours_of(model, frames), WANTED, reversal=False)
        ends.append(errors(model.double(), others))
    assert ends[1]["force"] < 2 * ends[0]["force"] and ends[1]["force"] < ends[1]["force_label"]


@pytest.mark.parametrize("left_out", ["energies", "forces", "force_mags"])
def test_labels_that_are_not_there_are_not_needed(left_out):
    frames = replace(labelled(6), **{left_out: None})
    model = silent(frames)
    fit_linear(model, frames, neighbours_of(model, frames), WANTED | {left_out: False}, reversal=False)
    found = errors(model.double(), frames)
    assert all(found[name] < found[name + "_label"] for name in ("energy", "force", "force_mag") if name in found)


def test_the_reference_is_met_better_than_by_nothing():
    """Against an energy that is not linear in the descriptor, of moments of every length, from few small frames: the
    penalty must be chosen well, or errors on frames not seen are many times the labels."""
    frames, others = labelled(24), label(LEARNABLE, labelled(6, seed=1))
    model = silent(frames)
    fit_linear(model, frames, neighbours_of(model, frames), WANTED)
    found = errors(model.double(), others)
    assert found["force"] < 0.75 * found["force_label"] and found["force_mag"] < 0.75 * found["force_mag_label"]
