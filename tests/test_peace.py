"""PEACE: the forward law against closed forms and the simulator, the noise law, images, and the estimators."""


from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.special import jn_zeros

from evae_core import Hamiltonian, peace, plotting, textures
from evae_core.peace import (
    calibration,
    crowd,
    estimator,
    images,
    inverse,
    learning,
    magnetism,
    measured,
    reduction,
    simulator,
    tracking,
    trial,
)
from evae_core.peace import sizes as s
from evae_core.peace.law import beam, jinc

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
    ({"wavelength": 0.0}, "wavelength"), ({"focal_length": np.inf}, "focal_length"), ({"pixel": "5 um"}, "pixel"),
    ({"size": "big"}, "published"), ({"shape": (10, 0)}, "shape"), ({"crop": 4}, "crop"),
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


# Estimators that learn nothing ----------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def image_noise():
    return reduction.reduce_image(peace.Optics(), 96, NODES)


def noisy(p, made, frames, grains, seed):
    cov = made.covariance(frames, grains)
    draw = np.random.default_rng(seed).standard_normal(len(cov))
    return learning.squared_of(p, SIZES, NODES) + learning.factor(cov) @ draw, cov


@pytest.mark.parametrize("median, width", [(150e-6, 0.1), (400e-6, 0.3)])
def test_curvature_gives_the_effective_size(image_noise, median, width):
    p = s.lognormal(SIZES, median, width)
    truth = np.sqrt((p @ SIZES**4) / (p @ SIZES**2))
    found = [inverse.effective_radius(*_swap(noisy(p, image_noise, 200, 1e6, k))) for k in range(20)]
    size, error = np.array(found).T
    assert np.median(size) == pytest.approx(truth, rel=0.03)
    assert np.abs((size - truth) / error).mean() < 2.0


def _swap(pair):
    return pair[0], NODES, pair[1]


@pytest.mark.parametrize("smooth", [0.0, None])
def test_least_squares_find_a_clear_distribution(image_noise, smooth):
    radii = s.size_grid(64)
    p = s.lognormal(SIZES, 500e-6, 0.2)
    squared, cov = noisy(p, image_noise, 200, 1e6, 1)
    found = inverse.nonnegative(squared, NODES, cov, radii, smooth=smooth)
    v = s.weighted(found.numbers, radii, s.VOLUME)
    assert s.quantile(v, radii, 0.5) == pytest.approx(500e-6, rel=0.08) and found.misfit < 2
    assert (found.weight > 0) == (smooth is None)


# Distributions --------------------------------------------------------------------------------------------------------

def test_weights_and_quantiles():
    p = s.lognormal(SIZES, 300e-6, 0.2)
    v = s.weighted(p, SIZES, s.VOLUME)
    assert s.quantile(v, SIZES, 0.5) == pytest.approx(300e-6, rel=2e-3)
    assert s.quantile(v, SIZES, 0.1) == pytest.approx(300e-6 * np.exp(-1.2816 * 0.2), rel=5e-3)
    np.testing.assert_allclose(s.numbers(v, SIZES, s.VOLUME), p, rtol=1e-10)
    other = s.weighted(s.lognormal(SIZES, 330e-6, 0.2), SIZES, s.VOLUME)  # shifted by 10 %: W1 is the shift of the mean
    assert s.distance(v, other) * 1190e-6 == pytest.approx(30e-6 * np.exp(0.02), rel=0.02)


@pytest.mark.parametrize("kind", [*s.TRAINED, *s.UNSEEN])
def test_families(kind):
    p = s.draw(kind, 50, SIZES, np.random.default_rng(0))
    assert p.shape == (50, 192) and (p >= 0).all()
    np.testing.assert_allclose(p.sum(-1), 1)
    with pytest.raises(ValueError, match="kind"):
        s.draw("x", 1, SIZES, np.random.default_rng(0))


# Learning and the front door -----------------------------------------------------------------------------------------

