"""Regions of a label map: connected components, and exact Euclidean distances to them.

The distances come from one search, `nearest_objects`. A pixel's nearest pixel of an object lies in some
column, and there it is the nearest of its column; so each column first finds its own nearest
objects, running down and up once, and then each pixel asks the columns, from its own outwards, until none
further away can hold anything nearer. All squared distances are whole numbers: nothing is rounded
before the root.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .jit import inline, kernel, prange

_FAR = np.iinfo(np.int64).max // 4  # squared distance to what is not there; a square can be added to it
_NOBODY = 0


def connected_components(labels: Any, connectivity: int = 4) -> np.ndarray:
    """Number the connected regions of a label map.

    Parameters
    ----------
    labels : integer or bool array, (H, W) or (N, H, W)
        0 is background. Neighbours belong together if they have the same label.
    connectivity : {4, 8}
        Whether pixels that touch at a corner are neighbours (8).

    Returns
    -------
    array, int64, of the same shape
        0 for background, else 1, 2, ... in the order of the regions' first pixels; each image begins at 1.

    Raises
    ------
    ValueError
        If `labels` is no map of integers, or `connectivity` is another number.
    """
    if connectivity not in (4, 8):
        raise ValueError(f"connected_components: connectivity is 4 or 8, not {connectivity}")
    maps, shape = _maps("connected_components", labels)
    found = np.zeros(maps.shape, np.int64)
    _components(maps, found, connectivity == 8)
    return found.reshape(shape)


def distance_transform(mask: Any) -> np.ndarray:
    """The Euclidean distance from each pixel to the nearest pixel outside the mask.

    ``scipy.ndimage.distance_transform_edt``, exactly, but infinite where there is no outside.

    Parameters
    ----------
    mask : integer or bool array, (H, W) or (N, H, W)
        Outside is where it is 0.

    Returns
    -------
    array, float64, of the same shape
        In pixels, between centres; 0 outside.
    """
    return nearest_objects(np.asarray(mask) == 0, 1)[0]


def nearest_objects(instances: Any, count: int = 2) -> np.ndarray:
    """The Euclidean distances from each pixel to the nearest objects.

    Parameters
    ----------
    instances : integer or bool array, (H, W) or (N, H, W)
        Ids: 0 is background, all pixels of another value are one object.
    count : {1, 2}

    Returns
    -------
    array, float64, (count, ...)
        d1, and with ``count=2`` the distance d2 to the nearest pixel of another object than the nearest.
        0 inside the object itself, and infinite where there is no (second) object.
    """
    if count not in (1, 2):
        raise ValueError(f"nearest_objects: count is 1 or 2, not {count}")
    maps, shape = _maps("nearest_objects", instances)
    squared = np.empty((2, *maps.shape), np.int64)
    _nearest(maps, squared, count == 2)
    return np.where(squared < _FAR, np.sqrt(squared), np.inf)[:count].reshape(count, *shape)


def _maps(name: str, labels: Any) -> tuple[np.ndarray, tuple[int, ...]]:
    labels = np.asarray(labels)
    if labels.ndim not in (2, 3) or labels.dtype.kind not in "iub":
        raise ValueError(f"{name}: expected integers (H, W) or (N, H, W), got {labels.dtype} {labels.shape}")
    maps = labels if labels.ndim == 3 else labels[None]
    return np.ascontiguousarray(maps, np.int64), labels.shape


# --- connected components: a forest in which each tree is a region ------------------------------


@inline
def _root(parent, k):
    while parent[k] != k:
        parent[k] = parent[parent[k]]  # halve the path for those who come later
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
    """The two nearest of three: objects `first` and `second` at d1 ≤ d2, and `label` at d. No object comes twice."""
    if label == first:
        d1 = min(d, d1)
    elif d < d1:
        first, d1, second, d2 = label, d, first, d1
    elif d < d2:  # the same as second, or another that is nearer
        second, d2 = label, d
    return first, d1, second, d2


@kernel
def _nearest(labels, squared, both):
    N, H, W = labels.shape
    # The two nearest objects in the own column of each pixel, and the squared distances to them.
    owner = np.zeros((2, N, H, W), np.int64)
    for task in prange(N * W):
        n, j = task // W, task % W
        for direction in range(2):
            first, at1, second, at2 = _NOBODY, 0, _NOBODY, 0  # the last two objects that were met, and their last rows
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
