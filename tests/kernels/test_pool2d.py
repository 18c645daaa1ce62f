"""Pooling: what the table of operations does not say."""

from importlib import import_module

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from operations.pool2d import every_window_meets_the_input, geometry
from support.targets import cuda

import minisegnet as ms
from minisegnet_kernels import backends, emulator, pool2d

on_each_backend = pytest.mark.parametrize("backend", ["formula", "numpy", "numba", cuda])
on_every_backend = pytest.mark.parametrize("backend", ["formula", "numpy", "numba", "numba_cuda", cuda])
KINDS = [
    {"kernel_size": 2},
    {"kernel_size": 2, "padding": ((0, 1), (0, 1))},
    {"kernel_size": 3, "stride": 2, "padding": 1},
]  # the special program, and the general one
each_kind = pytest.mark.parametrize("options", KINDS, ids=["tiles", "padded", "overlapping"])


def plane(*rows):
    return np.array([[rows]], "float32")


@on_each_backend
def test_documented_formula_by_hand(backend):
    x = plane([1, 2, 0], [3, -1, 4], [0, 5, -2])
    w, b = np.array([[1, 2], [-1, 1]], "float32"), np.float32(10)
    with backends.use(backend):
        y, winner = pool2d.forward(x, w, b, stride=1)
    # top left window: 1·1, 2·2, −1·3, 1·(−1); the largest is 4, at x[0, 1]
    np.testing.assert_array_equal(y, plane([4 + 10, 4 + 10], [5 + 10, 8 + 10]))
    np.testing.assert_array_equal(winner, [[[[1, 3], [3, 1]]]])
    np.testing.assert_array_equal(pool2d.flat_indices(winner, input_size=(3, 3), kernel_size=2, stride=1), [[[[1, 5], [7, 5]]]])


@on_each_backend
@each_kind
def test_of_equal_values_the_first_in_row_major_order_wins(backend, options):
    x = np.zeros((1, 1, 4, 4), "float32")
    with backends.use(backend):
        _, winner = pool2d.max(x, **options)
        _, weighted = pool2d.forward(
            x, np.ones((options["kernel_size"],) * 2, "float32"), **{k: v for k, v in options.items() if k != "kernel_size"} | {"stride": 2}
        )
    expected = [[0, 0], [0, 0]] if options["kernel_size"] == 2 else [[4, 3], [1, 0]]  # with padding, of those within the image
    np.testing.assert_array_equal(winner, [[expected]])
    np.testing.assert_array_equal(weighted, [[expected]])


@on_each_backend
@given(seed=st.integers(0, 2**32 - 1))
def test_padding_never_wins(backend, seed):
    x = -1 - np.random.default_rng(seed).random((1, 2, 5, 5))
    with backends.use(backend):
        y, winner = pool2d.max(x, kernel_size=3, stride=2, padding=1)
        down, loser = pool2d.forward(-x, np.full((3, 3), -1.0), stride=2, padding=1)
    assert (y <= -1).all()
    cells = pool2d.flat_indices(winner, input_size=(5, 5), kernel_size=3, stride=2, padding=1)
    np.testing.assert_array_equal(y, np.take_along_axis(x.reshape(1, 2, -1), cells.reshape(1, 2, -1), 2).reshape(y.shape))
    # a negative weight: a padded 0 would give 0, a padded −inf would give +inf
    np.testing.assert_array_equal(down, y)
    np.testing.assert_array_equal(loser, winner)


@on_each_backend
def test_minus_infinity_in_the_input_is_a_value_like_others(backend):
    x = np.full((1, 1, 3, 3), -np.inf, "float32")
    with backends.use(backend):
        y, winner = pool2d.max(x, kernel_size=3, stride=2, padding=1)
    assert (y == -np.inf).all()
    np.testing.assert_array_equal(winner, [[[[4, 3], [1, 0]]]])


