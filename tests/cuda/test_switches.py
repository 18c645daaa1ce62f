"""The finder of checks finds every kind, in the right place, and nothing else; each switch turns its own fault on."""

import ctypes

import numpy as np
import pytest
from support.mutants import changed, noticed
from support.switches import switched

from minisegnet_kernels import backends, emulator
from minisegnet_kernels.cuda import Module
from minisegnet_kernels.cuda.source import COMMON, parse
from minisegnet_kernels.emulator import build

PATH = COMMON.parent / "planted.cu"
TEXT = """#include "common.cuh"
constexpr int FOUR = 4; template <int SIZE> constexpr int RESIDENT = SIZE > 64 && min(SIZE, FOUR) < 5 ? 2 : 4;

__device__ bool inside(int i, int size) { return i >= 0 && i < size; }

template <bool EVEN>
__global__ void shifted(Array<const float, 1> x, Array<float, 1> y) {
    const int i = thread_number();  // i < y.shape[0]
    if (i >= y.shape[0]) return;
    const int size = min(x.shape[0], y.shape[0]);
    const bool last = i + 1 >= size;
    float sum = 0;
    for (int k = 0; k < FOUR; ++k) sum += 1;
    for (int k = i; k < x.shape[0] && inside(k, size); ++k) sum += x(k);
    if constexpr (FOUR < 3) sum *= 2;
    y(i) = last ? x(size - 1) : i < 2 || EVEN ? sum : x(i + 1);
    if (i >= 0) sum = 0;  // of two checks with one text the second is named so
}
#ifndef EMULATOR
__device__ bool never(int a) { return a < 0; }
#endif
"""
FOUND = [
    (9, "i >= y.shape[0]"),
    (17, "i >= 0 (2)"),
    (14, "k < x.shape[0]"),
    (4, "i >= 0"),
    (4, "i < size"),
    (11, "i + 1 >= size"),
    (16, "i < 2 [always]"),
    (16, "i < 2 [never]"),
    (10, "min(x.shape[0], y.shape[0]) [first]"),
    (10, "min(x.shape[0], y.shape[0]) [second]"),
]


def test_every_kind_of_check_is_found_where_it_stands():
    _, found = switched(parse(PATH, TEXT))
    assert [(m.line, m.text) for m in found if m.file == "planted.cu"] == FOUND
    assert [m.number for m in found] == list(range(1, len(found) + 1))
    assert "threadIdx.x < half" in {m.text for m in found if m.file == "common.cuh"}


@pytest.mark.skipif(not backends.available()["cuda"], reason="no C++ compiler")
def test_each_switch_turns_one_fault_on():
    module = Module(PATH)
    module.__dict__["source"] = parse(PATH, TEXT)
    text, found = switched(module.source)
    x = np.arange(1.0, 6, dtype=np.float32)
    right = {5: [19, 18, 4, 5, 5], 3: [10, 9, 3]}

    def check(size):
        y = np.zeros(size, np.float32)
        module.launch("shifted", (1,), (32,), x, y, EVEN=False)
        np.testing.assert_array_equal(y, right[size])

    with changed(module, text) as source, emulator.options(watched=True):
        library = build.library(source, "watched")
        check(5)
        assert not noticed(lambda: check(3))
        missed = []
        for mutant in (m for m in found if m.file == "planted.cu"):
            library.set_mutant(mutant.number)
            missed += [] if noticed(lambda: check(5)) or noticed(lambda: check(3)) else [mutant.text]
        library.set_mutant(0)
        library.reached_mutants.restype = ctypes.c_void_p
        reached = ctypes.string_at(library.reached_mutants(), len(found) + 1)
    # Each bound of the loop is enough without the other, and no index is below 0: the kernel has checks that it does not need.
    assert missed == ["i >= 0 (2)", "k < x.shape[0]", "i >= 0", "min(x.shape[0], y.shape[0]) [second]"]
    assert {m.file for m in found if reached[m.number]} == {"planted.cu"}
