"""Run a kernel on NumPy arrays: pack the request, launch it, read the report."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..cuda.source import Kernel, Source
from . import build

SCHEDULES = ("forward", "reverse", "random")


class KernelError(RuntimeError):
    """A kernel did something that is wrong on a GPU: a divergent barrier, a race, an access out of bounds."""


@dataclass(frozen=True)
class Options:
    """How kernels are run.

    Attributes
    ----------
    schedule : {"forward", "reverse", "random"}
        The order in which the threads of a block run between two barriers.
    seed : int
        Seed of the random order.
    watched : bool
        Whether to examine and count every access to memory, which finds races and accesses out of bounds. Slow.
    skip : (str, int), optional
        File and line of a barrier, wait or commit to leave out, so that a test can check that its absence is noticed.
    capability : (int, int)
        Compute capability of the GPU that the emulator imitates, such as (7, 5) for a T4. The choice of rungs depends on it.
    """

    schedule: str = "forward"
    seed: int = 0
    watched: bool = False
    skip: tuple[str, int] | None = None
    capability: tuple[int, int] = (9, 0)

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise ValueError(f"no schedule {self.schedule!r}: choose one of {', '.join(SCHEDULES)}")


_options = Options()
_lock = threading.RLock()  # launches take turns, because the emulator's state is global


@contextmanager
def options(**changes: Any) -> Iterator[Options]:
    """Change how kernels run for the length of a ``with`` block; see `Options`."""
    global _options
    before = _options
    _options = replace(before, **changes)
    try:
        yield _options
    finally:
        _options = before


def capability() -> tuple[int, int]:
    """Compute capability of the GPU that the emulator imitates."""
    return _options.capability


class Region(ctypes.Structure):
    _fields_ = [("first", ctypes.c_void_p), ("size", ctypes.c_size_t)]


class Request(ctypes.Structure):
    _fields_ = [
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared_bytes", ctypes.c_ulonglong),
        ("seed", ctypes.c_ulonglong),
        ("arguments", ctypes.POINTER(ctypes.c_void_p)),
        ("regions", ctypes.POINTER(Region)),
        ("skip_file", ctypes.c_char_p),
        ("kernel", ctypes.c_int),
        ("schedule", ctypes.c_int),
        ("skip_line", ctypes.c_int),
        ("region_count", ctypes.c_int),
    ]


@dataclass(frozen=True)
class Launched:
    """What was seen in one launch.

    Attributes
    ----------
    kernel : str
        The instance, as C++ writes it.
    sites : tuple of (file, line, kind)
        Barriers, waits and commits that the launch reached.
    counters : dict
        For a watched launch: the accesses to global memory, their bytes, and the distinct bytes; the 32-byte sectors of global
        memory and the wavefronts of shared memory that warps needed, and the least that they could have needed. A distinct byte counts once
        if it is read, however often, and once more if it is written: this is what a launch would move if a cache kept everything.
    """

    kernel: str
    sites: tuple[tuple[str, int, str], ...]
    counters: dict[str, int]


COUNTERS = (
    "global_reads",
    "global_writes",
    "global_bytes",
    "distinct_bytes",
    "sectors",
    "least_sectors",
    "shared_accesses",
    "shared_wavefronts",
    "least_wavefronts",
)
_listeners: list[list[Launched]] = []


@contextmanager
def launches() -> Iterator[list[Launched]]:
    """Collect what is seen in every launch: ``with launches() as seen: ...``."""
    seen: list[Launched] = []
    _listeners.append(seen)
    try:
        yield seen
    finally:
        _listeners.remove(seen)


@dataclass(frozen=True)
class Access:
    """One access to memory.

    Attributes
    ----------
    block, thread : int
        Number of the block in its grid, and of the thread in its block.
    interval : int
        The number of barriers that its block passed before it. Two accesses of one block are ordered if their intervals differ.
    array : str
        The kernel's parameter, or "shared 0", "shared 1", … for arrays in shared memory, in the order of their first access.
    offset, size : int
        Position in the array, and length, both in bytes.
    write : bool
        Whether it writes; otherwise it reads.
    line : str
        ``file:line`` of the source; "?" for an asynchronous copy, whose instruction is not known, and without ``addr2line``.
    """

    block: int
    thread: int
    interval: int
    array: str
    offset: int
    size: int
    write: bool
    line: str


@dataclass(frozen=True)
class Traced:
    """A launch, and every access that its threads made, in the order in which the emulator ran them."""

    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    accesses: tuple[Access, ...]


_tracers: list[list[Traced]] = []


@contextmanager
def tracing() -> Iterator[list[Traced]]:
    """Collect every access of every launch: ``with tracing() as launches: ...``. The launches are watched. For small arrays."""
    traced: list[Traced] = []
    _tracers.append(traced)
    try:
        with options(watched=True):
            yield traced
    finally:
        _tracers.remove(traced)


@dataclass(frozen=True)
class Recorded:
    """A launch with everything that is needed to run it again elsewhere (`replay`)."""

    path: Path
    kernel: str
    instance: dict[str, str]
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared: int
    schedule: int
    seed: int
    arrays: tuple[tuple[int, bytes], ...]
    parameters: tuple[bytes, ...]


_recorders: list[tuple[list[Recorded], bool]] = []


@contextmanager
def recording(run: bool = True) -> Iterator[list[Recorded]]:
    """Collect every launch with the contents of its arrays: ``with recording() as launches: ...``.

    Parameters
    ----------
    run : bool
        Whether the kernels also run here. Choose False for a kernel that is expected to do something dangerous.
    """
    recorded: list[Recorded] = []
    _recorders.append((recorded, run))
    try:
        yield recorded
    finally:
        _recorders.pop()


def launch(
    source: Source,
    kernel: Kernel,
    instance: dict[str, str],
    grid: Sequence[int],
    block: Sequence[int],
    shared: int,
    packed: list[np.ndarray],
    arrays: list[np.ndarray],
) -> None:
    """Run one kernel to its end.

    Parameters
    ----------
    packed : list of arrays
        The arguments, each an array of one element with the bytes that the kernel gets.
    arrays : list of arrays
        All memory that the kernel may touch.

    Raises
    ------
    KernelError
        If the kernel did something that is wrong on a GPU; names kernel, block, thread, file and line.
    CompilerError
        If no compiler is found, or the kernel does not compile.
    """
    chosen = _options
    with _lock:
        library = build.library(source, "watched" if chosen.watched else "plain")
        regions = [_extent(a) for a in arrays if a.size]
        file, line = chosen.skip or ("", 0)
        request = Request(
            (ctypes.c_uint * 3)(*_three(grid)),
            (ctypes.c_uint * 3)(*_three(block)),
            shared,
            chosen.seed,
            (ctypes.c_void_p * len(packed))(*(p.ctypes.data for p in packed)),
            (Region * max(len(regions), 1))(*(Region(first, size) for first, size in regions)),
            file.encode(),
            build.instances(source).index((kernel, instance)),
            SCHEDULES.index(chosen.schedule),
            line,
            len(regions),
        )
        for recorder, _ in _recorders:
            content = tuple((first, ctypes.string_at(first, size)) for first, size in _merged(regions))
            numbers = (_three(grid), _three(block), shared, SCHEDULES.index(chosen.schedule), chosen.seed)
            recorder.append(Recorded(source.path, kernel.name, instance, *numbers, content, tuple(p.tobytes() for p in packed)))
        if not all(runs for _, runs in _recorders):
            return
        if chosen.watched:
            library.emulator_record(bool(_tracers))
        message = library.emulator_launch(ctypes.byref(request))
        if message:
            raise KernelError(f"{kernel.expression(instance)}: {_located(library, message.decode())}")
        if _listeners:
            seen = Launched(kernel.expression(instance), _sites(library), _counters(library) if chosen.watched else {})
            for listener in _listeners:
                listener.append(seen)
        if _tracers and chosen.watched:
            traced = Traced(kernel.expression(instance), _three(grid), _three(block), _accesses(library, kernel, arrays))
            for tracer in _tracers:
                tracer.append(traced)


def _three(sizes: Sequence[int]) -> tuple[int, int, int]:
    return (*sizes, 1, 1, 1)[:3]  # type: ignore[return-value]


def _extent(array: np.ndarray) -> tuple[int, int]:
    """First byte and length of the memory that an array spans."""
    low, high = np.lib.array_utils.byte_bounds(array)
    return low, high - low


def _merged(regions: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Regions that overlap become one: two views of one array are one piece of memory."""
    merged: list[tuple[int, int]] = []
    for first, size in sorted(regions):
        if merged and first < sum(merged[-1]):
            merged[-1] = (merged[-1][0], max(sum(merged[-1]), first + size) - merged[-1][0])
        else:
            merged.append((first, size))
    return merged


