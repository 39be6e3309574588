"""PEACE: the forward law against closed forms and the simulator, the noise law, images and their reduction."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.special import jn_zeros

from evae_companion import peace
from evae_companion.peace import images, learning, reduction, simulator
from evae_companion.peace import sizes as s
from evae_companion.peace.law import beam, jinc

SIZES = s.size_grid()
SMALL = peace.Optics(pixel=9.6e-6, crop=64, shape=(512, 512))  # a camera that is simulated in 50 ms a frame


# The law --------------------------------------------------------------------------------------------------------------

def test_jinc():
    assert jinc(0.0) == 1.0
    np.testing.assert_allclose(jinc(jn_zeros(1, 3)), 0, atol=1e-16)
    x = np.array([0.9e-4, 1.1e-4])  # both sides of where the series takes over
    np.testing.assert_allclose(jinc(x), 1 - x**2 / 8, rtol=0, atol=1e-15)


def test_optics_numbers_of_the_published_setup():
    assert peace.Optics().q_step == pytest.approx(2 * np.pi * 4.8e-6 / (532e-9 * 0.25))
    assert peace.Optics(size="diameter").radius(100e-6) == pytest.approx(50e-6)
    assert peace.Optics().radius(100e-6) == peace.Optics(size="radius").radius(100e-6) == 100e-6


@pytest.mark.parametrize("size", ["published", "diameter"])
def test_one_size_is_a_product_of_airy_patterns(size):
    optics = peace.Optics(size=size)
    law = peace.Law(optics, [300e-6])
    expected = jinc(law.q * 2.4e-3) ** 2 * jinc(law.q * optics.radius(300e-6)) ** 2
    np.testing.assert_allclose(law(np.ones(1)).numpy(), expected, rtol=1e-9, atol=1e-15)
    assert law(np.ones(1))[48, 48] == 1.0 and law.q.shape == (96, 96) and law(np.ones(1)).dtype == torch.float64


def test_small_wave_numbers_see_one_effective_size():
    """A / |M|^2 = 1 - (q^2 / 4) <r^4> / <r^2> + O(q^4): halving q divides what is left over by 16."""
    p = s.lognormal(SIZES, 300e-6, 0.4)
    left = []
    for lag in (0.4, 0.2):
        law = peace.Law(peace.Optics(), SIZES, lags=[lag])
        second = law.q[0] ** 2 / 4 * (p @ SIZES**4) / (p @ SIZES**2)
        left.append(float(law(p)[0] / law.beam2[0]) - 1 + second)
    assert left[0] / left[1] == pytest.approx(16, rel=0.02)


def test_finite_number_of_grains():
    law, p = peace.Law(peace.Optics(), SIZES), torch.from_numpy(s.lognormal(SIZES, 300e-6, 0.3))
    r, number = torch.from_numpy(SIZES), 500
    term = (p * r**4 * torch.from_numpy(jinc(law.q[..., None] * SIZES)) ** 2).sum(-1) / (p * r**2).sum() ** 2 / number
    expected = (law(p) + term) / (1 + term[48, 48])
    torch.testing.assert_close(law(p, grains=number), expected, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(law(p, grains=1e12), law(p), rtol=0, atol=1e-10)


def test_law_is_a_matrix_in_the_distribution_and_differentiable():
    law = peace.Law(SMALL, SIZES[::16], lags=np.arange(1.0, 9.0))
    p, q = torch.rand(2, 12, dtype=torch.float64) + 0.1
    a, b = ((x * torch.from_numpy(law.radii**2)).sum() for x in (p, q))
    mixed = (a * law.coherence(p) + b * law.coherence(q)) / (a + b)
    torch.testing.assert_close(law.coherence(p + q), mixed)
    assert torch.autograd.gradcheck(lambda x: law(x, grains=300.0), p.requires_grad_())


def test_a_mask_of_the_clear_circle_is_the_clear_circle():
    x = (np.arange(401) - 200) * 2.5e-5
    inside = np.stack([np.hypot(x[:, None] + dy, x + dx) <= 2.4e-3 for dx in np.linspace(-1, 1, 5) * 1e-5
                       for dy in np.linspace(-1, 1, 5) * 1e-5]).mean(0)
    masked = peace.Optics(mask=inside, mask_spacing=2.5e-5)
    axis = masked.lags() * masked.q_step
    np.testing.assert_allclose(beam(masked, axis, axis), beam(peace.Optics(), axis, axis), atol=2e-4)
    shifted = peace.Optics(mask=np.roll(inside, 9, 1), mask_spacing=2.5e-5)  # the place of the beam does not matter
    np.testing.assert_allclose(beam(shifted, axis, axis), beam(masked, axis, axis), atol=1e-12)


def test_quadrature_converges():
    """The grid of 192 sizes against ones four and eight times as fine, for the narrowest distributions of the
    training."""
    def at(count):
        grid = s.size_grid(count)
        return peace.Law(peace.Optics(), grid)(s.lognormal(grid, 250e-6, 0.05)).numpy()
    fine = at(8 * 191 + 1)
    assert np.abs(at(192) - fine).max() < 1e-6 and np.abs(at(4 * 191 + 1) - fine).max() < 1e-6


@pytest.mark.parametrize("wrong, words", [
    ({"shape": (10, 0)}, "shape"), ({"crop": 4}, "crop"),
    ({"mask_spacing": 1e-5}, "mask"),
    ({"mask": np.ones((4, 4))}, "mask_spacing"), ({"mask": -np.ones((4, 4)), "mask_spacing": 1e-5}, "mask")])
def test_optics_refuse(wrong, words):
    with pytest.raises((TypeError, ValueError), match=words):
        peace.Optics(**wrong)


def test_law_refuses():
    with pytest.raises(ValueError, match="increasing"):
        peace.Law(SMALL, [2e-4, 1e-4])
    with pytest.raises(ValueError, match="too coarse"):
        peace.Law(peace.Optics(mask=np.ones((9, 9)), mask_spacing=1e-3), SIZES)
    law = peace.Law(SMALL, SIZES, lags=[0, 1])
    for p in (np.ones(3), -np.ones(192), np.zeros(192), np.full(192, np.nan)):
        with pytest.raises(ValueError, match="p must"):
            law(p)
    with pytest.raises(ValueError, match="grains"):
        law(np.ones(192), grains=0)


# The simulator --------------------------------------------------------------------------------------------------------

def correlations(p, count, **keywords):
    """Autocorrelations (count, 64, 64) of simulated frames, each divided by its lag 0."""
    made = simulator.frames(SMALL, p, SIZES, n=512, count=count, **keywords)
    found = np.array([images.correlate(frame.numpy(), 64) for frame in made])
    return found / found[:, 32:33, 32:33]


def test_simulator_agrees_with_the_law():
    """To 2 % of the main lobe, the side lobes within their error; with the term of the grains' number."""
    p = s.lognormal(SIZES, 130e-6, 0.3)
    found = np.array([images.radial(a)[1] for a in correlations(p, 40, grains=5000, seed=3)])
    law = images.radial(peace.Law(SMALL, SIZES)(p, grains=5000).numpy())[1]
    mean, error = found.mean(0), found.std(0, ddof=1) / np.sqrt(len(found))
    main = law > 0.15
    assert main.sum() == 3 and np.abs(mean / law - 1)[main].max() < 0.02
    away = (mean[3:30] - law[3:30]) / error[3:30]
    assert np.abs(away).max() < 4 and np.sqrt((away**2).mean()) < 1.6  # rings are correlated over several pixels


