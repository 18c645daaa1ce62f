"""Compiling for a GPU: NVRTC through CuPy, on the first launch, once for each kernel, dtype and architecture."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from .source import Source

#: Compiler options, the same for every kernel. CuPy adds the architecture of the device.
OPTIONS = ("--std=c++17", "--fmad=true")


def function(source: Source, expression: str) -> Any:
    """A template instance, ready to launch on the current device."""
    import cupy

    return _compiled(source, expression, cupy.cuda.runtime.getDevice())


def capability() -> tuple[int, int]:
    """Compute capability of the current device, (9, 0) for an H100."""
    import cupy

    return _capability(cupy.cuda.runtime.getDevice())


def check_device(kernel: str, arrays: Sequence[Any]) -> None:
    """Raise unless all arrays are on the current device, where the kernel is launched.

    Raises
    ------
    ValueError
        If one is on another device. The kernel's access to it would be an error that ends the process.
    """
    import cupy

    current = cupy.cuda.runtime.getDevice()
    for array in arrays:
        if array.data.device_id != current and array.size:
            raise ValueError(
                f"{kernel}: an array of shape {array.shape} is on GPU {array.data.device_id} and the current GPU is {current}: "
                f"move it, or compute inside cupy.cuda.Device({array.data.device_id})"
            )


@cache
def _capability(device: int) -> tuple[int, int]:
    import cupy

    digits = cupy.cuda.Device(device).compute_capability  # "90", "100"
    return int(digits[:-1]), int(digits[-1])


@cache
def _compiled(source: Source, expression: str, device: int) -> Any:
    import cupy

    module = cupy.RawModule(code=source.whole(), options=OPTIONS, name_expressions=(expression,))
    return module.get_function(expression)
