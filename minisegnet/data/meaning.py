"""What the values of all masks of a folder mean: decided once, from all of them together, and then used for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .base import DataError
from .colours import class_palette
from .doctor.report import Report
from .grey import counted, listed, nature, suspicion
from .listing import short
from .masks import KINDS, ColourTable, Scan, decode, detect, full_scale, hexadecimal, ranks, read_raw, scan
from .names import Names

_LEVELS = 64  # more levels than this are not taken for classes


class Meaning:
    """How masks are read.

    Parameters
    ----------
    masks, classes, levels, threshold, boundary, colours, ignore_index
        As in `Folder`.
    names : Names, optional
        What the folder says of its classes; what the caller says comes first.

    Attributes
    ----------
    kind, reason : str
    classes : tuple of str
    palette : uint8, (K, 3)
    levels : tuple of int or None
    colours : dict or None
        The colour of each class, if colours mean classes.
    ignore_index : int
        The label of ignored pixels.
    """

    classes: tuple[str, ...]
    palette: np.ndarray

    def __init__(
        self,
        masks: str,
        classes: Sequence[str] | int | None,
        levels: Sequence[int] | None,
        threshold: float,
        boundary: bool,
        colours: Mapping[str, Any] | None,
        ignore_index: int | None,
        names: Names | None = None,
    ):
        if masks not in ("auto", *KINDS):
            raise ValueError(f"Folder: masks is 'auto' or one of {', '.join(map(repr, KINDS))}, not {masks!r}")
        if masks == "colours" and colours is None and (names is None or names.colours is None):
            raise ValueError("Folder: masks='colours' needs colours={name: colour, ...} (--colours), or a labelmap.txt in the folder")
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
        if isinstance(classes, int) and classes < 1:
            raise ValueError(f"Folder: the number of classes must be positive, not {classes}")
        if names is not None and masks in ("auto", "levels") and levels is None and names.levels is not None:
            masks, levels = "levels", names.levels
        self._asked, self._given, self._threshold, self._boundary, self._names = masks, classes, threshold, boundary, names
        self.levels = None if levels is None else tuple(map(int, levels))
        self.ignore_index = 255 if ignore_index is None or masks == "levels" else ignore_index
        self._ignored_value = ignore_index
        self._table = None if colours is None else ColourTable(colours, self.ignore_index)
        self._undecided = False  # whether the report says that the values are not what they were taken for
        self.kind = "colours" if colours is not None else masks
        self.reason = ""

    @property
    def colours(self) -> dict[str, tuple[int, int, int]] | None:
        return None if self._table is None else self._table.colours

    # --- used for each mask ---------------------------------------------------------------

    def scan(self, file: Path, frame: int | None = None) -> Scan:
        """The values of a mask, before it is decided what they mean."""
        return scan(file, self.kind, frame)

    def labels(self, file: Path, frame: int | None = None) -> np.ndarray:
        """The labels in a mask, int64 (H, W)."""
        raw = read_raw(file, self.kind, frame)
        if self.kind == "levels":
            return ranks(raw, np.array(self.levels), self._ignored_value)
        if self.kind == "soft":
            return (raw >= self._threshold * full_scale(raw)).astype(np.int64)
        return decode(raw, self.kind, self._boundary, self._table)

    # --- decided from all masks -----------------------------------------------------------

    def decide(self, scans: list[tuple[Path, Scan]], report: Report, root: Path, notes: list[str]) -> None:
        """Settle kind, classes and colours; what contradicts them goes into the report.

        Raises
        ------
        DataError
            If the masks are in colours without names, or the number of classes does not fit the kind.
        """
        found = [s for _, s in scans]
        classes = self._given
        if classes is None and self._names is not None:
            classes = self._names.classes
            notes.append(f"classes from {self._names.file.name}")
            if self._asked != "levels" and self._table is None and self._names.colours is not None and self._shows(found):
                self._table = ColourTable(self._names.colours, self.ignore_index)
                scans = [
                    (file, replace(s, values=s.values if s.shown is None else s.shown, coloured=True, palette=None)) for file, s in scans
                ]
                found = [s for _, s in scans]
        count = classes if isinstance(classes, int) or classes is None else len(classes)
        if self._asked == "auto" or self._table is not None:
            self.kind, self.reason = detect(found, count, self._boundary, self._table is not None)
            if self._table is not None and self._names is not None and self._given is None:
                self.reason = f"{self._names.file.name} names their colours"
        else:
            from_names = self._names is not None and self.levels is not None and self.levels == self._names.levels
            said = (
                f"{self._names.file.name} gives the value of each class"
                if from_names and self._names
                else f"masks={self._asked!r} was given"
            )
            self.kind, self.reason = self._asked, said
        if self.kind == "colours" and self._table is None:
            self._refuse_colours(scans, report, root)
        if self.kind == "levels" and self.levels is None:
            self._find_levels(found, report)
        if self._asked == "auto" and classes is None and self.kind == "classes":
            doubt = suspicion([s for s in found if not s.coloured], self.ignore_index)
            if doubt is not None:
                self._postpone(doubt.kind, doubt.what, report)
        self.classes = self._class_names(classes, found, root, notes)
        if 0 <= self.ignore_index < len(self.classes):
            raise ValueError(f"Folder: ignore_index={self.ignore_index} is also the label of the class {self.classes[self.ignore_index]!r}")
        self._check(scans, report)
        self.palette = self._colours_of(found)

    def _shows(self, scans: list[Scan]) -> bool:
        """Whether the masks show the colours that the folder names: in RGB, or all of them by a palette of these colours."""
        known = {(r << 16) | (g << 8) | b for r, g, b in (self._names.colours or {}).values()} if self._names else set()
        shown = [(s, s.shown) for s in scans]
        return any(s.coloured for s in scans) or all(c is not None and s.palette is not None and {*c.tolist()} <= known for s, c in shown)

    def _refuse_colours(self, scans: list[tuple[Path, Scan]], report: Report, root: Path) -> None:
        codes = Counter(int(v) for _, s in scans if s.coloured for v in s.values)
        named = ", ".join(f'"class {k}": "{hexadecimal(code)}"' for k, (code, _) in enumerate(codes.most_common(8)))
        hint = f"they contain {len(codes)} colours: Folder(..., colours={{{named}{', …' if len(codes) > 8 else ''}}})"
        for file, s in scans:
            if s.coloured:
                report.add("colours", short(file), hint)
        report.raise_if_any(root)

    def _postpone(self, kind: str, what: str, report: Report) -> None:
        """Report values that are not known to be labels. A folder that is only checked is then read as background and the rest."""
        report.add(kind, what)
        self.kind, self.reason = "binary", "until it is said what the values mean"
        self._undecided = True

    def _find_levels(self, scans: list[Scan], report: Report) -> None:
        """The values that occur, unless they are too many to have been drawn on purpose."""
        values, counts = counted(scans)
        kept = values != (-1 if self._ignored_value is None else self._ignored_value)
        values, counts = values[kept], counts[kept]
        self.levels = tuple(values[:_LEVELS].tolist())
        if len(values) > _LEVELS or nature(values, counts) in ("soft", "jpeg"):
            self._postpone(nature(values, counts), listed(values, counts), report)

    def _class_names(self, classes: Sequence[str] | int | None, scans: list[Scan], root: Path, notes: list[str]) -> tuple[str, ...]:
        fixed = {
            "binary": ("background", "foreground"),
            "soft": ("background", "foreground"),
            "instances": ("background", "interior", "boundary") if self._boundary else ("background", "object"),
            "levels": tuple(f"level {v}" for v in self.levels or ()),
        }
        own = self._table.classes if self._table is not None else fixed.get(self.kind)
        if self._undecided:
            return own or ("background", "foreground")
        if own is None and classes is None:
            values = np.unique(np.concatenate([s.values for s in scans]))
            values = values[(values != self.ignore_index) & (values >= 0)]
            classes = int(values.max()) + 1 if values.size else 1
            notes.append(f"{classes} classes, from the largest label; give classes= if there are more")
        if classes is None:
            return own  # type: ignore[return-value]
        if own is not None and (classes if isinstance(classes, int) else len(classes)) != len(own):
            raise DataError(
                f"{root}: the masks are read as {self.kind} ({self.reason}), which makes {len(own)} classes, but classes={classes!r}"
            )
        if isinstance(classes, int):
            return own or tuple(f"class {k}" for k in range(classes))
        return tuple(classes)

    def _check(self, scans: list[tuple[Path, Scan]], report: Report) -> None:
        """Report values that are no labels."""
        count, used = len(self.classes), set()
        for file, s in scans:
            values = s.values
            if file.suffix.lower() in (".jpg", ".jpeg") and not s.coloured and len(values) > 2 and self.kind != "soft":
                report.add("lossy", f"{short(file)}: {len(values)} different values", file=file)
            elif self._undecided:
                pass  # said once, of all masks together
            elif self.kind == "colours":
                stray = values[~np.isin(values, self._table.codes)]  # type: ignore[union-attr]
                if stray.size:
                    shown = f"{', '.join(map(hexadecimal, stray[:5]))}{' …' if stray.size > 5 else ''}"
                    report.add("unknown colour", f"{short(file)}: {shown}", file=file)
            elif s.coloured:
                report.add("colours", short(file), file=file)
            elif self.kind == "levels":
                stray = values[~np.isin(values, self.levels or ()) & (values != self._ignored_value)]
                if stray.size:
                    report.add("label", f"{short(file)}: {_first(stray)} (the levels are {self.levels})", file=file)
            elif self.kind in ("classes", "palette"):
                stray = values[((values < 0) | (values >= count)) & (values != self.ignore_index)]
                if stray.size:
                    known = f"classes are 0 to {count - 1}, {self.ignore_index} is ignored"
                    report.add("label", f"{short(file)}: {_first(stray)} ({known})", file=file)
            elif self.kind == "binary" and np.count_nonzero(values) > 1:
                report.add("label", f"{short(file)}: {len(values)} values, a binary mask has 0 and one other", file=file)
            used.update((values >= self._threshold * s.top).tolist() if self.kind == "soft" else values.tolist())
        if not report.problems and count < 2:
            report.add("classes", f"all masks together contain the single value {', '.join(map(str, sorted(used)))}")
        elif self.kind in ("binary", "instances", "soft") and used == {0}:
            report.add("classes", "every mask is all background")

    def _colours_of(self, scans: list[Scan]) -> np.ndarray:
        count, own = len(self.classes), None
        if self._table is not None:
            own = self._table.palette
        elif self._names is not None and self._names.colours is not None and len(self._names.colours) == count:
            own = np.array(list(self._names.colours.values()), np.uint8)
        elif self.kind == "palette":
            own = next((s.palette for s in scans if s.palette is not None), None)
        if own is not None and len(np.unique(own[:count], axis=0)) == count:
            return own[:count]
        return class_palette(count)


def _first(values: np.ndarray) -> str:
    return f"{', '.join(map(str, values[:8]))}{' …' if values.size > 8 else ''}"
