"""Small arrays as pictures with their numbers in them, for tutorials.

An array without negative values is an image and is grey: 0 is black. An array with negative values is signed: red is positive, blue
negative, white 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..viz.style import GREY, INK, finish, new_figure

_MOST = 12  # rows or columns: larger arrays are shown without their numbers
_MARK = "#e08214"
_DPI = 100


def grids(*panels: tuple[Any, ...], columns: int = 0, cell: float = 0.42, title: str = "") -> Any:
    """Draw arrays side by side.

    Parameters
    ----------
    *panels : (title, array) or (title, array, window)
        The array has two axes. A window ``(row, column, rows, columns)``, or each of a list of windows, is framed. A string such as ``"="``
        instead of an array stands between two panels.
    columns : int
        Panels in a row; by default all of them.
    cell : float
        Inches for a cell of a small array. A large array is as wide as six of them.
    title : str
        A line above the picture.

    Returns
    -------
    PIL.Image.Image
    """
    columns = columns or len(panels)
    rows = [panels[k : k + columns] for k in range(0, len(panels), columns)]
    sizes = [[_size(panel, cell) for panel in row] for row in rows]
    widths = [max(row[k][0] for row in sizes if k < len(row)) for k in range(columns)]
    width = round(sum(widths) + 0.3 * (columns + 1), 2)
    heights = [max(h for _, h in row) + 0.42 for row in sizes]
    above = 0.4 if title else 0.0
    total = round(sum(heights) + above + 0.1, 2)
    figure = new_figure(width, total)
    figure.set_dpi(_DPI)
    if title:
        figure.text(0.5, 1 - 0.22 / total, title, ha="center", va="center", fontsize=11, color=INK)
    top = total - above
    for row, of_row, height in zip(rows, sizes, heights, strict=True):
        left = 0.3
        for panel, (w, h), wide in zip(row, of_row, widths, strict=False):
            x, y = (round(inches * _DPI) / _DPI for inches in (left + (wide - w) / 2, top - 0.36 - (height - 0.42 + h) / 2))
            axes = figure.add_axes((x / width, y / total, w / width, h / total))
            _draw(axes, panel)
            left += wide + 0.3
        top -= height
    return finish(figure, None)


def tape(values: Sequence[Any], names: Sequence[str], places: Sequence[tuple[float, float]]) -> Any:
    """Draw a tape: a box for each value, and arrows from its sources with their slopes.

    Parameters
    ----------
    values : sequence of Value
        Each has the attributes ``data``, ``grad``, ``sources`` and ``slopes``, as in `minisegnet.learn.toy`.
    names : sequence of str
        The text of each box.
    places : sequence of (x, y)
        The position of each box, in inches.

    Returns
    -------
    PIL.Image.Image
    """
    across, up = (np.array(axis) for axis in zip(*places, strict=True))
    width, height = np.ptp(across) + 1.4, np.ptp(up) + 0.9
    figure = new_figure(width, height)
    figure.set_dpi(_DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(across.min() - 0.7, across.max() + 0.7), ylim=(up.min() - 0.45, up.max() + 0.45))
    axes.set_axis_off()
    for value, name, (a, b) in zip(values, names, places, strict=True):
        for n, (source, slope) in enumerate(zip(value.sources, value.slopes, strict=True)):
            c, d = places[next(k for k, v in enumerate(values) if v is source)]
            bend = 0.25 * (-1) ** n if len({id(s) for s in value.sources}) < len(value.sources) else 0.0
            arrow = {"arrowstyle": "->", "color": _MARK, "lw": 1.8, "shrinkA": 24, "shrinkB": 24, "connectionstyle": f"arc3,rad={bend}"}
            axes.annotate("", (a, b), (c, d), arrowprops=arrow)
            clear = {"boxstyle": "circle,pad=0.1", "facecolor": "white", "edgecolor": "none"}
            at = ((a + c + bend * (b - d)) / 2, (b + d - bend * (a - c)) / 2)  # the middle of the arc
            axes.text(*at, f"{slope:g}", ha="center", va="center", fontsize=9, color="#b35806", bbox=clear)
        box = {"boxstyle": "round", "facecolor": "white", "edgecolor": GREY}
        axes.text(a, b, f"{name} = {value.data:g}\ngrad {value.grad:g}", ha="center", va="center", fontsize=9, color=INK, bbox=box)
    return finish(figure, None)


def _size(panel: tuple[Any, ...], cell: float) -> tuple[float, float]:
    if isinstance(panel[1], str):
        return 0.25, cell
    rows, columns = np.shape(panel[1])
    if max(rows, columns) <= _MOST:
        return max(cell * columns, 0.085 * len(panel[0])), cell * rows
    scale = max(1, round(6.5 * cell * _DPI / max(rows, columns))) / _DPI  # whole dots for a pixel
    return scale * columns, scale * rows


def _draw(axes: Any, panel: tuple[Any, ...]) -> None:
    title, array, *windows = panel
    axes.set_axis_off()
    if isinstance(array, str):
        axes.text(0.5, 0.5, array, ha="center", va="center", fontsize=15, color=INK, transform=axes.transAxes)
        return
    values = np.asarray(array, float)
    most = float(np.abs(values[np.isfinite(values)]).max(initial=0)) or 1.0
    signed = bool((values < 0).any())
    axes.imshow(values, cmap="RdBu_r" if signed else "gray", vmin=-1.6 * most if signed else 0, vmax=1.6 * most if signed else most)
    axes.set_title(title, fontsize=9, color=INK, pad=4)
    if max(values.shape) <= _MOST:
        for (i, j), value in np.ndenumerate(values):
            ink = "white" if not signed and value < 0.55 * most else INK
            axes.text(j, i, f"{value:.3g}", ha="center", va="center", fontsize=9, color=ink)
        for k in range(values.shape[0] + 1):
            axes.axhline(k - 0.5, color="#999999", linewidth=0.5)
        for k in range(values.shape[1] + 1):
            axes.axvline(k - 0.5, color="#999999", linewidth=0.5)
    for i, j, h, w in _windows(windows):
        _frame(axes, i, j, h, w)


def _windows(windows: list[Any]) -> Sequence[tuple[int, int, int, int]]:
    if not windows or windows[0] is None:
        return []
    return [windows[0]] if np.ndim(windows[0]) == 1 else windows[0]


def _frame(axes: Any, i: int, j: int, h: int, w: int) -> None:
    x, y = [j - 0.5, j + w - 0.5], [i - 0.5, i + h - 0.5]
    axes.plot([x[0], x[1], x[1], x[0], x[0]], [y[0], y[0], y[1], y[1], y[0]], color=_MARK, linewidth=2.5, clip_on=False)
