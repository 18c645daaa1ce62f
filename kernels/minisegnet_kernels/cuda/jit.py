"""How the Numba CUDA kernels are compiled and launched: the only module that imports Numba's CUDA.

Without a GPU, kernels run in Numba's simulator: plain Python with one operating-system thread for each CUDA thread. It is
very slow and meant for learning and testing. To choose yourself, set ``NUMBA_ENABLE_CUDASIM`` to 0 or 1 before the first import.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np

from .driver import device_count

if "NUMBA_ENABLE_CUDASIM" not in os.environ and device_count() == 0:
    os.environ["NUMBA_ENABLE_CUDASIM"] = "1"
    numba.config.reload_config()

os.environ.setdefault("NUMBA_CUDA_LOW_OCCUPANCY_WARNINGS", "0")  # small images have few blocks, which is not a fault
if not hasattr(np, "row_stack"):
    # numba-cuda 0.30 reads np.row_stack at the first compilation, and NumPy 2.5 has removed it.
    setattr(np, "row_stack", np.vstack)  # noqa: B010 - a plain assignment is "mended" to np.vstack = np.vstack

try:
    from numba import cuda
except ImportError as error:
    raise ImportError('Numba\'s CUDA is not installed: pip install "numba-cuda>=0.30,<0.31"') from error

_config: Any = numba.config
SIMULATED = bool(_config.ENABLE_CUDASIM)

#: Threads of a block: fewer in the simulator, where a thread costs far more than an operation.
THREADS = 32 if SIMULATED else 256

#: ``@kernel`` decorates a function that is launched, ``@device`` one that kernels call.
kernel = cuda.jit
device = cuda.jit(device=True)

__all__ = ["SIMULATED", "THREADS", "at", "cuda", "device", "kernel", "launch", "over", "place"]

_lock = threading.Lock()  # two launches at once break the simulator
_listeners: list[Callable[[Any, tuple], None]] = []  # for tests: called with each kernel that is launched and its arguments


def launch(program: Any, grid: Sequence[int] | int, block: Sequence[int] | int, *arguments: Any) -> None:
    """Launch a kernel on CuPy arrays or, simulated, on NumPy arrays."""
    for listener in _listeners:
        listener(program, arguments)
    if not SIMULATED:
        program[grid, block, _stream()](*arguments)
        return
    with _lock:
        program[grid, block](*arguments)


def _stream() -> Any:
    """CuPy's current stream, so that kernels and CuPy's operations run in order."""
    import cupy

    address = cupy.cuda.get_current_stream().ptr
    return cuda.external_stream(address) if address else cuda.default_stream()


def over(program: Any, count: int, *arguments: Any) -> None:
    """Launch one thread for each of `count` elements. The last block may have more, so each thread must check its number."""
    if count:
        launch(program, -(-count // THREADS), THREADS, *arguments)


if SIMULATED:

    def at(address, size, like):
        """The `size` values at an address, as a vector with the dtype of the number `like`. Kernels read arrays from a table with it."""
        return np.frombuffer((ctypes.c_char * int(size * like.itemsize)).from_address(int(address)), like.dtype)

else:
    from numba.cuda import types
    from numba.cuda.extending import intrinsic

    @intrinsic
    def at(typing, address, size, like):
        """Code for the compiler: view an address in global memory as an array, without a copy."""
        vector = types.Array(like, 1, "C")

        def generate(context, builder, signature, arguments):
            array = context.make_array(vector)(context, builder)
            generic = array.data.type
            place = builder.addrspacecast(builder.inttoptr(arguments[0], generic.pointee.as_pointer(1)), generic)  # 1: global memory
            itemsize = context.get_constant(types.intp, context.get_abi_sizeof(generic.pointee))
            context.populate_array(array, data=place, shape=[arguments[1]], strides=[itemsize], itemsize=itemsize, meminfo=None)
            return array._getvalue()

        return vector(types.int64, types.int64, like), generate


@device
def place(number, C, H, W):
    """The indices n, c, i, j of element `number` of a C-contiguous (N, C, H, W) array."""
    j = number % W
    number //= W
    i = number % H
    number //= H
    return number // C, number % C, i, j


@device
def block_sum(value):
    """Σ over the THREADS threads of a block, in float64 and in an order that never changes: a tree over the thread numbers.

    Every thread of the block must call it, and every thread gets the sum. A kernel may call it in one place or in one
    helper only: if two helpers of a kernel call it, numba-cuda 0.30 defines its memory twice and fails to link.
    """
    partial = cuda.shared.array(THREADS, numba.float64)
    t = cuda.threadIdx.x
    partial[t] = value
    half = THREADS // 2
    while half > 0:
        cuda.syncthreads()
        if t < half:
            partial[t] += partial[t + half]
        half //= 2
    cuda.syncthreads()
    total = partial[0]
    cuda.syncthreads()  # a second sum may overwrite the memory
    return total
