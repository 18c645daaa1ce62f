"""From scores to labels, and how wrong they are: equations ``label.*`` and ``cross_entropy.*``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import minisegnet_kernels
from minisegnet_kernels import checks
from minisegnet_kernels import label as label_kernels

from ..tensor import Tensor, differentiable


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
    x = scores.data
    if regions is None or isinstance(regions, ArgmaxRegions):
        return Tensor(label_kernels.argmax(x, labels))
    if isinstance(regions, Intervals):
        return Tensor(label_kernels.intervals(x, regions.bounds, labels, default=default))
    if isinstance(regions, Prototypes):
        points = regions.points.data if isinstance(regions.points, Tensor) else regions.points
        return Tensor(label_kernels.prototypes(x, points, labels, default=default))
    return checks.fail("label", "unknown regions", expected="ArgmaxRegions(), Intervals(bounds) or Prototypes(points)", actual=repr(regions))


def cross_entropy(input: Tensor, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0) -> Tensor:
    return _cross_entropy(input, target, weight, ignore_index, reduction, label_smoothing)


@differentiable
def _cross_entropy(x, t, weight, ignore_index, reduction, label_smoothing):
    options = {"ignore_index": ignore_index, "reduction": reduction, "label_smoothing": label_smoothing}
    loss = minisegnet_kernels.cross_entropy.forward(x, t, weight, **options)
    return loss, lambda g: (lambda: minisegnet_kernels.cross_entropy.grad_input(g, x, t, weight, **options),)
