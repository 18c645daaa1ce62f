"""From scores to labels, and how wrong they are: equations ``label.*`` and ``cross_entropy.*``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minisegnet_kernels import checks
from minisegnet_kernels import cross_entropy as loss_kernels
from minisegnet_kernels import label as label_kernels
from minisegnet_kernels.arrays import alike

from ..tensor import Tensor, differentiable, is_grad_enabled


@dataclass(frozen=True)
class ArgmaxRegions:
    """R_k: all score vectors whose largest element is the k-th. The network's case."""


@dataclass(frozen=True)
class Intervals:
    """R_k = [low_k, high_k) of a scalar map."""

    bounds: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Prototypes:
    """R_k: all feature vectors that are nearest to the k-th row of `points`, (K, C)."""

    points: Any


def label(scores: Tensor, regions: Any = None, labels: Any = None, default: int | None = None) -> Tensor:
    """The documented labelling: ``S(x, y) = l_k if F(x, y) ∈ R_k``. Not differentiable.

    Parameters
    ----------
    scores : Tensor, (N, C, H, W), or (N, H, W) for `Intervals`
    regions : ArgmaxRegions, Intervals or Prototypes, optional
        `ArgmaxRegions` if not given.
    labels : integers, (K,), optional
        l_k; 0 … K − 1 if not given.
    default : int, optional
        Label of a point in no region; without it such a point is an error.

    Returns
    -------
    Tensor, (N, H, W)
        Of the labels' integer dtype. Ties go to the lowest k.

    Raises
    ------
    ValueError
        If shapes do not fit, or a point lies in no region.

    Notes
    -----
    Equations ``label.argmax``, ``label.intervals``, ``label.prototypes``.

    Examples
    --------
    >>> label(Tensor(np.array([[[0.2, 0.7]]])), Intervals([(0, 0.5), (0.5, 1)]), labels=[0, 255]).tolist()
    [[[0, 255]]]
    """
    x = scores.array
    if regions is None or isinstance(regions, ArgmaxRegions):
        return Tensor(label_kernels.argmax(x, labels))
    if isinstance(regions, Intervals):
        return Tensor(label_kernels.intervals(x, regions.bounds, labels, default=default))
    if isinstance(regions, Prototypes):
        points = regions.points.array if isinstance(regions.points, Tensor) else regions.points
        return Tensor(label_kernels.prototypes(x, points, labels, default=default))
    checks.fail("label", "unknown regions", expected="ArgmaxRegions(), Intervals(bounds) or Prototypes(points)", actual=repr(regions))


def cross_entropy(
    input: Tensor, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0
) -> Tensor:
    """Minus the logarithm of the softmax probability of the true class.

    Parameters
    ----------
    input : Tensor, (N, C, H, W), or (N, C) or (N, C, L)
        Scores (logits).
    target : Tensor or array of integers, (N, H, W), or (N,) or (N, L)
    weight : Tensor or array, (C,), optional
        How much a pixel of each class counts.
    ignore_index : int
        Pixels with this target count nowhere.
    reduction : {"mean", "sum", "none"}
        "mean" is Σ w·loss / Σ w over the pixels that are not ignored, and 0 if all are (PyTorch: NaN).
    label_smoothing : float
        Share of the target that is spread evenly over all classes.

    Returns
    -------
    Tensor, () or, with ``reduction="none"``, the target's shape

    Raises
    ------
    ValueError
        If a shape, a dtype, an option or a target does not fit.

    Notes
    -----
    Equations ``cross_entropy.forward`` and ``cross_entropy.forward_and_grad``: where a gradient
    will be asked for, it is computed in the same sweep as the loss.
    """
    options: dict[str, Any] = {"ignore_index": ignore_index, "reduction": reduction, "label_smoothing": label_smoothing}
    short = 4 - input.ndim  # classification and sequences are images of one row or column
    if short > 0 and input.ndim >= 2:
        input = input.reshape(*input.shape, *(1,) * short)
        target = target.array if isinstance(target, Tensor) else np.asarray(target)
        loss = cross_entropy(input, target.reshape(*target.shape, *(1,) * short), weight, **options)
        return loss.reshape(target.shape) if reduction == "none" else loss
    if input.requires_grad and is_grad_enabled():
        return _loss_with_gradient(input, target, weight, **options)
    arrays = [a.array if isinstance(a, Tensor) else a for a in (input, target, weight)]
    return Tensor(loss_kernels.forward(*arrays, **options))


@differentiable
def _loss_with_gradient(input, target, weight, **options):
    loss, gradient = loss_kernels.forward_and_grad(input, target, weight, **options)
    # Proportional to g: one factor for all pixels, or one for each.
    return loss, lambda g: (lambda: alike(np.multiply, g[:, None] if g.ndim else g, gradient),)
