"""How the values of an image are shifted and scaled before a network sees them.

A network has to see images as it saw them in its training. Here each image is standardised on its own. Networks of other libraries were
mostly trained on values in 0…1, or on those shifted and scaled by the mean and the deviation of ImageNet's colours.
"""

from __future__ import annotations

import numpy as np

from .base import standardise

WAYS = ("per image", "imagenet", "unit")
"""``"per image"``: mean 0 and deviation 1 (`standardise`); ``"imagenet"``: by ImageNet's mean and deviation; ``"unit"``: 0…1."""

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's colours in 0…1, as torchvision has them


def constants(way: str, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """What is subtracted from values in 0…1, and by what they are divided then: two arrays (C, 1, 1), for "imagenet" and "unit".

    Raises
    ------
    ValueError
        If there is no such way, or the image has no three channels for "imagenet".
    """
    if way == "unit":
        return np.zeros((channels, 1, 1)), np.ones((channels, 1, 1))
    if way != "imagenet":
        raise ValueError(f"no way {way!r} to prepare images: there are {', '.join(map(repr, WAYS))}")
    if channels != 3:
        raise ValueError(f"images are prepared by the mean colour of ImageNet, which is RGB, and this network takes {channels} channels")
    return np.array(_MEAN)[:, None, None], np.array(_DEVIATION)[:, None, None]


def prepared(image: np.ndarray, way: str) -> np.ndarray:
    """An image (C, H, W) from `read_image` as a network takes it, float32. NaN, where nothing was measured, becomes the mean.

    Raises
    ------
    ValueError
        If the image is empty, contains infinity or nothing but NaN, or `way` does not fit.
    """
    if way == "per image":
        return standardise(image)
    mean, deviation = constants(way, len(image))
    if np.isinf(image).any():
        raise ValueError("the image contains infinity")
    return np.nan_to_num(((image - mean) / deviation).astype(np.float32), copy=False)


def way_of(dataset: object) -> str:
    """How a data set prepares its images, one of `WAYS`."""
    given = getattr(dataset, "standardise", True)
    return given if isinstance(given, str) else "per image" if given else "unit"


def full_scale(dtype: np.dtype) -> float:
    """What stored numbers are divided by so that they lie in 0…1: the largest of 8 or 16 bits; 65535 for wider integers; 1 for floats."""
    if dtype.kind not in "iu":
        return 1.0
    return float(np.iinfo(dtype).max) if dtype.itemsize < 4 else 65535.0
