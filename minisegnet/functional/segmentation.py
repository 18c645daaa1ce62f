"""From scores to labels, and how wrong they are: equations ``label.*`` and ``cross_entropy.*``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minisegnet_kernels import checks
from minisegnet_kernels import cross_entropy as loss_kernels
from minisegnet_kernels import label as label_kernels
from minisegnet_kernels.arrays import alike

from ..tensor import Tensor, differentiable, is_grad_enabled
from .arithmetic import floating
from .shape import cat


@dataclass(frozen=True)
class ArgmaxRegions:
    """R_k: all score vectors whose largest element is the k-th. A network's output is labelled this way."""


@dataclass(frozen=True)
class Intervals:
    """R_k = [low_k, high_k) of a scalar map."""

    bounds: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Prototypes:
    """R_k: all feature vectors that are nearest to the k-th row of `points`, (K, C)."""

    points: Any


def label(scores: Any, regions: Any = None, labels: Any = None, default: int | None = None) -> Tensor:
    """The documented labelling: ``S(x, y) = l_k if F(x, y) ∈ R_k``. Not differentiable.

    Parameters
    ----------
    scores : Tensor or array, (N, C, H, W), or (N, H, W) for `Intervals`
    regions : ArgmaxRegions, Intervals or Prototypes, optional
        `ArgmaxRegions` if not given.
    labels : integers, (K,), optional
        l_k; 0 … K − 1 if not given.
    default : int, optional
        Label of a point that lies in no region. Without it such a point is an error.

    Returns
    -------
    Tensor, (N, H, W)
        The dtype is that of `labels`. At a tie the lowest k wins.

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
    x = scores.array if isinstance(scores, Tensor) else scores
    if regions is None or isinstance(regions, ArgmaxRegions):
        return Tensor(label_kernels.argmax(x, labels))
    if isinstance(regions, Intervals):
        return Tensor(label_kernels.intervals(x, regions.bounds, labels, default=default))
    if isinstance(regions, Prototypes):
        points = regions.points.array if isinstance(regions.points, Tensor) else regions.points
        return Tensor(label_kernels.prototypes(x, points, labels, default=default))
    checks.fail("label", "unknown regions", expected="ArgmaxRegions(), Intervals(bounds) or Prototypes(points)", actual=repr(regions))


def class_scores(scores: Tensor) -> Tensor:
    r"""The scores of two classes from one logit: :math:`z \mapsto (-z/2,\ z/2)`. More than one channel is returned as it is.

    A network with one output z per pixel says that class 1 is there with the probability σ(z). The softmax of the two scores is
    (1 − σ(z), σ(z)), so their cross-entropy is the binary cross-entropy of z, their argmax is 1 where z > 0, and everything that
    takes the scores of several classes takes them.

    Parameters
    ----------
    scores : Tensor, (N, C, H, W)

    Returns
    -------
    Tensor, (N, max(C, 2), H, W)
    """
    scores = scores if isinstance(scores, Tensor) else Tensor(scores)
    if scores.shape[1] != 1:
        return scores
    half = scores * 0.5
    return cat([-half, half], dim=1)


def cross_entropy(
    input: Tensor, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0
) -> Tensor:
    """Minus the logarithm of the softmax probability of the true class.

    Parameters
    ----------
    input : Tensor, (N, C, H, W), or (N, C, d1, ..., dk) with any number of axes, or (C,)
        Scores (logits).
    target : Tensor or array
        Classes: integers, (N, H, W), (N, d1, ..., dk), or () for scores (C,). Or probabilities: floats in the shape of the
        scores.
    weight : Tensor or array, (C,), optional
        How much a pixel of each class counts.
    ignore_index : int
        Pixels with this target are left out of every sum and have gradient 0. It does not apply to probabilities.
    reduction : {"mean", "sum", "none"}
        For classes "mean" is Σ w·loss / Σ w over the pixels that are not ignored, and 0 if there are none (PyTorch: NaN).
        For probabilities it is the sum divided by the number of pixels.
    label_smoothing : float
        Share of the target that is spread evenly over all classes.

    Returns
    -------
    Tensor, () or, with ``reduction="none"``, the shape of a target of classes

    Raises
    ------
    ValueError
        If a shape, a dtype, an option or a target does not fit.

    Notes
    -----
    Equations ``cross_entropy.forward`` and ``cross_entropy.forward_and_grad``: where a gradient is wanted, it is
    computed in the same sweep as the loss. Probabilities use plain arithmetic instead.
    """
    options: dict[str, Any] = {"reduction": reduction, "label_smoothing": label_smoothing}
    target = target if hasattr(target, "dtype") else np.asarray(target)
    if target.dtype.kind == "f" and tuple(target.shape) == tuple(input.shape):
        if ignore_index >= 0:
            checks.fail(
                "cross_entropy",
                "probabilities cannot be ignored by class",
                expected="integer targets, or no ignore_index",
                actual=f"target of {target.dtype}, ignore_index = {ignore_index}",
            )
        return _loss_of_probabilities(input, target, weight, **options)
    options["ignore_index"] = ignore_index
    if input.ndim == 1:  # one row of scores is a batch of one
        loss = cross_entropy(input[None], target.reshape(1, *target.shape), weight, **options)
        return loss[0] if reduction == "none" else loss
    if input.ndim != 4 and input.ndim > 1:  # the axes after the channels become one column of pixels
        if tuple(target.shape) != (input.shape[0], *input.shape[2:]):
            checks.fail(
                "cross_entropy",
                "scores and target do not fit",
                expected=f"target {(input.shape[0], *input.shape[2:])} for scores {tuple(input.shape)}",
                actual=f"target {tuple(target.shape)}",
            )
        pixels = math.prod(input.shape[2:])
        loss = cross_entropy(input.reshape(*input.shape[:2], pixels, 1), target.reshape(input.shape[0], pixels, 1), weight, **options)
        return loss.reshape(target.shape) if reduction == "none" else loss
    if isinstance(input, Tensor) and input.requires_grad and is_grad_enabled():
        return _loss_with_gradient(input, target, weight, **options)
    arrays = [a.array if isinstance(a, Tensor) else a for a in (input, target, weight)]
    return Tensor(loss_kernels.forward(*arrays, **options))


@differentiable
def _loss_with_gradient(input, target, weight, **options):
    loss, gradient = loss_kernels.forward_and_grad(input, target, weight, **options)
    # Proportional to g: one factor for all pixels, or one for each.
    return loss, lambda g: (lambda: alike(np.multiply, g[:, None] if g.ndim else g, gradient),)


@differentiable
def _loss_of_probabilities(input, target, weight, reduction, label_smoothing):
    _check_reduction("cross_entropy", reduction)
    if not 0 <= label_smoothing <= 1:
        checks.fail(
            "cross_entropy",
            "label_smoothing is out of range",
            expected="0 ≤ label_smoothing ≤ 1",
            actual=f"label_smoothing = {label_smoothing}",
        )
    axis = 1 if input.ndim > 1 else 0
    classes = input.shape[axis]
    if weight is not None and tuple(weight.shape) != (classes,):
        checks.fail(
            "cross_entropy", "weights and scores do not fit", expected=f"weight ({classes},)", actual=f"weight {tuple(weight.shape)}"
        )
    shifted = input - input.max(axis=axis, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))
    smooth = target.astype(input.dtype, copy=False) * (1 - label_smoothing) + label_smoothing / classes
    w = 1 if weight is None else weight.reshape(-1, *(1,) * (input.ndim - axis - 1))
    loss = -(w * smooth * log_p).sum(axis=axis)
    loss, scale = _reduced(loss, reduction)

    def spread(g):
        return np.expand_dims(g, axis) if g.ndim else g * scale

    def for_scores(g):
        weighted = w * smooth
        return spread(g) * (np.exp(log_p) * weighted.sum(axis=axis, keepdims=True) - weighted)

    return loss, lambda g: (lambda: for_scores(g), lambda: -spread(g) * w * log_p * (1 - label_smoothing))


def _check_reduction(name, reduction):
    if reduction not in ("mean", "sum", "none"):
        checks.fail(name, "unknown reduction", expected='"mean", "sum" or "none"', actual=f"reduction = {reduction!r}")


def _reduced(loss, reduction):
    """The reduced loss, and the factor on each of its elements."""
    if reduction == "none":
        return loss, 1
    total = loss.sum()
    scale = 1 / loss.size if reduction == "mean" and loss.size else math.nan if reduction == "mean" else 1
    return total * scale, scale


@differentiable
def binary_cross_entropy_with_logits(input, target, weight=None, reduction="mean", pos_weight=None):
    """Binary cross-entropy of a score's sigmoid: ``−p·t·log σ(x) − (1 − t)·log(1 − σ(x))``, without overflow.

    Parameters
    ----------
    input : Tensor, any shape
        Scores (logits).
    target : Tensor, the shape of the scores
        Probabilities of the positive class, 0 to 1.
    weight : Tensor, optional
        The weight of each element; broadcast to the scores.
    reduction : {"mean", "sum", "none"}
    pos_weight : Tensor, optional
        p, the weight of the positive class; broadcast to the scores: (C, 1, 1) for one weight a channel.

    Returns
    -------
    Tensor, () or, with ``reduction="none"``, the shape of the scores

    Raises
    ------
    ValueError
        If the shapes of scores and target differ, or the reduction is unknown.
    """
    name = "binary_cross_entropy_with_logits"
    _check_reduction(name, reduction)
    if tuple(input.shape) != tuple(target.shape):
        checks.fail(name, "scores and target do not fit", expected=f"target {tuple(input.shape)}", actual=f"target {tuple(target.shape)}")
    input = floating(input)
    positive = 1 if pos_weight is None else pos_weight
    t = target.astype(input.dtype, copy=False)
    # −log σ(x) = log(1 + exp(−|x|)) + max(−x, 0), and −log(1 − σ(x)) = x − log σ(x)
    missed = np.log1p(np.exp(-np.abs(input))) + np.maximum(-input, 0)
    loss = (1 - t) * input + (1 + (positive - 1) * t) * missed
    loss, scale = _reduced(loss if weight is None else loss * weight, reduction)

    def spread(g):
        g = g * scale
        return g if weight is None else g * weight

    def for_scores(g):
        sigma = (np.tanh(input / 2) + 1) / 2
        return spread(g) * ((1 - t) - (1 + (positive - 1) * t) * (1 - sigma))

    if pos_weight is None:  # then `missed` is not needed for the target
        return loss, lambda g: (lambda: for_scores(g), lambda: -spread(g) * input)
    return loss, lambda g: (lambda: for_scores(g), lambda: spread(g) * ((positive - 1) * missed - input))
