"""What the forward equations return, told by shapes alone: the backend ``shapes``.

``with backends.use("shapes"): y = model(x)`` runs a network through all the checks of its front doors and
computes nothing: each equation returns zeros of the right shape and dtype, which nobody touches and which
therefore take no memory. So the sizes of a network with 252 million parameters are found in milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .conv2d.formula import output_size
from .pool2d.formula import pooled_size, winner_dtype


def _same(x, *arrays, **options):
    return [x.shape]


def _with_channel_sums(x, *arrays, **options):
    """Batch normalisation in training: output, mean and 1/deviation."""
    return [x.shape, x.shape[1:2], x.shape[1:2]]


def _convolved(x, w, b, *, stride, padding, dilation, groups):
    axes = zip(x.shape[2:], w.shape[2:], stride, padding, dilation, strict=True)
    return [(x.shape[0], w.shape[0], *(output_size(*axis) for axis in axes))]


def _convolved_with_channel_sums(x, w, b, **options):
    return [*_convolved(x, w, b, **options), w.shape[:1], w.shape[:1]]


def _transposed(g, w, *, input_size, groups, **options):
    return [(g.shape[0], w.shape[1] * groups, *input_size)]


def _pooled(x, *, kernel_size, stride, padding, dilation=(1, 1), ceil_mode, **options):
    axes = zip(x.shape[2:], kernel_size, stride, padding, dilation, strict=True)
    return [(*x.shape[:2], *(pooled_size(*axis, ceil_mode) for axis in axes))]


def _pooled_with_winners(x, *weights, **options):
    sizes = {"kernel_size": weights[0].shape[1:]} if weights else {}
    return _pooled(x, **sizes, **options) * 2


def _resized(x, *arrays, output_size, **options):
    return [(*x.shape[:2], *output_size)]


_SHAPES: dict[str, Callable[..., Sequence[tuple[int, ...]]]] = {
    "conv2d.forward": _convolved,
    "conv2d.forward_relu": _convolved,
    "conv2d.forward_statistics": _convolved_with_channel_sums,
    "conv2d.grad_input": _transposed,  # as the transposed convolution
    "pool2d.forward": _pooled_with_winners,
    "pool2d.max": _pooled_with_winners,
    "pool2d.average": _pooled,
    "pool2d.adaptive_average": _resized,
    "pool2d.unpool": _resized,
    "batch_norm.forward": _with_channel_sums,
    "batch_norm.forward_relu": _with_channel_sums,
    "batch_norm.inference": _same,
    "batch_norm.inference_relu": _same,
    "resize.bilinear": _resized,
    "resize.nearest": _resized,
    "activation.relu": _same,
    "activation.leaky_relu": _same,
    "lrn.forward": _same,
}
# The dtype of the results behind the first, where it is not that of the input.
_DTYPES: dict[str, Callable[..., np.dtype]] = {
    "pool2d.forward": lambda x, w, b, **options: winner_dtype(w.shape[1:]),
    "pool2d.max": lambda x, *, kernel_size, **options: winner_dtype(kernel_size),
}


def equations() -> tuple[str, ...]:
    """Those that this backend knows."""
    return tuple(_SHAPES)


def program(equation: str) -> Callable | None:
    """The program of an equation, or None."""
    shapes = _SHAPES.get(equation)
    if shapes is None:
        return None

    def run(*arrays: Any, **options: Any) -> Any:
        first, *others = shapes(*arrays, **options)
        dtype = arrays[0].dtype
        further = _DTYPES[equation](*arrays, **options) if equation in _DTYPES else dtype
        rest = [np.zeros(shape, further) for shape in others]
        return (np.zeros(first, dtype), *rest) if rest else np.zeros(first, dtype)

    return run
