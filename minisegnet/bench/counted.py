"""A look at every equation that runs: what it was, what it costs by `minisegnet_kernels.cost`, how long it took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from minisegnet_kernels import backends
from minisegnet_kernels.cost import Cost, of


@contextmanager
def watching(notice: Callable[[str, Cost, float], None], finish: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Inside, `notice` is told of each equation: its id, its cost, seconds on the wall.

    Parameters
    ----------
    finish : callable
        Waits until the device has done what it was asked for, so that the seconds are the equation's own.
    """
    program_of = backends._program

    def watched(equation: str, backend: str, device: str) -> Callable:
        program = program_of(equation, backend, device)

        def run(*arrays: Any, **options: Any) -> Any:
            start = time.perf_counter()
            value = program(*arrays, **options)
            finish()
            seconds = time.perf_counter() - start
            notice(equation, of(equation, arrays, value, **options), seconds)
            return value

        return run

    with mock.patch.object(backends, "_program", watched):
        yield


def cost(call: Callable[[], Any]) -> Cost:
    """What all equations that `call` runs cost together."""
    found: list[Cost] = []
    with watching(lambda equation, cost, seconds: found.append(cost)):
        call()
    return sum(found, Cost())
