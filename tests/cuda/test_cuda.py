"""The GPU programs compute what the oracle computes: CUDA C++ emulated, Numba CUDA simulated, both on a GPU.

The same table and the same checks as for the CPU's programs; here also: every order of the threads gives
the same bits, a watched run sees no race and no access out of bounds, and every layout is read where it lies.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from operations import TABLE, map_arrays
from targets import EMULATED, ON_DEVICE, SIMULATED, few, need_gpu
from test_gradients import DIFFERENTIABLE, check_gradients
from test_parity import assert_close, run

from minisegnet_kernels import backends, emulator
from minisegnet_kernels.layout import channels_last, is_channels_last

if not backends.available()["cuda"]:
    pytest.skip("no C++ compiler for the emulator", allow_module_level=True)

SCHEDULES = [("forward", 0), ("reverse", 0), ("random", 1), ("random", 2)]
table = pytest.mark.parametrize("operation", TABLE, ids=str)
large = pytest.mark.parametrize("operation", [o for o in TABLE if o.large is not None], ids=str)
dtypes = pytest.mark.parametrize("dtype", ["float64", "float32"])
on_device = [pytest.mark.gpu, pytest.mark.parametrize("target", ON_DEVICE, ids=str)]


def gpu(test):
    for mark in on_device:
        test = mark(test)
    return test


def check(operation, target, case, dtype):
    """One case: the target in `dtype` against the oracle in float64."""
    case = case.cast(dtype)
    expected = run(operation, "formula", case.cast("float64"))
    assert_close(target.run(operation, case), expected, dtype, operation.terms(case))


def check_large(operation, target, case, dtype):
    """Against NumPy's program in float64: the oracle would take minutes."""
    case = case.cast(dtype)
    expected = run(operation, "numpy", case.cast("float64"))
    assert_close(target.run(operation, case), expected, dtype, operation.terms(case))


def check_integers(operation, target, case):
    case.arrays = {name: map_arrays(lambda a: np.rint(4 * a) if a.dtype.kind == "f" else a, a) for name, a in case.arrays.items()}
    for a, e in zip(target.run(operation, case.cast("float32")), run(operation, "formula", case), strict=True):
        np.testing.assert_array_equal(a, e)


def check_bits(operation, target, case):
    """Twice the same; and from channels last, or from a slice, what a plain array gives."""
    case = case.cast("float32")
    first, second = target.run(operation, case), target.run(operation, case)
    assert [a.tobytes() for a in first] == [a.tobytes() for a in second]


# --- CUDA C++ in the emulator ------------------------------------------------------------------------


@table
@dtypes
@given(data=st.data())
def test_emulated_equals_oracle(operation, dtype, data):
    check(operation, EMULATED, data.draw(operation.cases), dtype)


@large
@dtypes
@few(5)
@given(data=st.data())
def test_emulated_equals_reference_on_large_shapes(operation, dtype, data):
    check_large(operation, EMULATED, data.draw(operation.large), dtype)


@pytest.mark.parametrize("operation", [o for o in TABLE if o.exact], ids=str)
@few(6)
@given(data=st.data())
def test_small_integers_are_exact(operation, data):
    check_integers(operation, EMULATED, data.draw(operation.cases))


@table
@few(3)
@given(data=st.data())
def test_every_order_of_the_threads_gives_the_same_bits(operation, data):
    case = data.draw(operation.large if operation.large is not None else operation.cases).cast("float32")
    results = []
    for schedule, seed in SCHEDULES:
        with emulator.options(schedule=schedule, seed=seed):
            results.append([a.tobytes() for a in EMULATED.run(operation, case)])
    assert all(r == results[0] for r in results)


@table
@few(4)
@given(data=st.data(), seed=st.integers(0, 99))
def test_a_watched_run_sees_no_race_and_no_access_out_of_bounds(operation, data, seed):
    with emulator.options(watched=True, schedule="random", seed=seed):
        check(operation, EMULATED, data.draw(operation.cases), "float32")


@pytest.mark.parametrize("operation", [o for o in TABLE if o.run is None], ids=str)
@few(4)
@given(data=st.data())
def test_every_layout_is_read_where_it_lies(operation, data):
    """Channels last and slices give what plain arrays give, to rounding; results lie like the first image."""
    case = data.draw(operation.cases)
    expected = EMULATED.run(operation, case)
    for relaid in (channels_last_if_image, with_gaps):
        case_ = type(case)({name: map_arrays(relaid, a) for name, a in case.arrays.items()}, case.options)
        actual = EMULATED.run(operation, case_)
        assert_close(actual, expected, "float64", operation.terms(case))
        if relaid is channels_last_if_image and is_channels_last(next(iter(case_.arrays.values()))):
            for a in actual:
                if a.ndim == 4 and a.shape[1] > 1 and max(a.shape[2:]) > 1 and a.size:
                    assert is_channels_last(a)


@pytest.mark.parametrize("operation", DIFFERENTIABLE, ids=str)
@few(5)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_emulated_gradients_equal_differentiation_of_the_oracle(operation, data, seed):
    check_gradients(operation, "cuda", data.draw(operation.cases), seed)


def channels_last_if_image(a):
    return channels_last(a) if a.ndim == 4 and a.dtype.kind == "f" else a


def with_gaps(a):
    """The same values in every other column of a larger array, read-only."""
    if not a.ndim:
        return a
    wide = np.full((*a.shape[:-1], 2 * a.shape[-1]), 7, a.dtype)
    wide[..., ::2] = a
    view = wide[..., ::2]
    view.flags.writeable = False
    return view


# --- Numba CUDA in the simulator ---------------------------------------------------------------------


@table
@dtypes
@few(3)
@given(data=st.data())
def test_simulated_equals_oracle(operation, dtype, data):
    check(operation, SIMULATED, data.draw(operation.cases), dtype)


@pytest.mark.slow
@table
@dtypes
@given(data=st.data())
def test_simulated_equals_oracle_in_many_cases(operation, dtype, data):
    check(operation, SIMULATED, data.draw(operation.cases), dtype)


@pytest.mark.slow
@pytest.mark.parametrize("operation", DIFFERENTIABLE, ids=str)
@few(5)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_simulated_gradients_equal_differentiation_of_the_oracle(operation, data, seed):
    check_gradients(operation, "numba_cuda", data.draw(operation.cases), seed)


# --- on a device -------------------------------------------------------------------------------------


@gpu
@table
@dtypes
@given(data=st.data())
def test_on_a_gpu_equals_oracle(operation, target, dtype, data):
    need_gpu()
    check(operation, target, data.draw(operation.cases), dtype)


@gpu
@large
@dtypes
@given(data=st.data())
def test_on_a_gpu_equals_reference_on_large_shapes(operation, target, dtype, data):
    need_gpu()
    check_large(operation, target, data.draw(operation.large), dtype)


@gpu
@pytest.mark.parametrize("operation", [o for o in TABLE if o.exact], ids=str)
@given(data=st.data())
def test_on_a_gpu_small_integers_are_exact(operation, target, data):
    need_gpu()
    check_integers(operation, target, data.draw(operation.cases))


@gpu
@table
@given(data=st.data())
def test_on_a_gpu_the_same_input_gives_the_same_bits(operation, target, data):
    need_gpu()
    check_bits(operation, target, data.draw(operation.large if operation.large is not None else operation.cases))