TINY = peace.Shape(width=32, blocks=1)


@pytest.fixture(scope="module")
def tiny():
    """A network trained for some seconds, to test the machinery and not the accuracy."""
    return peace.train(peace.Optics(), peace.Training(steps=150, batch=64, pool=900, physics=1.0), TINY)


def test_curves_are_monotone_and_training_repeats(tiny, image_noise):
    squared, cov = noisy(s.lognormal(SIZES, 300e-6, 0.3), image_noise, 200, 1e6, 0)
    area, number, volume, errors = estimator.predict([tiny], squared, np.sqrt(np.diag(cov)))
    for w in (area, number, volume):
        assert (w >= 0).all() and w.sum() == pytest.approx(1, abs=1e-5)
    assert errors.shape == (2, 192) and (errors > 0).all()
    again = peace.train(peace.Optics(), peace.Training(steps=2, batch=64, pool=900), TINY)
    once = peace.train(peace.Optics(), peace.Training(steps=2, batch=64, pool=900), TINY)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), once.parameters(), strict=True))


def test_training_learns(tiny):
    """Against the best answer that does not look at the data: the mean of the training's curves."""
    p = s.draw("lognormal", 200, SIZES, np.random.default_rng(5))
    case = trial.Case(count=200, seed=5)
    (score,) = trial.compare(case, {"tiny": [tiny]}, least_squares=False)
    v = s.weighted(p, SIZES, s.VOLUME)
    assert score.volume < 0.6 * s.distance(v, v.mean(0)).mean()


def test_physics_term_needs_no_label(tiny, image_noise):
    """Fine-tuning on unlabelled data alone brings the forward law of the answer closer to them, and is a copy."""
    squared, cov = noisy(s.lognormal(SIZES, 500e-6, 0.1), image_noise, 200, 1e6, 0)
    given = [torch.tensor(x, dtype=torch.float32)[None] for x in (squared, np.sqrt(np.diag(cov)))]
    beam2 = torch.tensor(image_noise.beam2, dtype=torch.float32)
    before = {k: v.clone() for k, v in tiny.state_dict().items()}
    (tuned,) = learning.fine_tune([tiny], *(x.numpy() for x in given), image_noise.beam2, steps=40, rate=1e-3)

    def term(net):
        return float(learning.physics_term(net, net(*given).area, *given, beam2).detach())
    assert term(tuned) < 0.7 * term(tiny)
    assert all(torch.equal(v, before[k]) for k, v in tiny.state_dict().items())


def test_true_distribution_has_the_least_physics_term(tiny, image_noise):
    truth = torch.tensor(s.weighted(s.lognormal(SIZES, 500e-6, 0.1), SIZES, s.AREA), dtype=torch.float32)[None]
    beam2, quiet = torch.tensor(image_noise.beam2, dtype=torch.float32), torch.full((1, 47), 1e-4)
    term = learning.physics_term(tiny, truth, tiny.coherence2(truth), quiet, beam2)
    assert float(term) < 1e-6 < float(learning.physics_term(tiny, truth.flip(-1), tiny.coherence2(truth), quiet, beam2))


def test_weights_are_kept_in_half_precision(tiny, tmp_path, image_noise):
    peace.save([tiny, tiny], tmp_path / "x.safetensors")
    found = peace.load(tmp_path / "x.safetensors")
    assert len(found) == 2 and found[0].shape == TINY
    squared, cov = noisy(s.lognormal(SIZES, 300e-6, 0.3), image_noise, 200, 1e6, 0)
    pair = [estimator.predict([net], squared, np.sqrt(np.diag(cov)))[2] for net in (tiny, found[0])]
    assert s.distance(*pair) < 3e-3
    with pytest.raises(RuntimeError, match="not there"):
        peace.load(tmp_path / "y.safetensors")


