"""The tensor core's instruction: fragments lie as the PTX ISA says, inputs are truncated, `to_tf32` rounds, and errors name their line."""

import numpy as np
import pytest

from minisegnet_kernels import backends, emulator
from minisegnet_kernels.cuda import Module
from minisegnet_kernels.cuda.source import COMMON, parse

pytestmark = pytest.mark.skipif(not backends.available()["cuda"], reason="no C++ compiler")

KERNELS = """
#include "common.cuh"
#include "mma.cuh"
__global__ void registers(Array<const float, 2> a, Array<const float, 2> b, Array<float, 2> c) {
    int t = thread_number();
    float mine_a[4] = {a(t, 0), a(t, 1), a(t, 2), a(t, 3)}, mine_b[2] = {b(t, 0), b(t, 1)}, sum[4] = {c(t, 0), c(t, 1), c(t, 2), c(t, 3)};
    mma_m16n8k8(sum, mine_a, mine_b);
    for (int r = 0; r < 4; ++r) c(t, r) = sum[r];
}
__global__ void rounded(Array<const float, 1> x, Array<float, 1> y) { y(thread_number()) = to_tf32(x(thread_number())); }
__global__ void some_lanes(Array<const float, 1> x, Array<float, 1> y) {
    float a[4] = {}, b[2] = {}, sum[4] = {};
    if (threadIdx.x != 5) mma_m16n8k8(sum, a, b);
    y(thread_number()) = sum[0];
}
__global__ void two_places(Array<const float, 1> x, Array<float, 1> y) {
    float a[4] = {}, b[2] = {}, sum[4] = {};
    if (threadIdx.x < 16) mma_m16n8k8(sum, a, b);
    else
        mma_m16n8k8(sum, a, b);
    y(thread_number()) = sum[0];
}
"""
PATH = COMMON.parent / "planted.cu"
LANE = np.arange(32)
GROUP, MEMBER = LANE // 4, LANE % 4


def launch(kernel, *arrays, threads=32, text=KERNELS, blocks=1, **options):
    module = Module(PATH)
    module.__dict__["source"] = parse(PATH, text)
    with emulator.options(**options):
        module.launch(kernel, (blocks,), (threads,), *arrays)


def fragments(A, B, C):
    """Registers of the 32 lanes, by "Matrix fragments for mma.m16n8k8" of the PTX ISA, .tf32."""
    a = np.stack([A[GROUP + 8 * (i in (1, 3)), MEMBER + 4 * (i >= 2)] for i in range(4)], axis=1)
    b = np.stack([B[MEMBER + 4 * i, GROUP] for i in range(2)], axis=1)
    c = np.stack([C[GROUP + 8 * (i >= 2), 2 * MEMBER + (i & 1)] for i in range(4)], axis=1)
    return a, b, c


def gathered(c):
    C = np.full((16, 8), np.nan, np.float32)
    for i in range(4):
        C[GROUP + 8 * (i >= 2), 2 * MEMBER + (i & 1)] = c[:, i]
    return C


def cut(a):
    return (a.view(np.int32) & ~0x1FFF).view(np.float32)


def rounded(a):
    """To 10 bits of fraction, halves away from zero, computed with an integer significand."""
    significand, exponent = np.frexp(a.astype(np.float64))
    return np.ldexp(np.trunc(significand * 2**11 + np.copysign(0.5, significand)), exponent - 11)


def matrices(seed, draw=lambda rng, shape: rng.normal(size=shape)):
    rng = np.random.default_rng(seed)
    return [draw(rng, shape).astype(np.float32) for shape in ((16, 8), (8, 8), (16, 8))]


@pytest.mark.parametrize("watched", [False, True], ids=["plain", "watched"])
@pytest.mark.parametrize("schedule", emulator.SCHEDULES)
def test_the_product_is_that_of_the_inputs_cut_to_tf32(schedule, watched):
    A, B, C = matrices(1)
    a, b, c = fragments(A, B, C)
    launch("registers", a, b, c, schedule=schedule, seed=3, watched=watched)
    expected = cut(A).astype(np.float64) @ cut(B) + C
    np.testing.assert_allclose(gathered(c), expected, rtol=0, atol=2**-23 * 16)
    assert np.abs(gathered(c) - (A.astype(np.float64) @ B + C)).max() > 2**-13  # and of nothing more precise


