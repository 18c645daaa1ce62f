"""Trials of the ladder's rungs, for the mutation tests. A trial is a call that returns whether it notices a fault."""

import numpy as np
import pytest

from minisegnet_kernels import backends, conv2d
from minisegnet_kernels.conv2d.ladder import RUNGS, allow_tf32, rung2_tile, rung8_tf32_grad_weight, use_rung
from minisegnet_kernels.layout import channels_last
from support import mutants
from support.ladder import CASES, SMALL, arguments, bound, expected, is_served, oracle, served, with_an_infinity


def trials(rung):
    """All trials of a rung."""
    return [*(_tf32_trials(rung) if rung in TF32 else _float_trials(rung)), *(_statistics_trials(rung) if rung.with_statistics else ())]


# --- the ordinary cores -------------------------------------------------------------------------------


def _float_trials(rung):
    whole_steps = (1, 4, 5, 5, 16, 1, 1, (1, 1), ((0, 0), (0, 0)), (1, 1), 1)  # an input gradient with 16 terms
    for name, sizes in {**CASES, "whole steps": whole_steps}.items():
        for dtype, lay in served(rung, sizes):
            for relu in ({}, {"relu": True}) if rung.equation == "conv2d.forward" else ({},):
                yield _trial(rung, sizes, dtype, lay, relu)
        if name in SMALL and (("float32", channels_last) in served(rung, sizes)):
            yield _trial_with_an_infinity(rung, sizes)
    if rung.path.stem == "rung2_tile" and rung.equation == "conv2d.grad_weight":
        yield from (_trial_in_five_slabs(rung, sizes) for sizes in TILES)


def _trial(rung, sizes, dtype, lay, relu):
    arrays, options = arguments(rung, sizes, dtype, lay)
    right = expected(rung, arrays, options, bool(relu))
    close = {"rtol": 0, "atol": bound(rung, arrays, right), "equal_nan": False}
    return lambda: mutants.noticed(lambda: np.testing.assert_allclose(rung.run(*arrays, **options, **relu), right, **close))


def _trial_with_an_infinity(rung, sizes):
    arrays, options = with_an_infinity(rung, sizes)
    finite = np.isfinite(oracle(rung, arrays, options))
    return lambda: mutants.noticed(lambda: np.testing.assert_array_equal(np.isfinite(rung.run(*arrays, **options)), finite))


