"""How the CPU kernels are compiled: the one place where Numba's options are chosen."""

from functools import partial
from typing import Any

import numba
import numpy as np

from . import process

process.let_waiting_threads_sleep()
process.keep_freed_memory()

# "nnan" and "ninf" are left out: tests for NaN, infinite values and the anomaly mode must keep their meaning.
# "reassoc" is left out: it lets the compiler choose the order of a sum. The process that compiles a kernel would then
# use a different order from one that loads it from the cache (tests/kernels/test_reproducible.py).
# `total` is the fast sum: many partial sums side by side, in an order that is fixed here.
_FASTMATH = {"contract", "arcp", "nsz"}

_LANES = 64  # the number of partial sums in `total`; they fit in a few registers of any processor

#: ``@kernel``: a parallel, cached program. It loops with ``numba.prange`` over tasks that never write to the same place, so
#: that the result does not depend on the number of threads.
kernel: Any = partial(numba.njit, parallel=True, cache=True, error_model="numpy", fastmath=_FASTMATH)

#: ``@inline``: a helper that becomes part of the kernel that calls it.
inline: Any = partial(numba.njit, inline="always", error_model="numpy", fastmath=_FASTMATH)

prange = numba.prange


@inline
def total(a):
    """Σ a of a one-dimensional array, in an order that never changes; a float64.

    Element i goes to partial sum i mod 64, in the dtype of a, so that vector instructions can add
    neighbouring elements side by side. At the end the partial sums are added one after another in float64.
    """
    sums = np.zeros(_LANES, a.dtype)
    whole = a.size - a.size % _LANES
    for start in range(0, whole, _LANES):
        for lane in range(_LANES):
            sums[lane] += a[start + lane]
    for i in range(whole, a.size):
        sums[i - whole] += a[i]
    result = 0.0
    for lane in range(_LANES):
        result += sums[lane]
    return result
