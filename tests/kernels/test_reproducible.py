"""The same bits from the process that compiles a kernel and from a later one that loads it from Numba's cache.

A run that is cut off and resumed is two such processes. The compiler optimises a kernel's parallel loop
twice, on its own and again inside the function that launches it; a process that compiles runs the
first program, a process that loads the second. They agree as long as no option lets the compiler
choose the order of a sum, see ``jit.py``.
"""

import os
import subprocess
import sys

import pytest
from support.digests import THREADS

from minisegnet_kernels import registry

QUICK = ("cross_entropy",)  # to compile all kernels takes a minute


def in_a_process(operation, cache):
    """`digests` from a new process, and whether that process found its kernels in the cache."""
    before = set(cache.rglob("*.nbc"))
    environment = {
        **os.environ,
        "NUMBA_CACHE_DIR": str(cache),
        "NUMBA_NUM_THREADS": str(max(THREADS)),
    }
    program = f"from support.digests import digests; print(*digests({operation!r}), sep='\\n')"
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
