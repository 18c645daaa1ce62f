"""Changes in place: each is the twin of a pure function, ``x.add_(y)`` of ``add(x, y)``.

A twin computes what its pure function computes, and the tensor becomes the result: its memory is overwritten, or,
where the change is recorded, it takes over values and history, so that its gradients are those of the pure function.
The operators ``x += y`` and ``x[key] = y`` are twins too. Names and arguments are PyTorch's.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from ..tensor import OPERATIONS, Tensor, differentiable, is_grad_enabled
from ..values import Memory, rank_of
from . import arithmetic as pure
from .shape import array_key, to


def in_place(name: str, function: Callable) -> Callable:
    """The twin ``name(tensor, ...)`` of ``function(tensor, ...)``; it returns the tensor that it has changed."""

    @wraps(function)
    def change(tensor: Tensor, *args: Any, **options: Any) -> Tensor:
        if tensor.is_leaf and tensor.requires_grad and is_grad_enabled():
            raise RuntimeError(
                f"{name}: a leaf that requires a gradient is changed in place, and its gradient would be for other values; "
                "write inside ms.no_grad(), change x.data, or compute a new tensor"
            )
        result = function(tensor, *args, **options)
        narrow = tensor.dtype.kind == result.dtype.kind == "f"  # float64 into float32; other kinds are refused or fit as they are
        return _become(tensor, to(result, tensor.dtype) if narrow else result, name)

    change.__name__ = change.__qualname__ = name
    change.__doc__ = f"`{function.__name__}`, in place; returns the tensor itself."
    return change


def _become(tensor: Tensor, result: Tensor, name: str) -> Tensor:
    """Give a tensor the values of a result that was computed from it; if that was recorded, the history too.

    A recorded result brings memory of its own: the old values live on in the pullbacks that need them. Otherwise the
    tensor's memory is overwritten and the change counted.

    Raises
    ------
    TypeError, ValueError
        If the result has another shape, or a kind of numbers that the tensor cannot hold.
    RuntimeError
        If the change would make a history wrong: the result was recorded and other tensors share the memory, or the result
        has no gradient.
    """
    if result.shape != tensor.shape:
        raise ValueError(f"{name}: the result has shape {result.shape}, and the tensor that is changed has {tensor.shape}")
    if rank_of(result.dtype) > rank_of(tensor.dtype):
        raise TypeError(f"{name}: a result of {result.dtype} cannot be stored in a tensor of {tensor.dtype}; write x = x.to(...) first")
    if not result.requires_grad:
        if tensor.requires_grad and is_grad_enabled():
            raise RuntimeError(
                f"{name}: it has no gradient, and this tensor's history would not fit its new values; use x.detach().clone()"
            )
        tensor.array[...] = result.array
        tensor._memory.changes += 1
        return tensor
    if tensor._memory.is_shared():
        raise RuntimeError(
            f"{name}: this tensor shares its memory with others (views, .detach(), .data), whose histories a recorded change would "
            "make wrong; compute a new tensor (x = x + y instead of x += y), or work on x.clone()"
        )
    assert result._node is not None
    tensor.array, tensor._memory, tensor._node = result.array, Memory(), result._node
    tensor._node.owner, tensor._requires_grad = weakref.ref(tensor), True
    return tensor


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
        g = g.copy("K")
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
    **{f"{f.__name__}_": f for f in (pure.add, pure.sub, pure.sigmoid, pure.tanh, pure.clip, pure.masked_fill, pure.remainder)},
    **{f"{f.__name__}_": f for f in (pure.floor_divide, pure.bitwise_and, pure.bitwise_or, pure.bitwise_xor)},
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
