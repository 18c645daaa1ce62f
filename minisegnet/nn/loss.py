"""The losses of PyTorch that a segmentation network uses, as modules."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import functional as F
from ..tensor import Tensor
from .module import Module


def _tensor(weight: Any) -> Tensor | None:
    """A weight as a tensor; a list of numbers becomes float32."""
    if weight is None or isinstance(weight, Tensor):
        return weight
    return Tensor(np.asarray(weight, getattr(weight, "dtype", np.float32)))


class CrossEntropyLoss(Module):
    """Minus the logarithm of the probability of the true class, averaged over the pixels.

    With weights the mean is weighted: Σ w·loss / Σ w. Ignored pixels are left out of both sums.
    See `functional.cross_entropy`.

    Parameters
    ----------
    weight : Tensor or array, (C,), optional
        How much a pixel of each class counts.
    ignore_index : int
        Pixels with this target are ignored.
    reduction : {"mean", "sum", "none"}
    label_smoothing : float
        Share of the target that is spread evenly over all classes, 0 to 1.

    Raises
    ------
    ValueError
        If `reduction` or `label_smoothing` does not fit.
    """

    def __init__(self, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0):
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f'reduction={reduction!r}: expected "mean", "sum" or "none"')
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"label_smoothing must lie between 0 and 1, got {label_smoothing}")
        self.weight: Tensor | None
        self.register_buffer("weight", _tensor(weight))
        self.ignore_index, self.reduction, self.label_smoothing = ignore_index, reduction, label_smoothing

    def forward(self, scores: Tensor, target: Tensor) -> Tensor:
        """The loss of scores (N, C, H, W), logits, for labels (N, H, W), integers."""
        return F.cross_entropy(
            scores,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )

    def extra_repr(self) -> str:
        return f"ignore_index={self.ignore_index}, reduction={self.reduction!r}, label_smoothing={self.label_smoothing}"


class BCEWithLogitsLoss(Module):
    """The binary cross-entropy of a score's sigmoid. See `functional.binary_cross_entropy_with_logits`.

    Parameters
    ----------
    weight : Tensor or array, optional
        The weight of each element; broadcast to the scores.
    reduction : {"mean", "sum", "none"}
    pos_weight : Tensor or array, optional
        The weight of the positive class; broadcast to the scores: (C, 1, 1) for one weight a channel.

    Raises
    ------
    ValueError
        If the reduction is unknown, or scores and target differ in shape.
    """

    def __init__(self, weight: Any = None, *, reduction: str = "mean", pos_weight: Any = None):
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f'reduction={reduction!r}: expected "mean", "sum" or "none"')
        self.weight: Tensor | None
        self.pos_weight: Tensor | None
        self.register_buffer("weight", _tensor(weight))
        self.register_buffer("pos_weight", _tensor(pos_weight))
        self.reduction = reduction

    def forward(self, scores: Tensor, target: Tensor) -> Tensor:
        """The loss of scores (logits) for a target of the same shape: probabilities of the positive class."""
        return F.binary_cross_entropy_with_logits(scores, target, weight=self.weight, reduction=self.reduction, pos_weight=self.pos_weight)

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}"


class MSELoss(Module):
    """The squared differences of two tensors of the same shape: their mean, their sum, or one by one ("none").

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    ValueError
        If the reduction is unknown, or the shapes differ.
    """

    def __init__(self, reduction: str = "mean"):
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f'reduction={reduction!r}: expected "mean", "sum" or "none"')
        self.reduction = reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        if input.shape != target.shape:  # broadcasting a target (N,) to (N, 1) would average over N² differences
            raise ValueError(f"MSELoss: expected two tensors of one shape, got {input.shape} and {target.shape}")
        squares = (input - target) ** 2
        return squares if self.reduction == "none" else squares.mean() if self.reduction == "mean" else squares.sum()

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}"
