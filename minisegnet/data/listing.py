"""The files of a folder, and how messages name them."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from .base import DataError
from .doctor.report import Report
from .images import SUFFIXES

_LITTER = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "$recycle.bin", "lost+found")


def is_litter(path: Path) -> bool:
    """Whether a file or folder was left by an operating system: ``._a.png``, ``.DS_Store``, ``Thumbs.db``, ``__MACOSX/`` and others.

    macOS writes ``._a.png`` beside ``a.png`` on foreign disks and into archives; it has the name of an image and is none.
    """
    return path.name.startswith((".", "~$")) or path.name.lower() in _LITTER


def files_in(folder: Path, pattern: str = "*") -> list[Path]:
    """The files of a folder whose names fit a pattern, sorted, without litter."""
    return sorted(p for p in folder.iterdir() if fnmatchcase(p.name, pattern) and not is_litter(p) and p.is_file())


def folders_in(folder: Path) -> list[Path]:
    """The subfolders of a folder, sorted, without litter."""
    return sorted(p for p in folder.iterdir() if not is_litter(p) and p.is_dir())


def listed_files(root: Path, part: str, report: Report, notes: list[str]) -> dict[str, Path]:
    """The image files of a subfolder, by file name without its ending."""
    if not root.is_dir():
        raise DataError(
            f"{root}: {'this is a file, not a folder' if root.exists() else 'there is no such folder'}; expected a folder with images/ and masks/"
        )
    folder = root / part
    if not folder.is_dir():
        there = [p.name + "/" for p in folders_in(root)]
        up = f" Perhaps you mean {root.parent}." if (root.parent / part).is_dir() else ""
        raise DataError(
            f"{root}: there is no {part}/ in it, only {', '.join(there[:10]) or 'no folders'}. Expected images/ and masks/.{up}"
        )
    files = files_in(folder)
    listed: dict[str, Path] = {}
    for file in (p for p in files if p.suffix.lower() in SUFFIXES):
        if file.stem in listed:
            report.add("twice", f"{short(listed[file.stem])} and {file.name}")
        listed.setdefault(file.stem, file)
    others = [p for p in files if p.suffix.lower() not in SUFFIXES]
    if not listed:
        held = (
            f"; its {len(others)} files are of other kinds ({', '.join(sorted({p.suffix or p.name for p in others})[:5])})"
            if others
            else " and is empty"
        )
        raise DataError(f"{folder}: the folder contains no images{held}. Supported are {', '.join(s[1:] for s in SUFFIXES)}")
    if others:
        notes.append(
            f"{len(others)} files in {part}/ are not images and are left out: {', '.join(p.name for p in others[:3])}{' …' if len(others) > 3 else ''}"
        )
    return listed


def similar(stem: str, masks: Mapping[str, Path]) -> str:
    """A hint if a mask has the name of its image with something added."""
    near = next((m for m in masks if stem != m and (m.startswith(stem) or m.endswith(stem))), None)
    return f"masks/{masks[near].name} looks like the mask of {stem!r}: rename it to {stem}{masks[near].suffix}" if near else ""


def naming(file: Path, error: Exception) -> str:
    """An error message that names the file exactly once."""
    return str(error) if str(file) in str(error) else f"{file}: {error}"


def explained(error: Exception) -> str:
    """Why a file could not be read, in few words."""
    if type(error).__name__ == "UnidentifiedImageError":
        return "not an image of a known format"
    return str(error) or type(error).__name__


def short(file: Path) -> str:
    """A file with its folder only: ``images/a.png``."""
    return f"{file.parent.name}/{file.name}"


def by(size: tuple[int, int]) -> str:
    """Width × height, as image programs write it."""
    return f"{size[1]}×{size[0]}"
