"""Losses that concentrate on the hard pixels: focal loss weighs them more, OHEM selects them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor import Tensor, differentiable
from .common import Loss, check_number, class_vector, pixel_cross_entropy, pixel_weights, weighted_mean


@differentiable
def focus(loss, gamma):
    """``(1 − p)^γ · l`` for a cross-entropy l = −log p, with a gradient that is finite at p = 1 also for γ < 1."""
    loss = np.maximum(loss, 0)  # rounding can make it slightly negative
    miss = -np.expm1(-loss)  # 1 − p, accurate when p is nearly 1
    modulation = miss**gamma
    ratio = np.where(miss > 0, loss / np.where(miss > 0, miss, 1), 1)  # l / (1 − p) → 1 as p → 1
    return modulation * loss, lambda g: (lambda: g * modulation * (1 + gamma * np.exp(-loss) * ratio),)


class FocalLoss(Loss):
    r"""Cross-entropy in which a pixel counts less, the more confident the network already is of its class.

    .. math:: L = \frac{1}{|V|} \sum_{i \in V} -\alpha_{t_i} (1 - p_i)^\gamma \log p_i

    where :math:`p_i` is the softmax probability of the true class of pixel i, and V is the set of pixels that are
    not ignored. With γ = 0 and without weights it is the cross-entropy.

    Parameters
    ----------
    gamma : float
        Not negative; 2 in the paper.
    weight : Tensor or array, (C,), optional
        α. As in the paper, the sum is divided by the number of pixels, not by the sum of their weights.
    ignore_index : int

    References
    ----------
    Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, equation 5; there for two classes
    """

    def __init__(self, gamma: float = 2.0, weight: Any = None, *, ignore_index: int = -100):
        if not 0 <= gamma < np.inf:
            raise ValueError(f"FocalLoss: gamma must be finite and not negative, got {gamma}")
        super().__init__(ignore_index)
        self.gamma = gamma
        self.weight: Tensor | None
        self.register_buffer("weight", class_vector(weight))

    def forward(self, scores: Tensor, target: Any) -> Tensor:
        """The loss of scores (N, C, H, W), logits, for labels (N, H, W)."""
        check_number(self.weight, scores)
        losses = focus(pixel_cross_entropy(scores, target, self.ignore_index), gamma=self.gamma)
        weights = pixel_weights(target, self.weight, self.ignore_index, scores.dtype)
        counted = int((pixel_weights(target, None, self.ignore_index, bool)).sum())
        return (losses * Tensor(weights)).sum() / max(counted, 1)

    def extra_repr(self) -> str:
        return self._named(gamma=self.gamma)


class OhemCrossEntropyLoss(Loss):
    r"""Cross-entropy of the hardest pixels only (online hard example mining).

    A pixel is kept if the probability of its true class is below `thresh`, or if it is one of the `min_kept` hardest:

    .. math:: L = \frac{\sum_{i \in K} w_{t_i} l_i}{\sum_{i \in K} w_{t_i}}, \qquad
              K = \{ i : p_i < \text{thresh} \;\text{or}\; l_i \ge l_{(k)} \}

    where :math:`l_{(k)}` is the k-th largest cross-entropy of the batch. All pixels with the same loss as the k-th
    are kept, so that the result does not depend on their order in memory.

    Parameters
    ----------
    thresh : float
        A probability, 0 to 1.
    min_kept : float or int
        The smallest number of pixels to keep, k: a fraction of the pixels that are not ignored (a float up to 1), or a number (an int).
    weight : Tensor or array, (C,), optional
    ignore_index : int
    label_smoothing : float

    References
    ----------
    Shrivastava, Gupta & Girshick, CVPR 2016; for pixels Wu, Shen & van den Hengel, arXiv:1605.06885, section 3.2
    """

    def __init__(
        self, thresh: float = 0.7, min_kept: float = 1 / 16, weight: Any = None, *, ignore_index: int = -100, label_smoothing: float = 0.0
    ):
        if not 0 <= thresh <= 1:
            raise ValueError(f"OhemCrossEntropyLoss: thresh is a probability, from 0 to 1, not {thresh}")
        if not min_kept >= 0 or (isinstance(min_kept, float) and min_kept > 1):
            raise ValueError(f"OhemCrossEntropyLoss: min_kept is a fraction from 0 to 1 (a float) or a number (an int), not {min_kept!r}")
        super().__init__(ignore_index)
        self.thresh, self.min_kept, self.label_smoothing = thresh, min_kept, label_smoothing
        self.weight: Tensor | None
        self.register_buffer("weight", class_vector(weight))

    def forward(self, scores: Tensor, target: Any) -> Tensor:
        """The loss of scores (N, C, H, W), logits, for labels (N, H, W)."""
        check_number(self.weight, scores)
        hardness = pixel_cross_entropy(scores.detach(), target, self.ignore_index).array
        counts = pixel_weights(target, None, self.ignore_index, bool)
        kept = counts & ((np.exp(-hardness) < self.thresh) | (hardness >= self._least(hardness[counts])))
        weights = pixel_weights(target, self.weight, self.ignore_index, scores.dtype) * kept
        return weighted_mean(pixel_cross_entropy(scores, target, self.ignore_index, self.label_smoothing), weights)

    def _least(self, hardness: Any) -> float:
        """The loss of the k-th hardest pixel; infinite if k is 0."""
        count = len(hardness)
        k = min(round(self.min_kept * count) if isinstance(self.min_kept, float) else self.min_kept, count)
        return float(np.partition(hardness, count - k)[count - k]) if k else float("inf")

    def extra_repr(self) -> str:
        return self._named(thresh=self.thresh, min_kept=self.min_kept, label_smoothing=self.label_smoothing)
