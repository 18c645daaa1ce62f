"""Kernels written in a notebook: right ones pass, and each mistake is named with its line. The thorough profile compiles them all."""

import numpy as np
import pytest

from minisegnet.learn.kernel_exercises import check_kernel
from minisegnet.learn.kernels import Kernel, draw
from minisegnet_kernels import backends

pytestmark = pytest.mark.skipif(not backends.available()["cuda"], reason="no C++ compiler")

SQUARE = """
__global__ void square(Array<const float, 1> x, Array<float, 1> y) {
    int i = thread_number();
    if (i < x.shape[0]) y(i) = x(i) * x(i);
}"""
POOL = """
__global__ void pool(Array<const float, 2> x, Array<float, 2> y) {
    int i = blockIdx.y * blockDim.y + threadIdx.y, j = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= y.shape[0] || j >= y.shape[1]) return;
    y(i, j) = fmaxf(fmaxf(x(2 * i, 2 * j), x(2 * i, 2 * j + 1)), fmaxf(x(2 * i + 1, 2 * j), x(2 * i + 1, 2 * j + 1)));
}"""
TURNED = """
__global__ void turned(Array<const float, 1> x, Array<float, 1> y) {
    SHARED(float, tile, [8]);
    int i = thread_number();
    tile[threadIdx.x] = x(i);
    __syncthreads();
    y(i) = tile[7 - threadIdx.x];
}"""


def changed(text, old, new):
    assert text.count(old) == 1
    return text.replace(old, new)


SUM = """
__global__ void sum_of_three(Array<const float, 1> x, Array<float, 1> y) {
    SHARED(float, tile, [10]);
    int i = thread_number(), t = threadIdx.x;
    tile[t] = x(i);
    if (t < 2) tile[t + 8] = x(i + 8);
    __syncthreads();
    y(i) = tile[t] + tile[t + 1] + tile[t + 2];
}"""
TRANSPOSED = """
__global__ void transposed(Array<const float, 2> x, Array<float, 2> y) {
    SHARED(float, tile, [32][33]);
    int i = 32 * blockIdx.y, j = threadIdx.x;
    for (int row = threadIdx.y; row < 32; row += 8) tile[row][j] = x(i + row, j);
    __syncthreads();
    for (int row = threadIdx.y; row < 32; row += 8) y(row, i + j) = tile[j][row];
}"""
RIGHT = {
    "square": (SQUARE, "21 reads and 21 writes of memory"),
    "pool": (POOL, "48 reads and 12 writes of memory"),
    "turned": (TURNED, "24 reads and 24 writes of memory; 6 turns of shared memory, 6 would do"),
    "sum_of_three": (SUM, "30 reads and 24 writes of memory; 15 turns of shared memory, 15 would do"),
    "transposed": (TRANSPOSED, "2048 reads and 2048 writes of memory; 128 turns of shared memory, 128 would do"),
}


@pytest.mark.slow
@pytest.mark.parametrize("exercise", RIGHT)
def test_a_right_kernel_passes_and_gets_its_score(exercise):
    text, score = RIGHT[exercise]
    verdict = check_kernel(exercise, text)
    assert verdict, verdict
    assert score in str(verdict)


