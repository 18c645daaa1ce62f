"""How much a pixel of each class shall count, from how many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..data import Dataset

METHODS = ("median", "inverse")


def class_weights(dataset: Dataset, method: str = "median") -> np.ndarray:
    r"""Weights that let rare classes count more, from the pixels of a data set.

    Parameters
    ----------
    dataset : Dataset
        Its masks are read once; ignored pixels do not count.
    method : {"median", "inverse"}
        "median" (median-frequency balancing): with :math:`f_c`, the pixels of class c over all pixels of the
        images in which c appears,

        .. math:: w_c = \operatorname{median}(f) / f_c

        "inverse": of n counted pixels in C classes that appear, :math:`n_c` of class c,

        .. math:: w_c = n / (C\, n_c)

        so that every class has the same say, and the mean weight of a pixel is 1.

    Returns
    -------
    array, float32, (C,)
        1 for a class of which there is no pixel: it is never asked for in training.

    Raises
    ------
    ValueError
        If there is no such method, or every pixel is ignored.

    References
    ----------
    Eigen & Fergus, ICCV 2015, section 4 (median frequency); King & Zeng, Political Analysis 2001 (inverse)
    """
    if method not in METHODS:
        raise ValueError(f"class_weights: no method {method!r}: choose {' or '.join(METHODS)}")
    pixels, around = _count(dataset)
    there = pixels > 0
    if not there.any():
        raise ValueError("class_weights: the data set has no pixel that counts: every one is ignored")
    if method == "median":
        frequency = pixels[there] / around[there]
        found = np.median(frequency) / frequency
    else:
        found = pixels.sum() / (there.sum() * pixels[there])
    weights = np.ones(len(pixels), np.float32)
    weights[there] = found
    return weights


def _count(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """For each class its pixels, and the pixels of the images in which it appears; int64 (C,)."""
    pixels, around = np.zeros((2, len(dataset.classes)), np.int64)
    for k in range(len(dataset)):
        mask = dataset[k][1]
        counts = np.bincount(mask[mask != dataset.ignore_index], minlength=len(pixels))
        pixels += counts
        around[counts > 0] += counts.sum()
    return pixels, around
