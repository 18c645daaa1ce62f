"""How a stored image has to be turned before it is shown: one rule for every command and every way of decoding.

Cameras store what the sensor saw, and say beside it how the camera was held (EXIF, tag 0x0112). Programs that convert photographs keep that
note in many places: in EXIF, in XMP, in ImageMagick's raw profiles, in a PNG even behind the pixels.
"""

from __future__ import annotations

import os
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

_TAG = 0x0112
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_NOTES = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")
_LARGEST = 1 << 24  # bytes; a larger note does not hold an orientation


def orientation(path: str | os.PathLike) -> int:
    """The orientation of a file by EXIF, 1 to 8; 1, which means upright, if the file says nothing or nonsense.

    Only headers and notes are read, no pixels. For a TIFF it is that of the first page.
    """
    from PIL import Image

    with Path(path).open("rb") as stream:
        source: Any = _notes_of_png(stream) if stream.read(8) == _SIGNATURE else path
    with Image.open(source) as picture:
        if source is not path:
            picture.load()  # the notes may stand behind the pixel
        try:
            found = picture.getexif().get(_TAG, 1)
        except Exception:  # a damaged note makes its parser raise nearly anything, and says nothing
            found = 1
    return found if found in range(1, 9) else 1


def upright(pixels: np.ndarray, turn: int) -> np.ndarray:
    """Pixels (H, W) or (H, W, C) as they are to be shown, for an orientation of 1 to 8."""
    if turn in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if turn in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if turn in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _notes_of_png(stream: Any) -> BytesIO:
    """A PNG of one pixel with the notes of another one, wherever they stand in it."""
    chunks = []
    while len(head := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind in _NOTES and length < _LARGEST:
            # ImageMagick writes the same profile under two names, of which Pillow knows one.
            chunks.append((kind, stream.read(length).replace(b"Raw profile type APP1", b"Raw profile type exif", 1)))
            stream.seek(4, os.SEEK_CUR)
        else:
            stream.seek(length + 4, os.SEEK_CUR)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)), *chunks, (b"IDAT", zlib.compress(b"\0\0")), (b"IEND", b"")]
    return BytesIO(_SIGNATURE + b"".join(struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks))
