"""Batch normalisation on a GPU, emulated: layouts, slabs, and the bytes that it moves."""

import numpy as np
import pytest

from minisegnet_kernels import backends, batch_norm, emulator
from minisegnet_kernels.batch_norm import kernel as kernel_py
from minisegnet_kernels.cuda import THREADS
from minisegnet_kernels.layout import channels_last

pytestmark = pytest.mark.skipif(not backends.available()["cuda"], reason="no C++ compiler")
on_each_backend = pytest.mark.parametrize("backend", ["numba_cuda", "cuda"])


def drawn(shape, dtype="float32", seed=0):
    """x, g, gamma, beta."""
    rng = np.random.default_rng(seed)
    x, g, gamma, beta = (rng.normal(size=s).astype(dtype) for s in (shape, shape, shape[1], shape[1]))
    return 3 + x, g, gamma, beta


def step(x, g, gamma, beta):
    """Everything that a training step computes: y, mu, ρ, gammabar, betabar, xbar."""
    y, mu, _, rho = batch_norm.forward_relu(x, gamma, beta)
    sums = batch_norm.grad_affine_relu(g, x, gamma, beta, mu, rho)
    return [y, mu, rho, *sums, batch_norm.grad_input_relu(g, x, gamma, beta, mu, rho, *sums)]


def assert_step(actual, arrays):
    with backends.use("numpy"):
        expected = step(*(a.astype("float64") for a in arrays))
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=2e-5, atol=2e-5 * np.abs(e).max())


def sliced(a):
    """The same values as a part of a larger image, with gaps between rows and columns."""
    wide = np.full((a.shape[0], a.shape[1] + 1, a.shape[2] + 3, 2 * a.shape[3]), 7, a.dtype)
    view = wide[:, 1:, 2:-1, ::2]
    view[...] = a
    return view


def sliced_channels_last(a):
    wide = channels_last(np.full((a.shape[0], a.shape[1] + 2, a.shape[2] + 1, a.shape[3]), 7, a.dtype))
    view = wide[:, 1:-1, 1:]
    view[...] = a
    return view


LAYOUTS = {
    "rows first": np.ascontiguousarray,
    "channels last": channels_last,
    "slice": sliced,
    "slice, channels last": sliced_channels_last,
}
# Shape, and values per thread. Channels: one, fewer and more than a warp, not a divisor of the block. Images smaller than a step and wider
# than a block; one slab and many.
SHAPES = [((3, 1, 5, 7), 16), ((2, 5, 17, 19), 1), ((2, 5, 17, 19), 16), ((1, 33, 4, 9), 1), ((40, 3, 3, 2), 16), ((1, 2, 1, 300), 16)]
SHAPES += [((9, 40, 1, 1), 16)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("shape", "values"), SHAPES, ids=str)
def test_every_layout_is_read_where_it_lies(shape, values, layout, monkeypatch):
    monkeypatch.setattr(kernel_py, "_VALUES", values)
    x, g, gamma, beta = drawn(shape)
    results = []
    for options in ({"schedule": "reverse"}, {"schedule": "random", "seed": 3, "watched": True}):
        with backends.use("cuda"), emulator.options(**options):
            results.append(step(LAYOUTS[layout](x), LAYOUTS[layout](g), gamma, beta))
    assert_step(results[0], (x, g, gamma, beta))
    assert len({b"".join(a.tobytes() for a in result) for result in results}) == 1
    y, xbar = results[0][0], results[0][-1]
    if layout == "channels last" and min(shape[1], shape[2] * shape[3]) > 1:
        assert y.strides == xbar.strides == LAYOUTS[layout](x).strides


@pytest.mark.parametrize("layout", ["rows first", "channels last"])
def test_more_slabs_than_threads_that_merge_them(layout, monkeypatch):
    monkeypatch.setattr(kernel_py, "_VALUES", 1)
    shape = (1, 2, 260, 261) if layout == "rows first" else (1, 20, 64, 65)
    arrays = drawn(shape)
    with backends.use("cuda"), emulator.launches() as seen:
        result = step(*(LAYOUTS[layout](a) if a.ndim == 4 else a for a in arrays))
    assert "batch_norm_forward__merge<float, 256>" in [launch.kernel for launch in seen]
    assert_step(result, arrays)


@on_each_backend
@pytest.mark.parametrize("layout", ["rows first", "channels last"])
def test_a_large_mean_leaves_the_variance_its_digits(backend, layout):
    """A mean of 10⁴ has an ulp of 10⁻³; the difference E[x²] − E[x]² would be off by 10, more than the variance."""
    rng = np.random.default_rng(1)
    x = (1e4 + rng.normal(size=(2, 3, 9, 30))).astype("float32")
    with backends.use(backend):
        _, mu, nu, _ = batch_norm.forward(LAYOUTS[layout](x), np.ones(3, "float32"), np.zeros(3, "float32"))
    exact = x.astype("float64")
    np.testing.assert_allclose(mu, exact.mean((0, 2, 3)), rtol=2e-7)
    np.testing.assert_allclose(nu, exact.var((0, 2, 3)), rtol=4e-4)


