"""The files of ``torch.save`` before PyTorch 1.6, or with ``_use_new_zipfile_serialization=False``: one stream, and no archive.

It holds five pickles one after the other: a magic number, the version of the protocol, facts about the machine, the objects,
and the keys of the storages. The numbers follow in the order of the keys: for each storage eight bytes with its number of
elements, and the elements.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from . import pickles
from .torch_file import Storage, Storages, known, named_tensors

_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001


class Streamed(Storages):
    """The storages of a stream, whose places are known when the pickle has been read; see `place`."""

    def __init__(self, path: Path):
        super().__init__()
        self.path = path
        self.starts: dict[str, int] = {}

    def make(self, key: str, dtype: str, count: int) -> Storage:
        def read() -> np.ndarray:
            return np.fromfile(self.path, np.uint8, count * made.stored.itemsize, offset=self.starts[key])

        made = Storage(key, dtype, count, read)
        return made

    def reference(self, given: object) -> object:
        """What a persistent reference means: a storage, or a class, which comes with its source text."""
        return given[1] if type(given) is tuple and len(given) == 4 and given[0] == "module" else self.storage(given)

    def place(self, keys: object, start: int) -> None:
        """Find the numbers of each storage, from the list of the keys and the place where the first begins."""
        if type(keys) is not list or not all(type(key) is str for key in keys) or len(set(keys)) != len(keys):
            raise ValueError("the list of the storages is damaged")
        if lost := [key for key in self.found if key not in keys]:
            raise ValueError(f"storage {lost[0]!r} is not in the file")
        size = self.path.stat().st_size
        with self.path.open("rb") as file:
            for key in keys:
                if key not in self.found:
                    raise ValueError(f"no tensor uses storage {key!r}, so its size is not known")
                file.seek(start)
                count, wanted = int.from_bytes(file.read(8), "little"), self.found[key]
                if count != wanted.count:
                    raise ValueError(f"storage {key!r} has {count} elements, and its tensors expect {wanted.count}")
                self.starts[key] = start + 8
                start += 8 + count * wanted.stored.itemsize
                if start > size:
                    raise ValueError(f"truncated: storage {key!r} ends at byte {start:,} of {size:,}. Download or save the file again")


def load_legacy(path: Path, key: str | None = None) -> dict[str, np.ndarray]:
    """The tensors of a file that PyTorch before 1.6 wrote; as `torch_file.load_torch`.

    Raises
    ------
    ValueError
        If the file is damaged, is another pickle, or contains no tensors by name.
    """
    with path.open("rb") as file:
        stream = io.BytesIO(file.read(pickles.LARGEST))
    storages = Streamed(path)
    if (magic := pickles.run(stream, {}, storages.storage)) != _MAGIC:
        raise ValueError(f"this is a pickle, but not one of torch.save: it begins with an object of type {type(magic).__name__}")
    version, machine = (pickles.run(stream, {}, storages.storage) for _ in range(2))
    if version != _VERSION or type(machine) is not dict or machine.get("little_endian") is not True:
        raise ValueError(
            f"expected version {_VERSION} of a machine with the least significant byte first, got {pickles.brief(version)}, {pickles.brief(machine)}"
        )
    found = pickles.run(stream, known(), storages.reference)
    keys = pickles.run(stream, {}, storages.storage)
    storages.place(keys, stream.tell())
    return named_tensors(found, key, most=8 * path.stat().st_size)
