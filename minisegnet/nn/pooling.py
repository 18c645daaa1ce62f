"""Pooling layers: the documented weighted maximum, ordinary maximum and average, and unpooling."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import functional as F
from ..tensor import Tensor
from .convolution import pair
from .module import Module
from .parameter import Parameter


class MaxPool2d(Module):
    """The largest value of each window; see `functional.max_pool2d`.

    Parameters
    ----------
    kernel_size : int or (rows, columns)
    stride : int or (rows, columns), optional
        None means `kernel_size`.
    padding, dilation : int or (rows, columns)
    return_indices : bool
        Also return the position of each maximum, for `MaxUnpool2d`.
    ceil_mode : bool
        Whether to keep a last window that reaches beyond the padded input.
    """

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ):
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation, self.return_indices, self.ceil_mode = padding, dilation, return_indices, ceil_mode

    def forward(self, x: Tensor) -> Any:
        return F.max_pool2d(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}, ceil_mode={self.ceil_mode}"


class WeightedMaxPool2d(Module):
    """The documented pooling, ``P(x,y) = max_{i,j} { W(i,j)·F(x+i,y+j) + B }``, with learnable W and B.

    W starts at 1 and B at 0, so the layer starts as `MaxPool2d`.

    Parameters
    ----------
    kernel_size : int or (rows, columns)
    stride : int or (rows, columns), optional
        None means `kernel_size`.
    padding, dilation : int or (rows, columns)
    ceil_mode : bool
    channels : int, optional
        The number of channels, each of which gets a W and a B of its own: ``weight`` (C, U, V) and ``bias`` (C,). By
        default all channels share one: ``weight`` (U, V) and ``bias`` ().
    """

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        channels: int | None = None,
    ):
        self.kernel_size, self.stride = pair(kernel_size), pair(kernel_size if stride is None else stride)
        self.padding, self.dilation, self.ceil_mode, self.channels = padding, dilation, ceil_mode, channels
        per_channel = () if channels is None else (channels,)
        self.weight = Parameter(np.ones((*per_channel, *self.kernel_size), np.float32))
        self.bias = Parameter(np.zeros(per_channel, np.float32))

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(
            x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, weight=self.weight, bias=self.bias
        )

    def extra_repr(self) -> str:
        shared = "" if self.channels is None else f", channels={self.channels}"
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}, ceil_mode={self.ceil_mode}{shared}"


class MaxUnpool2d(Module):
    """Put each maximum back in its position, with zeros elsewhere; see `functional.max_unpool2d`.

    Parameters
    ----------
    kernel_size : int or (rows, columns)
    stride : int or (rows, columns), optional
        None means `kernel_size`.
    padding : int or (rows, columns)
    """

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0):
        self.kernel_size, self.stride, self.padding = pair(kernel_size), pair(kernel_size if stride is None else stride), pair(padding)

    def forward(self, x: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        """`indices` come from a `MaxPool2d` with ``return_indices=True``; `output_size` is the size of that layer's input."""
        return F.max_unpool2d(x, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(Module):
    """The mean of each window; see `functional.avg_pool2d`.

    Parameters
    ----------
    kernel_size : int or (rows, columns)
    stride : int or (rows, columns), optional
        None means `kernel_size`.
    padding : int or (rows, columns)
    ceil_mode, count_include_pad : bool
    divisor_override : int, optional
        Divide by this number instead of the number of cells.
    """

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ):
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, x: Tensor) -> Tensor:
        options = (self.stride, self.padding, self.ceil_mode, self.count_include_pad, self.divisor_override)
        return F.avg_pool2d(x, self.kernel_size, *options)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AdaptiveAvgPool2d(Module):
    """Average over windows that divide the image into `output_size` cells; see `functional.adaptive_avg_pool2d`.

    Parameters
    ----------
    output_size : int or (rows, columns)
        None for an axis keeps the size of the input.
    """

    def __init__(self, output_size: Any):
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"
