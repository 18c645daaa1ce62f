"""Steps of the optimisers on a GPU, emulated: tables of many arrays, rates that change between replays."""

import re

import numpy as np
import pytest

from minisegnet_kernels import backends, emulator, optimiser
from minisegnet_kernels.cuda import jit
from minisegnet_kernels.cuda.launch import THREADS
from minisegnet_kernels.optimiser import kernel

pytestmark = pytest.mark.skipif(not backends.available()["cuda"], reason="no C++ compiler")
SIZES = [1, THREADS - 1, THREADS, THREADS + 1, 0, 2 * THREADS, 3]


def drawn(sizes, count, dtype="float32", seed=0):
    """`count` lists of arrays."""
    rng = np.random.default_rng(seed)
    return [[rng.random(size).astype(dtype) + dtype_of.type(0.1) for size in sizes] for dtype_of in [np.dtype(dtype)] * count]


def copies(lists):
    return [[a.copy() for a in arrays] for arrays in lists]


def assert_equal_steps(step, lists):
    """The emulated kernel and NumPy in float64 leave the same values behind."""
    expected = [[a.astype("float64") for a in arrays] for arrays in lists]
    with backends.use("numpy"):
        step(*expected)
    actual = copies(lists)
    with backends.use("cuda"), emulator.launches() as seen:
        step(*actual)
    for arrays, wanted in zip(actual, expected, strict=True):
        for a, e in zip(arrays, wanted, strict=True):
            np.testing.assert_allclose(a, e, rtol=2e-6, atol=1e-6)
    return seen


def adam(theta, g, m, v):
    optimiser.adam(theta, g, m, v, step=3, lr=0.1, weight_decay=0.01)


def sgd(theta, g, v):
    optimiser.sgd(theta, g, v, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True)


def rmsprop(theta, g, v, m, b):
    for a in v:
        a += 2  # v − m² is a variance: clear of zero, where rounding would decide
    optimiser.rmsprop(theta, g, v, m, b, lr=0.1, alpha=0.9, eps=1e-2, weight_decay=0.01, momentum=0.9, centered=True)


@pytest.mark.parametrize(("arrays", "launches"), [(1, 1), (7, 1), (80, 1), (81, 1), (93, 1), (94, 2), (230, 3)])
def test_all_parameters_take_one_launch_for_each_80(arrays, launches):
    """Every seventh array is empty and must not get a place in a table."""
    sizes = (SIZES * 40)[:arrays]
    assert len(assert_equal_steps(adam, drawn(sizes, 4))) == launches
    assert len(assert_equal_steps(sgd, drawn(sizes, 3))) == launches
    assert len(assert_equal_steps(rmsprop, drawn(sizes, 5))) == launches


@pytest.mark.parametrize(("step", "count"), [(adam, 4), (sgd, 3), (rmsprop, 5)], ids=["adam", "sgd", "rmsprop"])
def test_numbas_kernel_takes_all_parameters_of_a_dtype_in_one_launch(step, count, monkeypatch):
    """Sizes around the size of a block in the simulator, more arrays than one step of the bisection can separate, and two dtypes."""
    sizes = [1, 0, jit.THREADS - 1, jit.THREADS, jit.THREADS + 1, 0, 3, 2 * jit.THREADS, 2, 0]
    single, double = drawn(sizes, count), drawn([5, 0, jit.THREADS + 3], count, "float64", seed=1)
    actual = [[*s, *d] for s, d in zip(single, double, strict=True)]
    expected = [[a.astype("float64") for a in arrays] for arrays in actual]
    seen = []
    monkeypatch.setattr(jit, "_listeners", [lambda program, arguments: seen.append(arguments)])
    with backends.use("numba_cuda"):
        step(*actual)
    with backends.use("numpy"):
        step(*expected)
    assert [(table.dtype, table.shape) for table, *_ in seen] == [(np.int64, (2 + count, 7)), (np.int64, (2 + count, 2))]
    for arrays, wanted in zip(actual, expected, strict=True):
        for a, e in zip(arrays, wanted, strict=True):
            np.testing.assert_allclose(a, e, rtol=2e-6, atol=1e-6)


def test_numbas_kernel_reads_and_writes_no_further_than_an_array_reaches():
    """The arrays are parts of one piece of memory; the values between them must not change."""
    theta, g = np.arange(20, dtype="float32"), np.ones(20, "float32")
    parts = [slice(0, 7), slice(9, 10), slice(12, 20)]
    with backends.use("numba_cuda"):
        optimiser.sgd([theta[p] for p in parts], [g[p] for p in parts], lr=1)
    moved = np.arange(20) - np.isin(np.arange(20), [7, 8, 10, 11], invert=True)
    np.testing.assert_array_equal(theta, moved)


