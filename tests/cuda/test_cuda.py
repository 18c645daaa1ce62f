"""The GPU programs compute what the oracle computes: CUDA C++ emulated, Numba CUDA simulated, both on a GPU.

The table and the checks are those of the CPU programs. In addition, every order of the threads gives
the same bits, a watched run finds no race and no access out of bounds, and every layout is read without a copy.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from operations import TABLE, map_arrays
from support import rungs
from support.checks import assert_close, check_bits, check_gradients, check_integers, check_parity, with_gaps
from support.targets import EMULATED, ON_DEVICE, SIMULATED, few, need_gpu

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


# --- CUDA C++ in the emulator ------------------------------------------------------------------------


@table
@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.quick), "float64"])
@given(data=st.data())
def test_emulated_equals_oracle(operation, dtype, data):
    check_parity(operation, EMULATED, data.draw(operation.cases), dtype)


@large
@dtypes
@few(5)
@given(data=st.data())
def test_emulated_equals_reference_on_large_shapes(operation, dtype, data):
    check_parity(operation, EMULATED, data.draw(operation.large), dtype, against="numpy")


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
        check_parity(operation, EMULATED, data.draw(operation.cases), "float32")


@pytest.mark.parametrize("operation", [o for o in TABLE if o.run is None], ids=str)
@few(4)
@given(data=st.data())
def test_every_layout_is_read_where_it_lies(operation, data):
    """Channels last and slices give the results of plain arrays up to rounding. Results have the layout of the first image."""
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


@pytest.mark.parametrize("operation", [o for o in TABLE if o.differentiable], ids=str)
@few(5)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_emulated_gradients_equal_differentiation_of_the_oracle(operation, data, seed):
    check_gradients(operation, "cuda", data.draw(operation.cases), seed)


def channels_last_if_image(a):
    return channels_last(a) if a.ndim == 4 and a.dtype.kind == "f" else a


# --- Numba CUDA in the simulator ---------------------------------------------------------------------


@table
@dtypes
@few(3)
@given(data=st.data())
def test_simulated_equals_oracle(operation, dtype, data):
    check_parity(operation, SIMULATED, data.draw(operation.cases), dtype)


@pytest.mark.slow
@table
@dtypes
@given(data=st.data())
def test_simulated_equals_oracle_in_many_cases(operation, dtype, data):
    check_parity(operation, SIMULATED, data.draw(operation.cases), dtype)


@pytest.mark.slow
@pytest.mark.parametrize("operation", [o for o in TABLE if o.differentiable], ids=str)
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
    check_parity(operation, target, data.draw(operation.cases), dtype)


@gpu
@large
@dtypes
@given(data=st.data())
def test_on_a_gpu_equals_reference_on_large_shapes(operation, target, dtype, data):
    need_gpu()
    check_parity(operation, target, data.draw(operation.large), dtype, against="numpy")


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


@pytest.mark.gpu
@pytest.mark.parametrize("layer", rungs.LAYERS)
def test_on_a_gpu_every_rung_equals_reference(layer):
    need_gpu()
    wrong = {label: error for label, error in rungs.trials([layer]) if not error <= rungs.bound(label)}
    assert not wrong
