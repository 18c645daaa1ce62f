"""Every backend computes what the oracle computes: same table, same cases, every view."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from operations import TABLE, map_arrays

from minisegnet_kernels import backends

BACKENDS = ("numpy", "numba")
table = pytest.mark.parametrize("operation", TABLE, ids=str)
on_each_backend = pytest.mark.parametrize("backend", BACKENDS)


def assert_close(actual, expected, dtype, terms):
    """|error| ≤ 16 ε √terms · scale (terms = 0: equal), and never a NaN that the expected value does not have."""
    assert len(actual) == len(expected)
    for a, e in zip(actual, expected, strict=True):
        assert a.shape == e.shape
        if e.dtype.kind in "iub":
            np.testing.assert_array_equal(a, e)
            continue
        assert a.dtype == dtype
        bound = 16 * np.finfo(dtype).eps * terms**0.5
        scale = np.abs(e).max(initial=0)
        np.testing.assert_allclose(a, e, rtol=bound, atol=bound * scale, equal_nan=False)


def run(operation, backend, case):
    with backends.use(backend):
        return operation(case)


def check_parity(operation, backend, case, dtype):
    """One case: the backend in `dtype` against the oracle in float64."""
    case = case.cast(dtype)
    expected = run(operation, "formula", case.cast("float64"))
    assert_close(run(operation, backend, case), expected, dtype, operation.terms(case))


@table
@on_each_backend
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@given(data=st.data())
def test_backend_equals_oracle(operation, backend, dtype, data):
    check_parity(operation, backend, data.draw(operation.cases), dtype)


@pytest.mark.parametrize("operation", [o for o in TABLE if o.large is not None], ids=str)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@given(data=st.data())
def test_compiled_equals_reference_on_large_shapes(operation, dtype, data):
    case = data.draw(operation.large).cast(dtype)
    expected = run(operation, "numpy", case.cast("float64"))
    assert_close(run(operation, "numba", case), expected, dtype, operation.terms(case))


@pytest.mark.parametrize("operation", [o for o in TABLE if o.exact], ids=str)
@on_each_backend
@given(data=st.data())
def test_small_integers_are_exact(operation, backend, data):
    case = data.draw(operation.cases)
    case.arrays = {name: map_arrays(lambda a: np.rint(4 * a) if a.dtype.kind == "f" else a, a) for name, a in case.arrays.items()}
    expected = run(operation, "formula", case)
    for a, e in zip(run(operation, backend, case.cast("float32")), expected, strict=True):
        np.testing.assert_array_equal(a, e)


@pytest.mark.parametrize("operation", [o for o in TABLE if o.run is None], ids=str)  # in-place equations are checked with their operation
@on_each_backend
@given(data=st.data())
def test_inputs_are_not_changed_and_may_be_strided(operation, backend, data):
    case = data.draw(operation.cases)
    expected = run(operation, backend, case)
    strided = {name: map_arrays(_with_gaps, a) for name, a in case.arrays.items()}
    before = {name: map_arrays(np.copy, a) for name, a in strided.items()}
    original, case.arrays = case.arrays, strided
    actual = run(operation, backend, case)
    for name in before:
        np.testing.assert_array_equal(strided[name], before[name], err_msg=f"{operation} changed its argument {name}")
    # NumPy may add the elements of a strided array in another order; a compiled program gets a contiguous copy.
    assert_close(actual, expected, "float64", operation.terms(case) if backend == "numpy" else 0)
    for a in actual:
        for name, argument in {**strided, **original}.items():
            if isinstance(argument, np.ndarray):
                assert not np.shares_memory(a, argument), f"{operation} returned memory of its argument {name}"


@table
@on_each_backend
@given(data=st.data())
def test_same_input_gives_the_same_bits(operation, backend, data):
    case = data.draw(operation.large if operation.large is not None else operation.cases).cast("float32")
    for first, second in zip(run(operation, backend, case), run(operation, backend, case), strict=True):
        assert first.tobytes() == second.tobytes()


def _with_gaps(a):
    """The same values in an array that is read-only and not contiguous."""
    if not a.ndim:
        return a
    wide = np.full((*a.shape[:-1], 2 * a.shape[-1]), 7, a.dtype)
    wide[..., ::2] = a
    view = wide[..., ::2]
    view.flags.writeable = False
    return view