@on_each_backend
def test_a_constant_channel_gives_beta_exactly(backend):
    x = np.full((2, 2, 5, 5), 0.1, "float32")
    with backends.use(backend):
        y, mu, *_ = batch_norm.forward(x, np.full(2, 3, "float32"), np.array([0.5, -2], "float32"))
    np.testing.assert_array_equal(mu, x[0, :, 0, 0])
    np.testing.assert_array_equal(y, np.broadcast_to(np.array([0.5, -2], "float32")[:, None, None], y.shape))


@on_each_backend
@pytest.mark.parametrize("function", [batch_norm.forward, batch_norm.forward_relu])
def test_nan_reaches_its_channel_and_no_other(backend, function):
    x = np.random.default_rng(0).normal(size=(2, 2, 3, 4))
    x[1, 0, 2, 3] = np.nan
    with backends.use(backend):
        y, *_ = function(x, np.ones(2), np.zeros(2))
    assert np.isnan(y[:, 0]).all()
    assert np.isfinite(y[:, 1]).all()


@on_each_backend
@pytest.mark.parametrize("function", [batch_norm.inference, batch_norm.inference_relu])
def test_nan_stays_where_the_statistics_are_given(backend, function):
    x = np.array([-1, np.nan, 2], "float32").reshape(1, 1, 1, 3)
    zero, one = np.zeros(1, "float32"), np.ones(1, "float32")
    with backends.use(backend):
        y = function(x, zero, one, one, zero, eps=0)
    np.testing.assert_array_equal(y.ravel(), [0 if function is batch_norm.inference_relu else -1, np.nan, 2])


@on_each_backend
def test_the_gradient_is_closed_where_the_output_is_zero(backend):
    """With g = 1, the gradient for the shift is the number of values that the ReLU let through, however near to the kink."""
    x, _, gamma, _ = drawn((2, 2, 3, 3), seed=5)
    _, mu, _, rho = batch_norm.forward(x, gamma, gamma)
    for m in range(9 if backend == "cuda" else 2):  # shifted so that one value of every channel lies at the kink
        beta = -gamma * rho * (x[1, :, m // 3, m % 3] - mu)
        with backends.use(backend):
            y, mean, _, deviation = batch_norm.forward_relu(x, gamma, beta)
            _, betabar = batch_norm.grad_affine_relu(np.ones_like(x), x, gamma, beta, mean, deviation)
        np.testing.assert_array_equal(betabar, (y > 0).sum((0, 2, 3)))


@on_each_backend
def test_the_relu_is_closed_at_zero_and_for_a_nan(backend):
    """y = x − 1 = −1, 0, 1, NaN: only the third value is let through."""
    x, g = (np.array(a, "float32").reshape(1, 1, 2, 2) for a in ([0, 1, 2, np.nan], [1, 2, 4, 8]))
    zero, one = np.zeros(1, "float32"), np.ones(1, "float32")
    with backends.use(backend):
        gammabar, betabar = batch_norm.grad_affine_relu(g, x, one, -one, zero, one)
        xbar = batch_norm.grad_input_relu(g, x, one, -one, zero, one, zero, zero)
    np.testing.assert_array_equal([gammabar, betabar], [[8], [4]])
    np.testing.assert_array_equal(xbar.ravel(), [0, 0, 4, np.nan])


@on_each_backend
@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4), (2, 3, 0, 4)], ids=str)
def test_nothing_adds_up_to_zero(backend, shape):
    x, vector = np.ones(shape, "float32"), np.ones(shape[1], "float32")
    with backends.use(backend):
        sums = batch_norm.grad_affine_relu(x, x, *[vector] * 4)
        assert batch_norm.grad_input(x, x, *[vector] * 5).shape == shape
        assert batch_norm.inference(x, *[vector] * 4).shape == shape
    np.testing.assert_array_equal(sums, np.zeros((2, shape[1])))


@pytest.mark.parametrize(("layout", "channels"), [("rows first", 3), ("channels last", 8), ("channels last", 32)])
def test_memory_is_read_once_and_without_gaps(layout, channels):
    """Bytes per value in float32: 12 forward (x twice, y once); backward 8 for the sums and 12 for the gradient of the input."""
    shape = (1, channels, 24, 32)
    x, g, gamma, beta = (LAYOUTS[layout](a) if a.ndim == 4 else a for a in drawn(shape))
    with backends.use("cuda"), emulator.options(watched=True), emulator.launches() as seen:
        step(x, g, gamma, beta)
    counters = {launch.kernel.partition("<")[0].removeprefix("batch_norm_"): launch.counters for launch in seen}
    least = {"forward__statistics": 4, "forward_relu": 8, "grad_affine_relu": 8, "grad_input_relu": 12}
    for kernel, size in least.items():
        seen_here = counters[kernel]
        per_channel = 6 * 4 * THREADS * np.prod(kernel_py._map(x, 1024)[0])  # each thread reads the parameters of its channel once
        assert size * x.size <= seen_here["global_bytes"] <= size * x.size + per_channel, kernel
        # An array need not start with a sector, so four sectors may become five; with gaps, each value would have a sector of its own.
        assert seen_here["sectors"] <= 1.4 * seen_here["least_sectors"], kernel
