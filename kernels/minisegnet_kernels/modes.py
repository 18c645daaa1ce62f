"""Modes: settings that belong to a thread and to a task, not to the process.

Which program runs, whether TF32 is allowed, whether a graph is recorded: each of these is a `Mode`. A mode has a default
for the whole process, and it can have another value in a context (``contextvars``), so that one thread or asyncio
task may be inside ``with no_grad():`` while another records.

>>> level = Mode("level", 1)
>>> with level.here(2):
...     level.get()
2
>>> level.get()
1
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial, wraps
from typing import Any, Generic, TypeVar

T = TypeVar("T")
_UNSET: Any = object()  # stands for no value in this context, which then has the default of the process


class Mode(Generic[T]):
    """One setting: a default for the process, and a value in each context that has set one.

    Parameters
    ----------
    name : str
    default : object
    """

    def __init__(self, name: str, default: T):
        self.default = default
        self._here: ContextVar[Any] = ContextVar(name, default=_UNSET)

    def get(self) -> T:
        """The value of the current context, or the default."""
        value = self._here.get()
        return self.default if value is _UNSET else value

    def set(self, value: T) -> None:
        """Change the value for good: inside a `here` block for the context, elsewhere as the default of the process."""
        if self._here.get() is _UNSET:
            self.default = value
        else:
            self._here.set(value)

    def here(self, value: T) -> Here:
        """Set a value, in the current context only, for a ``with`` block or for every call of a decorated function."""
        return Here(self, value)


class Here:
    """What `Mode.here` returns: a context manager that can be entered repeatedly, and a decorator.

    As a decorator it works on functions, generators, coroutines and asynchronous generators. The value holds
    while their own code runs; while a generator waits for its caller, it does not.
    """

    def __init__(self, mode: Mode, value: Any):
        self.mode, self.value = mode, value
        self._before: list[Any] = []

    def __enter__(self) -> Here:
        self._before.append(self.mode._here.get())
        self.mode._here.set(self.value)
        return self

    def __exit__(self, *exc: object) -> None:
        self.mode._here.set(self._before.pop())

    def __call__(self, function: Callable) -> Callable:
        def fresh() -> Here:  # one for each call: two threads may be in the function at once
            return Here(self.mode, self.value)

        if inspect.isgeneratorfunction(function):

            @wraps(function)
            def generator(*args: Any, **options: Any) -> Any:
                inner = function(*args, **options)
                resume = partial(next, inner)
                while True:
                    try:
                        with fresh():
                            value = resume()
                    except StopIteration as stop:
                        return stop.value
                    try:
                        sent = yield value
                        resume = partial(inner.send, sent)
                    except GeneratorExit:
                        with fresh():
                            inner.close()
                        raise
                    except BaseException as error:
                        resume = partial(inner.throw, error)

            return generator

        if inspect.isasyncgenfunction(function):

            @wraps(function)
            async def asynchronous(*args: Any, **options: Any) -> Any:
                inner = function(*args, **options)
                resume = partial(inner.__anext__)
                while True:
                    try:
                        with fresh():
                            value = await resume()
                    except StopAsyncIteration:
                        return
                    try:
                        sent = yield value
                        resume = partial(inner.asend, sent)
                    except GeneratorExit:
                        with fresh():
                            await inner.aclose()
                        raise
                    except BaseException as error:
                        resume = partial(inner.athrow, error)

            return asynchronous

        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def coroutine(*args: Any, **options: Any) -> Any:
                with fresh():
                    return await function(*args, **options)

            return coroutine

        @wraps(function)
        def call(*args: Any, **options: Any) -> Any:
            with fresh():
                return function(*args, **options)

        return call


class Switch(Here):
    """Base of switches such as ``backends.use``: a bare call acts for good, a ``with`` block until its end.

    A bare call is `Mode.set`. In ``with use("numpy"):`` the call sets the value too; entering the block takes that back
    and sets the value of the current context only, so other threads keep theirs. For the few instructions in between,
    other threads see the new default; code that must avoid this uses `Mode.here`.
    """

    def __init__(self, mode: Mode, value: Any):
        super().__init__(mode, value)
        inside = mode._here.get() is not _UNSET
        earlier = mode.get()
        mode.set(value)
        self._undo: Callable[[], Any] | None = partial(mode._here.set, earlier) if inside else partial(setattr, mode, "default", earlier)

    def __enter__(self) -> Switch:
        if self._undo is not None:
            self._undo()
            self._undo = None
        super().__enter__()
        return self
