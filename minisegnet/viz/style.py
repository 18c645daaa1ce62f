"""The style of all figures."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..files import write_atomically

INK, GREY, FAINT = "#1b1e2b", "#6b7080", "#dfe2e8"  # text, secondary text, rules
DPI = 150
MARGIN, KEY_LABEL, KEY_LINE = 0.35, 0.8, 0.27  # inches: around a figure; before a legend; a line of a legend


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


def key_step(key: Sequence[tuple[str, Any]]) -> float:
    """The width of an entry of a legend, in inches."""
    return 0.42 + 0.076 * max(len(str(name)) for name, _ in key)


def legend(figure: Any, width: float, height: float, top: float, label: str, key: Sequence[tuple[str, Any]], columns: int) -> None:
    """Draw swatches with names after a grey label, `columns` of them per line; sizes are in inches."""
    from matplotlib.patches import Rectangle

    figure.text(MARGIN / width, (top - 0.08) / height, label, fontsize=9, color=GREY, va="center")
    step = min((width - 2 * MARGIN - KEY_LABEL) / columns, key_step(key))
    for k, (name, colour) in enumerate(key):
        x, y = MARGIN + KEY_LABEL + step * (k % columns), top - KEY_LINE * (k // columns)
        place, size = (x / width, (y - 0.15) / height), (0.14 / width, 0.14 / height)
        swatch = Rectangle(place, *size, facecolor=np.asarray(colour) / 255, edgecolor=GREY, linewidth=0.4)
        swatch.set_transform(figure.transFigure)
        figure.add_artist(swatch)
        figure.text((x + 0.21) / width, (y - 0.08) / height, str(name), fontsize=9, color=INK, va="center")
