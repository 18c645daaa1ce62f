"""What several losses share: one-hot labels, weights of pixels, and weighted means."""

from __future__ import annotations

from typing import Any

import numpy as np

from minisegnet_kernels import checks

from .. import functional as F
from ..nn import Module
from ..tensor import Tensor


class Loss(Module):
    """A loss: a number for scores (N, C, H, W) and labels (N, H, W).

    Parameters
    ----------
    ignore_index : int
        Pixels with this label have no effect on the loss or its gradient.
    """

    def __init__(self, ignore_index: int = -100):
        self.ignore_index = checks.whole("loss", "ignore_index", ignore_index)

    def _named(self, **options: Any) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in {**options, "ignore_index": self.ignore_index}.items())


def one_hot(name: str, scores: Tensor, target: Any, ignore_index: int) -> tuple[Any, Any]:
    """For each pixel whether it belongs to each class and whether it counts: bool arrays (N, C, H, W) and (N, 1, H, W).

    Raises
    ------
    ValueError
        If the shapes do not match, or a label is neither a class nor `ignore_index`.
    """
    t = target.array if isinstance(target, Tensor) else target
    checks.rank(name, "scores", scores, "N C H W")
    checks.rank(name, "target", t, "N H W")
    if (scores.shape[0], *scores.shape[2:]) != tuple(t.shape) or t.dtype.kind not in "iu":
        checks.fail(
            name,
            "scores and target do not match",
            expected=f"integers of shape (N, H, W) = {(scores.shape[0], *scores.shape[2:])}",
            actual=f"target {t.dtype} {tuple(t.shape)}, {checks.shape('N C H W', scores)}",
        )
    counts = t != ignore_index
    stray = counts & ((t < 0) | (t >= scores.shape[1]))
    if stray.any():
        n, i, j = (int(k[0]) for k in stray.nonzero())
        checks.fail(
            name,
            f"a target that is not a class, at pixel (n, i, j) = {(n, i, j)}",
            expected=f"0 ≤ t ≤ {scores.shape[1] - 1}, or ignore_index = {ignore_index}",
            actual=f"t = {int(t[n, i, j])}",
        )
    own = t[:, None] == np.arange(scores.shape[1], like=t)[:, None, None]
    return own & counts[:, None], counts[:, None]


def class_vector(weight: Any) -> Tensor | None:
    """Class weights as a tensor, from a tensor, array or sequence.

    Raises
    ------
    ValueError
        If they are not a list of finite numbers of 0 or more.
    """
    if weight is None:
        return None
    if not isinstance(weight, Tensor):
        weight = Tensor(np.asarray(weight, getattr(weight, "dtype", np.float32)))
    if weight.ndim != 1 or weight.dtype.kind != "f" or not ((weight.array >= 0) & (weight.array < np.inf)).all():
        checks.fail(
            "weight",
            "these are not weights of classes",
            expected="a finite number of 0 or more for each class, (C,)",
            actual=f"shape {tuple(weight.shape)}, {weight.dtype}" + (f", {weight.numpy().tolist()}" if weight.array.size <= 20 else ""),
        )
    return weight


def check_number(weight: Tensor | None, scores: Tensor) -> None:
    """Raise ValueError unless there are as many weights as classes of the scores (N, C, H, W)."""
    if weight is not None and weight.shape != scores.shape[1:2]:
        checks.fail("weight", "weights and scores do not fit", expected=f"(C,) = {scores.shape[1:2]}", actual=f"{tuple(weight.shape)}")


def pixel_weights(target: Any, weight: Tensor | None, ignore_index: int, dtype: Any) -> Any:
    """For each pixel the weight of its class, or 1 without weights; 0 for an ignored pixel: an array (N, H, W)."""
    t = target.array if isinstance(target, Tensor) else target
    counts = t != ignore_index
    if weight is None:
        return counts.astype(dtype)
    return weight.array.astype(dtype)[np.where(counts, t, 0)] * counts


def weighted_mean(losses: Tensor, weights: Any) -> Tensor:
    """``Σ w·l / Σ w``; 0 if all weights are 0."""
    total = float(weights.sum(dtype=np.float64))
    return (losses * Tensor(weights)).sum() / (total if total else 1.0)


def pixel_cross_entropy(scores: Tensor, target: Any, ignore_index: int, label_smoothing: float = 0.0) -> Tensor:
    """The cross-entropy of each pixel, (N, H, W); 0 for ignored pixels (equation ``cross_entropy.forward``)."""
    return F.cross_entropy(scores, target, ignore_index=ignore_index, label_smoothing=label_smoothing, reduction="none")
