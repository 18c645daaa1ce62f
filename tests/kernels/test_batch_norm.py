"""Batch normalisation: properties, edge cases, and PyTorch as a second oracle."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.targets import cuda

from minisegnet_kernels import backends, batch_norm, emulator
from minisegnet_kernels.batch_norm.running import UPDATE, Update
from minisegnet_kernels.layout import channels_last

on_each_backend = pytest.mark.parametrize("backend", ["formula", "numpy", "numba"])
shapes = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(2, 9), st.integers(2, 9))
seeds = st.integers(0, 2**32 - 1)


def drawn(shape, seed, dtype="float64"):
    """x, g, gamma, beta."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=s).astype(dtype) for s in (shape, shape, shape[1], shape[1])]


def backward(g, x, gamma, beta, mu, rho, relu):
    """Gradients for x, gamma and beta."""
    if relu:
        sums = batch_norm.grad_affine_relu(g, x, gamma, beta, mu, rho)
        return batch_norm.grad_input_relu(g, x, gamma, beta, mu, rho, *sums), *sums
    sums = batch_norm.grad_affine(g, x, mu, rho)
    return batch_norm.grad_input(g, x, gamma, mu, rho, *sums), *sums


@on_each_backend
def test_the_difference_of_squares_counter_example(backend):
    """At a mean of 1e4 a float32 square has no digit left for a variance of 1."""
    rng = np.random.default_rng(0)
    x = (1e4 + rng.normal(size=(2, 2, 12, 12))).astype("float32")
    naive = (x * x).mean(axis=(0, 2, 3)) - x.mean(axis=(0, 2, 3)) ** 2
    exact = x.astype("float64").var(axis=(0, 2, 3))
    assert np.abs(naive / exact - 1).max() > 0.1, "the example is too easy"
    with backends.use(backend):
        _, mu, nu, _ = batch_norm.forward(x, np.ones(2, "float32"), np.zeros(2, "float32"), eps=0.0)
    np.testing.assert_allclose(nu, exact, rtol=5e-5)
    np.testing.assert_allclose(mu, x.astype("float64").mean(axis=(0, 2, 3)), rtol=5e-7)


def test_statistics_of_long_channels_keep_their_digits():
    rng = np.random.default_rng(1)
    x = (1e4 + rng.normal(size=(2, 2, 300, 301))).astype("float32")
    _, mu, nu, _ = batch_norm.forward(x, np.ones(2, "float32"), np.zeros(2, "float32"), eps=0.0)
    np.testing.assert_allclose(nu, x.astype("float64").var(axis=(0, 2, 3)), rtol=2e-6)
    np.testing.assert_allclose(mu, x.astype("float64").mean(axis=(0, 2, 3)), rtol=1e-7)


@on_each_backend
@given(shape=shapes, seed=seeds)
def test_output_has_mean_beta_and_deviation_gamma(backend, shape, seed):
    x, _, gamma, beta = drawn(shape, seed)
    with backends.use(backend):
        y, mu, nu, _ = batch_norm.forward(x, gamma, beta, eps=0.0)
    np.testing.assert_allclose(y.mean(axis=(0, 2, 3)), beta, atol=1e-9)
    np.testing.assert_allclose(y.std(axis=(0, 2, 3)), np.abs(gamma), atol=1e-9)
    np.testing.assert_allclose(mu, x.mean(axis=(0, 2, 3)), atol=1e-12)
    np.testing.assert_allclose(nu, x.var(axis=(0, 2, 3)), rtol=1e-9)


@on_each_backend
@given(shape=shapes, seed=seeds)
def test_shift_and_scale_of_the_input_make_no_difference(backend, shape, seed):
    x, _, gamma, beta = drawn(shape, seed)
    with backends.use(backend):
        y, *_ = batch_norm.forward(x, gamma, beta, eps=0.0)
        moved, *_ = batch_norm.forward(3 * x + 5, gamma, beta, eps=0.0)
    np.testing.assert_allclose(moved, y, atol=1e-8)


