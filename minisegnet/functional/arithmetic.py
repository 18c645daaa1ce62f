"""Arithmetic on tensors: values and their pullbacks, and with them the operators of `Tensor`.

Each function is one of the array's own module (NumPy or CuPy), so none is an equation of the registry. Names and
arguments are PyTorch's. Where a pullback returns a gradient in the shape of a broadcast, the engine sums it back.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minisegnet_kernels.arrays import alike, elementwise

from ..tensor import OPERATIONS, Tensor, _array, differentiable

# --- dtypes -----------------------------------------------------------------------------------


def promoted(*operands):
    """Operands in the dtype of their result, by PyTorch's rules, so that float32 stays float32.

    A float wins over an integer, and an integer over a truth value. Among numbers of one kind, an array with axes
    wins over an array without axes and over a Python number. (NumPy would make float64 of int64 with float32.)
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
    """Integers as float32, for functions whose values are not integers."""
    return a if a.dtype.kind == "f" else a.astype(np.float32)


# --- element by element --------------------------------------------------------------------


def _is_array(operand):
    return hasattr(operand, "dtype")


@differentiable
@elementwise
def add(a, b, *, alpha=1):
    """``a + alpha · b``."""
    a, b = promoted(a, b)
    return a + (b if alpha == 1 else alpha * b), lambda g: (lambda: g, lambda: g if alpha == 1 else alpha * g)


@differentiable
@elementwise
def sub(a, b, *, alpha=1):
    """``a − alpha · b``."""
    a, b = promoted(a, b)
    return a - (b if alpha == 1 else alpha * b), lambda g: (lambda: g, lambda: -alpha * g)


@differentiable
@elementwise
def mul(a, b):
    a, b = promoted(a, b)
    if not _is_array(b):  # a number needs no gradient, so `a` need not be kept
        return a * b, lambda g: (lambda: g * b,)
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
    """``a ** b``. The gradient for a is 0 at b = 0, and the gradient for b is 0 at a = 0, where a^(b − 1) and ln a are infinite."""
    a, b = promoted(a, b)
    y = a**b
    if not _is_array(b):
        return y, (lambda g: (lambda: g * b * a ** (b - 1),)) if b != 0 else (lambda g: (lambda: np.zeros_like(g),))
    if not _is_array(a) and a != 0:
        return y, lambda g: (None, lambda: g * y * math.log(a) if a > 0 else g * math.nan)
    for_base = lambda g: g * b * a ** (b - 1 + (b == 0))
    for_power = lambda g: g * y * np.log(a + ((a == 0) & (b >= 0)))
    return y, lambda g: (lambda: for_base(g), lambda: for_power(g))


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
    """Limit values to at least `min` and at most `max`, which are numbers or tensors. Where min > max, the result is max.

    A tensor as bound gets the gradient of the elements that it limits.
    """
    if min is None and max is None:
        raise ValueError("clip: give min, max or both")
    a, min, max = promoted(a, min, max)
    y = a
    y = y if min is None else np.maximum(y, min)
    y = y if max is None else np.minimum(y, max)
    least, most = (-math.inf if min is None else min), (math.inf if max is None else max)

    def pullback(g):
        return (
            lambda: np.where((a >= least) & (a <= most), g, 0),
            lambda: np.where((a < least) & (least < most), g, 0),
            lambda: np.where((a > most) | (most < least), g, 0),
        )

    return y, pullback


@differentiable
@elementwise
def maximum(a, b):
    """The larger of two; at a tie each gets half of the gradient."""
    a, b = promoted(a, b)
    return np.maximum(a, b), lambda g: (lambda: g * ((a > b) + 0.5 * (a == b)), lambda: g * ((b > a) + 0.5 * (a == b)))


@differentiable
@elementwise
def minimum(a, b):
    """The smaller of two; at a tie each gets half of the gradient."""
    a, b = promoted(a, b)
    return np.minimum(a, b), lambda g: (lambda: g * ((a < b) + 0.5 * (a == b)), lambda: g * ((b < a) + 0.5 * (a == b)))


@differentiable
@elementwise
def where(condition, a, b):
    """``a`` where the condition holds, ``b`` elsewhere."""
    a, b = promoted(a, b)
    return np.where(condition, a, b), lambda g: (None, lambda: np.where(condition, g, 0), lambda: np.where(condition, 0, g))


