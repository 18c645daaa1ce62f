"""The common base of the data sets whose images and masks lie in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .base import DataError, check_labels
from .images import open_upright, read_image
from .listing import naming
from .preparation import prepared, way_of


class Pairs:
    """A list of file pairs, each read when it is indexed; `Folder` and the published data sets inherit from it.

    A subclass sets the attributes below and implements `_labels`, which reads one mask.

    Attributes
    ----------
    names : list of str
    files : list of (Path, Path)
        The image and the mask of each item. If a mask consists of many files, their folder.
    """

    classes: tuple[str, ...]
    palette: np.ndarray
    in_channels: int
    ignore_index: int
    standardise: bool | str
    names: list[str]
    files: list[tuple[Path, Path]]
    frames: list[int | None] = []

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        image, mask = self.image(k), self.mask(k)
        if image.shape[1:] != mask.shape:
            raise DataError(
                f"{self.files[k][1]}: the mask is {mask.shape} and its image {image.shape[1:]}; export it at the size of the image"
            )
        mask[np.isnan(image).any(axis=0)] = self.ignore_index  # nothing was measured there
        try:
            return prepared(image, way_of(self)), mask
        except ValueError as error:
            raise DataError(naming(self.files[k][0], error)) from error

    def image(self, k: int) -> np.ndarray:
        """The image of item k, not standardised, (C, H, W); NaN where nothing was measured. See `images.read_image`.

        Raises
        ------
        DataError
            If it cannot be read; names the file.
        """
        file = self.files[k][0]
        try:
            return read_image(file, self.in_channels, self.frames[k] if self.frames else None)
        except (OSError, ValueError) as error:
            raise DataError(naming(file, error)) from error

    def mask(self, k: int) -> np.ndarray:
        """The labels of item k, int64 (H, W).

        Raises
        ------
        DataError
            If they cannot be read, or one is neither a class nor `ignore_index`; names the file.
        """
        file = self.files[k][1]
        try:
            labels = self._labels(k)
            check_labels(str(file), labels, len(self.classes), self.ignore_index)
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(naming(file, error)) from error
        return labels

    def _labels(self, k: int) -> np.ndarray:
        """The labels of item k as its mask has them, int64 (H, W)."""
        raise NotImplementedError


def read_indices(file: Path) -> np.ndarray:
    """The numbers that a mask file stores, int64 (H, W): palette indices or grey values.

    Raises
    ------
    DataError
        If the file stores colours: then the indices are lost.
    """
    picture = open_upright(file)
    if picture.mode not in ("P", "L", "1") and not picture.mode.startswith("I"):
        raise DataError(
            f"{file}: the mask has mode {picture.mode}, but the published one stores indices (mode P or L): "
            "a program has converted them to colours; take the file from the archive again"
        )
    return np.asarray(picture).astype(np.int64)
