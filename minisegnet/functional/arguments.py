"""Arguments that PyTorch accepts in several forms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

_NUMPYS = {"axis": "dim", "keepdims": "keepdim"}


def numpy_names(function: Callable) -> Callable:
    """Also accept NumPy's names, as PyTorch does: ``axis`` for ``dim``, ``keepdims`` for ``keepdim``."""

    @wraps(function)
    def apply(*args: Any, **options: Any) -> Any:
        for numpys in _NUMPYS.keys() & options.keys():
            if _NUMPYS[numpys] in options:
                raise TypeError(f"{function.__name__}: {numpys} and {_NUMPYS[numpys]} are the same argument; give one of them")
            options[_NUMPYS[numpys]] = options.pop(numpys)
        return function(*args, **options)

    return apply


def one_or_many(values: tuple) -> tuple:
    """``f(2, 3)`` and ``f((2, 3))`` mean the same."""
    return tuple(values[0]) if len(values) == 1 and isinstance(values[0], Sequence) else values


def axes(name: str, dim: Any, ndim: int) -> tuple[int, ...]:
    """The axes that `dim` names, counted from the front. `dim` is an int, a sequence of ints, or None for all axes; so is ``()``.

    Raises
    ------
    IndexError
        If an axis does not exist or is named twice.
    """
    dims = (dim,) if isinstance(dim, int) or hasattr(dim, "__index__") else tuple(dim or ())
    if not dims:
        return tuple(range(ndim))
    count = max(ndim, 1)  # a number may be reduced over axis 0
    for d in dims:
        if not -count <= d < count:
            raise IndexError(f"{name}: dim {d} does not exist; a tensor with {ndim} axes has -{count} ... {count - 1}")
    found = tuple(d % count for d in dims)
    if len(set(found)) < len(found):
        raise IndexError(f"{name}: an axis comes twice in dim = {dim}")
    return found if ndim else ()
