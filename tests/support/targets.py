"""The targets on which tests run the GPU programs: the emulator, the simulator, and a GPU if there is one.

``pytest -m gpu`` runs the tests on a GPU; ``MINISEGNET_REQUIRE_GPU=1`` turns their skips into failures.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import settings
from operations import Case, as_tuple, map_arrays

from minisegnet_kernels import backends
from minisegnet_kernels.layout import channels_last, is_channels_last

REQUIRED = os.environ.get("MINISEGNET_REQUIRE_GPU", "") not in ("", "0")


def few(examples: int) -> settings:
    """Limit the number of cases of a test whose cases are slow."""
    return settings(max_examples=min(examples, settings().max_examples))


@dataclass(frozen=True)
class Target:
    """A program and the device that it runs on."""

    backend: str
    device: str = "cpu"

    def __str__(self) -> str:
        return f"{self.backend}-{self.device}"

    def run(self, operation, case: Case) -> tuple:
        """The outputs, as NumPy arrays."""
        if self.device == "cpu":
            with backends.use(self.backend):
                return operation(case)
        moved = Case({name: map_arrays(self.to_device, a) for name, a in case.arrays.items()}, case.options)
        with backends.use(self.backend):
            results = tuple(to_host(r) for r in as_tuple(operation(moved)))
        for name, array in case.arrays.items():  # the results of an optimiser are the arrays that it updates in place
            if isinstance(array, list):
                for host, device in zip(array, moved.arrays[name], strict=True):
                    host[...] = to_host(device)
        return results

    def to_device(self, array: np.ndarray):
        import cupy

        moved = cupy.asarray(array)  # CuPy turns channels last into rows first
        return channels_last(moved) if is_channels_last(array) else moved


def to_host(array) -> np.ndarray:
    return array.get() if hasattr(array, "get") else np.asarray(array)


def need_gpu() -> None:
    """Skip without a GPU, or fail where one is required."""
    problem = "" if backends.gpu_count() else "no GPU"
    if not problem:
        try:
            import cupy  # noqa: F401
        except ImportError as error:
            problem = str(error)
    if problem:
        (pytest.fail if REQUIRED else pytest.skip)(problem)


#: For ``parametrize("backend", ["numpy", "numba", cuda])``: the kernels of CUDA C++, emulated, where there is a compiler.
cuda = pytest.param("cuda", marks=pytest.mark.skipif(not backends.available()["cuda"], reason="no C++ compiler for the emulator"))

EMULATED = Target("cuda", "cpu")
SIMULATED = Target("numba_cuda", "cpu")
ON_DEVICE = (Target("cuda", "cuda"), Target("numba_cuda", "cuda"))
