"""Which images a run was trained on: their names and digests, kept to notice when a folder has changed since."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .base import Subset
from .images import read_image
from .listing import files_in
from .masks import read_raw

Record = dict[str, list[str]]  # name → digests of the image and of the mask


def record(dataset: Any) -> Record:
    """The items of a dataset by name, each with the digests of its two files; empty if the dataset is not made of files.

    For an item that is one image of a stack, the digests are those of its pixels, so that other images of the stack may change.

    Parameters
    ----------
    dataset : Dataset

    Returns
    -------
    dict, name → [digest of the image, digest of the mask]
    """
    whole: Any
    names, whole, indices = dataset.names, dataset, list(range(len(dataset)))
    while isinstance(whole, Subset):
        whole, indices = whole.dataset, [whole.indices[k] for k in indices]
    if not hasattr(whole, "files"):
        return {}
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        digests = pool.map(lambda k: _digests(whole, k), indices)
        return dict(zip(names, digests, strict=True))


def _digests(dataset: Any, k: int) -> list[str]:
    image, mask = dataset.files[k]
    frame = dataset.frames[k] if dataset.frames else None
    if frame is None:
        return [_digest(image), _digest(mask)]
    pixels = read_image(image, frame=frame, unit=False), read_raw(mask, frame=frame)
    return [hashlib.blake2b(np.ascontiguousarray(values).data, digest_size=8).hexdigest() for values in pixels]


def _digest(path: Path) -> str:
    """16 hexadecimal digits of a file's content, or of all files in a folder."""
    state = hashlib.blake2b(digest_size=8)
    for file in files_in(path) if path.is_dir() else [path]:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                state.update(block)
    return state.hexdigest()


@dataclass(frozen=True)
class Drift:
    """How a data set differs from what a run recorded of it.

    Attributes
    ----------
    new, gone, changed : list of str
        Names of items that the run did not have, that are no longer there, and of which a file has other content.
    """

    new: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """A sentence for each kind of difference."""
        said = {
            "new": "{} since the run began: neither trained on nor held out",
            "gone": "{}: the run had {} and the folder no longer does",
            "changed": "{} since the run began: the file of the image or of the mask has other content",
        }
        return [
            said[kind].format(
                f"{len(names)} image{'s' * (len(names) != 1)} {'is' if len(names) == 1 else 'are'} {kind}",
                "it" if len(names) == 1 else "them",
            )
            + f" ({some(names)})"
            for kind in said
            if (names := getattr(self, kind))
        ]


def drift(earlier: Mapping[str, list[str]], now: Mapping[str, list[str]], there: Iterable[str]) -> Drift:
    """Compare the items of a run with those of today.

    Parameters
    ----------
    earlier : record of the run
    now : record of those items of the run that are still there
    there : iterable of str
        The names of all items that are there today.
    """
    return Drift(
        new=sorted(set(there) - earlier.keys()),
        gone=sorted(earlier.keys() - set(there)),
        changed=sorted(name for name, digests in now.items() if name in earlier and earlier[name] != digests),
    )


def copies(measured: Mapping[str, list[str]], trained: Mapping[str, list[str]]) -> list[str]:
    """The names of measured items whose image, under whatever name, is one that was trained on."""
    seen = {digests[0] for digests in trained.values()}
    return [name for name, digests in measured.items() if digests[0] in seen]


def some(names: list[str], most: int = 5) -> str:
    """The first names of a list, for a message."""
    return ", ".join(names[:most]) + (f", … and {len(names) - most} more" if len(names) > most else "")