def test_whole_numbers_of_ten_bits_are_exact():
    A, B, C = matrices(2, lambda rng, shape: rng.integers(-1023, 1024, shape))
    a, b, c = fragments(A, B, C)
    launch("registers", a, b, c)
    np.testing.assert_array_equal(gathered(c), A.astype(np.int64) @ B.astype(np.int64) + C.astype(np.int64))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("{a(t, 0), a(t, 1), a(t, 2), a(t, 3)}", "{a(t, 0), a(t, 2), a(t, 1), a(t, 3)}"), ("{b(t, 0), b(t, 1)}", "{b(t, 1), b(t, 0)}")],
    ids=["rows before columns", "halves changed over"],
)
def test_a_wrong_layout_of_the_fragments_gives_a_wrong_product(right, wrong):
    assert KERNELS.count(right) == 1
    A, B, C = matrices(3)
    a, b, c = fragments(A, B, C)
    launch("registers", a, b, c, text=KERNELS.replace(right, wrong))
    assert np.abs(gathered(c) - (A.astype(np.float64) @ B + C)).max() > 0.5


def test_every_warp_has_its_own_product():
    sets = [fragments(*matrices(seed)) for seed in range(4)]
    a, b, c = (np.concatenate(parts) for parts in zip(*sets, strict=True))
    launch("registers", a, b, c, threads=64, blocks=2, schedule="random")
    for seed in range(4):
        A, B, C = matrices(seed)
        np.testing.assert_allclose(gathered(c[32 * seed : 32 * seed + 32]), cut(A).astype(np.float64) @ cut(B) + C, rtol=0, atol=2**-19)


def test_to_tf32_rounds_to_nearest_and_halves_away_from_zero():
    rng = np.random.default_rng(4)
    x = np.concatenate([rng.normal(size=120) * 10.0 ** rng.integers(-20, 20, 120), [1 + 2**-11, -1 - 2**-11, 1 + 2**-11 - 2**-23, 0]])
    x = np.concatenate([x, [-0.0, np.inf, -np.inf, np.nan]]).astype(np.float32)
    y = np.empty_like(x)
    launch("rounded", x, y, threads=128)
    np.testing.assert_array_equal(y[:-3], rounded(x[:-3]))
    np.testing.assert_array_equal(y[-3:], x[-3:])
    assert np.signbit(y[-4])
    assert y[120] == 1 + 2**-10
    assert y[121] == -1 - 2**-10
    assert y[122] == 1


@pytest.mark.parametrize(
    ("kernel", "threads", "report"),
    [
        ("some_lanes", 32, r"not all threads of its mask reach: thread \(\d+, 0, 0\) waits for .* at planted.cu:13"),
        ("two_places", 32, r"not all threads of its mask reach: .* at planted.cu:(18|20)"),
        ("some_lanes", 48, r"thread \(32, 0, 0\), at planted.cu:13, belongs to a warp with 16 lanes; this operation needs all 32"),
    ],
)
def test_a_warp_that_is_not_whole_is_an_error_with_its_line(kernel, threads, report):
    text = KERNELS if threads == 32 else KERNELS.replace("threadIdx.x != 5", "true")
    x, y = np.zeros(threads, np.float32), np.zeros(threads, np.float32)
    with pytest.raises(emulator.KernelError, match=report):
        launch(kernel, x, y, threads=threads, text=text)


COPIES = """
#include "common.cuh"
#include "async.cuh"
__global__ void copied(Array<const float, 1> x, Array<float, 1> y) {
    SHARED(float4, tile, [2][8]);
    int t = threadIdx.x;
    const float4* from = reinterpret_cast<const float4*>(x.data);
    copy_async(&tile[0][t], from + t), commit_copies();
    copy_async(&tile[1][t], from + 8 + t, t != 3), commit_copies();
    wait_for_copies<1>();
    __syncthreads();
    y(t) = tile[0][7 - t].x;
    wait_for_copies<0>();
    __syncthreads();
    y(8 + t) = tile[1][7 - t].w;
}
"""


@pytest.mark.parametrize("schedule", emulator.SCHEDULES)
def test_copies_arrive_group_by_group_and_zeros_for_what_is_absent(schedule):
    x, y = np.arange(64, dtype=np.float32), np.full(16, np.nan, np.float32)
    launch("copied", x, y, threads=8, text=COPIES, schedule=schedule, watched=True)
    second = x[35::4].copy()
    second[3] = 0
    np.testing.assert_array_equal(y, np.concatenate([x[:32:4][::-1], second[::-1]]))


@pytest.mark.parametrize("line", [10, 13])
def test_a_wait_left_out_shows_as_nan(line):
    x, y = np.arange(64, dtype=np.float32), np.zeros(16, np.float32)
    launch("copied", x, y, threads=8, text=COPIES, skip=("planted.cu", line))
    assert np.isnan(y).any()


def test_a_copy_from_an_address_that_does_not_fit_is_an_error_with_its_line():
    x, y = np.arange(65, dtype=np.float32)[1:], np.zeros(16, np.float32)
    report = r"thread 0, at planted.cu:8, copies 16 bytes from an address that is not a multiple of that size"
    with pytest.raises(emulator.KernelError, match=report):
        launch("copied", x, y, threads=8, text=COPIES)
