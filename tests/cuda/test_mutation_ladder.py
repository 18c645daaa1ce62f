"""The checks of the ladder's rungs are checked, as those of the operations are in ``test_mutation.py``.

Rungs 1 and 2 stand in the operation's ``kernel.cu``, and are checked there.
"""

import sys

import pytest
import test_conv2d_statistics
import test_ladder
import test_ladder_tf32
from support.mutants import assert_all_rejected, left_out, missed_barriers, missed_checks
from test_mutation import EVERYWHERE, OPERATIONS

from minisegnet_kernels import backends
from minisegnet_kernels.conv2d.ladder import RUNGS, gradients
from minisegnet_kernels.conv2d.ladder.rung import FOLDER
from minisegnet_kernels.cuda import Module

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not backends.available()["cuda"], reason="no C++ compiler")]

FILES = sorted({rung.path for rung in RUNGS if rung.path.parent == FOLDER})
each_file = pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)

# {(file, the line of a barrier or the text of a check): why the result is the same without it}, of each file.
_ZEROS = "the step too many brings zeros, and adds them"
_NOBODY = "a step too many is brought, of zeros, and nobody reads it"
_PIPELINE = {("tf32_pipeline.cuh", "step >= steps"): _NOBODY}
EQUIVALENT: dict[str, dict[tuple[str, str], str]] = {
    "03_implicit_gemm": {("03_implicit_gemm.cu", "q0 < terms"): _ZEROS},
    "04_register_tile": {("04_register_tile.cu", "q0 < terms"): _ZEROS},
    "05_asynchronous": {("05_asynchronous.cu", "q0 + SLICE < terms"): _NOBODY},
    "06_tf32": {("06_tf32.cu", "first < K"): _ZEROS},
    "07_tf32_tuned": {**_PIPELINE, ("statistics.cuh", "r < count [always]"): "in this rung the sums of pixels past the last are zeros"},
    "08_gradients": {
        ("05_asynchronous.cu", "q0 + SLICE < terms"): _NOBODY,
        ("08_gradients.cu", "m0 + DEPTH < end"): _NOBODY,
        ("08_gradients.cu", "min(q0 + q_piece * FOUR, terms - FOUR) [first]"): (
            "a term past the last is not written, and of its cell it is asked as of any other whether it lies inside"
        ),
    },
    "08_tf32_grad_input": _PIPELINE,
    "08_tf32_grad_weight": {
        ("08_tf32_grad_weight.cu", "step >= steps"): _NOBODY,
        ("08_tf32_grad_weight.cu", "e < E"): (
            "an entry past the last is not written, and of its cell it is asked as of any other whether it lies inside"
        ),
        ("08_tf32_grad_weight.cu", "max(ceil_div(end - s * share, DEPTH), 0) [first]"): "fewer than 0 steps are none",
    },
    "side_winograd": {("side_winograd.cu", "c0 < C"): _ZEROS},
}


@pytest.fixture(autouse=True)
def few_slabs(monkeypatch):
    """So that a slab of a small case has several steps, as those of a large image have."""
    monkeypatch.setattr(gradients, "_BUSY", 3)
    monkeypatch.setattr(gradients, "_LEAST", 1)


def module_of(path):
    programs = [sys.modules[rung.program.__module__] for rung in RUNGS if rung.path == path]
    return next(m for program in programs for m in vars(program).values() if isinstance(m, Module) and m.path == path)


def trials(path):
    tried = {True: test_ladder_tf32.trials, False: test_ladder.trials}
    rungs = [rung for rung in RUNGS if rung.path == path]
    epilogues = [trial for rung in rungs if rung.with_statistics for trial in test_conv2d_statistics.trials(rung)]
    return [*(trial for rung in rungs for trial in tried[rung in test_ladder_tf32.TF32](rung)), *epilogues]


@each_file
def test_every_barrier_wait_and_commit_of_a_rung_is_needed(path):
    found, survivors = missed_barriers(module_of(path), trials(path))
    assert found
    assert_all_rejected(path.stem, "barriers and waits", found, survivors, {**EVERYWHERE, **EQUIVALENT.get(path.stem, {})})


@each_file
def test_every_check_of_a_rung_is_needed(path):
    found, survivors = missed_checks(module_of(path), trials(path))
    assert found
    assert_all_rejected(path.stem, "checks", found, survivors, {**EVERYWHERE, **EQUIVALENT.get(path.stem, {})})


def test_no_check_of_a_header_is_left_out():
    """Those are planted where a kernel reaches them: at last, has one reached each?"""
    unreached = left_out([*OPERATIONS, *(path.stem for path in FILES)])
    if unreached is None:
        pytest.skip("not all operations and rungs were looked at in this run")
    assert unreached == []
