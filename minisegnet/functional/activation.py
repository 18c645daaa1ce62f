"""Activations: equations ``activation.*``, and softmax."""

from __future__ import annotations

import numpy as np

from minisegnet_kernels import activation as kernels

from ..tensor import Tensor, differentiable
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
def softmax(input, dim):
    """``exp(x) / Σ exp(x)`` along an axis: positive numbers that sum to 1."""
    input = floating(input)
    e = np.exp(input - _largest(input, dim))
    y = e / e.sum(axis=dim, keepdims=True)
    return y, lambda g: (lambda: y * (g - (g * y).sum(axis=dim, keepdims=True)),)


@differentiable
def log_softmax(input, dim):
    """``log(softmax(x))``, computed in one step, which does not lose precision as the two steps do."""
    input = floating(input)
    shifted = input - _largest(input, dim)
    y = shifted - np.log(np.exp(shifted).sum(axis=dim, keepdims=True))
    return y, lambda g: (lambda: g - np.exp(y) * g.sum(axis=dim, keepdims=True),)


for _function in (relu, softmax, log_softmax):
    setattr(Tensor, _function.__name__, _function)


def _largest(input, dim):
    """The maximum along an axis, which stays with length 1; 0 for an empty array."""
    return input.max(axis=dim, keepdims=True) if input.size else input.dtype.type(0)
