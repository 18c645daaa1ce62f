"""A look at every equation that runs: what it was, what it costs by `minisegnet_kernels.cost`, from when to when it ran."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from minisegnet_kernels import backends
from minisegnet_kernels.cost import Cost, of


@contextmanager
def watching(notice: Callable[[str, Cost, Any, Any], None], mark: Callable[[], Any] = time.perf_counter) -> Iterator[None]:
    """Inside, `notice` is told of each equation: its id, its cost, a mark from before it and one from after it.

    Parameters
    ----------
    mark : callable
        Of a clock; the clock's ``between`` makes seconds of two marks.
    """

    def watched(equation: str, program: Callable[..., Any], *arrays: Any, **options: Any) -> Any:
        start = mark()
        value = program(*arrays, **options)
        end = mark()
        notice(equation, of(equation, arrays, **options), start, end)
        return value

    with backends.calling(watched):
        yield
