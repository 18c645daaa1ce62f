"""From instance ids to classes."""

from __future__ import annotations

import numpy as np


def semantic(instances: np.ndarray, boundary: bool = False) -> np.ndarray:
    """The label map for a map of instance ids.

    Parameters
    ----------
    instances : integer array, (H, W)
        0 is background; every other value is one object.
    boundary : bool
        Whether the rim of each object is a class of its own, which separates touching objects. The rim lies
        inside the object: it is the pixels with another id among their 8 neighbours.

    Returns
    -------
    array, int64, (H, W)
        0 background, 1 object; with `boundary`: 0 background, 1 interior, 2 boundary.
    """
    labels = (instances != 0).astype(np.int64)
    if boundary:
        height, width = instances.shape
        padded = np.pad(instances, 1, mode="edge")  # an object is assumed to continue beyond the edge of the image
        shifts = [(i, j) for i in range(3) for j in range(3) if (i, j) != (1, 1)]
        rim = np.logical_or.reduce([padded[i : i + height, j : j + width] != instances for i, j in shifts])
        labels[rim & (instances != 0)] = 2
    return labels
