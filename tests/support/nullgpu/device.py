"""The machine behind `driver.c`: memory, launches, copies, waits, streams and graphs, all on the host.

Each request is carried out at once, in the order of the calls. Between a stream's ``begin_capture`` and
``end_capture`` requests are only recorded; every replay of the graph carries them out.
"""

from __future__ import annotations

import ctypes
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .programs import Function, Image

#: Compute capability → multiprocessors, largest shared memory of a block (KiB), L2 cache (MiB), resident threads.
GPUS = {
    75: (40, 64, 4, 1024),
    80: (108, 163, 40, 2048),
    86: (84, 99, 6, 1536),
    89: (128, 99, 72, 1536),
    90: (132, 227, 50, 2048),
    100: (148, 227, 126, 2048),
    120: (170, 99, 96, 1536),
}

INVALID_VALUE, OUT_OF_RESOURCES, NOT_SUPPORTED = 1, 701, 801
ILLEGAL_ADDRESS, CAPTURE_UNSUPPORTED, CAPTURE_INVALIDATED, UNKNOWN = 700, 900, 901, 999
NAMES = {
    0: "cudaSuccess",
    1: "cudaErrorInvalidValue",
    2: "cudaErrorMemoryAllocation",
    101: "cudaErrorInvalidDevice",
    500: "cudaErrorSymbolNotFound",
    700: "cudaErrorIllegalAddress",
    701: "cudaErrorLaunchOutOfResources",
    801: "cudaErrorNotSupported",
    900: "cudaErrorStreamCaptureUnsupported",
    901: "cudaErrorStreamCaptureInvalidated",
    999: "cudaErrorUnknown",
}
HOST_TO_DEVICE, DEVICE_TO_HOST, DEVICE_TO_DEVICE = 1, 2, 3
DIRECTIONS = {0: "host to host", 1: "host to device", 2: "device to host", 3: "device to device", 4: "by address"}


class Refused(Exception):
    """A call that the driver answers with an error: the status, and the reason for the message."""

    def __init__(self, status: int, why: str):
        super().__init__(why)
        self.status = status


@dataclass(frozen=True)
class Call:
    """One request to the GPU.

    Attributes
    ----------
    kind : {"launch", "copy", "fill", "wait", "replay"}
    name : str
        For a launch the kernel, as C++ writes it; for a copy its direction; for a wait what the host waits for.
    bytes : int
        The size of a copy or a fill.
    stream, device : int
        The stream's handle (0 is the default stream) and the number of the current device.
    blocking : bool
        Whether the host waits until it is done.
    captured : bool
        Whether it was recorded into a graph instead of being carried out.
    grid, block : three int each
    shared : int
        Bytes of dynamic shared memory.
    computed : bool
        Whether the null GPU knows what the kernel does; if not, nothing was written.
    arguments : dict
        For the library's own CUDA C++ kernels: the value of each parameter, as a NumPy scalar or struct.
    """

    kind: str
    name: str = ""
    bytes: int = 0
    stream: int = 0
    device: int = 0
    blocking: bool = False
    captured: bool = False
    grid: tuple[int, int, int] = (0, 0, 0)
    block: tuple[int, int, int] = (0, 0, 0)
    shared: int = 0
    computed: bool = True
    arguments: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Memory:
    first: int
    size: int
    device: int  # −1 for pinned memory of the host


