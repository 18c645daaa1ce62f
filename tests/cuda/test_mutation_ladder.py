"""The checks of the ladder's rungs are checked, as those of the operations are in ``test_mutation.py``.

Rung 1 is the operation's ``kernel.cu``, and is checked there.
"""

import pytest
from support.ladder_trials import trials
from support.mutants import EVERYWHERE, OPERATIONS, assert_all_rejected, left_out, missed_barriers, missed_checks

from minisegnet_kernels import backends
from minisegnet_kernels.conv2d.ladder import RUNGS, rung8_grad_weight
from minisegnet_kernels.conv2d.ladder.rung import FOLDER

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not backends.available()["cuda"], reason="no C++ compiler")]

FILES = sorted({rung.path for rung in RUNGS if rung.path.parent == FOLDER})
each_file = pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)

# {(file, the line of a barrier or the text of a check): why the result is the same without it}, of each file.
_ZEROS = "the step too many brings zeros, and adds them"
_NOBODY = "a step too many is brought, of zeros, and nobody reads it"
_FEW = "it is only compared with numbers r < OUTPUTS"
_PIPELINE = {("tf32_pipeline.cuh", "step >= steps"): _NOBODY}
_SPLIT = {
    ("split_reduction.cuh", "m0 + DEPTH < end"): _NOBODY,
    ("split_reduction.cuh", "min(q0 + q_piece * FOUR, terms - FOUR) [first]"): (
        "a term past the last is not written, and of its cell it is asked as of any other whether it lies inside"
    ),
}
EQUIVALENT: dict[str, dict[tuple[str, str], str]] = {
    "rung2_tile": {
        ("rung2_tile.cu", "c0 < C"): "the step too many has min(channels, 0) channels: nothing is staged, nothing is added",
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
            "an entry past the last is not written, and of its cell it is asked as of any other whether it lies inside"
        ),
        ("rung8_tf32_grad_weight.cu", "max(ceil_div(end - s * share, DEPTH), 0) [first]"): "fewer than 0 steps are none",
    },
    "rung4s_winograd": {("rung4s_winograd.cu", "c0 < C"): _ZEROS},
}


@pytest.fixture(autouse=True)
def few_slabs(monkeypatch):
    """So that a slab of a small case has several steps, as those of a large image have."""
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
    """Those are planted where a kernel reaches them: at last, has one reached each?"""
    unreached = left_out([*OPERATIONS, *(path.stem for path in FILES)])
    if unreached is None:
        pytest.skip("not all operations and rungs were looked at in this run")
    assert unreached == []
