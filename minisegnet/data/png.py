"""PNG files written a few rows at a time, for images that are never in memory as a whole.

A PNG is a list of chunks. Its pixels are one zlib stream, row after row, and a byte before each row tells how the
row is filtered. Source: W3C, "Portable Network Graphics (PNG) Specification", sections 5, 9, 11.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np

from ..files import replaced

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _PALETTE = 0, 3


class PngWriter:
    """Takes rows until the image is complete; made by `png_writer`."""

    def __init__(self, stream: BinaryIO, height: int, width: int, palette: np.ndarray | None):
        self._stream, self._shape, self._written = stream, (height, width), 0
        self._deflate = zlib.compressobj(6)
        stream.write(_SIGNATURE)
        self._chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, _GREY if palette is None else _PALETTE, 0, 0, 0))
        if palette is not None:
            self._chunk(b"PLTE", np.asarray(palette, np.uint8).tobytes())

    def write(self, rows: np.ndarray) -> None:
        """Append rows, uint8 (n, W).

        Raises
        ------
        ValueError
            If they have another dtype or width, or are more than the image still needs.
        """
        height, width = self._shape
        if rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != width or self._written + len(rows) > height:
            raise ValueError(f"expected uint8 rows of {width} pixels, {height - self._written} at most; got {rows.dtype}, {rows.shape}")
        behind = np.zeros((len(rows), width + 1), np.uint8)  # filter 0: unchanged, which compresses labels best
        behind[:, 1:] = rows
        self._written += len(rows)
        if packed := self._deflate.compress(behind.tobytes()):
            self._chunk(b"IDAT", packed)

    def finish(self) -> None:
        """Write the end of the file; raises `ValueError` if rows are missing."""
        if self._written != self._shape[0]:
            raise ValueError(f"the image has {self._shape[0]} rows, but only {self._written} were written")
        self._chunk(b"IDAT", self._deflate.flush())
        self._chunk(b"IEND", b"")

    def _chunk(self, kind: bytes, body: bytes) -> None:
        self._stream.write(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)))


@contextmanager
def png_writer(path: str | os.PathLike, height: int, width: int, palette: np.ndarray | None = None) -> Iterator[PngWriter]:
    """Write an 8-bit PNG, grey or with a palette, row by row. The file appears only when it is complete.

    Parameters
    ----------
    path : path
    height, width : int
    palette : uint8, (K, 3), K ≤ 256, optional

    Yields
    ------
    PngWriter
        Its ``write(rows)`` takes uint8 rows.
    """
    with replaced(path) as temporary, temporary.open("wb") as stream:
        writer = PngWriter(stream, height, width, palette)
        yield writer
        writer.finish()
