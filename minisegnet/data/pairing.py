"""Which mask belongs to which image, by the names of their files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from .base import DataError
from .doctor.report import Report
from .imagefile import MASK_SUFFIXES, SUFFIXES
from .layout import Place, is_jpeg, mask_suffix
from .listing import files_in, short
from .names import FILES


class Paired(NamedTuple):
    """The files of a place by the names of the items, and how they were matched if not by equal names."""

    images: dict[str, Path]
    masks: dict[str, Path]
    how: str = ""


def paired(place: Place, suffix: str | None, report: Report, notes: list[str]) -> Paired:
    """The images and masks of a place.

    Parameters
    ----------
    place : Place
    suffix : str, optional
        What the names of masks have behind those of their images. By default equal names are matched; if there are none, what all names of
        images, and all of masks, have before and behind the parts in which they differ is left out.
    report : Report
        Gets files of which it is not clear which one is meant.
    notes : list of str
        Gets remarks on files that are left out.

    Raises
    ------
    DataError
        If a folder contains no images.
    """
    files = _pictures(place.images, notes)
    if place.images == place.masks:
        return _divided(files, suffix, report, notes)
    masks = _by_name(_pictures(place.masks, notes, MASK_SUFFIXES), report)
    images = _by_name(files, report)
    if suffix is not None:
        wanted = {name.removesuffix(suffix): file for name, file in masks.items() if name.endswith(suffix)}
        if not wanted:
            raise DataError(f"{place.masks}: no mask has a name that ends in {suffix!r}; they are {_some(masks)}")
        return Paired(images, wanted, f"masks are named NAME{suffix}")
    if images.keys() & masks.keys():
        return Paired(images, masks)
    return _without_common_parts(images, masks) or Paired(images, masks)


def _divided(files: list[Path], suffix: str | None, report: Report, notes: list[str]) -> Paired:
    """Image and mask side by side."""
    suffix = mask_suffix(files) if suffix is None else suffix
    if suffix:
        masks = _by_name([p for p in files if p.stem.endswith(suffix)], report)
        wanted = {name.removesuffix(suffix): file for name, file in masks.items()}
        rest = _by_name([p for p in files if not p.stem.endswith(suffix)], report)
        # What a program wrote beside an image that has a mask, such as a_flows.tif beside a.tif and a_masks.tif, is no image.
        beside = {
            name
            for name in rest
            if any(name.startswith(image) and not name[len(image)].isalnum() for image in wanted if name != image and image in rest)
        }
        if beside - wanted.keys():
            notes.append(f"{len(beside - wanted.keys())} files beside images with masks are left out: {_some(beside - wanted.keys())}")
        images = {name: file for name, file in rest.items() if name not in beside or name in wanted}
        return Paired(images, wanted, f"masks are the files named NAME{suffix}")
    lossy, exact = [p for p in files if is_jpeg(p)], [p for p in files if not is_jpeg(p)]
    return Paired(_by_name(lossy, report), _by_name(exact, report), "of two files of one name the JPEG is the image")


def _pictures(folder: Path, notes: list[str], suffixes: tuple[str, ...] = SUFFIXES) -> list[Path]:
    files = files_in(folder)
    found = [p for p in files if p.suffix.lower() in suffixes]
    others = [p for p in files if p.suffix.lower() not in suffixes and p.name not in FILES]
    if not found:
        kinds = ", ".join(sorted({p.suffix or p.name for p in others})[:5])
        held = f"; its {len(others)} files are of other kinds ({kinds})" if others else " and is empty"
        raise DataError(f"{folder}: the folder contains no images{held}. Supported are {', '.join(s[1:] for s in suffixes)}")
    if others:
        note = f"{len(others)} files in {folder.name}/ are not images and are left out: {_some(p.name for p in others)}"
        if note not in notes:
            notes.append(note)
    return found


def _by_name(files: list[Path], report: Report) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in files:
        if file.stem in found:
            report.add("twice", f"{short(found[file.stem])} and {file.name}")
        found.setdefault(file.stem, file)
    return found


def _without_common_parts(images: Mapping[str, Path], masks: Mapping[str, Path]) -> Paired | None:
    """Matched by what is left of the names without the parts that all images, or all masks, have in common; None if that is no match."""
    cut_images, cut_masks = _cut(images), _cut(masks)
    common = cut_images.keys() & cut_masks.keys()
    if len(images) == len(masks) == 1:
        (image,), (mask,) = images, masks
        return (
            Paired(dict(images), {image: masks[mask]}, "the one mask belongs to the one image") if image in mask or mask in image else None
        )
    if len(common) < 2 or 2 * len(common) < max(len(images), len(masks)):
        return None
    first = min(common)
    return Paired(
        dict(images),
        {cut_images.get(cut, name): masks[name] for cut, name in cut_masks.items()},
        f"masks are matched by the parts in which names differ: {images[cut_images[first]].name} and {masks[cut_masks[first]].name}",
    )


def _cut(names: Iterable[str]) -> dict[str, str]:
    """The names by what is left of them without their common beginning and end, which are not cut inside a number."""
    listed = list(names)
    begin = re.sub(r"\d+$", "", _beginning(listed))
    rest = [name[len(begin) :] for name in listed]
    end = re.sub(r"^\d+", "", _beginning([name[::-1] for name in rest])[::-1])
    return {name[len(begin) : len(name) - len(end)]: name for name in listed}


def _beginning(names: list[str]) -> str:
    """What all names begin with: that is what the first and the last of them in the order of the alphabet begin with."""
    first, last = min(names), max(names)
    return first[: next((k for k, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))]


def _some(names: Iterable[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:3]) + (" …" if len(listed) > 3 else "")
