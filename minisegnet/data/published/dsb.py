"""Nuclei of the 2018 Data Science Bowl: a folder for each image, with a mask for each nucleus."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ..base import DataError
from ..colours import class_palette
from ..instances import semantic
from ..listing import files_in, folders_in
from ..pairs import read_indices
from .official import Item, Official


class DSB2018(Official):
    """The nuclei of the 2018 Data Science Bowl: ``stage1_train/ID/images/ID.png`` and ``stage1_train/ID/masks/*.png``.

    There is no published split; use `data.split`.

    Parameters
    ----------
    path : path
        ``stage1_train``, or the folder that holds it.
    split : "all"
    boundary : bool
        False: background and nucleus. True: background, interior and boundary (see `instances.semantic`).
    standardise, in_channels, strict
        See `Official`. The files are RGBA, although three quarters of them are grey; ``in_channels=1`` makes all of them grey.

    References
    ----------
    Caicedo et al., Nature Methods 16.12, 2019
    """

    title = "Data Science Bowl 2018"
    layout = "stage1_train/ID/images/ID.png and stage1_train/ID/masks/*.png"
    marks = ("stage1_train",)
    parts = None

    def __init__(
        self,
        path: str | os.PathLike,
        split: str = "all",
        *,
        boundary: bool = False,
        standardise: bool | str = True,
        in_channels: int = 3,
        strict: bool = True,
    ):
        self.boundary = boundary
        self.classes = ("background", "interior", "boundary") if boundary else ("background", "nucleus")
        self.palette = class_palette(len(self.classes))
        super().__init__(path, split, standardise=standardise, in_channels=in_channels, strict=strict)

    @classmethod
    def root(cls, path: Path) -> Path | None:
        if (path / "stage1_train").is_dir():
            return path / "stage1_train"
        if not path.is_dir() or (path / "images").is_dir() or (path / "masks").is_dir():
            return None
        inner = any((p / "images" / f"{p.name}.png").is_file() for p in folders_in(path))
        return path if path.name == "stage1_train" or inner else None

    def splits(self) -> tuple[str, ...]:
        return ("all",)

    def _listed(self, split: str) -> list[Item]:
        return [Item(p.name, p / "images" / f"{p.name}.png", p / "masks") for p in folders_in(self.path)]

    def instances(self, k: int) -> np.ndarray:
        """The nuclei of item k, int64 (H, W): 0 is background, 1 to n are nuclei. Where two overlap, the later file wins."""
        return self._instances(self.files[k][1])

    def _instances(self, folder: Path) -> np.ndarray:
        files = files_in(folder, "*.png")
        if not files:
            raise DataError(f"{folder}: there is no mask in it; expected a PNG for each nucleus")
        found = read_indices(files[0])
        found[:] = 0
        for number, file in enumerate(files, 1):
            inside = read_indices(file) != 0
            if inside.shape != found.shape:
                raise DataError(f"{file}: the mask is {inside.shape} and others of this image are {found.shape}")
            found[inside] = number
        return found

    def _labels(self, k: int) -> np.ndarray:
        return semantic(self.instances(k), self.boundary)
