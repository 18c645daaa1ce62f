"""Sums, means, extremes and norms over axes, and running sums.

In all of them ``dim`` is an axis, several axes, or None for all, and ``keepdim=True`` leaves the reduced axes with
length 1. Names, arguments and dtypes are PyTorch's; ``axis`` and ``keepdims`` are understood too.
"""

from __future__ import annotations

import builtins
import math
from typing import Any, NamedTuple

import numpy as np

from minisegnet_kernels.layout import full

from ..tensor import Tensor, differentiable
from .arguments import axes, numpy_names
from .arithmetic import floating, maximum, minimum


def _addable(a, dtype):
    """The operand of a sum, converted to `dtype` if that is given; otherwise integers and truth values become int64."""
    return a.astype(dtype, copy=False) if dtype is not None else a.astype(np.int64) if a.dtype.kind in "biu" else a


def _kept(shape, over):
    """The shape of a result whose reduced axes stay, with length 1."""
    return tuple(1 if axis in over else size for axis, size in enumerate(shape))


def _candidates(name, shape, over):
    """Refuse to choose the extreme of no elements."""
    if any(shape[axis] == 0 for axis in over):
        raise ValueError(f"{name}: a tensor of shape {shape} has no element along axes {over}, so none is the largest or smallest")


# --- sums ------------------------------------------------------------------------------------


@numpy_names
@differentiable
def sum(a, dim=None, keepdim=False, dtype=None):
    """Sum over axes. Integers add up to int64."""
    shape, over = a.shape, axes("sum", dim, a.ndim)
    whole = _addable(a, dtype)
    y = whole.sum(axis=over, keepdims=keepdim, dtype=whole.dtype)
    return y, lambda g: (lambda: np.broadcast_to(g.reshape(_kept(shape, over)), shape),)


@numpy_names
@differentiable
def mean(a, dim=None, keepdim=False, dtype=None):
    """Mean over axes. The mean of integers is a float32. The mean of no elements is NaN."""
    if dtype is not None and np.dtype(dtype).kind != "f":
        raise ValueError(f"mean: expected dtype = a floating-point one, got {dtype}")
    shape, over = a.shape, axes("mean", dim, a.ndim)
    count = math.prod(shape[axis] for axis in over)
    share = 1 / count if count else math.nan
    y = floating(_addable(a, dtype)).sum(axis=over, keepdims=keepdim) * share
    return y, lambda g: (lambda: np.broadcast_to((g * share).reshape(_kept(shape, over)), shape),)


@numpy_names
@differentiable
def cumsum(a, dim, dtype=None):
    """Sums of the elements up to each place of an axis."""
    (axis,) = axes("cumsum", dim, a.ndim) or (None,)
    whole = _addable(a, dtype)
    y = np.cumsum(whole, axis=axis, dtype=whole.dtype).reshape(a.shape)

    def grad(g):  # an element is in every later sum
        return np.flip(np.cumsum(np.flip(g, axis), axis=axis), axis) if g.ndim else g

    return y, lambda g: (lambda: grad(g),)


@numpy_names
@differentiable
def prod(a, dim=None, keepdim=False, dtype=None):
    """Product over one axis or all. Integers multiply in int64."""
    whole = _addable(a, dtype)
    shape = a.shape
    over = axes("prod", dim, a.ndim)
    y = whole.prod(axis=over if a.ndim else None, keepdims=keepdim, dtype=whole.dtype)

    def grad(g):
        """g times the product of the other elements: (all before) · (all after), because an element by which to divide may be 0."""
        rest = [axis for axis in range(len(shape)) if axis not in over]
        lines = whole.transpose(*rest, *over).reshape(math.prod(shape[axis] for axis in rest), -1)
        ones = np.ones_like(lines[:, :1])
        before = np.cumprod(np.concatenate([ones, lines[:, :-1]], axis=1), axis=1)
        behind = np.cumprod(np.concatenate([ones, lines[:, :0:-1]], axis=1), axis=1)[:, ::-1]
        others = (before * behind).reshape([shape[axis] for axis in (*rest, *over)]).transpose(np.argsort((*rest, *over)))
        return g.reshape(_kept(shape, over)) * others

    return y, lambda g: (lambda: grad(g) if math.prod(shape) else full(g, shape, 0),)


# --- spread and size ---------------------------------------------------------------------------


