"""Clocks, and the roofs that they measure.

On a CPU a time is wall-clock time around the call. On a GPU it is the time between two events in the stream, which
excludes Python's overhead as long as the device has work queued. The L2 cache is overwritten before the first event,
because in a network a layer finds the cache filled by other layers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

#: Bytes written before each timing on a GPU: more than any L2 cache holds today.
FLUSHED = 256 * 2**20
#: Bytes of the two arrays of a copy together: more than the caches of a laptop or of one socket hold.
COPIED = {"cpu": 256 * 2**20, "cuda": 2**30}
#: Rows, and columns, of the matrices that are multiplied.
MATRIX = {"cpu": 1024, "cuda": 8192}


class Wall:
    """The clock of a CPU: wall-clock time."""

    mark = staticmethod(time.perf_counter)

    def between(self, start: float, end: float) -> float:
        return end - start

    def seconds(self, call: Callable[[], Any]) -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start


class CupyEvents:
    """The clock of a GPU: CuPy's events."""

    def __init__(self) -> None:
        import cupy

        self._cuda, self._cache = cupy.cuda, cupy.empty(FLUSHED, np.uint8)

    def seconds(self, call: Callable[[], Any]) -> float:
        self._cache.fill(0)
        start = self.mark()
        call()
        return self.between(start, self.mark())

    def mark(self) -> Any:
        """Record an event in the stream; the device reaches it when it has finished all earlier work."""
        event = self._cuda.Event()
        event.record()
        return event

    def between(self, start: Any, end: Any) -> float:
        end.synchronize()
        return self._cuda.get_elapsed_time(start, end) / 1e3


class TorchEvents:
    """The clock of a GPU: PyTorch's events."""

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


def replayed(call: Callable[[], Any]) -> Callable[[], None]:
    """`call` as a CUDA graph of CuPy's: its launches without the Python between them, which takes longer than a small kernel."""
    import cupy

    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        call()  # compiles
        stream.synchronize()
        stream.begin_capture()
        kept = call()
        graph = stream.end_capture()

    def replay(kept: Any = kept) -> None:  # the graph writes to the memory of `kept`
        graph.launch(cupy.cuda.get_current_stream())

    return replay


def replayed_by_torch(call: Callable[[], Any]) -> Callable[[], None]:
    """`call` as a CUDA graph of PyTorch's."""
    import torch

    call()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = call()

    def replay(kept: Any = kept) -> None:
        graph.replay()

    return replay


def roof(clock: Any, xp: Any, device: str, copy: Callable[[Any, Any], Any], make: Callable[[np.ndarray], Any], rounds: int = 10) -> dict:
    """The fastest of several matrix products and of several copies: FLOP/s, and bytes read and written per second.

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
    """Seconds that launching an empty kernel takes on the ``host``, and on the ``device`` between two events; the best of ten each."""
    empty()
    finish()
    host = []
    for _ in range(10):
        start = time.perf_counter()
        for _ in range(count):  # fewer than the driver's queue holds; otherwise the host would wait for the device
            empty()
        host.append((time.perf_counter() - start) / count)
        finish()
    return {"host": min(host), "device": min(clock.seconds(empty) for _ in range(10))}


def empty_cuda() -> Callable[[], None]:
    """A function that launches an empty kernel in CUDA C++."""
    import cupy

    kernel = cupy.RawKernel('extern "C" __global__ void empty() {}', "empty")
    return lambda: kernel((1,), (1,), ())


def empty_numba_cuda() -> Callable[[], None]:
    """A function that launches an empty kernel in Numba's CUDA."""
    from minisegnet_kernels.cuda import jit

    @jit.kernel
    def empty() -> None:
        pass

    return lambda: jit.launch(empty, 1, 1)
