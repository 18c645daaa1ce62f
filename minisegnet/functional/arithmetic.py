"""Arithmetic on tensors, as a table of values and pullbacks; the operators of `Tensor`.

These are no equations of the registry: each is one function of the array's own module
(NumPy or CuPy). Names and arguments are PyTorch's. Where a pullback returns a gradient in
the shape of a broadcast, the engine sums it back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..tensor import Tensor, differentiable

# --- element by element --------------------------------------------------------------------


@differentiable
def add(a, b):
    return a + b, lambda g: (lambda: g, lambda: g)


@differentiable
def sub(a, b):
    return a - b, lambda g: (lambda: g, lambda: -g)


@differentiable
def mul(a, b):
    return a * b, lambda g: (lambda: g * b, lambda: g * a)


@differentiable
def div(a, b):
    y = a / b
    if not any(getattr(v, "dtype", np.dtype(int)).kind == "f" for v in (a, b)):
        y = y.astype(np.float32)  # integers divide to the default dtype, as in PyTorch
    return y, lambda g: (lambda: g / b, lambda: -g * y / b)


@differentiable
def pow(a, b):
    y = a**b
    return y, lambda g: (lambda: g * b * a ** (b - 1), lambda: g * y * np.log(a))


@differentiable
def neg(a):
    return -a, lambda g: (lambda: -g,)


@differentiable
def exp(a):
    y = np.exp(a)
    return y, lambda g: (lambda: g * y,)


@differentiable
def log(a):
    return np.log(a), lambda g: (lambda: g / a,)


@differentiable
def sqrt(a):
    y = np.sqrt(a)
    return y, lambda g: (lambda: g / (2 * y),)


@differentiable
def abs(a):
    return np.abs(a), lambda g: (lambda: g * np.sign(a),)


@differentiable
def sigmoid(a):
    y = (np.tanh(a / 2) + 1) / 2  # no overflow for large negative a
    return y, lambda g: (lambda: g * y * (1 - y),)


@differentiable
def tanh(a):
    y = np.tanh(a)
    return y, lambda g: (lambda: g * (1 - y * y),)


@differentiable
def clip(a, min=None, max=None):
    def inside():
        return (True if min is None else a >= min) & (True if max is None else a <= max)

    return np.clip(a, min, max), lambda g: (lambda: g * inside(),)


@differentiable
def maximum(a, b):
    """The larger of two; at a tie each gets half of the gradient."""
    return np.maximum(a, b), lambda g: (lambda: g * ((a > b) + 0.5 * (a == b)), lambda: g * ((b > a) + 0.5 * (a == b)))


@differentiable
def where(condition, a, b):
    """``a`` where the condition holds, ``b`` elsewhere."""
    return np.where(condition, a, b), lambda g: (None, lambda: np.where(condition, g, 0), lambda: np.where(condition, 0, g))


# --- sums over axes ------------------------------------------------------------------------


def _back_over(g, shape, dim):
    """A gradient of a reduction, with the reduced axes put back as 1."""
    axes = range(len(shape)) if dim is None else [d % len(shape) for d in ([dim] if np.isscalar(dim) else dim)]
    return g.reshape([1 if a in axes else size for a, size in enumerate(shape)])


@differentiable
def sum(a, dim=None, keepdim=False):
    y = a.sum(axis=dim, keepdims=keepdim)
    return y, lambda g: (lambda: np.broadcast_to(_back_over(g, a.shape, dim), a.shape),)


@differentiable
def mean(a, dim=None, keepdim=False):
    y = a.mean(axis=dim, keepdims=keepdim, dtype=a.dtype if a.dtype.kind == "f" else np.float32)
    share = y.size / a.size if a.size else 0.0
    return y, lambda g: (lambda: np.broadcast_to(_back_over(g * share, a.shape, dim), a.shape),)


class MaxResult(NamedTuple):
    """What ``x.max(dim)`` returns."""

    values: Tensor
    indices: Tensor


@differentiable
def amax(a, dim=None, keepdim=False):
    """The largest value over all axes or some; equal ones share the gradient."""
    y = a.max(axis=dim, keepdims=keepdim)

    def pullback(g):
        winners = a == _back_over(y, a.shape, dim)
        return (lambda: winners * (_back_over(g, a.shape, dim) / winners.sum(axis=dim, keepdims=True)),)

    return y, pullback


@differentiable
def _max_along(a, dim, keepdim):
    winner = np.expand_dims(a.argmax(axis=dim), dim)
    y = np.take_along_axis(a, winner, axis=dim)

    def grad(g):
        back = np.zeros_like(a)
        np.put_along_axis(back, winner, g.reshape(y.shape), axis=dim)
        return back

    outputs = (y, winner) if keepdim else (y.squeeze(dim), winner.squeeze(dim))
    return outputs, lambda g: (lambda: grad(g),)


def max(a: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The largest value, or ``(values, indices)`` along one axis, as in PyTorch."""
    return amax(a) if dim is None else MaxResult(*_max_along(a, dim, keepdim))


