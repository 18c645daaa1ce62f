"""All that is wrong with a folder, in one message."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from ..base import DataError

_SHOWN = 10

# kind → (what is wrong, what to do)
ADVICE = {
    "unreadable": ("cannot be read", "the file is damaged, cut off or no image: export it again, or remove it with its partner"),
    "no mask": ("image without a mask", "a mask has the name of its image before the dot: images/a.jpg and masks/a.png"),
    "no image": ("mask without an image", "an image has the name of its mask before the dot; remove the mask if it is left over"),
    "missing": (
        "listed, or half of a pair, and not there",
        "the archive was unpacked in part, or files were moved: unpack it again, or take the name off the list",
    ),
    "twice": ("two files with one name before the dot", "keep one of them"),
    "size": (
        "mask of another size than its image",
        "export the mask at the size of the image, or resize it by nearest neighbour, which invents no labels",
    ),
    "label": (
        "label out of range",
        "correct the mask, or say what the values mean: classes=, ignore_index=, masks='instances' or 'binary'",
    ),
    "not a label": ("mask that holds something else than labels", "take the file from the published archive again"),
    "layout": ("part of the layout that is missing", "unpack the archive again, or remove what is left of this part"),
    "leak": (
        "the same image in two splits",
        "take it out of one of them: a network that was trained on it is measured by what it remembers (only exact copies are found)",
    ),
    "copy": ("the same image twice", "remove one, lest one be trained on and the other held out (only exact copies are found)"),
    "disagreement": ("copies of an image with different masks", "find out which mask is right, and remove the others"),
    "blank": ("mask that is all class 0", "look at the image: if there is something in it, the mask was lost or never drawn"),
    "void": (
        "mask in which nothing is labelled",
        "every pixel is ignored, so it teaches nothing and measures nothing: label it or leave it out",
    ),
    "absent": ("class that never occurs", "it cannot be learned, and it has no IoU: check how the masks are read, or leave the class out"),
    "colours": ("mask in RGB colours", "say which colour is which class"),
    "unknown colour": (
        "colour that is no class",
        "add it to colours=; an anti-aliased or JPEG-compressed mask must be exported again, without",
    ),
    "lossy": ("mask stored as JPEG", "JPEG blurs labels into values that mean nothing: export masks as PNG"),
    "frames": ("several pictures in one file", "save the one that is meant as a file of its own"),
    "guess": (
        "unlikely as classes",
        "say what the values mean: masks='instances' if each is an object; classes= if they are classes; soft edges must go",
    ),
    "classes": ("nothing to learn", "check the masks, or how they are read (masks=, ignore_index=)"),
}


# What a training survives; everything else in ADVICE is an error.
WARNINGS = frozenset({"copy", "disagreement", "blank", "void", "absent"})


class Report:
    """Collects problems; each belongs to a kind, which says what to do about it.

    Attributes
    ----------
    problems : dict, kind → list of str
    files : set of Path
        The files that have one.
    """

    def __init__(self) -> None:
        self.problems: dict[str, list[str]] = defaultdict(list)
        self.hints: dict[str, str] = {}
        self.files: set[Path] = set()

    def add(self, kind: str, what: str, hint: str = "", file: Path | None = None) -> None:
        """Note that `what` (a file, with details) has a problem of a kind; `hint` is put after its advice."""
        self.problems[kind].append(what)
        if file is not None:
            self.files.add(file)
        if hint:
            self.hints.setdefault(kind, hint)

    def merge(self, other: Report) -> None:
        """Take over the problems of another report."""
        for kind, found in other.problems.items():
            self.problems[kind] += found
        self.hints = {**other.hints, **self.hints}
        self.files |= other.files

    def count(self, warnings: bool = False) -> int:
        """How many problems are errors, or warnings."""
        return sum(len(found) for kind, found in self.problems.items() if (kind in WARNINGS) == warnings)

    def lines(self) -> list[str]:
        """Each kind of problem, what to do about it, and the files that have it: errors first."""
        lines = []
        for kind, found in sorted(self.problems.items(), key=lambda item: item[0] in WARNINGS):
            title, advice = ADVICE[kind]
            lines.append(f"\n{title} ({len(found)}): {advice}")
            if kind in self.hints:
                lines.append(f"  {self.hints[kind]}")
            lines += [f"  - {what}" for what in found[:_SHOWN]]
            if len(found) > _SHOWN:
                lines.append(f"  … and {len(found) - _SHOWN} more")
        return lines

    def raise_if_any(self, root: object) -> None:
        """Raise one `DataError` with everything, or do nothing."""
        if not self.problems:
            return
        total = sum(map(len, self.problems.values()))
        raise DataError("\n".join([f"{root}: {total} {'problem' if total == 1 else 'problems'}", *self.lines()]), dict(self.problems))
