"""Zip archives of unknown origin: their entries are checked before anything is unpacked."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

EXPANSION = 1100  # deflate expands a byte to at most 1032
LARGEST = 16 << 30  # the most bytes to which a compressed archive may expand


def entries(archive: zipfile.ZipFile, path: Path, stored_only: bool = False) -> Mapping[str, zipfile.ZipInfo]:
    """The entries of an archive by name, after checking that their sizes are possible.

    Parameters
    ----------
    archive : ZipFile
    path : Path
        The path of the archive, for its size.
    stored_only : bool
        Whether to refuse compressed entries. Without compression the entries cannot be larger than the file.

    Raises
    ------
    ValueError
        If a name occurs twice, an entry is encrypted or compressed, or the entries together are larger than the file
        can contain (a zip bomb).
    """
    size = path.stat().st_size
    found: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        if entry.filename in found:
            raise ValueError(f"damaged: the entry {entry.filename!r} occurs twice")
        if entry.flag_bits & 1:
            raise ValueError(f"the entry {entry.filename!r} is encrypted")
        if stored_only and (entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size):
            raise ValueError(f"the entry {entry.filename!r} is compressed, which torch.save never does; save it again")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"the entry {entry.filename!r} is compressed with a method that NumPy does not use")
        if not 0 <= entry.header_offset < size:
            raise ValueError(f"damaged: the entry {entry.filename!r} lies outside the file")
        found[entry.filename] = entry
    total = sum(entry.file_size for entry in found.values())
    if total > (size if stored_only else min(EXPANSION * size, LARGEST)):
        raise ValueError(f"the entries claim {total:,} bytes in a file of {size:,}: it is damaged, or made to exhaust the memory")
    return found


def read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most: int | None = None) -> np.ndarray:
    """The bytes of an entry, as a writable array; its checksum is verified.

    Raises
    ------
    ValueError
        If the entry is cut off, or longer than `most`.
    """
    if most is not None and entry.file_size > most:
        raise ValueError(f"{entry.filename} has {entry.file_size:,} bytes, more than the {most:,} that it can need")
    content = np.empty(entry.file_size, np.uint8)
    filled = 0
    with archive.open(entry) as stream:
        while filled < len(content):
            count = stream.readinto(content.data[filled:])  # type: ignore[attr-defined]
            if not count:
                raise ValueError(f"{entry.filename} is cut off: {filled} of {len(content)} bytes")
            filled += count
        if stream.read(1):  # reading to the end verifies the checksum
            raise ValueError(f"{entry.filename} is longer than {len(content)} bytes")
    return content