def test_coverage_is_the_area_of_the_grains():
    at, r = np.array([[0.0, 0.0], [3e-4, 1.23e-4]]), np.array([1e-4, 2.1e-4])
    w = simulator.coverage(at, r, np.array([1.0, 0.5]), 2e-5, 128).double()
    assert float(w.sum()) * 4e-10 == pytest.approx(np.pi * (r**2 * (1, 0.5)).sum(), rel=1e-5)
    x = (torch.arange(128) - 64) * 2e-5
    assert float((w.sum(0) * x).sum() / w.sum()) == pytest.approx(0.5 * 3e-4 * 4.41 / (1 + 0.5 * 4.41), rel=1e-3)
    with pytest.raises(ValueError, match="reach beyond"):
        simulator.coverage(at, r, np.ones(2), 2e-6, 128)


def test_grains_without_overlap():
    xy, r = simulator.scatter(SMALL, [1.0], np.array([1e-4]), 150, np.random.default_rng(0), overlap=False)
    apart = np.hypot(*(xy[:, None] - xy).T) + np.eye(len(r))
    assert len(r) > 120 and apart.min() >= 2e-4
    with pytest.raises(ValueError, match="without overlap"):
        simulator.scatter(SMALL, [1.0], np.array([4e-4]), 100, np.random.default_rng(0), overlap=False, tries=5)


