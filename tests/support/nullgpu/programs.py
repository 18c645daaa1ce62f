"""Run kernels: CUDA source is compiled by NVRTC as for a GPU, and by the host's compiler in order to run here.

CuPy hands its source to NVRTC and gets machine code (a cubin), which it gives to the driver. `install` puts a
note with the source in front of the machine code. So the null GPU's driver knows for each kernel,

- one of the library's own: the ``.cu`` file, and the emulator runs it as it does everywhere;
- one that CuPy generated (ufuncs, reductions, copies, indexing): its source, which is CUDA C++ too. It is compiled
  with the emulator's header and CuPy's own ``carray.cuh`` (`include/`) and run by the emulator;
- of any other (numba-cuda's): its name. It is recorded, and writes nothing.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import re
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from minisegnet_kernels.cuda.launch import array_struct
from minisegnet_kernels.cuda.nvrtc import files
from minisegnet_kernels.cuda.source import DTYPES, Kernel, Source, read
from minisegnet_kernels.emulator import foreign, run

from .cubin import Resources, resources

INCLUDE = Path(__file__).parent / "include"
_MAGIC = b"NULLGPU\0"


def note(source: str, options: tuple[str, ...], names: dict[str, str] | None, cubin: bytes) -> bytes:
    """Machine code with its source in front."""
    text = json.dumps({"source": source, "options": options, "names": names or {}}).encode()
    return _MAGIC + struct.pack("<QQ", len(text), len(cubin)) + text + cubin


class Function:
    """A kernel that cannot run here: it is recorded, and writes nothing."""

    computed = False

    def __init__(self, name: str, needs: Resources = Resources()):  # noqa: B008 - it is frozen
        self.name, self.needs, self.dynamic_limit = name, needs, 48 << 10

    def packed(self, arguments: Any) -> list[np.ndarray]:
        """Copies of the arguments' bytes, because the caller's no longer exist when a graph is replayed."""
        return [np.frombuffer(ctypes.string_at(arguments[k], size), np.uint8).copy() for k, size in enumerate(self.needs.parameters)]

    def described(self, packed: list[np.ndarray]) -> dict[str, Any]:
        """The arguments by name, as far as the names are known."""
        return {}

    def touched(self, packed: list[np.ndarray]) -> Iterator[tuple[str, int, int]]:
        """Parameter, first byte and length of the memory that each array argument spans."""
        yield from ()

    def run(self, grid: tuple, block: tuple, shared: int, packed: list[np.ndarray]) -> None:
        pass


class OwnFunction(Function):
    """A template instance of one of the library's ``.cu`` files."""

    computed = True

    def __init__(self, source: Source, kernel: Kernel, instance: dict[str, str], needs: Resources):
        super().__init__(kernel.expression(instance), needs)
        self._source, self._kernel, self._instance = source, kernel, instance

    def described(self, packed: list[np.ndarray]) -> dict[str, Any]:
        found = {}
        for parameter, value in zip(self._kernel.parameters, packed, strict=True):
            element = self._instance.get(parameter.element, parameter.element)
            if parameter.rank is None:
                dtype = DTYPES.get(element) or self._source.structs.get(element)
            else:
                dtype = array_struct(parameter.rank) if parameter.rank else np.dtype(np.uint64)
            found[parameter.name] = value if dtype is None else value.view(dtype)[0]
        return found

    def touched(self, packed: list[np.ndarray]) -> Iterator[tuple[str, int, int]]:
        described = self.described(packed)
        for parameter in self._kernel.parameters:
            value = described[parameter.name]
            if parameter.rank == 0 and value:
                yield parameter.name, int(value), 1
            elif parameter.rank and np.prod(value["shape"]):
                itemsize = DTYPES[self._instance.get(parameter.element, parameter.element)].itemsize
                steps = (value["shape"].astype(int) - 1) * value["stride"]
                low, high = int(steps[steps < 0].sum()), int(steps[steps > 0].sum())
                yield parameter.name, int(value["data"]) + low * itemsize, (high - low + 1) * itemsize

    def run(self, grid: tuple, block: tuple, shared: int, packed: list[np.ndarray]) -> None:
        run.launch(self._source, self._kernel, self._instance, grid, block, shared, packed, [])


class CupyFunction(Function):
    """A kernel whose source CuPy generated, or a user gave to CuPy."""

    computed = True

    def __init__(self, source: str, includes: tuple[str, ...], expression: str, needs: Resources):
        super().__init__(expression, needs)
        self._source, self._includes = source, includes

    def run(self, grid: tuple, block: tuple, shared: int, packed: list[np.ndarray]) -> None:
        foreign.launch(_compiled(self._source, self._includes, self.name), self.name, grid, block, shared, packed)


@cache
def _compiled(source: str, includes: tuple[str, ...], expression: str) -> ctypes.CDLL:
    """The kernel with the emulator's machine, as a library of its own."""
    text = re.sub(
        r"extern\s+__shared__\s+([\w ]+?)\s+(\w+)\[\];", r"DYNAMIC_SHARED(\1, \2);", source
    )  # it has no size, and C++ no word for it
    stub = f"""#line 1 "{re.sub(r"[^A-Za-z0-9_]", "_", expression)}.cu"
{text}
extern void (*const kernels[])(void**);
void (*const kernels[])(void**) = {{nullgpu::Entry<{expression}>::run}};
"""
    return foreign.library(expression, stub, INCLUDE / "cupy_kernels.h", [f"-I{INCLUDE}", *includes])


@cache
def _own() -> dict[str, Source]:
    """The library's ``.cu`` files by the digest of what NVRTC is given."""
    return {_digest(source.whole()): source for source in map(read, files())}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Image:
    """A loaded module: a cubin of NVRTC with its source, or anything else."""

    def __init__(self, source: str = "", options: tuple[str, ...] = (), names: dict[str, str] | None = None, cubin: bytes = b""):
        self.source, self.names, self.cubin = source, {lowered: name for name, lowered in (names or {}).items()}, cubin
        self.includes = tuple(o for o in options if o.startswith("-I") and "cccl" not in o and "nvidia" not in o)

    @staticmethod
    def at(address: int) -> Image:
        if ctypes.string_at(address, len(_MAGIC)) != _MAGIC:
            return Image()
        text, cubin = struct.unpack("<QQ", ctypes.string_at(address + len(_MAGIC), 16))
        start = address + len(_MAGIC) + 16
        said = json.loads(ctypes.string_at(start, text))
        return Image(said["source"], tuple(said["options"]), said["names"], ctypes.string_at(start + text, cubin))

    def function(self, lowered: str) -> Function:
        if not self.source:
            return Function(lowered)
        expression = self.names.get(lowered, lowered)
        needs = resources(self.cubin, lowered)
        own = _own().get(_digest(self.source))
        if own is None:
            return CupyFunction(self.source, self.includes, expression, needs)
        kernel = own.kernels[expression.partition("<")[0]]
        (instance,) = [i for i in kernel.instances() if kernel.expression(i) == expression]
        return OwnFunction(own, kernel, instance, needs)
