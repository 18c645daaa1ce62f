"""A user's own data: a folder with ``images/`` and ``masks/``."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .base import DataError
from .colours import class_palette
from .doctor.report import Report
from .grey import counted, listed, nature, suspicion
from .images import Header, header
from .listing import by, explained, listed_files, short, similar
from .masks import KINDS, ColourTable, Scan, decode, detect, full_scale, hexadecimal, ranks, read_raw, scan
from .pairs import Pairs

_LEVELS = 64  # more levels than this are not taken for classes


class Folder(Pairs):
    """Images in ``images/`` and masks in ``masks/``, paired by file name without its ending.

    Opening checks the header of every image and the labels of every mask, and reports all problems in one message.

    Parameters
    ----------
    path : path
        The folder that holds ``images/`` and ``masks/``: PNG, JPEG, TIFF, BMP, WebP.
    classes : sequence of str or int, optional
        Names of the classes, or their number. By default the classes that occur in the masks.
    ignore_index : int, optional
        The value in the masks that means "not labelled"; by default 255, except that ``masks="levels"`` then takes every value for a class.
    standardise : bool
        Whether to standardise each image; if not, its values lie in 0…1.
    in_channels : {1, 3}, optional
        The number of channels to convert images to; by default that of most images.
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
    strict : bool
        Whether a pair that cannot be used is an error. If not, it is left out and listed in `problems`.

    Attributes
    ----------
    kind, kind_reason : str
        How the masks are read, and why.
    levels : tuple of int or None
        With the kind "levels", the grey value of each class.
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
        standardise: bool = True,
        in_channels: int | None = None,
        masks: str = "auto",
        levels: Sequence[int] | None = None,
        threshold: float = 0.5,
        boundary: bool = False,
        colours: Mapping[str, Any] | None = None,
        strict: bool = True,
    ):
        if masks not in ("auto", *KINDS):
            raise ValueError(f"Folder: masks is 'auto' or one of {', '.join(map(repr, KINDS))}, not {masks!r}")
        if in_channels not in (None, 1, 3):
            raise ValueError(f"Folder: in_channels is 1 or 3, not {in_channels}")
        if masks == "colours" and colours is None:
            raise ValueError("Folder: masks='colours' needs colours={name: colour, ...}")
        if boundary and masks not in ("auto", "instances"):
            raise ValueError(f"Folder: boundary=True is made from instances; it does not go with masks={masks!r}")
        if levels is not None and (masks != "levels" or len(levels) < 2 or sorted(set(levels)) != list(levels)):
            raise ValueError(
                f"Folder: levels= are two or more rising grey values, and go with masks='levels'; got {levels!r} with {masks!r}"
            )
        if not 0 < threshold <= 1 or (threshold != 0.5 and masks != "soft"):
            raise ValueError(
                f"Folder: threshold= is a share above 0 and up to 1, and goes with masks='soft'; got {threshold} with {masks!r}"
            )
        self.path, self.standardise, self.boundary = Path(path), standardise, boundary
        self.ignore_index = 255 if ignore_index is None or masks == "levels" else ignore_index
        self._ignored_value = ignore_index
        self.levels, self._threshold = None if levels is None else tuple(map(int, levels)), threshold
        self._guessed = classes is None and masks == "auto"
        self._undecided = False  # whether the report says that the values are not what they were taken for
        self._table = ColourTable(colours, self.ignore_index) if colours is not None else None
        self._notes: list[str] = []
        self.problems = report = Report()
        images, mask_files = listed_files(self.path, "images", report, self._notes), listed_files(self.path, "masks", report, self._notes)
        self._pair(images, mask_files, report)
        headers, scans = self._opened(masks, report)
        self._choose_kind(masks, classes, scans, report)
        self._check_labels(scans, report)
        if strict:
            report.raise_if_any(self.path)
        self._leave_out(report)
        self.palette = self._colours_of(scans)
        self._choose_channels(headers, in_channels)
        self.notes = tuple(self._notes)

    def _labels(self, file: Path) -> np.ndarray:
        raw = read_raw(file, self.kind)
        if self.kind == "levels":
            return ranks(raw, np.array(self.levels), self._ignored_value)
        if self.kind == "soft":
            return (raw >= self._threshold * full_scale(raw)).astype(np.int64)
        return decode(raw, self.kind, self.boundary, self._table)

    def __repr__(self) -> str:
        lines = [
            f"Folder({str(self.path)!r}): {len(self)} images ({'grey' if self.in_channels == 1 else 'colour'}), {len(self.classes)} classes: {', '.join(self.classes[:8])}"
        ]
        lines += [f"  masks read as {self.kind}: {self.kind_reason}", *(f"  {note}" for note in self.notes)]
        return "\n".join(lines)

    # --- opening -----------------------------------------------------------------------

    def _pair(self, images: dict[str, Path], masks: dict[str, Path], report: Report) -> None:
        for stem in sorted(images.keys() - masks.keys()):
            report.add("no mask", short(images[stem]), similar(stem, masks))
        for stem in sorted(masks.keys() - images.keys()):
            report.add("no image", short(masks[stem]))
        self.names = sorted(images.keys() & masks.keys())
        self.files = [(images[stem], masks[stem]) for stem in self.names]
        if not self.names:
            report.raise_if_any(self.path)

    def _opened(self, masks: str, report: Report) -> tuple[list[Header], list[tuple[Path, Scan]]]:
        """Headers of the images and labels of the masks, read by threads: Pillow releases the interpreter's lock while it decodes."""

        def attempt(function: Any, file: Path) -> Any:
            try:
                return function(file)
            except Exception as error:  # a damaged file can make Pillow raise nearly anything
                return error

        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            image_headers = list(pool.map(lambda pair: attempt(header, pair[0]), self.files))
            mask_headers = list(pool.map(lambda pair: attempt(header, pair[1]), self.files))
            kind = "colours" if self._table is not None else masks
            mask_scans = list(pool.map(lambda pair: attempt(lambda file: scan(file, kind), pair[1]), self.files))
        headers, scans = [], []
        for (image, mask), found, opened, labels in zip(self.files, image_headers, mask_headers, mask_scans, strict=True):
            for file, result in ((image, found), (mask, opened if isinstance(opened, Exception) else labels)):
                if isinstance(result, Exception):
                    report.add("unreadable", f"{short(file)}: {explained(result)}", file=file)
            for file, result in ((image, found), (mask, opened)):
                if isinstance(result, Header) and result.frames > 1:
                    report.add("frames", f"{short(file)}: {result.frames} of them", file=file)
            if isinstance(found, Header):
                headers.append(found)
            if isinstance(labels, Scan) and isinstance(opened, Header):
                scans.append((mask, labels))
                if isinstance(found, Header) and found.size != labels.size:
                    report.add("size", f"{short(mask)}: {by(labels.size)}, its image is {by(found.size)}", file=mask)
        return headers, scans

    def _leave_out(self, report: Report) -> None:
        """Drop the pairs in which a file has a problem."""
        good = [not {*pair} & report.files for pair in self.files]
        self.names = [name for name, fine in zip(self.names, good, strict=True) if fine]
        self.files = [pair for pair, fine in zip(self.files, good, strict=True) if fine]
        if not self.names:
            report.raise_if_any(self.path)

    def _choose_kind(self, masks: str, classes: Sequence[str] | int | None, scans: list[tuple[Path, Scan]], report: Report) -> None:
        count = classes if isinstance(classes, int) or classes is None else len(classes)
        found = [s for _, s in scans]
        if not found:
            report.raise_if_any(self.path)
        if masks == "auto":
            self.kind, self.kind_reason = detect(found, count, self.boundary, self._table is not None)
        else:
            self.kind, self.kind_reason = masks, f"masks={masks!r} was given"
        if self.kind == "colours" and self._table is None:
            codes = Counter(int(v) for s in found if s.coloured for v in s.values)
            listed = ", ".join(f'"class {k}": "{hexadecimal(code)}"' for k, (code, _) in enumerate(codes.most_common(8)))
            hint = f"they contain {len(codes)} colours: Folder(..., colours={{{listed}{', …' if len(codes) > 8 else ''}}})"
            for file, s in scans:
                if s.coloured:
                    report.add("colours", short(file), hint)
            report.raise_if_any(self.path)
        if self.kind == "levels" and self.levels is None:
            self._find_levels(found, report)
        if self._guessed and self.kind == "classes" and (doubt := suspicion([s for s in found if not s.coloured], self.ignore_index)):
            self._postpone(*doubt, report)
        self.classes = self._class_names(classes, found)
        if 0 <= self.ignore_index < len(self.classes):
            raise ValueError(f"Folder: ignore_index={self.ignore_index} is also the label of the class {self.classes[self.ignore_index]!r}")

    def _postpone(self, kind: str, what: str, report: Report) -> None:
        """Report values that are not known to be labels. A folder that is only checked is then read as background and the rest."""
        report.add(kind, what)
        self.kind, self.kind_reason = "binary", "until it is said what the values mean"
        self._undecided = True

    def _find_levels(self, scans: list[Scan], report: Report) -> None:
        """The values that occur, unless they are too many to have been drawn on purpose."""
        values, counts = counted(scans)
        kept = values != (-1 if self._ignored_value is None else self._ignored_value)
        values, counts = values[kept], counts[kept]
        self.levels = tuple(values[:_LEVELS].tolist())
        if len(values) > _LEVELS or nature(values, counts) in ("soft", "jpeg"):
            self._postpone(nature(values, counts), listed(values, counts), report)

    def _class_names(self, classes: Sequence[str] | int | None, scans: list[Scan]) -> tuple[str, ...]:
        fixed = {
            "binary": ("background", "foreground"),
            "soft": ("background", "foreground"),
            "instances": ("background", "interior", "boundary") if self.boundary else ("background", "object"),
            "levels": tuple(f"level {v}" for v in self.levels or ()),
        }
        own = self._table.classes if self._table is not None else fixed.get(self.kind)
        if own is None and classes is None:
            values = np.unique(np.concatenate([s.values for s in scans]))
            values = values[(values != self.ignore_index) & (values >= 0)]
            classes = int(values.max()) + 1 if values.size else 1
            self._notes.append(f"{classes} classes, from the largest label; give classes= if there are more")
        if classes is None:
            return own  # type: ignore[return-value]
        if own is not None and (classes if isinstance(classes, int) else len(classes)) != len(own):
            raise DataError(
                f"{self.path}: the masks are read as {self.kind} ({self.kind_reason}), which makes {len(own)} classes, but classes={classes!r}"
            )
        if isinstance(classes, int):
            if classes < 1:
                raise ValueError(f"Folder: the number of classes must be positive, not {classes}")
            return own or tuple(f"class {k}" for k in range(classes))
        return tuple(classes)

    def _check_labels(self, scans: list[tuple[Path, Scan]], report: Report) -> None:
        count = len(self.classes)
        used = set()
        for file, s in scans:
            values = s.values
            if file.suffix.lower() in (".jpg", ".jpeg") and not s.coloured and len(values) > 2:
                report.add("lossy", f"{short(file)}: {len(values)} different values", file=file)
            elif self.kind == "colours":
                stray = values[~np.isin(values, self._table.codes)]  # type: ignore[union-attr]
                if stray.size:
                    report.add(
                        "unknown colour",
                        f"{short(file)}: {', '.join(map(hexadecimal, stray[:5]))}{' …' if stray.size > 5 else ''}",
                        file=file,
                    )
            elif s.coloured:
                report.add("colours", short(file), file=file)
            elif self._undecided:
                pass  # said once, of all masks together
            elif self.kind in ("classes", "palette", "levels"):
                known = np.isin(values, self.levels or ()) if self.kind == "levels" else (values >= 0) & (values < count)
                stray = values[~known & (values != (self._ignored_value if self.kind == "levels" else self.ignore_index))]
                if self.kind == "levels" and stray.size:
                    report.add("label", f"{short(file)}: {', '.join(map(str, stray[:8]))} (the levels are {self.levels})", file=file)
                elif stray.size:
                    shown = f"{', '.join(map(str, stray[:8]))}{' …' if stray.size > 8 else ''}"
                    report.add("label", f"{short(file)}: {shown} (classes are 0 to {count - 1}, {self.ignore_index} is ignored)", file=file)
            elif self.kind == "binary" and np.count_nonzero(values) > 1:
                report.add("label", f"{short(file)}: {len(values)} values, a binary mask has 0 and one other", file=file)
            used.update((values >= self._threshold * s.top).tolist() if self.kind == "soft" else values.tolist())
        if not report.problems and count < 2:
            report.add("classes", f"all masks together contain the single value {', '.join(map(str, sorted(used)))}")
        elif self.kind in ("binary", "instances", "soft") and used == {0}:
            report.add("classes", "every mask is all background")

    def _colours_of(self, scans: list[tuple[Path, Scan]]) -> np.ndarray:
        count = len(self.classes)
        own = self._table.palette if self._table is not None else next((s.palette for _, s in scans if s.palette is not None), None)
        if self.kind in ("palette", "colours") and own is not None and len(np.unique(own[:count], axis=0)) == count:
            return own[:count]
        return class_palette(count)

    def _choose_channels(self, headers: list[Header], asked: int | None) -> None:
        counts = Counter(h.channels for h in headers)
        self.in_channels = asked or max(counts, key=lambda c: (counts[c], c))
        others = sum(n for c, n in counts.items() if c != self.in_channels)
        if others:
            self._notes.append(f"{others} of {len(headers)} images have another number of channels and are converted to {self.in_channels}")