def _spread(a, over, correction):
    """Deviations from the mean, the number they are divided by, and the variance with axes kept."""
    count = math.prod(a.shape[axis] for axis in over)
    divisor = np.float64(builtins.max(count - correction, 0))  # NumPy's, which may divide by 0: the variance of one value is NaN
    deviations = a - a.mean(axis=over, keepdims=True) if count else a
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = ((deviations * deviations).sum(axis=over, keepdims=True) / divisor).astype(a.dtype)
    return deviations, divisor, variance


def _asked(dim, unbiased, correction):
    """The correction, 1 by default: ``var(unbiased=False)``, ``var(False)`` and ``var(correction=0)`` all mean 0."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if unbiased is not None and correction is not None:
        raise TypeError("var, std: unbiased and correction say the same; give one of them")
    return dim, (1 if unbiased is None else int(unbiased)) if correction is None else correction


@numpy_names
@differentiable
def var(a, dim=None, unbiased=None, keepdim=False, *, correction=None):
    """Variance over axes: Σ(a − mean)² / (count − correction).

    Parameters
    ----------
    a : Tensor
    dim : int or tuple of int, optional
    unbiased : bool, optional
        True is a correction of 1, False one of 0.
    keepdim : bool
    correction : int, optional
        1 if not given: the unbiased estimate from a sample.
    """
    dim, correction = _asked(dim, unbiased, correction)
    over = axes("var", dim, a.ndim)
    deviations, divisor, variance = _spread(a, over, correction)
    kept = variance.shape

    def grad(g):
        with np.errstate(divide="ignore", invalid="ignore"):
            return g.reshape(kept) * deviations * (2 / divisor)

    return variance if keepdim else variance.squeeze(over), lambda g: (lambda: grad(g),)


@numpy_names
@differentiable
def std(a, dim=None, unbiased=None, keepdim=False, *, correction=None):
    """Standard deviation over axes, the square root of `var`, whose arguments it takes. Where it is 0, the gradient is 0."""
    dim, correction = _asked(dim, unbiased, correction)
    over = axes("std", dim, a.ndim)
    deviations, divisor, variance = _spread(a, over, correction)
    y = np.sqrt(variance)

    def grad(g):
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(y == 0, 0, g.reshape(y.shape) / (y * divisor)) * deviations

    return y if keepdim else y.squeeze(over), lambda g: (lambda: grad(g),)


@numpy_names
@differentiable
def norm(a, p="fro", dim=None, keepdim=False, dtype=None):
    """(Σ |a|^p)^(1/p) over axes.

    Parameters
    ----------
    a : Tensor
    p : float, inf, -inf or "fro"
        "fro" is 2; 0 counts the elements that are not zero; inf and −inf are the largest and smallest absolute value.
    dim : int or tuple of int, optional
    keepdim : bool
    dtype : dtype, optional
        To convert to first.

    Raises
    ------
    ValueError
        If `p` has another value.
    """
    if not isinstance(p, int | float) and p not in ("fro", None):
        raise ValueError(f'norm: expected p = a number, inf, -inf or "fro", got {p!r}')
    if a.dtype.kind != "f":
        raise ValueError(f"norm: expected a floating-point tensor, got {a.dtype}")
    p = 2.0 if p in ("fro", None) else float(p)
    a = _addable(a, dtype)
    over = axes("norm", dim, a.ndim)
    y = _norm(np.abs(a), p, over)
    shape = y.shape
    shared = lambda g: g.reshape(shape)
    if p == 0:
        whole = a.shape
        grad = lambda g: full(g, whole, 0)
    elif p == 1:
        grad = lambda g: shared(g) * np.sign(a)
    elif math.isinf(p):
        grad = lambda g: shared(g) * np.sign(a) * (np.abs(a) == y) / (np.abs(a) == y).sum(axis=over, keepdims=True)
    else:
        grad = lambda g: _grad_norm(shared(g), a, y, p)
    return y if keepdim else y.squeeze(over), lambda g: (lambda: grad(g),)


def _norm(size, p, over):
    """The norm of absolute values, with axes kept."""
    total = lambda values: values.sum(axis=over, keepdims=True)
    if math.isinf(p):
        _candidates("norm", size.shape, over)
        return (size.max if p > 0 else size.min)(axis=over, keepdims=True)
    if p == 0:
        return total(size != 0).astype(size.dtype)
    return total(size) if p == 1 else np.sqrt(total(size * size)) if p == 2 else total(size**p) ** (1 / p)


def _grad_norm(g, a, y, p):
    """g · sign(a) · (|a| / y)^(p − 1), and 0 where the norm is 0, or where |a|^(p − 1) is infinite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        power = np.abs(a) ** (p - 1)
        return np.where(y == 0, 0, g / y ** (p - 1)) * np.sign(a) * (np.where(a == 0, 0, power) if p < 1 else power)


