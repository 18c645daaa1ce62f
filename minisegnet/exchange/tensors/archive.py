"""Zip archives from strangers: looked at before a byte is unpacked."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

EXPANSION = 1100  # deflate makes at most 1032 bytes of one
LARGEST = 16 << 30  # bytes that a compressed archive may unpack to


def entries(archive: zipfile.ZipFile, path: Path, stored_only: bool = False) -> Mapping[str, zipfile.ZipInfo]:
    """The entries of an archive by name, when their sizes can be true.

    Parameters
    ----------
    archive : ZipFile
    path : Path
        Where it lies, for its size.
    stored_only : bool
        Whether compressed entries are refused. What is not compressed cannot be larger than the file.

    Raises
    ------
    ValueError
        If a name comes twice, an entry is encrypted or compressed, or the entries are together
        larger than the file can hold: a zip bomb.
    """
    size = path.stat().st_size
    found: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        if entry.filename in found:
            raise ValueError(f"damaged: the entry {entry.filename!r} is there twice")
        if entry.flag_bits & 1:
            raise ValueError(f"the entry {entry.filename!r} is encrypted")
        if stored_only and (entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size):
            raise ValueError(f"the entry {entry.filename!r} is compressed, which torch.save never does; save it again")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"the entry {entry.filename!r} is compressed in a way that NumPy does not use")
        if not 0 <= entry.header_offset < size:
            raise ValueError(f"damaged: the entry {entry.filename!r} lies outside of the file")
        found[entry.filename] = entry
    total = sum(entry.file_size for entry in found.values())
    if total > (size if stored_only else min(EXPANSION * size, LARGEST)):
        raise ValueError(f"{total:,} bytes are said to be in a file of {size:,}: it is damaged, or made to fill the memory")
    return found


def read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most: int | None = None) -> np.ndarray:
    """The bytes of an entry, as an array that can be written to; its checksum is compared.

    Raises
    ------
    ValueError
        If it is cut off, or longer than `most`.
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
        if stream.read(1):  # at the end the checksum is compared
            raise ValueError(f"{entry.filename} is longer than {len(content)} bytes")
    return content