@on_each_backend
@given(shape=shapes, seed=seeds)
def test_the_gradient_for_x_is_orthogonal_to_shift_and_scale(backend, shape, seed):
    """Adding a constant to x, or scaling x, does not change y, so both sums over the gradient vanish for every g."""
    x, g, gamma, beta = drawn(shape, seed)
    with backends.use(backend):
        _, mu, _, rho = batch_norm.forward(x, gamma, beta, eps=0.0)
        xbar, *_ = backward(g, x, gamma, beta, mu, rho, relu=False)
    scale = np.abs(xbar).sum() * (1 + np.abs(x).max()) + 1e-12
    assert np.abs(xbar.sum(axis=(0, 2, 3))).max() < 1e-9 * scale
    assert np.abs((xbar * x).sum(axis=(0, 2, 3))).max() < 1e-9 * scale


@on_each_backend
@given(shape=shapes, seed=seeds)
def test_relu_equations_are_the_plain_ones_and_a_relu(backend, shape, seed):
    x, g, gamma, beta = drawn(shape, seed)
    with backends.use(backend):
        y, mu, nu, rho = batch_norm.forward(x, gamma, beta)
        fused, *statistics = batch_norm.forward_relu(x, gamma, beta)
        masked = backward(g * (y > 0), x, gamma, beta, mu, rho, relu=False)
        direct = backward(g, x, gamma, beta, mu, rho, relu=True)
        closed = batch_norm.inference_relu(x, mu, nu, gamma, beta)
    np.testing.assert_array_equal(fused, np.maximum(y, 0))
    np.testing.assert_array_equal(statistics, [mu, nu, rho])
    np.testing.assert_allclose(closed, fused, atol=1e-9)
    for a, e in zip(direct, masked, strict=True):
        np.testing.assert_allclose(a, e, atol=1e-12 * (1 + np.abs(e).max()))


@on_each_backend
def test_a_constant_channel_gives_beta(backend):
    x = np.full((2, 1, 4, 4), 7.25, "float32")  # a power of two: the mean has no rounding
    with backends.use(backend):
        y, _, nu, rho = batch_norm.forward(x, np.array([2], "float32"), np.array([0.5], "float32"), eps=1e-5)
    np.testing.assert_array_equal(y, np.full_like(x, 0.5))
    np.testing.assert_array_equal(nu, 0)
    np.testing.assert_allclose(rho, 1e5**0.5, rtol=1e-6)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("function", [batch_norm.forward, batch_norm.forward_relu])
def test_nan_reaches_its_channel_and_no_other(backend, function):
    x = np.random.default_rng(0).normal(size=(2, 2, 4, 4))
    x[1, 0, 2, 3] = np.nan
    with backends.use(backend):
        y, *_ = function(x, np.ones(2), np.zeros(2))
    assert np.isnan(y[:, 0]).all()
    assert np.isfinite(y[:, 1]).all()


def test_running_statistics_by_hand():
    """Values 1, 2, 3, 6: mean 3, biased variance 3.5, unbiased 14/3."""
    x = np.array([1.0, 2, 3, 6]).reshape(1, 1, 2, 2)
    _, mu, nu, _ = batch_norm.forward(x, np.ones(1), np.zeros(1), eps=0.5)
    mean, variance = np.array([10.0]), np.array([2.0])
    rho = batch_norm.update_running(mean, variance, mu, nu, count=4, momentum=0.25, eps=0.5)
    np.testing.assert_allclose(rho, 1 / 2)
    np.testing.assert_allclose(mean, 0.75 * 10 + 0.25 * 3)
    np.testing.assert_allclose(variance, 0.75 * 2 + 0.25 * 14 / 3)


def test_running_statistics_converge_to_those_of_the_data():
    rng = np.random.default_rng(0)
    mean, variance = np.zeros(1, "float32"), np.ones(1, "float32")
    for _ in range(200):
        x = (4 + 3 * rng.normal(size=(2, 1, 16, 16))).astype("float32")
        _, mu, nu, _ = batch_norm.forward(x, np.ones(1, "float32"), np.zeros(1, "float32"))
        batch_norm.update_running(mean, variance, mu, nu, count=512)
    assert mean.dtype == variance.dtype == np.float32
    np.testing.assert_allclose(mean, 4, atol=0.3)
    np.testing.assert_allclose(variance, 9, atol=0.8)


