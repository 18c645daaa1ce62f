"""Messages during long work: a progress bar, and a line about kernels that are being compiled."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TextIO

from minisegnet_kernels import backends


class Bar:
    """A progress bar with the remaining time; silent if `show` is false.

    Create it after the first step and pass the number of that step as `start`: the first step includes compilation and would
    spoil the estimate of the remaining time.
    """

    def __init__(self, total: int, start: int, show: bool):
        self._bar = None
        if show:
            from tqdm import tqdm

            # A terminal gets a moving bar, a log file a line every ten seconds.
            interval = 0.1 if sys.stderr.isatty() else 10
            self._bar = tqdm(total=total, initial=start, unit="step", mininterval=interval, dynamic_ncols=True, smoothing=0.1)

    @property
    def shows(self) -> bool:
        """Whether the next step will be shown. Most steps are not: a terminal is written to at most ten times a second."""
        return self._bar is not None and time.time() - self._bar.last_print_t >= self._bar.mininterval

    def step(self, **figures: str) -> None:
        if self._bar is not None:
            self._bar.set_postfix(figures, refresh=False)
            self._bar.update()

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        if self._bar is not None:
            self._bar.write(line)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def compiling(show: bool = True, stream: TextIO | None = None) -> Any:
    """A context in which one line names the operations that are compiled; without compilation it prints nothing.

    Numba compiles a kernel at its first use with a dtype, and keeps it on disk.
    """
    return _told(stream or sys.stderr) if show and backends.current("cpu") == "numba" else nullcontext()


@contextmanager
def _told(stream: TextIO) -> Iterator[None]:
    from numba.core import event

    class Listener(event.Listener):
        def __init__(self) -> None:
            self.said: list[str] = []

        def on_start(self, found: Any) -> None:
            words = found.data["dispatcher"].py_func.__module__.split(".")
            if words[0] != "minisegnet_kernels" or words[1] in self.said:
                return
            if not self.said:
                stream.write("compiling kernels for this CPU (once, then they are kept): ")
            stream.write(f"{', ' if self.said else ''}{words[1]}")
            stream.flush()
            self.said.append(words[1])

        def on_end(self, found: Any) -> None:
            pass

    listener, start = Listener(), time.perf_counter()
    event.register("numba:compile", listener)
    try:
        yield
    finally:
        event.unregister("numba:compile", listener)
        if listener.said:
            stream.write(f" … {time.perf_counter() - start:.0f} s\n")
            stream.flush()
