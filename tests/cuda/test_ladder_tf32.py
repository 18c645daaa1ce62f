"""The rungs on the tensor cores: as precise as TF32 allows, and free of bank conflicts."""

import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from support.ladder import SCHEDULES, expected, name_of
from support.ladder_trials import LONG, TF32, case, rejected
from support.ladder_trials import TF32_CASES as CASES

from minisegnet_kernels import backends, emulator
from minisegnet_kernels.conv2d.ladder import allow_tf32, rung8_tf32_grad_weight, tf32_allowed
from minisegnet_kernels.cuda.source import parse
from minisegnet_kernels.emulator.replay import replay
from minisegnet_kernels.layout import channels_last

pytestmark = pytest.mark.skipif(not backends.available()["cuda"], reason="no C++ compiler for the emulator")
each_rung = pytest.mark.parametrize("rung", TF32, ids=name_of)

each_case = pytest.mark.parametrize("sizes", CASES.values(), ids=CASES)


@pytest.fixture
def one_slab(monkeypatch):
    """Sum over all pixels in one slab, so that a few pixels fill all stages."""
    monkeypatch.setattr(rung8_tf32_grad_weight, "_slabs", lambda pixels, tiles: 1)


@contextmanager
def changed(rung, *replacements, text=None):
    """The rung after replacements in the text of its file and of the headers that it includes."""
    module = rung.module
    text = text or module.source.whole()
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    before = module.source
    module.__dict__["source"] = parse(rung.path, text)
    try:
        yield module.source
    finally:
        module.__dict__["source"] = before


# --- precision ----------------------------------------------------------------------------------------


def errors(rung, sizes, lay=lambda a: a):
    """Errors divided by u √(Σ (a b)²), u = 2⁻¹¹: up to a constant, the standard deviation of a sum of products of rounded factors."""
    arrays, options = case(rung, sizes)
    arrays = tuple(lay(a) for a in arrays)
    factors = (*arrays[:2], np.zeros_like(arrays[2])) if len(arrays) == 3 else arrays
    scale = 2**-11 * np.sqrt(expected(rung, [a.astype(np.float64) ** 2 for a in factors], options))
    return np.abs(rung.run(*factors, **options) - expected(rung, factors, options)) / np.where(scale, scale, 1)


@each_rung
@each_case
def test_errors_are_those_of_rounded_factors(rung, sizes):
    found = errors(rung, sizes)
    assert found.max() < 4  # 0.6 is the standard deviation
    assert found.max() > 0.1  # and it is TF32: float32 has a thousandth of it


@each_rung
def test_factors_that_are_cut_off_give_larger_errors(rung):
    """If the factors are positive and are cut off, all errors have the same sign and add up."""
    assert errors(rung, LONG, np.abs).max() < 4
    with changed(rung, ("inline float to_tf32(float a) {", "inline float to_tf32(float a) {\n return a;")):
        assert errors(rung, LONG, np.abs).max() > 8


@each_rung
def test_whole_numbers_of_ten_bits_are_exact(rung):
    sizes = (1, 8, 4, 4, 12, 1, 1, (1, 1), ((0, 0), (0, 0)), (1, 1), 1)
    arrays, options = case(rung, sizes)
    rng = np.random.default_rng(3)
    arrays = tuple(rng.integers(-1023, 1024, a.shape).astype(np.float32) for a in arrays)
    arrays = tuple(channels_last(a) if a.ndim == 4 and a.shape[2:] == (4, 4) else a for a in arrays)
    np.testing.assert_array_equal(rung.run(*arrays, **options), expected(rung, arrays, options))


@each_rung
@each_case
def test_every_order_gives_the_same_bits_and_a_watched_run_no_report(rung, sizes):
    arrays, options = case(rung, sizes)
    bits = set()
    for schedule, seed in SCHEDULES:
        with emulator.options(schedule=schedule, seed=seed, watched=seed == 2):
            bits.add(rung.run(*arrays, **options).tobytes())
    assert len(bits) == 1


def test_the_number_of_slabs_is_useful_and_the_slabs_add_up():
    rung = next(r for r in TF32 if r.equation == "conv2d.grad_weight")
    assert rung8_tf32_grad_weight._slabs(pixels=8 * 128 * 128, tiles=9) == 32  # 64 → 64 channels, 3 × 3: at most 4096 pixels each
    assert rung8_tf32_grad_weight._slabs(pixels=8 * 64 * 64, tiles=9) == 30  # enough for a whole GPU
    assert rung8_tf32_grad_weight._slabs(pixels=300, tiles=1) == 3
    assert rung8_tf32_grad_weight._slabs(pixels=5, tiles=1) == 1
    arrays, options = case(rung, (3, 4, 10, 11, 8, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 1))
    right = expected(rung, arrays, options)
    for slabs in (1, 2, 3, 7):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rung8_tf32_grad_weight, "_slabs", lambda pixels, tiles, slabs=slabs: slabs)
            np.testing.assert_allclose(rung.run(*arrays, **options), right, rtol=0, atol=2**-11 * 4 * 330**0.5)


