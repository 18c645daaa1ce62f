"""The tensors of a module: what it learns, and what else belongs to its state."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor


class Parameter(Tensor):
    """A tensor that a module learns: `Module.parameters` finds the attributes of this type.

    Parameters
    ----------
    data : Tensor, array or nested list
        A tensor or an array is not copied. Python floats become float32.
    requires_grad : bool
    """

    def __init__(self, data: Any, requires_grad: bool = True):
        super().__init__(data, requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


class Buffer(Tensor):
    """A tensor that moves and is saved with a module and is not learnt, such as a running mean.

    Parameters
    ----------
    data : Tensor, array or nested list
        A tensor or an array is not copied. Python floats become float32.
    persistent : bool
        Whether it belongs to the ``state_dict``.
    """

    def __init__(self, data: Any, *, persistent: bool = True):
        super().__init__(data)
        self.persistent = persistent
