"""What the host sides of the CUDA kernels of convolution share."""

from __future__ import annotations

from typing import Any

from .formula import output_size


def output_shape(x: Any, w: Any, stride: Any, padding: Any, dilation: Any) -> tuple[int, ...]:
    """(N, O, P, Q)."""
    axes = zip(x.shape[2:], w.shape[2:], stride, padding, dilation, strict=True)
    return (x.shape[0], w.shape[0], *(output_size(*axis) for axis in axes))


def window(stride: Any, padding: Any, dilation: Any) -> tuple[int, ...]:
    """The struct Window of common.cuh."""
    return (*stride, *(before for before, _ in padding), *dilation)
