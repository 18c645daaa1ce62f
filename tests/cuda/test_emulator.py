"""The emulator is tested with kernels that are wrong: each planted bug is found, and correct kernels give no report."""

import numpy as np
import pytest
from support.planted import EXPECTED, KERNELS, NO_BARRIER, NO_SECOND_BARRIER, planted, run

from minisegnet_kernels import backends, emulator
from minisegnet_kernels.cuda import Module
from minisegnet_kernels.cuda.source import COMMON, parse

pytestmark = pytest.mark.skipif(not backends.available()["cuda"], reason="no C++ compiler")

SCHEDULES = [{"schedule": "forward"}, {"schedule": "reverse"}, {"schedule": "random", "seed": 1}, {"schedule": "random", "seed": 2}]
each_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: "-".join(map(str, s.values())))


@pytest.mark.parametrize("watched", [False, True], ids=["plain", "watched"])
@pytest.mark.parametrize("kernel", EXPECTED)
@each_schedule
def test_correct_kernels_give_correct_results_and_no_report(kernel, schedule, watched):
    np.testing.assert_array_equal(run(kernel, watched=watched, **schedule), EXPECTED[kernel])


@each_schedule
def test_a_missing_barrier_shows_as_nan(schedule):
    assert np.isnan(run("turned", NO_BARRIER, **schedule)).any()


def test_a_barrier_missing_before_a_second_write_gives_a_wrong_result_in_some_order():
    results = [run("twice", NO_SECOND_BARRIER, **schedule) for schedule in SCHEDULES]
    assert any((result != EXPECTED["twice"]).any() for result in results)


@each_schedule
@pytest.mark.parametrize(("kernel", "text"), [("turned", NO_BARRIER), ("twice", NO_SECOND_BARRIER)], ids=["write-read", "read-write"])
def test_a_missing_barrier_is_a_race(kernel, text, schedule):
    with pytest.raises(emulator.KernelError, match=r"a race in shared memory: thread \d+ .* at planted.cu:\d+ at planted.cu:\d+"):
        run(kernel, text, watched=True, **schedule)


def test_skipping_a_barrier_is_the_same_as_not_writing_it():
    line = KERNELS[: KERNELS.index("    __syncthreads();\n    if")].count("\n") + 1
    assert np.isnan(run("turned", skip=("planted.cu", line))).any()


@pytest.mark.parametrize(
    ("barrier", "report"),
    [
        (
            "if (threadIdx.x < 32) __syncthreads();",
            r"thread \(0, 0, 0\) waits for __syncthreads at planted.cu:7, but thread \(63, 0, 0\) has left",
        ),
        ("if (threadIdx.x >= 40) return;\n__syncthreads();", r"waits for __syncthreads at planted.cu:8, but thread .* has left the kernel"),
        (
            "if (threadIdx.x < 32) __syncthreads();\nelse __syncthreads();",
            r"at planted.cu:7, but thread .* waits for __syncthreads at planted.cu:8",
        ),
    ],
    ids=["in a branch", "after a return", "two places"],
)
def test_a_divergent_barrier_is_reported_with_file_and_line(barrier, report):
    with pytest.raises(emulator.KernelError, match=report):
        run("turned", planted("    __syncthreads();\n    if", f"    {barrier}\n    if"))


def test_a_shuffle_in_a_branch_is_reported():
    text = planted("sum += __shfl_xor_sync(0xffffffff, sum, bits);", "if (threadIdx.x % 2) sum += __shfl_xor_sync(0xffffffff, sum, bits);")
    with pytest.raises(
        emulator.KernelError,
        match=r"not all threads of its mask reach: thread .* waits for the warp's barrier or shuffle at planted.cu:\d+",
    ):
        run("warp_sums", text)


def test_a_lane_outside_of_the_mask_is_reported():
    with pytest.raises(emulator.KernelError, match="mask"):
        run("warp_sums", planted("0xffffffff, sum", "0x0000ffff, sum"))


@each_schedule
def test_a_missing_warp_barrier_is_a_race(schedule):
    with pytest.raises(emulator.KernelError, match="a race in shared memory"):
        run("handed_on", planted("    __syncwarp();\n", ""), watched=True, **schedule)


