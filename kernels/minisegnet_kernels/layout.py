"""How arrays lie in memory, and new arrays for results.

The shape of an image is always (N, C, H, W). In memory its axes have one of two orders: *rows first*, (N, C, H, W), or
*channels last*, (N, H, W, C), which the fast GPU kernels need. A result gets the layout of its input, so a network whose
input lies channels last rearranges nothing between its layers.

With one channel, or with one pixel, both orders put the same values into the same places. The strides still tell which one is
meant, as in PyTorch: the stride of a channel is that of one element in channels last, and the stride of a pixel that of all channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def is_channels_last(a: Any) -> bool:
    """Whether an (N, C, H, W) array lies as (N, H, W, C) in memory."""
    if a.ndim != 4 or 0 in a.shape:
        return False
    _, c, h, w = a.shape
    pixel = c * a.itemsize
    return a.strides == (h * w * pixel, a.itemsize, w * pixel, pixel) and c * h * w > 1


def dense(a: Any) -> Any:
    """The array itself if it is C-contiguous, otherwise a copy that is."""
    return a if a.flags.c_contiguous else a.copy()


def _has_channels_side_by_side(a: Any) -> bool:
    """Whether an image lies channels last, or is a crop of one that does."""
    if a.ndim != 4 or a.strides[1] != a.itemsize:
        return False
    if a.shape[1] == 1 or a.shape[2:] == (1, 1):
        return is_channels_last(a)
    return all(stride > a.itemsize for axis, stride in enumerate(a.strides) if axis != 1 and a.shape[axis] > 1) and not a.flags.c_contiguous


def channels_last(a: Any) -> Any:
    """An (N, C, H, W) array in the layout (N, H, W, C): a view if it has that layout already, otherwise a copy.

    Raises
    ------
    ValueError
        If the array does not have four axes.
    """
    if a.ndim != 4:
        raise ValueError(f"channels last is a layout of (N, C, H, W) arrays; this array has shape {a.shape}")
    lying = dense(a.transpose(0, 2, 3, 1))
    return lying.reshape(-1).reshape(lying.shape).transpose(0, 3, 1, 2)  # with the strides of this layout, also for one channel


def rows_first(a: Any) -> Any:
    """An array in C order: a view if it has that layout already, otherwise a copy."""
    made = dense(a)
    return made.reshape(-1).reshape(made.shape) if is_channels_last(made) else made


def lying_like(leader: Any, a: Any) -> Any:
    """An array in the layout of another one of its shape, rows first or channels last: itself if it lies so, otherwise a copy."""
    if a.flags.c_contiguous and leader.flags.c_contiguous:
        return a  # also with one channel, where the values' places are the same in both layouts
    return channels_last(a) if is_channels_last(leader) else rows_first(a)


def in_memory_order(a: Any) -> Any:
    """The values of an array that lies rows first or channels last, as a C-contiguous view: what works value by value needs no more."""
    return a.transpose(0, 2, 3, 1) if is_channels_last(a) and not a.flags.c_contiguous else a


def uninitialised(like: Any, shape: tuple[int, ...], dtype: Any = None) -> Any:
    """A new array with undefined values, as from ``numpy.empty``: on the device of `like`, in its dtype and its layout.

    Parameters
    ----------
    like : array
        It determines the device, the dtype (unless `dtype` is given), and for four axes the layout.
    shape : tuple of int
    dtype : dtype, optional
    """
    dtype = like.dtype if dtype is None else np.dtype(dtype)
    last = len(shape) == 4 and _has_channels_side_by_side(like)
    lying = (shape[0], *shape[2:], shape[1]) if last else shape
    made = (
        np.empty(lying, dtype) if isinstance(like, np.ndarray) else type(like)(lying, dtype)
    )  # CuPy's empty_like takes longer than a launch
    return made.transpose(0, 3, 1, 2) if last else made


def full(like: Any, shape: tuple[int, ...], value: float, dtype: Any = None) -> Any:
    """A new array filled with one value. The other parameters are those of `uninitialised`."""
    made = uninitialised(like, shape, dtype)
    made.fill(value)
    return made


def poisoned(like: Any, shape: tuple[int, ...], dtype: Any = None) -> Any:
    """A new array for the result of a GPU kernel. Parameters are those of `uninitialised`.

    On the CPU, where kernels are emulated, it is filled with a value that no kernel computes, so that an element which a
    kernel fails to write is noticed: NaN, the least signed or the largest unsigned integer, or False. On a GPU it is
    not filled, which would take a pass over memory.
    """
    made = uninitialised(like, shape, dtype)
    if isinstance(made, np.ndarray):
        made.fill(_poison(made.dtype))
    return made


def _poison(dtype: np.dtype) -> Any:
    if dtype.kind == "f":
        return np.nan
    if dtype.kind == "b":
        return False
    return np.iinfo(dtype).min if dtype.kind == "i" else np.iinfo(dtype).max


def flat(first: Any, *others: Any) -> tuple[Any, ...]:
    """Arrays of one shape as vectors, so that equal positions have equal indices.

    A vector is a view if its array lies as `first` does. An array in another layout is copied into that of `first`, and
    `first` itself is copied if there are gaps between its elements.
    """
    if is_channels_last(first):
        turned = [a.transpose(0, 2, 3, 1) for a in (first, *others)]
        return tuple(dense(a).reshape(-1) for a in turned)
    return tuple(dense(a).reshape(-1) for a in (first, *others))
