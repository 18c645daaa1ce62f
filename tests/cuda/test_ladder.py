"""The convolution ladder: every rung computes its equation in all cases that it says it serves, and refuses the others."""

import sys

import numpy as np
import pytest
from support import mutants

from minisegnet_kernels import backends, conv2d, emulator
from minisegnet_kernels.conv2d import kernel
from minisegnet_kernels.conv2d.ladder import RUNGS, find, gradients, lies_channels_last
from minisegnet_kernels.cuda import Module
from minisegnet_kernels.emulator.replay import replay
from minisegnet_kernels.layout import channels_last

pytestmark = pytest.mark.skipif(not backends.available()["cuda"], reason="no C++ compiler for the emulator")

# N, C, H, W, O, U, V, stride, padding, dilation, groups: nothing is a multiple of a tile.
CASES = {
    "3 × 3": (2, 4, 7, 9, 5, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    "more than one tile": (1, 8, 9, 17, 70, 3, 2, (1, 1), ((1, 1), (1, 0)), (1, 1), 1),
    "one channel": (1, 1, 9, 11, 3, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    "three channels": (2, 3, 6, 5, 16, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    "five channels": (1, 5, 5, 7, 1, 3, 3, (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    "sixteen channels, 1 × 1": (1, 16, 5, 5, 8, 1, 1, (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    "2 × 2, stride 2": (1, 8, 7, 9, 4, 2, 2, (2, 2), ((0, 0), (0, 0)), (1, 1), 1),
    "stride 2, an even kernel, odd padding": (1, 8, 9, 8, 6, 3, 2, (2, 1), ((1, 0), (2, 1)), (1, 1), 1),
    "dilation": (1, 4, 11, 9, 4, 3, 3, (1, 1), ((2, 2), (1, 0)), (2, 3), 1),
    "odd sizes, uneven padding": (1, 9, 9, 17, 35, 3, 3, (1, 1), ((2, 1), (0, 1)), (1, 1), 1),
    "groups": (1, 8, 6, 7, 8, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 2),
    "stride 2 and dilation 2": (1, 4, 9, 8, 8, 3, 3, (2, 2), ((1, 1), (2, 2)), (2, 2), 1),
    "stride 4 and dilation 6": (1, 4, 15, 9, 4, 3, 2, (4, 3), ((3, 1), (0, 5)), (6, 2), 1),
    "a stride beyond the kernel": (1, 4, 8, 9, 4, 1, 1, (2, 3), ((0, 0), (0, 0)), (1, 1), 1),
    "a kernel as large as the image": (2, 4, 3, 3, 8, 3, 3, (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
}
LAYOUTS = {"rows": lambda a: a, "channels last": channels_last}
SCHEDULES = [("forward", 0), ("reverse", 0), ("random", 1), ("random", 2)]

each_rung = pytest.mark.parametrize("rung", RUNGS, ids=lambda r: f"{r.label}-{r.name}-{r.equation.partition('.')[2]}")
each_case = pytest.mark.parametrize("sizes", CASES.values(), ids=CASES)


@pytest.fixture(autouse=True)
def few_slabs(monkeypatch):
    """So that a slab of a small case has several steps, as those of a large image have."""
    monkeypatch.setattr(gradients, "_BUSY", 3)
    monkeypatch.setattr(gradients, "_LEAST", 1)


def arguments(rung, sizes, dtype="float32", lay=lambda a: a, integers=False):
    """Shapes of x and w, the geometry, and what the equation of the rung is called with: arrays, options."""
    N, C, H, W, O, U, V, stride, padding, dilation, groups = sizes
    rng, geometry = np.random.default_rng(7), {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    draw = (lambda *s: rng.integers(-4, 5, s)) if integers else (lambda *s: rng.normal(size=s))
    axes = zip((H, W), (U, V), stride, padding, dilation, strict=True)
    x, w, b = draw(N, C, H, W), draw(O, C // groups, U, V), draw(O)
    g = draw(N, O, *(conv2d.output_size(*axis) for axis in axes))
    x, w, b, g = lay(x.astype(dtype)), w.astype(dtype), b.astype(dtype), lay(g.astype(dtype))
    arrays, options = {
        "conv2d.forward": ((x, w, b), {}),
        "conv2d.grad_input": ((g, w), {"input_size": (H, W)}),
        "conv2d.grad_weight": ((g, x), {"kernel_size": (U, V)}),
    }[rung.equation]
    return x.shape, w.shape, geometry, arrays, {**options, **geometry}


def expected(rung, arrays, options, relu=False):
    """NumPy's program in float64."""
    equation = rung.equation.partition(".")[2] + ("_relu" if relu else "")
    with backends.use("numpy"):
        return getattr(conv2d, equation)(*(a.astype("float64") for a in arrays), **options)


def images(rung, arrays):
    return arrays if rung.equation == "conv2d.grad_weight" else arrays[:1]


def is_served(rung, sizes, dtype, lay):
    x_shape, w_shape, geometry, arrays, _ = arguments(rung, sizes, dtype, lay)
    return rung.serves(x_shape, w_shape, geometry, np.dtype(dtype), all(lies_channels_last(a) for a in images(rung, arrays)))


def bound(rung, arrays, values):
    """|error| ≤ 16 u √terms · scale; u is that of TF32's rounded products where a rung uses them."""
    terms = max(np.prod(a.shape[1:]) for a in arrays)
    if rung.equation == "conv2d.grad_weight":
        terms = max(terms, arrays[0].size // arrays[0].shape[1])
    unit = 2**-11 if rung.tf32 else np.finfo(arrays[0].dtype).eps
    return 16 * unit * terms**0.5 * np.abs(values).max(initial=0)


def served(rung, sizes):
    """(dtype, layout) in which the rung serves the case."""
    return [(dtype, lay) for dtype in ("float32", "float64") for lay in LAYOUTS.values() if is_served(rung, sizes, dtype, lay)]


@each_rung
@each_case
def test_a_rung_is_right_where_it_says_that_it_serves_and_refuses_elsewhere(rung, sizes):
    for dtype in ("float32", "float64"):
        for lay in LAYOUTS.values():
            _, _, _, arrays, options = arguments(rung, sizes, dtype, lay)
            if not is_served(rung, sizes, dtype, lay):
                with pytest.raises(backends.BackendError, match=rf"rung {rung.label} .*serves"):
                    rung.run(*arrays, **options)
                continue
            for relu in (False, True) if rung.equation == "conv2d.forward" else (False,):
                right = expected(rung, arrays, options, relu)
                actual = rung.run(*arrays, **options, **({"relu": True} if relu else {}))
                assert actual.dtype == dtype
                np.testing.assert_allclose(actual, right, rtol=0, atol=bound(rung, arrays, right), equal_nan=False)


@each_rung
def test_a_rung_serves_some_of_the_cases(rung):
    assert sum(bool(served(rung, sizes)) for sizes in CASES.values()) >= 3


@each_rung
@each_case
def test_every_order_of_the_threads_gives_the_same_bits_and_a_watched_run_no_report(rung, sizes):
    for dtype, lay in served(rung, sizes)[:2][-1:]:  # float32, channels last where it is served
        _, _, _, arrays, options = arguments(rung, sizes, dtype, lay)
        bits = set()
        for schedule, seed in SCHEDULES:
            with emulator.options(schedule=schedule, seed=seed, watched=(schedule, seed) == ("random", 2)):
                bits.add(rung.run(*arrays, **options).tobytes())
        assert len(bits) == 1


@each_rung
@each_case
def test_small_integers_are_exact(rung, sizes):
    for dtype, lay in served(rung, sizes):
        _, _, _, arrays, options = arguments(rung, sizes, dtype, lay, integers=True)
        np.testing.assert_array_equal(rung.run(*arrays, **options), expected(rung, arrays, options))


@each_rung
def test_a_rung_introduces_itself(rung):
    text = rung.path.read_text()
    assert rung.path.suffix == ".cu"
    assert text.startswith("//"), "the file teaches before it computes"
    assert "hread map" in text
    plain = "" if rung.name == "direct" else f"__{rung.name}"
    assert f"{rung.equation.replace('.', '_')}{plain}(" in text, "its kernel is named <equation>__<rung>"
    assert 0 < rung.expected[0] <= rung.expected[1]


def test_the_table_is_in_order_and_names_are_found():
    numbers = [rung.number for rung in RUNGS]
    assert numbers == sorted(numbers)
    assert len({(rung.name, rung.equation) for rung in RUNGS}) == len(RUNGS)
    assert all(find(rung.name, rung.equation) is rung for rung in RUNGS)
    with pytest.raises(KeyError, match=r"no rung 'spiral' of conv2d.forward; there are direct, tile"):
        find("spiral")


@pytest.mark.parametrize("rung", [r for r in RUNGS if r.number >= 4], ids=lambda r: f"{r.label}-{r.name}-{r.equation.partition('.')[2]}")
def test_from_rung_4_on_there_are_no_bank_conflicts(rung):
    sizes = (1, 8, 16, 8, 64, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    _, _, _, arrays, options = arguments(rung, sizes, "float32", channels_last)
    with emulator.options(watched=True), emulator.launches() as seen:
        rung.run(*arrays, **options)
    assert seen[0].counters["shared_wavefronts"] == seen[0].counters["least_wavefronts"] > 0
    if (rung.name, rung.equation) == ("asynchronous", "conv2d.grad_weight"):  # its slabs are written four terms at once
        assert seen[0].counters["sectors"] == seen[0].counters["least_sectors"]


def test_a_slab_of_the_weight_gradient_is_long_enough_to_be_worth_it():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gradients, "_LEAST", 128)
        patch.setattr(gradients, "_BUSY", 264)
        assert gradients._share(pixels=256, grid=1) == 128
        assert gradients._share(pixels=8 * 64 * 64, grid=5) == 624  # enough blocks for a whole GPU
        assert gradients._share(pixels=2**20, grid=264) == 4096


# --- which rung a case goes to ----------------------------------------------------------------------

ROUTES = {  # sizes, layout: the kernels of forward, grad_input and grad_weight, without and with TF32
    "wide, channels last": ((1, 16, 5, 6, 36, 3, 3), channels_last, ["asynchronous", "winograd", "asynchronous"], ["tf32_tuned"] * 3),
    "3 × 3 to few, channels last": ((1, 16, 5, 6, 32, 3, 3), channels_last, ["winograd", "winograd", "asynchronous"], ["tf32_tuned"] * 3),
    "2 × 3, channels last": ((1, 16, 5, 6, 16, 2, 3), channels_last, ["asynchronous"] * 3, ["tf32_tuned"] * 3),
    "rows": ((1, 16, 5, 6, 16, 3, 3), np.asarray, ["implicit_gemm", "", ""], ["tf32", "tf32", ""]),
    "1 × 1, rows": ((1, 16, 8, 32, 20, 1, 1), np.asarray, ["implicit_gemm", "", ""], ["tf32", "tf32", ""]),
    "rows, as large as a tile": ((1, 16, 8, 32, 16, 3, 3), np.asarray, ["tile"] * 3, ["tf32", "tf32", "tile"]),
    "three channels": ((1, 3, 8, 32, 36, 3, 3), channels_last, ["winograd", "tile", "tile"], ["tf32", "tile", "tile"]),
    "three channels, rows": ((1, 3, 8, 32, 36, 3, 3), np.asarray, ["tile"] * 3, ["tf32", "tile", "tile"]),
    "few outputs": ((1, 16, 3, 4, 5, 3, 3), channels_last, ["", "winograd", ""], ["", "winograd", ""]),
    "few outputs, 1 × 1": ((1, 16, 3, 4, 5, 1, 1), channels_last, ["", "", ""], ["tf32_tuned", "tf32", ""]),
    "one output": ((1, 16, 3, 4, 1, 1, 1), channels_last, ["", "", ""], ["", "tf32", ""]),
}
ROUNDED = {rung.name for rung in RUNGS if rung.tf32}


@pytest.mark.parametrize("tf32", [False, True])
@pytest.mark.parametrize(("sizes", "lay", "plain", "rounded"), ROUTES.values(), ids=ROUTES)
def test_the_rule_sends_each_case_to_its_rung(sizes, lay, plain, rounded, tf32):
    geometry = ((1, 1), ((sizes[5] // 2,) * 2, (sizes[6] // 2,) * 2), (1, 1), 1)
    for equation, name in zip(("forward", "grad_input", "grad_weight"), rounded if tf32 else plain, strict=True):
        for number in ("float32", "float64"):
            rung = find("direct") if equation == "forward" else find("asynchronous", f"conv2d.{equation}")
            _, _, _, arrays, options = arguments(rung, (*sizes, *geometry), number, lay)
            with backends.use("cuda"), backends.allow_tf32(tf32), emulator.launches() as seen:
                result = getattr(conv2d, equation)(*arrays, **options)
            right = expected(rung, arrays, options)
            unit = 2**-10 if name in ROUNDED and number == "float32" else np.finfo(number).eps
            np.testing.assert_allclose(result, right, rtol=0, atol=64 * unit * np.abs(right).max())
            first = seen[0].kernel.partition("<")[0]
            if number == "float32":
                assert first == f"conv2d_{equation}" + (f"__{name}" if name else "")
            else:
                assert not first.endswith(("asynchronous", "winograd", *ROUNDED))


def test_the_rule_knows_every_rung():
    for equation in {rung.equation for rung in RUNGS}:
        known = [*kernel.RULE[equation], *((*kernel.PLAIN, *kernel.BY_HAND) if equation == "conv2d.forward" else ())]
        assert sorted(known) == sorted(rung.name for rung in RUNGS if rung.equation == equation)
    taken = {name or "direct" for _, _, *both in ROUTES.values() for name, *_ in both}
    assert taken == {*kernel.RULE["conv2d.forward"], *kernel.PLAIN}  # each has a case above; BY_HAND has none


# --- a rung chosen by hand ------------------------------------------------------------------------------


@each_rung
def test_a_rung_that_is_chosen_by_hand_gets_every_case_or_says_why_not(rung):
    equation = rung.equation.partition(".")[2]
    for name in ("3 × 3", "groups"):
        _, _, _, arrays, options = arguments(rung, CASES[name], "float32", channels_last)
        call = lambda: getattr(conv2d, equation)(*arrays, **options)  # noqa: B023
        with backends.use("cuda"), backends.allow_tf32(True), backends.use_rung(**{equation: rung.name}):
            assert backends.chosen_rung(rung.equation) == rung.name
            if is_served(rung, CASES[name], "float32", channels_last):
                with emulator.launches() as seen:
                    call()
                assert seen[0].kernel.partition("<")[0] == f"conv2d_{equation}" + ("" if rung.name == "direct" else f"__{rung.name}")
                if rung.tf32:
                    with backends.allow_tf32(False), pytest.raises(backends.BackendError, match=rf"\({rung.name}\) rounds to TF32"):
                        call()
            else:
                with pytest.raises(backends.BackendError, match=rf"rung {rung.label} \({rung.name}\) serves"):
                    call()
        assert backends.chosen_rung(rung.equation) is None


def test_choosing_by_hand_ends_with_its_block_or_with_nothing_chosen():
    with backends.use_rung("winograd"):
        with backends.use_rung(grad_input="asynchronous"):
            assert backends.chosen_rung("conv2d.forward") is None
        backends.use_rung("tile")
        assert backends.chosen_rung("conv2d.forward") == "tile"
        backends.use_rung()
        assert backends.chosen_rung("conv2d.forward") is None
    with pytest.raises(KeyError, match=r"no rung 'winograd' of conv2d.grad_weight; there are tf32_tuned, asynchronous"):
        backends.use_rung(grad_weight="winograd")


# --- what only some numbers show ---------------------------------------------------------------------


def with_an_infinity(rung, sizes):
    """A case whose first image has an infinity in the middle: a cell that is multiplied by 0 instead of left out shows as NaN."""
    _, _, _, arrays, options = arguments(rung, sizes, "float32", channels_last)
    image = arrays[0]
    image[0, 0, image.shape[2] // 2, image.shape[3] // 2] = np.inf
    return arrays, options


SMALL = ("3 × 3", "one channel", "sixteen channels, 1 × 1", "stride 2, an even kernel, odd padding", "groups")


@each_rung
@pytest.mark.parametrize("name", SMALL)
def test_an_infinity_stays_in_its_windows(rung, name):
    if not is_served(rung, CASES[name], "float32", channels_last):
        pytest.skip("not served")
    arrays, options = with_an_infinity(rung, CASES[name])
    actual, right = rung.run(*arrays, **options), oracle(rung, arrays, options)
    np.testing.assert_array_equal(np.isfinite(actual), np.isfinite(right))
    if rung.name == "winograd":  # ∞ − ∞
        assert np.isnan(actual[~np.isfinite(right)]).any()
    else:
        np.testing.assert_array_equal(np.isposinf(actual), np.isposinf(right))


def oracle(rung, arrays, options):
    """The literal loops, in which what is outside is left out."""
    with backends.use("formula"), np.errstate(invalid="ignore"):
        return getattr(conv2d, rung.equation.partition(".")[2])(*(a.astype("float64") for a in arrays), **options)


def moved(a):
    """The same values in the same layout, 4 bytes past an address of 16-byte pieces."""
    room = np.empty(a.size + 8, a.dtype)
    first = (-room.ctypes.data % 16) // a.itemsize + 1
    room = room[first : first + a.size]
    view = room.reshape(a.transpose(0, 2, 3, 1).shape).transpose(0, 3, 1, 2) if a.ndim == 4 else room
    view[...] = a
    return view


def test_addresses_between_pieces_of_16_bytes_are_refused_for_images_and_mended_for_weights():
    rung = find("register_tile")
    _, _, _, (x, w, b), options = arguments(rung, CASES["3 × 3"], "float32", channels_last)
    assert moved(x).ctypes.data % 16 == 4
    with pytest.raises(backends.BackendError, match="channels last"):
        rung.run(moved(x), w, b, **options)
    assert rung.run(x, moved(w), moved(b), **options).tobytes() == rung.run(x, w, b, **options).tobytes()


def trials(rung):
    """What the mutation test asks of a rung: calls that say whether something is wrong."""
    whole_steps = (1, 4, 5, 5, 16, 1, 1, (1, 1), ((0, 0), (0, 0)), (1, 1), 1)  # of an input gradient: 16 terms
    for name, sizes in {**CASES, "whole steps": whole_steps}.items():
        for dtype, lay in served(rung, sizes):
            for relu in ({}, {"relu": True}) if rung.equation == "conv2d.forward" else ({},):
                yield _trial(rung, sizes, dtype, lay, relu)
        if name in SMALL and (("float32", channels_last) in served(rung, sizes)):
            yield _trial_with_an_infinity(rung, sizes)


def _trial(rung, sizes, dtype, lay, relu):
    _, _, _, arrays, options = arguments(rung, sizes, dtype, lay)
    right = expected(rung, arrays, options, bool(relu))
    close = {"rtol": 0, "atol": bound(rung, arrays, right), "equal_nan": False}
    return lambda: mutants.noticed(lambda: np.testing.assert_allclose(rung.run(*arrays, **options, **relu), right, **close))


def _trial_with_an_infinity(rung, sizes):
    arrays, options = with_an_infinity(rung, sizes)
    finite = np.isfinite(oracle(rung, arrays, options))
    return lambda: mutants.noticed(lambda: np.testing.assert_array_equal(np.isfinite(rung.run(*arrays, **options)), finite))


@pytest.mark.slow
@pytest.mark.parametrize("sanitizer", ["address", "thread"])
@pytest.mark.parametrize("path", sorted({r.path for r in RUNGS if r.number > 2 and not r.tf32}), ids=lambda p: p.name)
def test_sanitizers_have_nothing_to_report(path, sanitizer):
    rungs = [r for r in RUNGS if r.path == path]
    module = next(m for r in rungs for m in vars(sys.modules[r.program.__module__]).values() if isinstance(m, Module) and m.path == path)
    with emulator.recording() as launches:
        for rung in rungs:
            for name in SMALL if sanitizer == "address" else ("3 × 3",):
                for dtype, lay in served(rung, CASES[name])[:2]:
                    _, _, _, arrays, options = arguments(rung, CASES[name], dtype, lay)
                    rung.run(*arrays, **options)
    assert replay(module.source, launches, sanitizer) == ""
