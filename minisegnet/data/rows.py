"""The rows of a PNG or TIFF file, decoded when they are needed, for images that do not fit into memory.

The decoder is libvips, through the package pyvips (extra ``large``). It keeps the 16 bits of a colour image,
where Pillow keeps 8. Without pyvips an image has to be decoded as a whole.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from .imagefile import ImageFile

_LOADERS = {b"\x89PNG": "pngload", b"II*\0": "tiffload", b"MM\0*": "tiffload", b"II+\0": "tiffload", b"MM\0+": "tiffload"}
_DTYPES = {"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4", "double": "f8"}
_COLOURS = ("b-w", "grey16", "srgb", "rgb16", "multiband")


class UnsupportedError(ValueError):
    """An image whose rows cannot be decoded one after the other: another format, colours that are not grey or RGB, or stored turned."""


class RowReader:
    """The rows of an image file, from top to bottom. Going back decodes the file from its start again.

    Parameters
    ----------
    path : path
    page : int
        The page of a TIFF.
    stored : bool
        Whether the rows are given as they are stored, though the file says that the image has to be turned.

    Attributes
    ----------
    size : (int, int)
        H, W.
    samples : int
        1 for grey, 3 for colour, or the number of bands.
    no_data : float or None
        The value of pixels that were not measured.

    Raises
    ------
    ImportError
        If pyvips is not installed.
    UnsupportedError
        If the file is not a PNG or TIFF with pixels of grey, RGB or bands; or if it has to be turned (see `orientation`).
    OSError
        If the file is damaged; names it. Damage further down is found when it is reached.
    """

    _picture: Any
    _region: Any
    _first: int  # the rows that the last call returned: the number of the first, and
    _kept: np.ndarray  # their pixels

    def __init__(self, path: str | os.PathLike, page: int = 0, stored: bool = False):
        import pyvips

        self._vips, self._path = pyvips, Path(path)
        with self._path.open("rb") as stream:
            loader = _LOADERS.get(stream.read(4))
        if loader is None:
            raise UnsupportedError(f"{path}: this is neither PNG nor TIFF")
        self._load = getattr(pyvips.Image, loader)
        self._options = {"page": page} if loader == "tiffload" else {}
        try:
            about = ImageFile(path)
        except Exception as error:  # a damaged header makes Pillow raise nearly anything
            raise self._damaged(error) from error
        if "64 bits" in about.beyond_pillow(page):
            raise UnsupportedError(f"{path}: the numbers have 64 bits")
        self._restart()
        picture = self._picture
        if picture.interpretation not in _COLOURS:
            raise UnsupportedError(f"{path}: the colours are {picture.interpretation}; expected grey, RGB or bands")
        if picture.format not in _DTYPES:
            raise UnsupportedError(f"{path}: the numbers are {picture.format}; expected integers or floats")
        if not stored and about.turn(page) != 1:
            raise UnsupportedError(f"{path}: the image is stored turned (orientation)")
        self.size, self.no_data = (picture.height, picture.width), about.no_data(page)
        alpha = about.has_alpha(page)
        self.samples = picture.bands - bool(picture.hasalpha() if alpha is None else alpha)
        self._dtype = _DTYPES[picture.format]

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows ``start`` to ``stop``, (stop − start, W, samples) with 1 sample for grey and 3 for colour; a declared alpha is dropped."""
        if start < self._first:
            self._restart()
        following = self._first + len(self._kept)
        if stop > following:
            begin = max(start, following)
            fresh = self._decoded(begin, stop)
            self._kept = np.concatenate([self._kept[start - self._first :], fresh]) if start < following else fresh
            self._first = start
        return self._kept[start - self._first : stop - self._first]

    def close(self) -> None:
        """Close the file."""
        self._picture = self._region = None

    def _restart(self) -> None:
        """Open the file at its first row; what was read is forgotten."""
        self._first, self._kept = 0, np.zeros((0, 0, 0), np.uint8)
        try:
            self._picture = self._load(str(self._path), access="sequential", fail_on="error", revalidate=True, **self._options)
        except self._vips.Error as error:
            raise self._damaged(error) from error
        self._region = self._vips.Region.new(self._picture)  # one region: libvips keeps the lines that it has read ahead

    def _decoded(self, start: int, stop: int) -> np.ndarray:
        try:
            content = self._region.fetch(0, start, self.size[1], stop - start)
        except self._vips.Error as error:
            raise self._damaged(error) from error
        return np.frombuffer(content, self._dtype).reshape(stop - start, self.size[1], -1)[..., : self.samples]

    def _damaged(self, error: Exception) -> OSError:
        reason = str(error).strip().splitlines()[-1].strip()
        return OSError(f"{self._path}: the image cannot be decoded ({reason}); is it damaged or cut off?")
