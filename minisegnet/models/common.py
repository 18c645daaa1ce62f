"""Building blocks that several networks share."""

from __future__ import annotations

import math
from collections.abc import Callable

from .. import functional as F
from .. import nn
from ..tensor import Tensor


def widths(width: float) -> Callable[[int], int]:
    """The rule for the channels of a network of another width: ``c(x) = max(1, round(x·width))``."""
    return lambda channels: max(1, round(channels * width))


def crop(x: Tensor, rows: int, columns: int, top: int = 0, left: int = 0) -> Tensor:
    """A window of (N, C, H, W); x itself if the window is the whole image."""
    if x.shape[2:] == (rows, columns):
        return x
    return x[:, :, top : top + rows, left : left + columns]


def center_crop(x: Tensor, rows: int, columns: int) -> Tensor:
    """The middle of (N, C, H, W); of an odd margin, the larger part is cut off at the bottom and the right."""
    return crop(x, rows, columns, (x.shape[2] - rows) // 2, (x.shape[3] - columns) // 2)


def conv_norm_relu(inputs: int, outputs: int, kernel_size: int, dilation: int = 1) -> nn.Sequential:
    """Convolution that keeps the size and has no bias, batch normalisation, ReLU."""
    padding = dilation * (kernel_size // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size, padding=padding, dilation=dilation, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def resize(x: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
    """Bilinear interpolation to `size`, (rows, columns); x itself if it has this size."""
    return x if x.shape[2:] == size else F.interpolate(x, size, mode="bilinear", align_corners=align_corners)


def he_normal(module: nn.Module) -> None:
    """Initial values for a network of convolutions and ReLU: normal with standard deviation √(2/N), biases zero.

    N is the number of inputs of one output (He et al., ICCV 2015; Caffe's "msra"). An output of a 3×3 convolution has
    9·channels inputs. An output of a 2×2 transposed convolution with stride 2 has one input pixel, so N is the number
    of channels. Pass this function to `Module.apply`.
    """
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        inputs = module.in_channels // module.groups * math.prod(module.kernel_size)
        if isinstance(module, nn.ConvTranspose2d):
            inputs //= math.prod(module.stride)
        nn.init.normal_(module.weight, std=math.sqrt(2 / inputs))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
