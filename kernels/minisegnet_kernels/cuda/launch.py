"""Launching: arguments are packed as the kernel's signature says, and template parameters follow from dtypes."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from . import gpu
from .source import DTYPES, Kernel, Parameter, Source, read

#: Threads of a block unless a kernel needs another number: a multiple of the warp (32), large enough to hide latency, and
#: small enough that several blocks fit on a multiprocessor.
THREADS = 256

_CPP = {dtype: name for name, dtype in DTYPES.items()}
_LIMIT = 2**31 - 1  # kernels count elements with 32-bit integers, which a GPU does twice as fast


def blocks(count: int, threads: int = THREADS) -> int:
    """The number of blocks of `threads` threads that `count` threads need; at least 1."""
    return max(-(-count // threads), 1)


class Emulator(Protocol):
    """The interface that runs kernels on NumPy arrays. The package ``emulator`` implements it; this package does not import it."""

    def launch(
        self,
        source: Source,
        kernel: Kernel,
        instance: dict[str, str],
        grid: Sequence[int],
        block: Sequence[int],
        shared: int,
        packed: list[np.ndarray],
        arrays: list[np.ndarray],
    ) -> None: ...

    def capability(self) -> tuple[int, int]: ...


_registered: list[Emulator] = []


def emulate_with(emulator: Emulator) -> None:
    """Register the emulator, which runs kernels on NumPy arrays. It calls this function when it is imported."""
    _registered[:] = [emulator]


def _emulator() -> Emulator:
    if not _registered:
        raise RuntimeError("kernels run on NumPy arrays in the emulator, which is not imported yet: import minisegnet_kernels.emulator")
    return _registered[0]


def capability_of(array: Any) -> tuple[int, int]:
    """Compute capability of the GPU that runs kernels on an array: (9, 0) for an H100.

    For a NumPy array it is the capability of the GPU that the emulator imitates: ``emulator.options(capability=...)``.
    """
    return gpu.capability() if _is_on_gpu(array) else _emulator().capability()


def _is_on_gpu(array: Any) -> bool:
    return hasattr(array, "__cuda_array_interface__")


class Module:
    """The kernels of one ``.cu`` file.

    Parameters
    ----------
    beside : path
        The ``.cu`` file, or a file beside it with the same name and another suffix (``__file__`` of its host side).
    """

    def __init__(self, beside: str | Path):
        self.path = Path(beside).with_suffix(".cu")
        self._instances: dict[tuple, _Instance] = {}

    @cached_property
    def source(self) -> Source:
        return read(self.path)

    def constant(self, name: str) -> int:
        """The value of a ``constexpr int`` of the file or of its includes, so that no number is written twice.

        Raises
        ------
        KeyError
            If the file has no constant of this name.
        """
        if name not in self.source.constants:
            raise KeyError(f"{self.path.name} has no constexpr int {name}; it has {', '.join(self.source.constants) or 'none'}")
        return self.source.constants[name]

    def over(self, kernel: str, count: int, *arguments: Any, threads: int = THREADS, **template: Any) -> None:
        """Launch one thread for each of `count` elements. The last block may have more, so each thread must check its number."""
        if count:
            self.launch(kernel, (blocks(count, threads),), (threads,), *arguments, **template)

    def launch(
        self,
        kernel: str,
        grid: Sequence[int],
        block: Sequence[int],
        *arguments: Any,
        shared: int = 0,
        touches: Sequence = (),
        **template: Any,
    ) -> None:
        """Launch a kernel.

        Parameters
        ----------
        kernel : str
        grid, block : up to three int
        *arguments
            One for each parameter: an array for ``Array<T, n>`` and ``T*`` (which must be C-contiguous),
            a number for a number, a tuple of numbers for a struct.
        shared : int
            Bytes of dynamic shared memory.
        touches : arrays
            Memory that the kernel reaches through pointers in a struct.
        **template
            Values of template parameters that do not follow from the arrays' dtypes: ``RELU=True``.

        Raises
        ------
        TypeError
            If the arguments do not fit the kernel's signature.
        ValueError
            If an array is too large for 32-bit offsets, is read-only although the kernel writes to it, or is not on the current GPU.
        """
        if 0 in grid:
            return  # without a block there is no work, but CuPy would launch one
        declared = self.source.kernels[kernel]
        if len(arguments) != len(declared.parameters):
            raise TypeError(f"{kernel} takes {', '.join(p.name for p in declared.parameters)}; got {len(arguments)} arguments")
        instance = self._instance(declared, arguments, template)
        packed = [pack(a) for pack, a in zip(instance.packers, arguments, strict=True)]
        arrays = [*(arguments[k] for k in instance.arrays), *touches]
        if any(map(_is_on_gpu, arrays)):
            gpu.check_device(kernel, arrays)
            program = gpu.function(self.source, instance.expression)
            program(tuple(grid), tuple(block), tuple(packed), shared_mem=shared)
        else:
            _emulator().launch(self.source, declared, instance.template, grid, block, shared, [np.asarray(p) for p in packed], arrays)

    def _instance(self, kernel: Kernel, arguments: Sequence, given: dict[str, Any]) -> _Instance:
        """The instance for these arguments; remembered, because a step launches the same few again and again."""
        key = (kernel.name, tuple([getattr(a, "dtype", None) for a in arguments]), tuple(given.items()))
        known = self._instances.get(key)
        if known is None or known.kernel is not kernel:  # tests change the source
            known = self._instances[key] = _Instance(kernel, _instance(kernel, arguments, given), self.source)
        return known


class _Instance:
    """An instance of a kernel, with what every launch of it needs.

    Attributes
    ----------
    template : dict
        The values of the template parameters.
    expression : str
        As C++ writes the instance.
    packers : list of callable
        For each parameter the function that gives the bytes which the kernel gets for an argument.
    arrays : list of int
        Which parameters are arrays.
    """

    def __init__(self, kernel: Kernel, template: dict[str, str], source: Source):
        self.kernel, self.template, self.expression = kernel, template, kernel.expression(template)
        self.packers = [_packer(kernel, p, template.get(p.element, p.element), source) for p in kernel.parameters]
        self.arrays = [k for k, p in enumerate(kernel.parameters) if p.rank is not None]


def _instance(kernel: Kernel, arguments: Sequence, given: dict[str, Any]) -> dict[str, str]:
    """The template arguments: types from the arrays, the rest as given."""
    found = {name: _literal(value) for name, value in given.items()}
    for parameter, argument in zip(kernel.parameters, arguments, strict=True):
        if parameter.element in kernel.template and parameter.element not in found and hasattr(argument, "dtype"):
            found[parameter.element] = _CPP.get(np.dtype(argument.dtype), str(argument.dtype))
    instance = {}
    for name, values in kernel.template.items():
        if found.get(name) not in values:
            raise TypeError(f"{kernel.name}: there is no instance with {name} = {found.get(name)}; compiled are {', '.join(values)}")
        instance[name] = found[name]
    return instance


def _literal(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool | np.bool_) else str(value)


def _packer(kernel: Kernel, parameter: Parameter, element: str, source: Source) -> Callable[[Any], Any]:
    """The function that packs an argument for a parameter: into a NumPy scalar, or an array of one struct."""
    if parameter.rank is not None:
        return _array_packer(kernel, parameter, DTYPES[element])
    if element in DTYPES:
        return DTYPES[element].type
    layout = source.structs.get(element)  # None: whoever launches the kernel packs the struct
    return lambda argument: _as_bytes(argument if isinstance(argument, np.ndarray) else np.array([tuple(argument)], layout))


def _as_bytes(packed: np.ndarray) -> np.ndarray:
    """A struct without the names of its fields: CuPy asks an array with fields for their description, which takes long."""
    return packed.view(np.dtype(f"V{packed.itemsize}")) if packed.dtype.fields else packed


def _array_packer(kernel: Kernel, parameter: Parameter, dtype: np.dtype) -> Callable[[Any], Any]:
    """The function that packs an array as ``Array<T, rank>``, or as a pointer. It runs for every argument of every launch."""
    said, rank, written = f"{kernel.name}: {parameter.name}", parameter.rank, not parameter.constant
    layout = struct.Struct(f"=Q{rank}i{rank}i")  # that of `array_struct`
    as_bytes = np.dtype(f"V{layout.size}")

    def pack(array: Any) -> Any:
        if array.dtype != dtype:
            raise TypeError(f"{said} must be {dtype}, as {parameter.type} says; it is {array.dtype}")
        shape, itemsize = array.shape, array.itemsize
        strides = [stride // itemsize for stride in array.strides]
        # Elements of memory from the first to the last one that the array addresses. A slice of a large array has few
        # elements but large offsets, and kernels compute offsets in 32 bits.
        reach = 1
        for length, stride in zip(shape, strides, strict=True):
            reach += abs(stride) * (length - 1)
        if reach > _LIMIT and array.size:
            raise ValueError(
                f"{said}, of shape {shape}, spans {reach} elements of memory; kernels count up to {_LIMIT}. Use smaller batches"
            )
        if isinstance(array, np.ndarray):
            if written and not array.flags.writeable:
                raise ValueError(f"{said} is written to, and the array is read-only")
            address = array.ctypes.data
        else:
            address = array.data.ptr
        if rank == 0:
            if not array.flags.c_contiguous:
                raise TypeError(f"{said} is a pointer, so the array must be C-contiguous")
            return np.uint64(address)
        if len(shape) != rank:
            raise TypeError(f"{said} has {rank} axes; got the shape {shape}")
        return np.frombuffer(layout.pack(address, *shape, *strides), as_bytes)

    return pack


@cache
def array_struct(rank: int) -> np.dtype:
    """The struct ``Array<T, rank>`` of common.cuh."""
    return np.dtype([("data", np.uint64), ("shape", np.int32, (rank,)), ("stride", np.int32, (rank,))], align=True)