@differentiable
@elementwise
def masked_fill(a, mask, value):
    """``a`` with `value` where the mask is True; the result has the dtype of `a`.

    Parameters
    ----------
    a : Tensor
    mask : Tensor of bool
        Broadcast against `a`.
    value : number, or Tensor without axes

    Raises
    ------
    ValueError
        If the dtype of the mask is not bool, or the value has axes.
    TypeError
        If `a` cannot hold the value: a fraction among integers, or a complex number.
    """
    if mask.dtype != bool or np.ndim(value):
        raise ValueError(f"masked_fill: expected a mask of bool and one value, got {mask.dtype} and a value of shape {np.shape(value)}")
    kind = getattr(value, "dtype", np.dtype(type(value))).kind
    if kind == "c" or (a.dtype.kind != "f" and kind == "f" and value != int(value)):
        raise TypeError(f"masked_fill: a tensor of {a.dtype} cannot hold {value}")
    y = np.where(mask, np.asarray(value, like=a).astype(a.dtype), a)
    return y, lambda g: (lambda: np.where(mask, 0, g), None, lambda: np.where(mask, g, 0))


@differentiable
@elementwise
def remainder(a, b):
    """``a − ⌊a / b⌋ · b``, with the sign of b (``%``)."""
    a, b = promoted(a, b)
    return a % b, lambda g: (lambda: g, lambda: -g * np.floor_divide(a, b))


# --- products of matrices, comparisons, operators -------------------------------------------


@differentiable
def matmul(a, b):
    """``a @ b``: products of matrices, in batches if there are more axes. A vector is a row on the left, a column on the right.

    Raises
    ------
    ValueError
        If the inner lengths differ, or an argument is a number.
    """
    a, b = promoted(a, b)
    if not a.ndim or not b.ndim or a.shape[-1] != b.shape[max(b.ndim - 2, 0)]:
        raise ValueError(f"matmul: expected (..., n, k) @ (..., k, m), (k,) @ (..., k, m) or (..., n, k) @ (k,), got {a.shape} @ {b.shape}")
    row, column = a.ndim == 1, b.ndim == 1
    left, right = a[None] if row else a, b[:, None] if column else b
    added = (-2,) * row + (-1,) * column  # the axes of the product that a vector does not have

    def fits(share, vector, axis):  # an operand that was a vector gets the sum over the batch, as a vector
        return share.sum(axis=(*range(share.ndim - 2), axis)) if vector else share

    def pullback(g):
        g = np.expand_dims(g, added) if added else g
        return lambda: fits(g @ right.swapaxes(-1, -2), row, -2), lambda: fits(left.swapaxes(-1, -2) @ g, column, -1)

    return (left @ right).squeeze(added) if added else left @ right, pullback


def _constant(name: str, function: Callable, kinds: str = "biuf") -> Callable:
    """A function of one or two tensors without a gradient; `kinds` are the kinds of numbers that it accepts."""

    def apply(*operands: Any) -> Tensor:
        arrays = promoted(*map(_array, operands))
        for a in arrays:
            if (kind := np.asarray(a).dtype.kind if not _is_array(a) else a.dtype.kind) not in kinds:
                expected = "integers or truth values" if "f" not in kinds else "numbers"
                raise TypeError(f"{name}: expected {expected}, got {'a number' if not _is_array(a) else a.dtype} of kind {kind!r}")
        return Tensor(alike(function, *arrays))

    apply.__name__ = apply.__qualname__ = name
    return apply


floor_divide = _constant("floor_divide", np.floor_divide)
bitwise_and = _constant("bitwise_and", np.bitwise_and, "biu")
bitwise_or = _constant("bitwise_or", np.bitwise_or, "biu")
bitwise_xor = _constant("bitwise_xor", np.bitwise_xor, "biu")
bitwise_not = _constant("bitwise_not", np.invert, "biu")

OPERATIONS.update(add=add, sub=sub, mul=mul, div=div, pow=pow, matmul=matmul, floor_divide=floor_divide, remainder=remainder)
OPERATIONS.update(bitwise_and=bitwise_and, bitwise_or=bitwise_or, bitwise_xor=bitwise_xor)
for _name, _ufunc in {
    "lt": np.less,
    "le": np.less_equal,
    "eq": np.equal,
    "ne": np.not_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}.items():
    setattr(Tensor, f"__{_name}__", _constant(_name, _ufunc))
for _function in (add, sub, mul, div, pow, neg, exp, log, sqrt, abs, sigmoid, tanh, clip, maximum, minimum, masked_fill, remainder, matmul):
    setattr(Tensor, _function.__name__, _function)
for _function in (floor_divide, bitwise_and, bitwise_or, bitwise_xor, bitwise_not):
    setattr(Tensor, _function.__name__, _function)
for _name, _function in {"__neg__": neg, "__abs__": abs, "__invert__": bitwise_not, "clamp": clip}.items():
    setattr(Tensor, _name, _function)