@on_each_backend
@each_kind
def test_nan_wins(backend, options):
    x = np.arange(16, dtype="float32").reshape(1, 1, 4, 4)
    x[0, 0, 1, 1] = np.nan
    kernel, stride = {"kernel_size": options["kernel_size"]}, {k: v for k, v in options.items() if k != "kernel_size"} | {"stride": 2}
    with backends.use(backend):
        for y, winner in (pool2d.max(x, **options), pool2d.forward(x, np.ones((options["kernel_size"],) * 2, "float32"), **stride)):
            inside = (slice(1), slice(1)) if options["kernel_size"] == 2 else (slice(2), slice(2))  # the windows that hold it
            assert np.isnan(y[0, 0][inside]).all() and np.isnan(y).sum() == y[0, 0][inside].size
            assert (pool2d.flat_indices(winner, input_size=(4, 4), **stride, **kernel)[0, 0][inside] == 5).all()


@on_each_backend
@given(seed=st.integers(0, 2**32 - 1), tiles=st.booleans())
def test_unit_weights_are_ordinary_max_pooling(backend, seed, tiles):
    x = np.random.default_rng(seed).integers(-3, 4, (2, 3, 6, 6)).astype("float32")
    options = {"stride": 2, "padding": 0} if tiles else {"stride": 2, "padding": 1}
    with backends.use(backend):
        for a, b in zip(pool2d.forward(x, np.ones((2, 2), "float32"), **options), pool2d.max(x, kernel_size=2, **options), strict=True):
            np.testing.assert_array_equal(a, b)


@given(seed=st.integers(0, 2**32 - 1))
def test_shared_weights_and_bias_are_broadcast(seed):
    rng = np.random.default_rng(seed)
    x, w, b = rng.normal(size=(2, 3, 5, 5)), rng.normal(size=(2, 2)), 0.25
    whole = pool2d.forward(x, np.broadcast_to(w, (3, 2, 2)), np.full(3, b))
    for shared in (b, np.float64(b), np.array(b), np.array([b])):
        for a, e in zip(pool2d.forward(x, w, shared), whole, strict=True):
            np.testing.assert_array_equal(a, e)


@on_each_backend
@given(seed=st.integers(0, 2**32 - 1), size=st.tuples(st.integers(2, 7), st.integers(2, 7)))
def test_unpooling_undoes_pooling_at_the_winners(backend, seed, size):
    x = np.random.default_rng(seed).random((2, 3, *size)) + 1
    with backends.use(backend):
        y, winner = pool2d.max(x, kernel_size=2)
        cells = pool2d.flat_indices(winner, input_size=size, kernel_size=2)
        restored = pool2d.unpool(y, cells, output_size=size)
        again, _ = pool2d.max(restored, kernel_size=2)
        np.testing.assert_array_equal(pool2d.grad_unpool(restored, cells), y)
    np.testing.assert_array_equal(again, y)
    np.testing.assert_array_equal(restored[restored != 0], x[restored != 0])
    assert (restored != 0).sum() == y.size


@on_each_backend
def test_the_last_of_the_values_that_go_to_one_cell_stays(backend):
    x, winner = plane([1, 2], [3, 4]), np.array([[[[7, 0], [7, 0]]]])
    with backends.use(backend):
        y = pool2d.unpool(x, winner, output_size=(2, 4))
        gradient = pool2d.grad_unpool(np.arange(8, dtype="float32").reshape(1, 1, 2, 4) + 1, winner)
    np.testing.assert_array_equal(y, plane([4, 0, 0, 0], [0, 0, 0, 3]))
    np.testing.assert_array_equal(gradient, plane([0, 0], [8, 1]))


@on_each_backend
def test_average_counts_padding_or_not(backend):
    x = np.ones((1, 1, 3, 3), "float32")
    with backends.use(backend):
        with_padding = pool2d.average(x, kernel_size=2, padding=1)
        without = pool2d.average(x, kernel_size=2, padding=1, count_include_pad=False)
        hanging = pool2d.average(x, kernel_size=2, ceil_mode=True)
    np.testing.assert_array_equal(with_padding, plane([0.25, 0.5], [0.5, 1]))
    np.testing.assert_array_equal(without, np.ones((1, 1, 2, 2)))
    np.testing.assert_array_equal(hanging, np.ones((1, 1, 2, 2)))  # the part of a window beyond the padded input never counts


