"""Which program of a formula runs.

The array determines the device, and :func:`use` selects the program. If that program is missing, a
`BackendError` names equation, backend and device; no other program runs in its place.

==============  ===================================  =========================
backend         on a NumPy array                     on a CuPy array
==============  ===================================  =========================
``formula``     ``formula.py``, the literal loops    --
``numpy``       ``reference.py``                     ``reference.py``
``numba``       ``numba_cpu.py`` (the default)       --
``numba_cuda``  ``numba_cuda.py``, simulated         ``numba_cuda.py``
``cuda``        ``kernel.cu``, emulated              ``kernel.cu`` (the default)
``shapes``      zeros of the right shapes            --
==============  ===================================  =========================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from . import registry, threads
from .cuda.driver import device_count
from .emulator import CompilerError
from .emulator import compiler as find_compiler
from .layout import full
from .modes import Here, Mode, Switch

NAMES = ("formula", "numpy", "numba", "numba_cuda", "cuda", "shapes")
_DEFAULT = {"cpu": "numba", "cuda": "cuda"}
_RUNS_ON = {
    "cpu": NAMES,
    "cuda": ("numpy", "numba_cuda", "cuda"),
}
_selected: Mode[str | None] = Mode("backend", None)  # None: the default of the array's device
_calls: Mode[tuple[Callable[..., Any], ...]] = Mode("calls", ())  # what stands between `run` and the program


class BackendError(RuntimeError):
    """The selected program does not exist or cannot run here."""


@dataclass(frozen=True)
class Availability:
    """Whether a backend runs here, and how; if not, why not, and the command that installs what is missing."""

    ok: bool
    reason: str = ""
    mend: str = ""

    def __bool__(self) -> bool:
        return self.ok


class use(Switch):
    """Select the program that runs: a bare call for the whole process, a ``with`` block for this thread or task alone.

    Parameters
    ----------
    name : {"formula", "numpy", "numba", "numba_cuda", "cuda", "shapes"} or None
        None goes back to the default of each device. ``"shapes"`` computes nothing and changes nothing: equations
        return zeros of the right shape and dtype, so that the sizes of a network's maps are known at once.

    Raises
    ------
    ValueError
        If no backend has that name.

    Examples
    --------
    >>> with use("numpy"):
    ...     current("cpu")
    'numpy'
    >>> current("cpu")
    'numba'
    """

    def __init__(self, name: str | None):
        if name is not None and name not in NAMES:
            raise ValueError(f"no backend {name!r}: choose one of {', '.join(NAMES)}, or None for the default")
        super().__init__(_selected, name)


def shapes_only() -> Here:
    """A ``with`` block in which this thread and task computes shapes only; unlike ``use("shapes")``, no other thread sees it for a moment."""
    return _selected.here("shapes")


def current(device: str = "cpu") -> str:
    """The backend that runs on arrays of a device (``"cpu"`` or ``"cuda"``)."""
    return _selected.get() or _DEFAULT[device]


def available() -> dict[str, Availability]:
    """For each backend whether it runs on this machine; if not, why not and how to install what is missing."""

    def installed(package: str, mend: str) -> Availability:
        if find_spec(package):
            return Availability(True)
        return Availability(False, f"the package {package!r} is not installed", mend)

    def compiler() -> Availability:
        try:
            find_compiler()
        except CompilerError as error:
            return Availability(False, "no C++ compiler for the emulator", str(error).partition(": ")[2])
        return Availability(True, "emulated on the CPU: slow, to learn and to test")

    def simulator() -> Availability:
        found = installed("numba_cuda", 'pip install "numba-cuda>=0.30,<0.31"')
        return Availability(True, "simulated on the CPU: very slow, to learn and to test") if found and not gpu_count() else found

    return {
        "formula": Availability(True),
        "numpy": Availability(True),
        "numba": installed("numba", "pip install numba"),
        "numba_cuda": simulator(),
        "cuda": compiler() if not gpu_count() else installed("cupy", 'pip install "cupy-cuda12x[ctk]>=14"'),
    }


def gpu_count() -> int:
    """The number of GPUs that the driver reports; 0 without a driver."""
    return device_count()


def device_of(*arrays: Any) -> str:
    """``"cuda"`` for arrays on a GPU, ``"cpu"`` for NumPy's.

    Raises
    ------
    ValueError
        If some of the arrays are on a GPU and others are not.
    """
    kinds = {type(a) for item in arrays for a in (item if isinstance(item, list) else [item])}
    devices = {"cuda" if hasattr(kind, "__cuda_array_interface__") else "cpu" for kind in kinds if hasattr(kind, "dtype")}
    if len(devices) > 1:
        raise ValueError("the arrays lie on different devices (cpu and cuda); move them to one with .to(device)")
    return devices.pop() if devices else "cpu"


@cache
def _program(equation: str, backend: str, device: str) -> Callable:
    entry = registry.get(equation)
    if backend not in _RUNS_ON[device]:
        raise BackendError(f"{equation}: backend {backend!r} does not run on {device} arrays; choose one of {', '.join(_RUNS_ON[device])}")
    if backend == "shapes":
        return partial(_zeros, entry)
    try:
        program = entry.program(backend)
    except ImportError as error:
        raise BackendError(f"{equation}: backend {backend!r} on {device}: {error}. See: minisegnet doctor") from error
    if program is None:
        reason = entry.missing.get(backend, "the view is missing")
        raise BackendError(f"{equation}: no {backend!r} program for {device} arrays ({reason}). Programs that run: minisegnet doctor")
    if backend == "numba_cuda" and device == "cpu":
        from .cuda.jit import (
            SIMULATED,  # imported here: it loads numba-cuda, which is optional and chooses between GPU and simulator when it loads
        )

        if not SIMULATED:
            raise BackendError(
                f"{equation}: 'numba_cuda' runs on NumPy arrays in Numba's simulator, and this process uses the GPU; "
                "move the arrays there with .to('cuda'), or set NUMBA_ENABLE_CUDASIM=1 before Python starts"
            )
    return program


def _zeros(entry: registry.Equation, *arrays: Any, **options: Any) -> Any:
    """The backend ``shapes``: zeros that are never touched and therefore take no memory."""
    results = [np.zeros(shape, dtype) for shape, dtype in entry.results(*arrays, **options)]
    return tuple(results) if len(results) > 1 else results[0] if results else None


def _nothing(entry: registry.Equation, *arrays: Any, **options: Any) -> Any:
    """What every program of an equation computes for a batch of no images: empty results, and sums of nothing, which are 0."""
    results = [full(arrays[0], shape, 0, dtype) for shape, dtype in entry.results(*arrays, **options)]
    return tuple(results) if len(results) > 1 else results[0]


def _compiled_form(array: Any) -> Any:
    """A C-contiguous, aligned, writable array with the same values: each compiled program has one signature per dtype.

    Lists hold arrays that are updated in place. They are left alone here; their front door checks them.
    """
    if isinstance(array, np.ndarray):
        return np.require(array, requirements=("C", "A", "W"))
    return array


def run(equation: str, *arrays: Any, **options: Any) -> Any:
    """Run the selected program of an equation.

    The front door of each operation, its ``__init__.py``, calls it with checked arguments. Numba's programs get
    C-contiguous, writable arrays: other arrays are copied first. If the first array is a batch of no images, no program runs.
    """
    device = device_of(*arrays)
    backend = current(device)
    program = _program(equation, backend, device)
    if getattr(arrays[0], "ndim", 0) > 1 and len(arrays[0]) == 0:
        program = partial(_nothing, registry.get(equation))
    elif backend in ("numba", "numba_cuda"):
        arrays = tuple(_compiled_form(a) for a in arrays)
        program = partial(threads.run, program) if backend == "numba" else program
    for call in _calls.get():
        program = partial(call, equation, program)
    return program(*arrays, **options)


def calling(call: Callable[..., Any]) -> Here:
    """A ``with`` block in which every equation runs as ``call(equation, program, *arrays, **options)``.

    `call` decides what happens: it may time ``program(*arrays, **options)``, count it, or change its result.
    Blocks may be nested. The `call` of the innermost block is made first.

    >>> from minisegnet_kernels import activation
    >>> def show(equation, program, *arrays, **options):
    ...     print(equation, [a.shape for a in arrays])
    ...     return program(*arrays, **options)
    >>> with calling(show), use("numpy"):
    ...     y = activation.relu(np.zeros((2, 3)))
    activation.relu [(2, 3)]
    """
    return _calls.here((*_calls.get(), call))


def computes() -> bool:
    """Whether results have values: False inside ``use("shapes")``, where no value may decide anything or update anything."""
    return _selected.get() != "shapes"
