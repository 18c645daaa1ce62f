"""The common base of the published data sets: a known layout, and published splits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar, NamedTuple

from ..base import DataError
from ..doctor.report import Report
from ..listing import folders_in
from ..pairs import Pairs


class Item(NamedTuple):
    """The files that an item should have by the layout, whether they exist or not."""

    name: str
    image: Path
    mask: Path


class Official(Pairs):
    """A published data set in its own layout.

    Opening lists the files and reports all missing ones in one message. Masks are read, and their labels checked,
    when an item is indexed. ``minisegnet data check`` reads all of them.

    Parameters
    ----------
    path : path
        The folder in which the layout begins, or a folder above it.
    split : str
        One of the published splits.
    standardise : bool or str
        Whether to standardise each image; if not, its values lie in 0…1. Or one of `preparation.WAYS`.
    in_channels : {1, 3}
        The number of channels to convert images to.
    strict : bool
        Whether a missing file is an error. If not, its item is left out and listed in `problems`.

    Attributes
    ----------
    path : Path
        Where the layout begins.
    problems : Report

    Raises
    ------
    DataError
        If the folder has another layout; names what was expected.
    """

    title: ClassVar[str]
    layout: ClassVar[str]  # in words, for messages
    marks: ClassVar[tuple[str, ...]]  # folders; one of them identifies the data set
    begins: ClassVar[tuple[str, ...]] = ("",)  # subfolders in which the layout may begin
    parts: ClassVar[tuple[str, str] | None] = ("train", "val")  # the training and the held-out split; None: split at random
    ignore_index = 255

    def __init__(
        self, path: str | os.PathLike, split: str = "train", *, standardise: bool | str = True, in_channels: int = 3, strict: bool = True
    ):
        if in_channels not in (1, 3):
            raise ValueError(f"{type(self).__name__}: in_channels is 1 or 3, not {in_channels}")
        root = self.root(Path(path))
        if root is None:
            raise DataError(f"{path}: this is not the layout of {self.title}. Expected: {self.layout}{self.hint(Path(path))}")
        self.path, self.split, self.standardise, self.in_channels = root, split, standardise, in_channels
        if split not in (known := self.splits()):
            raise DataError(
                f"{root}: {self.title} has no split {split!r} here; there {'is' if len(known) == 1 else 'are'} {', '.join(known)}"
            )
        self.problems = Report()
        items = [item for item in sorted(self._listed(split)) if self._complete(item)]
        if strict:
            self.problems.raise_if_any(root)
        if not items:
            raise DataError(f"{root}: the split {split!r} of {self.title} is empty. Expected: {self.layout}")
        self.names = [item.name for item in items]
        self.files = [(item.image, item.mask) for item in items]

    @classmethod
    def root(cls, path: Path) -> Path | None:
        """The folder in which the layout begins, or None if this is another data set."""
        for begin in cls.begins:
            if any((path / begin / mark).is_dir() for mark in cls.marks):
                return path / begin
        return None

    @classmethod
    def hint(cls, path: Path) -> str:
        """ ". Perhaps you mean …" if the layout begins above the folder, else ""."""
        near = list(path.absolute().parents)[:3]
        above = next((p for p in near if any((p / mark).is_dir() for mark in cls.marks)), None)
        return f". Perhaps you mean {above}" if above else ""

    def splits(self) -> tuple[str, ...]:
        """The names of the splits that exist."""
        raise NotImplementedError

    def disjoint(self) -> tuple[str, ...]:
        """Splits that share no image and together contain all images; the training split comes first."""
        return tuple(sorted(self.splits(), key=lambda split: (split != (self.parts or ("",))[0], split == "test")))

    def _listed(self, split: str) -> list[Item]:
        """The items that a split should have by the layout."""
        raise NotImplementedError

    def _needed(self, *folders: str) -> None:
        """Raise DataError if a folder of the layout is missing; names it."""
        for folder in folders:
            if not (self.path / folder).is_dir():
                there = ", ".join([p.name + "/" for p in folders_in(self.path)][:10])
                raise DataError(f"{self.path}: there is no {folder}/ in it, only {there}. {self.title} is {self.layout}")

    def _complete(self, item: Item) -> bool:
        """Whether both files exist; a missing one is added to the problems."""
        there = [file.exists() for file in (item.image, item.mask)]
        if not all(there):
            lost, kept = (item.image, item.mask) if not there[0] else (item.mask, item.image)
            other = f", but {self._short(kept)} exists" if any(there) else ", and so is its mask"
            self.problems.add("missing", f"{self._short(lost)} is missing{other}", file=lost)
        return all(there)

    def _short(self, file: Path) -> str:
        """A file by its path in the data set."""
        return str(file.relative_to(self.path)) if file.is_relative_to(self.path) else str(file)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({str(self.path)!r}, {self.split!r}): {len(self)} images, "
            f"{len(self.classes)} classes: {', '.join(self.classes[:8])}{', …' if len(self.classes) > 8 else ''}"
        )