def test_arrays_without_elements_launch_nothing():
    assert assert_equal_steps(adam, drawn([0, 0], 4)) == []


def test_float32_and_float64_go_into_launches_of_their_own():
    single, double = drawn([5, 300], 4), drawn([7], 4, "float64")
    mixed = [[s[0], d[0], s[1]] for s, d in zip(single, double, strict=True)]
    assert [launch.kernel for launch in assert_equal_steps(adam, mixed)] == ["optimiser_adam<float>", "optimiser_adam<double>"]


@pytest.mark.parametrize("options", [{"watched": True}, {"schedule": "reverse"}, {"schedule": "random", "seed": 1}], ids=str)
def test_no_access_goes_out_of_an_array(options):
    with emulator.options(**options):
        assert_equal_steps(adam, drawn([1, 257, 255], 4))
        assert_equal_steps(sgd, drawn([1, 257, 255], 3))
        assert_equal_steps(rmsprop, drawn([1, 257, 255], 5))


def test_the_table_is_the_struct_and_fits_among_the_arguments():
    """A launch has 4096 bytes of arguments. The table leaves room for the rates and for six numbers."""
    table = kernel._table(kernel._cu.constant("ARRAYS"))
    struct = re.search(r"struct Parameters \{(.*?)\};", kernel._cu.source.text, re.S)[1]
    assert re.findall(r"(\w+)\[ARRAYS\];", struct) == list(table.names)
    assert table.itemsize + 16 + 6 * 8 <= 4096


@pytest.mark.parametrize("decoupled", [False, True])
def test_a_step_is_replayed_with_other_rates(decoupled):
    """As in the replay of a CUDA graph: launches with the same arguments, and new numbers in the array of rates."""
    lists = drawn([3, 300], 4)
    expected = [[a.astype("float64") for a in arrays] for arrays in lists]
    options = {"beta1": 0.8, "beta2": 0.99, "weight_decay": 0.1, "decoupled": decoupled}
    rates = np.empty(3, "float32")
    for step, lr in enumerate([0.1, 0.02, 0.3], start=1):
        rates[...] = kernel._adam_rates(step, lr, **options)
        kernel._launch_adam(*lists, rates, eps=1e-8, **options)
        with backends.use("numpy"):
            optimiser.adam(*expected, step=step, lr=lr, **options)
    for arrays, wanted in zip(lists, expected, strict=True):
        for a, e in zip(arrays, wanted, strict=True):
            np.testing.assert_allclose(a, e, rtol=2e-5, atol=1e-6)


def test_a_step_with_velocities_is_replayed_after_the_first():
    theta, g, v = drawn([3, 300], 3)
    v = [np.full_like(a, np.nan) for a in v]
    expected = [[a.astype("float64") for a in arrays] for arrays in (theta, g, v)]
    rates = np.empty(3, "float32")
    for first, lr in [(True, 0.1), (False, 0.2), (False, 0.05)]:
        rates[...] = kernel._sgd_rates(lr, momentum=0.9, dampening=0.2, first=first)
        kernel._launch_sgd(theta, g, v, rates, momentum=0.9, weight_decay=0.1, nesterov=False)
        with backends.use("numpy"):
            optimiser.sgd(*expected, lr=lr, momentum=0.9, dampening=0.2, weight_decay=0.1, first=first)
    for arrays, wanted in zip((theta, g, v), expected, strict=True):
        for a, e in zip(arrays, wanted, strict=True):
            np.testing.assert_allclose(a, e, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(("step", "count", "size"), [(adam, 4, 28), (sgd, 3, 20), (rmsprop, 5, 36)])
def test_each_value_goes_through_memory_once(step, count, size):
    with emulator.options(watched=True):
        (seen,) = assert_equal_steps(step, drawn([1000, 24], count))
    threads = 1024
    assert size * threads <= seen.counters["global_bytes"] <= (size + 3 * 4) * threads  # and the three rates, once a thread
    assert seen.counters["global_writes"] == threads * (count - 1)


@pytest.mark.parametrize("backend", ["numba_cuda", "cuda"])
def test_gradients_are_read_only_and_a_missing_momentum_needs_no_velocity(backend):
    theta, g = drawn([4], 2)
    g[0].flags.writeable = False
    before, gradient = theta[0].copy(), g[0].copy()
    with backends.use(backend):
        optimiser.sgd(theta, g, lr=0.5)
    np.testing.assert_allclose(theta[0], before - 0.5 * gradient, rtol=1e-6)
    np.testing.assert_array_equal(g[0], gradient)
