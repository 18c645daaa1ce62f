"""What a module learns."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor


class Parameter(Tensor):
    """A tensor that a module learns: an attribute of this type is found by `Module.parameters`.

    Parameters
    ----------
    data : Tensor, array or nested list
        An array is not copied. Python floats become float32.
    requires_grad : bool
    """

    def __init__(self, data: Any, requires_grad: bool = True):
        super().__init__(data, requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"
