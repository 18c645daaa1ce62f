"""The libraries that are measured, behind one interface."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from typing import Any

import numpy as np

from . import clock

#: Width of the U-Net whose training step is measured.
WIDTH = 0.25


class Minisegnet:
    """This library, with one of its backends.

    On a GPU ``cuda`` has four forms: rows first (NCHW), or channels last with the suffix ``-last``; with TF32, or without
    it with the suffix ``-fp32``. ``cuda-graph`` is ``cuda-last`` with the whole training step recorded as one CUDA graph.
    """

    def __init__(self, name: str, threads: int, device: str):
        import numba

        from .. import backend, functional, models, optim
        from ..tensor import Tensor, tensor

        numba.set_num_threads(min(threads, numba.get_num_threads()))
        self.name, self.device, self.backend = name, device, name.partition("-")[0]
        self.graph, self.last = name == "cuda-graph", "-last" in name or name == "cuda-graph"
        self.layout = "channels last" if self.last else "rows first"
        self.precision = "tf32" if device == "cuda" and self.backend == "cuda" and "-fp32" not in name else "float32"
        os.environ["CUPY_TF32"] = str(int(self.precision == "tf32"))  # for CuPy's matrix product, which measures the roof
        backend.allow_tf32(self.precision == "tf32")
        backend.use(self.backend)
        self.F, self._tensor, self._wrap, self._models, self._optim = functional, tensor, Tensor, models, optim
        self.clock = clock.CupyEvents() if device == "cuda" else clock.Wall()

    def roof(self) -> dict[str, float]:
        if self.device == "cuda":
            import cupy

            return clock.roof(self.clock, cupy, "cuda", cupy.copyto, cupy.asarray)
        if self.backend == "numba":
            return clock.roof(self.clock, np, "cpu", _copy_by_all_threads(), np.asarray)
        return clock.roof(self.clock, np, "cpu", np.copyto, np.asarray)

    def launch(self) -> dict[str, float] | None:
        """Seconds of an empty kernel's launch; None without a GPU, or for a backend that has no kernels of its own."""
        if self.device == "cpu" or self.backend == "numpy":
            return None
        empty = clock.empty_cuda() if self.backend == "cuda" else clock.empty_numba_cuda()
        return clock.launch(self.clock, empty, self.finish)

    def make(self, array: np.ndarray, requires_grad: bool = False) -> Any:
        made = self._tensor(array, device=self.device)
        if self.last and made.ndim == 4:
            made = made.to(memory_format="channels_last")
        return self._wrap(made.array, requires_grad=requires_grad)

    def value(self, t: Any) -> np.ndarray:
        return t.detach().cpu().array

    def assign(self, t: Any, values: np.ndarray) -> None:
        t.array[...] = self._tensor(values.astype(np.float32), device=self.device).array

    def finish(self) -> None:
        """Wait until the device has finished its work."""
        if self.device == "cuda":
            import cupy

            cupy.cuda.get_current_stream().synchronize()

    def prepare(self, call: Callable) -> Callable:
        return call

    def replayed(self, call: Callable[[], Any]) -> Callable[[], Any]:
        """The call as a CUDA graph, on a GPU and where the library has one."""
        return clock.replayed(call) if self.device == "cuda" else call

    def peak_mib(self) -> float:
        """Peak memory so far, in MiB: the library's on a GPU, or the process's on a CPU."""
        if self.device == "cuda":
            import cupy

            return cupy.get_default_memory_pool().total_bytes() / 2**20
        return _peak_of_process()

    def unet(self) -> tuple[Any, Any]:
        model = self._models.create("unet", in_channels=1, num_classes=2, width=WIDTH)
        model = model.to(self.device, memory_format="channels_last" if self.last else None)
        return model, self._optim.Adam(model.parameters(), lr=1e-3)


class Torch:
    """PyTorch, the library that ours is compared with. It chooses its own algorithms.

    On a GPU it has four forms: rows first (NCHW), or channels last with the suffix ``-last``; with TF32, or without it with
    the suffix ``-fp32``. Plain ``torch`` is PyTorch's default for convolutions: rows first, TF32. ``torch-compile`` is the
    same, compiled by ``torch.compile``.
    """

    def __init__(self, name: str, threads: int, device: str):
        import torch

        torch.set_num_threads(threads)
        self.F, self.device, self.graph = torch.nn.functional, device, False
        self.layout = "channels last" if "-last" in name else "rows first"
        self._torch, self._format = torch, torch.channels_last if "-last" in name else torch.contiguous_format
        self._compiles = name == "torch-compile"
        self.precision = "tf32" if device == "cuda" and "-fp32" not in name else "float32"
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = self.precision == "tf32"
        self.clock = clock.TorchEvents() if device == "cuda" else clock.Wall()

    def roof(self) -> dict[str, float]:
        return clock.roof(self.clock, self._torch, self.device, lambda a, b: a.copy_(b), self.make)

    def launch(self) -> None:
        return None

    def make(self, array: np.ndarray, requires_grad: bool = False) -> Any:
        made = self._torch.tensor(array, device=self.device)
        made = made.to(memory_format=self._format) if made.ndim == 4 else made
        return made.requires_grad_(requires_grad)

    def value(self, t: Any) -> np.ndarray:
        return t.detach().cpu().numpy()

    def assign(self, t: Any, values: np.ndarray) -> None:
        with self._torch.no_grad():
            t.copy_(self._torch.tensor(values))

    def finish(self) -> None:
        if self.device == "cuda":
            self._torch.cuda.synchronize()

    def prepare(self, call: Callable) -> Callable:
        """Return `call` unchanged, or compiled. A call that cannot be compiled as one graph fails when it is first made."""
        if not self._compiles:
            return call
        import torch._functorch.config

        self._torch._dynamo.reset()  # without it, the ninth shape of a function would silently run eagerly
        torch._functorch.config.donated_buffer = False  # the backward pass is timed alone and repeated
        return self._torch.compile(call, fullgraph=True, dynamic=False)

    def replayed(self, call: Callable[[], Any]) -> Callable[[], Any]:
        return clock.replayed_by_torch(call) if self.device == "cuda" else call

    def peak_mib(self) -> float:
        return self._torch.cuda.max_memory_reserved() / 2**20 if self.device == "cuda" else _peak_of_process()

    def unet(self) -> tuple[Any, Any]:
        from .twin import UNet

        model: Any = UNet(1, 2, WIDTH)
        model = model.to(self.device, memory_format=self._format)
        return model, self._torch.optim.Adam(model.parameters(), lr=1e-3)


def _peak_of_process() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _copy_by_all_threads() -> Callable[[Any, Any], None]:
    """A function ``copy(target, source)`` that uses all threads, to measure a CPU's memory bandwidth; `numpy.copyto` uses one."""
    from minisegnet_kernels.jit import kernel, prange

    @kernel
    def copy(target, source):
        for i in prange(source.size):
            target[i] = source[i]

    return copy


def make(name: str, threads: int, device: str) -> Any:
    """Make a library from its name."""
    return (Torch if name.startswith("torch") else Minisegnet)(name, threads, device)
