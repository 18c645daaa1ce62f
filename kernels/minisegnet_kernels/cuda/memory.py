"""Arrays for kernels: results beside their inputs, in the same layout.

The logical shape is always (N, C, H, W). In memory an image may lie *channels last* (N, H, W, C),
as the fast kernels for a GPU want it; what is computed from it then lies channels last too, so that
nothing is rearranged between layers.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def is_channels_last(a: Any) -> bool:
    """Whether an (N, C, H, W) array lies as (N, H, W, C) in memory."""
    if a.ndim != 4 or a.shape[1] == 1 or 0 in a.shape:
        return False
    _, c, h, w = a.shape
    return a.strides == tuple(a.itemsize * s for s in (h * w * c, 1, w * c, c)) and not a.flags.c_contiguous


def dense(a: Any) -> Any:
    """The array itself if it is C-contiguous, or a copy that is."""
    return a if a.flags.c_contiguous else a.copy()


def channels_last(a: Any) -> Any:
    """An (N, C, H, W) array in the layout (N, H, W, C); a copy, unless it lies so already."""
    if a.ndim != 4:
        raise ValueError(f"channels last is a layout of (N, C, H, W) arrays, and this one has the shape {a.shape}")
    return dense(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def new(like: Any, shape: tuple[int, ...], dtype: Any = None) -> Any:
    """A new array without values, on the device of `like`, in its dtype and, for four axes, its layout."""
    dtype = like.dtype if dtype is None else np.dtype(dtype)
    last = len(shape) == 4 and is_channels_last(like)
    lying = (shape[0], *shape[2:], shape[1]) if last else shape
    made = np.empty_like(like, shape=lying, dtype=dtype, order="C")
    return made.transpose(0, 3, 1, 2) if last else made


def empty(like: Any, shape: tuple[int, ...], dtype: Any = None) -> Any:
    """`new`, for the results of kernels: on the CPU full of what no kernel means, so that what one forgets to write shows.

    That is NaN, the least of integers with a sign, the largest of those without, or False.
    """
    made = new(like, shape, dtype)
    if isinstance(made, np.ndarray):
        kind = made.dtype.kind
        made.fill(
            np.nan if kind == "f" else np.iinfo(made.dtype).min if kind == "i" else np.iinfo(made.dtype).max if kind == "u" else False
        )
    return made


def flat(first: Any, *others: Any) -> tuple:
    """Arrays of one shape as vectors, with equal places at equal indices.

    They are views where all lie in the same layout; arrays that do not lie like the first are copied
    into its layout, and the first itself if it has gaps.
    """
    if is_channels_last(first):
        turned = [a.transpose(0, 2, 3, 1) for a in (first, *others)]
        return tuple(dense(a).reshape(-1) for a in turned)
    return tuple(dense(a).reshape(-1) for a in (first, *others))
