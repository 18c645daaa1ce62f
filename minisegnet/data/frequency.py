"""Median-frequency balancing, for `losses.class_weights` and for the table of `data.check`."""

import numpy as np


def median_frequency(pixels: np.ndarray, around: np.ndarray) -> np.ndarray:
    r"""Weights of the classes, :math:`\operatorname{median}(f) / f_c`, from counted pixels.

    :math:`f_c` is the share of class c in the images in which it appears.

    Parameters
    ----------
    pixels : int64, (C,)
        The pixels of each class.
    around : int64, (C,)
        All counted pixels of the images in which the class appears.

    Returns
    -------
    array, float64, (C,)
        1 for a class that has no pixel.

    References
    ----------
    Eigen & Fergus, ICCV 2015, section 4
    """
    weights, there = np.ones(len(pixels)), pixels > 0
    if there.any():
        frequency = pixels[there] / around[there]
        weights[there] = np.median(frequency) / frequency
    return weights
