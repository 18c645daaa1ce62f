"""Which data a run was trained on, as far as its checkpoint remembers it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..data import Arrays, Dataset, Subset
from ..data.record import record

ACCEPT = "To go on nevertheless, accept the changes (--accept-changes; in Python accept_changes=True)"


def identity(dataset: Dataset | None) -> dict[str, Any] | None:
    """What tells a data set from another one: the number of its items, and digests of their names and of their content.

    The content is that of the files of a folder, or of the arrays of `data.Arrays`. Any other data set, whose items may be computed,
    is told by its names alone; its content is None.
    """
    if dataset is None:
        return None
    names = hashlib.blake2b("\0".join(map(str, dataset.names)).encode(), digest_size=8).hexdigest()
    return {"items": len(dataset), "classes": list(dataset.classes), "names": names, "content": _content(dataset)}


def _content(dataset: Any) -> str | None:
    whole: Any
    state, whole, indices = hashlib.blake2b(digest_size=8), dataset, list(range(len(dataset)))
    while isinstance(whole, Subset):
        whole, indices = whole.dataset, [whole.indices[k] for k in indices]
    if isinstance(whole, Arrays):
        for k in indices:
            for array in whole[k]:
                state.update(f"{array.dtype.str} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    elif found := record(dataset):
        for digests in found.values():
            state.update(" ".join(digests).encode())
    else:
        return None
    return state.hexdigest()


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """In words, how the data of a run differ from those that it recorded: `then` and `now` are identities by part."""
    found = []
    for part, after in now.items():
        before = then.get(part)
        if before == after:
            continue
        what = f"the {part} data"
        if before is None or after is None:
            found.append(f"{what} were {'missing' if before is None else 'there'} and are {'there' if before is None else 'missing'} now")
        elif before["items"] != after["items"]:
            found.append(f"{what} had {before['items']} items and have {after['items']} now")
        else:
            kinds = {"names": "names", "classes": "classes", "content": "content"}
            found.append(f"{what} have other {' and '.join(word for name, word in kinds.items() if before.get(name) != after[name])}")
    return found


def in_words(transform: Callable | None) -> str:
    """A transform in words that are the same in every process: without addresses in memory."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(transform))
