"""PEACE: from a measured autocorrelation, an image or a cut to sizes, and what is refused on the way."""

import numpy as np
import pytest
import torch
from PIL import Image

from evae_companion import peace
from evae_companion.peace import calibration, learning, measured, method_comparison, reduction, simulator, tracking
from evae_companion.peace import sizes as s
from evae_companion.peace.law import beam, packing

SIZES, NODES = s.size_grid(), reduction.node_numbers()
SMALL = peace.Optics(pixel=9.6e-6, crop=64, shape=(512, 512))  # a camera that is simulated in 50 ms a frame


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


@pytest.mark.filterwarnings("ignore::evae_companion.peace.estimator.OutsideRange")
@pytest.mark.parametrize("median, words", [(1900e-6, "beyond 1000 um"), (15e-6, "below 50 um|not resolved")])
def test_sizes_outside_of_the_range_are_reported(median, words):
    grid = s.size_grid(400, 5e-6, 3e-3)
    data = peace.Law(peace.Optics(), grid)(s.lognormal(grid, median, 0.1)).numpy()
    with pytest.warns(peace.OutsideRange, match=words):
        found = peace.estimate(data, frames=200)
    assert found.notes


@pytest.mark.filterwarnings("ignore::evae_companion.peace.estimator.OutsideRange")
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
    (GOOD, {"frames": 0}, "frames"), (GOOD, {"calibration": 0.2}, "calibration"),
    (GOOD, {"method": "nnls", "tune": 3}, "tune"),
    (-GOOD[:, None] * GOOD, {}, "lag 0"), ([[1.0], [1.0, 2.0]], {}, "autocorrelation must"),
    (torch.ones(20, requires_grad=True), {}, "autocorrelation must"), (GOOD[:20], {"lags": ["a"] * 20}, "lags must"),
    (GOOD, {"lags": np.arange(48), "unit": "metres"}, "unit='metres' right"),
    (GOOD, {"optics": peace.Optics(focal_length=0.01)}, "train")])
def test_estimate_refuses(data, options, words):
    with pytest.raises((TypeError, ValueError), match=words):
        peace.estimate(data, **options)


# Scale and height -----------------------------------------------------------------------------------------------------

CASE = method_comparison.Case(frames=200, grains=20_000)


def with_noise(optics, p, seed=0, lags=None):
    """The law's autocorrelation of a powder with the noise of CASE, an image or a cut, for the true optics."""
    gauge = measured.gauge_of(peace.Optics(), None if lags is not None else 96, lags)
    clean = peace.Law(optics, SIZES, lags)(p).numpy()
    return clean + method_comparison.noise_of(gauge, CASE, np.random.default_rng(seed)).reshape(clean.shape)


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
    for case in (method_comparison.Case(frames=200, grains=1e12), method_comparison.Case(frames=1e12, grains=5000)):
        told = np.sqrt(np.diag(gauge.speckle / case.frames + gauge.surface / (case.frames * case.grains)))
        rng = np.random.default_rng(0)
        drawn = np.std([gauge.rows @ method_comparison.noise_of(gauge, case, rng) for _ in range(60)], 0)
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


@pytest.mark.filterwarnings("ignore::evae_companion.peace.estimator.OutsideRange")
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


@pytest.mark.parametrize("method", ["peace", "plain"])
@pytest.mark.parametrize("beam_diameter", [4.6e-3, 5.2e-3])
def test_another_beam_than_the_networks(method, beam_diameter):
    """Without noise: the rings of another beam are not taken for sizes."""
    optics = peace.Optics(beam_diameter=beam_diameter)
    data = peace.Law(optics, SIZES)(s.lognormal(SIZES, 1e-4, 0.2)).numpy()
    found = peace.estimate(data, optics, frames=200, method=method)
    assert found.d(50)[0] == pytest.approx(1e-4, rel=0.05) and found.misfit < 0.2


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


@pytest.mark.filterwarnings("ignore::evae_companion.peace.estimator.OutsideRange")
@pytest.mark.parametrize("bits, suffix", [(8, ".png"), (16, ".tif")])
def test_a_folder_of_images_end_to_end(tmp_path, bits, suffix):
    """Frames with shot and read noise, written to files, read back, and their sizes: within a quarter of the truth."""
    p, kind = s.lognormal(SIZES, 4e-4, 0.2), {8: np.uint8, 16: np.uint16}[bits]
    for k, frame in enumerate(simulator.frames(SMALL, p, SIZES, n=512, count=12, grains=3000, seed=2)):
        seen = peace.camera(frame, photons=300.0, read=0.03, bits=bits, seed=k).numpy().astype(kind)
        Image.fromarray(seen).save(tmp_path / f"{k:03d}{suffix}")
    found = peace.estimate(peace.autocorrelation(tmp_path, 64), SMALL, grains=3000)
    assert found.d(50)[0] == pytest.approx(4e-4, rel=0.25) and "lag 0 stands out by 0." in found.notes[0]
    published = peace.estimate(peace.autocorrelation(tmp_path, 64), SMALL)  # lag 0 of images is left out anyway
    assert published.d(50)[0] == pytest.approx(4e-4, rel=0.25) and published.height[1] > 0


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
    assert fall == pytest.approx(1 / packing(3.8317 * 3.6e-2, 0.39), rel=0.3)


