"""Numba's pool of threads, protected: several threads of a program may call it at once, and a forked process may not be able to use it."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

_SAFE = ("omp", "tbb")  # layers into which several threads may call at once; "workqueue" would end the process

_lock = threading.RLock()
_layer: str | None = None  # the threading layer that the pool uses; None until a program has started it
_lost = False  # whether this process was forked from one in which GNU OpenMP's threads ran


def run(program: Callable, *arrays: Any, **options: Any) -> Any:
    """Call a compiled program. If the threading layer does not allow calls from several threads at once, they take turns.

    Raises
    ------
    RuntimeError
        If this process was forked from one that had used GNU OpenMP's pool: a call would end the process.
    """
    global _layer
    if _lost:
        raise RuntimeError(
            "this process was forked from one that had used Numba's threads, and they cannot be started in it. Start processes with "
            'multiprocessing.get_context("spawn"), fork before the first kernel, or compute with ms.backend.use("numpy")'
        )
    if _layer in _SAFE:
        return program(*arrays, **options)
    with _lock:
        result = program(*arrays, **options)
        _layer = _started()
        return result


def _started() -> str | None:
    if (numba := sys.modules.get("numba")) is None:
        return None
    try:
        return numba.threading_layer()
    except ValueError:
        return None


def _in_child() -> None:
    global _lock, _lost
    _lock = threading.RLock()  # another thread of the parent may have held it
    _lost = _started() == "omp"


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
