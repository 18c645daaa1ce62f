"""A contact sheet: many images of a data set in one picture, each beside its labels."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from .pictures import IGNORED, as_rgb, background_of, colourise, overlay
from .style import FAINT, GREY, INK, finish, new_figure

_FLAG = "#d55e00"
_MARGIN, _GAP, _HEAD, _CAPTION, _LINE = 0.35, 0.06, 0.7, 0.36, 0.27  # inches
_SHOWN = 480  # pixels of the longer side that a cell can show


def contact_sheet(
    images: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    names: Sequence[str],
    classes: Sequence[str],
    palette: np.ndarray,
    path: str | os.PathLike | None = None,
    *,
    flags: Sequence[str] | None = None,
    title: str = "Contact sheet",
    columns: int = 3,
    ignore_index: int = 255,
) -> Any:
    """One picture with a cell for each image: the image, the image under its labels, and its name.

    Parameters
    ----------
    images : sequence of arrays, (C, H, W)
    masks : sequence of integer arrays, (H, W)
    names : sequence of str
    classes : sequence of str
    palette : uint8, (K, 3)
    path : path, optional
        Where to write the PNG. Without it, the picture is returned.
    flags : sequence of str, optional
        A remark for each image, in orange after its name; "" for none.
    title : str
    columns : int
    ignore_index : int
        The label of ignored pixels, which are drawn in cream.

    Returns
    -------
    Path or PIL.Image.Image

    Raises
    ------
    ValueError
        If there is nothing to show.
    """
    if not len(images):
        raise ValueError("contact_sheet: there is no image to show")
    flags = flags or [""] * len(images)
    used = np.unique(np.concatenate([np.unique(m) for m in masks]))
    key = [(classes[k], palette[k]) for k in used if k != ignore_index] + [("ignored", np.array(IGNORED))] * bool(
        (used == ignore_index).any()
    )

    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    cell = 1.75  # inches, one of the two pictures
    block = 2 * cell + _GAP
    width = max(2 * _MARGIN + columns * block + (columns - 1) * 0.25, 6)
    per_line = max(1, int((width - 2 * _MARGIN) / (0.42 + 0.08 * max(len(str(n)) for n, _ in key))))
    foot = 0.15 + _LINE * math.ceil(len(key) / per_line) + 0.15
    heights = [max(min(cell * m.shape[0] / m.shape[1], 1.6 * cell) for m in masks[r * columns : (r + 1) * columns]) for r in range(rows)]
    height = _HEAD + sum(heights) + _CAPTION * rows + foot
    figure = new_figure(width, height)
    figure.text(_MARGIN / width, 1 - 0.34 / height, title, fontsize=14, weight="bold", color=INK, va="center")

    top = height - _HEAD
    for row in range(rows):
        for column in range(min(columns, len(images) - row * columns)):
            k = row * columns + column
            left = _MARGIN + column * (block + 0.25)
            for place, picture in enumerate(_cell(images[k], masks[k], palette, background_of(classes), ignore_index)):
                x = left + place * (cell + _GAP)
                axes = figure.add_axes((x / width, (top - heights[row]) / height, cell / width, heights[row] / height))
                axes.imshow(picture, interpolation="antialiased")
                axes.set_anchor("N")
                axes.set_xticks([])
                axes.set_yticks([])
                for spine in axes.spines.values():
                    spine.set_color(FAINT)
            _caption(figure, left / width, (left + block) / width, (top - heights[row] - 0.12) / height, str(names[k]), flags[k])
        top -= heights[row] + _CAPTION
    _legend(figure, width, height, top - 0.1, key, per_line)
    return finish(figure, path)


def _cell(
    image: np.ndarray, mask: np.ndarray, palette: np.ndarray, background: int | None, ignore_index: int
) -> tuple[np.ndarray, np.ndarray]:
    """The image and the image under its labels, reduced to every k-th pixel if they are larger than their cell."""
    step = max(1, max(mask.shape) // _SHOWN)
    shown, labels = as_rgb(image)[::step, ::step], mask[::step, ::step]
    over = overlay(shown, labels, palette, 0.55, background=background, ignore_index=ignore_index)
    void = labels == ignore_index
    over[void] = colourise(labels, palette, ignore_index)[void]
    return shown, over


def _caption(figure: Any, left: float, right: float, y: float, name: str, flag: str) -> None:
    room = 48 - (len(flag) + 2 if flag else 0)
    name = name if len(name) <= room else "…" + name[-max(room - 1, 8) :]
    figure.text(left, y, name, fontsize=8, color=GREY, va="center")
    if flag:
        figure.text(right, y, flag, fontsize=8, color=_FLAG, weight="bold", va="center", ha="right")


def _legend(figure: Any, width: float, height: float, top: float, key: list, per_line: int) -> None:
    from matplotlib.patches import Rectangle

    step = min((width - 2 * _MARGIN) / per_line, 0.42 + 0.08 * max(len(str(name)) for name, _ in key))
    for k, (name, colour) in enumerate(key):
        x, y = _MARGIN + step * (k % per_line), top - _LINE * (k // per_line)
        box = ((x / width, (y - 0.15) / height), 0.14 / width, 0.14 / height)
        swatch = Rectangle(*box, facecolor=np.asarray(colour) / 255, edgecolor=GREY, linewidth=0.4)
        swatch.set_transform(figure.transFigure)
        figure.add_artist(swatch)
        figure.text((x + 0.21) / width, (y - 0.08) / height, str(name), fontsize=9, color=INK, va="center")