@pytest.mark.parametrize("wrong, words", [
    ({"scales": 1.5}, "scales"), ({"heights": -0.1}, "heights"), ({"untold": np.nan}, "untold"),
    ({"labelled": 0}, "labelled"), ({"steps": 0}, "steps"), ({"frames": (2.0, 1.0)}, "frames")])
def test_training_refuses(wrong, words):
    with pytest.raises(ValueError, match=words):
        peace.Training(**wrong)


def test_train_refuses(tiny):
    """What is trained on must be a network of the shape asked for."""
    with pytest.raises(TypeError, match="start"):
        peace.train(peace.Optics(), start=[tiny])
    with pytest.raises(ValueError, match="shape must be that of start"):
        peace.train(peace.Optics(), shape=peace.Shape(), start=tiny)


def autocorrelation_of(median, width, optics=None, lags=None, frames=200, seed=0):
    """The law's autocorrelation with the noise of so many frames, an image or a cut."""
    optics = optics or peace.Optics()
    clean = peace.Law(optics, SIZES, lags)(s.lognormal(SIZES, median, width)).numpy()
    rng = np.random.default_rng(seed)
    if lags is not None:
        return clean
    kernel = np.fft.rfft2(np.fft.ifftshift(np.pad(clean, 48)))
    smooth = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((192, 192))) * kernel, (192, 192))
    noise = (smooth + np.roll(smooth[::-1, ::-1], 1, (0, 1))) / np.sqrt(2)  # even, as every autocorrelation
    noise = np.fft.fftshift(noise)[48:144, 48:144] / np.sqrt(optics.pixels * frames)
    return (clean + noise) / (1 + noise[48, 48])


@pytest.mark.parametrize("method", ["peace", "plain", "tikhonov", "nnls"])
@pytest.mark.parametrize("frames", [200, None])
def test_estimate_of_an_image(method, frames):
    found = peace.estimate(autocorrelation_of(400e-6, 0.2), peace.Optics(), method=method, frames=frames)
    assert found.d(50)[0] == pytest.approx(400e-6, rel=0.15) and found.effective[0] == pytest.approx(400e-6, rel=0.2)
    assert found.volume.sum() == pytest.approx(1, abs=1e-4) and found.notes == ()
    if method in ("nnls", "tikhonov"):
        assert found.misfit < 2 and np.isnan(found.error_volume).all()
    else:
        middle, low, high = found.d(50)
        assert low < middle < high and 0 < found.error_volume.max() < 0.3


def test_estimate_of_a_cut_in_two_lines():
    found = peace.estimate(autocorrelation_of(400e-6, 0.2, lags=np.arange(48)), frames=200)
    assert found.d(50)[0] == pytest.approx(400e-6, rel=0.15)


def test_convention_of_size():
    """The same data under the convention of diameters: everything is twice as large."""
    data = autocorrelation_of(400e-6, 0.2)
    one, two = (peace.estimate(data, peace.Optics(size=size), frames=200) for size in ("radius", "diameter"))
    np.testing.assert_allclose(two.sizes, 2 * one.sizes)
    assert two.d(50)[0] == pytest.approx(2 * one.d(50)[0]) and two.effective[0] == pytest.approx(2 * one.effective[0])


@pytest.mark.filterwarnings("ignore::evae_core.peace.estimator.OutsideRange")
@pytest.mark.parametrize("median, words", [(1900e-6, "beyond 1000 um"), (15e-6, "below 50 um|not resolved")])
def test_sizes_outside_of_the_range_are_reported(median, words):
    grid = s.size_grid(400, 5e-6, 3e-3)
    data = peace.Law(peace.Optics(), grid)(s.lognormal(grid, median, 0.1)).numpy()
    with pytest.warns(peace.OutsideRange, match=words):
        found = peace.estimate(data, frames=200)
    assert found.notes


