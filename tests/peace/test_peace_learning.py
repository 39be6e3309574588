"""PEACE: distributions, the estimators that learn nothing, the networks and their training."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from evae_companion import peace
from evae_companion.peace import estimator, inverse, learning, method_comparison, network, reduction
from evae_companion.peace import sizes as s

SIZES, NODES = s.size_grid(), reduction.node_numbers()


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
    case = method_comparison.Case(count=200, seed=5)
    (score,) = method_comparison.compare(case, {"tiny": [tiny]}, least_squares=False)
    v = s.weighted(p, SIZES, s.VOLUME)
    assert score.volume < 0.6 * s.distance(v, v.mean(0)).mean()


def test_physics_term_needs_no_label(image_noise):
    """From random weights, on four clean measurements and no distribution, the physics term alone brings the forward
    law of the answers closer to the data and every answer closer to its distribution. The network is a copy.
    """
    sizes = ((500e-6, 0.1), (300e-6, 0.3), (200e-6, 0.2), (700e-6, 0.1))
    p = np.stack([s.lognormal(SIZES, median, width) for median, width in sizes])
    spread = np.tile(np.sqrt(np.diag(image_noise.covariance(200, 1e6))), (len(p), 1))
    given = [torch.tensor(x, dtype=torch.float32) for x in (learning.squared_of(p, SIZES, NODES), spread)]
    fresh = peace.train(peace.Optics(), peace.Training(steps=1, batch=16, pool=300), TINY)
    before = {k: v.clone() for k, v in fresh.state_dict().items()}
    (tuned,) = learning.fine_tune([fresh], *(x.numpy() for x in given), image_noise.beam2, steps=60, rate=3e-3)

    def judged(net):
        area = net(*given).area.detach()
        term = learning.physics_term(net, area, *given, torch.tensor(image_noise.beam2, dtype=torch.float32))
        truth = s.weighted(p, SIZES, s.AREA)
        return float(term.mean()), np.array([s.distance(x, y) for x, y in zip(area.numpy(), truth, strict=True)])

    (term, apart), (less, nearer) = judged(fresh), judged(tuned)
    assert less < 0.8 * term and (nearer < 0.95 * apart).all()  # 0.59 to 0.69 and 0.90 at most, over five seeds
    assert all(torch.equal(v, before[k]) for k, v in fresh.state_dict().items())


def test_true_distribution_has_the_least_physics_term(tiny, image_noise):
    truth = torch.tensor(s.weighted(s.lognormal(SIZES, 500e-6, 0.1), SIZES, s.AREA), dtype=torch.float32)[None]
    beam2, quiet = torch.tensor(image_noise.beam2, dtype=torch.float32), torch.full((1, 47), 1e-4)
    term = learning.physics_term(tiny, truth, tiny.coherence2(truth), quiet, beam2)
    assert float(term) < 1e-6 < float(learning.physics_term(tiny, truth.flip(-1), tiny.coherence2(truth), quiet, beam2))


def test_rounds_change_nothing_before_they_are_trained(image_noise):
    squared, cov = noisy(s.lognormal(SIZES, 300e-6, 0.3), image_noise, 200, 1e6, 0)
    net = network.SizeNet(replace(TINY, rounds=0))
    net.basis.copy_(torch.randn(47, 47))
    one, two = (estimator.predict([x], squared, np.sqrt(np.diag(cov))) for x in (net, net.with_rounds(3)))
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    on = peace.train(peace.Optics(), peace.Training(steps=2, batch=16, pool=300), replace(TINY, rounds=3), start=net)
    assert on.shape.rounds == 3 and bool(on.back.weight.any()) and bool(on.averaging.any())


def test_the_truth_leaves_nothing_unexplained(tiny, image_noise):
    """As an image sees it, averaged over the nodes' neighbourhoods, and without; a wrong size leaves much."""
    p = s.lognormal(SIZES, 700e-6, 0.1)
    image = image_noise(peace.Law(peace.Optics(), SIZES)(torch.from_numpy(p)).numpy())
    area = torch.tensor(s.weighted(p, SIZES, s.AREA), dtype=torch.float32)[None]
    for data, part in ((image, slice(47)), (learning.squared_of(p, SIZES, NODES), slice(47, 94))):
        given = torch.tensor(data, dtype=torch.float32)[None], torch.full((1, 47), 1e-4)
        right, wrong = (tiny.unexplained(*given, x)[0, part].abs().max() for x in (area, area.roll(2, -1)))
        assert float(right) < 1.0 and float(wrong) > np.arcsinh(50)  # standard deviations of a good image


