"""Files that are there whole or not at all, and the look that all figures share."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

INK, GREY, FAINT = "#1b1e2b", "#6b7080", "#dfe2e8"  # text, secondary text, rules
DPI = 150


def write_atomically(path: str | os.PathLike, write: Callable[[BinaryIO], Any]) -> Path:
    """Write a file by way of a temporary one beside it: a reader, or a crash, never meets half a file.

    Parameters
    ----------
    path : path
        Missing folders are made. An existing file is replaced at the end.
    write : callable
        Gets the open binary file.

    Returns
    -------
    Path

    Raises
    ------
    OSError
        If the folder cannot be made or written to; names it. The file that was there before stays.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a folder; name a file in it")
    # Not tempfile: its files are readable by their owner only, and would stay so.
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = temporary.open("xb")
    except OSError as error:
        raise type(error)(f"cannot write {path}: the folder {path.parent} cannot be made or written to ({error.strerror})") from error
    try:
        with stream:
            write(stream)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def new_figure(width: float, height: float) -> Any:
    """An empty white figure of a size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, facecolor="white")


def finish(figure: Any, path: str | os.PathLike | None) -> Any:
    """Write a figure as PNG and return its path; without a path, return it as a `PIL.Image.Image`."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=figure.dpi)
    if path is not None:
        return write_atomically(path, lambda stream: stream.write(buffer.getvalue()))
    from PIL import Image

    return Image.open(buffer).convert("RGB")


def quiet_axes(axes: Any) -> None:
    """Two thin spines, a faint grid, small grey ticks."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GREY)
        axes.spines[side].set_linewidth(0.8)
    axes.tick_params(colors=GREY, labelsize=9, length=3, width=0.8)
    axes.grid(True, color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