def test_packing_of_hard_discs():
    """Its limits: the compressibility at q = 0, no order far out or where discs are few; the least value is at 0."""
    x = np.linspace(0, 60, 400)
    for eta in (0.1, 0.4, 0.7):
        found = packing(x, eta)
        assert found[0] == pytest.approx((1 - eta) ** 3 / (1 + eta), rel=1e-4) and found.argmin() == 0
        assert found[-1] == pytest.approx(1, abs=0.05)
    np.testing.assert_allclose(packing(x, 1e-6), 1, atol=1e-5)
    law, p = peace.Law(peace.Optics(), SIZES), s.lognormal(SIZES, 200e-6, 0.2)
    with pytest.raises(ValueError, match="grains, too"):
        law(p, coverage=0.3)
    with pytest.raises(ValueError, match="below 1"):
        law(p, grains=100, coverage=1.0)


@pytest.mark.filterwarnings("ignore::evae_companion.peace.estimator.OutsideRange")
@pytest.mark.parametrize("median, width, grains, coverage", [(100e-6, 0.2, 250, 0.4), (200e-6, 0.2, 80, 0.5)])
def test_few_grains_side_by_side(median, width, grains, coverage):
    """The law with their term: without it nothing fits, with their number or their coverage the sizes are found."""
    p = s.lognormal(SIZES, median, width)
    optics = peace.Optics(beam_diameter=2 * np.sqrt(grains * float(p @ SIZES**2) / coverage))
    data = peace.Law(optics, SIZES)(p, grains=grains, coverage=coverage).numpy()
    number, covered, without = (peace.estimate(data, optics, frames=200, overlap=False, **options)
                                for options in ({"grains": grains}, {"coverage": coverage}, {}))
    assert number.d(50)[0] == pytest.approx(median, rel=0.15) and covered.d(50)[0] == pytest.approx(median, rel=0.15)
    assert without.misfit > 10 and number.misfit < 4 and covered.misfit < 1


@pytest.mark.filterwarnings("ignore::evae_companion.peace.estimator.OutsideRange")
@pytest.mark.parametrize("median, width", [(150e-6, 0.3), (300e-6, 0.2)])
def test_the_number_of_grains_is_taken_off(median, width):
    """The law with the term of 2000 grains: it does not fit without their number (small grains are biased), it does
    and is unbiased with it or with their coverage."""
    p = s.lognormal(SIZES, median, width)
    data = peace.Law(peace.Optics(), SIZES)(p, grains=2000).numpy()
    cover = 2000 * float(p @ SIZES**2) / 2.4e-3**2
    without, known, covered = (peace.estimate(data, frames=200, **options)
                               for options in ({}, {"grains": 2000}, {"coverage": cover}))
    assert without.misfit > 2 and (median > 200e-6 or without.d(50)[0] < 0.94 * median)
    assert known.d(50)[0] == pytest.approx(median, rel=0.02) and known.misfit < 1
    assert covered.d(50)[0] == pytest.approx(median, rel=0.1) and covered.misfit < 0.1 * without.misfit
    least = [peace.estimate(data, frames=200, method="nnls", grains=n).misfit for n in (None, 2000)]
    assert least[1] < 0.1 * least[0]


@pytest.mark.filterwarnings("ignore::evae_companion.peace.estimator.OutsideRange")
def test_networks_see_another_camera_as_their_own():
    """Pixels twice as large: the noise of neighbouring nodes is correlated otherwise."""
    p, gauge = s.lognormal(SIZES, 3e-4, 0.3), measured.gauge_of(SMALL, 64, None)
    case, rng = method_comparison.Case(frames=50), np.random.default_rng(0)
    clean, v, wrong = peace.Law(SMALL, SIZES)(p).numpy(), s.weighted(p, SIZES, s.VOLUME), []
    for _ in range(6):
        data = clean + method_comparison.noise_of(gauge, case, rng).reshape(64, 64)
        found = peace.estimate(data, SMALL, frames=50, calibration=0.0, lag_zero=False)
        wrong.append(float(s.distance(found.volume, v)))
    print(f"mean distance {np.mean(wrong):.4f}")
    assert np.mean(wrong) < 0.05  # as the data are: 0.1


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
