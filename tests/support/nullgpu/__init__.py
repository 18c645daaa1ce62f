"""The real CuPy and the real numba-cuda on a machine without a GPU.

`install` replaces the CUDA driver under the two packages by our own (`driver.c`, compiled on first use). It has to be
called before either package is imported, and holds for the rest of the process. From then on ``import cupy`` finds a
GPU. NVRTC really compiles for its compute capability; shapes, strides, dtypes, streams, argument packing, caching and
capture are those of the real packages. "Device" memory is the host's memory.

What it does
    - Launches of the library's CUDA C++ kernels run in the emulator: values are right.
    - Kernels that CuPy generates run too, from the source that CuPy gave to NVRTC (`programs`). So do matrix
      products (`cublas.c`), which CuPy leaves to cuBLAS, and `argsort`, which it leaves to Thrust and the host does here.
    - Everything is recorded (`NullGPU.log`): launches with sizes, stream and arguments, copies with direction, fills,
      waits, captures, replays. The limits of a launch are checked, and the memory that arguments point to.
    - Fresh memory, and memory that CuPy hands out again, is full of NaN (−1 in integers).

What it does not do
    - Kernels of numba-cuda are recorded and write nothing: what they should have written stays NaN.
    - Other kernels compiled into CuPy's wheel (the rest of Thrust, CUB's reductions) raise "not supported". CUB is switched
      off, so reductions use CuPy's own kernels: as many launches as on a GPU, but of other kernels.
    - Nothing runs at the same time as anything else, so it shows neither races between streams nor speed.
    - Subnormal float32 numbers are kept; on a GPU CuPy's options make them zero. Products are not fused with sums.
    - No complex numbers, no float16 or bfloat16, no random numbers on the device, no FFT, no cuSOLVER, no textures.
"""

from __future__ import annotations

import ctypes
import importlib
import math
import os
import subprocess
import sys

from .build import cublas, cublas_lt, driver
from .device import Call, NullGPU

__all__ = ["Call", "NullGPU", "install", "installed", "missing"]

_installed: NullGPU | None = None


def installed() -> NullGPU:
    """The null GPU of this process."""
    assert _installed is not None, "there is no null GPU in this process"
    return _installed


def missing() -> str:
    """Why the null GPU cannot run here; empty if it can."""
    import platform
    import shutil
    from importlib.util import find_spec

    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "the null GPU needs Linux on x86-64"
    for package, name in (("cupy", "cupy-cuda12x[ctk]>=14"), ("numba_cuda", "numba-cuda[cu12]>=0.30,<0.31")):
        if find_spec(package) is None:
            return f"the null GPU needs the real packages: pip install '{name}'"
    return next((f"the null GPU needs {tool}" for tool in ("gcc", "g++", "nm") if shutil.which(tool) is None), "")


def install(capability: int = 90, count: int = 1) -> NullGPU:
    """Put the null GPU under CuPy and numba-cuda, for this process.

    Raises
    ------
    RuntimeError
        If CuPy or Numba's CUDA was imported before: they have loaded a driver already.
    """
    global _installed
    early = [name for name in ("cupy", "numba.cuda") if name in sys.modules]
    if _installed or early:
        raise RuntimeError(f"the null GPU comes before {' and '.join(early) or 'itself'}: install it first, in a new process")
    from minisegnet_kernels.emulator.build import cache_folder

    machine = NullGPU(capability, count)
    library = ctypes.CDLL(str(driver()), mode=ctypes.RTLD_GLOBAL)  # its name is libcuda.so.1, so dlopen finds it from now on
    for other in (cublas_lt(), cublas()):
        ctypes.CDLL(str(other), mode=ctypes.RTLD_GLOBAL)
    _connect(library, machine)
    os.environ.update(CUPY_CACHE_DIR=str(cache_folder() / "nullgpu"), CUPY_ACCELERATORS="", NUMBA_ENABLE_CUDASIM="0")
    _patch(library, "cupy_backends.cuda.api.runtime")
    _follow_sources()
    _poison_what_is_handed_out_again()
    _sort_on_the_host()
    _installed = machine
    return machine