@on_each_backend
@given(seed=st.integers(0, 2**32 - 1), size=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_global_average_and_identity(backend, seed, size):
    x = np.random.default_rng(seed).normal(size=(2, 3, *size))
    with backends.use(backend):
        np.testing.assert_allclose(pool2d.adaptive_average(x, output_size=1)[..., 0, 0], x.mean(axis=(2, 3)), rtol=1e-12, atol=1e-14)
        np.testing.assert_array_equal(pool2d.adaptive_average(x, output_size=size), x)


@on_each_backend
@pytest.mark.parametrize(("batch", "channels"), [(0, 2), (2, 0)])
def test_nothing_in_nothing_out(backend, batch, channels):
    x = np.zeros((batch, channels, 4, 4), "float32")
    with backends.use(backend):
        for options in KINDS:
            y, winner = pool2d.max(x, **options)
            assert y.shape == winner.shape == (batch, channels, 2, 2)
            assert pool2d.grad_max(y, winner, input_size=(4, 4), **options).shape == x.shape
        assert pool2d.average(x, kernel_size=2).shape == y.shape
        assert pool2d.adaptive_average(x, output_size=2).shape == y.shape
        assert pool2d.unpool(y, winner, output_size=(4, 4)).shape == x.shape
        assert pool2d.grad_unpool(x, winner).shape == y.shape


X = np.zeros((1, 2, 6, 6), "float32")
G, M = np.zeros((1, 2, 3, 3), "float32"), np.zeros((1, 2, 3, 3), "int64")
W = np.zeros((2, 2), "float32")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: pool2d.max(X[0], kernel_size=2), ["pool2d.max", "(N, C, H, W)", "(2, 6, 6)"]),
        (lambda: pool2d.max(X.astype("float16"), kernel_size=2), ["pool2d.max", "float32", "float16"]),
        (lambda: pool2d.max(X, kernel_size=7), ["pool2d.max", "rows", "at least 7", "6"]),
        (lambda: pool2d.max(X, kernel_size=(2, 9), ceil_mode=False), ["pool2d.max", "columns", "at least 9"]),
        (lambda: pool2d.max(X, kernel_size=2, padding=2), ["pool2d.max", "contains only padding", "at most half"]),
        (lambda: pool2d.max(X[:, :, :1], kernel_size=2, dilation=2, padding=1), ["pool2d.max", "contains only padding", "dilation 2"]),
        (lambda: pool2d.average(X, kernel_size=1, padding=1), ["pool2d.average", "contains only padding"]),
        (lambda: pool2d.max(X, kernel_size=0), ["pool2d.max", "kernel_size", "≥ 1", "0"]),
        (lambda: pool2d.max(X, kernel_size=2, stride=0), ["pool2d.max", "stride", "≥ 1"]),
        (lambda: pool2d.forward(X, np.zeros((3, 2, 2), "float32")), ["pool2d.forward", "C = 2", "(3, 2, 2)"]),
        (lambda: pool2d.forward(X, W, np.zeros(3, "float32")), ["pool2d.forward", "bias", "(2,)", "(3,)"]),
        (lambda: pool2d.forward(X, W.astype("float64")), ["pool2d.forward", "dtypes differ", "float64"]),
        (lambda: pool2d.grad_max(G, M[:, :1], input_size=(6, 6), kernel_size=2), ["pool2d.grad_max", "equal shapes", "(1, 1, 3, 3)"]),
        (lambda: pool2d.grad_max(G, M, input_size=(8, 8), kernel_size=2), ["pool2d.grad_max", "(4, 4)", "(3, 3)"]),
        (lambda: pool2d.grad_max(G, G, input_size=(6, 6), kernel_size=2), ["pool2d.grad_max", "integer", "float32"]),
        (lambda: pool2d.grad_max(G, M + 4, input_size=(6, 6), kernel_size=2), ["pool2d.grad_max", "U·V = 2·2 = 4", "winner = 4"]),
        (lambda: pool2d.grad_input(G, M - 1, W, input_size=(6, 6)), ["pool2d.grad_input", "U·V", "winner = -1"]),
        (lambda: pool2d.grad_weight(G, M + 300, X, kernel_size=2), ["pool2d.grad_weight", "U·V", "winner = 300"]),
        (lambda: pool2d.flat_indices(M + 4, input_size=(6, 6), kernel_size=2), ["pool2d.flat_indices", "U·V", "winner = 4"]),
        (lambda: pool2d.flat_indices(M, input_size=(8, 8), kernel_size=2), ["pool2d.flat_indices", "(4, 4)", "(3, 3)"]),
        (lambda: pool2d.grad_weight(G, M, X[:, :1], kernel_size=2), ["pool2d.grad_weight", "equal N and C"]),
        (lambda: pool2d.grad_average(G, input_size=(9, 9), kernel_size=2), ["pool2d.grad_average", "(4, 4)", "(5, 5)", "(3, 3)"]),
        (lambda: pool2d.unpool(G, M + 36, output_size=(6, 6)), ["pool2d.unpool", "36", "output_size"]),
        (lambda: pool2d.unpool(G, M - 1, output_size=(6, 6)), ["pool2d.unpool", "-1"]),
        (lambda: pool2d.grad_unpool(X, M + 40), ["pool2d.grad_unpool", "40"]),
        (lambda: pool2d.grad_unpool(X[:, :1], M), ["pool2d.grad_unpool", "equal N and C"]),
        (lambda: pool2d.adaptive_average(X, output_size=0), ["pool2d.adaptive_average", "output_size", "≥ 1"]),
        (lambda: pool2d.adaptive_average(X[:, :, :0], output_size=1), ["pool2d.adaptive_average", "at least one row", "(0, 6)"]),
    ],
)
def test_messages_name_operation_expected_and_actual(call, words):
    with pytest.raises(ValueError, match=words[0]) as error:
        call()
    for word in [*words[1:], "Expected:", "Actual:"]:
        assert word in str(error.value)


