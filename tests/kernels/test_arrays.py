"""Array arithmetic that NumPy and CuPy share: layouts survive, and scattered values are combined in a fixed order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisegnet.tensor import Tensor
from minisegnet_kernels.arrays import _scatter_in_pairs, alike, elementwise, scatter
from minisegnet_kernels.layout import channels_last, is_channels_last, lying_like, rows_first, uninitialised

SHAPE = (2, 3, 4, 5)


def writes_rows_first(function):
    """What CuPy's element-wise functions do: the result lies rows first, whatever the operands' layout."""
    return lambda *operands: np.ascontiguousarray(function(*operands))


def drawn(shape=SHAPE, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("other", [SHAPE, (3, 1, 1), (5,), (1, 1, 4, 1), ()], ids=str)
@pytest.mark.parametrize("first", [True, False])
def test_a_result_lies_channels_last_as_its_operand_does(other, first):
    a, b = channels_last(drawn()), drawn(other, 1)
    operands = (a, b) if first else (b, a)
    y = alike(writes_rows_first(np.subtract), *operands)
    assert is_channels_last(y)
    np.testing.assert_array_equal(y, np.subtract(*operands))


def test_rows_first_stays_rows_first_and_numbers_and_small_arrays_pass():
    assert alike(np.add, drawn(), 1).flags.c_contiguous
    assert alike(np.add, drawn((3,)), 1).shape == (3,)
    np.testing.assert_array_equal(alike(np.add, channels_last(drawn()), drawn((2, *SHAPE))), channels_last(drawn()) + drawn((2, *SHAPE)))


def test_gradients_of_an_elementwise_function_lie_as_the_operands():
    function = elementwise(
        lambda a, b: (writes_rows_first(np.multiply)(a, b), lambda g: (lambda: writes_rows_first(np.multiply)(g, b), None))
    )
    a, b, g = channels_last(drawn()), drawn((3, 1, 1), 1), drawn(seed=2)
    y, pullback = function(a, b)
    product, none = pullback(g)
    assert none is None and is_channels_last(y) and is_channels_last(product())
    np.testing.assert_array_equal(product(), g * b)
    np.testing.assert_array_equal(y, a * b)


@given(
    rows=st.integers(1, 8),
    count=st.integers(0, 40),
    seed=st.integers(0, 2**32 - 1),
    width=st.sampled_from([(), (3,)]),
    combine=st.sampled_from([np.add, np.maximum]),
)
def test_both_ways_to_scatter_agree_and_leave_their_arguments_alone(rows, count, seed, width, combine):
    rng = np.random.default_rng(seed)
    index, values, into = rng.integers(0, rows, count), rng.integers(-9, 9, (count, *width)), rng.integers(-9, 9, (rows, *width))
    expected = into.copy()
    for k, value in zip(index, values, strict=True):
        expected[k] = combine(expected[k], value)
    for way in (scatter, _scatter_in_pairs):
        result, kept = into.copy(), (index.copy(), values.copy())
        way(combine, result, index, values)
        np.testing.assert_array_equal(result, expected)
        np.testing.assert_array_equal(index, kept[0])
        np.testing.assert_array_equal(values, kept[1])


def test_with_one_channel_the_strides_tell_the_layout():
    """Values lie in the same places in both layouts, so a change of layout is a view."""
    rows = np.arange(24, dtype=np.float32).reshape(2, 1, 3, 4)
    last = channels_last(rows)
    assert is_channels_last(last) and not is_channels_last(rows) and np.shares_memory(rows, last)
    assert is_channels_last(uninitialised(last, (2, 8, 3, 4))) and is_channels_last(uninitialised(last, (2, 1, 5, 5)))
    assert not is_channels_last(uninitialised(rows, (2, 8, 3, 4))) and not is_channels_last(rows_first(last))
    assert lying_like(rows, last) is last and lying_like(last, rows) is rows, "no copy is needed"
    turned = Tensor(rows).to(memory_format="channels_last")
    assert is_channels_last(turned.array) and not is_channels_last(turned.to(memory_format="contiguous").array)
    np.testing.assert_array_equal(turned.numpy(), rows)
