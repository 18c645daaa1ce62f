"""Measures of uncertainty, Monte Carlo dropout, and test-time augmentation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minisegnet as ms
from minisegnet import inference, models, nn, random
from minisegnet.inference import augmented_scores, confidence, entropy, margin, monte_carlo_dropout, scores

RNG = np.random.default_rng(0)


def softmax(a, axis):
    e = np.exp(a - a.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def pixel(*p):
    return np.array(p, float)[:, None, None]


@pytest.mark.parametrize(
    ("p", "sure", "doubt", "ahead"),
    [
        ((1, 0), 1, 0, 1),
        ((0.5, 0.5), 0.5, 1, 0),
        ((0.25, 0.25, 0.25, 0.25), 0.25, 1, 0),
        ((0.5, 0.25, 0.25, 0), 0.5, 1.5 / 2, 0.25),  # 1.5 bits of 2
        ((0.1, 0.6, 0.3), 0.6, 0.8979457248567797 / np.log(3), 0.3),  # −Σ p ln p by hand
    ],
)
def test_doubt_of_known_probabilities(p, sure, doubt, ahead):
    assert confidence(pixel(*p)).item() == pytest.approx(sure)
    assert entropy(pixel(*p)).item() == pytest.approx(doubt, abs=1e-12)
    assert margin(pixel(*p)).item() == pytest.approx(ahead)


@given(st.integers(2, 6), st.integers(0, 99))
def test_the_three_lie_between_0_and_1_and_forget_the_order_of_the_classes(classes, seed):
    p = softmax(np.random.default_rng(seed).normal(0, 3, (2, classes, 3, 4)), 1)
    for measure in (confidence, entropy, margin):
        found = measure(p)
        assert found.shape == (2, 3, 4) and found.min() >= 0 and found.max() <= 1
        np.testing.assert_allclose(measure(p[:, ::-1]), found, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(measure(p[0]), found[0], rtol=1e-12, atol=1e-12)


# --- Monte Carlo dropout ---------------------------------------------------------------------


class Net(nn.Module):
    """A network with one dropout, on its input, so that all outcomes can be enumerated."""

    def __init__(self, p, kind=nn.Dropout):
        self.dropout, self.norm = kind(p), nn.BatchNorm2d(1)
        self.conv = nn.Conv2d(1, 2, 1)
        self.conv.weight.array[...] = np.array([1.0, -0.5])[:, None, None, None]
        self.conv.bias.array[...] = [0.25, 0]

    def forward(self, x):
        return self.conv(self.norm(self.dropout(x)))


def test_mean_and_information_against_the_two_outcomes_of_one_dropout():
    net, x = Net(0.3).double(), np.full((1, 1, 40, 50), 1.2)
    found = monte_carlo_dropout(net, x, passes=60)
    value = np.array([0.0, 1.2 / 0.7]) / np.sqrt(1 + 1e-5)  # dropped, kept
    p = softmax(np.stack([value + 0.25, -0.5 * value]), 0)  # class, outcome
    mean = p @ [0.3, 0.7]
    h = lambda q: -(q * np.log2(q)).sum(0)
    assert found.probabilities.mean((0, 2, 3)) == pytest.approx(mean, abs=0.003)  # 2000 pixels × 60 draws
    assert found.information.mean() == pytest.approx(h(mean) - h(p) @ [0.3, 0.7], abs=0.006)
    assert found.passes == 60
    np.testing.assert_allclose(found.entropy, entropy(found.probabilities))


def test_draws_depend_on_the_seed_alone_and_nothing_is_left_behind():
    net, x = Net(0.5, nn.Dropout2d), RNG.standard_normal((2, 1, 9, 9))
    net.norm.eval()
    random.manual_seed(3)
    expected = random.generator().random()
    random.manual_seed(3)
    first, again, other = (monte_carlo_dropout(net, x, 5, seed=s).probabilities for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
    assert random.generator().random() == expected
    assert net.training and net.dropout.training and not net.norm.training
    assert net.norm.num_batches_tracked.item() == 0
    plain = scores(net, x).array
    np.testing.assert_array_equal(plain, scores(net, x).array)


def test_dropout2d_drops_whole_channels():
    net, x = Net(0.5, nn.Dropout2d), np.ones((3, 1, 9, 9))
    for k in range(6):
        p = monte_carlo_dropout(net, x, 2, seed=k).probabilities
        assert np.ptp(p, axis=(2, 3)).max() == 0


def test_networks_without_dropout_are_refused():
    with pytest.raises(ValueError, match="UNet has no dropout layer"):
        monte_carlo_dropout(models.create("unet", 1, 2, 1 / 32), np.zeros((1, 1, 16, 16)))
    with pytest.raises(ValueError, match="2 or more, not 1"):
        monte_carlo_dropout(Net(0.5), np.zeros((1, 1, 4, 4)), 1)


# --- augmentation at test time ------------------------------------------------------------------


def unet():
    random.manual_seed(1)
    return models.create("unet", 1, 3, 1 / 16).eval().double()


def test_the_mean_of_flips_by_hand():
    model, x = unet(), RNG.standard_normal((1, 1, 32, 48))
    p = lambda image: softmax(scores(model, np.ascontiguousarray(image)).array, 1)
    left, down = p(x[..., ::-1])[..., ::-1], p(x[..., ::-1, :])[..., ::-1, :]
    both = p(x[..., ::-1, ::-1])[..., ::-1, ::-1]
    for flips, looks in (("", [p(x)]), ("h", [p(x), left]), ("v", [p(x), down]), ("hv", [p(x), left, down, both])):
        found = softmax(augmented_scores(model, x, flips).array, 1)
        np.testing.assert_allclose(found, np.mean(looks, axis=0), rtol=1e-10)


def test_flipping_the_image_flips_the_labels():
    model, x = unet(), RNG.standard_normal((1, 1, 32, 48))
    one = augmented_scores(model, x).array
    np.testing.assert_allclose(augmented_scores(model, np.ascontiguousarray(x[..., ::-1])).array[..., ::-1], one, rtol=1e-10)
    assert np.abs(scores(model, np.ascontiguousarray(x[..., ::-1])).array[..., ::-1] - scores(model, x).array).max() > 1e-3


@given(st.sampled_from([(1.0,), (0.5, 1.0), (0.75, 1.25)]), st.integers(1, 40), st.integers(1, 40))
def test_scales_leave_a_constant_image_constant(scales, height, width):
    """Scores of every scale return to the size of the image, and bilinear resizing stays within their range."""
    random.manual_seed(0)
    net = nn.Conv2d(1, 3, 1).double()
    x = np.full((1, 1, height, width), 0.7)
    found = augmented_scores(net, x, "hv", scales).array
    assert found.shape == (1, 3, height, width)
    np.testing.assert_allclose(softmax(found, 1), softmax(scores(net, x).array, 1), rtol=1e-10)


def test_augmentation_fits_wherever_scores_do():
    model, x = unet(), RNG.standard_normal((1, 40, 56))
    whole = augmented_scores(model, x[None]).array[0]
    tiled = inference.tiled_scores(model, x, inference.Tiling(64), augmented_scores)
    np.testing.assert_allclose(tiled, whole, rtol=1e-9)


def test_impossible_flips_and_scales_are_refused():
    for flips, scales, message in (("hx", (1.0,), "'hx'"), ("h", (), "positive"), ("h", (0.0,), "positive"), ("h", (np.inf,), "positive")):
        with pytest.raises(ValueError, match=message):
            augmented_scores(unet(), np.zeros((1, 1, 16, 16)), flips, scales)
    assert isinstance(augmented_scores(unet(), ms.tensor(np.zeros((1, 1, 16, 16)))), ms.Tensor)
