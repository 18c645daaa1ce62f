"""The problems of a folder, collected into one message."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from ..base import DataError

_SHOWN = 10

# kind → (what is wrong, what to do)
ADVICE = {
    "unreadable": ("cannot be read", "the file is damaged, cut off or not an image: export it again, or remove it and its partner"),
    "no mask": ("image without a mask", "give the mask the name of its image: images/a.jpg and masks/a.png"),
    "no image": ("mask without an image", "give the image the name of its mask, or remove the mask"),
    "missing": (
        "listed, or half of a pair, but missing",
        "the archive was unpacked only in part, or files were moved: unpack it again, or remove the name from the list",
    ),
    "twice": ("two files with the same name but another ending", "keep one of them"),
    "size": (
        "mask of another size than its image",
        "export the mask at the size of the image, or resize it with nearest neighbour, which makes no new labels",
    ),
    "label": (
        "label out of range",
        "correct the mask, or say what the values mean: classes=, ignore_index=, masks='instances' or 'binary'; masks='levels' if their "
        "order counts, masks='soft' if edges are soft",
    ),
    "not a label": ("mask with values that are not labels", "take the file from the published archive again"),
    "layout": ("missing part of the layout", "unpack the archive again, or remove the rest of this part"),
    "leak": (
        "the same image in two splits",
        "remove it from one of them: otherwise the network is measured on an image that it was trained on (only exact copies are found)",
    ),
    "copy": (
        "the same image twice",
        "remove one: otherwise one copy may be trained on while the other is held out (only exact copies are found)",
    ),
    "disagreement": ("copies of an image with different masks", "find out which mask is right, and remove the others"),
    "blank": ("mask that is all class 0", "look at the image: if there is an object in it, the mask was lost or never drawn"),
    "void": (
        "mask in which nothing is labelled",
        "every pixel is ignored, so nothing is learnt or measured: label the image or remove it",
    ),
    "absent": ("class that never occurs", "it cannot be learnt and has no IoU: check how the masks are read, or remove the class"),
    "colours": ("mask in RGB colours", "say which colour is which class"),
    "unknown colour": (
        "colour that is not a class",
        "add it to colours=; export the mask again if it is anti-aliased or compressed as JPEG",
    ),
    "lossy": ("mask stored as JPEG", "JPEG compression changes labels: export masks as PNG"),
    "frames": ("several images in one file", "the file of the mask needs as many; or save the one to be used as a file of its own"),
    "channels": (
        "image with another number of channels",
        "grey and colour are converted into each other, other numbers are not: export all images with the same channels",
    ),
    "guess": (
        "masks whose values may be objects",
        "say what the values mean: masks='instances' (--masks instances) if each is an object, masks='classes' if each is a class",
    ),
    "levels": (
        "grey values that are not class numbers",
        "say what they mean: masks='levels' (--masks levels) makes the values in rising order the classes 0, 1, 2, …, 255 among them; "
        "masks='binary' makes 0 the background and the other value the object; masks='soft' cuts soft edges at half of full scale; "
        "masks='classes' takes the values as class numbers as they are",
    ),
    "flattened": (
        "grey values of the colours of Pascal VOC, whose class numbers are lost",
        "take the masks from before the conversion to grey, with their palette or in RGB; "
        "or make the values in rising order the classes: masks='levels' (--masks levels), with the names in this order in classes=",
    ),
    "fractions": (
        "masks with fractions",
        "export them with integers; or, if they are shares or probabilities of one kind of object, cut them at a half: masks='soft' (--masks soft)",
    ),
    "soft": (
        "masks with soft edges",
        "with one kind of object, cut them at half of full scale: masks='soft' (--masks soft), or at threshold= (--threshold) of it; "
        "with several, export the masks again without anti-aliasing, or resize them with nearest neighbour",
    ),
    "jpeg": (
        "masks that JPEG compression has damaged",
        "export them again as PNG, from the program that drew them: a conversion from JPEG to PNG keeps the damage. "
        "With one kind of object, masks='soft' (--masks soft) cuts them at half of full scale",
    ),
    "classes": ("nothing to learn", "check the masks, or how they are read (masks=, ignore_index=)"),
}


# The kinds about what the values of masks mean: until they are settled, there are no classes to count.
UNDECIDED = frozenset({"guess", "levels", "flattened", "soft", "jpeg", "colours"})

# The kinds that do not prevent training; all others in ADVICE are errors.
WARNINGS = frozenset({"copy", "disagreement", "blank", "void", "absent"})


class Report:
    """A collection of problems. Each belongs to a kind, and each kind has a remedy.

    Attributes
    ----------
    problems : dict, kind → list of str
    files : set of Path
        The files that have a problem.
    """

    def __init__(self) -> None:
        self.problems: dict[str, list[str]] = defaultdict(list)
        self.hints: dict[str, str] = {}
        self.files: set[Path] = set()

    def add(self, kind: str, what: str, hint: str = "", file: Path | None = None) -> None:
        """Add a problem of a kind. `what` names the file and gives details; `hint` is printed after the advice for the kind."""
        self.problems[kind].append(what)
        if file is not None:
            self.files.add(file)
        if hint:
            self.hints.setdefault(kind, hint)

    def merge(self, other: Report) -> None:
        """Add the problems of another report."""
        for kind, found in other.problems.items():
            self.problems[kind] += found
        self.hints = {**other.hints, **self.hints}
        self.files |= other.files

    def count(self, warnings: bool = False) -> int:
        """The number of errors, or of warnings."""
        return sum(len(found) for kind, found in self.problems.items() if (kind in WARNINGS) == warnings)

    def lines(self) -> list[str]:
        """Each kind of problem, the advice for it, and the files that have it; errors first."""
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
        """Raise one `DataError` with all problems, if there are any."""
        if not self.problems:
            return
        total = sum(map(len, self.problems.values()))
        raise DataError("\n".join([f"{root}: {total} {'problem' if total == 1 else 'problems'}", *self.lines()]), dict(self.problems))
