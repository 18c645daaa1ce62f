"""PNG files read and written a few rows at a time, for images that shall not be in memory as a whole.

A PNG is a list of chunks, and its pixels are one zlib stream, row after row, each behind a byte that tells
how it was filtered: stored as it is, or as the difference from what the neighbours let one expect. Pillow
decodes it whole. Source: W3C, "Portable Network Graphics (PNG) Specification", sections 5, 9, 11.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..files import replaced

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGBA = 0, 2, 3, 4, 6
_SAMPLES = {_GREY: 1, _RGB: 3, _PALETTE: 1, _GREY_ALPHA: 2, _RGBA: 4}
_PIECE = 1 << 16  # bytes that are decompressed at once


class UnsupportedError(ValueError):
    """A PNG of a kind that is not read row by row: interlaced, below 8 bits, or to be turned when shown."""


class PngReader:
    """The rows of a PNG file, from top to bottom; going back means decoding it from the start.

    Parameters
    ----------
    path : path

    Attributes
    ----------
    size : (int, int)
        H, W.

    Raises
    ------
    UnsupportedError
        See there.
    OSError
        If the file is no PNG, or damaged; names it. Damage further down is found when it is reached.
    """

    def __init__(self, path: str | os.PathLike):
        self._path = Path(path)
        self._stream: BinaryIO = self._path.open("rb")
        self._first = 0  # the row with which `_kept` begins
        self._kept = np.zeros((0, 0, 0), np.uint8)
        self._blocks: Iterator[np.ndarray] = iter(())
        self._restart()

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows ``start`` to ``stop`` as uint8 or uint16, (stop − start, W, samples): 1 grey, 3 colour; alpha is dropped."""
        if start < self._first:
            self._restart()
        while self._first + len(self._kept) < stop:
            here = self._first + len(self._kept)
            block = next(self._blocks)
            gone = max(min(start, here + len(block)) - self._first, 0)  # what lies above `start` is asked for no more
            self._kept = np.concatenate([self._kept, block])[gone:]
            self._first += gone
        return self._kept[start - self._first : stop - self._first]

    def close(self) -> None:
        self._stream.close()

    def _restart(self) -> None:
        self._stream.seek(0)
        self._blocks = self._decode(self._chunks())
        try:
            self._first, self._kept = 0, next(self._blocks)  # empty, of the right shape and dtype; now the header is known
        except BaseException:
            self._stream.close()
            raise

    def _chunks(self) -> Iterator[tuple[bytes, bytes]]:
        if self._stream.read(8) != SIGNATURE:
            raise OSError(f"{self._path}: this is no PNG")
        while True:
            head = self._stream.read(8)
            length, kind = struct.unpack(">I4s", head) if len(head) == 8 else (0, b"")
            body, check = self._stream.read(length), self._stream.read(4)
            if len(check) < 4 or zlib.crc32(kind + body) != int.from_bytes(check, "big"):
                raise OSError(f"{self._path}: the image cannot be decoded (a chunk is damaged or cut off)")
            yield kind, body

    def _decode(self, chunks: Iterator[tuple[bytes, bytes]]) -> Iterator[np.ndarray]:
        """First an empty block, then blocks of complete rows."""
        kind, body = next(chunks)
        width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", body)
        self.size = (height, width)
        palette = None
        while kind != b"IDAT":
            if kind == b"eXIf" or depth < 8 or interlaced or colour not in _SAMPLES:
                raise UnsupportedError(f"{self._path}: interlaced, below 8 bits a sample, or with a direction in which it is shown")
            palette = np.frombuffer(body, np.uint8).reshape(-1, 3) if kind == b"PLTE" else palette
            kind, body = next(chunks)
        step = _SAMPLES[colour] * depth // 8  # bytes a pixel
        line = width * step
        yield self._pixels(np.zeros((0, line), np.uint8), depth, colour, palette)
        above = np.zeros(line, np.uint8)
        inflate, rest, done = zlib.decompressobj(), b"", 0
        while True:
            if kind != b"IDAT":
                raise OSError(f"{self._path}: the image cannot be decoded (it ends after {done} of {height} rows)")
            while body:
                try:
                    rest += inflate.decompress(body, _PIECE)
                except zlib.error as error:
                    raise OSError(f"{self._path}: the image cannot be decoded ({error})") from error
                body = inflate.unconsumed_tail
                count = min(len(rest) // (line + 1), height - done)
                if count:
                    filtered = np.frombuffer(rest, np.uint8, count * (line + 1)).reshape(count, line + 1)
                    plain = _unfiltered()(filtered, above, step)
                    above, rest, done = plain[-1], rest[filtered.size :], done + count
                    yield self._pixels(plain, depth, colour, palette)
                    if done == height:
                        return
            kind, body = next(chunks)

    def _pixels(self, plain: np.ndarray, depth: int, colour: int, palette: np.ndarray | None) -> np.ndarray:
        samples = plain.view(">u2").astype(np.uint16) if depth == 16 else plain
        pixels = samples.reshape(len(plain), samples.shape[1] // _SAMPLES[colour], _SAMPLES[colour])
        if palette is not None and colour == _PALETTE:
            return palette[np.minimum(pixels[..., 0], len(palette) - 1)]
        return pixels[..., : 1 if colour in (_GREY, _GREY_ALPHA) else 3]


def _unfiltered() -> Any:
    """The compiled function that undoes the filters of rows; Numba is imported when a PNG is read, not before."""
    global _compiled
    if _compiled is None:
        import numba

        _compiled = numba.njit(cache=True)(_undo)
    return _compiled


_compiled: Any = None


def _undo(filtered: np.ndarray, above: np.ndarray, step: int) -> np.ndarray:
    """Rows behind their filter byte, (rows, 1 + bytes), as they were; `above` is the row before the first.

    With a the byte one pixel to the left, b the byte above and c the one above a: type 1 adds a, 2 adds b,
    3 adds ⌊(a + b)/2⌋, and 4 whichever of a, b, c is nearest to a + b − c (Paeth), modulo 256.
    """
    plain = np.empty((filtered.shape[0], filtered.shape[1] - 1), np.uint8)
    for row in range(plain.shape[0]):
        kind = filtered[row, 0]
        for i in range(plain.shape[1]):
            a = np.int64(plain[row, i - step]) if i >= step else np.int64(0)
            b = np.int64(above[i])
            c = np.int64(above[i - step]) if i >= step else np.int64(0)
            guess = np.int64(0)
            if kind == 1:
                guess = a
            elif kind == 2:
                guess = b
            elif kind == 3:
                guess = (a + b) // 2
            elif kind == 4:
                p = a + b - c
                guess = a if abs(p - a) <= abs(p - b) and abs(p - a) <= abs(p - c) else b if abs(p - b) <= abs(p - c) else c
            plain[row, i] = (np.int64(filtered[row, 1 + i]) + guess) & 255
        above = plain[row]
    return plain


class PngWriter:
    """Made by `png_writer`; takes rows until the image is complete."""

    def __init__(self, stream: BinaryIO, height: int, width: int, palette: np.ndarray | None):
        self._stream, self._shape, self._written = stream, (height, width), 0
        self._deflate = zlib.compressobj(6)
        stream.write(SIGNATURE)
        self._chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, _GREY if palette is None else _PALETTE, 0, 0, 0))
        if palette is not None:
            self._chunk(b"PLTE", np.asarray(palette, np.uint8).tobytes())

    def write(self, rows: np.ndarray) -> None:
        """Append rows, uint8 (n, W)."""
        height, width = self._shape
        if rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != width or self._written + len(rows) > height:
            raise ValueError(f"expected uint8 rows of {width} pixels, {height - self._written} at most; got {rows.dtype}, {rows.shape}")
        behind = np.zeros((len(rows), width + 1), np.uint8)  # filter 0: as it is, which is best for labels
        behind[:, 1:] = rows
        self._written += len(rows)
        if packed := self._deflate.compress(behind.tobytes()):
            self._chunk(b"IDAT", packed)

    def finish(self) -> None:
        if self._written != self._shape[0]:
            raise ValueError(f"an image of {self._shape[0]} rows got {self._written}")
        self._chunk(b"IDAT", self._deflate.flush())
        self._chunk(b"IEND", b"")

    def _chunk(self, kind: bytes, body: bytes) -> None:
        self._stream.write(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)))


@contextmanager
def png_writer(path: str | os.PathLike, height: int, width: int, palette: np.ndarray | None = None) -> Iterator[PngWriter]:
    """Write an 8-bit grey PNG, or one with a palette, row by row; the file appears when it is complete, or not at all.

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
