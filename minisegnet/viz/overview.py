"""A reduced picture of an image under its labels, collected strip by strip."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ..files import write_atomically
from .pictures import overlay

_LARGEST = 2048  # rows and columns


class Overview:
    """Every k-th row and column of an image and of its labels; at most 2048 of each.

    Parameters
    ----------
    size : (int, int)
        H, W of the whole image.
    """

    def __init__(self, size: tuple[int, int]):
        self._step = max(1, -(-max(size) // _LARGEST))
        self._images: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []

    def add(self, start: int, image: np.ndarray, labels: np.ndarray) -> None:
        """Add the next strip.

        Parameters
        ----------
        start : int
            The row of the whole image at which the strip begins.
        image : array, (C, h, W)
        labels : integer array, (h, W)
        """
        first = -start % self._step
        self._images.append(image[:, first :: self._step, :: self._step].copy())
        self._labels.append(labels[first :: self._step, :: self._step].astype(np.uint8))

    def save(self, path: str | os.PathLike, palette: np.ndarray, background: int | None = 0) -> Path:
        """Write the image under its labels as PNG; `palette` and `background` are those of `overlay`."""
        from PIL import Image

        picture = overlay(
            np.concatenate(self._images, 1),
            np.concatenate(self._labels),
            palette,
            background=background,
            ignore_index=255 if len(palette) < 256 else -1,
        )
        return write_atomically(path, lambda stream: Image.fromarray(picture).save(stream, "PNG"))
