"""Activations: equations ``activation.*``, and softmax."""

from __future__ import annotations

import numpy as np

from minisegnet_kernels import activation as kernels

from ..tensor import Tensor, differentiable
from .arguments import axes
from .arithmetic import floating


@differentiable
def relu(input):
    """``max(0, x)`` (equation ``activation.relu``)."""
    y = kernels.relu(input)
    return y, lambda g: (lambda: kernels.grad_relu(g, y),)


@differentiable
def leaky_relu(input, negative_slope=0.01):
    """``x`` where it is positive, ``negative_slope · x`` elsewhere (equation ``activation.leaky_relu``)."""
    y = kernels.leaky_relu(input, slope=negative_slope)
    return y, lambda g: (lambda: kernels.grad_leaky_relu(g, input, slope=negative_slope),)


@differentiable
def softmax(input, dim, dtype=None):
    """``exp(x) / Σ exp(x)`` along an axis: positive numbers that sum to 1. If `dtype` is given, it is computed in it."""
    input, axis = _operands("softmax", input, dim, dtype)
    e = np.exp(input - _largest(input, axis))
    y = e / e.sum(axis=axis, keepdims=True)
    return y, lambda g: (lambda: y * (g - (g * y).sum(axis=axis, keepdims=True)),)


@differentiable
def log_softmax(input, dim, dtype=None):
    """``log(softmax(x))``, computed in one step, which does not lose precision as the two steps do; arguments as `softmax`."""
    input, axis = _operands("log_softmax", input, dim, dtype)
    shifted = input - _largest(input, axis)
    y = shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))
    return y, lambda g: (lambda: g - np.exp(y) * g.sum(axis=axis, keepdims=True),)


for _function in (relu, softmax, log_softmax):
    setattr(Tensor, _function.__name__, _function)


def _operands(name, input, dim, dtype):
    """The input as floats, and its axis as a tuple, which is empty for a number."""
    if not hasattr(dim, "__index__"):
        raise TypeError(f"{name}: expected dim = the number of an axis, got {dim!r}")
    return floating(input) if dtype is None else input.astype(dtype), axes(name, dim, input.ndim)


def _largest(input, axis):
    """The maximum along an axis, which stays with length 1; 0 for an empty array."""
    return input.max(axis=axis, keepdims=True) if input.size else input.dtype.type(0)
