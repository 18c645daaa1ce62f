"""What holds for modules in this thread and task alone, so that reading a network never changes it for others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from .module import HOOKS_HERE, TRAINING_HERE, Module


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Inside, a network and all modules below it are in evaluation mode, in this thread and task only.

    The network is not changed: another thread may train it meanwhile. A call of ``train()`` inside ends with the block.
    """
    with TRAINING_HERE.here({**TRAINING_HERE.get(), **dict.fromkeys(model.modules(), False)}):
        yield


@contextmanager
def watching(modules: Iterable[Module], hook: Callable[[Module, tuple, Any], Any]) -> Iterator[None]:
    """Inside, ``hook(module, args, output)`` follows each `forward` of these modules, in this thread and task only.

    What the hook returns replaces the output, unless it is None. See `Module.register_forward_hook` for a hook that
    every thread runs.
    """
    hooks = dict(HOOKS_HERE.get())
    for module in modules:
        hooks[module] = (*hooks.get(module, ()), hook)
    with HOOKS_HERE.here(hooks):
        yield
