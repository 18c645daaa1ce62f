"""Class weights from the number of pixels of each class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..data.frequency import median_frequency

if TYPE_CHECKING:
    from ..data import Dataset

METHODS = ("median", "inverse")


def class_weights(dataset: Dataset, method: str = "median") -> np.ndarray:
    r"""Weights that make rare classes count more, from the pixels of a data set.

    Parameters
    ----------
    dataset : Dataset
        Every mask is read once; ignored pixels do not count.
    method : {"median", "inverse"}
        "median" (median-frequency balancing): with :math:`f_c` the number of pixels of class c over the number of
        pixels of the images in which c appears,

        .. math:: w_c = \operatorname{median}(f) / f_c

        "inverse": with n pixels in the C classes that appear, :math:`n_c` of them of class c,

        .. math:: w_c = n / (C\, n_c)

        so that all classes have the same total weight and the mean weight of a pixel is 1.

    Returns
    -------
    array, float32, (C,)
        1 for a class without pixels, which has no effect in training.

    Raises
    ------
    ValueError
        If the method is not one of these, or every pixel is ignored.

    References
    ----------
    Eigen & Fergus, ICCV 2015, section 4 (median frequency); King & Zeng, Political Analysis 2001 (inverse)
    """
    if method not in METHODS:
        raise ValueError(f"class_weights: no method {method!r}: choose {' or '.join(METHODS)}")
    pixels, around = _count(dataset)
    if not pixels.any():
        raise ValueError("class_weights: every pixel of the data set is ignored")
    found = median_frequency(pixels, around) if method == "median" else _inverse(pixels)
    return found.astype(np.float32)


def _inverse(pixels: np.ndarray) -> np.ndarray:
    weights, there = np.ones(len(pixels)), pixels > 0
    weights[there] = pixels.sum() / (there.sum() * pixels[there])
    return weights


def _count(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """For each class, the number of its pixels and the number of pixels of the images in which it appears; int64 (C,)."""
    pixels, around = np.zeros((2, len(dataset.classes)), np.int64)
    for k in range(len(dataset)):
        mask = dataset[k][1]
        counts = np.bincount(mask[mask != dataset.ignore_index], minlength=len(pixels))
        pixels += counts
        around[counts > 0] += counts.sum()
    return pixels, around