def argmax(a: Tensor, dim: int | None = None) -> Tensor:
    """Index of the largest value; the first on ties. Not differentiable."""
    return Tensor(a.data.argmax(axis=dim))


@differentiable
def matmul(a, b):
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
        raise ValueError(f"matmul: expected (..., n, k) @ (..., k, m), got {a.shape} @ {b.shape}")
    return a @ b, lambda g: (lambda: g @ b.swapaxes(-1, -2), lambda: a.swapaxes(-1, -2) @ g)


# --- shape ---------------------------------------------------------------------------------


@differentiable
def _reshape(a, shape):
    return a.reshape(shape), lambda g: (lambda: g.reshape(a.shape),)


def _one_or_many(values: tuple) -> tuple:
    """``f(2, 3)`` and ``f((2, 3))`` mean the same."""
    return tuple(values[0]) if len(values) == 1 and isinstance(values[0], Sequence) else values


def reshape(a: Tensor, *shape: Any) -> Tensor:
    return _reshape(a, _one_or_many(shape))


@differentiable
def _permute(a, dims):
    return a.transpose(dims), lambda g: (lambda: g.transpose(np.argsort(dims)),)


def permute(a: Tensor, *dims: Any) -> Tensor:
    return _permute(a, _one_or_many(dims))


def transpose(a: Tensor, dim0: int, dim1: int) -> Tensor:
    dims = list(range(a.ndim))
    dims[dim0], dims[dim1] = dims[dim1], dims[dim0]
    return _permute(a, dims)