def test_moving_powder():
    """Frames of a powder moved by less than the beam's width are alike, the more the smaller the step."""
    def likeness(step):
        a, b = list(simulator.frames(SMALL, [1.0], [2e-4], n=256, count=2, grains=200, step=step, seed=1))
        return np.corrcoef(a.flatten(), b.flatten())[0, 1]
    assert likeness(0.0) == pytest.approx(1) and abs(likeness(6e-3)) < 0.1
    assert 0.9 > likeness(5e-4) > likeness(2e-3) + 0.1


def test_camera():
    flat = torch.ones(200, 200)
    shot = peace.camera(flat, photons=100.0, read=0.05)
    assert float(shot.var()) == pytest.approx(1 / 100 + 0.05**2, rel=0.05)
    digits = peace.camera(20 * flat, bits=8)
    assert digits.max() == 255 and digits.min() == 255


# From images to the autocorrelation -----------------------------------------------------------------------------------

def speckle(count, seed=0, n=256):
    made = simulator.frames(SMALL, [1.0], [1e-4], n=n, count=count, grains=5000, seed=seed)
    return np.stack([frame.numpy() for frame in made])


def test_correlate_is_the_sum_over_pairs():
    frame = np.random.default_rng(0).random((20, 30))
    found, signal = images.correlate(frame, 8), frame / frame.mean() - 1
    for dy, dx in ((0, 0), (2, 3), (-1, 3), (-4, -4)):
        pairs = [signal[y, x] * signal[y + dy, x + dx] for y in range(20) for x in range(30)
                 if 0 <= y + dy < 20 and 0 <= x + dx < 30]
        assert found[4 + dy, 4 + dx] == pytest.approx(np.mean(pairs), abs=1e-13)


