"""Regions of a label map: connected components, and exact Euclidean distances to them.

All distances come from one search, `nearest_objects`, in two passes. The first scans each column down and up, so
that every pixel knows the two nearest objects of its own column. In the second every pixel visits the columns to its
left and right, the nearest first, and stops when the horizontal distance alone exceeds the best distance found.
Squared distances are integers, so nothing is rounded before the root.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import threads
from .jit import inline, kernel, prange

_FAR = np.iinfo(np.int64).max // 4  # the squared distance if there is no object: a square can be added without overflow
_NOBODY = 0  # the label of the background: no object


def connected_components(labels: Any, connectivity: int = 4) -> np.ndarray:
    """Number the connected regions of a label map.

    Parameters
    ----------
    labels : integer or bool array, (H, W) or (N, H, W)
        0 is the background. Neighbouring pixels with the same label belong to the same region.
    connectivity : {4, 8}
        8 if pixels that touch at a corner only are neighbours too.

    Returns
    -------
    array, int64, of the same shape
        0 for the background, 1, 2, ... for the regions in the order of their first pixels; each image starts at 1.

    Raises
    ------
    ValueError
        If `labels` is not a map of integers, or `connectivity` is neither 4 nor 8.
    """
    if connectivity not in (4, 8):
        raise ValueError(f"connected_components: connectivity is 4 or 8, not {connectivity}")
    maps, shape = _maps("connected_components", labels)
    found = np.zeros(maps.shape, np.int64)
    threads.run(_components, maps, found, connectivity == 8)
    return found.reshape(shape)


def distance_transform(mask: Any) -> np.ndarray:
    """The Euclidean distance from each pixel to the nearest pixel outside the mask.

    The result equals that of ``scipy.ndimage.distance_transform_edt``, except that it is infinite if the mask
    covers the whole image.

    Parameters
    ----------
    mask : integer or bool array, (H, W) or (N, H, W)
        0 outside the mask.

    Returns
    -------
    array, float64, of the same shape
        In pixels, between the centres of pixels; 0 outside the mask.
    """
    return nearest_objects(np.asarray(mask) == 0, 1)[0]


def nearest_objects(instances: Any, count: int = 2) -> np.ndarray:
    """The Euclidean distances from each pixel to the nearest objects.

    Parameters
    ----------
    instances : integer or bool array, (H, W) or (N, H, W)
        0 is the background; all pixels with the same other value are one object.
    count : {1, 2}

    Returns
    -------
    array, float64, (count, ...)
        The distance to the nearest object, which is 0 inside an object; with ``count=2`` also the distance to the
        nearest pixel of any other object. Infinite if there is no such object.
    """
    if count not in (1, 2):
        raise ValueError(f"nearest_objects: count is 1 or 2, not {count}")
    maps, shape = _maps("nearest_objects", instances)
    squared = np.empty((2, *maps.shape), np.int64)
    threads.run(_nearest, maps, squared, count == 2)
    return np.where(squared < _FAR, np.sqrt(squared), np.inf)[:count].reshape(count, *shape)


def _maps(name: str, labels: Any) -> tuple[np.ndarray, tuple[int, ...]]:
    labels = np.asarray(labels)
    if labels.ndim not in (2, 3) or labels.dtype.kind not in "iub":
        raise ValueError(f"{name}: expected integers (H, W) or (N, H, W), got {labels.dtype} {labels.shape}")
    maps = labels if labels.ndim == 3 else labels[None]
    return np.ascontiguousarray(maps, np.int64), labels.shape


# --- connected components: union–find, a forest in which each tree is a region -----------------


@inline
def _root(parent, k):
    while parent[k] != k:
        parent[k] = parent[parent[k]]  # halve the path for later searches
        k = parent[k]
    return k


@inline
def _join(parent, a, b):
    a, b = _root(parent, a), _root(parent, b)
    if a != b:
        parent[max(a, b)] = min(a, b)  # the root is the first pixel of its region


@kernel
def _components(labels, found, corners):
    N, H, W = labels.shape
    for n in prange(N):
        parent = np.arange(H * W)
        for i in range(H):
            for j in range(W):
                label, k = labels[n, i, j], i * W + j
                if j > 0 and labels[n, i, j - 1] == label:
                    _join(parent, k, k - 1)
                if i > 0:
                    for d in range(-1 if corners else 0, 2 if corners else 1):
                        if 0 <= j + d < W and labels[n, i - 1, j + d] == label:
                            _join(parent, k, k - W + d)
        number = 0
        for i in range(H):
            for j in range(W):
                if labels[n, i, j] != 0:
                    k = i * W + j
                    root = _root(parent, k)
                    if root == k:
                        number += 1
                        found[n, i, j] = number
                    else:
                        found[n, i, j] = found[n, root // W, root % W]


# --- distances ----------------------------------------------------------------------------------


@inline
def _closer(first, d1, second, d2, label, d):
    """The two nearest of three objects: `first` and `second` at d1 ≤ d2, and `label`, which may be one of them, at d."""
    if label == first:
        d1 = min(d, d1)
    elif d < d1:
        first, d1, second, d2 = label, d, first, d1
    elif d < d2:  # nearer than `second`, or `second` itself
        second, d2 = label, d
    return first, d1, second, d2


@kernel
def _nearest(labels, squared, both):
    N, H, W = labels.shape
    # For each pixel the two nearest objects in its column, and the squared distances to them.
    owner = np.zeros((2, N, H, W), np.int64)
    for task in prange(N * W):
        n, j = task // W, task % W
        for direction in range(2):
            first, at1, second, at2 = _NOBODY, 0, _NOBODY, 0  # the last two objects on the way, and the rows of their last pixels
            for step in range(H):
                i = step if direction == 0 else H - 1 - step
                label = labels[n, i, j]
                if label != 0:
                    if label != first:
                        second, at2 = first, at1
                    first, at1 = label, i
                a, da, b, db = owner[0, n, i, j], squared[0, n, i, j], owner[1, n, i, j], squared[1, n, i, j]
                if direction == 0:
                    a, da, b, db = _NOBODY, _FAR, _NOBODY, _FAR
                if first != 0:
                    a, da, b, db = _closer(a, da, b, db, first, (i - at1) ** 2)
                if second != 0:
                    a, da, b, db = _closer(a, da, b, db, second, (i - at2) ** 2)
                owner[0, n, i, j], squared[0, n, i, j], owner[1, n, i, j], squared[1, n, i, j] = a, da, b, db
    column = squared.copy()
    for task in prange(N * H):
        n, i = task // H, task % H
        for j in range(W):
            first, d1, second, d2 = _NOBODY, _FAR, _NOBODY, _FAR
            for away in range(W):
                if away * away >= (d2 if both else d1):
                    break
                for side in range(2):
                    other = j - away if side == 0 else j + away
                    if 0 <= other < W and (away > 0 or side == 0):
                        for k in range(2):
                            if owner[k, n, i, other] != 0:
                                distance = column[k, n, i, other] + away * away
                                first, d1, second, d2 = _closer(first, d1, second, d2, owner[k, n, i, other], distance)
            squared[0, n, i, j], squared[1, n, i, j] = d1, d2
