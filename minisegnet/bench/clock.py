"""Clocks, and the roofs that they measure.

On a CPU a time is that on the wall around the call. On a GPU it lies between two events in the stream, so that
the way from Python to the device is not in it as long as the device has work; before the first event the L2
cache is overwritten, since in a network each layer finds there what others left.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

#: Written before each timing on a GPU: more than any L2 cache holds today.
FLUSHED = 256 * 2**20
#: A copy's two arrays together: more than the caches of a laptop or of one socket.
COPIED = {"cpu": 256 * 2**20, "cuda": 2**30}
#: Rows and columns of the matrices that are multiplied.
MATRIX = {"cpu": 1024, "cuda": 8192}


class Wall:
    """Of a CPU."""

    mark = staticmethod(time.perf_counter)

    def between(self, start: float, end: float) -> float:
        return end - start

    def seconds(self, call: Callable[[], Any]) -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start


class CupyEvents:
    """Of a GPU, through CuPy."""

    def __init__(self) -> None:
        import cupy

        self._cuda, self._cache = cupy.cuda, cupy.empty(FLUSHED, np.uint8)

    def seconds(self, call: Callable[[], Any]) -> float:
        self._cache.fill(0)
        start = self.mark()
        call()
        return self.between(start, self.mark())

    def mark(self) -> Any:
        """An event in the stream, which the device passes when it has done what came before."""
        event = self._cuda.Event()
        event.record()
        return event

    def between(self, start: Any, end: Any) -> float:
        end.synchronize()
        return self._cuda.get_elapsed_time(start, end) / 1e3


class TorchEvents:
    """Of a GPU, through PyTorch."""

    def __init__(self) -> None:
        import torch

        self._cuda, self._cache = torch.cuda, torch.empty(FLUSHED, dtype=torch.uint8, device="cuda")

    def seconds(self, call: Callable[[], Any]) -> float:
        start, end = (self._cuda.Event(enable_timing=True) for _ in range(2))
        self._cache.zero_()
        start.record()
        call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3


def roof(clock: Any, xp: Any, device: str, copy: Callable[[Any, Any], Any], make: Callable[[np.ndarray], Any], rounds: int = 10) -> dict:
    """The best of several matrix products, and of several copies: FLOP/s, and bytes read and written a second.

    Parameters
    ----------
    clock : Wall, CupyEvents or TorchEvents
    xp : module
        With ``matmul(a, b)``.
    copy : callable
        ``copy(target, source)``.
    make : callable
        Moves a NumPy array to the device.
    """
    n, half = MATRIX[device], COPIED[device] // 2
    a = make(np.random.default_rng(0).standard_normal((n, n), np.float32))
    xp.matmul(a, a)
    peak = 2 * n**3 / min(clock.seconds(lambda: xp.matmul(a, a)) for _ in range(rounds))
    source, target = make(np.ones(half // 4, np.float32)), make(np.zeros(half // 4, np.float32))
    copy(target, source)
    return {"peak": peak, "bandwidth": 2 * half / min(clock.seconds(lambda: copy(target, source)) for _ in range(rounds))}


def launch(clock: Any, empty: Callable[[], Any], finish: Callable[[], None], count: int = 200) -> dict[str, float]:
    """Seconds for which launching an empty kernel keeps the ``host``, and that it takes the ``device`` between two events; the best of ten."""
    empty()
    finish()
    host = []
    for _ in range(10):
        start = time.perf_counter()
        for _ in range(count):  # fewer than the driver's queue holds, or the host would wait for the device
            empty()
        host.append((time.perf_counter() - start) / count)
        finish()
    return {"host": min(host), "device": min(clock.seconds(empty) for _ in range(10))}


def empty_cuda() -> Callable[[], None]:
    """Launches a kernel of CUDA C++ that does nothing."""
    import cupy

    kernel = cupy.RawKernel('extern "C" __global__ void empty() {}', "empty")
    return lambda: kernel((1,), (1,), ())


def empty_numba_cuda() -> Callable[[], None]:
    """Launches a kernel of Numba's CUDA that does nothing."""
    from minisegnet_kernels.cuda import jit

    @jit.kernel
    def empty() -> None:
        pass

    return lambda: jit.launch(empty, 1, 1)
