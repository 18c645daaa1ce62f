"""Several looks at the same image: scores averaged over flips and scales."""

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

    Each copy is labelled by itself and its probabilities are brought back into place. Their mean is less
    moved by what should not matter, for as many times the work: 4 for both flips, times the scales.

    Parameters
    ----------
    model : Module
    images : Tensor or array, (N, C, H, W)
        Prepared as in training.
    flips : {"", "h", "v", "hv"}
        Horizontally (left and right change places), vertically, or both and their combination.
    scales : sequence of float
        Factors of the size; bilinear, there and back.

    Returns
    -------
    Tensor, (N, K, H, W)
        The logarithm of the mean probability: scores whose softmax is the mean. So they may stand wherever
        scores do.

    Raises
    ------
    ValueError
        If a flip or a scale is none.
    """
    images = images.array if isinstance(images, Tensor) else np.asarray(images)
    if not set(flips) <= {"h", "v"}:
        raise ValueError(f'flips are "", "h", "v" or "hv", not {flips!r}')
    if not scales or not all(np.isfinite(s) and s > 0 for s in scales):
        raise ValueError(f"scales are positive numbers, one at least; got {list(scales)}")
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
