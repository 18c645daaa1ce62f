"""Pointwise functions and dropout as modules."""

from __future__ import annotations

from typing import Any

from .. import functional as F
from ..tensor import Tensor
from .module import Module


class ReLU(Module):
    """``max(0, x)``. `inplace` is accepted for compatibility with PyTorch and has no effect: no input is ever changed."""

    def __init__(self, inplace: bool = False):
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class LeakyReLU(Module):
    """``x`` where it is positive, ``negative_slope·x`` elsewhere. `inplace` has no effect."""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False):
        self.negative_slope, self.inplace = negative_slope, inplace

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}" + ", inplace=True" * self.inplace


class Sigmoid(Module):
    """``1 / (1 + exp(−x))``."""

    def forward(self, x: Tensor) -> Tensor:
        return F.sigmoid(x)


class Tanh(Module):
    """``(exp(x) − exp(−x)) / (exp(x) + exp(−x))``."""

    def forward(self, x: Tensor) -> Tensor:
        return F.tanh(x)


class Softmax(Module):
    """``exp(x_k) / Σ_c exp(x_c)`` along axis `dim`; the class axis of (N, C, H, W) is 1."""

    def __init__(self, dim: int = 1):
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return F.softmax(x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class _Dropout(Module):
    def __init__(self, p: float = 0.5, inplace: bool = False):
        if not 0 <= p <= 1:
            raise ValueError(f"the probability of dropout must lie between 0 and 1, got {p}")
        self.p, self.inplace = p, inplace

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """In training, set each value to zero with probability `p` and enlarge the others by 1/(1−p)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, self.training)


class Dropout2d(_Dropout):
    """In training, set each whole channel to zero with probability `p` and enlarge the others by 1/(1−p)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout2d(x, self.p, self.training)


class Identity(Module):
    """Return the input unchanged. Arguments are ignored, so that it can replace any layer."""

    def __init__(self, *args: Any, **options: Any):
        pass

    def forward(self, x: Tensor) -> Tensor:
        return x