def test_errors_name_operation_expected_and_actual():
    x, one, two = np.ones((2, 3, 4, 4)), np.ones(3), np.ones(2)
    with pytest.raises(ValueError, match=r"(?s)batch_norm\.forward: too few values per channel.*≥ 2.*\(1, 3, 1, 1\).*inference"):
        batch_norm.forward(np.ones((1, 3, 1, 1)), one, one)
    with pytest.raises(ValueError, match=r"(?s)batch_norm\.forward_relu: beta and x do not fit.*\(C,\) = \(3,\).*\(2,\)"):
        batch_norm.forward_relu(x, one, two)
    with pytest.raises(ValueError, match=r"(?s)batch_norm\.inference: x has 3 axes.*N, C, H, W"):
        batch_norm.inference(x[0], one, one, one, one)
    with pytest.raises(ValueError, match=r"(?s)batch_norm\.grad_input: the dtypes differ.*gamma: float32"):
        batch_norm.grad_input(x, x, one.astype("float32"), one, one, one, one)
    with pytest.raises(ValueError, match=r"(?s)batch_norm\.grad_affine: x and g do not fit.*\(2, 3, 4, 4\).*\(2, 3, 4, 5\)"):
        batch_norm.grad_affine(x, np.ones((2, 3, 4, 5)), one, one)
    with pytest.raises(ValueError, match=r"(?s)batch_norm\.grad_inference: there is no kernel for this dtype.*int64"):
        batch_norm.grad_inference(x.astype(int), one, one)


