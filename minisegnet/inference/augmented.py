"""Test-time augmentation: scores averaged over flips and scales of the same image."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any

import numpy as np

from .. import functional as F
from ..nn import Module
from ..tensor import Tensor
from .whole import scores


def augmented_scores(model: Module, images: Any, flips: str = "hv", scales: Sequence[float] = (1.0,)) -> Tensor:
    """Scores of images, averaged over flipped and resized copies (test-time augmentation).

    The probabilities of each copy are computed, transformed back and averaged. The mean depends less on orientation and
    size, which should not matter. The work is that of all copies: 4 for both flips, times the number of scales.

    Parameters
    ----------
    model : Module
    images : Tensor or array, (N, C, H, W)
        Standardised, as in training.
    flips : {"", "h", "v", "hv"}
        Flip horizontally (left and right change places), vertically, or both and their combination.
    scales : sequence of float
        Factors by which the size is multiplied; copies are resized by bilinear interpolation and so are their scores.

    Returns
    -------
    Tensor, (N, K, H, W)
        The logarithm of the mean probability. Its softmax is the mean, so it can be used wherever scores are expected.

    Raises
    ------
    ValueError
        If `flips` contains another letter, or a scale is not a positive number.
    """
    images = images.array if isinstance(images, Tensor) else np.asarray(images)
    if not set(flips) <= {"h", "v"}:
        raise ValueError(f'flips are "", "h", "v" or "hv", not {flips!r}')
    if not scales or not all(np.isfinite(s) and s > 0 for s in scales):
        raise ValueError(f"scales are positive numbers, at least one; got {list(scales)}")
    size = images.shape[2:]
    total: Any = 0.0
    axes = [axis for name, axis in (("h", 3), ("v", 2)) if name in flips]
    turns = [turn for count in range(len(axes) + 1) for turn in combinations(axes, count)]  # no axis, one, both
    for scale, turned in product(scales, turns):
        view = Tensor(np.ascontiguousarray(np.flip(images, turned)))
        scaled = tuple(max(1, round(n * scale)) for n in size)
        found = scores(model, view if scaled == size else F.interpolate(view, scaled, mode="bilinear"))
        found = found if scaled == size else F.interpolate(found, size, mode="bilinear")
        total = total + np.flip(F.softmax(found, dim=1).cpu().array, turned)
    mean = total / np.asarray(len(scales) * len(turns), total.dtype)
    return Tensor(np.log(np.maximum(mean, np.finfo(mean.dtype).tiny)))