@pytest.mark.parametrize(
    ("kernel", "old", "new", "report"),
    [
        ("turned", "i < x.shape[0] ? x(i) : 0.0f", "x(i)", "reads memory outside of every array at planted.cu:6"),
        ("turned", "if (i < y.shape[0]) y(i)", "y(i)", "writes memory outside of every array at planted.cu:8"),
        ("turned", "tile[63 - threadIdx.x]", "tile[64 - threadIdx.x]", "reads memory outside of every array at planted.cu:8"),
        (
            "block_sums",
            "y(blockIdx.x) = sum",
            "y(0) = sum",
            "a race in global memory: thread 0 of block 0 writes, thread 0 of block 1 writes",
        ),
    ],
    ids=["read out of bounds", "write out of bounds", "shared out of bounds", "race between blocks"],
)
def test_wrong_accesses_are_reported(kernel, old, new, report):
    with pytest.raises(emulator.KernelError, match=report):
        run(kernel, planted(old, new), size=120 if kernel == "turned" else 128, watched=True)


ATOMICS = """
#include "common.cuh"
__global__ void least(Array<const int, 1> x, Array<int, 1> y) {
    SHARED(int, mine, [1]);
    if (threadIdx.x == 0) mine[0] = 1000;
    __syncthreads();
    atomicMin(&mine[0], x(thread_number()));
    __syncthreads();
    if (threadIdx.x == 0) atomicMin(&y(0), mine[0]), atomicMax(&y(1), mine[0]);
}
"""


def _least(text=ATOMICS, **options):
    path = COMMON.parent / "planted.cu"
    module = Module(path)
    module.__dict__["source"] = parse(path, text)
    x, y = (np.random.default_rng(0).permutation(128) + 3).astype(np.int32), np.array([1000, -1], np.int32)
    with emulator.options(**options):
        module.launch("least", (2,), (64,), x, y)
    return y, np.sort(x.reshape(2, 64).min(axis=1))


@pytest.mark.parametrize("watched", [False, True], ids=["plain", "watched"])
@each_schedule
def test_integer_atomics_are_not_a_race_and_have_one_result(schedule, watched):
    result, expected = _least(watched=watched, **schedule)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(
    ("old", "new", "report"),
    [
        ("    atomicMin(&mine[0], x(thread_number()));\n    __sync", "    __sync", None),
        ("mine[0] = 1000;\n    __syncthreads();", "mine[0] = 1000;", "a race in shared memory"),
        ("x(thread_number()));\n    __syncthreads();", "x(thread_number()));", "a race in shared memory"),
        (
            "atomicMin(&y(0), mine[0]), ",
            "y(0) = mine[0], ",
            "a race in global memory: thread 0 of block 0 writes, thread 0 of block 1 writes",
        ),
        ("atomicMax(&y(1), mine[0])", "atomicMax(&y(0), mine[0]), y(1) = y(0)", "a race in global memory"),
        ("atomicMax(&y(1), mine[0])", "atomicMax(&y(2), mine[0])", "writes memory outside of every array at planted.cu:9"),
    ],
    ids=["left out", "no barrier before", "no barrier after", "plain write", "plain read", "out of bounds"],
)
def test_what_is_not_atomic_is_still_seen(old, new, report):
    assert ATOMICS.count(old) == 1
    text = ATOMICS.replace(old, new)
    if report is None:
        result, expected = _least(text, watched=True)
        assert (result != expected).any()
    else:
        with pytest.raises(emulator.KernelError, match=report):
            _least(text, watched=True, schedule="reverse")


def test_the_watch_counts_transactions():
    """64 neighbours are 8 sectors of 32 bytes; with a stride of 8 elements each has one of its own."""
    path = COMMON.parent / "planted.cu"
    module = Module(path)
    text = (
        '#include "common.cuh"\n__global__ void copied(Array<const float, 1> x, Array<float, 1> y) { y(threadIdx.x) = x(threadIdx.x); }\n'
    )
    module.__dict__["source"] = parse(path, text)
    sectors = []
    for x in (np.zeros(64, np.float32), np.zeros(512, np.float32)[::8]):
        with emulator.options(watched=True), emulator.launches() as seen:
            module.launch("copied", (1,), (64,), x, np.zeros(64, np.float32))
        sectors.append(seen[0].counters["sectors"])
    lines_up = 2  # an array need not start at a sector
    assert sectors[0] in range(16, 16 + 2 * lines_up + 1)
    assert sectors[1] - sectors[0] in range(56 - lines_up, 56 + lines_up + 1)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: "-".join(map(str, s.values())))