def test_weights_at_any_address_are_taken():
    """Copies of 16 bytes need addresses that are multiples of 16, but a slice of a larger array may start anywhere."""
    rung = next(r for r in TF32 if r.number == 7)
    (x, w, b), options = case(rung, CASES["narrow"])
    unaligned = np.empty(w.size + 1, np.float32)[1:].reshape(w.transpose(0, 2, 3, 1).shape)
    unaligned[...] = w.transpose(0, 2, 3, 1)
    right = rung.run(x, w, b, **options)
    np.testing.assert_array_equal(rung.run(x, unaligned.transpose(0, 3, 1, 2), b, **options), right)


# --- bank conflicts -----------------------------------------------------------------------------------

_ROWS_OF_16 = ("return ((q ^ (row >> 1)) & 3) * 4;", "return q * 4;")
STRAIGHT = {  # the same tiles with their rows below each other
    "rung6_tf32": [("constexpr int GAP = 8;", "constexpr int GAP = 0;")],
    "rung7_tf32_tuned": [_ROWS_OF_16],
    "rung8_tf32_grad_input": [_ROWS_OF_16, ("return term * OUTPUTS + (column ^ (term & 3) * 8);", "return term * OUTPUTS + column;")],
    "rung8_tf32_grad_weight": [("return (q ^ 2 * (row & 3)) * 4;", "return q * 4;")],
}


def turns(rung):
    """Turns that shared memory takes for all reads, writes and copies of a case, and the fewest possible."""
    arrays, options = case(rung, LONG)
    with emulator.options(watched=True), emulator.launches() as seen:
        rung.run(*arrays, **options)
    return seen[0].counters["shared_wavefronts"], seen[0].counters["least_wavefronts"]


@each_rung
def test_there_are_no_bank_conflicts_and_without_the_swizzle_there_are(rung, one_slab):
    taken, least = turns(rung)
    assert taken == least > 0
    with changed(rung, *STRAIGHT[rung.path.stem]):
        straight, same = turns(rung)
    assert same == least
    assert straight > 2 * least  # four turns for a fragment; the copies have none in either
    for one in STRAIGHT[rung.path.stem]:
        with changed(rung, one):
            assert turns(rung)[0] > least


def test_a_stride_costs_no_products_with_zeros(one_slab):
    """A transposed convolution 2 × 2 with stride 2 is four products with a 1 × 1 kernel."""
    rung = next(r for r in TF32 if r.path.stem == "rung8_tf32_grad_input")
    still = {"padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
    g = channels_last(np.ones((2, 32, 8, 8), np.float32))
    seen = {}
    for side in (1, 2):
        w = np.ones((32, 8, side, side), np.float32)
        with emulator.options(watched=True), emulator.launches() as launches:
            rung.run(g, w, input_size=(8 * side, 8 * side), stride=(side, side), **still)
        seen[side] = [launch.counters["shared_wavefronts"] for launch in launches]
    assert seen[2] == 4 * seen[1]


# --- faults -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rung", [rung for rung in TF32 if rung.name == "tf32_tuned"], ids=name_of)
def test_a_wait_for_too_few_copies_is_noticed(rung, one_slab):
    with changed(rung, ("wait_for_copies<STAGES - 2>();", "wait_for_copies<STAGES - 1>();")):
        assert rejected(rung, LONG)


@pytest.mark.slow
@pytest.mark.parametrize("sanitizer", ["address", "thread"])
@each_rung
def test_sanitizers_have_nothing_to_report(rung, sanitizer):
    with emulator.recording() as launches:
        for name in CASES if sanitizer == "address" else ("narrow", "stride 2"):
            arrays, options = case(rung, CASES[name])
            rung.run(*arrays, **options)
    assert replay(rung.module.source, launches, sanitizer) == ""


# --- the user's choice ----------------------------------------------------------------------------------


def test_tf32_is_allowed_unless_it_is_forbidden():
    program = "import minisegnet as ms; print(ms.backend.tf32_allowed())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_the_choice_lasts_for_a_block_or_permanently():
    with allow_tf32(True):
        assert tf32_allowed()
        with allow_tf32(False):
            assert not tf32_allowed()
        assert tf32_allowed()
        allow_tf32(False)
        assert not tf32_allowed()
    with pytest.raises(TypeError, match="allow_tf32 takes True or False; got 'no'"):
        allow_tf32("no")
    assert not tf32_allowed()