@pytest.mark.filterwarnings("ignore::evae_core.peace.estimator.OutsideRange")
def test_a_law_that_does_not_fit_is_reported():
    data, wrong = autocorrelation_of(400e-6, 0.2), peace.Optics(focal_length=0.26)
    trusted, found = (peace.estimate(data, wrong, frames=200, calibration=x) for x in (0.0, 0.01))
    assert any("no size distribution fits" in note for note in trusted.notes)
    assert any("times the optics'" in note for note in found.notes)


GOOD = beam(peace.Optics(), np.arange(48) * peace.Optics().q_step, 0.0)[0]  # a cut with no size in it


def spoiled(at, value, of=GOOD):
    data = of.copy()
    data[at] = value
    return data


@pytest.mark.parametrize("data, options, words", [
    (GOOD[:, None] * GOOD[:12], {}, "16 pixels"), (np.full((96, 96), np.nan), {}, "9216 values that are not finite"),
    (spoiled(3, np.inf), {}, "1 values that are not finite"), (np.zeros((96, 96)), {}, "constant"),
    (np.arange(96.0), {}, "lag 0"), (GOOD[:4], {}, "at least 8"), (GOOD * 1j, {}, "real part"),
    (GOOD.astype(str), {}, "real numbers"), (GOOD > 0.5, {}, "real numbers"),
    (spoiled(slice(1, 4), 1.0), {}, "saturated: 3"), ((1 + GOOD) / 2, {}, "background"),
    (np.ones((3, 4, 5)), {}, "shape"), (GOOD[:20], {"lags": np.arange(19)}, "one finite lag"),
    (GOOD[:20], {"lags": np.zeros(20)}, "differ"), (GOOD, {"lags": np.arange(48) * 4.8e-6}, "metres"),
    (GOOD, {"unit": "feet"}, "unit"), (GOOD, {"method": "magic"}, "tikhonov"), (GOOD, {"frames": 0}, "frames"),
    (GOOD, {"grains": -1}, "grains"), (GOOD, {"calibration": 0.2}, "calibration"), (GOOD, {"optics": 3}, "Optics"),
    (GOOD, {"method": "nnls", "tune": 3}, "tune"),
    (-GOOD[:, None] * GOOD, {}, "lag 0"), ([[1.0], [1.0, 2.0]], {}, "autocorrelation must"),
    (torch.ones(20, requires_grad=True), {}, "autocorrelation must"), (GOOD[:20], {"lags": ["a"] * 20}, "lags must"),
    (GOOD, {"lags": np.arange(48), "unit": "metres"}, "unit='metres' right"), (GOOD, {"grains": "5"}, "grains must"),
    (GOOD, {"calibration": np.nan}, "calibration"), (GOOD, {"lag_zero": 1}, "lag_zero"), (GOOD, {"tune": -1}, "tune"),
    (GOOD, {"networks": []}, "networks"),
    (GOOD, {"optics": peace.Optics(focal_length=0.01)}, "train")])
def test_estimate_refuses(data, options, words):
    with pytest.raises((TypeError, ValueError), match=words):
        peace.estimate(data, **options)


# Scale and height -----------------------------------------------------------------------------------------------------

CASE = trial.Case(frames=200, grains=20_000)


def with_noise(optics, p, seed=0, lags=None):
    """The law's autocorrelation of a powder with the noise of CASE, an image or a cut, for the true optics."""
    gauge = measured.gauge_of(peace.Optics(), None if lags is not None else 96, lags)
    clean = peace.Law(optics, SIZES, lags)(p).numpy()
    return clean + trial.noise_of(gauge, CASE, np.random.default_rng(seed)).reshape(clean.shape)