GUARD, BARRIER, HALO = "if (i < x.shape[0]) ", "    __syncthreads();\n", "    if (t < 2) tile[t + 8] = x(i + 8);\n"
LAST = "y(row, i + j) = tile[j][row]"
# Ten wrong kernels for each exercise: what is changed, words of the verdict, the line that it names. A comment says when the result is right.
WRONG = {
    "square": [
        (GUARD, "", "outside of every array", "line 4: y(i) = x(i) * x(i);"),  # sizes that the blocks divide
        ("i < x.shape[0]", "i < x.shape[0] && i < 8", "NaN: an output that no thread wrote", ""),  # one block
        ("thread_number()", "threadIdx.x", "a race in global memory", "line 4"),  # one block
        ("x(i) * x(i)", "x(i) * 2", "first wrong value: y[i=0]", ""),  # 0 and 2
        (";\n}", "\n}", "the compiler says", ""),
        ("i < x.shape[0]", "i <= x.shape[0]", "outside of every array", "line 4"),  # sizes that the blocks divide
        ("i < x.shape[0]", "i + 1 < x.shape[0]", "NaN", ""),
        ("thread_number()", "thread_number() + 1", "NaN", ""),
        ("thread_number()", "blockIdx.x", "", ""),
        ("x(i) * x(i)", "fabsf(x(i))", "first wrong value", ""),  # −1, 0 and 1
        ("y(i) =", "y(x.shape[0] - 1 - i) =", "first wrong value", ""),  # symmetric inputs
    ],
    "pool": [
        ("i >= y.shape[0] || ", "", "outside of every array", ""),  # an even number of rows
        ("|| j >= y.shape[1]", "|| j >= y.shape[0]", "NaN", ""),  # square images
        ("fmaxf(fmaxf(", "fmaxf(fmaxf(0.0f, ", "the compiler says", ""),
        ("fmaxf(fmaxf(x(2 * i, 2 * j)", "fmaxf(fmaxf(0.0f, 0.0f + x(2 * i, 2 * j)", "the compiler says", ""),
        ("x(2 * i, 2 * j),", "0.0f,", "first wrong value", ""),  # images that are positive and largest elsewhere
        ("x(2 * i + 1, 2 * j + 1)", "x(2 * i + 1, 2 * j)", "first wrong value", ""),
        ("int i = blockIdx.y * blockDim.y + threadIdx.y", "int i = threadIdx.y", "", ""),  # one block
        ("blockIdx.x * blockDim.x + threadIdx.x", "blockIdx.x * blockDim.y + threadIdx.x", "", ""),  # square blocks
        ("fmaxf(fmaxf(", "fminf(fmaxf(", "first wrong value", ""),
        ("x(2 * i, 2 * j + 1)", "x(2 * i, 2 * j + 2)", "", ""),
        ("y(i, j)", "y(j, i)", "", ""),  # square images that are symmetric
    ],
    "turned": [
        (BARRIER, "", "a race in shared memory", "line 5: tile[threadIdx.x] = x(i);"),  # one order of the threads
        (BARRIER, "    if (threadIdx.x >= 4) return;\n" + BARRIER, "has left", "line 7: __sync"),
        ("tile[7 - threadIdx.x]", "tile[8 - threadIdx.x]", "outside of every array", ""),
        ("tile[7 - threadIdx.x]", "tile[threadIdx.x]", "first wrong value", ""),  # symmetric blocks
        ("thread_number()", "threadIdx.x", "", ""),  # one block
        ("tile[threadIdx.x] = x(i)", "tile[i] = x(i)", "outside of every array", ""),  # one block
        ("y(i) = tile[7 - threadIdx.x]", "y(7 - i) = tile[threadIdx.x]", "", ""),  # one block
        ("[8]", "[7]", "outside of every array", ""),
        (BARRIER, "    if (threadIdx.x < 4) __syncthreads();\n", "", ""),
        ("tile[7 - threadIdx.x]", "tile[6 - threadIdx.x % 7]", "first wrong value", ""),
    ],
    "sum_of_three": [
        (BARRIER, "", "a race in shared memory", ""),
        (HALO, "", "NaN", ""),
        ("t < 2", "t < 1", "NaN", ""),
        ("t < 2", "t >= 6", "outside of every array", ""),
        ("tile[t] + tile[t + 1] + tile[t + 2]", "x(i) + x(i + 1) + x(i + 2)", "it reads x 34 times; 10 reads", ""),
        ("tile[t + 2]", "tile[t + 1]", "first wrong value", ""),
        ("x(i + 8)", "x(t + 8)", "first wrong value", ""),  # one block
        ("    if (t < 2) tile[t + 8] = x(i + 8);", "    if (t < 2) tile[t + 8] = 0;", "first wrong value", ""),  # zeros at the end
        ("[10]", "[8]", "outside of every array", ""),
        (BARRIER, "    if (t >= 2) return;\n" + BARRIER, "has left", ""),
        ("tile[t] + tile[t + 1] + tile[t + 2]", "tile[t] + tile[t + 1] + x(i + 2)", "it reads x 18 times", ""),
    ],
    "transposed": [
        ("[33]", "[32]", "takes 1056 turns where 64 would do", ""),
        ("[33]", "[34]", "turns where 64 would do", ""),
        ("[33]", "[48]", "turns where 64 would do", ""),
        (BARRIER, "", "a race in shared memory", ""),
        (LAST, "y(row, i + j) = x(i + j, row)", "it reads x 2048 times; 1024 reads", ""),  # the result is right, and reads go along columns
        (LAST, "y(row, i + j) = tile[row][j]", "first wrong value", ""),  # symmetric images
        ("y(row, i + j)", "y(j, i + row)", "first wrong value", ""),  # symmetric images
        ("y(row, i + j)", "y(row, j)", "", ""),  # one block
        ("row += 8) y", "row += 16) y", "NaN", ""),
        ("[32][33]", "[31][33]", "", ""),
        ("threadIdx.y; row < 32; row += 8) tile", "threadIdx.y; row < 31; row += 8) tile", "NaN", ""),
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("exercise", WRONG)
def test_ten_wrong_kernels_are_refused(exercise):
    assert len(WRONG[exercise]) >= 10
    for old, new, words, line in WRONG[exercise]:
        verdict = check_kernel(exercise, changed(RIGHT[exercise][0], old, new))
        assert verdict.state == "wrong", (old, new)
        assert words in str(verdict) and line in str(verdict), verdict


@pytest.mark.slow
def test_a_trace_is_drawn_with_a_row_for_each_thread():
    x, y = np.arange(16, dtype=np.float32), np.zeros(16, np.float32)
    traced = Kernel(TURNED)(2, 8, x, y)
    assert y.tolist() == [*range(7, -1, -1), *range(15, 7, -1)]
    pictures = [np.asarray(draw(traced, array, 16), float) for array in ("x", "y")]
    red_minus_blue = [float((p[..., 0] - p[..., 2]).mean()) for p in pictures]
    assert red_minus_blue[0] < 0 < red_minus_blue[1], "reads are blue, writes red"


def test_stubs_and_unknown_exercises():
    stub = "__global__ void square(Array<const float, 1> x, Array<float, 1> y) {\n    SHARED(float, tile, [8]);\n    // yours\n}"
    assert check_kernel("square", stub).state == "not yet"
    with pytest.raises(ValueError, match="no kernel exercise 'cube'; there are square, pool, turned, sum_of_three, transposed"):
        check_kernel("cube", stub)
    with pytest.raises(ValueError, match="0 __global__ functions; one is expected"):
        Kernel("int f();")
