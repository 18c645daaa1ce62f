"""Changes in place: each is the twin of a pure function, ``x.add_(y)`` of ``add(x, y)``.

A twin computes what its pure function computes, and the tensor becomes the result (`Tensor._become`): its memory is
overwritten, or, where the change is recorded, it takes over values and history, so that gradients are those of the
pure function. `Tensor`'s ``x += y`` and ``x[key] = y`` are twins too. Names and arguments are PyTorch's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from ..tensor import OPERATIONS, Tensor, differentiable
from . import arithmetic as pure
from .shape import array_key, to


def in_place(name: str, function: Callable) -> Callable:
    """The twin ``name(tensor, ...)`` of ``function(tensor, ...)``; it returns the tensor that it has changed."""

    @wraps(function)
    def change(tensor: Tensor, *args: Any, **options: Any) -> Tensor:
        tensor._check_change(name)
        result = function(tensor, *args, **options)
        narrow = tensor.dtype.kind == result.dtype.kind == "f"  # float64 into float32; other kinds are refused or fit as they are
        return tensor._become(to(result, tensor.dtype) if narrow else result, name)

    change.__name__ = change.__qualname__ = name
    change.__doc__ = f"`{function.__name__}`, in place; returns the tensor itself."
    return change


def _add(a: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    return pure.add(a, other if alpha == 1 else pure.mul(other, alpha))


def _sub(a: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    return pure.sub(a, other if alpha == 1 else pure.mul(other, alpha))


@differentiable
def _copy(a, source):
    y = np.empty_like(a)
    y[...] = source
    return y, lambda g: (None, lambda: g)


def copy(a: Tensor, source: Any) -> Tensor:
    """The values of `source`, broadcast to the shape and converted to the dtype and device of `a`."""
    if np.ndim(source) > a.ndim or any(m not in (1, n) for m, n in zip(np.shape(source)[::-1], a.shape[::-1], strict=False)):
        raise ValueError(f"copy_: expected a shape that can be broadcast to {a.shape}, got {tuple(np.shape(source))}")
    return _copy(a, to(source, a.device) if isinstance(source, Tensor) else source)


def _fill(a: Tensor, value: float) -> Tensor:
    return _copy(a, value)


def _zero(a: Tensor) -> Tensor:
    return _copy(a, 0)


@differentiable
def _setitem(a, value, key):
    y = a.copy("K")
    y[key] = value

    def untouched(g):
        g = g.copy()
        g[key] = 0
        return g

    def stored(g):
        share = g[key]
        turns = np.arange(share.size).reshape(share.shape)
        last = np.zeros(g.shape, turns.dtype)
        last[key] = turns  # an element may be assigned several times: only one value has stayed
        share = np.where(last[key] == turns, share, 0)
        return share.reshape((1,) * (np.ndim(value) - share.ndim) + share.shape)

    return y, lambda g: (lambda: untouched(g), lambda: stored(g))


def setitem(a: Tensor, key: Any, value: Any) -> Tensor:
    """A copy of `a` in which ``a[key]`` is `value`."""
    return _setitem(a, value, array_key(key))


TWINS: dict[str, Callable] = {
    **{f"{f.__name__}_": f for f in (pure.mul, pure.div, pure.pow, pure.matmul, pure.neg, pure.exp, pure.log, pure.sqrt, pure.abs)},
    **{f"{f.__name__}_": f for f in (pure.sigmoid, pure.tanh, pure.clip)},
    "add_": _add,
    "sub_": _sub,
    "clamp_": pure.clip,
    "copy_": copy,
    "fill_": _fill,
    "zero_": _zero,
    "setitem_": setitem,
}

for _name, _function in TWINS.items():
    OPERATIONS[_name] = in_place(_name, _function)
    if _name not in ("setitem_", "matmul_"):  # operators only, as in PyTorch
        setattr(Tensor, _name, OPERATIONS[_name])
