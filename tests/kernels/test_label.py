"""Labelling: what the table of operations does not say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.targets import cuda

from minisegnet_kernels import backends, label

on_each_backend = pytest.mark.parametrize("backend", ["formula", "numpy", "numba", cuda])
INF = np.inf


@on_each_backend
@given(seed=st.integers(0, 2**32 - 1))
def test_argmax_is_numpys(backend, seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(-2, 3, (2, 4, 5, 5)).astype("float32")
    x[rng.random(x.shape) < 0.1] = np.nan
    x[rng.random(x.shape) < 0.1] = -INF
    with backends.use(backend):
        S = label.argmax(x)
    assert S.dtype == np.int64
    np.testing.assert_array_equal(S, x.argmax(axis=1))


@on_each_backend
def test_labels_may_be_any_integers_of_any_integer_dtype(backend):
    x = np.array([3.0, 1.0, 1.0, 2.0, 2.0, 5.0]).reshape(1, 2, 1, 3)
    with backends.use(backend):
        for dtype, labels in {"uint8": [255, 7], "int8": [-1, 7], "int16": [-500, 7], "int32": [7, 7], "int64": [-(2**40), 7]}.items():
            S = label.argmax(x, np.array(labels, dtype))
            assert S.dtype == dtype
            np.testing.assert_array_equal(S, [[[labels[0], labels[1], labels[1]]]])
        assert label.argmax(x, [4, 5]).dtype == np.int64


@on_each_backend
def test_intervals_are_half_open(backend):
    x = np.array([0.0, 0.5, np.nextafter(np.float32(0.5), np.float32(0)), 1.0, -3, 7], "float32").reshape(1, 2, 3)
    with backends.use(backend):
        S = label.intervals(x, [(0, 0.5), (0.5, 1)], [10, 20], default=-1)
    np.testing.assert_array_equal(S, [[[10, 20, 10], [-1, -1, -1]]])


@on_each_backend
def test_a_bound_is_compared_in_the_dtype_of_the_map(backend):
    x = np.full((1, 1, 1), 0.1, "float32")  # float32(0.1) is above 0.1; the bound is rounded like it
    with backends.use(backend):
        np.testing.assert_array_equal(label.intervals(x, [(-INF, 0.1), (0.1, INF)]), [[[1]]])


@on_each_backend
def test_of_overlapping_regions_the_first_has_the_point(backend):
    x = np.array([[[0.5, 1.5, 2.5]]])
    with backends.use(backend):
        np.testing.assert_array_equal(label.intervals(x, [(1, 2), (0, 3)]), [[[1, 0, 1]]])
        np.testing.assert_array_equal(label.prototypes(x[None], np.array([[2.0], [1.0], [2.0]])), [[[1, 0, 0]]])


def test_a_channel_axis_of_one_is_taken_off():
    x = np.linspace(0, 1, 24).reshape(2, 1, 3, 4)
    np.testing.assert_array_equal(label.intervals(x, [(-INF, 0.5), (0.5, INF)]), x[:, 0] >= 0.5)


@on_each_backend
@given(seed=st.integers(0, 2**32 - 1))
def test_prototypes_are_nearest_in_euclidean_distance(backend, seed):
    rng = np.random.default_rng(seed)
    x, p = rng.normal(size=(2, 3, 4, 4)), rng.normal(size=(5, 3))
    with backends.use(backend):
        S = label.prototypes(x, p)
    distances = np.linalg.norm(x[:, None] - p[None, :, :, None, None], axis=2)
    np.testing.assert_array_equal(S, distances.argmin(axis=1))


@on_each_backend
def test_argmax_is_one_of_the_prototype_maps(backend):
    """With the unit vectors as prototypes, the nearest one belongs to the largest component."""
    x = np.random.default_rng(0).normal(size=(1, 4, 6, 6))
    with backends.use(backend):
        np.testing.assert_array_equal(label.prototypes(x, np.eye(4)), label.argmax(x))


@on_each_backend
def test_a_point_in_no_region_is_an_error_that_names_the_first(backend):
    x = np.zeros((2, 3, 4), "float32")
    x[1, 2, 1], x[1, 0, 3] = 9, 2.5
    with backends.use(backend), pytest.raises(ValueError, match=r"label.intervals: a point lies in no region") as error:
        label.intervals(x, [(-1, 1)])
    assert "x = 2.5 at n = 1, i = 0, j = 3" in str(error.value) and "default" in str(error.value)


@on_each_backend
def test_nan_lies_in_no_region(backend):
    x = np.zeros((1, 2, 2, 2))
    x[0, 1, 1, 0] = np.nan
    everything = [(-INF, 0.0), (0.0, INF)]
    with backends.use(backend):
        with pytest.raises(ValueError, match="x = nan at n = 0, i = 1, j = 0"):
            label.intervals(x[:, 1], everything)
        np.testing.assert_array_equal(label.intervals(x[:, 1], everything, default=255), [[[1, 1], [255, 1]]])
        with pytest.raises(ValueError, match=r"x = \(0, nan\) at n = 0, i = 1, j = 0"):
            label.prototypes(x, np.eye(2))
        np.testing.assert_array_equal(label.prototypes(x, np.eye(2), [3, 4], default=255), [[[3, 3], [255, 3]]])


@on_each_backend
def test_the_first_place_is_right_beyond_one_block(backend):
    x = np.zeros((2, 40, 60), "float32")
    x[1, 39, 58] = 5
    with backends.use(backend), pytest.raises(ValueError, match="x = 5 at n = 1, i = 39, j = 58"):
        label.intervals(x, [(-1, 1)])


@on_each_backend
def test_nothing_in_nothing_out(backend):
    with backends.use(backend):
        assert label.argmax(np.zeros((0, 2, 3, 3))).shape == (0, 3, 3)
        assert label.intervals(np.zeros((2, 0, 3)), [(0, 1)]).shape == (2, 0, 3)
        assert label.prototypes(np.zeros((0, 2, 3, 3)), np.eye(2)).shape == (0, 3, 3)


X = np.zeros((1, 3, 2, 2), "float32")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: label.argmax(X[0]), ["label.argmax", "(N, C, H, W)", "(3, 2, 2)"]),
        (lambda: label.argmax(X.astype("int64")), ["label.argmax", "float32", "int64"]),
        (lambda: label.argmax(X[:, :0]), ["label.argmax", "at least one channel"]),
        (lambda: label.argmax(X, [1, 2]), ["label.argmax", "(3,)", "(2,)", "channels"]),
        (lambda: label.argmax(X, [1.0, 2.0, 3.0]), ["label.argmax", "integer", "float64"]),
        (lambda: label.argmax(X, [True, False, True]), ["label.argmax", "integer", "bool"]),
        (lambda: label.intervals(X, [(0, 1)]), ["label.intervals", "(N, H, W)", "(1, 3, 2, 2)"]),
        (lambda: label.intervals(X[0], [0, 1]), ["label.intervals", "pairs (low, high)", "(2,)"]),
        (lambda: label.intervals(X[0], [(0, 1), (2,)]), ["label.intervals", "pairs (low, high)"]),
        (lambda: label.intervals(X[0], [(0, 1), (3, 2)]), ["label.intervals", "region 1", "low < high", "[3, 2)"]),
        (lambda: label.intervals(X[0], [(0, np.nan)]), ["label.intervals", "region 0", "nan"]),
        (lambda: label.intervals(X[0], [(0, 1)], [1, 2]), ["label.intervals", "(1,)", "(2,)"]),
        (lambda: label.intervals(X[0], [(0, 1)], np.array([1], "uint8"), default=-1), ["label.intervals", "uint8", "-1"]),
        (lambda: label.intervals(X[0], [(0, 1)], default=0.5), ["label.intervals", "integer", "0.5"]),
        (lambda: label.prototypes(X, np.zeros((2, 4), "float32")), ["label.prototypes", "equal C", "(2, 4)"]),
        (lambda: label.prototypes(X, np.zeros((2, 3))), ["label.prototypes", "dtypes differ", "float64"]),
    ],
)
def test_messages_name_operation_expected_and_actual(call, words):
    with pytest.raises(ValueError, match=words[0]) as error:
        call()
    for word in [*words[1:], "Expected:", "Actual:"]:
        assert word in str(error.value)


@given(seed=st.integers(0, 2**32 - 1))
def test_argmax_equals_pytorch(seed):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(seed).normal(size=(2, 5, 7, 3)).astype("float32")
    np.testing.assert_array_equal(label.argmax(x), torch.tensor(x).argmax(dim=1).numpy())
