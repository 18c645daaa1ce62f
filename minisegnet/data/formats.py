"""Recognise the data set in a folder by its layout, so that one function opens all of them."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any

from .base import DataError
from .folder import Folder, layout_of
from .layout import find
from .listing import folders_in
from .published.camvid import CamVid
from .published.cityscapes import Cityscapes
from .published.dsb import DSB2018
from .published.official import Official
from .published.voc import PascalVOC

OFFICIAL: tuple[type[Official], ...] = (PascalVOC, Cityscapes, CamVid, DSB2018)


def detect(path: str | os.PathLike, images: str | None = None, masks_dir: str | None = None) -> type[Folder] | type[Official]:
    """The class that reads a folder: `Folder`, or the class of a published data set.

    Parameters
    ----------
    path : path
    images, masks_dir : str, optional
        As in `Folder`. If one is given, the folder is a user's own.

    Raises
    ------
    DataError
        If the folder does not exist or has none of the known layouts; lists them all.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise DataError(
            f"{folder}: {'this is a file, not a folder' if folder.exists() else 'there is no such folder'}; expected a folder with images/ and masks/, or a published data set"
        )
    own = [(folder / part).is_dir() for part in ("images", "masks")]
    if all(own) or images is not None or masks_dir is not None:
        return Folder
    for found in OFFICIAL:
        if found.root(folder) is not None:
            return found
    if any(own) or find(folder) is not None:  # if only one is there, its error names what is missing
        return Folder
    above = next((hint for found in OFFICIAL if (hint := found.hint(folder))), "")
    if (folder.absolute().parent / "masks").is_dir():
        above = f". Perhaps you mean {folder.absolute().parent}"
    if inner := [p.name for p in folders_in(folder) if find(p) is not None]:
        above = f": each of {', '.join(f'{name}/' for name in inner[:5])} is a data set of your own; give one of them"
    there = ", ".join([p.name + "/" for p in folders_in(folder)][:10]) or "no folders"
    known = "".join(f"\n  {found.title}: {found.layout}" for found in OFFICIAL)
    raise DataError(
        f"{folder}: it contains {there}, which is not a known layout{above}. Known are:\n  your own: images/ and masks/ "
        f"(or other names, with --images and --masks-dir), also in train/, val/ and test/; or a.jpg beside a_mask.png{known}"
    )


def parts(path: str | os.PathLike, images: str | None = None, masks_dir: str | None = None) -> tuple[str | None, str | None]:
    """The split of a folder to train on, and the one to hold out; None where it has no such split, so that `base.split` has to make one."""
    found = detect(path, images, masks_dir)
    if issubclass(found, Folder):
        return layout_of(Path(path), images, masks_dir).parts
    return found.parts or (None, None)


def open(path: str | os.PathLike, split: str | None = None, **options: Any) -> Folder | Official:
    """Open the data set in a folder, whichever it is.

    Parameters
    ----------
    path : path
        A folder of your own (see `Folder`), or Pascal VOC, Cityscapes, CamVid or the
        nuclei of the Data Science Bowl in their own layouts.
    split : str, optional
        A split. By default the training split of a published data set, and all images of a folder of your own.
    **options
        Those of `Folder`, `PascalVOC`, `Cityscapes`, `CamVid` or `DSB2018`.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        Raised by `detect` or by the class that reads the folder.
    ValueError
        If the data set does not take an option; lists the options that it takes.
    """
    found = detect(path, options.get("images"), options.get("masks_dir"))
    if not issubclass(found, Folder) and split is not None:
        options["split"] = split
    taken = [*inspect.signature(found).parameters][1:]
    if idle := [name for name in options if name not in taken]:
        raise ValueError(f"{found.__name__} does not take {', '.join(f'{name}=' for name in idle)}; it takes {', '.join(taken)}")
    opened = found(path, **options)
    return opened.part(split) if isinstance(opened, Folder) and split is not None else opened
