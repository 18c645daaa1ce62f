"""What the networks share."""

from __future__ import annotations

from collections.abc import Callable

from .. import functional as F
from .. import nn
from ..tensor import Tensor


def widths(width: float) -> Callable[[int], int]:
    """The rule of the narrow versions: ``c(x) = max(1, round(x·width))``."""
    return lambda channels: max(1, round(channels * width))


def crop(x: Tensor, rows: int, columns: int, top: int = 0, left: int = 0) -> Tensor:
    """A window of (N, C, H, W); itself if the window is all of it."""
    if x.shape[2:] == (rows, columns):
        return x
    return x[:, :, top : top + rows, left : left + columns]


def center_crop(x: Tensor, rows: int, columns: int) -> Tensor:
    """The middle of (N, C, H, W); an odd cell is cut off at the bottom and the right."""
    return crop(x, rows, columns, (x.shape[2] - rows) // 2, (x.shape[3] - columns) // 2)


def conv_norm_relu(inputs: int, outputs: int, kernel_size: int, dilation: int = 1) -> nn.Sequential:
    """Convolution without bias that keeps the size, batch normalisation, ReLU."""
    padding = dilation * (kernel_size // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size, padding=padding, dilation=dilation, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def resize(x: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
    """Bilinear interpolation to `size`, (rows, columns); itself if it has them."""
    return x if x.shape[2:] == size else F.interpolate(x, size, mode="bilinear", align_corners=align_corners)
