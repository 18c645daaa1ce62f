"""The result of checking a data set: counts, problems, and a table of both."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..frequency import median_frequency
from ..listing import by
from .report import ADVICE, UNDECIDED, WARNINGS, Report

_MANY = 40  # of more classes only those that occur have a line in the table
_RARE = 20  # a ratio between the pixels of two classes from which on the imbalance is reported


@dataclass
class Part:
    """The counts of one split.

    Attributes
    ----------
    dataset : Dataset
    images : int
        Images that could be read together with their masks.
    pixels, images_with, around : int64, (K,)
        For each class its pixels, the images in which it appears, and the counted pixels of those images.
    ignored : int
        Pixels with the label `ignore_index`, which are not counted.
    sizes : Counter, (height, width) → images
    """

    dataset: Any
    images: int = 0
    pixels: np.ndarray = field(init=False)
    images_with: np.ndarray = field(init=False)
    around: np.ndarray = field(init=False)
    ignored: int = 0
    sizes: Counter = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.pixels, self.images_with, self.around = np.zeros((3, len(self.dataset.classes)), np.int64)

    def count(self, pixels: np.ndarray, ignored: int, size: tuple[int, int]) -> None:
        """Add an image."""
        self.images += 1
        self.pixels += pixels
        self.images_with += pixels > 0
        self.around[pixels > 0] += pixels.sum()
        self.ignored += ignored
        self.sizes[size] += 1


@dataclass
class Checkup:
    """The result of `check`: ``print`` shows it as a table, `to_dict` gives it for JSON.

    Attributes
    ----------
    path : Path
    title : str
        The name of the data set.
    notes : tuple of str
        How the masks of a folder of your own are read.
    parts : dict, split → Part
        The first split is the training split.
    report : Report
    flagged : dict, (split, item) → list of str
        The kinds of problem of each item that has one and can still be shown.
    """

    path: Path
    title: str
    notes: tuple[str, ...]
    parts: dict[str, Part]
    report: Report
    flagged: dict[tuple[str, int], list[str]]

    @property
    def classes(self) -> tuple[str, ...]:
        return next(iter(self.parts.values())).dataset.classes

    @property
    def weights(self) -> np.ndarray:
        """Median-frequency weights of the classes, from the first part, (K,): those of `losses.class_weights`, 1 for an absent class."""
        part = next(iter(self.parts.values()))
        return median_frequency(part.pixels, part.around)

    @property
    def imbalance(self) -> str:
        """A sentence about a class with far fewer pixels than another, or ""."""
        part = next(iter(self.parts.values()))
        there = np.flatnonzero(part.pixels)
        if len(there) < 2:
            return ""
        most, least = there[part.pixels[there].argmax()], there[part.pixels[there].argmin()]
        ratio, share = part.pixels[most] / part.pixels[least], part.pixels[least] / part.pixels.sum()
        if ratio < _RARE:
            return ""
        return (
            f"class imbalance: {self.classes[most]} has {ratio:,.0f} times the pixels of {self.classes[least]} ({share:.2%} of all); "
            "the weights in the table would balance that in the loss"
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain numbers, for JSON."""
        weights = [round(float(w), 6) for w in self.weights]
        return {
            "path": str(self.path),
            "data": self.title,
            "classes": list(self.classes),
            "errors": self.report.count(),
            "warnings": self.report.count(warnings=True),
            "splits": {
                name: {
                    "images": part.images,
                    "pixels": dict(zip(self.classes, part.pixels.tolist(), strict=True)),
                    "images_with": dict(zip(self.classes, part.images_with.tolist(), strict=True)),
                    "ignored_pixels": part.ignored,
                    "sizes": [{"height": h, "width": w, "images": n} for (h, w), n in part.sizes.most_common()],
                }
                for name, part in self.parts.items()
            },
            "median_frequency_weights": dict(zip(self.classes, weights, strict=True)),
            "findings": [
                {"kind": kind, "severity": "warning" if kind in WARNINGS else "error", "what": what, "advice": ADVICE[kind][1]}
                for kind, found in self.report.problems.items()
                for what in found
            ],
        }

    def __str__(self) -> str:
        lines = [f"{self.title} in {self.path}"]
        for name, part in self.parts.items():
            sizes = ", ".join(f"{by(size)}{f' ({count})' * (len(part.sizes) > 1)}" for size, count in part.sizes.most_common(3))
            more = f" and {len(part.sizes) - 3} other sizes" if len(part.sizes) > 3 else ""
            lines.append(f"  {name}: {part.images:,} image{'s' * (part.images != 1)}{', ' * bool(sizes)}{sizes}{more}")
        lines += [f"  {note}" for note in self.notes]
        undecided = not UNDECIDED.isdisjoint(self.report.problems)
        if not undecided:
            lines += ["", *self._table()]
        if self.imbalance and not undecided:
            lines += ["", self.imbalance]
        errors, warnings = self.report.count(), self.report.count(warnings=True)
        lines += self.report.lines()
        told = [f"{n} {what}{'s' * (n != 1)}" for n, what in ((errors, "error"), (warnings, "warning")) if n]
        return "\n".join([*lines, "", ", ".join(told) if told else "nothing is wrong"])

    def _table(self) -> list[str]:
        """A line for each class: its share of the pixels and its images in each part, and its weight."""
        several = len(self.parts) > 1
        head = ["class"] + [f"{name} {what}" if several else what for name in self.parts for what in ("pixels", "images")] + ["weight"]
        rows = []
        occurs = np.sum([part.images_with for part in self.parts.values()], axis=0) > 0
        for k, name in enumerate(self.classes):
            if len(self.classes) > _MANY and not occurs[k]:
                continue  # it is in the findings
            cells = [c for part in self.parts.values() for c in (_percent(part.pixels[k], part.pixels.sum()), f"{part.images_with[k]:,}")]
            rows.append([name, *cells, f"{self.weights[k]:.3f}"])
        if any(part.ignored for part in self.parts.values()):
            cells = [c for part in self.parts.values() for c in (_percent(part.ignored, part.ignored + part.pixels.sum()), "")]
            rows.append(["(ignored)", *cells, ""])
        widths = [max(len(row[c]) for row in (head, *rows)) for c in range(len(head))]
        aligned = [
            "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]) for row in (head, *rows)
        ]
        return [aligned[0], "─" * len(aligned[0]), *aligned[1:]]


def _percent(count: int, total: int) -> str:
    if not count or not total:
        return "0"
    return f"{count / total:.2%}" if count / total >= 0.0001 else "<0.01%"