def test_error_falls_as_the_root_of_the_frames():
    frames = speckle(64)
    each = np.array([peace.autocorrelation([f], 32).mean for f in frames])
    ring = np.hypot(*np.mgrid[-16:16, -16:16]) > 8
    spread = [each.reshape(64 // k, k, 32, 32).mean(1).std(0, ddof=1)[ring].mean() for k in (1, 4, 16)]
    slope = np.polyfit(np.log((1, 4, 16)), np.log(spread), 1)[0]
    assert slope == pytest.approx(-0.5, abs=0.12)
    told = peace.autocorrelation(frames[:16], 32)
    assert told.frames == 16 and told.error[ring].mean() == pytest.approx(spread[2], rel=0.25)


def test_camera_noise_is_taken_from_lag_0():
    frames = [peace.camera(torch.from_numpy(f), read=0.5, seed=i).numpy() for i, f in enumerate(speckle(8))]
    clean = peace.autocorrelation(speckle(8), 32).mean[16, 17]
    raw, known, guessed = (peace.autocorrelation(frames, 32, camera_noise=x).mean[16, 17] for x in (0.0, 0.25, None))
    assert raw < 0.85 * clean and known == pytest.approx(clean, rel=0.02) and guessed == pytest.approx(clean, rel=0.12)


def test_uneven_light_is_divided_out():
    frames = speckle(6)
    light = 1 + 0.8 * np.sin(np.arange(256) / 256 * np.pi)
    even, flat = (peace.autocorrelation(frames, 32, background=x).mean for x in (None, 40.0))
    assert np.abs(peace.autocorrelation(frames * light, 32, background=40.0).mean - flat).max() < 0.02
    assert np.abs(flat - even).max() < 0.1


@pytest.mark.parametrize("suffix, kind", [(".png", np.uint8), (".tif", np.uint16), (".tiff", np.uint16)])
def test_a_folder_of_images(tmp_path, suffix, kind):
    bits = 8 * np.dtype(kind).itemsize
    frames = peace.camera(torch.from_numpy(speckle(3)), bits=bits, exposure=0.08).numpy().astype(kind)
    for i, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / f"{i}{suffix}")
    found = peace.autocorrelation(tmp_path, 32)
    np.testing.assert_array_equal(found.mean, peace.autocorrelation(frames, 32).mean)
    assert found.frames == 3


def test_images_refused(tmp_path):
    good = speckle(1)[0]
    for frame, words in ((good[:40], "too few"), (np.full((200, 200), 7), "constant"), (good * np.nan, "not finite"),
                         (good[None], "shape"), (np.minimum(good * 200, 255).astype(np.uint8), "saturated")):
        with pytest.raises((TypeError, ValueError), match=words):
            peace.autocorrelation([frame], 32)
    with pytest.raises(ValueError, match="no frames"):
        peace.autocorrelation([], 32)
    with pytest.raises(FileNotFoundError, match="no images"):
        peace.autocorrelation(tmp_path)
    (tmp_path / "a.png").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match="a.png"):
        peace.autocorrelation(tmp_path)
    Image.fromarray(np.zeros((200, 200, 3), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="colours"):
        peace.autocorrelation(tmp_path)


# Reduction and its noise ----------------------------------------------------------------------------------------------

NODES = reduction.node_numbers()


@pytest.mark.parametrize("optics, lags", [
    (peace.Optics(), None), (peace.Optics(crop=64), None), (peace.Optics(focal_length=0.3, beam_diameter=6e-3), None),
    (peace.Optics(), np.arange(48)), (peace.Optics(), np.arange(-30, 31)), (peace.Optics(pixel=2.4e-6), np.arange(90))])
def test_reduction_gives_back_the_coherence(optics, lags):
    """Image or cut, another crop, beam or pixel: the same P^2 at the same wave numbers."""
    p = s.lognormal(SIZES, 300e-6, 0.2)
    made = reduction.reduce_image(optics, optics.crop, NODES) if lags is None else \
        reduction.reduce_cut(optics, lags, NODES)
    found = made(peace.Law(optics, SIZES, lags=lags)(p).numpy())
    seen = made.seen
    assert seen.sum() >= 25 and np.isnan(found[~seen]).all()
    wrong = np.abs(found - learning.squared_of(p, SIZES, NODES))[seen]
    assert (wrong < 1e-3 + 0.02 * np.sqrt(np.diag(made.speckle)[seen])).all() and wrong[0] < 1e-4


def test_noise_of_the_law_is_that_of_the_simulator():
    """Speckle and surface: standard deviations of P^2 of single frames, 5000 grains at random, within 20 %."""
    nodes = reduction.node_numbers(SMALL, 12)
    made = reduction.reduce_image(SMALL, 64, nodes)
    p = s.lognormal(SIZES, 100e-6, 0.1)
    found = made(correlations(p, 80, grains=5000, seed=5)).std(0, ddof=1)
    kurtosis = (p @ SIZES**4) / (p @ SIZES**2) ** 2
    law = np.sqrt(np.diag(made.covariance(1, 5000 / kurtosis)))
    assert np.abs(np.log(found / law)).mean() < 0.12 and np.abs(found / law - 1).max() < 0.35
    assert found[0] > 1.5 * np.sqrt(made.speckle[0, 0])  # without the surface's part it would not do
