"""The tests of the ladder's rungs are tested: if a barrier or a check is removed, one must fail, as in ``test_mutation.py``.

Rung 1 is the operation's ``kernel.cu``, and is checked there.
"""

import pytest
from support import score
from support.ladder_trials import trials
from support.mutants import EVERYWHERE, OPERATIONS, assert_all_rejected, missed_barriers, missed_checks

from minisegnet_kernels import backends
from minisegnet_kernels.conv2d.ladder import RUNGS, rung8_grad_weight
from minisegnet_kernels.conv2d.ladder.rung import FOLDER

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not backends.available()["cuda"], reason="no C++ compiler")]

FILES = sorted({rung.path for rung in RUNGS if rung.path.parent == FOLDER})
each_file = pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)

# {(file, the line of a barrier or the text of a check): why the result is the same without it}, of each file.
_ZEROS = "the additional step adds zeros"
_NOBODY = "the additional step copies zeros, which no thread reads"
_FEW = "it is only compared with r, which is less than OUTPUTS"
_PIPELINE = {("tf32_pipeline.cuh", "step >= steps"): _NOBODY}
_SPLIT = {
    ("split_reduction.cuh", "m0 + DEPTH < end"): _NOBODY,
    ("split_reduction.cuh", "min(q0 + q_piece * FOUR, terms - FOUR) [first]"): (
        "a term past the last is not written, and its cell is read only if it lies inside the image"
    ),
}
EQUIVALENT: dict[str, dict[tuple[str, str], str]] = {
    "rung2_tile": {
        ("rung2_tile.cu", "c0 < C"): "the additional step has 0 channels: it stages nothing and adds nothing",
        ("rung2_tile.cu", "min(OUTPUTS, O - quad) [second]"): _FEW,
        ("rung2_tile.cu", "min(OUTPUTS, O - quad) [second] (2)"): _FEW,
    },
    "rung3_implicit_gemm": {("rung3_implicit_gemm.cu", "q0 < terms"): _ZEROS},
    "rung4_register_tile": {("rung4_register_tile.cu", "q0 < terms"): _ZEROS},
    "rung5_asynchronous": {("rung5_asynchronous.cu", "q0 + SLICE < terms"): _NOBODY},
    "rung6_tf32": {("rung6_tf32.cu", "first < K"): _ZEROS},
    "rung7_tf32_tuned": {**_PIPELINE, ("statistics.cuh", "r < count [always]"): "in this rung the sums of pixels past the last are zeros"},
    "rung8_grad_input": {("rung5_asynchronous.cu", "q0 + SLICE < terms"): _NOBODY},
    "rung8_grad_weight": _SPLIT,
    "rung8_register_tile_grad_input": {("rung4_register_tile.cu", "q0 < terms"): _ZEROS},
    "rung8_register_tile_grad_weight": _SPLIT,
    "rung8_tf32_grad_input": _PIPELINE,
    "rung8_tf32_grad_weight": {
        ("rung8_tf32_grad_weight.cu", "step >= steps"): _NOBODY,
        ("rung8_tf32_grad_weight.cu", "e < E"): (
            "an entry past the last is not written, and its cell is read only if it lies inside the image"
        ),
        (
            "rung8_tf32_grad_weight.cu",
            "max(ceil_div(end - s * share, DEPTH), 0) [first]",
        ): "a negative number of steps means no step, as 0 does",
    },
    "rung4s_winograd": {("rung4s_winograd.cu", "c0 < C"): _ZEROS},
}


@pytest.fixture(autouse=True)
def few_slabs(monkeypatch):
    """Use few slabs, so that a slab of a small case has several steps, as a slab of a large image has."""
    monkeypatch.setattr(rung8_grad_weight, "BUSY", 3)
    monkeypatch.setattr(rung8_grad_weight, "_LEAST", 1)


def module_of(path):
    return next(rung.module for rung in RUNGS if rung.path == path)


def trials_of(path):
    return [trial for rung in RUNGS if rung.path == path for trial in trials(rung)]


@each_file
def test_every_barrier_wait_and_commit_of_a_rung_is_needed(path):
    found, survivors = missed_barriers(module_of(path), trials_of(path))
    assert found
    assert_all_rejected(path.stem, "barriers and waits", found, survivors, {**EVERYWHERE, **EQUIVALENT.get(path.stem, {})})


@each_file
def test_every_check_of_a_rung_is_needed(path):
    found, survivors = missed_checks(module_of(path), trials_of(path))
    assert found
    assert_all_rejected(path.stem, "checks", found, survivors, {**EVERYWHERE, **EQUIVALENT.get(path.stem, {})})


def test_no_check_of_a_header_is_left_out():
    """A check of a header counts only in the kernels that reach it. After all kernels have been tested, one must have reached it."""
    unreached = score.unreached([*OPERATIONS, *(path.stem for path in FILES)])
    if unreached is None:
        pytest.skip("this process has not tested all operations and rungs; run this file and test_mutation.py with -n 0")
    assert unreached == []