@pytest.mark.parametrize("relu", [False, True], ids=["plain", "relu"])
@on_each_backend
@given(shape=shapes, seed=seeds, eps=st.sampled_from([1e-5, 1e-2]), momentum=st.sampled_from([0.1, 0.7]))
def test_training_equals_pytorch(backend, relu, shape, seed, eps, momentum):
    torch = pytest.importorskip("torch")
    x, g, gamma, beta = drawn(shape, seed)
    mean, variance = np.zeros(shape[1]), np.ones(shape[1])
    tx, tgamma, tbeta = (torch.tensor(a, requires_grad=True) for a in (x, gamma, beta))
    tmean, tvariance = torch.zeros(shape[1], dtype=torch.float64), torch.ones(shape[1], dtype=torch.float64)
    ty = torch.nn.functional.batch_norm(tx, tmean, tvariance, tgamma, tbeta, True, momentum, eps)
    ty = torch.relu(ty) if relu else ty
    ty.backward(torch.tensor(g))
    with backends.use(backend):
        y, mu, nu, rho = (batch_norm.forward_relu if relu else batch_norm.forward)(x, gamma, beta, eps=eps)
        batch_norm.update_running(mean, variance, mu, nu, count=x.size // shape[1], momentum=momentum, eps=eps)
        gradients = backward(g, x, gamma, beta, mu, rho, relu)
    expected = [ty, tx.grad, tgamma.grad, tbeta.grad, tmean, tvariance]
    for a, e in zip([y, *gradients, mean, variance], expected, strict=True):
        np.testing.assert_allclose(a, e.detach().numpy(), rtol=1e-8, atol=1e-9)


@on_each_backend
@given(shape=shapes, seed=seeds, eps=st.sampled_from([1e-5, 1e-2]))
def test_inference_equals_pytorch(backend, shape, seed, eps):
    torch = pytest.importorskip("torch")
    x, g, gamma, beta = drawn(shape, seed)
    rng = np.random.default_rng(seed)
    mean, variance = rng.normal(size=shape[1]), 0.1 + rng.random(shape[1])
    tx, tgamma, tbeta = (torch.tensor(a, requires_grad=True) for a in (x, gamma, beta))
    ty = torch.nn.functional.batch_norm(tx, torch.tensor(mean), torch.tensor(variance), tgamma, tbeta, False, 0.1, eps)
    ty.backward(torch.tensor(g))
    with backends.use(backend):
        y = batch_norm.inference(x, mean, variance, gamma, beta, eps=eps)
        xbar = batch_norm.grad_inference(g, variance, gamma, eps=eps)
        gammabar, betabar = batch_norm.grad_affine(g, x, mean, 1 / np.sqrt(variance + eps))
    for a, e in zip([y, xbar, gammabar, betabar], [ty, tx.grad, tgamma.grad, tbeta.grad], strict=True):
        np.testing.assert_allclose(a, e.detach().numpy(), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("emulated", [False, pytest.param(True, marks=[cuda.marks[0]])])
def test_running_statistics_in_one_launch(emulated):
    """The launch for a GPU runs in the emulator. The batch's variance may be far below eps: it keeps its digits."""
    rng = np.random.default_rng(0)
    mu, nu = (a.astype("float32") for a in (rng.normal(size=300), 10 ** rng.uniform(-12, 2, 300)))
    mean, variance, batches = rng.normal(size=300).astype("float32"), np.zeros(300, "float32"), np.array(4)
    expected = 0.75 * mean + 0.25 * mu, 0.25 * nu * (7 / 6)
    if emulated:
        rho = batch_norm.kernel._update_running(mu, nu, Update(mean, variance, 7, 0.25, batches), 1e-3)
    else:
        rho = batch_norm.update_running(mean, variance, mu, nu, count=7, momentum=0.25, eps=1e-3, batches=batches)
    assert batches == 5
    np.testing.assert_array_equal(rho, 1 / np.sqrt(nu + np.float32(1e-3)))
    for a, b in zip((mean, variance), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


@cuda.marks[0]
@pytest.mark.parametrize("relu", [False, True], ids=["plain", "relu"])
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (1, 40, 3, 3), (3, 1, 90, 70)], ids=str)
@pytest.mark.parametrize("lay", [lambda a: a, channels_last], ids=["rows first", "channels last"])
def test_the_launch_that_normalises_updates_the_running_statistics(relu, shape, lay):
    """As on a GPU, in the emulator: one launch, which gives what the two functions give one after the other, to the last bit."""
    x, _, gamma, beta = drawn(shape, 0, "float32")
    mu, nu = x.mean((0, 2, 3)), x.var((0, 2, 3))
    states = [[np.zeros(shape[1], "float32"), np.ones(shape[1], "float32"), np.array(4)] for _ in range(2)]
    count = x.size // shape[1]
    with backends.use("cuda"), emulator.launches() as seen:
        mean, variance, batches = states[0]
        update = Update(mean, variance, count, 0.1, batches)
        with UPDATE.here(update):
            y = (batch_norm.inference_relu if relu else batch_norm.inference)(lay(x), mu, nu, gamma, beta)
        assert len(seen) == 1
        mean, variance, batches = states[1]
        expected, rho = batch_norm.normalise_and_update(lay(x), mu, nu, gamma, beta, mean, variance, relu=relu, batches=batches)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(update.rho, rho)
    for a, b in zip(*states, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    assert states[0][2] == 5


@on_each_backend
def test_a_small_variance_reaches_the_running_statistics_with_its_digits(backend):
    """A variance of 10⁻⁸ beside an eps of 10⁻⁵ has no digit left in ρ, so it is handed over itself."""
    x = (1e-4 * np.random.default_rng(0).normal(size=(2, 1, 32, 32))).astype("float32")
    mean, variance = np.zeros(1, "float32"), np.zeros(1, "float32")
    with backends.use(backend):
        _, mu, nu, _ = batch_norm.forward(x, np.ones(1, "float32"), np.zeros(1, "float32"))
        batch_norm.update_running(mean, variance, mu, nu, count=x.size, momentum=1.0)
    np.testing.assert_allclose(variance, x.astype("float64").var(ddof=1), rtol=1e-5)
