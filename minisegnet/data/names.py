"""What a folder says of its own classes: names, colours and grey values, in the files that programs for labelling write.

=====================  ===================================================================================
``labelmap.txt``       CVAT: ``name:red,green,blue:parts:actions``, a class a line
``class_names.txt``    labelme, and ``classes.txt``, ``labels.txt``, ``codes.txt`` of others: a name a line
``_classes.csv``       Roboflow: ``Pixel Value, Class``
``class_dict.csv``     ``name,r,g,b``
=====================  ===================================================================================
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .base import DataError

_LISTS = ("class_names.txt", "classes.txt", "labels.txt", "codes.txt")
_TABLES = ("_classes.csv", "class_dict.csv")


FILES = ("labelmap.txt", *_TABLES, *_LISTS)


@dataclass(frozen=True)
class Names:
    """The classes of a folder, in the order of their labels.

    Attributes
    ----------
    classes : tuple of str
    colours : dict, name → (red, green, blue), or None
    levels : tuple of int or None
        The value that stands for each class in grey masks, if it is not its number.
    file : Path
    """

    classes: tuple[str, ...]
    colours: dict[str, tuple[int, int, int]] | None
    levels: tuple[int, ...] | None
    file: Path


def names_of(folders: Iterable[Path]) -> Names | None:
    """The classes in the first file of a known name in some folders; None if there is none.

    Raises
    ------
    DataError
        If the file cannot be understood; names the line.
    """
    for folder in folders:
        if (file := folder / "labelmap.txt").is_file():
            return _labelmap(file)
        for name in _TABLES:
            if (file := folder / name).is_file():
                return _table(file)
        for name in _LISTS:
            if (file := folder / name).is_file():
                return _list(file)
    return None


def lines(file: Path) -> list[str]:
    """The lines of a text that are not empty, without the mark with which Windows begins a text in UTF-8."""
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: this is not text in UTF-8 ({error})") from error


def _list(file: Path) -> Names:
    found = [line for line in lines(file) if line != "__ignore__"]  # labelme's first line, which has the label −1
    return _checked(Names(tuple(name.strip("_") or name for name in found), None, None, file))


def _labelmap(file: Path) -> Names:
    colours = {}
    for line in lines(file):
        if line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        try:
            red, green, blue = (int(word) for word in rest.split(":")[0].split(","))
        except ValueError as error:
            raise DataError(f"{file}: expected name:red,green,blue:parts:actions, got {line!r}") from error
        colours[name.strip()] = (red, green, blue)
    return _checked(Names(tuple(colours), colours, None, file))


def _table(file: Path) -> Names:
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines(file))][1:]
    try:
        if file.name == "class_dict.csv":
            colours = {row[0]: (int(row[1]), int(row[2]), int(row[3])) for row in rows}
            return _checked(Names(tuple(colours), colours, None, file))
        pairs = sorted((int(row[0]), row[1]) for row in rows)
    except (ValueError, IndexError) as error:
        raise DataError(
            f"{file}: expected a line of names, then {'name,r,g,b' if 'dict' in file.name else 'value, class'} ({error})"
        ) from error
    values = tuple(value for value, _ in pairs)
    return _checked(Names(tuple(name for _, name in pairs), None, None if values == tuple(range(len(values))) else values, file))


def _checked(names: Names) -> Names:
    if len(names.classes) < 2 or len(set(names.classes)) < len(names.classes):
        raise DataError(f"{names.file}: expected two or more different names of classes, got {', '.join(names.classes) or 'none'}")
    return names
