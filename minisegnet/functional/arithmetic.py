"""Arithmetic on tensors, as a table of values and pullbacks, and with it the operators of `Tensor`.

These are no equations of the registry: each is one function of the array's own module
(NumPy or CuPy). Names and arguments are PyTorch's. Where a pullback returns a gradient in
the shape of a broadcast, the engine sums it back.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minisegnet_kernels.arrays import elementwise

from ..tensor import OPERATIONS, Tensor, differentiable

# --- dtypes -----------------------------------------------------------------------------------


def promoted(*operands):
    """Operands in the dtype of their result, by PyTorch's rules, so that float32 stays float32.

    Floats decide over integers and these over truth values; then arrays with axes over those without
    and over Python's numbers. (NumPy would make float64 of int64 with float32.)
    """
    arrays = [v for v in operands if hasattr(v, "dtype")]
    if len({v.dtype for v in arrays}) == 1 and arrays[0].dtype.kind == "f":
        return operands
    floats, integers = ([v for v in arrays if v.dtype.kind in kinds] for kinds in ("f", "iu"))
    if not floats and any(isinstance(v, float) for v in operands):
        dtype = np.dtype(np.float32)
    elif deciding := floats or integers:
        dtype = np.result_type(*{v.dtype for v in [v for v in deciding if v.ndim] or deciding})
    else:
        return operands
    return tuple(v.astype(dtype, copy=False) if hasattr(v, "dtype") else v for v in operands)


def floating(a):
    """Integers as float32, for functions whose values are no integers."""
    return a if a.dtype.kind == "f" else a.astype(np.float32)


# --- element by element --------------------------------------------------------------------


@differentiable
@elementwise
def add(a, b):
    a, b = promoted(a, b)
    return a + b, lambda g: (lambda: g, lambda: g)


@differentiable
@elementwise
def sub(a, b):
    a, b = promoted(a, b)
    return a - b, lambda g: (lambda: g, lambda: -g)


@differentiable
@elementwise
def mul(a, b):
    a, b = promoted(a, b)
    return a * b, lambda g: (lambda: g * b, lambda: g * a)


@differentiable
@elementwise
def div(a, b):
    a, b = promoted(a, b)
    y = a / b
    if not any(getattr(v, "dtype", np.dtype(int)).kind == "f" for v in (a, b)):
        y = y.astype(np.float32)  # integers divide to the default dtype, as in PyTorch
    return y, lambda g: (lambda: g / b, lambda: -g * y / b)


@differentiable
@elementwise
def pow(a, b):
    a, b = promoted(a, b)
    y = a**b
    # At b = 0, and at a = 0, the gradient is 0, although a^(b − 1) or ln a is infinite there.
    return y, lambda g: (lambda: g * b * a ** (b - 1 + (b == 0)), lambda: g * y * np.log(a + ((a == 0) & (b >= 0))))


@differentiable
@elementwise
def neg(a):
    return -a, lambda g: (lambda: -g,)


@differentiable
@elementwise
def exp(a):
    a = floating(a)
    y = np.exp(a)
    return y, lambda g: (lambda: g * y,)


@differentiable
@elementwise
def log(a):
    a = floating(a)
    return np.log(a), lambda g: (lambda: g / a,)


@differentiable
@elementwise
def sqrt(a):
    a = floating(a)
    y = np.sqrt(a)
    return y, lambda g: (lambda: g / (2 * y),)


@differentiable
@elementwise
def abs(a):
    return np.abs(a), lambda g: (lambda: g * np.sign(a),)


@differentiable
@elementwise
def sigmoid(a):
    a = floating(a)
    y = (np.tanh(a / 2) + 1) / 2  # no overflow for large negative a
    return y, lambda g: (lambda: g * y * (1 - y),)


@differentiable
@elementwise
def tanh(a):
    a = floating(a)
    y = np.tanh(a)
    return y, lambda g: (lambda: g * (1 - y * y),)


@differentiable
@elementwise
def clip(a, min=None, max=None):
    a, min, max = promoted(a, min, max)

    def inside():
        return (True if min is None else a >= min) & (True if max is None else a <= max)

    return np.clip(a, min, max), lambda g: (lambda: g * inside(),)


@differentiable
@elementwise
def maximum(a, b):
    """The larger of two; at a tie each gets half of the gradient."""
    a, b = promoted(a, b)
    return np.maximum(a, b), lambda g: (lambda: g * ((a > b) + 0.5 * (a == b)), lambda: g * ((b > a) + 0.5 * (a == b)))


@differentiable
@elementwise
def where(condition, a, b):
    """``a`` where the condition holds, ``b`` elsewhere."""
    a, b = promoted(a, b)
    return np.where(condition, a, b), lambda g: (None, lambda: np.where(condition, g, 0), lambda: np.where(condition, 0, g))


# --- sums over axes ------------------------------------------------------------------------


def _axes(dim):
    """NumPy wants several axes as a tuple; PyTorch takes a list too."""
    return tuple(dim) if isinstance(dim, list) else dim


def _back_over(g, shape, dim):
    """A gradient of a reduction, with the reduced axes put back as 1."""
    axes = range(len(shape)) if dim is None else [d % len(shape) for d in ([dim] if np.isscalar(dim) else dim)]
    return g.reshape([1 if a in axes else size for a, size in enumerate(shape)])


@differentiable
def sum(a, dim=None, keepdim=False):
    dim = _axes(dim)
    y = a.sum(axis=dim, keepdims=keepdim)
    return y, lambda g: (lambda: np.broadcast_to(_back_over(g, a.shape, dim), a.shape),)


@differentiable
def mean(a, dim=None, keepdim=False):
    dim = _axes(dim)
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
    dim = _axes(dim)
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
    return Tensor(a.array.argmax(axis=dim))


@differentiable
def matmul(a, b):
    a, b = promoted(a, b)
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
        raise ValueError(f"matmul: expected (..., n, k) @ (..., k, m), got {a.shape} @ {b.shape}")
    return a @ b, lambda g: (lambda: g @ b.swapaxes(-1, -2), lambda: a.swapaxes(-1, -2) @ g)


def _compare(name: str) -> Any:
    def compare(a: Tensor, b: Any) -> Tensor:
        return Tensor(getattr(a.array, name)(b.array if isinstance(b, Tensor) else b))

    return compare


OPERATIONS.update(add=add, sub=sub, mul=mul, div=div, pow=pow, matmul=matmul)
for _name in ("__lt__", "__le__", "__eq__", "__ne__", "__gt__", "__ge__"):
    setattr(Tensor, _name, _compare(_name))
for _function in (exp, log, sqrt, abs, sigmoid, tanh, clip, sum, mean, max, amax, argmax):
    setattr(Tensor, _function.__name__, _function)
for _name, _function in {"__neg__": neg, "__abs__": abs, "clamp": clip}.items():
    setattr(Tensor, _name, _function)