@pytest.mark.parametrize("lags", [None, tuple(np.arange(48.0))])
def test_scale_is_found_to_its_error(lags):
    """Within three standard errors, which are below half a per cent, for focal lengths 2 % off either way."""
    gauge, p = measured.gauge_of(peace.Optics(), None if lags is not None else 96, lags), s.lognormal(SIZES, 3e-4, 0.2)
    for k, off in enumerate((-0.02, 0.0, 0.02)):
        data = with_noise(peace.Optics(focal_length=0.25 * (1 + off)), p, k, lags)
        found = gauge.fit(data, frames=200, grains=20_000, trust=0.02, free_height=False)
        assert abs(found.scale - 1 / (1 + off)) < 3 * found.scale_error < 0.015
        assert found.height == pytest.approx(1, abs=1e-3) and 0.3 < found.misfit < 2


def test_noise_draws_have_the_covariance_that_is_told():
    gauge = measured.gauge_of(peace.Optics(), 96, None)
    for case in (trial.Case(frames=200, grains=1e12), trial.Case(frames=1e12, grains=5000)):
        told = np.sqrt(np.diag(gauge.speckle / case.frames + gauge.surface / (case.frames * case.grains)))
        rng = np.random.default_rng(0)
        drawn = np.std([gauge.rows @ trial.noise_of(gauge, case, rng) for _ in range(60)], 0)
        assert np.abs(np.log(drawn / told)).mean() < 0.12


def test_responses_are_the_law_at_a_wrong_scale():
    made = reduction.reduce_image(peace.Optics(), 96, NODES)
    p = s.draw("two_narrow", 3, SIZES, np.random.default_rng(1))
    rows = s.draw("lognormal", 150, SIZES, np.random.default_rng(0))
    response = calibration.responses(peace.Optics(), made, None, np.concatenate((rows, p)), SIZES)
    clean = learning.squared_of(p, SIZES, NODES)
    for off in (0.0, -0.013):
        law = peace.Law(calibration.rescaled(peace.Optics(), 1 + off), SIZES)
        change = np.hstack((np.ones((3, 1)), clean - 1)) @ np.tensordot(off ** np.arange(9), response, 1)
        assert np.abs(clean + change - made(law(torch.from_numpy(p)).numpy())).max() < 1e-4


@pytest.mark.parametrize("method", ["peace", "nnls"])
def test_a_wrong_focal_length_is_not_catastrophic(method):
    """2 % shorter than assumed: with the scale found the median size is within 5 %, and the scale is told."""
    data = with_noise(peace.Optics(focal_length=0.245), s.lognormal(SIZES, 4e-4, 0.2))
    found = peace.estimate(data, frames=200, grains=20_000, method=method)
    assert found.d(50)[0] == pytest.approx(4e-4, rel=0.05)
    assert abs(found.scale[0] - 1 / 0.98) < 3 * found.scale[1] < 0.01 and found.notes == ()


def test_errors_grow_with_what_is_not_known(image_noise):
    p = s.draw("lognormal", 200, SIZES, np.random.default_rng(3))
    q, spread = learning.squared_of(p, SIZES, NODES), np.sqrt(np.diag(image_noise.covariance(200, 1e6)))
    nets, spread = estimator.trained("peace"), np.tile(spread, (200, 1))
    told = [estimator.predict(nets, q, spread, np.tile((doubt, 0.0), (200, 1)))[3].mean() for doubt in (0, 0.003, 0.02)]
    assert told[0] < told[1] < told[2]  # by per cents: the zeros of |M|^2 tell networks the scale as well


@pytest.mark.filterwarnings("ignore::evae_core.peace.estimator.OutsideRange")
@pytest.mark.parametrize("method", ["peace", "tikhonov"])
def test_camera_noise_on_lag_0_does_not_bias_the_size(method):
    data = with_noise(peace.Optics(), s.lognormal(SIZES, 2e-4, 0.2))
    spiked = spoiled((48, 48), 1.08 * data[48, 48], data)
    clean, found = (peace.estimate(x, frames=200, grains=20_000, method=method) for x in (data, spiked))
    assert found.d(50)[0] == pytest.approx(clean.d(50)[0], rel=0.08)
    assert found.height[0] == pytest.approx(1 / 1.08, abs=2e-3) and "lag 0 stands out by 8 %" in found.notes[0]
    assert clean.height[0] == pytest.approx(1, abs=2e-3)  # with grains given lag 0 is left out
    believed = peace.estimate(spiked, frames=200, grains=20_000, method=method, lag_zero=False)
    assert any("no size distribution fits" in note for note in believed.notes)


