"""Ctrl-C stops a training between two steps."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Request:
    """Whether the user has asked to stop."""

    made = False


@contextmanager
def stop_between_steps() -> Iterator[Request]:
    """Inside the block, the first Ctrl-C only makes a request; the second one interrupts at once.

    A step that is interrupted halfway has updated some weights and not others. Such a state must not be saved, because a
    run could not be resumed from it exactly.
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
