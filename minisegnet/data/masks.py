"""Masks: what their numbers mean is decided from all masks of a folder together.

Programs write the same label map in different ways. The kinds are:

=============  ===========================================================================================
``palette``    mode P: the stored index is the class; its colour means nothing
``binary``     0 and one other value, 1 or 255 or 65535
``instances``  16-bit or 32-bit grey: 0 is background, every other value is one object
``classes``    8-bit grey: the value is the class
``levels``     grey: the values in rising order are the classes, such as 0, 85, 170, 255; only on request
``soft``       grey with soft edges: a threshold separates background and foreground; only on request
``colours``    RGB: each class has a colour, which the user has to give
=============  ===========================================================================================

A GIF is read by its colours, because programs that write GIF number the palette as they like.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .base import DataError
from .colours import rgb
from .imagefile import array_in
from .images import open_upright
from .instances import semantic

STRETCH = 257  # 8 bits become 16 by this factor: 255 becomes 65535
KINDS = ("classes", "binary", "levels", "soft", "instances", "palette", "colours")


_COLOUR_MODES = ("RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")


@dataclass(frozen=True)
class Scan:
    """The distinct values of one mask file, labels or colours as 0xRRGGBB, and the number of pixels of each."""

    size: tuple[int, int]
    mode: str
    values: np.ndarray
    counts: np.ndarray
    coloured: bool
    palette: np.ndarray | None
    top: float  # full scale: 1 for fractions, 255 for 8 bits, 65535 for more

    @property
    def wide(self) -> bool:
        return self.mode.startswith("I")

    @property
    def shown(self) -> np.ndarray | None:
        """The values as the colours in which they are shown, 0xRRGGBB; None for a grey file."""
        if self.coloured:
            return self.values
        if self.palette is not None:
            return self.palette[np.minimum(self.values, len(self.palette) - 1)].astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
        return self.values * 0x010101 if self.mode in _COLOUR_MODES else None


class FractionsError(DataError):
    """A mask holds numbers that are not whole."""


def read_raw(path: Path, kind: str | None = None, frame: int | None = None) -> np.ndarray:
    """The numbers of a mask file, (H, W): palette indices, grey values, or colours as 0xRRGGBB.

    Parameters
    ----------
    path : path
    kind : str, optional
        "colours" reads grey as a colour, too; otherwise RGB with three equal channels counts as grey. "soft" accepts
        fractions, and reads 1-bit masks as 0 and 255.
    frame : int, optional
        The number of the mask, from 0, in a file that holds several.

    Raises
    ------
    DataError
        If the numbers are not integers.
    """
    coloured = kind == "colours"
    if path.suffix.lower() in (".npy", ".mat"):
        return _plain(_stored(path, kind), kind, coloured)
    picture = open_upright(path, frame)
    if picture.mode == "1":
        return np.asarray(picture).astype(np.uint8) * np.uint8(255 if kind == "soft" else 1)
    if picture.mode in ("PA", "LA", "La"):
        return np.asarray(picture.getchannel(0))
    if picture.mode in ("CMYK", "YCbCr", "LAB", "HSV") or (picture.mode == "P" and (coloured or path.suffix.lower() == ".gif")):
        picture = picture.convert("RGB")
    return _plain(np.asarray(picture), kind, coloured)


def _stored(path: Path, kind: str | None) -> np.ndarray:
    """The numbers of a ``.npy`` or ``.mat`` file. Programs save labels as int64; where 8 bits hold them, they are as in a grey picture."""
    array = np.squeeze(array_in(path), axis=2) if array_in(path).shape[2:] == (1,) else np.array(array_in(path))
    if array.dtype == bool:
        return array.astype(np.uint8) * np.uint8(255 if kind == "soft" else 1)
    if array.dtype.kind == "f" and kind != "soft" and (array == np.rint(array)).all():  # MATLAB's numbers are doubles
        array = array.astype(np.int64)
    if array.dtype.kind in "iu" and array.min() >= 0 and array.max() <= 65535:
        return array.astype(np.uint8 if array.max() <= 255 else np.uint16)
    return array


def _plain(array: np.ndarray, kind: str | None, coloured: bool) -> np.ndarray:
    if array.ndim == 3:
        red, green, blue = (array[..., c].astype(np.int32) for c in range(3))
        grey = not coloured and bool((red == green).all() and (green == blue).all())
        return array[..., 0] if grey else (red << 16) | (green << 8) | blue
    if array.dtype.kind == "f" and kind != "soft":
        if not (array == np.rint(array)).all():
            raise FractionsError("the mask contains fractions, which are not labels: export it with integers")
        array = array.astype(np.int64)
    if coloured:  # a grey mask among coloured ones
        array = array.astype(np.int32) * 0x010101
    return array


def scan(path: Path, kind: str | None = None, frame: int | None = None) -> Scan:
    """Decode a mask and count its values (see `read_raw`)."""
    picture_mode, palette = _mode_and_palette(path)
    raw = read_raw(path, kind, frame)
    in_colour = kind == "colours" or (picture_mode in _COLOUR_MODES and raw.dtype == np.int32)
    if raw.dtype in (np.uint8, np.uint16):  # counting is many times faster than np.unique, which sorts
        counts = np.bincount(raw.ravel(), minlength=1)
        values = np.flatnonzero(counts)
        counts = counts[values]
    else:
        values, counts = np.unique(raw, return_counts=True)
    if palette is not None and _is_grey_ramp(palette, values):
        picture_mode, palette = "L", None
    return Scan(
        raw.shape, picture_mode, values.astype(np.float64 if kind == "soft" else np.int64), counts, in_colour, palette, full_scale(raw)
    )


def _is_grey_ramp(palette: np.ndarray, values: np.ndarray) -> bool:
    """Whether each index is shown as the grey of the same number: a grey image that was stored with a palette."""
    return bool(values.max(initial=0) < len(palette) and (palette[values] == values[:, None]).all())


def _mode_and_palette(path: Path) -> tuple[str, np.ndarray | None]:
    from PIL import Image

    if path.suffix.lower() in (".npy", ".mat"):
        return "L", None
    with Image.open(path) as picture:
        if picture.mode == "P" and picture.format == "GIF":
            return "RGB", None
        table = picture.getpalette("RGB") if picture.mode == "P" else None
        return picture.mode, None if table is None else np.array(table, np.uint8).reshape(-1, 3)


def detect(scans: Sequence[Scan], num_classes: int | None, boundary: bool, colours: bool) -> tuple[str, str]:
    """The kind of a folder of masks, and the reason in words.

    The first rule that fits decides:

    1. colours were given, or a mask is in colour: "colours";
    2. a boundary class was requested: "instances";
    3. the number of classes is 2 or unknown, and the values are 0 and one of 1, 255, 65535: "binary";
    4. a mask has mode P: "palette";
    5. a mask has more than 8 bits, its values are not greys up to white (see `_reach_white`), and they exceed the given number of
       classes or none was given: "instances";
    6. otherwise "classes". If no number of classes was given, the values have to be 0, 1, 2, … without a gap: see `grey.suspicion`.
    """
    values = np.unique(np.concatenate([s.values for s in scans]))
    if colours:
        return "colours", "colours= was given"
    if any(s.coloured for s in scans):
        return "colours", "the masks are RGB in colour"
    if boundary:
        return "instances", "boundary=True needs instances"
    two = (0, 1), (0, 255), (0, 65535)
    if num_classes in (None, 2) and tuple(values) in two:
        return "binary", f"the only values are {values[0]} and {values[1]}"
    if any(s.mode in ("P", "PA") for s in scans):
        return "palette", "palette masks: the index is the class"
    if any(s.wide for s in scans) and not _reach_white(values) and (num_classes is None or values.max() >= num_classes):
        return "instances", "grey masks of more than 8 bits: every value but 0 is an object"
    return "classes", "grey masks: the value is the class"


def _reach_white(values: np.ndarray) -> bool:
    """Whether values of more than 8 bits are greys: up to white, 8 bits stretched to 16, or a few steps of equal height up to 255."""
    if values[-1] == 65535 or (values[-1] >= STRETCH and not (values % STRETCH).any()):
        return True
    return bool(2 < len(values) <= 16 and values[-1] == 255 and np.ptp(np.diff(values)) <= 1)


class ColourTable:
    """The label of each colour, from ``{"road": "#804080", "sky": (70, 130, 180), "ignore": "#000000"}``; the classes are in this order."""

    def __init__(self, colours: Mapping[str, Any], ignore_index: int):
        self.colours = {name: rgb(colour) for name, colour in colours.items()}
        names = [name for name in colours if name != "ignore"]
        self.classes = tuple(names)
        self.palette = np.array([rgb(colours[name]) for name in names], np.uint8).reshape(-1, 3)
        codes = {
            (r << 16) | (g << 8) | b: names.index(name) if name != "ignore" else ignore_index
            for name, (r, g, b) in ((n, rgb(c)) for n, c in colours.items())
        }
        if len(codes) < len(colours):
            raise ValueError("colours: two classes have the same colour")
        self.codes = np.array(sorted(codes), np.int64)
        self.labels = np.array([codes[code] for code in self.codes.tolist()], np.int64)

    def decode(self, raw: np.ndarray) -> np.ndarray:
        place = np.minimum(np.searchsorted(self.codes, raw), len(self.codes) - 1)
        unknown = raw[self.codes[place] != raw]
        if unknown.size:
            raise DataError(f"the colour {hexadecimal(unknown[0])} is not a class")
        return self.labels[place]


def hexadecimal(code: int) -> str:
    """0xRRGGBB as ``#rrggbb``."""
    return f"#{int(code):06x}"


def full_scale(raw: np.ndarray) -> float:
    """The value of white: 1 for fractions, 255 for 8 bits, 65535 for more."""
    return 1.0 if raw.dtype.kind == "f" else 255.0 if raw.dtype == np.uint8 else 65535.0


def ranks(raw: np.ndarray, levels: np.ndarray, ignored: int | None) -> np.ndarray:
    """The rank of each value among the levels; 255 for the value `ignored`, which is not one of them."""
    place = np.minimum(np.searchsorted(levels, raw), len(levels) - 1)
    found = levels[place] == raw
    unknown = ~found if ignored is None else ~found & (raw != ignored)
    if unknown.any():
        raise DataError(f"the value {raw[unknown][0]} is not one of the levels {', '.join(map(str, levels))}")
    return np.where(found, place, 255).astype(np.int64)


def decode(raw: np.ndarray, kind: str, boundary: bool, table: ColourTable | None) -> np.ndarray:
    """The label map, int64 (H, W), that the numbers of a mask of some kind stand for."""
    if kind == "instances":
        return semantic(raw, boundary)
    if kind == "binary":
        return (raw != 0).astype(np.int64)
    if kind == "colours" and table is not None:
        return table.decode(raw)
    return raw.astype(np.int64)