def test_cuts_in_metres_without_lag_0_and_images_that_are_not_square():
    p, optics = s.lognormal(SIZES, 4e-4, 0.2), peace.Optics()
    cut = with_noise(optics, p, lags=tuple(np.arange(48.0)))
    whole, metres = (peace.estimate(cut, frames=200, lags=lags, unit=unit).d(50)[0]
                     for lags, unit in ((np.arange(48), "pixels"), (np.arange(48) * optics.pixel, "metres")))
    without = peace.estimate(300 * cut[1:], frames=200, lags=np.arange(1, 48))
    assert metres == pytest.approx(whole, rel=1e-6) and without.d(50)[0] == pytest.approx(4e-4, rel=0.1)
    assert without.height[0] == pytest.approx(1, abs=0.02) and without.height[1] > 0
    image = with_noise(optics, p)
    square, wide = (peace.estimate(x, frames=200).d(50)[0] for x in (image[16:80, 16:80], image[16:80]))
    assert wide == square == pytest.approx(4e-4, rel=0.1)


@pytest.mark.filterwarnings("ignore::evae_core.peace.estimator.OutsideRange")
@pytest.mark.parametrize("bits, suffix", [(8, ".png"), (16, ".tif")])
def test_a_folder_of_images_end_to_end(tmp_path, bits, suffix):
    """Frames with shot and read noise, written to files, read back, and their sizes: within a quarter of the truth."""
    p, kind = s.lognormal(SIZES, 4e-4, 0.2), {8: np.uint8, 16: np.uint16}[bits]
    for k, frame in enumerate(simulator.frames(SMALL, p, SIZES, n=512, count=12, grains=3000, seed=2)):
        seen = peace.camera(frame, photons=300.0, read=0.03, bits=bits, seed=k).numpy().astype(kind)
        Image.fromarray(seen).save(tmp_path / f"{k:03d}{suffix}")
    found = peace.estimate(peace.autocorrelation(tmp_path, 64), SMALL, grains=3000)
    assert found.d(50)[0] == pytest.approx(4e-4, rel=0.25) and "lag 0 stands out by 0." in found.notes[0]


def test_grains_without_overlap_lower_the_finite_number_term():
    """The variance of the coherence at lags where M is small: several times less than for grains at random."""
    rng, optics = np.random.default_rng(0), peace.Optics(beam_diameter=2e-3)
    u = np.stack((np.cos(a := np.linspace(0, np.pi, 12, endpoint=False)), np.sin(a)), 1) * 3.8317 / 1e-3  # zeros of M

    def variance(overlap):
        found = []
        for _ in range(60):
            at, r = simulator.scatter(optics, [1.0], np.array([3.6e-5]), 300, rng, overlap=overlap)
            inside = np.hypot(*at.T) < 1e-3
            weight = r[inside] ** 2 / (r[inside] ** 2).sum()
            found.append(np.abs(np.exp(-1j * at[inside] @ u.T).T @ weight) ** 2)
        return np.mean(found)
    fall = variance(True) / variance(False)
    print(f"finite-number term: {fall:.1f} times smaller at 39 % coverage")
    assert 3 < fall < 20


