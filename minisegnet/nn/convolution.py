"""Convolution and its transpose as modules.

Initial values follow PyTorch: weights and biases uniform on [−r, r] with r = 1/√fan_in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from operator import index
from typing import Any

import numpy as np

from .. import functional as F
from ..tensor import Tensor
from . import init
from .module import Module
from .parameter import Parameter


def pair(value: Any) -> tuple[int, int]:
    """An int for both axes, or (rows, columns)."""
    rows, columns = value if isinstance(value, Sequence) else (value, value)
    return index(rows), index(columns)


class _Convolution(Module):
    """The options, the weight and the bias that both kinds of convolution have."""

    output_padding = (0, 0)

    def __init__(self, weight_shape: tuple, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode):
        if padding_mode != "zeros":
            raise ValueError(f'padding_mode={padding_mode!r}: expected "zeros"; put a ReflectionPad2d in front for another border')
        if min(in_channels, out_channels, *kernel_size) < 1:
            raise ValueError(
                f"expected at least one channel and one cell of the kernel, got in_channels={in_channels}, "
                f"out_channels={out_channels}, kernel_size={kernel_size}"
            )
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(f"groups={groups} must divide in_channels={in_channels} and out_channels={out_channels}")
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel_size
        self.stride, self.dilation, self.groups = pair(stride), pair(dilation), groups
        self.padding = padding if isinstance(padding, str) else pair(padding)
        self.weight = Parameter(np.zeros(weight_shape, np.float32))
        self.bias = Parameter(np.zeros(out_channels, np.float32)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))  # that is r = 1/√fan_in
        if self.bias is not None:
            bound = 1 / math.sqrt(init.fans(self.weight)[0])
            init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        parts += [f"padding={self.padding}"] * (self.padding != (0, 0))
        parts += [f"dilation={self.dilation}"] * (self.dilation != (1, 1))
        parts += [f"output_padding={self.output_padding}"] * (self.output_padding != (0, 0))
        parts += [f"groups={self.groups}"] * (self.groups != 1)
        parts += ["bias=False"] * (self.bias is None)
        return ", ".join(parts)


class Conv2d(_Convolution):
    """Convolution of (N, in_channels, H, W) to (N, out_channels, P, Q); see `functional.conv2d`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, dilation : int or (rows, columns)
    padding : int, (rows, columns), "valid" or "same"
        ``"same"`` gives ⌈H/stride⌉ rows. PyTorch allows it with stride 1 only; for larger strides TensorFlow's rule holds:
        an odd cell of padding goes to the bottom and right.
    groups : int
    bias : bool
    padding_mode : "zeros"

    Raises
    ------
    ValueError
        If `groups` does not divide both numbers of channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
    ):
        if isinstance(padding, str) and padding not in ("valid", "same"):
            raise ValueError(f'padding={padding!r}: expected a number, (rows, columns), "valid" or "same"')
        kernel_size = pair(kernel_size)
        shape = (out_channels, in_channels // groups if groups > 0 else 0, *kernel_size)
        super().__init__(shape, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(F.conv2d, x)

    def run(self, convolution: Callable, x: Tensor) -> Tensor:
        """Apply ``functional.conv2d``, or a function with its arguments, with this layer's parameters."""
        return convolution(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class ConvTranspose2d(_Convolution):
    """Transposed convolution, the input gradient of a convolution; see `functional.conv_transpose2d`.

    The output has ``(H − 1)·stride − 2·padding + dilation·(U − 1) + output_padding + 1`` rows.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, padding, output_padding, dilation : int or (rows, columns)
    groups : int
    bias : bool
    padding_mode : "zeros"
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
    ):
        kernel_size = pair(kernel_size)
        shape = (in_channels, out_channels // groups if groups > 0 else 0, *kernel_size)
        super().__init__(shape, in_channels, out_channels, kernel_size, stride, pair(padding), dilation, groups, bias, padding_mode)
        self.output_padding = pair(output_padding)

    def forward(self, x: Tensor, output_size: Any = None) -> Tensor:
        """A stride maps several input sizes to one output size; `output_size` (rows, columns) selects which one to return.

        Raises
        ------
        ValueError
            If no `output_padding` gives that size; the message names the possible sizes.
        """
        extra = self.output_padding if output_size is None else self._padding_for(x, tuple(output_size)[-2:])
        return F.conv_transpose2d(x, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation)

    def _padding_for(self, x: Tensor, wanted: tuple) -> tuple[int, int]:
        axes: Any = zip(x.shape[-2:], self.kernel_size, self.stride, self.padding, self.dilation, strict=True)
        least = tuple((h - 1) * s - 2 * p + d * (k - 1) + 1 for h, k, s, p, d in axes)
        most = tuple(size + s - 1 for size, s in zip(least, self.stride, strict=True))
        if len(wanted) != 2 or any(not lo <= size <= hi for lo, size, hi in zip(least, wanted, most, strict=True)):
            raise ValueError(
                f"conv_transpose2d: from {tuple(x.shape[-2:])} the output_size can be {least} to {most} (rows, columns), not {wanted}"
            )
        return wanted[0] - least[0], wanted[1] - least[1]
