"""Pascal VOC, and the Semantic Boundaries Dataset (SBD), which labels more of its images.

The masks are palette PNGs. The index that a pixel stores is its class; the palette only gives the colour in which
programs show it. Index 255, shown in cream, marks the unlabelled rims of objects.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from ..base import DataError
from ..colours import palette
from ..imagefile import SUFFIXES
from ..layout import listed_names
from ..listing import files_below, files_in
from ..names import names_of
from ..pairs import read_indices
from .matlab import check_scipy, read_field
from .official import Item, Official

_NAME = re.compile(r"(\d{4}_)?\d{6}")  # of an image: 2007_000032, and 000032 in the year 2007
_LISTS = Path("ImageSets") / "Segmentation"
_SBD = ("benchmark_RELEASE/dataset", "benchmark/benchmark_RELEASE/dataset", "SBD/dataset", "sbd/dataset", "SBD", "sbd")


class PascalVOC(Official):
    """Pascal VOC, 2007 to 2012: 20 classes of objects and the background.

    Parameters
    ----------
    path : path
        ``VOC2012``, ``VOCdevkit``, or the folder that contains it.
    split : str
        One of the lists in ``ImageSets/Segmentation``: "train" (1464 images in 2012), "val" (1449), "trainval"
        (2913). With the labels of SBD also "train_aug": all images that VOC or SBD labels, without "val" (10,582
        images). The images of "train" keep the masks of VOC.
    sbd : path, optional
        The folder with ``cls/``, ``train.txt`` and ``val.txt`` of SBD; its MATLAB files need SciPy
        (``pip install scipy``). By default these, or the same labels as PNGs in
        ``SegmentationClassAug/``, are searched for beside the data.
    standardise, in_channels, strict
        See `Official`.

    References
    ----------
    Everingham et al., IJCV 111, 2015; Hariharan et al., ICCV 2011 (SBD)
    """

    title = "Pascal VOC"
    layout = "JPEGImages/, SegmentationClass/ and ImageSets/Segmentation/ in VOCdevkit/VOC2012/"
    marks = ("JPEGImages", "SegmentationClass")
    begins = tuple(
        f"{above}{year}" for year in ("", *(f"VOC{y}" for y in range(2012, 2006, -1))) for above in ("", "VOCdevkit/") if year or not above
    )
    classes = (
        "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
        "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
    )  # fmt: skip
    palette = palette(21)

    def __init__(
        self,
        path: str | os.PathLike,
        split: str = "train",
        *,
        sbd: str | os.PathLike | None = None,
        standardise: bool | str = True,
        in_channels: int = 3,
        strict: bool = True,
    ):
        self._sbd = sbd
        super().__init__(path, split, standardise=standardise, in_channels=in_channels, strict=strict)

    @classmethod
    def root(cls, path: Path) -> Path | None:
        """As in `Official`. Programs for labelling write the same folders with classes of their own, which is another data set: its images
        have other names, or a file in it lists other classes."""
        found = super().root(path)
        if found is None or not (found / "JPEGImages").is_dir():
            return found
        own = names_of([found])
        images = files_in(found / "JPEGImages")
        named = sum(_NAME.fullmatch(p.stem) is not None for p in images)
        other = (own is not None and set(own.classes) != set(cls.classes)) or 2 * named < len(images)
        return None if images and other else found

    def splits(self) -> tuple[str, ...]:
        self._needed("JPEGImages", "SegmentationClass", str(_LISTS))
        lists = tuple(p.stem for p in files_in(self.path / _LISTS, "*.txt") if p.stem not in ("trainaug", "train_aug"))
        return (*lists, "train_aug") if self._more() is not None else lists

    def disjoint(self) -> tuple[str, ...]:
        return ("train_aug" if "train_aug" in self.splits() else "train", "val")

    def _listed(self, split: str) -> list[Item]:
        if split == "train_aug":
            return self._augmented()
        return [self._item(name, self.path / "SegmentationClass" / f"{name}.png") for name in self._list(split)]

    def _item(self, name: str, mask: Path) -> Item:
        usual = self.path / "JPEGImages" / f"{name}.jpg"
        image = next((file for file in (usual, *map(usual.with_suffix, SUFFIXES)) if file.exists()), usual)
        if mask.suffix == ".mat" and not image.exists():  # SBD comes with its images
            image = mask.parents[1] / "img" / f"{name}.jpg"
        return Item(name, image, mask)

    def _list(self, split: str) -> list[str]:
        file = self.path / _LISTS / f"{split}.txt"
        if not file.is_file():
            raise DataError(f"{file}: there is no such list of the images of the split {split!r}")
        folder = self.path / "JPEGImages"
        inner = files_below(folder) if folder.is_dir() else []
        return listed_names(file, {p.relative_to(folder).with_suffix("").as_posix() for p in inner})

    def _more(self) -> Path | None:
        """The folder with the labels of SBD: ``SegmentationClassAug/`` with PNGs, or ``cls/`` with MATLAB files."""
        if self._sbd is not None:
            if not (Path(self._sbd) / "cls").is_dir():
                raise DataError(
                    f"{self._sbd}: there is no cls/ in it; expected the folder dataset/ of SBD, with cls/, train.txt and val.txt"
                )
            return Path(self._sbd) / "cls"
        near = [self.path / "SegmentationClassAug"]
        near += [above / name / "cls" for above in (self.path, *list(self.path.absolute().parents)[:2]) for name in _SBD]
        return next((folder for folder in near if folder.is_dir()), None)

    def _augmented(self) -> list[Item]:
        folder = self._more()
        assert folder is not None
        own, held_out = set(self._list("train")), set(self._list("val"))
        if folder.name == "cls":
            check_scipy(folder)
            suffix, names = ".mat", {name for part in ("train", "val") for name in names_in(folder.parent / f"{part}.txt")}
        else:
            lists = [self.path / _LISTS / f"{name}.txt" for name in ("trainaug", "train_aug")]
            given = next((file for file in lists if file.is_file()), None)
            suffix, names = ".png", set(names_in(given)) if given else {p.stem for p in files_in(folder, "*.png")}
        return [
            self._item(name, self.path / "SegmentationClass" / f"{name}.png" if name in own else folder / f"{name}{suffix}")
            for name in sorted((names | own) - held_out)
        ]

    def _labels(self, k: int) -> np.ndarray:
        file = self.files[k][1]
        if file.suffix == ".mat":
            return read_field(file, "GTcls", "Segmentation").astype(np.int64)
        return read_indices(file)


def names_in(file: Path) -> list[str]:
    """The names in a list, one per line. If a line contains paths, the name of the first file is used.

    Raises
    ------
    DataError
        If the list does not exist or is empty.
    """
    if not file.is_file():
        raise DataError(f"{file}: there is no such list of images")
    return listed_names(file, ())