def _sites(library: ctypes.CDLL) -> tuple[tuple[str, int, str], ...]:
    found = []
    for k in range(library.emulator_sites()):
        line, kind = ctypes.c_int(), ctypes.c_char_p()
        file = library.emulator_site(k, ctypes.byref(line), ctypes.byref(kind))
        found.append((file.decode().rpartition("/")[2], line.value, (kind.value or b"").decode()))
    return tuple(found)


def _counters(library: ctypes.CDLL) -> dict[str, int]:
    values = (ctypes.c_longlong * len(COUNTERS))()
    library.emulator_counters(values)
    return dict(zip(COUNTERS, values, strict=True))


def _accesses(library: ctypes.CDLL, kernel: Kernel, arrays: list[np.ndarray]) -> tuple[Access, ...]:
    """What the last launch recorded."""
    names = [p.name for p in kernel.parameters if p.rank is not None]
    names += [f"memory {number}" for number in range(len(arrays) - len(names))]  # reached through a struct's pointers
    names = [name for name, array in zip(names, arrays, strict=True) if array.size]
    found = np.empty((library.emulator_accesses(None), 8), np.int64)
    library.emulator_accesses(found.ctypes.data_as(ctypes.POINTER(ctypes.c_longlong)))
    lines = _lines(library, {int(where) for where in found[:, 7]})

    def access(block: int, thread: int, interval: int, array: int, offset: int, size: int, write: int, where: int) -> Access:
        name = names[array] if array >= 0 else f"shared {-1 - array}"
        return Access(block, thread, interval, name, offset, size, bool(write), lines[where])

    return tuple(access(*row) for row in found.tolist())