# --- PyTorch as a second oracle ----------------------------------------------------------------


def symmetric(options, size):
    """PyTorch's padding is the same on both sides and at most half the window."""
    (pt, _), (pl, _) = options["padding"]
    padding = tuple(min(p, u // 2) for p, u in zip((pt, pl), options["kernel_size"], strict=True))
    return {**options, "padding": tuple((p, p) for p in padding)}, {**options, "padding": padding}


@given(drawn=geometry(largest=9, channels=3), nan=st.booleans(), ties=st.booleans())
def test_max_equals_pytorch(drawn, nan, ties):
    torch = pytest.importorskip("torch")
    shape, options, rng = drawn
    ours, theirs = symmetric(options, shape[2:])
    if not every_window_meets_the_input(ours, shape[2:]):
        return
    x = rng.integers(-2, 3, shape).astype("float32") if ties else rng.normal(size=shape)
    if nan:
        x[rng.random(shape) < 0.1] = np.nan
    reference = torch.tensor(x, requires_grad=True)
    expected, indices = torch.nn.functional.max_pool2d(reference, **theirs, return_indices=True)
    y, winner = pool2d.max(x, **ours)
    np.testing.assert_array_equal(y, expected.detach().numpy())
    g = rng.normal(size=y.shape).astype(x.dtype)
    expected.backward(torch.tensor(g))
    del ours["ceil_mode"]
    np.testing.assert_array_equal(pool2d.flat_indices(winner, input_size=shape[2:], **ours), indices.numpy())
    np.testing.assert_allclose(pool2d.grad_max(g, winner, input_size=shape[2:], **ours), reference.grad.numpy(), rtol=1e-5, atol=1e-6)


@given(drawn=geometry(largest=9, channels=3, dilated=False), count_include_pad=st.booleans())
def test_average_equals_pytorch(drawn, count_include_pad):
    torch = pytest.importorskip("torch")
    shape, options, rng = drawn
    ours, theirs = symmetric(options, shape[2:])
    if not every_window_meets_the_input(ours, shape[2:]):
        return
    x = rng.normal(size=shape)
    del ours["dilation"], theirs["dilation"]
    reference = torch.tensor(x, requires_grad=True)
    expected = torch.nn.functional.avg_pool2d(reference, **theirs, count_include_pad=count_include_pad)
    y = pool2d.average(x, **ours, count_include_pad=count_include_pad)
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-12, atol=1e-14)
    g = rng.normal(size=y.shape)
    expected.backward(torch.tensor(g))
    del ours["ceil_mode"]
    gradient = pool2d.grad_average(g, input_size=shape[2:], **ours, count_include_pad=count_include_pad)
    np.testing.assert_allclose(gradient, reference.grad.numpy(), rtol=1e-12, atol=1e-14)


def test_number_of_windows_equals_pytorch():
    """Every size, window, stride, padding, dilation up to a bound, with and without ceil_mode."""
    torch = pytest.importorskip("torch")
    compared = 0
    for size in range(1, 12):
        for kernel, stride, dilation, ceil_mode in np.ndindex(4, 4, 2, 2):
            kernel, stride, dilation, ceil_mode = kernel + 1, stride + 1, dilation + 1, bool(ceil_mode)
            for padding in range(kernel // 2 + 1):
                windows = pool2d.pooled_size(size, kernel, stride, (padding, padding), dilation, ceil_mode)
                x = torch.zeros(1, 1, size, 1)
                window = {
                    "kernel_size": (kernel, 1),
                    "stride": (stride, 1),
                    "padding": (padding, 0),
                    "dilation": (dilation, 1),
                    "ceil_mode": ceil_mode,
                }
                if windows < 1:
                    with pytest.raises(RuntimeError, match="too small"):
                        torch.nn.functional.max_pool2d(x, **window)
                else:
                    assert windows == torch.nn.functional.max_pool2d(x, **window).shape[2]
                    compared += 1
    assert compared > 1000


@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(1, 11), st.integers(1, 11)),
    regions=st.tuples(st.integers(1, 6), st.integers(1, 6)),
)
def test_adaptive_average_equals_pytorch(seed, size, regions):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    x, g = rng.normal(size=(2, 3, *size)), rng.normal(size=(2, 3, *regions))
    reference = torch.tensor(x, requires_grad=True)
    expected = torch.nn.functional.adaptive_avg_pool2d(reference, regions)
    expected.backward(torch.tensor(g))
    np.testing.assert_allclose(pool2d.adaptive_average(x, output_size=regions), expected.detach().numpy(), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(pool2d.grad_adaptive_average(g, input_size=size), reference.grad.numpy(), rtol=1e-12, atol=1e-14)


@given(seed=st.integers(0, 2**32 - 1), size=st.tuples(st.integers(2, 9), st.integers(2, 9)))
def test_unpool_equals_pytorch(seed, size):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    y, winner = pool2d.max(rng.normal(size=(2, 3, *size)), kernel_size=2)
    winner = pool2d.flat_indices(winner, input_size=size, kernel_size=2)
    g, reference = rng.normal(size=(2, 3, *size)), torch.tensor(y, requires_grad=True)
    expected = torch.nn.functional.max_unpool2d(reference, torch.tensor(winner), 2, output_size=size)
    expected.backward(torch.tensor(g))
    np.testing.assert_array_equal(pool2d.unpool(y, winner, output_size=size), expected.detach().numpy())
    np.testing.assert_array_equal(pool2d.grad_unpool(g, winner), reference.grad.numpy())


@on_every_backend
@pytest.mark.parametrize("place", [0, 1])
def test_a_dilated_window_gives_nothing_to_a_cell_that_it_steps_over(backend, place):
    with backends.use(backend):
        xbar = pool2d.grad_max(np.ones((1, 1, 1, 1)), np.full((1, 1, 1, 1), place), input_size=(1, 3), kernel_size=(1, 2), dilation=(1, 2))
    np.testing.assert_array_equal(xbar, [[[[1 - place, 0, place]]]])


@pytest.mark.parametrize("program", ["numba_cuda", "kernel"])
@pytest.mark.parametrize("wrong", [-1, 12, 2**40])
def test_unchecked_winners_outside_the_image_have_no_effect(program, wrong):
    """On a GPU the front door does not check indices. A wrong one causes no access out of bounds, and the other values are right."""
    if program == "kernel" and not backends.available()["cuda"]:
        pytest.skip("no C++ compiler")
    view = import_module(f"minisegnet_kernels.pool2d.{program}")
    x, winner = np.arange(1.0, 5).reshape(1, 1, 2, 2), np.array([[[[5, wrong], [5, 0]]]])
    whole = np.arange(1.0, 13).reshape(1, 1, 3, 4)
    with emulator.options(watched=True):
        y = view.unpool(x, winner, output_size=(3, 4))
        xbar = view.grad_unpool(whole, winner)
    np.testing.assert_array_equal(y, [[[[4, 0, 0, 0], [0, 3, 0, 0], [0, 0, 0, 0]]]])
    np.testing.assert_array_equal(xbar, [[[[0, 0], [6, 1]]]])


@pytest.mark.parametrize("program", ["numba_cuda", "kernel"])
@pytest.mark.parametrize("wrong", [np.uint8(4), np.uint8(255), np.int32(-1), np.int32(4), np.int32(2**31 - 1)], ids=repr)
def test_unchecked_winners_outside_their_window_have_no_effect(program, wrong):
    """The same for the positions in a window that `max` returns, in both of their dtypes."""
    if program == "kernel" and not backends.available()["cuda"]:
        pytest.skip("no C++ compiler")
    view = import_module(f"minisegnet_kernels.pool2d.{program}")
    window = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1)}  # hangs over every edge
    x, g = np.arange(1.0, 7).reshape(1, 1, 2, 3), np.ones((1, 1, 3, 4))
    m = np.full(g.shape, wrong)
    with emulator.options(watched=True):
        by_max = view.grad_max(g, m, input_size=(2, 3), kernel_size=(2, 2), **window)
        by_weighted = view.grad_input(g, m, np.ones((1, 2, 2)), input_size=(2, 3), **window)
        wbar = view.grad_weight(g, m, x, kernel_size=(2, 2), **window)
    for gradient in (by_max, by_weighted, wbar):
        np.testing.assert_array_equal(gradient, np.zeros(gradient.shape))


