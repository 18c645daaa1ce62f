"""Three switches: whether operations are recorded, tested for NaN, and observed. Each applies to one thread and task only."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from minisegnet_kernels.modes import Here, Mode

RECORDING: Mode[bool] = Mode("recording", True)
ANOMALY: Mode[bool] = Mode("anomaly", False)
OBSERVER: Mode[Callable | None] = Mode("observer", None)


def no_grad(function: Callable | None = None) -> Any:
    """Compute without remembering how: ``with no_grad(): ...``, ``@no_grad()`` or ``@no_grad``; in this thread and task only."""
    here = RECORDING.here(False)
    return here if function is None else here(function)


def enable_grad(function: Callable | None = None) -> Any:
    """Undo an enclosing `no_grad`; used in the same ways."""
    here = RECORDING.here(True)
    return here if function is None else here(function)


class set_grad_enabled(Here):
    """Switch recording on or off in this thread and task: a bare call from now on, ``with set_grad_enabled(flag):`` for a block.

    Parameters
    ----------
    mode : bool
    """

    def __init__(self, mode: bool):
        super().__init__(RECORDING, bool(mode))
        super().__enter__()

    def __enter__(self) -> set_grad_enabled:
        return self  # the call has acted already

    def __call__(self, function: Callable) -> Callable:
        if self._before:
            self.__exit__()  # a decorator acts when the function is called, not before
        return super().__call__(function)


def is_grad_enabled() -> bool:
    """Whether operations are recorded in this thread and task."""
    return RECORDING.get()


def detect_anomaly() -> Here:
    """Find the first NaN: inside, every operation and every gradient is tested (slow).

    Raises
    ------
    FloatingPointError
        At the first NaN. The message names the operation that made it and the line that called the operation.
    """
    return ANOMALY.here(True)


def observed(observer: Callable[[Callable, tuple, dict, tuple], None]) -> Here:
    """Inside, ``observer(function, args, options, results)`` is called after every differentiable function, in order."""
    return OBSERVER.here(observer)


def caller() -> str:
    """File and line of the first frame outside this package."""
    package = __name__.partition(".")[0]
    frame: Any = sys._getframe(1)
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else "an unknown line"
