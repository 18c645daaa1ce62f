"""The two plain forms of convolution on a GPU compute the same, and the rule sends each case to the right one.

The table of operations draws small cases, most of which take the direct form. Here both forms compute each case.
"""

import numpy as np
import pytest

from minisegnet_kernels import backends, conv2d, emulator
from minisegnet_kernels.conv2d._geometry import is_worth_a_tile, slabs
from minisegnet_kernels.conv2d.ladder import rung1_direct, rung2_tile, use_rung
from minisegnet_kernels.layout import channels_last

emulated = pytest.mark.skipif(not backends.available()["cuda"], reason="no C++ compiler for the emulator")
simulated = pytest.mark.skipif(not backends.available()["numba_cuda"], reason="numba-cuda is not installed")

# N, C, H, W, O, U, V, stride, padding, dilation, groups: over the edges of tiles, fours of channels and stages of eight.
CASES = {
    "odd sizes": (2, 3, 9, 35, 5, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    "two stages of channels": (1, 10, 8, 20, 9, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    "stride 2, an even kernel": (1, 9, 19, 41, 4, 3, 2, (2, 2), ((1, 0), (2, 1)), (1, 1), 1),
    "groups": (1, 4, 9, 33, 10, 3, 3, (1, 1), ((0, 2), (1, 0)), (1, 1), 2),
    "each channel for itself": (2, 5, 7, 21, 5, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 5),
    "dilation": (1, 3, 12, 40, 3, 2, 3, (1, 2), ((0, 1), (1, 0)), (2, 3), 1),
    "padding beyond the kernel": (1, 2, 6, 30, 2, 3, 3, (1, 1), ((4, 3), (3, 4)), (1, 1), 1),
}
TINY = {  # the same for the simulator, whose tiles are 2 × 8
    "odd sizes": (2, 3, 3, 13, 5, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    "two stages of channels": (1, 10, 2, 7, 2, 2, 2, (1, 1), ((1, 0), (0, 1)), (1, 1), 1),
    "stride 2": (1, 2, 5, 18, 4, 3, 2, (2, 2), ((1, 0), (2, 1)), (1, 1), 1),
    "groups and dilation": (1, 4, 4, 9, 6, 2, 3, (1, 1), ((0, 2), (1, 0)), (2, 1), 2),
}
EQUATIONS = ("forward", "forward_relu", "grad_input", "grad_weight")


def _arguments(sizes, dtype, lay=lambda a: a):
    """What each equation is called with: {equation: (arrays, options)}."""
    N, C, H, W, O, U, V, stride, padding, dilation, groups = sizes
    rng, options = np.random.default_rng(7), {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    x, w, b = rng.normal(size=(N, C, H, W)), rng.normal(size=(O, C // groups, U, V)), rng.normal(size=O)
    axes = zip((H, W), (U, V), stride, padding, dilation, strict=True)
    g = rng.normal(size=(N, O, *(conv2d.output_size(*axis) for axis in axes)))
    x, w, b, g = lay(x.astype(dtype)), w.astype(dtype), b.astype(dtype), lay(g.astype(dtype))
    return {
        "forward": ((x, w, b), options),
        "forward_relu": ((x, w, b), options),
        "grad_input": ((g, w), {"input_size": (H, W), **options}),
        "grad_weight": ((g, x), {"kernel_size": (U, V), **options}),
    }


def _call(equation, backend, arguments):
    arrays, options = arguments[equation]
    with backends.use(backend):
        return getattr(conv2d, equation)(*arrays, **options)


def _check(equation, backend, sizes, dtype, lay=lambda a: a):
    expected = _call(equation, "numpy", _arguments(sizes, "float64"))
    actual = _call(equation, backend, _arguments(sizes, dtype, lay))
    assert actual.dtype == dtype
    terms = max(np.prod(a.shape[1:]) for a in _arguments(sizes, dtype)[equation][0])
    bound = 16 * np.finfo(dtype).eps * terms**0.5 * np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=bound, equal_nan=False)
    return actual


def _forms(seen):
    return {launch.kernel.partition("<")[0] for launch in seen}


@emulated
@pytest.mark.parametrize("equation", EQUATIONS)
@pytest.mark.parametrize("sizes", CASES.values(), ids=CASES)
def test_both_forms_compute_the_equation(equation, sizes):
    for form in ("direct", "tile"):
        if (form, equation) == ("tile", "grad_input") and sizes[7] != (1, 1):
            continue  # the tile serves stride 1 only
        with use_rung(**{equation.removesuffix("_relu"): form}):
            with emulator.launches() as seen:
                plain = _check(equation, "cuda", sizes, "float32")
                _check(equation, "cuda", sizes, "float32", channels_last)
            assert (f"conv2d_{equation}__tile" in _forms(seen)) == (form == "tile")
            with emulator.options(schedule="random", seed=1, watched=True):
                assert _check(equation, "cuda", sizes, "float32").tobytes() == plain.tobytes()


@emulated
@pytest.mark.parametrize("form", ["direct", "tile"])
def test_a_slab_may_have_many_shares(form, monkeypatch):
    """As on a large image, a block walks over several tiles, each of which replaces the previous one in shared memory."""
    monkeypatch.setattr(rung1_direct, "BUSY", 1)
    sizes = (2, 3, 33, 70, 5, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    for schedule, watched in (("forward", False), ("reverse", False), ("random", True)):
        with use_rung(grad_weight=form), emulator.options(schedule=schedule, watched=watched), emulator.launches() as seen:
            _check("grad_weight", "cuda", sizes, "float32")
        assert ("conv2d_grad_weight__tile" in _forms(seen)) == (form == "tile")
    assert slabs(2 * 5 * 3, 8 * 32, 256, rung1_direct.BUSY) == 2, "30 tiles are to be cut into 2 slabs"


def test_a_tile_is_worth_it_if_outputs_share_cells_and_most_threads_have_an_output():
    assert is_worth_a_tile((8, 32), (3, 3), (64, 64))
    assert not is_worth_a_tile((8, 32), (1, 1), (64, 64)), "no cell of a 1 × 1 kernel is shared by pixels"
    assert not is_worth_a_tile((8, 32), (3, 3), (8, 15)), "more than half of the threads would have no pixel"
    assert is_worth_a_tile((8, 32), (3, 3), (8, 16))


def test_shared_memory_bounds_the_channels_that_are_staged():
    """A channel takes 1141 numbers (17 × 65 cells, 9 taps for four outputs). 48 KiB hold 10 channels in float32 and 5 in float64."""
    assert [rung2_tile._channels_that_fit((3, 3), (2, 2), (1, 1), itemsize) for itemsize in (4, 8)] == [10, 5]
    # A kernel of 3 × 3 with dilation 64 reaches over 136 × 160 cells.
    assert rung2_tile._channels_that_fit((3, 3), (1, 1), (64, 64), 4) == 0


@emulated
def test_long_sums_are_cut_into_slabs_and_added_in_order():
    rng = np.random.default_rng(3)
    g, x = rng.normal(size=(2, 2, 40, 70)).astype("float32"), rng.normal(size=(2, 1, 40, 70)).astype("float32")
    for lay in (np.asarray, channels_last):
        results = []
        for schedule in ("forward", "reverse"):
            with backends.use("cuda"), emulator.options(schedule=schedule):
                results.append((conv2d.grad_weight(lay(g), x, kernel_size=(1, 1)), conv2d.grad_bias(lay(g))))
        (weight, bias), again = results
        assert (weight.tobytes(), bias.tobytes()) == tuple(a.tobytes() for a in again)
        np.testing.assert_allclose(weight[:, :, 0, 0], np.einsum("noij,ncij->oc", g, x, dtype="float64"), atol=1e-4)
        np.testing.assert_allclose(bias, g.sum((0, 2, 3), dtype="float64"), atol=1e-4)
    assert slabs(2 * 40, 70, 2, rung1_direct.BUSY) > 1, "the case has too few pixels to be cut"


@simulated
@pytest.mark.parametrize("equation", EQUATIONS)
@pytest.mark.parametrize("sizes", TINY.values(), ids=TINY)
def test_simulated_tiles_compute_the_equation(equation, sizes):
    from minisegnet_kernels.conv2d import numba_cuda
    from minisegnet_kernels.cuda import jit

    if not jit.SIMULATED:
        pytest.skip("Numba's CUDA runs on a GPU in this process")
    launched = []
    listener = lambda program, arguments: launched.append(program)
    jit._listeners.append(listener)
    try:
        _check(equation, "numba_cuda", sizes, "float32")
    finally:
        jit._listeners.remove(listener)
    strided_gather = equation == "grad_input" and sizes[7] != (1, 1)
    assert (numba_cuda._weight_tile if equation == "grad_weight" else numba_cuda._tile) in launched or strided_gather
