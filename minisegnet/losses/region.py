"""Losses of whole regions instead of single pixels: Dice, and Lovász-softmax, a continuous form of the IoU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import functional as F
from ..tensor import Tensor, differentiable
from .common import Loss, one_hot


class DiceLoss(Loss):
    r"""One minus the soft Dice coefficient (F1), averaged over the classes.

    .. math:: L = 1 - \frac{1}{|C|} \sum_c \frac{2 \sum_i p_{ic}\, t_{ic} + s}{\sum_i p_{ic} + \sum_i t_{ic} + s}

    The sums run over the pixels i that are not ignored; p are softmax probabilities, and the truth t is 0 or 1. Every
    class has the same weight, however few pixels it has.

    Parameters
    ----------
    smooth : float
        s. It matters for a class without pixels in the truth. With s = 0 such a class costs 1 as soon as it gets any
        probability; with a large s it costs almost nothing.
    batch : bool
        Whether the sums run over the whole batch or over each image separately.
    include_background : bool
        Whether class 0 counts.
    ignore_index : int

    References
    ----------
    Milletari, Navab & Ahmadi, "V-Net", 3DV 2016 (there with squares below); this form as in Drozdzal et al.,
    arXiv:1608.04117, equation 1
    """

    def __init__(self, smooth: float = 1.0, *, batch: bool = True, include_background: bool = True, ignore_index: int = -100):
        if not 0 <= smooth < np.inf:
            raise ValueError(f"DiceLoss: smooth must be finite and not negative, got {smooth}")
        super().__init__(ignore_index)
        self.smooth, self.batch, self.include_background = smooth, batch, include_background

    def forward(self, scores: Tensor, target: Any) -> Tensor:
        """The loss of scores (N, C, H, W), logits, for labels (N, H, W)."""
        truth, counts = one_hot("DiceLoss", scores, target, self.ignore_index)
        if not self.include_background and scores.shape[1] < 2:
            raise ValueError("DiceLoss: without the background no class is left: the scores are (N, 1, H, W)")
        axes = (0, 2, 3) if self.batch else (2, 3)
        p = F.softmax(scores, dim=1)
        both = (p * Tensor(truth)).sum(axes)
        sizes = (p * Tensor(counts)).sum(axes) + Tensor(truth.sum(axis=axes).astype(scores.dtype))
        nothing = (sizes.array + self.smooth == 0).astype(scores.dtype)  # 0/0 if every pixel is ignored: Dice is 1 then
        dice = (2 * both + self.smooth + Tensor(nothing)) / (sizes + self.smooth + Tensor(nothing))
        return 1 - (dice if self.include_background else dice[..., 1:]).mean()

    def extra_repr(self) -> str:
        return self._named(smooth=self.smooth, batch=self.batch, include_background=self.include_background)


@differentiable
def lovasz_extension(errors, truth):
    """The Lovász extension of the Jaccard loss along the last axis, (..., P) → (...), for errors in 0…1 and a bool truth.

    The errors are sorted in descending order. Each is weighted by how much the Jaccard loss grows when its pixel joins
    the wrong pixels. The function is linear as long as the order does not change, so these weights are its gradient.
    """
    order = np.argsort(-errors, axis=-1, kind="stable")
    hits = np.take_along_axis(truth, order, axis=-1)
    positives = hits.sum(axis=-1, keepdims=True)
    # In float64: for a million pixels, successive values of the Jaccard loss agree in six digits.
    missed, invented = (np.cumsum(a, axis=-1, dtype=np.float64) for a in (hits, ~hits))
    jaccard = 1 - (positives - missed) / (positives + invented)
    slopes = np.diff(jaccard, axis=-1, prepend=0).astype(errors.dtype)
    weights = np.empty_like(errors)
    np.put_along_axis(weights, order, slopes, axis=-1)
    return (errors * weights).sum(axis=-1), lambda g: (lambda: g[..., None] * weights,)


class LovaszSoftmaxLoss(Loss):
    r"""A continuous form of one minus the mean IoU: equal to it where the probabilities are 0 or 1.

    .. math:: L = \frac{1}{|C|} \sum_{c \in C} \overline{\Delta_{J_c}}(m(c)), \qquad
              m_i(c) = \begin{cases} 1 - p_{ic} & t_i = c \\ p_{ic} & \text{otherwise} \end{cases}

    where :math:`\overline{\Delta_{J_c}}` is the Lovász extension of the Jaccard loss of class c (`lovasz_extension`).
    It has a kink where two errors are equal; the gradient there is the one for which the earlier error is larger.

    Parameters
    ----------
    classes : {"present", "all"} or sequence of int
        The classes over which the mean is taken: those in the truth, all, or the given ones.
    per_image : bool
        Whether to compute the loss of each image and average, or to treat the batch as one image.
    ignore_index : int

    References
    ----------
    Berman, Rannen Triki & Blaschko, "The Lovász-Softmax loss", CVPR 2018, equations 8, 9, 11 and algorithm 1
    """

    def __init__(self, classes: str | Sequence[int] = "present", *, per_image: bool = False, ignore_index: int = -100):
        if isinstance(classes, str) and classes not in ("present", "all"):
            raise ValueError(f'LovaszSoftmaxLoss: classes={classes!r}: expected "present", "all" or a list of classes')
        if not len(classes):
            raise ValueError('LovaszSoftmaxLoss: classes=[]: a mean over no class; expected "present", "all" or a list of classes')
        super().__init__(ignore_index)
        self.classes, self.per_image = classes, per_image

    def forward(self, scores: Tensor, target: Any) -> Tensor:
        """The loss of scores (N, C, H, W), logits, for labels (N, H, W)."""
        truth, counts = one_hot("LovaszSoftmaxLoss", scores, target, self.ignore_index)
        N, C = scores.shape[:2]
        if not isinstance(self.classes, str) and not all(0 <= c < C for c in self.classes):
            raise ValueError(f"LovaszSoftmaxLoss: classes={list(self.classes)}, but the scores have {C} classes, 0 to {C - 1}")
        sign, offset = np.where(truth, -1, 1) * counts, truth  # an ignored pixel has error 0, so it adds nothing
        errors = F.softmax(scores, dim=1) * Tensor(sign) + Tensor(offset.astype(scores.dtype))
        if self.per_image:
            pixels = math.prod(scores.shape[2:])
            errors, truth = errors.reshape(N, C, pixels), truth.reshape(N, C, pixels)
        else:
            errors, truth = errors.permute(1, 0, 2, 3).reshape(1, C, -1), truth.transpose(1, 0, 2, 3).reshape(1, C, -1)
        chosen = self._chosen(truth).astype(scores.dtype)  # (N or 1, C)
        shares = chosen / np.maximum(chosen.sum(axis=1, keepdims=True), 1) / len(chosen)
        return (lovasz_extension(errors, truth=truth) * Tensor(shares)).sum()

    def _chosen(self, truth: Any) -> Any:
        present = truth.any(axis=-1)
        if isinstance(self.classes, str):
            return present if self.classes == "present" else np.ones_like(present)
        chosen = np.zeros_like(present)
        chosen[:, list(self.classes)] = True
        return chosen

    def extra_repr(self) -> str:
        return self._named(classes=self.classes, per_image=self.per_image)
