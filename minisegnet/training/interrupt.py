"""Ctrl-C that waits for the end of a step."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Request:
    """Whether somebody has asked to stop."""

    made = False


@contextmanager
def stop_between_steps() -> Iterator[Request]:
    """Inside, Ctrl-C only makes a request; a second one interrupts at once.

    A step that is interrupted half way leaves some weights updated and others not: such a state
    must not be saved, and a run cannot go on from it exactly.
    """
    request = Request()
    if threading.current_thread() is not threading.main_thread():  # signals arrive in the main thread only
        yield request
        return
    before = signal.getsignal(signal.SIGINT)

    def ask(number: int, frame: object) -> None:
        request.made = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        print("\nCtrl-C: stopping after this step (press again to stop at once)", file=sys.stderr, flush=True)

    signal.signal(signal.SIGINT, ask)
    try:
        yield request
    finally:
        signal.signal(signal.SIGINT, before if before is not None else signal.default_int_handler)
