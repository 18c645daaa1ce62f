"""The confusion matrix as a picture."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ..metrics import ConfusionMatrix
from .style import FAINT, GREY, INK, finish, new_figure

_SHARES = {
    "truth": "share of each true class, %",
    "prediction": "share of each predicted class, %",
    "all": "share of all pixels, %",
}
_WORDS = 24  # with more classes the cells are too small for numbers


def confusion(
    matrix: ConfusionMatrix, path: str | os.PathLike | None = None, *, of: str = "truth", title: str = "What was taken for what"
) -> Any:
    """A picture of a confusion matrix: a row for each true class, a column for each predicted class.

    Parameters
    ----------
    matrix : ConfusionMatrix
    path : path, optional
        Where to write the PNG. Without it, the picture is returned.
    of : {"truth", "prediction", "all"}
        The denominator of a cell: the pixels of its row (then the diagonal is the recall), of its column (the precision), or all pixels. A
        row or column without pixels stays empty.
    title : str

    Returns
    -------
    Path or PIL.Image.Image

    Raises
    ------
    ValueError
        If the matrix is empty, or `of` is not one of the three.
    """
    from matplotlib.colors import LinearSegmentedColormap

    if of not in _SHARES:
        raise ValueError(f"confusion: of is one of {', '.join(map(repr, _SHARES))}, not {of!r}")
    if not matrix.pixels:
        raise ValueError("confusion: nothing was counted yet")
    counts, classes = matrix.matrix, [*matrix.classes]
    if matrix.abstained.any():
        counts = np.column_stack([counts, matrix.abstained])
        classes.append("no class")
    shares = _shares(counts, of)
    rows, columns = counts.shape

    # Sizes are in inches, so that names and cells have room, however many there are.
    cell = float(np.clip(8 / columns, 0.24, 0.8))
    names = min(max(map(len, classes)), 26) * 0.08 + 0.2
    left, top, right, bottom = names + 0.35, 0.95, 1.15, names + 0.5
    width, height = max(left + cell * columns + right, 4.6), top + cell * rows + bottom
    figure = new_figure(width, height)
    axes = figure.add_axes((left / width, bottom / height, cell * columns / width, cell * rows / height))
    ramp = LinearSegmentedColormap.from_list("ink", ["#ffffff", "#cfe3f2", "#56a3d1", "#0072b2", "#08325c"]).with_extremes(bad="#f4f4f6")
    picture = axes.imshow(np.ma.masked_invalid(shares), cmap=ramp, vmin=0, vmax=1 if of != "all" else None, interpolation="nearest")
    axes.set_xticks(range(columns), [_shortened(c) for c in classes], rotation=90)
    axes.set_yticks(range(rows), [_shortened(c) for c in matrix.classes])
    axes.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(rows + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=FAINT, linewidth=0.6)
    axes.tick_params(which="both", length=0, colors=INK, labelsize=9)
    for spine in axes.spines.values():
        spine.set_color(FAINT)
    axes.set_xlabel("predicted", color=GREY, fontsize=9.5)
    axes.set_ylabel("true", color=GREY, fontsize=9.5)
    figure.text(0.35 / width, 1 - 0.32 / height, title, fontsize=14, weight="bold", color=INK, va="center")
    figure.text(0.35 / width, 1 - 0.64 / height, f"{_SHARES[of]}; {matrix.pixels:,} pixels", fontsize=9, color=GREY, va="center")
    if columns <= _WORDS:
        _numbers(axes, shares, cell)
    _scale(figure, picture, (left + cell * columns + 0.25) / width, bottom / height, 0.14 / width, cell * rows / height)
    return finish(figure, path)


def _shares(counts: np.ndarray, of: str) -> np.ndarray:
    """Counts divided by the pixels of their row, of their column, or by all; float64, NaN for 0/0."""
    under = {"truth": counts.sum(1, keepdims=True), "prediction": counts.sum(0, keepdims=True), "all": counts.sum()}[of]
    with np.errstate(invalid="ignore"):
        return counts / under


def _numbers(axes: Any, shares: np.ndarray, cell: float) -> None:
    """Write the percentage into each cell: white on dark, "<1" for a small share, and nothing for zero."""
    top = np.nanmax(shares)
    for (i, j), share in np.ndenumerate(shares):
        if share > 0:
            text = "<1" if share < 0.005 else f"{share * 100:.0f}"
            axes.text(j, i, text, ha="center", va="center", fontsize=min(11, 17 * cell), color="white" if share > 0.55 * top else INK)


def _scale(figure: Any, picture: Any, left: float, bottom: float, width: float, height: float) -> None:
    from matplotlib.ticker import PercentFormatter

    bar = figure.colorbar(picture, cax=figure.add_axes((left, bottom, width, height)), format=PercentFormatter(1))
    bar.outline.set_edgecolor(FAINT)
    bar.ax.tick_params(colors=GREY, labelsize=8.5, length=2)


def _shortened(name: str, limit: int = 26) -> str:
    return name if len(name) <= limit else name[: limit - 1] + "…"
