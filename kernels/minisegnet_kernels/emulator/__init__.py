"""Run the ``.cu`` files on the CPU, in order to read them, step through them and find mistakes.

Each CUDA thread is a fiber, and one block runs at a time (``emulator.cpp``). The emulator gives a kernel only what a GPU
guarantees: threads run in an order that a schedule chooses, shared memory starts as NaN, asynchronous copies arrive only when
the kernel waits for them, and a barrier that not every thread reaches is an error that names its line. A *watched* run
(``watch.cpp``) sees every access to memory and finds races and accesses out of bounds.

``backend.use("cuda")`` runs it on NumPy arrays. It checks that a kernel is correct and counts what the kernel does; it says
nothing about speed.

Examples
--------
>>> from minisegnet_kernels import activation, backends, emulator
>>> x = np.linspace(-1, 1, 5, dtype=np.float32)
>>> with backends.use("cuda"), emulator.options(watched=True), emulator.launches() as seen:  # doctest: +SKIP
...     activation.relu(x)
array([0. , 0. , 0. , 0.5, 1. ], dtype=float32)
"""

from ..cuda import emulate_with
from . import run
from .build import CompilerError, cache_folder, compiler
from .run import COUNTERS, SCHEDULES, Access, KernelError, Launched, Options, Traced, launches, options, recording, tracing

emulate_with(run)

__all__ = [
    "COUNTERS",
    "SCHEDULES",
    "Access",
    "CompilerError",
    "KernelError",
    "Launched",
    "Options",
    "Traced",
    "cache_folder",
    "compiler",
    "launches",
    "options",
    "recording",
    "tracing",
]
