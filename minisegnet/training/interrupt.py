"""Ctrl-C and SIGTERM stop a training between two steps."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: Both stop a run in the same way. A scheduler of batch jobs sends SIGTERM some time before it kills.
_SIGNALS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class Request:
    """Whether the run was asked to stop, and by which signal."""

    made = False
    signal = signal.SIGINT


@contextmanager
def stop_between_steps() -> Iterator[Request]:
    """Inside the block, the first Ctrl-C or SIGTERM only makes a request; a second one acts at once.

    A step that is interrupted halfway has updated some weights and not others. Such a state must not be saved, because a
    run could not be resumed from it exactly.
    """
    request = Request()
    if threading.current_thread() is not threading.main_thread():  # signals arrive in the main thread only
        yield request
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    at_once: dict[signal.Signals, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}

    def ask(number: int, frame: object) -> None:
        request.made, request.signal = True, signal.Signals(number)
        for each, handler in at_once.items():
            signal.signal(each, handler)
        print(f"\n{_SIGNALS[request.signal]}: stopping after this step (a second signal stops at once)", file=sys.stderr, flush=True)

    for number in _SIGNALS:
        signal.signal(number, ask)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else at_once[number])
