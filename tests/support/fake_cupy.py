"""A stand-in for CuPy on a machine without a GPU: its arrays cannot be mixed with NumPy's, its kernels run in the emulator.

It tests the host code of the GPU path (packing, dispatch, layouts, no hidden copy to NumPy) and says nothing about a GPU. It
refuses everything that it does not implement, so that a test cannot pass by accident.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from contextlib import nullcontext
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from minisegnet_kernels.cuda import gpu
from minisegnet_kernels.cuda.source import read
from minisegnet_kernels.emulator import run as emulated

#: NumPy functions that CuPy 14 offers through the array protocol and this library uses on device arrays.
FUNCTIONS = [
    "add.at",
    "maximum.at",
    "abs",
    "arange",
    "argmax",
    "argsort",
    "array",
    "asarray",
    "broadcast_to",
    "clip",
    "concatenate",
    "copyto",
    "cumsum",
    "einsum",
    "empty_like",
    "expand_dims",
    "flatnonzero",
    "full_like",
    "isfinite",
    "isnan",
    "max",
    "mean",
    "min",
    "moveaxis",
    "ndim",
    "ones_like",
    "pad",
    "put_along_axis",
    "reshape",
    "result_type",
    "shape",
    "size",
    "squeeze",
    "sum",
    "take",
    "take_along_axis",
    "transpose",
    "where",
    "zeros_like",
    "sliding_window_view",
    "repeat",
    "flip",
    "stack",
]

#: What every kernel is said to need: a number that no compiler gives, so that a test knows it again.
REGISTERS = 777

#: How often a value travelled to the host, which makes the host wait: by the method that was called.
waits: Counter[str] = Counter()


class ndarray(NDArrayOperatorsMixin):
    """A "device" array, which hides a NumPy array."""

    __array_priority__ = 100

    def __init__(self, host: np.ndarray):
        self._host = host

    # --- NumPy's protocols

    @property
    def __cuda_array_interface__(self) -> dict:
        return {**self._host.__array_interface__, "version": 3}

    def __array__(self, *args: Any, **kwargs: Any):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array explicitly.")

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        if method not in ("__call__", "at"):
            return NotImplemented
        call = getattr(ufunc, method)
        results = call(*map(_host, inputs), **({"out": tuple(map(_host, out))} if out else {}), **kwargs)
        target = out[0]._host if out else results
        if method == "at":
            _record(lambda: call(*map(_host, inputs)))
        else:
            _record(lambda: np.copyto(target, call(*map(_host, inputs), **kwargs)))
        return out[0] if out else _device(np.asarray(results) if method != "at" else results)

    def __array_function__(self, function, types, args, kwargs):
        if function.__name__ not in FUNCTIONS:
            raise TypeError(f"the stand-in for CuPy does not know numpy.{function.__name__}")
        kwargs.pop("like", None)
        result = function(*_host(args), **_host(kwargs))
        _record_result(result, lambda: function(*_host(args), **_host(kwargs)))
        return _device(result)

    # --- attributes and methods of an array

    dtype = property(lambda self: self._host.dtype)
    shape = property(lambda self: self._host.shape)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    strides = property(lambda self: self._host.strides)
    itemsize = property(lambda self: self._host.itemsize)
    nbytes = property(lambda self: self._host.nbytes)
    T = property(lambda self: ndarray(self._host.T))
    data = property(lambda self: SimpleNamespace(ptr=self._host.ctypes.data))

    @property
    def flags(self):
        return SimpleNamespace(c_contiguous=self._host.flags.c_contiguous, f_contiguous=self._host.flags.f_contiguous)

    def __getitem__(self, key):
        return ndarray(np.asarray(self._host[_host(key)]))

    def __setitem__(self, key, value):
        if isinstance(value, np.ndarray) and value.ndim:
            raise TypeError("a NumPy array cannot be assigned to a device array")
        self._host[_host(key)] = _host(value)
        _record(lambda: self._host.__setitem__(_host(key), _host(value)))

    def __len__(self) -> int:
        return len(self._host)

    def __getattr__(self, name: str):
        if name not in [
            "all",
            "any",
            "argmax",
            "argmin",
            "astype",
            "clip",
            "copy",
            "max",
            "mean",
            "min",
            "ravel",
            "reshape",
            "sum",
            "transpose",
            "view",
            "fill",
            "squeeze",
            "swapaxes",
            "var",
        ]:
            raise AttributeError(f"the stand-in for CuPy has no ndarray.{name}")

        def method(*args, **kwargs):
            call = lambda: getattr(self._host, name)(*_host(args), **_host(kwargs))
            result = np.asarray(call())
            _record_result(result, call)
            return _device(result)

        return method

    # --- copies to the host: each waits for the device

    def get(self) -> np.ndarray:
        waits["get"] += 1
        return self._host.copy()

    def item(self) -> Any:
        waits["item"] += 1
        return self._host.item()

    def tolist(self) -> Any:
        waits["tolist"] += 1
        return self._host.tolist()

    def __bool__(self) -> bool:
        waits["bool"] += 1
        return bool(self._host)

    def __int__(self) -> int:
        waits["int"] += 1
        return int(self._host)

    def __float__(self) -> float:
        waits["float"] += 1
        return float(self._host)


# --- capture: work is done at once, and recorded so that it can be replayed -------------------------------

_capture: list | None = None


def _record(again: Any) -> None:
    if _capture is not None:
        _capture.append(again)


def _record_result(result: Any, again: Any) -> None:
    """Record that a replay writes the result into the same memory. A view shows the memory of its base and needs no record."""
    if _capture is not None and isinstance(result, np.ndarray) and result.base is None:
        _capture.append(lambda: np.copyto(result, again()))


class Stream:
    def __init__(self, non_blocking: bool = False):
        self.non_blocking = non_blocking

    def __enter__(self):
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def synchronize(self) -> None:
        waits["synchronize"] += 1

    def record(self) -> str:
        return "event"

    def wait_event(self, event: str) -> None:
        assert event == "event"

    def begin_capture(self) -> None:
        global _capture
        assert self.non_blocking, "the default stream cannot be captured"
        _capture = []

    def end_capture(self) -> SimpleNamespace:
        global _capture
        steps, _capture = _capture, None
        assert steps
        return SimpleNamespace(launch=lambda stream: [step() for step in steps])


def _host(value: Any) -> Any:
    if isinstance(value, ndarray):
        return value._host
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError("Unsupported type <class 'numpy.ndarray'>: a device array meets a NumPy array")
    if isinstance(value, tuple | list):
        return type(value)(map(_host, value))
    return {k: _host(v) for k, v in value.items()} if isinstance(value, dict) else value


def _device(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return ndarray(value)
    if isinstance(value, np.generic):
        return ndarray(np.asarray(value))  # a reduction stays on the device
    return tuple(map(_device, value)) if isinstance(value, tuple) else value


def asarray(a: Any, dtype: Any = None) -> ndarray:
    """As CuPy does, make a C-contiguous array of a NumPy array that is neither C- nor Fortran-contiguous."""
    if isinstance(a, ndarray):
        return a if dtype is None else ndarray(np.array(a._host, dtype=dtype, order="K"))
    return ndarray(np.array(a, dtype=dtype, order="F" if isinstance(a, np.ndarray) and a.flags.fnc else "C"))


class RawKernel:
    """A kernel that does nothing; any other source is refused."""

    def __init__(self, code: str, name: str):
        assert code == f'extern "C" __global__ void {name}() {{}}'

    def __call__(self, grid: tuple, block: tuple, args: tuple) -> None:
        assert args == ()


class Event:
    """A time on the host's clock."""

    def record(self) -> None:
        self.time = time.perf_counter()

    def synchronize(self) -> None:
        waits["synchronize"] += 1


