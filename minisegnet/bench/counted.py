"""Watch every equation that runs: its id, its cost by `minisegnet_kernels.cost`, when it began and when it ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from minisegnet_kernels import backends
from minisegnet_kernels.cost import Cost, of


@contextmanager
def watching(notice: Callable[[str, Cost, Any, Any], None], mark: Callable[[], Any] = time.perf_counter) -> Iterator[None]:
    """Inside the block, call ``notice(id, cost, start, end)`` after each equation.

    Parameters
    ----------
    mark : callable
        The method ``mark`` of a clock, which returns `start` and `end`. The clock's ``between`` turns two marks into seconds.
    """

    def watched(equation: str, program: Callable[..., Any], *arrays: Any, **options: Any) -> Any:
        start = mark()
        value = program(*arrays, **options)
        end = mark()
        notice(equation, of(equation, arrays, **options), start, end)
        return value

    with backends.calling(watched):
        yield
