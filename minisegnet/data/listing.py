"""The files of a folder, and how messages name them."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

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


def files_below(folder: Path) -> list[Path]:
    """The files in the subfolders of a folder, at any depth, sorted, without litter."""
    return [file for inner in folders_in(folder) for file in (*files_in(inner), *files_below(inner))]


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
    if type(error).__name__ == "DecompressionBombError":
        from .imagefile import too_many_pixels

        return too_many_pixels(error)
    return str(error) or type(error).__name__


def short(file: Path) -> str:
    """A file with its folder only: ``images/a.png``."""
    return f"{file.parent.name}/{file.name}"


def by(size: tuple[int, int]) -> str:
    """Width × height, as image programs write it."""
    return f"{size[1]}×{size[0]}"
