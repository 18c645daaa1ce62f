"""Resizing: properties, edge cases, and PyTorch as a second oracle."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minisegnet_kernels import backends, resize

EMULATED = pytest.param("cuda", marks=pytest.mark.skipif(not backends.available()["cuda"], reason="no C++ compiler for the emulator"))
on_each_backend = pytest.mark.parametrize("backend", ["formula", "numpy", "numba", EMULATED])
seeds = st.integers(0, 2**32 - 1)
sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))
modes = st.sampled_from(["nearest", "bilinear", "bilinear, align_corners"])


def resized(x, size, mode):
    if mode == "nearest":
        return resize.nearest(x, output_size=size)
    return resize.bilinear(x, output_size=size, align_corners=mode != "bilinear")


def gradient(g, size, mode):
    if mode == "nearest":
        return resize.grad_nearest(g, input_size=size)
    return resize.grad_bilinear(g, input_size=size, align_corners=mode != "bilinear")


def images(seed, size, dtype="float64"):
    return np.random.default_rng(seed).normal(size=(2, 1, *size)).astype(dtype)


@on_each_backend
def test_by_hand(backend):
    """0, 1 on four places: edges in place 0, ¼, ¾, 1; centres in place 0, ⅓, ⅔, 1; nearest 0, 0, 1, 1."""
    x = np.array([0.0, 1.0]).reshape(1, 1, 1, 2)
    with backends.use(backend):
        np.testing.assert_allclose(resized(x, (1, 4), "bilinear").ravel(), [0, 0.25, 0.75, 1])
        np.testing.assert_allclose(resized(x, (1, 4), "bilinear, align_corners").ravel(), [0, 1 / 3, 2 / 3, 1])
        np.testing.assert_array_equal(resized(x, (2, 4), "nearest")[0, 0], [[0, 0, 1, 1]] * 2)
        np.testing.assert_allclose(gradient(x.repeat(2, 3), (1, 2), "bilinear").ravel(), [0.25, 1.75])


@on_each_backend
@given(size=sizes, target=sizes, mode=modes, value=st.floats(-5, 5))
@example(size=(1, 2), target=(1, 4), mode="bilinear", value=5e-324)
@example(size=(3, 3), target=(7, 7), mode="bilinear, align_corners", value=-2e-308)
def test_a_constant_stays_constant(backend, size, target, mode, value):
    """It holds up to rounding. Each of the four products of a subnormal number (below 2e-308) is rounded to a multiple of 5e-324."""
    with backends.use(backend):
        y = resized(np.full((1, 2, *size), value), target, mode)
    assert y.shape == (1, 2, *target)
    np.testing.assert_allclose(y, value, rtol=1e-14, atol=4 * np.finfo(np.float64).smallest_subnormal)


@on_each_backend
@given(seed=seeds, size=sizes, mode=modes)
def test_the_same_size_is_the_identity(backend, seed, size, mode):
    x = images(seed, size)
    with backends.use(backend):
        np.testing.assert_allclose(resized(x, size, mode), x, rtol=1e-13)
        np.testing.assert_allclose(gradient(x, size, mode), x, rtol=1e-13)


@on_each_backend
@given(seed=seeds, size=sizes, target=sizes, mode=modes)
def test_gradient_is_the_adjoint_and_keeps_the_sum(backend, seed, size, target, mode):
    """⟨resize(x), g⟩ = ⟨x, gradient(g)⟩; and since weights of an output add up to 1, Σ g = Σ gradient(g)."""
    x, g = images(seed, size), images(seed + 1, target)
    with backends.use(backend):
        y, xbar = resized(x, target, mode), gradient(g, size, mode)
    np.testing.assert_allclose((y * g).sum(), (x * xbar).sum(), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(xbar.sum(), g.sum(), rtol=1e-11, atol=1e-12)


@on_each_backend
@given(seed=seeds, size=sizes, target=sizes, mode=modes)
def test_transposing_and_resizing_commute(backend, seed, size, target, mode):
    x = images(seed, size)
    with backends.use(backend):
        y = resized(x, target, mode)
        turned = resized(x.swapaxes(2, 3), target[::-1], mode)
    np.testing.assert_allclose(turned.swapaxes(2, 3), y, rtol=1e-12, atol=1e-14)


@on_each_backend
@given(size=st.integers(2, 9), target=st.integers(2, 9))
def test_align_corners_draws_straight_lines_straight(backend, size, target):
    x = np.linspace(-1, 3, size).reshape(1, 1, size, 1)
    with backends.use(backend):
        y = resized(x, (target, 1), "bilinear, align_corners")
    np.testing.assert_allclose(y.ravel(), np.linspace(-1, 3, target), atol=1e-13)


@on_each_backend
def test_nearest_takes_no_rounding_from_floats(backend):
    """41 · 2 / 82 is 1; with a float32 scale it is 0.99999994."""
    assert np.float32(41) * np.float32(2 / 82) < 1
    x = np.arange(2.0, dtype="float32").reshape(1, 1, 2, 1)
    with backends.use(backend):
        y = resized(x, (82, 1), "nearest")
    np.testing.assert_array_equal(y.ravel(), np.repeat(np.arange(2), 41))


@pytest.mark.parametrize("backend", [EMULATED, "numba_cuda"])
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bilinear, align_corners"])
def test_on_a_gpu_a_pixel_without_weight_is_not_read(backend, mode):
    """A NaN or ∞ does not spread: it must not be multiplied by a weight of 0, because 0 · ∞ is NaN."""
    x = np.ones((1, 1, 3, 3))
    x[0, 0, 1, 2] = np.inf
    with backends.use(backend):
        np.testing.assert_array_equal(resized(x, (3, 3), mode), x)
        np.testing.assert_array_equal(gradient(x, (3, 3), mode), x)


@pytest.mark.parametrize("call", [lambda x: resized(x, (1, 30000), "nearest"), lambda x: resized(x, (1, 30000), "bilinear")])
@pytest.mark.parametrize("backend", [EMULATED])
def test_sizes_beyond_the_integers_of_a_gpu_are_an_error(backend, call):
    x = np.zeros((1, 1, 1, 40000), "float32")
    with backends.use(backend), pytest.raises(ValueError, match=r"resize.*40000 to 30000.*32-bit"):
        call(x)


def test_errors_name_operation_expected_and_actual():
    x = np.ones((1, 2, 3, 4))
    with pytest.raises(ValueError, match=r"(?s)resize\.bilinear: x has 3 axes.*N, C, H, W.*\(2, 3, 4\)"):
        resize.bilinear(x[0], output_size=2)
    with pytest.raises(ValueError, match=r"(?s)resize\.nearest: output_size does not fit.*≥ 1.*\(0, 3\)"):
        resize.nearest(x, output_size=(0, 3))
    with pytest.raises(ValueError, match=r"(?s)resize\.grad_bilinear: input_size does not fit.*two.*\(1, 2, 3\)"):
        resize.grad_bilinear(x, input_size=(1, 2, 3))
    with pytest.raises(ValueError, match=r"(?s)resize\.grad_nearest: there is no kernel for this dtype.*g: int64"):
        resize.grad_nearest(x.astype(int), input_size=2)
    with pytest.raises(ValueError, match=r"(?s)resize\.nearest: x has no pixels.*\(1, 2, 0, 4\)"):
        resize.nearest(x[:, :, :0], output_size=2)


@on_each_backend
@given(seed=seeds, size=sizes, target=sizes, mode=modes)
def test_equals_pytorch(backend, seed, size, target, mode):
    torch = pytest.importorskip("torch")
    x, g = images(seed, size), images(seed + 1, target)
    options = {"mode": "nearest"} if mode == "nearest" else {"mode": "bilinear", "align_corners": mode != "bilinear"}
    tx = torch.tensor(x, requires_grad=True)
    ty = torch.nn.functional.interpolate(tx, size=target, **options)
    ty.backward(torch.tensor(g))
    with backends.use(backend):
        np.testing.assert_allclose(resized(x, target, mode), ty.detach().numpy(), rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(gradient(g, size, mode), tx.grad.numpy(), rtol=1e-11, atol=1e-13)