def _connect(library: ctypes.CDLL, machine: NullGPU) -> None:
    """Give the driver the machine's functions, in the order of ``struct Host``."""
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    to_pointer, to_number, to_text = (ctypes.POINTER(t) for t in (pointer, number, text))
    unsigned, size = ctypes.c_uint, ctypes.c_size_t
    signatures = {
        "device_count": [to_number],
        "device_attribute": [number, number, to_number],
        "allocate": [to_pointer, size, number],
        "release": [pointer],
        "memory_kind": [pointer, to_number, to_number],
        "copy": [pointer, pointer, size, number, number, pointer],
        "fill": [pointer, unsigned, size, size, number, pointer],
        "wait": [text, pointer],
        "load": [pointer, to_pointer],
        "function": [pointer, text, to_pointer],
        "function_name": [pointer, to_text],
        "function_attribute": [pointer, number, to_number],
        "set_function_attribute": [pointer, number, number],
        "launch": [pointer, ctypes.POINTER(unsigned), pointer, to_pointer],
        "stream": [to_pointer, unsigned],
        "begin_capture": [pointer],
        "end_capture": [pointer, to_pointer],
        "is_capturing": [pointer, to_number],
        "replay": [pointer, pointer],
        "event": [pointer, pointer],
    }
    functions = [ctypes.CFUNCTYPE(number, *parameters)(machine.answered(getattr(machine, name))) for name, parameters in signatures.items()]
    texts: dict[bytes, ctypes.Array] = {}

    def explain(status: int, with_text: int) -> int:
        said = machine.explain(status, with_text)
        return ctypes.addressof(texts.setdefault(said, ctypes.create_string_buffer(said)))

    functions.append(ctypes.CFUNCTYPE(pointer, number, number)(explain))
    table = (ctypes.c_void_p * len(functions))(*(ctypes.cast(f, ctypes.c_void_p).value for f in functions))
    library.nullgpu_connect(table)
    machine.current_device = library.nullgpu_current_device
    machine.kept = (library, functions, texts)  # type: ignore[attr-defined]


def _patch(library: ctypes.CDLL, module: str) -> None:
    """Replace the CUDA runtime that is linked into an extension module, function by function."""
    path = importlib.import_module(module).__file__
    assert path is not None
    with open("/proc/self/maps") as maps:
        base = next(int(line.split("-")[0], 16) for line in maps if line.rstrip().endswith(path))
    names = subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout
    library.nullgpu_patch.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    for words in map(str.split, names.splitlines()):
        if len(words) == 3 and words[1] in "tT" and words[2].startswith("cuda"):
            ours = getattr(library, f"our_{words[2]}", library.nullgpu_unsupported)
            if library.nullgpu_patch(base + int(words[0], 16), ctypes.cast(ours, ctypes.c_void_p)):
                raise RuntimeError(f"the memory of {path} cannot be written to")


def _follow_sources() -> None:
    """Where CuPy compiles with NVRTC, put the source in front of the machine code; CuPy's cache keeps both."""
    from cupy.cuda import compiler

    from .programs import note

    compile_ = compiler._NVRTCProgram.compile

    def compile_and_note(self, options=(), log_stream=None):
        binary, names = compile_(self, options, log_stream)
        return (note(self.src, tuple(options), names, binary), names) if self.method == "cubin" else (binary, names)

    compiler._NVRTCProgram.compile = compile_and_note


def _poison_what_is_handed_out_again() -> None:
    """Fill memory that CuPy's pools hand out again, because old values in it could be mistaken for new results."""
    from cupy.cuda.memory_hook import MemoryHook

    class Poison(MemoryHook):
        name = "null GPU"

        def malloc_postprocess(self, device_id, size, mem_size, mem_ptr, pmem_id):
            ctypes.memset(mem_ptr, 0xFF, mem_size)

    Poison().__enter__()


def _sort_on_the_host() -> None:
    """Replace Thrust's `argsort`, whose kernels are compiled into CuPy's wheel: rows of the last axis, and equal keys keep their order."""
    import numpy as np
    from cupy.cuda import thrust

    def argsort(dtype, indices, data, keys, shape):
        view = lambda address, dtype: np.frombuffer((ctypes.c_char * (math.prod(shape) * dtype.itemsize)).from_address(address), dtype)
        order = view(data, np.dtype(dtype)).reshape(shape).argsort(axis=-1, kind="stable")
        view(indices, np.dtype(np.intp))[...] = order.reshape(-1)

    thrust.argsort = argsort