def _lines(library: ctypes.CDLL, offsets: set[int]) -> dict[int, str]:
    """The line of the source, as ``file:line``, for offsets of return addresses in the library; "?" where it is not known."""
    lines = dict.fromkeys(offsets, "?")
    tool, known = shutil.which("addr2line"), sorted(offsets - {0})
    if tool is None or not known:
        return lines
    command = [tool, "-a", "-i", "-e", library._name, *(hex(offset - 1) for offset in known)]
    output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    for offset, text in zip(known, re.split(r"^0x[0-9a-f]+\n", output, flags=re.M)[1:], strict=False):
        places = [frame.split(" ")[0].rpartition("/")[2] for frame in text.split("\n") if ":" in frame]
        lines[offset] = next((p for p in places if p.startswith("kernel") or ".cu:" in p), places[0] if places else "?")
    return lines


def _located(library: ctypes.CDLL, message: str) -> str:
    """Replace each ``@offset`` in the library by the line of the source."""
    found = {int(offset, 16) for offset in re.findall(r"@([0-9a-f]+)", message)}
    lines = _lines(library, found) if shutil.which("addr2line") else {}
    return re.sub(r"@([0-9a-f]+)", lambda m: f"at {lines[int(m[1], 16)]}" if lines else "(install binutils to see the line)", message)
