"""The same bits from the process that compiles a kernel and from a later one that loads it from Numba's cache.

A run that is cut off and resumed is two such processes. The compiler optimises a kernel's parallel loop
twice, on its own and again inside the function that launches it; a process that compiles runs the
first program, a process that loads the second. They agree as long as no option lets the compiler
choose the order of a sum, see ``jit.py``.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest
from hypothesis import Phase, given, settings
from operations import TABLE

from minisegnet_kernels import registry

ROOT = Path(__file__).parents[2]
THREADS = (1, 2)
QUICK = ("batch_norm", "cross_entropy")  # to compile all kernels takes a minute


def drawn(strategy):
    """Ten cases; derandomised, so that every process draws the same."""
    cases = []

    @settings(derandomize=True, database=None, max_examples=10, phases=[Phase.generate], deadline=None)
    @given(strategy)
    def collect(case):
        cases.append(case.cast("float32"))

    collect()
    return cases


def digests(operation):
    """The results of each equation of an operation, with each number of threads, as one line a case."""
    lines = []
    for row in TABLE:
        if row.equation.partition(".")[0] == operation:
            for case in drawn(row.large if row.large is not None else row.cases):
                for threads in THREADS:
                    numba.set_num_threads(threads)
                    outputs = row(case)
                    digest = hashlib.sha256(b"".join(output.tobytes() for output in outputs)).hexdigest()
                    lines.append(f"{row} {[output.shape for output in outputs]} {digest}")
    return lines


def in_a_process(operation, cache):
    """`digests`, from a process of its own, and whether that process found its kernels in the cache."""
    before = set(cache.rglob("*.nbc"))
    environment = {
        **os.environ,
        "NUMBA_CACHE_DIR": str(cache),
        "NUMBA_NUM_THREADS": str(max(THREADS)),
        "PYTHONPATH": os.pathsep.join(str(ROOT / path) for path in ("", "kernels", "tests")),
    }
    program = f"import test_reproducible as t; print(*t.digests({operation!r}), sep='\\n')"
    process = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return process.stdout.splitlines(), bool(before) and set(cache.rglob("*.nbc")) == before


@pytest.mark.parametrize(
    "operation", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in registry.OPERATIONS]
)
def test_compiled_and_loaded_kernels_give_the_same_bits(operation, tmp_path):
    compiled, found = in_a_process(operation, tmp_path)
    assert compiled and not found
    loaded, found = in_a_process(operation, tmp_path)
    assert found
    assert loaded == compiled
    assert compiled[:: len(THREADS)] == compiled[1 :: len(THREADS)]  # whatever the number of threads