def get_elapsed_time(start: Event, end: Event) -> float:
    return 1e3 * (end.time - start.time)


class RawModule:
    """A module that finds the source file with the same text, and launches its kernels in the emulator."""

    def __init__(self, code: str, options: tuple = (), name_expressions: tuple = ()):
        assert all(o.startswith("-") for o in options)
        self.code, self.expressions = code, name_expressions

    def get_function(self, expression: str):
        assert expression in self.expressions
        (source,) = [s for s in map(read, gpu_files()) if s.whole() == self.code]
        kernel = source.kernels[expression.partition("<")[0]]
        (instance,) = [i for i in kernel.instances() if kernel.expression(i) == expression]

        def launch(grid: tuple, block: tuple, args: tuple, shared_mem: int = 0) -> None:
            assert isinstance(grid, tuple) and isinstance(block, tuple)
            for argument in args:  # CuPy accepts NumPy scalars, and structured arrays by value
                assert isinstance(argument, np.generic) or (isinstance(argument, np.ndarray) and argument.dtype.names), type(argument)
            packed = [np.asarray(a) for a in args]
            again = lambda: emulated.launch(source, kernel, instance, grid, block, shared_mem, packed, [])  # no arrays: not watched
            again()
            _record(again)

        launch.num_regs, launch.shared_size_bytes = REGISTERS, 0
        return launch


def gpu_files():
    from minisegnet_kernels.cuda.nvrtc import files

    return files()


def install(monkeypatch) -> ModuleType:
    """Make ``import cupy`` find the stand-in for the length of a test."""
    module = ModuleType("cupy")
    for name in ("ndarray", "asarray", "RawKernel", "RawModule"):
        setattr(module, name, globals()[name])
    module.empty = lambda shape, dtype: ndarray(np.empty(shape, dtype))
    module.matmul, module.copyto = np.matmul, np.copyto
    module.cuda = SimpleNamespace(
        Event=Event,
        get_elapsed_time=get_elapsed_time,
        Device=lambda number=0: SimpleNamespace(id=number, compute_capability="90"),
        Stream=Stream,
        get_current_stream=Stream,
        MemoryPool=lambda: SimpleNamespace(malloc=None),
        using_allocator=lambda malloc: nullcontext(),
    )
    monkeypatch.setitem(sys.modules, "cupy", module)
    gpu._compiled.cache_clear()
    waits.clear()
    return module