@pytest.mark.filterwarnings("ignore::evae_core.peace.estimator.OutsideRange")
@pytest.mark.parametrize("median, width", [(150e-6, 0.3), (300e-6, 0.2)])
def test_the_number_of_grains_is_taken_off(median, width):
    """The law with the term of 2000 grains: biased without their number, unbiased with it or with their coverage."""
    p = s.lognormal(SIZES, median, width)
    data = peace.Law(peace.Optics(), SIZES)(p, grains=2000).numpy()
    cover = 2000 * float(p @ SIZES**2) / 2.4e-3**2
    without, known, covered = (peace.estimate(data, frames=200, **options)
                               for options in ({}, {"grains": 2000}, {"coverage": cover}))
    assert without.d(50)[0] < 0.94 * median and without.misfit > 4
    assert known.d(50)[0] == pytest.approx(median, rel=0.02) and known.misfit < 1
    assert covered.d(50)[0] == pytest.approx(median, rel=0.1) and covered.misfit < 0.1 * without.misfit
    apart = peace.estimate(data, frames=200, grains=2000 / crowd.APART, overlap=False)
    assert apart.d(50)[0] == pytest.approx(known.d(50)[0], rel=1e-6)
    least = [peace.estimate(data, frames=200, method="nnls", grains=n).misfit for n in (None, 2000)]
    assert least[1] < 0.1 * least[0]


@pytest.mark.filterwarnings("ignore::evae_core.peace.estimator.OutsideRange")
def test_networks_see_another_camera_as_their_own():
    """Pixels twice as large: the noise of neighbouring nodes is correlated otherwise."""
    p, gauge = s.lognormal(SIZES, 3e-4, 0.3), measured.gauge_of(SMALL, 64, None)
    case, rng = trial.Case(frames=50), np.random.default_rng(0)
    clean, v, wrong = peace.Law(SMALL, SIZES)(p).numpy(), s.weighted(p, SIZES, s.VOLUME), []
    for _ in range(6):
        data = clean + trial.noise_of(gauge, case, rng).reshape(64, 64)
        found = peace.estimate(data, SMALL, frames=50, calibration=0.0, lag_zero=False)
        wrong.append(float(s.distance(found.volume, v)))
    print(f"mean distance {np.mean(wrong):.4f}")
    assert np.mean(wrong) < 0.05  # as the data are: 0.1


def test_few_labels_and_many_without(tiny):
    """Without labels only the physics term sees a distribution; both run, and the labelled ones are the same."""
    options = {"steps": 3, "batch": 16, "pool": 300, "labelled": 30}
    one, two = (peace.train(peace.Optics(), peace.Training(physics=w, **options), TINY) for w in (0.0, 1.0))
    assert not torch.equal(one.first.weight, two.first.weight)
    on = peace.train(peace.Optics(), peace.Training(steps=2, batch=16, pool=300), start=tiny)
    assert torch.equal(on.basis, tiny.basis) and not torch.equal(on.first.weight, tiny.first.weight)


# Skyrmions ------------------------------------------------------------------------------------------------------------

MAGNET = Hamiltonian(D=0.6, B=0.2)


def gas(radius, seed, count=12, side=128):
    places = magnetism.places(count, side, 16.0, np.random.default_rng(seed))
    return textures.skyrmions(MAGNET, (side, side), places, np.broadcast_to(radius, count))


