"""Cityscapes: street scenes of 50 cities.

Its masks store 34 labelIds. 19 of them are classes for training and evaluation, with the trainIds 0 to 18. The
others (the car's own bonnet, the area outside the frame, rare classes) are ignored.
"""

from __future__ import annotations

import os
from typing import ClassVar

import numpy as np

from ..base import DataError
from ..listing import files_in, folders_in
from ..pairs import read_indices
from .official import Item, Official

# labelId, name, category, colour, in the order of the trainIds. Source: cityscapesScripts, helpers/labels.py.
_CLASSES = (
    (7, "road", "flat", (128, 64, 128)),
    (8, "sidewalk", "flat", (244, 35, 232)),
    (11, "building", "construction", (70, 70, 70)),
    (12, "wall", "construction", (102, 102, 156)),
    (13, "fence", "construction", (190, 153, 153)),
    (17, "pole", "object", (153, 153, 153)),
    (19, "traffic light", "object", (250, 170, 30)),
    (20, "traffic sign", "object", (220, 220, 0)),
    (21, "vegetation", "nature", (107, 142, 35)),
    (22, "terrain", "nature", (152, 251, 152)),
    (23, "sky", "sky", (70, 130, 180)),
    (24, "person", "human", (220, 20, 60)),
    (25, "rider", "human", (255, 0, 0)),
    (26, "car", "vehicle", (0, 0, 142)),
    (27, "truck", "vehicle", (0, 0, 70)),
    (28, "bus", "vehicle", (0, 60, 100)),
    (31, "train", "vehicle", (0, 80, 100)),
    (32, "motorcycle", "vehicle", (0, 0, 230)),
    (33, "bicycle", "vehicle", (119, 11, 32)),
)
_IDS = 34
_LICENCE_PLATE = 255  # its labelId is −1


def _train_ids() -> np.ndarray:
    """The trainId of each labelId, int64 (256,); −1 for numbers that are not labelIds."""
    table = np.full(256, -1, np.int64)
    table[:_IDS] = table[_LICENCE_PLATE] = 255
    table[[row[0] for row in _CLASSES]] = np.arange(len(_CLASSES))
    return table


class Cityscapes(Official):
    """Cityscapes: 2048×1024 street scenes with 19 classes, in all cities of a split.

    Parameters
    ----------
    path : path
        The folder that holds ``leftImg8bit/`` and ``gtFine/``.
    split : {"train", "val", "test", "train_extra"}
        2975, 500 and 1525 images, and 19,998 with coarse labels. The labels of "test" are not public: all its pixels are ignored.
    annotation : {"gtFine", "gtCoarse"}
        Fine or coarse labels; "train_extra" has only coarse ones.
    standardise, in_channels, strict
        See `Official`.

    Attributes
    ----------
    categories : dict, name → classes
        The groups of the benchmark, for `ConfusionMatrix.grouped`.

    References
    ----------
    Cordts et al., CVPR 2016
    """

    title = "Cityscapes"
    layout = "leftImg8bit/SPLIT/CITY/*_leftImg8bit.png and gtFine/SPLIT/CITY/*_gtFine_labelIds.png"
    marks = ("leftImg8bit", "gtFine", "gtCoarse")
    begins = ("", "cityscapes", "Cityscapes")
    classes = tuple(name for _, name, _, _ in _CLASSES)
    palette = np.array([colour for *_, colour in _CLASSES], np.uint8)
    categories: ClassVar[dict[str, list[int]]] = {
        category: [k for k, row in enumerate(_CLASSES) if row[2] == category] for category in dict.fromkeys(row[2] for row in _CLASSES)
    }
    train_ids = _train_ids()

    def __init__(
        self,
        path: str | os.PathLike,
        split: str = "train",
        *,
        annotation: str = "gtFine",
        standardise: bool | str = True,
        in_channels: int = 3,
        strict: bool = True,
    ):
        if annotation not in ("gtFine", "gtCoarse"):
            raise ValueError(f"Cityscapes: annotation is 'gtFine' or 'gtCoarse', not {annotation!r}")
        self.annotation = annotation
        super().__init__(path, split, standardise=standardise, in_channels=in_channels, strict=strict)

    def splits(self) -> tuple[str, ...]:
        self._needed("leftImg8bit", self.annotation)
        return tuple(p.name for p in folders_in(self.path / "leftImg8bit"))

    def disjoint(self) -> tuple[str, ...]:
        # Images without labels cannot be checked, such as those of train_extra if the coarse labels are missing.
        labelled = {p.name for p in folders_in(self.path / self.annotation)}
        return tuple(split for split in super().disjoint() if split in labelled or split in ("train", "val"))

    def _listed(self, split: str) -> list[Item]:
        self._needed(f"{self.annotation}/{split}")
        images, masks = self.path / "leftImg8bit" / split, self.path / self.annotation / split
        endings = "_leftImg8bit.png", f"_{self.annotation}_labelIds.png"
        names: set[str] = set()
        for folder, ending in ((images, endings[0]), (masks, endings[1])):
            for city in folders_in(folder):
                names |= {f"{city.name}/{file.name.removesuffix(ending)}" for file in files_in(city, f"*{ending}")}
        return [Item(name, images / (name + endings[0]), masks / (name + endings[1])) for name in sorted(names)]

    def _labels(self, k: int) -> np.ndarray:
        file = self.files[k][1]
        ids = read_indices(file)
        found = self.train_ids[np.clip(ids, 0, 255)]
        if (stray := ids[(found < 0) | (ids > 255)]).size:
            raise DataError(
                f"{file}: {stray[0]} is not a labelId ({stray.size} pixels); expected 0 to 33. "
                "Is it the right file? Expected _labelIds.png, not _labelTrainIds, _instanceIds or _color"
            )
        return found
