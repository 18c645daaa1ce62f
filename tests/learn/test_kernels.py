"""Kernels written in a notebook: right ones pass, and each mistake is named with its line. The thorough profile compiles them all."""

import numpy as np
import pytest

from minisegnet.learn.kernels import Kernel, check_kernel, draw
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


@pytest.mark.slow
@pytest.mark.parametrize(("exercise", "text"), [("square", SQUARE), ("pool", POOL), ("turned", TURNED)], ids=["square", "pool", "turned"])
def test_a_right_kernel_passes(exercise, text):
    assert check_kernel(exercise, text)


WRONG = [
    ("square", changed(SQUARE, "if (i < x.shape[0]) ", ""), "outside of every array", "line 4: y(i) = x(i) * x(i);"),
    ("square", changed(SQUARE, "i < x.shape[0]", "i < x.shape[0] && i < 8"), "NaN: an output that no thread wrote", ""),
    ("square", changed(SQUARE, "thread_number()", "threadIdx.x"), "a race in global memory", "line 4"),
    ("square", changed(SQUARE, "x(i) * x(i)", "x(i) * 2"), "first wrong value: y[i=0]", ""),
    ("square", changed(SQUARE, ";\n}", "\n}"), "the compiler says", ""),
    ("pool", changed(POOL, "i >= y.shape[0] || ", ""), "outside of every array", ""),
    ("pool", changed(POOL, "|| j >= y.shape[1]", "|| j >= y.shape[0]"), "NaN", ""),
    ("pool", changed(POOL, "fmaxf(fmaxf(", "fmaxf(fmaxf(0.0f, "), "the compiler says", ""),
    ("pool", changed(POOL, "y(i, j) = fmaxf(", "y(i, j) = fmaxf(0.0f, fmaxf(").replace("1)));", "1))));"), "expected -", ""),
    ("turned", changed(TURNED, "    __syncthreads();\n", ""), "a race in shared memory", "line 5: tile[threadIdx.x] = x(i);"),
    (
        "turned",
        changed(TURNED, "    __syncthreads();", "    if (threadIdx.x >= 4) return;\n    __syncthreads();"),
        "has left",
        "line 7: __sync",
    ),
    ("turned", changed(TURNED, "tile[7 - threadIdx.x]", "tile[8 - threadIdx.x]"), "outside of every array", ""),
    ("turned", changed(TURNED, "tile[7 - threadIdx.x]", "tile[threadIdx.x]"), "first wrong value", ""),
]


@pytest.mark.slow
@pytest.mark.parametrize(("exercise", "text", "words", "line"), WRONG, ids=[f"{w[0]}-{k}" for k, w in enumerate(WRONG)])
def test_a_wrong_kernel_is_refused(exercise, text, words, line):
    verdict = check_kernel(exercise, text)
    assert verdict.state == "wrong"
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
    stub = "__global__ void square(Array<const float, 1> x, Array<float, 1> y) {\n    // yours\n}"
    assert check_kernel("square", stub).state == "not yet"
    with pytest.raises(ValueError, match="no kernel exercise 'cube'; there are square, pool, turned"):
        check_kernel("cube", stub)
    with pytest.raises(ValueError, match="0 __global__ functions; one is expected"):
        Kernel("int f();")
