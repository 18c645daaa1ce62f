"""Every backend computes what the oracle computes: same table, same cases, every view."""

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from operations import TABLE, map_arrays
from support.checks import assert_close, check_bits, check_integers, check_parity, run, with_gaps
from support.targets import Target

BACKENDS = ("numpy", "numba")
table = pytest.mark.parametrize("operation", TABLE, ids=str)
on_each_backend = pytest.mark.parametrize("backend", BACKENDS)
# The quick profile spends most of its time on compiling kernels. It compiles them for float64 only, which the gradients need anyway.
dtypes = pytest.mark.parametrize("dtype", [pytest.param("float64", marks=pytest.mark.quick), "float32"])


@table
@on_each_backend
@dtypes
@given(data=st.data())
def test_backend_equals_oracle(operation, backend, dtype, data):
    check_parity(operation, Target(backend), data.draw(operation.cases), dtype)


@pytest.mark.parametrize("operation", [o for o in TABLE if o.large is not None], ids=str)
@dtypes
@given(data=st.data())
def test_compiled_equals_reference_on_large_shapes(operation, dtype, data):
    check_parity(operation, Target("numba"), data.draw(operation.large), dtype, against="numpy")


@pytest.mark.parametrize("operation", [o for o in TABLE if o.exact], ids=str)
@on_each_backend
@given(data=st.data())
def test_small_integers_are_exact(operation, backend, data):
    check_integers(operation, Target(backend), data.draw(operation.cases))


@pytest.mark.quick
@pytest.mark.parametrize("operation", [o for o in TABLE if o.run is None], ids=str)  # in-place equations are checked with their operation
@on_each_backend
@given(data=st.data())
def test_inputs_are_not_changed_and_may_be_strided(operation, backend, data):
    case = data.draw(operation.cases)
    expected = run(operation, backend, case)
    strided = {name: map_arrays(with_gaps, a) for name, a in case.arrays.items()}
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
    check_bits(operation, Target(backend), data.draw(operation.large if operation.large is not None else operation.cases))


@table
@given(data=st.data())
def test_bits_do_not_depend_on_the_number_of_threads(operation, data):
    case = data.draw(operation.large if operation.large is not None else operation.cases).cast("float32")
    results = []
    for threads in (1, numba.config.NUMBA_NUM_THREADS):
        numba.set_num_threads(threads)
        results.append([a.tobytes() for a in run(operation, "numba", case)])
    assert results[0] == results[1]
