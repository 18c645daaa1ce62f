"""Check a data set: read every file, count everything, and name each problem with its file."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ..base import DataError
from ..folder import Folder
from ..formats import detect
from ..listing import by, explained
from ..published.official import Official
from ..record import some
from .checkup import Checkup, Part
from .report import Report


def check(path: str | os.PathLike, *, tick: Callable[[int, int], None] | None = None, **options: Any) -> Checkup:
    """Read every image and every mask of a data set, and report its contents and its problems.

    Parameters
    ----------
    path : path
        As in `data.open`. All splits of a published data set are checked.
    tick : callable, optional
        Called after each item with the number of items that were read and the number of all items.
    **options
        As in `data.open`.

    Returns
    -------
    Checkup

    Raises
    ------
    DataError
        If there is nothing to check: the layout is unknown, there is no pair of image and mask, or the masks are in
        colours and `colours` was not given.
    """
    report = Report()
    parts = _opened(path, report, options)
    total, done = sum(len(part.dataset) for part in parts.values()), 0
    flagged: dict[tuple[str, int], list[str]] = defaultdict(list)
    seen: dict[bytes, list[tuple[str, int, bytes]]] = defaultdict(list)
    empty: dict[str, list[int]] = defaultdict(list)
    for name, part in parts.items():
        for k, result in enumerate(_read_all(part.dataset)):
            done += 1
            if tick is not None:
                tick(done, total)
            if isinstance(result, _Fault):
                report.add(result.kind, result.what, file=result.file)
                continue
            part.count(result.pixels, result.ignored, result.size)
            seen[result.image].append((name, k, result.mask))
            if not result.pixels.any():
                empty[name].append(k)
            elif result.pixels[0] == result.pixels.sum() and len(result.pixels) > 1:
                _flag(report, flagged, "blank", [(name, k)], parts, f"{_file(parts, name, k, 1)}: all of it is {part.dataset.classes[0]}")
    for name, items in empty.items():
        if len(items) < parts[name].images:  # if no label is public, as in a test split, that is not a mistake
            for k in items:
                _flag(report, flagged, "void", [(name, k)], parts, _file(parts, name, k, 1))
    _copies(report, flagged, seen, parts)
    for name, part in islice(parts.items(), 2):
        if part.pixels.any() and (absent := [c for c, n in zip(part.dataset.classes, part.pixels, strict=True) if not n]):
            report.add("absent", f"{name}: {some(absent, 20)}")
    whole = next(iter(parts.values())).dataset
    if isinstance(whole, Folder):
        return Checkup(
            whole.path, "your own data", (f"masks read as {whole.kind}: {whole.kind_reason}", *whole.notes), parts, report, dict(flagged)
        )
    return Checkup(whole.path, whole.title, (), parts, report, dict(flagged))


@dataclass(frozen=True)
class _Fault:
    kind: str
    what: str
    file: Path


@dataclass(frozen=True)
class _Counts:
    pixels: np.ndarray
    ignored: int
    size: tuple[int, int]
    image: bytes  # digests of the pixels: equal pixels in different files have equal digests
    mask: bytes


def _opened(path: str | os.PathLike, report: Report, options: dict[str, Any]) -> dict[str, Part]:
    """The parts that can be opened. The report gets the reason for each part that cannot."""
    found = detect(path, options.get("images"), options.get("masks_dir"))
    if issubclass(found, Folder):
        folder = found(path, strict=False, **options)
        report.merge(folder.problems)
        places = [k for items in folder.splits.values() for k in items]
        if sorted(places) != list(range(len(folder))):  # not divided, or by lists that overlap
            return {"all": Part(folder)}
        return {split: Part(folder.part(split)) for split, items in folder.splits.items() if items}
    parts = {}
    for split in _splits(found, path, options):
        try:
            dataset = found(path, split, strict=False, **options)
        except DataError as error:
            report.add("layout", f"{split}: {error}")
        else:
            report.merge(dataset.problems)
            parts[split] = Part(dataset)
    if not parts:
        report.raise_if_any(path)
    return parts


def _splits(found: type[Official], path: str | os.PathLike, options: dict[str, Any]) -> tuple[str, ...]:
    """The splits of a published data set. Only an instance knows them, so the first split that can be opened is opened."""
    problem: DataError | None = None
    for split in (*(found.parts or ("all",)), "test"):
        try:
            return found(path, split, strict=False, **options).disjoint()
        except DataError as error:
            problem = problem or error
    assert problem is not None
    raise problem


def _read_all(dataset: Any) -> Iterator[_Counts | _Fault]:
    """The counts of each item, in order, read by threads: decoding releases the interpreter's lock."""
    workers = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(dataset), 8 * workers):
            yield from pool.map(lambda k: _read(dataset, k), range(start, min(start + 8 * workers, len(dataset))))


def _read(dataset: Any, k: int) -> _Counts | _Fault:
    file = dataset.files[k][0]
    try:
        image = dataset.image(k)
        file = dataset.files[k][1]
        mask = dataset.mask(k)
    except DataError as error:
        # The cause is a DataError if the labels are wrong, and another exception if the file cannot be decoded.
        kind = "not a label" if isinstance(error.__cause__, DataError) else "unreadable"
        return _Fault(kind, str(error).replace(f"{dataset.path}{os.sep}", ""), file)
    except Exception as error:  # a damaged file can make its decoder raise nearly anything; the other files are still read
        return _Fault("unreadable", f"{_relative(dataset, file)}: {explained(error)}", file)
    if image.shape[1:] != mask.shape:
        return _Fault("size", f"{_relative(dataset, file)}: {by(mask.shape)}, its image is {by(image.shape[1:])}", file)
    counted = mask[(mask != dataset.ignore_index) & ~np.isnan(image).any(axis=0)]
    pixels = np.bincount(counted, minlength=len(dataset.classes))
    return _Counts(pixels, mask.size - counted.size, mask.shape, _digest(image), _digest(mask))


def _digest(array: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(array).data, digest_size=16, salt=str(array.shape).encode()[:16]).digest()


def _copies(report: Report, flagged: dict, seen: dict[bytes, list[tuple[str, int, bytes]]], parts: dict[str, Part]) -> None:
    """Report images that occur more than once."""
    for group in seen.values():
        if len(group) == 1:
            continue
        items = [(name, k) for name, k, _ in group]
        several = len({name for name, _ in items}) > 1
        listed = " = ".join(f"{_file(parts, name, k, 0)}{f' ({name})' * several}" for name, k in items)
        _flag(report, flagged, "leak" if several else "copy", items, parts, listed)
        if len({mask for *_, mask in group}) > 1:
            _flag(report, flagged, "disagreement", items, parts, " ≠ ".join(_file(parts, name, k, 1) for name, k in items))


def _flag(report: Report, flagged: dict, kind: str, items: list[tuple[str, int]], parts: dict[str, Part], what: str) -> None:
    report.add(kind, what, file=parts[items[0][0]].dataset.files[items[0][1]][0])
    for item in items:
        flagged[item].append(kind)


def _file(parts: dict[str, Part], name: str, k: int, which: int) -> str:
    """The image (0) or the mask (1) of an item, by its path in the data set."""
    dataset = parts[name].dataset
    return _relative(dataset, dataset.files[k][which])


def _relative(dataset: Any, file: Path) -> str:
    return str(file.relative_to(dataset.path)) if file.is_relative_to(dataset.path) else str(file)
