"""The handle of a hook: one kind, for the gradients of tensors and for the outputs of modules."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

_serials = count()


class RemovableHandle:
    """What ``register_hook`` and ``register_forward_hook`` return; as in ``torch.utils.hooks``.

    >>> hooks: dict = {}
    >>> with RemovableHandle(hooks, print):
    ...     len(hooks)
    1
    >>> len(hooks)
    0
    """

    def __init__(self, hooks: dict[int, Callable], hook: Callable):
        self._hooks, self._key = hooks, next(_serials)
        hooks[self._key] = hook

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        self._hooks.pop(self._key, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()
