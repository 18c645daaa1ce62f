"""What a module learns."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor, tensor


class Parameter(Tensor):
    """A tensor that a module learns: an attribute of this type is found by `Module.parameters`.

    Parameters
    ----------
    data : Tensor, array or nested list
        An array is not copied. Python floats become float32.
    requires_grad : bool
    """

    def __init__(self, data: Any, requires_grad: bool = True):
        data = data if hasattr(data, "dtype") else tensor(data)
        super().__init__(data.data if isinstance(data, Tensor) else data, requires_grad)

    def __deepcopy__(self, memo: dict) -> Parameter:
        # A copy is a new leaf: the old one's place in a graph must not come along.
        memo[id(self)] = copy = Parameter(self.data.copy(), self.requires_grad)
        return copy

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"
