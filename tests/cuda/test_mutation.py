"""The tests of the CUDA kernels are tested: if any barrier or any check of a bound is removed, a test must fail.

`EQUIVALENT` lists the removals that no test can notice, with a proof that they change nothing. At the end of the run a table
says how many faults were planted, and how many were rejected.
"""

import pytest
from support.mutants import EVERYWHERE, OPERATIONS, assert_all_rejected, missed_barriers, missed_checks, modules, trials

from minisegnet_kernels import backends

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not backends.available()["cuda"], reason="no C++ compiler")]

# {(file, the line of a barrier or the text of a check): why the result is the same without it}, for each operation. `EVERYWHERE`
# lists those that hold for all operations.
_ONE_SUM = {
    ("common.cuh", "__syncthreads();  // the memory may be used again by a second sum"): (
        "its kernels add only once in a launch, so the memory is not written again"
    )
}
_NO_WEIGHT = "what is added has weight 0"
_ONE_MORE = f"for whole numbers, the output with h = (k + 1) unit is added as well; {_NO_WEIGHT}"
EQUIVALENT: dict[str, dict[tuple[str, str], str]] = {
    "conv2d": {**_ONE_SUM},
    "pool2d": {**_ONE_SUM},
    "label": {("kernel.cu", "threadIdx.x == 0 (2)"): "the other threads bring larger numbers, and only the least number counts"},
    "batch_norm": {
        ("kernel.cu", "max(min(length, M - slab) - row, 0) [first]"): (
            "a slab has at least one value and row < step, so the difference is above −step, and its quotient by step, rounded up, is 0"
        )
    },
    "resize": {
        (
            "kernel.cu",
            "distance < on.unit [always]",
        ): "the loops visit only pixels at a distance of at most one unit; at exactly one unit both branches give 0",
        ("kernel.cu", "above < 0 [always]"): f"it starts at the first output, too early; {_NO_WEIGHT}",
        ("kernel.cu", "k <= k0 + 1"): f"the pixel too many is a unit away or more; {_NO_WEIGHT}, and is not read",
        ("kernel.cu", "l <= l0 + 1"): f"the pixel too many is a unit away or more; {_NO_WEIGHT}, and is not read",
        ("kernel.cu", "coordinate(rows, i) < (k + 1) * rows.unit"): _ONE_MORE,
        ("kernel.cu", "coordinate(columns, j) < (l + 1) * columns.unit"): _ONE_MORE,
    },
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_barrier_is_needed(operation):
    (module,) = modules(operation)
    found, survivors = missed_barriers(module, trials(operation, 12))
    assert_all_rejected(operation, "barriers and waits", found, survivors, {**EVERYWHERE, **EQUIVALENT.get(operation, {})})


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_check_is_needed(operation):
    (module,) = modules(operation)
    found, survivors = missed_checks(module, trials(operation, 20))
    assert found, "no check was found"
    assert_all_rejected(operation, "checks", found, survivors, {**EVERYWHERE, **EQUIVALENT.get(operation, {})})