def test_skyrmion_radii_by_counting():
    wanted = np.linspace(3, 6, 12)
    spins = gas(wanted, 0)
    centres, found = magnetism.skyrmion_radii(spins)
    np.testing.assert_allclose(np.sort(found), wanted, atol=0.25)
    assert len(centres) == 12 and len(magnetism.skyrmion_radii(textures.uniform((32, 32)))[1]) == 0
    with pytest.raises(ValueError, match="as many as"):
        textures.skyrmions(MAGNET, (64, 64), np.zeros((2, 2)), [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="no room"):
        magnetism.places(50, 32, 20.0, np.random.default_rng(0))


def test_form_factor_is_the_transform_of_one_skyrmion():
    spins = textures.skyrmions(MAGNET, (128, 128), np.array([[64.0, 64.0]]), 5.0)
    direct = np.fft.fft2((1 - spins[2].double().numpy()) / 2)[0, :20].real * (-1) ** np.arange(20)
    law = magnetism.form_factors(MAGNET, [5.0], np.arange(20) * 2 * np.pi / 128)[:, 0]
    np.testing.assert_allclose(direct, law, atol=0.01 * law[0])


def test_size_of_skyrmions_is_in_the_envelope():
    spins = [gas(4.0, k) for k in range(8)]
    seen = np.array([magnetism.intensity(one, 22) for one in spins])
    q, radii = np.arange(128) * np.pi / 128, np.linspace(2, 8, 25)
    share = magnetism.sizes_from_envelope(MAGNET, magnetism.envelope(seen.mean(0))[8:55], q[8:55], radii)
    assert share @ radii == pytest.approx(4.0, abs=0.5) and share.sum() == pytest.approx(1)
    across = magnetism.correlation(seen, 8, 40)[16, 16:19]
    np.testing.assert_allclose(across, np.exp(-(np.arange(3) * np.pi / 128 * 22) ** 2 / 2), atol=0.25)


def test_tracker_follows_a_powder_that_breaks_up():
    tracker = peace.Tracker(window=4)
    for _ in range(6):
        first = tracker.add(autocorrelation_of(700e-6, 0.15))
    for _ in range(30):
        last = tracker.add(autocorrelation_of(250e-6, 0.15))
    assert first.d(50)[0] == pytest.approx(700e-6, rel=0.1) and last.d(50)[0] == pytest.approx(250e-6, rel=0.15)
    shares = list(tracking.break_up(SIZES, 5))
    assert s.quantile(s.weighted(shares[0], SIZES, 3), SIZES, 0.5) == pytest.approx(700e-6, rel=0.02)
    assert s.quantile(s.weighted(shares[-1], SIZES, 3), SIZES, 0.5) == pytest.approx(250e-6, rel=0.02)


def test_trial_scores_every_method_on_the_same_data():
    networks = {name: estimator.trained(name) for name in ("peace", "plain")}
    made = trial.reduction_of(peace.Optics(), False, networks["peace"][0].shape)
    case = trial.Case(median=400e-6, count=8)
    right, wrong = (trial.compare(replace(case, focal_error=x), networks, made=made) for x in (0.0, 0.02))
    assert [score.method for score in right] == ["peace", "plain", "nnls", "tikhonov"]
    for one, off in zip(right, wrong, strict=True):
        assert one.volume < (0.02 if one.within == one.within else 0.1) and one.volume < off.volume
    assert all(np.isnan(score.within) == (score.method in ("nnls", "tikhonov")) for score in right)


def test_figures():
    x = np.arange(1.0, 6.0)
    law = plotting.law_against_simulator(x, 1 / x, 1.01 / x, 0.1 / x, plain=0.9 / x)
    assert len(law.axes) == 2 and law.axes[0].get_yscale() == "log"
    curve = np.linspace(0, 1, 5)
    drawn = plotting.cumulative_curves([("a", x * 1e-6, {"true": curve, "found": (curve**2, 0.1 * curve)})] * 4)
    np.testing.assert_allclose(drawn.axes[0].lines[1].get_xydata(), np.stack((x, curve**2), 1))
    scores = plotting.score_curves([("frames", x, {"one": 1 / x, "two": 2 / x}), ("size", x, {"one": x})], goal=0.1)
    assert [ax.get_xlabel() for ax in scores.axes] == ["frames", "size"]
    d = np.stack((x, 2 * x, 3 * x), 1) * 1e-6
    np.testing.assert_allclose(plotting.evolution(x, d, d, d, d).axes[0].lines[0].get_ydata(), x)
    magnetic = plotting.skyrmion_speckle(x, 1 / x, {"gas": 1 / x}, x, {"gas": 3 / x}, x, {"gas": (curve, curve**2)})
    np.testing.assert_allclose(magnetic.axes[1].lines[0].get_ydata(), 1 / x)
    with pytest.raises(ValueError, match="error"):
        plotting.law_against_simulator(x, x, x, x[:2])
