"""The convolution ladder: every rung computes its equation in all cases that it says it serves, and refuses the others."""

import numpy as np
import pytest
from support.ladder import (
    CASES,
    LAYOUTS,
    SCHEDULES,
    SMALL,
    arguments,
    bound,
    expected,
    is_served,
    kernel_of,
    name_of,
    oracle,
    served,
    with_an_infinity,
)

from minisegnet_kernels import backends, conv2d, emulator
from minisegnet_kernels.conv2d import kernel
from minisegnet_kernels.conv2d.ladder import RUNGS, Case, allow_tf32, chosen_rung, find, rung8_grad_weight, use_rung
from minisegnet_kernels.conv2d.ladder.rung import FOLDER
from minisegnet_kernels.emulator.replay import replay
from minisegnet_kernels.layout import channels_last

pytestmark = pytest.mark.skipif(not backends.available()["cuda"], reason="no C++ compiler for the emulator")

each_rung = pytest.mark.parametrize("rung", RUNGS, ids=name_of)
each_case = pytest.mark.parametrize("sizes", CASES.values(), ids=CASES)


@pytest.fixture(autouse=True)
def few_slabs(monkeypatch):
    """Use few slabs, so that a slab of a small case has several steps, as a slab of a large image has."""
    monkeypatch.setattr(rung8_grad_weight, "BUSY", 3)
    monkeypatch.setattr(rung8_grad_weight, "_LEAST", 1)


@each_rung
@each_case
def test_a_rung_is_right_where_it_says_that_it_serves_and_refuses_elsewhere(rung, sizes):
    for dtype in ("float32", "float64"):
        for lay in LAYOUTS.values():
            arrays, options = arguments(rung, sizes, dtype, lay)
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
        arrays, options = arguments(rung, sizes, dtype, lay)
        bits = set()
        for schedule, seed in SCHEDULES:
            with emulator.options(schedule=schedule, seed=seed, watched=(schedule, seed) == ("random", 2)):
                bits.add(rung.run(*arrays, **options).tobytes())
        assert len(bits) == 1


@each_rung
@each_case
def test_small_integers_are_exact(rung, sizes):
    for dtype, lay in served(rung, sizes):
        arrays, options = arguments(rung, sizes, dtype, lay, integers=True)
        np.testing.assert_array_equal(rung.run(*arrays, **options), expected(rung, arrays, options))


@each_rung
def test_a_rung_introduces_itself(rung):
    text = rung.path.read_text()
    assert rung.path.suffix == ".cu"
    assert text.startswith("//"), "the file teaches before it computes"
    assert "hread map" in text
    assert f"{kernel_of(rung)}(" in text, "its kernel is named <equation>__<rung>"


@each_rung
def test_a_rung_is_a_cu_file_and_a_py_file_of_the_same_name(rung):
    """The first rung is the plain program that stands beside the formula: its file is kernel.cu."""
    host = rung.program.__module__.rpartition(".")[2]
    assert host.startswith(f"rung{rung.label}_")
    assert rung.path == (FOLDER.parent / "kernel.cu" if host == "rung1_direct" else FOLDER / f"{host}.cu")


def test_every_file_of_the_ladder_belongs_to_a_rung():
    names = {rung.program.__module__.rpartition(".")[2] for rung in RUNGS}
    assert {p.stem for p in FOLDER.glob("rung*_*.py")} == names
    assert {p.stem for p in FOLDER.glob("*.cu")} == names - {"rung1_direct"}


def test_the_table_is_in_order_and_names_are_found():
    numbers = [rung.number for rung in RUNGS]
    assert numbers == sorted(numbers)
    assert len({(rung.name, rung.equation) for rung in RUNGS}) == len(RUNGS)
    assert all(find(rung.name, rung.equation) is rung for rung in RUNGS)
    with pytest.raises(KeyError, match=r"no rung 'spiral' of conv2d.forward; there are direct, tile"):
        find("spiral")


@pytest.mark.parametrize("rung", [r for r in RUNGS if r.number >= 4], ids=name_of)
def test_from_rung_4_on_there_are_no_bank_conflicts(rung):
    sizes = (1, 8, 16, 8, 64, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    arrays, options = arguments(rung, sizes, "float32", channels_last)
    with emulator.options(watched=True), emulator.launches() as seen:
        rung.run(*arrays, **options)
    assert seen[0].counters["shared_wavefronts"] == seen[0].counters["least_wavefronts"] > 0
    if rung.path.stem.endswith("grad_weight") and not rung.tf32:  # its slabs are written four terms at once
        assert seen[0].counters["sectors"] == seen[0].counters["least_sectors"]


def test_a_slab_of_the_weight_gradient_is_long_enough_to_be_worth_it():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rung8_grad_weight, "_LEAST", 128)
        patch.setattr(rung8_grad_weight, "BUSY", 264)
        assert rung8_grad_weight._share(pixels=256, grid=1, step=16) == 128
        assert rung8_grad_weight._share(pixels=8 * 64 * 64, grid=5, step=16) == 624  # enough blocks for a whole GPU
        assert rung8_grad_weight._share(pixels=2**20, grid=264, step=16) == 4096


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
            rung = find("direct", f"conv2d.{equation}")
            arrays, options = arguments(rung, (*sizes, *geometry), number, lay)
            with backends.use("cuda"), allow_tf32(tf32), emulator.launches() as seen:
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
        assert sorted(kernel.RULE[equation]) == sorted(rung.name for rung in RUNGS if rung.equation == equation)
    taken = {name or "direct" for _, _, *both in ROUTES.values() for name, *_ in both}
    assert taken == {*kernel.RULE["conv2d.forward"]} - {"register_tile"}  # which only older GPUs get