def flatten(a: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    end = end_dim % a.ndim + 1
    return _reshape(a, (*a.shape[:start_dim], -1, *a.shape[end:]))


def squeeze(a: Tensor, dim: int) -> Tensor:
    """Without axis `dim`, if its length is 1."""
    return _reshape(a, a.shape[: dim % a.ndim] + a.shape[dim % a.ndim + 1 :]) if a.shape[dim] == 1 else a


def unsqueeze(a: Tensor, dim: int) -> Tensor:
    return _reshape(a, np.expand_dims(a.data, dim).shape)


@differentiable
def index(a, key):
    basic = all(isinstance(k, (int, slice, type(None), type(Ellipsis))) for k in (key if isinstance(key, tuple) else (key,)))

    def grad(g):
        back = np.zeros_like(a)
        if basic:
            back[key] = g
        else:  # an element may be taken several times
            np.add.at(back, key, g)
        return back

    return a[key], lambda g: (lambda: grad(g),)


def _getitem(a: Tensor, key: Any) -> Tensor:
    plain = (
        tuple(k.data if isinstance(k, Tensor) else k for k in key)
        if isinstance(key, tuple)
        else key.data
        if isinstance(key, Tensor)
        else key
    )
    return index(a, plain)


def _setitem(a: Tensor, key: Any, value: Any) -> None:
    if a.requires_grad:
        raise TypeError(
            "a tensor with a history cannot be assigned to: build a new one (ms.functional.where, cat, pad), or write under x.detach()"
        )
    a.data[key] = value.data if isinstance(value, Tensor) else value
    a._version += 1


@differentiable
def _cat(*arrays, dim):
    edges = np.cumsum([0, *(a.shape[dim] for a in arrays)])
    along = lambda k: (slice(None),) * (dim % arrays[0].ndim) + (slice(edges[k], edges[k + 1]),)
    return np.concatenate(arrays, axis=dim), lambda g: tuple(lambda k=k: g[along(k)] for k in range(len(arrays)))


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors one after another along an axis; all other sizes must be equal."""
    shapes = [t.shape for t in tensors]
    others = {s[: dim % len(s)] + s[dim % len(s) + 1 :] for s in shapes}
    if len(others) != 1:
        raise ValueError(f"cat: all sizes but that of axis {dim} must be equal, got {', '.join(map(str, shapes)) or 'no tensor'}")
    return _cat(*tensors, dim=dim)


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape along a new axis."""
    return cat([unsqueeze(t, dim) for t in tensors], dim)


@differentiable
def _to(a, dtype, device):
    y = a
    if device is not None and device != _device(a):
        y = _move(a, device)
    if dtype is not None:
        y = y.astype(dtype, copy=False)
    return y, lambda g: (lambda: _move(g, _device(a)),)


def _device(a: Any) -> str:
    return "cuda" if hasattr(a, "__cuda_array_interface__") else "cpu"


def _move(a: Any, device: str) -> Any:
    if device == _device(a):
        return a
    if device == "cpu":
        return a.get()
    if device != "cuda":
        raise ValueError(f'no device {device!r}: expected "cpu" or "cuda"')
    try:
        import cupy
    except ImportError as error:
        from minisegnet_kernels.backends import BackendError

        raise BackendError('device "cuda" needs CuPy: pip install "minisegnet[cuda12]"') from error
    return cupy.asarray(a)


def to(a: Tensor, target: Any = None, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """Another dtype or device: ``x.to("cuda")``, ``x.to("float64")``, ``x.to(np.float32)``. Differentiable."""
    if isinstance(target, str) and target.partition(":")[0] in ("cpu", "cuda"):
        device = target.partition(":")[0]
    elif target is not None:
        dtype = target
    if (dtype is None or np.dtype(dtype) == a.dtype) and (device is None or device == a.device):
        return a
    return _to(a, dtype, device)


def _compare(name: str) -> Any:
    def compare(a: Tensor, b: Any) -> Tensor:
        return Tensor(getattr(a.data, name)(b.data if isinstance(b, Tensor) else b))

    return compare


def _swapped(function: Any) -> Any:
    return lambda a, b: function(b, a)


_METHODS = {
    **{
        f"__{name}__": function
        for name, function in {"add": add, "sub": sub, "mul": mul, "truediv": div, "pow": pow, "matmul": matmul}.items()
    },
    **{
        f"__r{name}__": _swapped(f)
        for name, f in {"add": add, "sub": sub, "mul": mul, "truediv": div, "pow": pow, "matmul": matmul}.items()
    },
    **{name: _compare(name) for name in ("__lt__", "__le__", "__eq__", "__ne__", "__gt__", "__ge__")},
    "__neg__": neg,
    "__abs__": abs,
    "__getitem__": _getitem,
    "__setitem__": _setitem,
    **{f.__name__: f for f in (exp, log, sqrt, abs, sigmoid, tanh, clip, sum, mean, max, amax, argmax)},
    **{f.__name__: f for f in (reshape, permute, transpose, flatten, squeeze, unsqueeze, to)},
    "view": reshape,
    "clamp": clip,
    "cpu": lambda a: to(a, "cpu"),
    "cuda": lambda a: to(a, "cuda"),
    "float": lambda a: to(a, np.float32),
    "double": lambda a: to(a, np.float64),
    "T": property(lambda a: _permute(a, tuple(range(a.ndim))[::-1])),
}
for _name, _method in _METHODS.items():
    setattr(Tensor, _name, _method)