def test_weights_are_kept_in_half_precision(tiny, tmp_path, image_noise):
    peace.save([tiny, tiny], tmp_path / "x.safetensors")
    found = peace.load(tmp_path / "x.safetensors")
    assert len(found) == 2 and found[0].shape == TINY
    squared, cov = noisy(s.lognormal(SIZES, 300e-6, 0.3), image_noise, 200, 1e6, 0)
    pair = [estimator.predict([net], squared, np.sqrt(np.diag(cov)))[2] for net in (tiny, found[0])]
    assert s.distance(*pair) < 3e-3
    with pytest.raises(RuntimeError, match="not there"):
        peace.load(tmp_path / "y.safetensors")


def test_training_refuses():
    for wrong in ({"scales": 1.5}, {"labelled": 0}, {"steps": 0}, {"frames": (2.0, 1.0)}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            peace.Training(**wrong)


def test_train_refuses(tiny):
    """What is trained on must be a network of the shape asked for."""
    with pytest.raises(TypeError, match="start"):
        peace.train(peace.Optics(), start=[tiny])
    with pytest.raises(ValueError, match="shape must be that of start"):
        peace.train(peace.Optics(), shape=peace.Shape(), start=tiny)


def test_errors_grow_with_what_is_not_known(image_noise):
    p = s.draw("lognormal", 200, SIZES, np.random.default_rng(3))
    q, spread = learning.squared_of(p, SIZES, NODES), np.sqrt(np.diag(image_noise.covariance(200, 1e6)))
    nets, spread = estimator.trained("peace"), np.tile(spread, (200, 1))
    told = [estimator.predict(nets, q, spread, np.tile((doubt, 0.0), (200, 1)))[3].mean() for doubt in (0, 0.003, 0.02)]
    assert told[0] < told[1] < told[2]  # by per cents: the zeros of |M|^2 tell networks the scale as well


def test_few_labels_and_many_without(tiny):
    """Without labels only the physics term sees a distribution; both run, and the labelled ones are the same."""
    options = {"steps": 3, "batch": 16, "pool": 300, "labelled": 30}
    one, two = (peace.train(peace.Optics(), peace.Training(physics=w, **options), TINY) for w in (0.0, 1.0))
    assert not torch.equal(one.first.weight, two.first.weight)
    on = peace.train(peace.Optics(), peace.Training(steps=2, batch=16, pool=300), start=tiny)
    assert torch.equal(on.basis, tiny.basis) and not torch.equal(on.first.weight, tiny.first.weight)


def test_trial_shows_networks_another_camera_as_their_own():
    """Another beam and pixels twice as large: as good as their own. Shown as they are: eight times the error."""
    other = peace.Optics(beam_diameter=4.5e-3, pixel=9.6e-6, crop=64)
    case, networks = method_comparison.Case(count=20, calibration=1e-3), {"peace": estimator.trained("peace")}
    own, another = (method_comparison.compare(case, networks, optics, least_squares=False)[0].volume
                    for optics in (peace.Optics(), other))
    assert another < 1.5 * own + 0.003


def test_trial_scores_every_method_on_the_same_data():
    networks = {name: estimator.trained(name) for name in ("peace", "plain")}
    made = method_comparison.reduction_of(peace.Optics(), False, networks["peace"][0].shape)
    case = method_comparison.Case(median=400e-6, count=8)
    right, wrong = (method_comparison.compare(replace(case, focal_error=x), networks, made=made) for x in (0.0, 0.02))
    assert [score.method for score in right] == ["peace", "plain", "nnls", "tikhonov"]
    for one, off in zip(right, wrong, strict=True):
        assert one.volume < (0.02 if one.within == one.within else 0.1) and one.volume < off.volume
    assert all(np.isnan(score.within) == (score.method in ("nnls", "tikhonov")) for score in right)
