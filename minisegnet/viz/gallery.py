"""Panels side by side: pictures and maps of numbers, each with a caption; maps of numbers also have a scale."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

import numpy as np

from .style import FAINT, GREY, INK, KEY_LABEL, KEY_LINE, finish, key_step, legend, new_figure

_MARGIN, _GAP, _CAPTION, _LINE, _SCALE = 0.35, 0.16, 0.26, 0.16, 0.3  # inches
MARK = "#00e5ff"


@dataclass(frozen=True)
class Panel:
    """One picture of a gallery.

    Attributes
    ----------
    title : str
    picture : uint8 (H, W, 3), or numbers (H, W)
    colours : str
        The name of a Matplotlib colour map, for numbers.
    limits : (float, float), optional
        The numbers at the ends of the colour map; by default the smallest and largest of the picture.
    scale : bool
        Whether to draw a scale below the panel.
    box : (top, bottom, left, right), optional
        A rectangle to mark, in pixels.
    point : (row, column), optional
        A pixel to mark.
    """

    title: str
    picture: np.ndarray
    colours: str = "viridis"
    limits: tuple[float, float] | None = None
    scale: bool = True
    box: tuple[int, int, int, int] | None = None
    point: tuple[int, int] | None = None

    @property
    def numbers(self) -> bool:
        return self.picture.ndim == 2

    @property
    def range(self) -> tuple[float, float]:
        if self.limits is not None:
            return self.limits
        there = self.picture[np.isfinite(self.picture)]
        return (float(there.min()), float(there.max())) if there.size else (0.0, 1.0)


def gallery(
    panels: Sequence[Panel],
    path: str | os.PathLike | None = None,
    *,
    title: str = "",
    note: str = "",
    columns: int = 4,
    cell: float = 2.4,
    key: Sequence[tuple[str, Any]] = (),
) -> Any:
    """Draw panels, row by row.

    Parameters
    ----------
    panels : sequence of Panel
    path : path, optional
        Where to write the PNG. Without it, the picture is returned.
    title, note : str
        A heading, and a line in grey below it.
    columns : int
    cell : float
        The width of a panel in inches.
    key : sequence of (name, colour)
        A legend below the panels.

    Returns
    -------
    Path or PIL.Image.Image

    Raises
    ------
    ValueError
        If no panel is given.
    """
    if not panels:
        raise ValueError("gallery: there is nothing to show")
    columns = min(columns, len(panels))
    rows = [panels[k : k + columns] for k in range(0, len(panels), columns)]
    tall = [min(max(cell * max(p.picture.shape[0] / p.picture.shape[1] for p in row), 0.3 * cell), 2 * cell) for row in rows]
    scaled = [any(p.numbers and p.scale for p in row) for row in rows]
    captions = [[wrap(p.title, int(cell * 13.5)) for p in row] for row in rows]
    above = [_CAPTION + _LINE * (max(map(len, row)) - 1) for row in captions]
    width = max(2 * _MARGIN + columns * cell + (columns - 1) * _GAP, 2 * _MARGIN + 0.082 * len(note))
    head = 0.76 if note else 0.5
    per_line = max(1, int((width - 2 * _MARGIN - KEY_LABEL) / key_step(key))) if key else 1
    foot = KEY_LINE * math.ceil(len(key) / per_line)
    height = head + sum(tall) + sum(above) + _SCALE * sum(scaled) + _GAP * len(rows) + 0.1 + foot
    figure = new_figure(width, height)
    figure.text(_MARGIN / width, 1 - 0.28 / height, title, fontsize=13, weight="bold", color=INK, va="center")
    figure.text(_MARGIN / width, 1 - 0.54 / height, note, fontsize=9, color=GREY, va="center")
    top = height - head
    for row, lines, caption, high, with_scale in zip(rows, captions, above, tall, scaled, strict=True):
        for column, panel in enumerate(row):
            left = _MARGIN + column * (cell + _GAP)
            for line, text in enumerate(lines[column]):
                figure.text(left / width, (top - 0.1 - _LINE * line) / height, text, fontsize=8.5, color=INK, va="center")
            axes = figure.add_axes((left / width, (top - caption - high) / height, cell / width, high / height))
            shown = _draw(axes, panel)
            if shown is not None and panel.scale:
                beneath = figure.add_axes((left / width, (top - caption - high - 0.14) / height, cell / width, 0.07 / height))
                bar = figure.colorbar(shown, cax=beneath, orientation="horizontal")
                bar.set_ticks(list(panel.range), labels=[f"{v:.3g}" for v in panel.range])
                bar.ax.tick_params(labelsize=7.5, colors=GREY, length=0, pad=2)
                for label, side in zip(bar.ax.get_xticklabels(), ("left", "right"), strict=True):
                    label.set_horizontalalignment(side)
                bar.outline.set_visible(False)
        top -= caption + high + _SCALE * with_scale + _GAP
    if key:
        legend(figure, width, height, top, "classes", key, per_line)
    return finish(figure, path)


def _draw(axes: Any, panel: Panel) -> Any:
    from matplotlib.patches import Rectangle

    low, high = panel.range
    options = {"cmap": panel.colours, "vmin": low, "vmax": high if high > low else low + 1} if panel.numbers else {}
    shown = axes.imshow(panel.picture, interpolation="nearest", **options)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(FAINT)
    if panel.box is not None:
        top, bottom, left, right = panel.box
        axes.add_patch(Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, edgecolor=MARK, linewidth=1.3))
    if panel.point is not None:
        axes.plot(
            panel.point[1], panel.point[0], marker="o", markersize=7, markerfacecolor="none", markeredgecolor=MARK, markeredgewidth=1.4
        )
    axes.set_xlim(-0.5, panel.picture.shape[1] - 0.5)
    axes.set_ylim(panel.picture.shape[0] - 0.5, -0.5)
    return shown if panel.numbers else None


def columns_for(count: int, most: int = 8) -> int:
    """The number of columns for `count` small pictures, such that the sheet is wider than high."""
    return max(1, min(most, math.ceil(math.sqrt(2 * count))))
