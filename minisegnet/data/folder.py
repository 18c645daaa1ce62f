"""A user's own data: images and masks in folders, wherever they lie in it."""

from __future__ import annotations

import copy
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .base import DataError
from .doctor.report import Report
from .imagefile import Header, header
from .layout import Layout, find, listed_names
from .listing import by, explained, folders_in, short, similar
from .masks import FractionsError, Scan
from .meaning import Meaning
from .names import names_of
from .pairing import paired
from .pairs import Pairs


class Folder(Pairs):
    """Images and masks in folders, paired by the names of their files.

    The usual form is ``images/a.jpg`` with ``masks/a.png``. Other names of the two folders, masks with another ending of their names, image
    and mask side by side, folders or lists of splits, and files that hold a stack of images are found; see `layout` and `pairing`.
    Opening checks the header of every image and the labels of every mask, and reports all problems in one message.

    Parameters
    ----------
    path : path
        The folder: PNG, JPEG, TIFF, BMP, WebP, GIF.
    classes : sequence of str or int, optional
        Names of the classes, or their number. By default what a file in the folder says (see `names`), else the classes that occur.
    ignore_index : int, optional
        The value in the masks that means "not labelled"; by default 255, except that ``masks="levels"`` then takes every value for a class.
    standardise : bool or str
        Whether to standardise each image; if not, its values lie in 0…1. Or one of `preparation.WAYS`.
    in_channels : int, optional
        The number of channels: 1 or 3 to convert grey and colour into each other; by default that of most images.
    masks : {"auto", "classes", "binary", "levels", "soft", "instances", "palette", "colours"}
        What the values of a mask mean. "auto" decides by the rules in `masks.detect`; `kind_reason` says
        which rule applied. Grey values that are not 0, 1, 2, … are then an error, which says what they may be.
    levels : sequence of int, optional
        For ``masks="levels"``: the grey value of each class, rising; by default the values that occur.
    threshold : float
        For ``masks="soft"``: the least foreground value, as a share of full scale (255, 65535, or 1 for fractions).
    boundary : bool
        Whether to make three classes from masks of instances: background, interior, boundary.
    colours : dict, name → colour, optional
        For masks in RGB: ``{"road": "#804080", "sky": (70, 130, 180)}``, in the order of the classes. The
        name "ignore" marks pixels without a class.
    images, masks_dir : str, optional
        The folders of images and of masks, where their names are unusual.
    mask_suffix : str, optional
        What the names of masks have behind those of their images, where it is not found.
    strict : bool
        Whether a pair that cannot be used is an error. If not, it is left out and listed in `problems`.

    Attributes
    ----------
    kind, kind_reason : str
        How the masks are read, and why.
    levels : tuple of int or None
        With the kind "levels", the grey value of each class.
    splits : dict, name → list of int
        The items of each split that the folder has; see `part`.
    groups : list of str
        For each item what it belongs to: the stack that it is a frame of, or its folder inside the folder of images. `data.split` does
        not divide a group.
    frames : list of int or None
        For each item its number in a file that holds several.
    notes : tuple of str
        Remarks that are not problems.
    problems : Report

    Raises
    ------
    DataError
        With a report that names the files and says what to do about each kind of problem.
    """

    parts: ClassVar[tuple[str, str] | None] = None

    def __init__(
        self,
        path: str | os.PathLike,
        *,
        classes: Sequence[str] | int | None = None,
        ignore_index: int | None = None,
        standardise: bool | str = True,
        in_channels: int | None = None,
        masks: str = "auto",
        levels: Sequence[int] | None = None,
        threshold: float = 0.5,
        boundary: bool = False,
        colours: Mapping[str, Any] | None = None,
        images: str | None = None,
        masks_dir: str | None = None,
        mask_suffix: str | None = None,
        strict: bool = True,
    ):
        if in_channels is not None and in_channels < 1:
            raise ValueError(f"Folder: in_channels is a number of channels, 1 or more, not {in_channels}")
        self.path, self.standardise = Path(path), standardise
        layout = layout_of(self.path, images, masks_dir)
        names = names_of([self.path, *(place.images for place in layout.places), *(place.images.parent for place in layout.places)])
        self._meaning = meaning = Meaning(masks, classes, levels, threshold, boundary, colours, ignore_index, names)
        self._notes: list[str] = []
        self.problems = report = Report()
        self._pair(layout, mask_suffix, report)
        headers, scans = self._opened(report)
        if not scans:
            report.raise_if_any(self.path)
        meaning.decide(scans, report, self.path, self._notes)
        self.classes, self.palette, self.ignore_index = meaning.classes, meaning.palette, meaning.ignore_index
        self.kind, self.kind_reason, self.levels, self.colours = meaning.kind, meaning.reason, meaning.levels, meaning.colours
        self._choose_channels(headers, in_channels, report)
        if strict:
            report.raise_if_any(self.path)
        self._keep([not {*pair} & report.files for pair in self.files])
        if not self.names:
            report.raise_if_any(self.path)
        self.notes = tuple(self._notes)

    def part(self, split: str) -> Folder:
        """The items of a split as a data set of their own, whose masks are read as those of the whole folder.

        Raises
        ------
        DataError
            If the folder has no such split; names those that it has.
        """
        if split not in self.splits:
            known = (
                f"there {'is' if len(self.splits) == 1 else 'are'} {', '.join(self.splits)}"
                if self.splits
                else "it is not divided into splits"
            )
            raise DataError(f"{self.path}: no split {split!r} here; {known}")
        if not self.splits[split]:
            raise DataError(f"{self.path}: the split {split!r} is empty")
        part = copy.copy(self)
        part._keep([k in self.splits[split] for k in range(len(self))])
        return part

    def _labels(self, k: int) -> np.ndarray:
        return self._meaning.labels(self.files[k][1], self.frames[k])

    def __repr__(self) -> str:
        channels = {1: "grey", 3: "colour"}.get(self.in_channels, f"{self.in_channels} channels")
        lines = [f"Folder({str(self.path)!r}): {len(self)} images ({channels}), {len(self.classes)} classes: {', '.join(self.classes[:8])}"]
        lines += [f"  masks read as {self.kind}: {self.kind_reason}", *(f"  {note}" for note in self.notes)]
        return "\n".join(lines)

    # --- opening -----------------------------------------------------------------------

    def _pair(self, layout: Layout, suffix: str | None, report: Report) -> None:
        """List the items and their splits. An item of a folder of a split is named SPLIT/NAME, one of a group GROUP/NAME."""
        self.names, self.files, self.groups, self.splits = [], [], [], {}
        for place in layout.places:
            found = paired(place, suffix, report, self._notes)
            if found.how and found.how not in self._notes:
                self._notes.append(found.how)
            before = "".join(f"{part}/" for part in (place.split, place.group) if part)
            for stem in sorted(found.images.keys() - found.masks.keys()):
                report.add("no mask", short(found.images[stem]), similar(stem, found.masks))
            for stem in sorted(found.masks.keys() - found.images.keys()):
                report.add("no image", short(found.masks[stem]))
            both = sorted(found.images.keys() & found.masks.keys())
            self.names += [before + stem for stem in both]
            self.files += [(found.images[stem], found.masks[stem]) for stem in both]
            self.groups += [before + ("" if place.group else stem) for stem in both]
        self.frames = [None] * len(self.names)
        if films := {place.group for place in layout.places if place.group}:
            self._notes.append(f"{len(films)} folders inside the folder of images are groups, whose images stay together")
        if layout.lists:
            self._divide(layout, report)
        else:
            self.splits = {split: [k for k, name in enumerate(self.names) if name.startswith(f"{split}/")] for split in layout.splits}
        if not self.names:
            report.raise_if_any(self.path)

    def _divide(self, layout: Layout, report: Report) -> None:
        """Keep the items that lists name. Images that no list names have no mask in most such folders, and are none of these data."""
        places = {name: k for k, name in enumerate(self.names)}
        for split in layout.splits:
            names = listed_names(layout.lists[split], places)
            for name in names:
                if name not in places:
                    report.add("missing", f"{name}, in {layout.lists[split].name}")
            self.splits[split] = sorted(places[name] for name in names if name in places)
        listed = {k for items in self.splits.values() for k in items}
        for kind in ("no mask", "no image"):
            report.problems.pop(kind, None)
        self._keep([k in listed for k in range(len(self.names))])

    def _opened(self, report: Report) -> tuple[list[tuple[Path, Header]], list[tuple[Path, Scan]]]:
        """Headers of the images and values of the masks, read by threads: Pillow releases the interpreter's lock while it decodes."""

        def attempt(function: Any, *arguments: Any) -> Any:
            try:
                return function(*arguments)
            except Exception as error:  # a damaged file can make Pillow raise nearly anything
                return error

        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            image_headers = list(pool.map(lambda pair: attempt(header, pair[0]), self.files))
            mask_headers = list(pool.map(lambda pair: attempt(header, pair[1]), self.files))
            self._unstack(image_headers, mask_headers, report)
            scans = list(pool.map(lambda k: attempt(self._meaning.scan, self.files[k][1], self.frames[k]), range(len(self.files))))
        headers, good = [], []
        for k, (image, mask) in enumerate(self.files):
            found, opened, values = image_headers[k], mask_headers[k], scans[k]
            for file, result in ((image, found), (mask, opened if isinstance(opened, Exception) else values)):
                if isinstance(result, Exception) and file not in report.files:
                    report.add(
                        "fractions" if isinstance(result, FractionsError) else "unreadable",
                        f"{short(file)}: {explained(result)}",
                        file=file,
                    )
            if isinstance(found, Header):
                headers.append((image, found))
            if isinstance(values, Scan):
                good.append((mask, values))
                if isinstance(found, Header) and found.size != values.size:
                    report.add("size", f"{short(mask)}: {by(values.size)}, its image is {by(found.size)}", file=mask)
        return headers, good

    def _unstack(self, images: list[Any], masks: list[Any], report: Report) -> None:
        """Make an item of each frame of a stack whose mask has as many."""
        rows: list[tuple[Any, ...]] = []
        places: dict[int, list[int]] = {}
        for k, (name, pair, found, opened) in enumerate(zip(self.names, self.files, images, masks, strict=True)):
            counts = [h.frames if isinstance(h, Header) else 1 for h in (found, opened)]
            each = range(counts[0]) if counts[0] == counts[1] > 1 else [None]
            if counts[0] != counts[1]:
                report.add("frames", f"{short(pair[0])} holds {counts[0]}, its mask {short(pair[1])} holds {counts[1]}", file=pair[1])
            places[k] = list(range(len(rows), len(rows) + len(each)))
            of = self.groups[k]
            rows += [(name if n is None else f"{name}[{n:0{len(str(counts[0] - 1))}}]", pair, of, n, found, opened) for n in each]
        self.names, self.files, self.groups, self.frames, images[:], masks[:] = (list(column) for column in zip(*rows, strict=True))
        self.splits = {split: [n for k in items for n in places[k]] for split, items in self.splits.items()}

    def _keep(self, kept: Sequence[bool]) -> None:
        """Drop items."""
        place = np.cumsum(kept) - 1
        self.splits = {split: [int(place[k]) for k in items if kept[k]] for split, items in self.splits.items()}
        for name in ("names", "files", "groups", "frames"):
            setattr(self, name, [value for value, keep in zip(getattr(self, name), kept, strict=True) if keep])

    def _choose_channels(self, headers: list[tuple[Path, Header]], asked: int | None, report: Report) -> None:
        counts = Counter(h.channels for _, h in headers)
        self.in_channels = asked or max(counts, key=lambda c: (counts[c], c), default=1)
        others = [(file, h.channels) for file, h in headers if h.channels != self.in_channels]
        for file, channels in others:
            if {channels, self.in_channels} != {1, 3}:
                report.add("channels", f"{short(file)}: {channels}, expected {self.in_channels}", file=file)
        if others:
            self._notes.append(
                f"{len(others)} of {len(headers)} images have another number of channels and are converted to {self.in_channels}"
            )


def layout_of(path: Path, images: str | None = None, masks_dir: str | None = None) -> Layout:
    """The layout of a folder (see `layout.find`).

    Raises
    ------
    DataError
        If the folder has no known layout. The message says what is there and what was expected.
    """
    if not path.is_dir():
        raise DataError(
            f"{path}: {'this is a file, not a folder' if path.exists() else 'there is no such folder'}; expected a folder with images/ and masks/"
        )
    found = find(path, images, masks_dir)
    if found is not None:
        return found
    there = [p.name for p in folders_in(path)]
    missing = next((part for part in ("images", "masks") if part not in there), "images")
    up = f" Perhaps you mean {path.parent}." if path.parent != path and find(path.parent) is not None else ""
    raise DataError(
        f"{path}: there is no {missing}/ in it, only {', '.join(f'{name}/' for name in there[:10]) or 'no folders'}. Expected images/ and masks/; "
        f"other names can be given: images= (--images), masks_dir= (--masks-dir), mask_suffix= (--mask-suffix).{up}"
    )