OLD = {  # sizes, layout: the rungs of the same cases on a T4, which has neither cp.async nor TF32
    "wide, channels last": ["register_tile", "winograd", "register_tile"],
    "3 × 3 to few, channels last": ["winograd", "winograd", "register_tile"],
    "2 × 3, channels last": ["register_tile"] * 3,
    "rows": ["implicit_gemm", "direct", "direct"],
    "rows, as large as a tile": ["tile"] * 3,
    "three channels": ["winograd", "tile", "tile"],
}


@pytest.mark.parametrize("tf32", [False, True])
@pytest.mark.parametrize(("name", "rungs"), OLD.items(), ids=OLD)
def test_on_a_gpu_without_their_instructions_rungs_are_passed_over(name, rungs, tf32):
    sizes, lay, _, _ = ROUTES[name]
    geometry = ((1, 1), ((sizes[5] // 2,) * 2, (sizes[6] // 2,) * 2), (1, 1), 1)
    for equation, expected_rung in zip(("forward", "grad_input", "grad_weight"), rungs, strict=True):
        rung = find("direct", f"conv2d.{equation}")
        arrays, options = arguments(rung, (*sizes, *geometry), "float32", lay)
        with backends.use("cuda"), allow_tf32(tf32), emulator.options(capability=(7, 5)), emulator.launches() as seen:
            getattr(conv2d, equation)(*arrays, **options)
        assert seen[0].kernel.partition("<")[0] == kernel_of(find(expected_rung, rung.equation))


def test_the_rule_takes_the_capability_of_the_gpu():
    shapes = {"x_shape": (1, 16, 8, 8), "w_shape": (64, 16, 3, 3), "padding": ((1, 1), (1, 1))}
    case = Case("conv2d.forward", **shapes, stride=(1, 1), dilation=(1, 1), groups=1, dtype=np.dtype("float32"), channels_last=True)
    with allow_tf32(True):
        assert [kernel.choose(case, c).label for c in ((7, 0), (7, 5), (8, 0), (9, 0), (12, 0))] == ["4", "4", "7", "7", "7"]
    with use_rung(forward="asynchronous"):
        assert kernel.choose(case, (8, 0)).label == "5"
        with pytest.raises(
            backends.BackendError, match=r"rung 5 \(asynchronous\) needs a GPU of compute capability 8\.0; this one has 7\.5"
        ):
            kernel.choose(case, (7, 5))


# --- a rung chosen by hand ------------------------------------------------------------------------------


@each_rung
def test_a_rung_that_is_chosen_by_hand_runs_every_case_or_raises(rung):
    equation = rung.equation.partition(".")[2]
    for name in ("3 × 3", "groups"):
        arrays, options = arguments(rung, CASES[name], "float32", channels_last)
        call = lambda: getattr(conv2d, equation)(*arrays, **options)  # noqa: B023
        with backends.use("cuda"), allow_tf32(True), use_rung(**{equation: rung.name}):
            assert chosen_rung(rung.equation) == rung.name
            if is_served(rung, CASES[name], "float32", channels_last):
                with emulator.launches() as seen:
                    call()
                assert seen[0].kernel.partition("<")[0] == kernel_of(rung)
                if rung.tf32:
                    with allow_tf32(False), pytest.raises(backends.BackendError, match=rf"\({rung.name}\) rounds to TF32"):
                        call()
            else:
                with pytest.raises(backends.BackendError, match=rf"rung {rung.label} \({rung.name}\) serves"):
                    call()
        assert chosen_rung(rung.equation) is None


def test_choosing_by_hand_ends_with_its_block_or_with_nothing_chosen():
    with use_rung("winograd"):
        with use_rung(grad_input="asynchronous"):
            assert chosen_rung("conv2d.forward") is None
        use_rung("tile")
        assert chosen_rung("conv2d.forward") == "tile"
        use_rung()
        assert chosen_rung("conv2d.forward") is None
    with pytest.raises(
        KeyError, match=r"no rung 'winograd' of conv2d.grad_weight; there are direct, tile, register_tile, asynchronous, tf32_tuned"
    ):
        use_rung(grad_weight="winograd")


# --- what only some numbers show ---------------------------------------------------------------------


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


def moved(a):
    """The same values in the same layout, 4 bytes past a multiple of 16 bytes."""
    room = np.empty(a.size + 8, a.dtype)
    first = (-room.ctypes.data % 16) // a.itemsize + 1
    room = room[first : first + a.size]
    view = room.reshape(a.transpose(0, 2, 3, 1).shape).transpose(0, 3, 1, 2) if a.ndim == 4 else room
    view[...] = a
    return view


def test_addresses_between_pieces_of_16_bytes_are_refused_for_images_and_mended_for_weights():
    rung = find("register_tile")
    (x, w, b), options = arguments(rung, CASES["3 × 3"], "float32", channels_last)
    assert moved(x).ctypes.data % 16 == 4
    with pytest.raises(backends.BackendError, match="channels last"):
        rung.run(moved(x), w, b, **options)
    assert rung.run(x, moved(w), moved(b), **options).tobytes() == rung.run(x, w, b, **options).tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("sanitizer", ["address", "thread"])
@pytest.mark.parametrize("path", sorted({r.path for r in RUNGS if r.number > 1 and not r.tf32}), ids=lambda p: p.name)
def test_sanitizers_have_nothing_to_report(path, sanitizer):
    rungs = [r for r in RUNGS if r.path == path]
    with emulator.recording() as launches:
        for rung in rungs:
            for name in SMALL if sanitizer == "address" else ("3 × 3",):
                for dtype, lay in served(rung, CASES[name])[:2]:
                    arrays, options = arguments(rung, CASES[name], dtype, lay)
                    rung.run(*arrays, **options)
    assert replay(rungs[0].module.source, launches, sanitizer) == ""