@pytest.mark.parametrize("wrong", [np.uint8(4), np.uint8(255), np.int32(-1), np.int32(4), np.int32(2**31 - 1)], ids=repr)
def test_a_place_that_the_window_does_not_have_weighs_nothing_in_numba(wrong):
    view, window = import_module("minisegnet_kernels.pool2d.numba_cpu"), {"stride": (2, 2), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)}
    g, m, w = np.ones((1, 2, 1, 1)), np.full((1, 2, 1, 1), wrong), np.arange(1.0, 9).reshape(2, 2, 2)
    assert not view.grad_input(g, m, w, input_size=(2, 2), **window).any()
    assert not view.grad_weight(g, m, np.ones((1, 2, 2, 2)), kernel_size=(2, 2), **window).any()


@on_each_backend
def test_a_window_of_more_cells_than_a_byte_counts(backend):
    """The window has 17 × 17 cells. The last one wins: place 288."""
    x = np.arange(17.0 * 18).reshape(1, 1, 17, 18)
    window = {"kernel_size": 17, "stride": 1}
    with backends.use(backend):
        y, winner = pool2d.max(x, **window)
        xbar = pool2d.grad_max(np.ones_like(y), winner, input_size=(17, 18), **window)
        _, weighted = pool2d.forward(x, np.ones((17, 17)), stride=1)
        wbar = pool2d.grad_weight(np.ones_like(y), weighted, x, **window)
    assert winner.dtype == weighted.dtype == np.int32
    np.testing.assert_array_equal([winner, weighted], np.full((2, 1, 1, 1, 2), 288))
    np.testing.assert_array_equal(np.nonzero(xbar.ravel())[0], [304, 305])
    np.testing.assert_array_equal(np.nonzero(wbar.ravel())[0], [288])
    assert wbar.max() == 304 + 305
    with backends.use(backend):
        assert pool2d.max(x, kernel_size=16)[1].dtype == np.uint8


@pytest.mark.parametrize("return_indices", [False, True])
def test_pytorchs_indices_are_computed_only_on_request(return_indices):
    """The indices are flat and int64. The graph keeps only the position in the window, one byte."""
    x = ms.tensor(np.arange(20, dtype="float32").reshape(1, 1, 4, 5), requires_grad=True)
    for weight in (None, ms.tensor(np.ones((2, 2), "float32"))):
        x.grad = None
        found = ms.functional.max_pool2d(x, 2, ceil_mode=True, return_indices=return_indices, weight=weight)
        if return_indices:
            found, indices = found
            assert indices.dtype == np.int64 and not indices.requires_grad
            np.testing.assert_array_equal(indices.array, [[[[6, 8, 9], [16, 18, 19]]]])
        found.sum().backward()
        np.testing.assert_array_equal(np.nonzero(x.grad.array.ravel())[0], [6, 8, 9, 16, 18, 19])
