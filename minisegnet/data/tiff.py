"""What the directories of a TIFF file say: its pages, which of them are channels of one image, and which value means "no data".

A TIFF is a list of directories, one a page, and each is a table of tags. Pillow reads the tables but refuses files whose pixels it cannot
decode, such as five bands of a satellite. This module reads the tables before any pixel is decoded.
Source: Adobe, "TIFF, Revision 6.0", section 2; ImageJ's and OME's descriptions in the tag ImageDescription; GDAL's tag 42113.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _DESCRIPTION, _ORIENTATION, _SAMPLES = 254, 256, 257, 258, 270, 274, 277
_EXTRA, _FORMAT, _NO_DATA = 338, 339, 42113
# Where on the Earth the image lies: pixel scale, tie points, transformation, and the keys of the coordinate system (GeoTIFF 1.1, OGC 19-008r4).
_PLACE = (33550, 33922, 34264, 34735, 34736, 34737)
_MOST = 1 << 16  # pages; a damaged file may point in a circle


class Page(dict):
    """The tags of one page; `types` are the numbers that TIFF has for the types of their values."""

    types: dict[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """H, W."""
        return int(self[_HEIGHT]), int(self[_WIDTH])

    @property
    def bits(self) -> int:
        """Bits of a sample."""
        return int(np.max(self.get(_BITS, 1)))

    @property
    def has_alpha(self) -> bool:
        """Whether the last sample is declared as alpha. An extra sample that is not is a band like the others."""
        extra = self.get(_EXTRA, ())
        return bool(extra) and extra[-1] in (1, 2)

    @property
    def samples(self) -> int:
        """Samples of a pixel, without a declared alpha."""
        return int(self.get(_SAMPLES, 1)) - self.has_alpha

    @property
    def unsigned(self) -> bool:
        return int(np.max(self.get(_FORMAT, 1))) == 1

    @property
    def orientation(self) -> int:
        return int(self.get(_ORIENTATION, 1))

    @property
    def no_data(self) -> float | None:
        """The value of pixels that were not measured, as GDAL writes it."""
        try:
            return float(str(self[_NO_DATA]).strip("\0 "))
        except (KeyError, ValueError):
            return None


def is_tiff(path: str | os.PathLike) -> bool:
    """Whether a file begins as a TIFF does."""
    with Path(path).open("rb") as stream:
        return stream.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def pages(path: str | os.PathLike) -> list[Page]:
    """The tags of each page.

    Raises
    ------
    OSError
        If a table is damaged; names the file.
    """
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    found: list[Page] = []
    with Path(path).open("rb") as stream:
        head = stream.read(8)
        head += stream.read(8) if 43 in head[2:4] else b""  # BigTIFF
        offset = ImageFileDirectory_v2(head).next
        while offset and len(found) < _MOST:
            table = ImageFileDirectory_v2(head)
            stream.seek(offset)
            try:
                table.load(stream)
            except Exception as error:  # a damaged table makes its parser raise nearly anything
                raise OSError(f"{path}: the directory of page {len(found)} is damaged ({error})") from error
            if _WIDTH not in table or _HEIGHT not in table:
                raise OSError(f"{path}: the directory of page {len(found)} is damaged or cut off: it does not tell the size")
            found.append(Page(table))
            found[-1].types = dict(table.tagtype)
            offset = table.next
    if not found:
        raise OSError(f"{path}: the file has no pages")
    return found


def place_of(page: Page) -> dict[int, tuple[int, object]]:
    """Where on the Earth an image lies: the tags of GeoTIFF, each with the type and the value; empty if the file does not say."""
    return {tag: (page.types[tag], page[tag]) for tag in _PLACE if tag in page}


def with_place(place: dict[int, tuple[int, object]], no_data: int | None = None) -> object:
    """These tags in the form in which Pillow writes them, with the value that means "no data"."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    table = ImageFileDirectory_v2()
    for tag, (kind, value) in place.items():
        table.tagtype[tag] = kind
        table[tag] = value
    if no_data is not None:
        table.tagtype[_NO_DATA] = 2
        table[_NO_DATA] = str(no_data)
    return table


def images(path: str | os.PathLike, found: list[Page]) -> list[list[int]]:
    """The pages of each image in a file. An image has one page, or one a channel if ImageJ or OME says so; previews are left out.

    Raises
    ------
    ValueError
        If the file says that it holds more images than it has pages.
    """
    full = [k for k, page in enumerate(found) if not int(page.get(_SUBFILE, 0)) & 0b101]  # bit 0: a reduced copy, bit 2: a mask
    text = str(found[0].get(_DESCRIPTION, ""))
    order, sizes = _axes(text)
    count = int(np.prod(sizes))
    if count > len(full) and text.startswith("ImageJ=") and len(full) == 1:
        raise ValueError(f"{path}: ImageJ wrote {count} images as one block, as it does above 4 GB: save it in parts, or as OME-TIFF")
    if "C" not in order or count != len(full):
        return [[k] for k in full]
    places = np.moveaxis(np.array(full).reshape(sizes[::-1]), len(order) - 1 - order.index("C"), -1)  # the first axis varies fastest
    return places.reshape(-1, sizes[order.index("C")]).tolist()


def _axes(text: str) -> tuple[str, list[int]]:
    """The axes along which the pages of a stack are counted, the fastest first, and their lengths."""
    if text.startswith("ImageJ="):
        said = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        channels = int(said.get("channels", 1))
        return "CN", [channels, int(said.get("images", 1)) // channels]
    if pixels := re.search(r"<(?:\w+:)?Pixels\s[^>]*>", text):
        said = dict(re.findall(r'(\w+)\s*=\s*"([^"]*)"', pixels[0]))
        order = said.get("DimensionOrder", "XYCZT")[2:]
        return order, [int(said.get(f"Size{axis}", 1)) for axis in order]
    return "", []
