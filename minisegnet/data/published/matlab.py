"""One matrix out of a MATLAB file: as much of the format, version 5, as the labels of SBD need.

A file is a header and elements; an element is a tag (type, bytes) and its data, padded to 8 bytes. A matrix
is an element that holds elements: flags, dimensions, name, and then its numbers, or, for a structure, the
names of its fields and a matrix for each. Whatever is not asked for is stepped over by its length.
Source: MathWorks, "MAT-File Format", 2024.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..base import DataError

_INT32, _UINT32, _MATRIX, _COMPRESSED = 5, 6, 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_STRUCTURE = 2
_LIMIT = 1 << 28  # bytes that one variable may unpack to: a damaged file must not fill the memory


def read_field(path: str | os.PathLike, variable: str, field: str) -> np.ndarray:
    """A field of a structure in a ``.mat`` file, as a two-dimensional array.

    Parameters
    ----------
    path : path
    variable, field : str
        ``variable.field`` in MATLAB.

    Returns
    -------
    array, (rows, columns)

    Raises
    ------
    DataError
        If the file is no MATLAB file of version 5 to 7, is damaged, or has no such field; says what to do.
    """
    content = Path(path).read_bytes()
    if content[:8] == b"\x89HDF\r\n\x1a\n" or content[:19] == b"MATLAB 7.3 MAT-file":
        raise DataError(f"{path}: a MATLAB file of version 7.3; save it again in MATLAB with save(name, '-struct', ..., '-v7'), or as PNG")
    if content[126:128] not in (b"IM", b"MI"):
        raise DataError(f"{path}: this is no MATLAB file (version 5 to 7)")
    order = "<" if content[126:128] == b"IM" else ">"
    try:
        for kind, data in _elements(memoryview(content)[128:], order):
            if kind == _COMPRESSED:
                unpacked = zlib.decompressobj().decompress(data, _LIMIT)
                kind, data = next(_elements(memoryview(unpacked), order))
            if kind == _MATRIX and (found := _field(data, order, variable, field)) is not None:
                return _numbers(found, order)
    except (struct.error, zlib.error, StopIteration, KeyError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: the MATLAB file is damaged or cut off") from error
    raise DataError(f"{path}: there is no {variable}.{field} in it")


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Type and data of each element in a row of them."""
    while len(data):
        kind, size = struct.unpack_from(order + "II", data)
        start = 8
        if kind >> 16:  # the short form: size and type share a word, and up to four bytes of data follow at once
            kind, size, start = kind & 0xFFFF, kind >> 16, 4
        if start + size > len(data):
            raise ValueError("an element is longer than the file")
        yield kind, data[start : start + size]
        # Compressed elements, alone of all, are not padded.
        data = data[8 if start == 4 else start + (size if kind == _COMPRESSED else -(-size // 8) * 8) :]


def _field(matrix: memoryview, order: str, variable: str, field: str) -> memoryview | None:
    """The matrix in a field of a structure of 1×1, if the matrix is this structure."""
    parts = _elements(matrix, order)
    flags = struct.unpack_from(order + "I", next(parts)[1])[0]
    dimensions, name = next(parts)[1], bytes(next(parts)[1]).decode("ascii", "replace")
    if flags & 0xFF != _STRUCTURE or name != variable or struct.unpack_from(order + "2i", dimensions) != (1, 1):
        return None
    length = struct.unpack_from(order + "i", next(parts)[1])[0]
    listed = bytes(next(parts)[1])
    fields = [listed[k : k + length].split(b"\0")[0].decode("ascii", "replace") for k in range(0, len(listed), max(length, 1))]
    return dict(zip(fields, (data for _, data in parts), strict=False)).get(field)


def _numbers(matrix: memoryview, order: str) -> np.ndarray:
    """The numbers of a full matrix, which lie column by column, and often in a narrower type than its own."""
    _, dimensions, _, (kind, data), *_ = _elements(matrix, order)
    shape = np.frombuffer(dimensions[1], order + "i4")
    return np.frombuffer(data, order + _NUMBERS[kind]).reshape(shape, order="F")
