"""Arguments that PyTorch accepts in several forms."""

from __future__ import annotations

import math
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


def tensor_first(function: Callable, module: str) -> Callable:
    """The function, as a name of `module`, that refuses a first argument which is neither a tensor nor an array."""

    @wraps(function)
    def apply(*args: Any, **options: Any) -> Any:
        if args and not hasattr(args[0], "dtype"):
            raise TypeError(f"{function.__name__}: expected a tensor or an array, got {type(args[0]).__name__}; write ms.tensor(...)")
        return function(*args, **options)

    apply.__module__ = module  # where pickle looks for it
    return apply


def image_or_batch(function: Callable) -> Callable:
    """Also accept one image, (C, H, W), as PyTorch does: it is a batch of one, and the results lose the batch axis again."""

    @wraps(function)
    def apply(input: Any, *args: Any, **options: Any) -> Any:
        if getattr(input, "ndim", 4) != 3:
            return function(input, *args, **options)
        results = function(input[None], *args, **options)
        return tuple(result[0] for result in results) if isinstance(results, tuple) else results[0]

    return apply


def any_places(function: Callable) -> Callable:
    """Also accept (N, C) and (N, C, d1, ..., dk) where all places of a channel count alike: they become one column of pixels."""

    @wraps(function)
    def apply(input: Any, *args: Any, **options: Any) -> Any:
        shape = getattr(input, "shape", ())
        if len(shape) < 2 or len(shape) == 4:
            return function(input, *args, **options)
        return function(input.reshape((*shape[:2], math.prod(shape[2:]), 1)), *args, **options).reshape(shape)

    return apply


def one_or_many(values: tuple) -> tuple:
    """``f(2, 3)`` and ``f((2, 3))`` mean the same."""
    return tuple(values[0]) if len(values) == 1 and isinstance(values[0], Sequence) else values


def axes(name: str, dim: Any, ndim: int) -> tuple[int, ...]:
    """The axes that `dim` names, counted from the front. `dim` is an int, a sequence of ints, or None for all axes; so is ``()``.

    Raises
    ------
    IndexError
        If an axis does not exist.
    ValueError
        If an axis is named twice.
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
        raise ValueError(f"{name}: an axis comes twice in dim = {dim}")
    return found if ndim else ()