# --- extremes ----------------------------------------------------------------------------------


def _extreme(a, dim, keepdim, name):
    over = axes(f"a{name}", dim, a.ndim)
    _candidates(f"a{name}", a.shape, over)
    y = getattr(a, name)(axis=over, keepdims=True)

    def pullback(g):
        winners = a == y
        return (lambda: winners * (g.reshape(y.shape) / winners.sum(axis=over, keepdims=True)),)

    return y if keepdim else y.squeeze(over), pullback


@numpy_names
@differentiable
def amax(a, dim=None, keepdim=False):
    """The largest value over axes; equal ones share the gradient."""
    return _extreme(a, dim, keepdim, "max")


@numpy_names
@differentiable
def amin(a, dim=None, keepdim=False):
    """The smallest value over axes; equal ones share the gradient."""
    return _extreme(a, dim, keepdim, "min")


class Extremes(NamedTuple):
    """What ``x.max(dim)`` and ``x.min(dim)`` return."""

    values: Tensor
    indices: Tensor


@differentiable
def _along(a, dim, keepdim, name):
    (axis,) = axes(name, dim, a.ndim) or (None,)
    if axis is None:  # a number: its own extreme, at place 0
        return (a.copy(), np.zeros_like(a, dtype=np.int64)), lambda g: (lambda: g,)
    shape = a.shape
    _candidates(name, shape, (axis,))
    winner = np.expand_dims(getattr(a, f"arg{name}")(axis=axis), axis)
    y = np.take_along_axis(a, winner, axis=axis)

    def grad(g):
        back = full(g, shape, 0)
        np.put_along_axis(back, winner, g.reshape(winner.shape), axis=axis)
        return back

    return (y, winner) if keepdim else (y.squeeze(axis), winner.squeeze(axis)), lambda g: (lambda: grad(g),)


@numpy_names
def max(a: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """The largest value.

    Parameters
    ----------
    a : Tensor
    dim : int or Tensor, optional
        An axis: the result is ``(values, indices)`` along it; the first of equal values wins and gets the gradient.
        A tensor: the result is ``maximum(a, dim)``.
        None: the result is the largest value of all; equal ones share the gradient.
    keepdim : bool

    Returns
    -------
    Tensor, or (values, indices)
    """
    if isinstance(dim, Tensor):
        return maximum(a, dim)
    return amax(a, keepdim=keepdim) if dim is None else Extremes(*_along(a, dim, keepdim, "max"))


@numpy_names
def min(a: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """The smallest value; arguments and results as `max`."""
    if isinstance(dim, Tensor):
        return minimum(a, dim)
    return amin(a, keepdim=keepdim) if dim is None else Extremes(*_along(a, dim, keepdim, "min"))


@differentiable
def _place(a, dim, keepdim, name):
    over = axes(f"arg{name}", dim, a.ndim)
    _candidates(f"arg{name}", a.shape, over)
    if dim is not None and a.ndim:
        (dim,) = over
    found = getattr(a, f"arg{name}")(axis=dim if a.ndim else None)
    shape = (1,) * a.ndim if dim is None else tuple(1 if axis == dim else size for axis, size in enumerate(a.shape))
    return np.asarray(found, like=a).reshape(shape) if keepdim else found, lambda g: ()


@numpy_names
def argmax(a: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Index of the largest value along an axis, or in the flattened tensor; the first of equal ones. Not differentiable."""
    return _place(a, dim, keepdim, "max")


@numpy_names
def argmin(a: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Index of the smallest value along an axis, or in the flattened tensor; the first of equal ones. Not differentiable."""
    return _place(a, dim, keepdim, "min")


for _function in (sum, mean, cumsum, prod, var, std, norm, amax, amin, max, min, argmax, argmin):
    setattr(Tensor, _function.__name__, _function)
