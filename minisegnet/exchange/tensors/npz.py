"""Files of ``numpy.savez``: a zip archive with one ``.npy`` per array. Arrays of objects, which are pickles, are refused."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from tokenize import TokenError

import numpy as np

from .archive import entries, read


def load_npz(archive: zipfile.ZipFile, path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file that ``numpy.savez`` or ``savez_compressed`` wrote.

    Raises
    ------
    ValueError
        If an entry is damaged, is not an array, or is not an array of numbers.
    """
    return {name.removesuffix(".npy"): _array(archive, entry) for name, entry in entries(archive, path).items()}


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    stream = io.BytesIO(read(archive, entry).data)
    try:
        array = np.lib.format.read_array(stream, allow_pickle=False)
    except (ValueError, SyntaxError, TokenError) as error:  # the header is a dictionary as Python source, parsed as a literal
        raise ValueError(f"{entry.filename}: {error}") from error
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{entry.filename} contains {array.dtype}, expected numbers")
    return array