class NullGPU:
    """A GPU, or several, of one compute capability.

    Parameters
    ----------
    capability : {75, 80, 86, 89, 90, 100, 120}
    count : int
        How many devices there are.

    Attributes
    ----------
    log : list of Call
        All requests, in order.
    computes : bool
        Whether kernels run. If not, they are only recorded, which is quick at any size; for tests that do not depend on values.
    """

    def __init__(self, capability: int = 90, count: int = 1):
        if capability not in GPUS:
            raise ValueError(f"the null GPU has no compute capability {capability}; it has {', '.join(map(str, GPUS))}")
        self.capability, self.count = capability, count
        self.log: list[Call] = []
        self.computes = True
        self._why = ""
        self._firsts: list[int] = []
        self._memory: dict[int, Memory] = {}
        self._images: list[Image] = []
        self._functions: list[Function] = []
        self._names: list[bytes] = []
        self._streams = 0
        self._graphs: list[list[Callable[[], None]]] = []
        self._capturing: dict[int, list[Callable[[], None]] | None] = {}  # None: the recording has become invalid
        self._libc = ctypes.CDLL(None)
        self.current_device: Callable[[], int] = lambda: 0

    # --- for tests

    def launches(self) -> list[Call]:
        return [c for c in self.log if c.kind == "launch"]

    def waits(self) -> list[Call]:
        """All requests that made the host wait."""
        return [c for c in self.log if c.blocking]

    def memory_at(self, address: int) -> Memory | None:
        """The piece of memory that holds an address."""
        k = bisect_right(self._firsts, address) - 1
        found = self._memory[self._firsts[k]] if k >= 0 else None
        return found if found and address < found.first + max(found.size, 1) else None

    # --- devices

    def device_count(self, count) -> None:
        count[0] = self.count

    def device_attribute(self, attribute: int, device: int, value) -> None:
        if not 0 <= device < self.count:
            raise Refused(101, f"there is no device {device}: there are {self.count}")
        processors, shared, cache, threads = GPUS[self.capability]
        known = {
            1: 1024,  # threads of a block
            2: 1024,
            3: 1024,
            4: 64,  # its sides
            5: 2**31 - 1,
            6: 65535,
            7: 65535,  # the grid's sides
            8: 48 << 10,  # bytes of shared memory without asking
            10: 32,  # lanes of a warp
            12: 65536,  # registers of a block
            13: 1_500_000,  # kHz
            16: processors,
            36: 1_500_000,
            37: 5120,
            38: cache << 20,
            39: threads,
            75: self.capability // 10,
            76: self.capability % 10,
            81: (shared + 1) << 10,
            82: 65536,
            97: shared << 10,
        }
        value[0] = known.get(attribute, 1)

    # --- memory

    def allocate(self, memory, size: int, pinned: int) -> None:
        address = ctypes.c_void_p()
        if self._libc.posix_memalign(ctypes.byref(address), ctypes.c_size_t(512), ctypes.c_size_t(max(size, 1))):
            raise Refused(2, f"the host has no {size} bytes")
        first = int(address.value or 0)
        ctypes.memset(first, 0xFF, size)  # NaN in every float, −1 in every integer
        self._firsts.insert(bisect_right(self._firsts, first), first)
        self._memory[first] = Memory(first, size, -1 if pinned else self.current_device())
        memory[0] = first

    def release(self, address: int | None) -> None:
        if address is None:
            return
        if address not in self._memory:
            raise Refused(INVALID_VALUE, f"{address:#x} was not allocated")
        del self._memory[address]
        self._firsts.remove(address)
        self._libc.free(ctypes.c_void_p(address))

    def memory_kind(self, address: int | None, kind, device) -> None:
        found = self.memory_at(address or 0)
        kind[0] = 0 if found is None else 1 if found.device < 0 else 2
        device[0] = max(found.device, 0) if found else self.current_device()

    def _must_be_on_device(self, address: int, what: str) -> None:
        found = self.memory_at(address)
        if found is None or found.device < 0:
            raise Refused(INVALID_VALUE, f"{what} at {address:#x} is not memory of a device")

    def copy(self, to: int | None, source: int | None, size: int, kind: int, blocking: int, stream: int | None) -> None:
        if size == 0:
            return
        if kind in (HOST_TO_DEVICE, DEVICE_TO_DEVICE):
            self._must_be_on_device(to or 0, "what is copied to,")
        if kind in (DEVICE_TO_HOST, DEVICE_TO_DEVICE):
            self._must_be_on_device(source or 0, "what is copied from,")
        self._do(stream, lambda: ctypes.memmove(to, source, size), "copy", DIRECTIONS[kind], bytes=size, blocking=bool(blocking))

    def fill(self, memory: int | None, value: int, width: int, count: int, blocking: int, stream: int | None) -> None:
        if count:
            self._must_be_on_device(memory or 0, "what is filled,")
            self._do(stream, lambda: ctypes.memset(memory, value, count), "fill", bytes=count)

    # --- kernels

    def load(self, image: int, module) -> None:
        self._images.append(Image.at(image))
        module[0] = len(self._images)

    def function(self, module: int, name: bytes, function) -> None:
        self._functions.append(self._images[module - 1].function(name.decode()))
        self._names.append(name)
        function[0] = len(self._functions)

    def function_name(self, function: int, name) -> None:
        name[0] = self._names[function - 1]

    def function_attribute(self, function: int, attribute: int, value) -> None:
        f = self._functions[function - 1]
        value[0] = {0: 1024, 1: f.needs.shared, 4: f.needs.registers, 5: self.capability, 6: self.capability, 8: f.dynamic_limit}.get(
            attribute, 0
        )

    def set_function_attribute(self, function: int, attribute: int, value: int) -> None:
        if attribute == 8:
            f = self._functions[function - 1]
            limit = GPUS[self.capability][1] << 10
            if value + f.needs.shared > limit:
                raise Refused(INVALID_VALUE, f"{f.name}: a block of sm_{self.capability} has {limit} bytes of shared memory, not {value}")
            f.dynamic_limit = value

    def launch(self, function: int, sizes, stream: int | None, arguments) -> None:
        f = self._functions[function - 1]
        grid, block, shared = tuple(sizes[0:3]), tuple(sizes[3:6]), int(sizes[6])
        self._check_limits(f, grid, block, shared)
        packed = f.packed(arguments)
        described = f.described(packed)
        for name, first, size in f.touched(packed):
            self._check_memory(f, name, first, size)
        self._do(
            stream,
            lambda: f.run(grid, block, shared, packed) if self.computes else None,
            "launch",
            f.name,
            grid=grid,
            block=block,
            shared=shared,
            computed=f.computed and self.computes,
            arguments=described,
        )

    def _check_limits(self, f: Function, grid: tuple, block: tuple, shared: int) -> None:
        asked = f"{f.name}: a grid of {grid} blocks of {block} threads with {shared} bytes of dynamic shared memory"
        threads = block[0] * block[1] * block[2]
        if 0 in grid or 0 in block:
            raise Refused(INVALID_VALUE, f"{asked}: a launch has at least one block and one thread")
        if grid[0] > 2**31 - 1 or max(grid[1:]) > 65535:
            raise Refused(INVALID_VALUE, f"{asked}: the limits of a grid are 2147483647, 65535, 65535")
        if threads > 1024 or block[2] > 64:
            raise Refused(INVALID_VALUE, f"{asked}: the limits of a block are 1024 threads, and 64 in z")
        if f.needs.registers * threads > 65536:
            raise Refused(OUT_OF_RESOURCES, f"{asked}: {f.needs.registers} registers a thread are more than the 65536 of a block")
        if f.needs.shared + shared > max(48 << 10, f.dynamic_limit):
            raise Refused(INVALID_VALUE, f"{asked} and {f.needs.shared} of static: more than 48 KiB, without asking the driver first")

    def _check_memory(self, f: Function, name: str, first: int, size: int) -> None:
        found, device = self.memory_at(first), self.current_device()
        if found is None:
            raise Refused(ILLEGAL_ADDRESS, f"{f.name}: the parameter {name} is {first:#x}, which is not in the memory of a GPU")
        if found.device not in (-1, device):
            raise Refused(ILLEGAL_ADDRESS, f"{f.name} runs on device {device}; the parameter {name} lies on device {found.device}")
        if first + size > found.first + found.size:
            beyond = first + size - found.first - found.size
            raise Refused(ILLEGAL_ADDRESS, f"{f.name}: the parameter {name} ends {beyond} bytes past the end of its memory")

    # --- streams and graphs

    def stream(self, stream, flags: int) -> None:
        self._streams += 1
        stream[0] = 0x10000 + 16 * self._streams  # 1 and 2 are the names of default streams

    def event(self, event: int, stream: int | None) -> None:
        """Record an event. There is nothing to do, since all earlier requests have been carried out."""

    def wait(self, what: bytes, handle: int | None) -> None:
        self._log("wait", what.decode(), stream=handle or 0, blocking=True)
        for stream in [s for s in self._capturing if what == b"device" or s == handle]:
            self._capturing[stream] = None
            raise Refused(CAPTURE_UNSUPPORTED, f"the host waits for a {what.decode()} while a stream is captured")

    def begin_capture(self, stream: int | None) -> None:
        if not stream:
            raise Refused(CAPTURE_UNSUPPORTED, "the default stream cannot be captured")
        self._capturing[stream] = []

    def end_capture(self, stream: int, graph) -> None:
        work = self._capturing.pop(stream)
        if work is None:
            raise Refused(CAPTURE_INVALIDATED, "the stream got a request that cannot be captured")
        self._graphs.append(work)
        graph[0] = len(self._graphs)

    def is_capturing(self, stream: int | None, state) -> None:
        state[0] = (stream or 0) in self._capturing

    def replay(self, graph: int, stream: int | None) -> None:
        self._log("replay", stream=stream or 0)
        for work in self._graphs[graph - 1]:
            work()

    def _do(self, stream: int | None, work: Callable[[], Any], kind: str, name: str = "", **more: Any) -> None:
        captured = self._capturing.get(stream or 0)
        self._log(kind, name, stream=stream or 0, captured=captured is not None, **more)
        if captured is None:
            work()
        else:
            captured.append(work)

    def _log(self, kind: str, name: str = "", **more: Any) -> None:
        self.log.append(Call(kind, name, device=self.current_device(), **more))

    # --- errors

    def explain(self, status: int, with_text: int) -> bytes:
        why = self._why if with_text else ""
        return (why or NAMES.get(status, f"cudaError{status}")).encode()

    def answered(self, function: Callable) -> Callable:
        """Wrap a function of this machine for the driver: it returns a status instead of raising an exception."""

        def answer(*arguments: Any) -> int:
            try:
                function(*arguments)
            except Refused as refused:
                self._why = str(refused)
                return refused.status
            except Exception as failure:  # what the emulator or a compiler says; CuPy raises it with our text
                self._why = f"{type(failure).__name__}: {failure}"
                return UNKNOWN
            return 0

        return answer