#: Twelve tiles, and more channels than the threads of a block have taps; and the same of one tap.
TILES = [
    (2, 30, 16, 70, 3, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    (2, 2, 16, 70, 3, 1, 1, (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
]


def _trial_in_five_slabs(rung, sizes):
    """Split into slabs as for a large image: a slab has several tiles, and the last slab has fewer."""
    arrays, options = arguments(rung, sizes)
    right = expected(rung, arrays, options)
    close = {"rtol": 0, "atol": bound(rung, arrays, right), "equal_nan": False}

    def trial():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rung2_tile, "slabs", lambda *numbers: 5)
            return mutants.noticed(lambda: np.testing.assert_allclose(rung.run(*arrays, **options), right, **close))

    return trial


# --- the tensor cores ---------------------------------------------------------------------------------

TF32 = [rung for rung in RUNGS if rung.tf32]

# N, C, H, W, O, U, V, stride, padding, dilation, groups. The largest case has more pixels than a block, and more terms than
# all stages hold. Its last step of the sum and its last tile of outputs are only partly filled.
LONG = (5, 8, 5, 6, 68, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 1)
TF32_CASES = {
    "narrow": (1, 4, 6, 7, 12, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    "long": LONG,
    "wide": (1, 20, 3, 3, 132, 2, 2, (1, 1), ((0, 1), (1, 0)), (1, 1), 1),
    "wide input": (1, 132, 3, 3, 20, 2, 2, (1, 1), ((0, 1), (1, 0)), (1, 1), 1),
    "middle": (1, 60, 3, 4, 44, 1, 2, (1, 1), ((0, 0), (1, 0)), (1, 1), 1),
    "stride 2": (2, 8, 9, 8, 36, 3, 2, (2, 3), ((1, 0), (2, 1)), (1, 1), 1),
    "dilation": (1, 4, 9, 10, 8, 3, 3, (1, 1), ((2, 1), (0, 3)), (2, 3), 1),
    "much padding": (1, 4, 4, 3, 4, 2, 3, (1, 2), ((3, 4), (5, 2)), (1, 1), 1),
}
#: Cases with an odd number of adjacent results, which not every rung serves.
ODD = [(2, 4, 3, 4, 7, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 1), (2, 7, 3, 4, 4, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 1)]


def case(rung, sizes, **changes):
    """Arrays and options, with images channels last."""
    arrays, options = arguments(rung, sizes, "float32", channels_last, **changes)
    return arrays, options


def rejected(rung, sizes, relu=False):
    """Whether a wrong result or a report is noticed. One input is NaN, which a multiplication by 0 does not hide."""
    arrays, options = case(rung, sizes, integers=True)
    _, _, rows, columns = arrays[0].shape
    arrays[0][0, 0, rows // 2, columns // 2] = np.nan
    run = lambda: rung.run(*arrays, **options, **({"relu": True} if relu else {}))
    return mutants.noticed(lambda: np.testing.assert_array_equal(run(), expected(rung, arrays, options, relu)))


def _tf32_trials(rung):
    for sizes in (*TF32_CASES.values(), *ODD):
        if is_served(rung, sizes, "float32", channels_last):
            for slabs in (1, 3) if rung.equation == "conv2d.grad_weight" else (1,):
                yield lambda sizes=sizes, slabs=slabs: _rejected_in_slabs(rung, sizes, slabs)
            if rung.equation == "conv2d.forward":
                yield lambda sizes=sizes: rejected(rung, sizes, relu=True)


def _rejected_in_slabs(rung, sizes, slabs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rung8_tf32_grad_weight, "_slabs", lambda pixels, tiles: slabs)
        return rejected(rung, sizes)


# --- the epilogue with statistics -----------------------------------------------------------------------

PADDED = ((1, 1), ((1, 1), (1, 1)), (1, 1))
SIZES = {  # N, C, H, W, O, U, V, stride, padding, dilation, groups
    "less than a slab": (1, 4, 5, 7, 6, 3, 3, *PADDED, 1),
    "fewer pixels than rows of threads": (1, 4, 3, 3, 6, 3, 3, *PADDED, 1),
    "a second warp with one pixel, an odd number of outputs": (1, 4, 5, 13, 5, 3, 3, *PADDED, 1),
    "several slabs, more outputs than a tile": (2, 8, 9, 17, 70, 3, 3, *PADDED, 1),
    "three tiles of outputs": (1, 4, 3, 3, 132, 2, 2, *PADDED, 1),
    "groups": (2, 8, 9, 8, 12, 3, 3, *PADDED, 2),
    "stride 2": (3, 4, 17, 15, 40, 3, 2, (2, 1), ((1, 0), (2, 1)), (1, 2), 1),
}


def statistics_case(rung, sizes, shift=0.0):
    (x, w, b), options = arguments(rung, sizes, "float32", channels_last)
    return (x, w, b + np.float32(shift)), options


def statistics(rung, sizes, **more):
    """y, mu and nu of the rung, computed through the public function."""
    arrays, options = statistics_case(rung, sizes, **more)
    with backends.use("cuda"), allow_tf32(rung.tf32), use_rung(forward=rung.name):
        return conv2d.forward_statistics(*arrays, **options)


def statistics_served(rung):
    return [sizes for sizes in (*SIZES.values(), CASES["dilation"]) if is_served(rung, sizes, "float32", channels_last)]


def assert_right(rung, sizes, rtol=2e-6, **more):
    """Assert that y equals the rung's result without statistics, and that mu and nu are the statistics of y."""
    arrays, options = statistics_case(rung, sizes, **more)
    y, mu, nu = statistics(rung, sizes, **more)
    assert y.tobytes() == rung.run(*arrays, **options).tobytes()
    exact = y.astype("float64")
    deviation = exact.std((0, 2, 3))
    np.testing.assert_allclose(mu, exact.mean((0, 2, 3)), rtol=rtol, atol=rtol * deviation.max())
    np.testing.assert_allclose(nu, deviation**2, rtol=rtol)


def _statistics_trials(rung):
    return [lambda sizes=sizes: mutants.noticed(lambda: assert_right(rung, sizes)) for sizes in statistics_served(rung)]