def test_the_watch_puts_together_what_a_warp_does_at_once_in_a_loop(schedule):
    """In the emulator one thread runs through its whole loop before the next one starts; on a GPU the lanes of a warp run together."""
    path = COMMON.parent / "planted.cu"
    text = """
    #include "common.cuh"
    // STEP = 1, 8
    template <int STEP>
    __global__ void looped(Array<const float, 1> x, Array<float, 1> y) {
        float sum = 0;
        for (int k = 0; k < 8; ++k) sum += x(STEP == 1 ? 32 * k + threadIdx.x : 8 * threadIdx.x + k);
        y(threadIdx.x) = sum;
    }
    """.replace("\n    ", "\n")
    module = Module(path)
    module.__dict__["source"] = parse(path, text)
    memory = np.zeros(280, np.float32)
    x = memory[(-memory.ctypes.data // 4) % 8 :][:256]  # starts at a sector
    sectors = []
    for step in (1, 8):
        with emulator.options(watched=True, **schedule), emulator.launches() as seen:
            module.launch("looped", (1,), (32,), x, np.zeros(32, np.float32), STEP=step)
        sectors.append(seen[0].counters["sectors"])
    assert sectors[1] - sectors[0] == 8 * 32 - 8 * 4


def test_the_watch_counts_bank_conflicts():
    """Lanes that are 32 words apart share one bank: 32 wavefronts instead of 1."""
    path = COMMON.parent / "planted.cu"
    text = """
    #include "common.cuh"
    // PITCH = 32, 33
    template <int PITCH>
    __global__ void columns(Array<float, 1> y) {
        SHARED(float, tile, [32 * 33]);
        tile[threadIdx.x * PITCH] = 1;
        __syncthreads();
        y(threadIdx.x) = tile[threadIdx.x * PITCH];
    }
    """.replace("\n    ", "\n")
    module = Module(path)
    module.__dict__["source"] = parse(path, text)
    wavefronts = []
    for pitch in (32, 33):
        with emulator.options(watched=True), emulator.launches() as seen:
            module.launch("columns", (1,), (32,), np.zeros(32, np.float32), PITCH=pitch)
        wavefronts.append(seen[0].counters["shared_wavefronts"])
    assert wavefronts == [64, 2]


def test_without_a_compiler_the_package_to_install_is_named(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    emulator.compiler.cache_clear()
    try:
        with pytest.raises(emulator.CompilerError, match=r"apt install g\+\+"):
            emulator.compiler()
    finally:
        emulator.compiler.cache_clear()


def test_an_unknown_schedule_is_refused():
    with (
        pytest.raises(ValueError, match="no schedule 'sideways': choose one of forward, reverse, random"),
        emulator.options(schedule="sideways"),
    ):
        pass


@each_schedule
def test_a_trace_holds_every_access_with_its_line_and_interval(schedule):
    lines = KERNELS.split("\n")
    stage, store = (next(n for n, line in enumerate(lines, 1) if text in line) for text in ("? x(i) : 0.0f", "y(i) = tile[63"))
    with emulator.tracing() as launches:
        run("turned", size=100, **schedule)
    (launch,) = launches
    assert (launch.kernel, launch.grid, launch.block) == ("turned", (2, 1, 1), (64, 1, 1))
    expected = set()
    for number in range(128):
        block, thread = divmod(number, 64)
        expected.add(emulator.Access(block, thread, 0, "shared 0", 4 * thread, 4, True, f"planted.cu:{stage}"))
        if number < 100:
            expected.add(emulator.Access(block, thread, 0, "x", 4 * number, 4, False, f"planted.cu:{stage}"))
            expected.add(emulator.Access(block, thread, 1, "shared 0", 4 * (63 - thread), 4, False, f"planted.cu:{store}"))
            expected.add(emulator.Access(block, thread, 1, "y", 4 * number, 4, True, f"planted.cu:{store}"))
    assert set(launch.accesses) == expected
    assert len(launch.accesses) == len(expected)


def test_nothing_is_recorded_by_default():
    with emulator.tracing() as launches:
        run("turned")
    run("turned", watched=True)
    assert len(launches) == 1
    with emulator.launches() as seen:
        run("turned", watched=True)
    assert seen[0].counters["global_reads"] == 128
