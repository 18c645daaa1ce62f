"""Layers that change the size or shape of the grid: resize, pad, flatten."""

from __future__ import annotations

from typing import Any

from .. import functional as F
from ..tensor import Tensor
from .module import Module


class Upsample(Module):
    """Resize (N, C, H, W); see `functional.interpolate`.

    Parameters
    ----------
    size : (rows, columns), optional
    scale_factor : float or (rows, columns), optional
        Exactly one of `size` and `scale_factor` is needed.
    mode : {"nearest", "bilinear"}
    align_corners : bool, optional
        For bilinear: whether the corners' centres (True) or the corners (False) coincide.
    recompute_scale_factor : bool, optional
        Whether the places of the rows follow from the two sizes instead of `scale_factor`.
    """

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ):
        self.size, self.scale_factor, self.mode, self.align_corners = size, scale_factor, mode, align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, self.size, self.scale_factor, self.mode, self.align_corners, self.recompute_scale_factor)

    def extra_repr(self) -> str:
        how = f"size={self.size}" if self.scale_factor is None else f"scale_factor={self.scale_factor}"
        return f"{how}, mode={self.mode!r}"


class _Pad(Module):
    mode = "constant"

    def __init__(self, padding: Any):
        self.padding = (padding,) * 4 if isinstance(padding, int) else tuple(padding)
        if len(self.padding) != 4:
            raise ValueError(f"padding must be one number or (left, right, top, bottom), got {padding!r}")

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, self.padding, self.mode)

    def extra_repr(self) -> str:
        return str(self.padding)


class ZeroPad2d(_Pad):
    """Zeros around the image: one number, or (left, right, top, bottom). Negative numbers crop."""


class ReflectionPad2d(_Pad):
    """The image mirrored at its outermost pixels: one number, or (left, right, top, bottom)."""

    mode = "reflect"


class Flatten(Module):
    """Merge the axes from `start_dim` to `end_dim` into one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
