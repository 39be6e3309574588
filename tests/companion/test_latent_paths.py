"""What is read off one path in latent space: hand-made profiles of energy and charge."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from evae_companion.experiments.latent_interpolation import OF_PATH, around_the_defect, of_path

K = np.arange(201)
START, END, HEIGHT = -2.0, -2.1, 0.05


def energy(top=100, width=20.0):
    """A Gaussian barrier of full width ``width`` upon two plateaus, of which the first is the higher."""
    return np.where(top >= K, START, END) + HEIGHT * np.exp(-4 * np.log(2) * ((K - top) / width)**2)


def charge(change, before=-16.0, after=-15.0):
    return np.where(change > K, before, after)


def test_a_barrier_with_its_change_of_charge():
    read = of_path(energy(), charge(107))
    assert tuple(read) == OF_PATH
    assert read["start"] == pytest.approx(START, abs=1e-6) and read["end"] == pytest.approx(END, abs=1e-6)
    assert read["height"] == pytest.approx(HEIGHT, abs=1e-9)
    # Left half of the Gaussian; on the right the energy falls to the lower plateau within one step.
    assert 10.0 < read["width"] < 11.0
    assert read["extra"] == 1.0 and read["change"] == 7.0


@pytest.mark.parametrize("step, extra", [(95, 0.0), (101, 0.0), (102, 0.0), (103, 1.0), (150, 1.0)])
def test_the_extra_skyrmion_at_r_2(step, extra):
    """It is there at R = 2 unless it went at, or before, that step."""
    read = of_path(energy(), charge(step))
    assert read["extra"] == extra and read["change"] == step - 100


def test_the_sign_of_the_charge_does_not_matter():
    up, down = of_path(energy(), charge(110, 16.0, 15.0)), of_path(energy(), charge(110))
    assert up == down


def test_the_first_change_counts():
    there_and_back = np.where((K >= 60) & (K < 80), -15.0, charge(120))
    assert of_path(energy(), there_and_back)["change"] == -40.0


def test_half_a_charge_is_the_limit():
    gradual = -15 - np.clip((150 - K) / 100, 0, 1)  # 1 at step 50, 1/2 at step 100, 0 at step 150
    assert of_path(energy(), gradual)["change"] == 1.0
    assert of_path(energy(), gradual)["extra"] == pytest.approx(0.48)


def test_a_charge_that_never_changes_has_no_step():
    read = of_path(energy(), np.full(201, -15.0))
    assert np.isnan(read["change"]) and read["extra"] == 0.0


@pytest.mark.parametrize("top, reached", [(198, True), (199, False), (200, False)])
def test_a_path_that_ends_before_r_2(top, reached):
    read = of_path(energy(top), charge(100))
    assert np.isfinite(read["extra"]) == reached and read["change"] == 100 - top


def test_a_slope_is_no_barrier():
    read = of_path(np.linspace(-2.0, -2.1, 201), charge(50))
    assert np.isnan(read["width"]) and read["start"] > read["end"] and read["extra"] == 1.0 and read["change"] == 50


@pytest.mark.parametrize("where", [(3, 60), (30, 5), (63, 0)])
def test_the_defect_is_in_the_middle_of_its_frame(where):
    lattice = torch.zeros(3, 64, 64)
    interstitial = lattice.clone()
    interstitial[:, [where[0], where[0] - 1, (where[0] + 1) % 64], where[1]] = torch.tensor([1.0, 0.9, 0.9])
    frames = around_the_defect(SimpleNamespace(interstitial=interstitial, lattice=lattice), interstitial[None], 28)
    assert frames.shape == (1, 3, 28, 28) and (frames[0, 0] == 1.0).nonzero().tolist() == [[14, 14]]
