"""How the CPU kernels are compiled: the one place where Numba's options are chosen."""

from functools import partial

import numba

# No "nnan" or "ninf": NaN tests, infinite values and anomaly mode must keep their meaning.
_FASTMATH = {"reassoc", "contract", "arcp", "nsz"}

#: ``@kernel``: a parallel, cached program. One thread pool, ``numba.prange`` over tasks
#: that never share an output, so that the result does not depend on the number of threads.
kernel = partial(numba.njit, parallel=True, cache=True, error_model="numpy", fastmath=_FASTMATH)

#: ``@inline``: a helper that becomes part of the kernel that calls it.
inline = partial(numba.njit, inline="always", error_model="numpy", fastmath=_FASTMATH)

prange = numba.prange
