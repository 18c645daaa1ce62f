"""The style of all figures."""

from __future__ import annotations

import io
import os
from typing import Any

from ..files import write_atomically

INK, GREY, FAINT = "#1b1e2b", "#6b7080", "#dfe2e8"  # text, secondary text, rules
DPI = 150


def new_figure(width: float, height: float) -> Any:
    """An empty white figure of a size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, facecolor="white")


def finish(figure: Any, path: str | os.PathLike | None) -> Any:
    """Write a figure as PNG and return the path; without a path, return a `PIL.Image.Image`."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=figure.dpi)
    if path is not None:
        return write_atomically(path, lambda stream: stream.write(buffer.getvalue()))
    from PIL import Image

    return Image.open(buffer).convert("RGB")


def quiet_axes(axes: Any) -> None:
    """Style axes with two thin spines, a faint grid and small grey ticks."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GREY)
        axes.spines[side].set_linewidth(0.8)
    axes.tick_params(colors=GREY, labelsize=9, length=3, width=0.8)
    axes.grid(True, color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
