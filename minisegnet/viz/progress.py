"""Training curves: loss and IoU over the steps."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .style import GREY, INK, finish, new_figure, quiet_axes

_BLUE, _ORANGE = "#0072b2", "#d55e00"
# 20 colours on white. The smallest distance between two of them in OKLab is 0.107 with normal vision, 0.094 with protanopia and 0.076 with
# deuteranopia (simulated after Machado, Oliveira & Fernandes 2009); 0.02 can be told apart. Every second line is also dashed.
LINES = (
    "#009e73", "#cc79a7", "#660000", "#88ee00", "#00ddff", "#990033", "#1111ff", "#bbddaa", "#aa4411", "#5577ff",
    "#441144", "#99bb33", "#000088", "#ccaaaa", "#d55e00", "#4411bb", "#666677", "#11aaee", "#444477", "#0072b2",
)  # fmt: skip
_LEFT, _AXES, _BETWEEN, _ROW, _HEIGHT = 0.65, 4.05, 0.9, 20, 4.2  # in inches; _ROW counts lines of the legend


def curves(
    log: Iterable[Mapping[str, Any]] | str | os.PathLike,
    path: str | os.PathLike | None = None,
    *,
    title: str = "Training",
    best: tuple[str, float, int] | None = None,
) -> Any:
    """Draw the loss and the IoU over the steps.

    Parameters
    ----------
    log : rows or path of a CSV file
        The horizontal axis is the column ``step`` (or ``iteration``, ``epoch``, otherwise the number of the row).
        The columns ``loss`` (or ``train_loss``, also smoothed) and ``val_loss`` are drawn, and every column with ``iou``
        in its name: ``val_iou`` is the mean, ``val_iou_nucleus`` the IoU of a class, ``train_iou`` the IoU of the training batches. An
        empty cell means that the value was not measured at this step.
    path : path, optional
        Where to write the PNG. Without it, the picture is returned.
    title : str
    best : (str, float, int), optional
        The checkpoint that was kept: the name of the figure by which it was chosen, the figure, and the step. Without it, the largest
        value of the first IoU is marked.

    Returns
    -------
    Path or PIL.Image.Image

    Raises
    ------
    ValueError
        If the log has no rows, or contains neither a loss nor an IoU.
    """
    table = _columns(log)
    loss = next((table[c] for c in ("loss", "train_loss") if c in table), None)
    validation_loss = next((table[c] for c in ("val_loss", "validation_loss") if c in table), None)
    ious = {name: values for name, values in table.items() if "iou" in name.lower() and not np.isnan(values).all()}
    if loss is None and validation_loss is None and not ious:
        raise ValueError(f"curves: the log has neither a loss nor an IoU; its columns are {', '.join(table)}")
    horizontal = next((c for c in ("step", "iteration", "epoch") if c in table), None)
    steps = table[horizontal] if horizontal else np.arange(1, len(next(iter(table.values()))) + 1.0)

    names = [_iou_name(column) for column in ious]
    legend = (0.55 + 0.078 * max(map(len, names), default=0)) * -(-len(names) // _ROW)
    width = _LEFT + 2 * _AXES + _BETWEEN + 0.15 + legend
    figure = new_figure(width, _HEIGHT)
    figure.text(_LEFT / width, 0.94, title, fontsize=14, weight="bold", color=INK, va="center")
    left = figure.add_axes((_LEFT / width, 0.13, _AXES / width, 0.66))
    right = figure.add_axes(((_LEFT + _AXES + _BETWEEN) / width, 0.13, _AXES / width, 0.66))
    for axes, heading in ((left, "loss"), (right, "intersection over union")):
        quiet_axes(axes)
        axes.set_title(heading, loc="left", fontsize=10.5, color=GREY, pad=10)
        axes.set_xlabel(horizontal or "row", fontsize=9, color=GREY)
    _draw_losses(left, steps, loss, validation_loss)
    _draw_ious(right, steps, ious, best)
    if best is not None:
        for axes in (left, right):
            axes.axvline(best[2], color=_ORANGE, linewidth=1, linestyle=":", zorder=1)
    right.set_xlim(left.get_xlim()) if loss is not None else None
    return finish(figure, path)


def _draw_losses(axes: Any, steps: np.ndarray, loss: np.ndarray | None, validation: np.ndarray | None) -> None:
    if loss is not None:
        at, values = _measured(steps, loss)
        noisy = len(values) >= 20
        axes.plot(at, values, color=_BLUE, linewidth=0.8 if noisy else 1.8, alpha=0.3 if noisy else 1, label=None if noisy else "training")
        if noisy:
            axes.plot(at, smooth(values, max(len(values) / 80, 2.0)), color=_BLUE, linewidth=1.8, label="training, smoothed")
    if validation is not None and not np.isnan(validation).all():
        at, values = _measured(steps, validation)
        axes.plot(at, values, color=_ORANGE, linewidth=1.5, marker="o", markersize=3.5, label="validation")
    if not axes.lines:
        return _say(axes, "no loss in the log")
    drawn = np.concatenate([line.get_ydata() for line in axes.lines])
    drawn = drawn[np.isfinite(drawn)]
    if drawn.size and drawn.min() > 0 and drawn.max() > 30 * drawn.min():
        axes.set_yscale("log")  # on a linear axis the end of the run could not be seen
    else:
        axes.set_ylim(bottom=min(0, drawn.min(initial=0)))
    axes.legend(fontsize=8.5, frameon=False, labelcolor=INK, loc="lower right", bbox_to_anchor=(1.02, 0.995), ncols=2)


def _draw_ious(axes: Any, steps: np.ndarray, ious: dict[str, np.ndarray], kept: tuple[str, float, int] | None) -> None:
    axes.set_ylim(0, 1)
    if not ious:
        axes.set_xlim(steps.min(), max(steps.max(), steps.min() + 1))
        return _say(axes, "not measured yet")
    named = sorted(((_iou_name(column), values) for column, values in ious.items()), key=lambda pair: pair[0] != "mean")
    count = 0
    for name, values in named:
        at, values = _measured(steps, values)
        style = {"color": INK, "linewidth": 2.0, "zorder": 3}
        if name != "mean" and len(named) > 1:
            style = {"color": LINES[count % len(LINES)], "linewidth": 1.3, "linestyle": ("-", "--")[count % 2]}
            count += 1
        axes.plot(at, values, marker="o", markersize=3.5 if len(at) < 60 else 0, label=name, **style)
    name, values = named[0]
    at, values = _measured(steps, values)
    if kept is None:
        place = int(np.argmax(values))
        step, value, said = at[place], values[place], f"best {name}: {values[place]:.4f} at {at[place]:g}"
    else:
        said = f"kept: {kept[0]} {kept[1]:.4f} at {kept[2]:g}"
        name = next((n for n, _ in named if kept[0] in (f"{n} IoU", n)), "")
        step, value = kept[2], kept[1]
    if name:
        ring = {"marker": "o", "markersize": 8, "markerfacecolor": "none", "markeredgecolor": _ORANGE, "markeredgewidth": 1.6, "zorder": 4}
        axes.plot(step, value, **ring)
    axes.annotate(said, (1, 1), xycoords="axes fraction", xytext=(0, 10), textcoords="offset points", ha="right", fontsize=9, color=_ORANGE)
    columns = -(-len(named) // _ROW)
    axes.legend(fontsize=8.5, frameon=False, labelcolor=INK, loc="upper left", bbox_to_anchor=(1.01, 1.04), borderaxespad=0, ncols=columns)


def smooth(values: np.ndarray, width: float) -> np.ndarray:
    """The mean over the neighbours on both sides, with Gaussian weights of deviation `width`. Unlike a running average it does not lag.

    At the ends and beside values that are not finite, the mean is taken over the remaining neighbours.
    """
    there = np.isfinite(values)
    reach = np.arange(-int(3 * width), int(3 * width) + 1)
    weights = np.exp(-0.5 * (reach / width) ** 2)
    middle = slice(len(reach) // 2, len(reach) // 2 + len(values))
    total = np.convolve(np.where(there, values, 0), weights)[middle]
    weight = np.convolve(there.astype(float), weights)[middle]
    return np.where(weight > 1e-9, total / np.maximum(weight, 1e-9), np.nan)


def _measured(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    there = ~np.isnan(values)
    return steps[there], values[there]


def _iou_name(column: str) -> str:
    """``val_iou_nucleus`` → nucleus, ``val_mean_iou`` → mean, ``train_iou`` → training."""
    words = column.replace("/", "_").replace(".", "_").split("_")
    kept = [w for w in words if w.lower() not in ("val", "validation", "iou", "miou")]
    return " ".join("training" if w.lower() == "train" else w for w in kept) or "mean"


def _say(axes: Any, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY, fontsize=10)


def _columns(log: Any) -> dict[str, np.ndarray]:
    """The columns as numbers; empty cells and text become NaN."""
    if isinstance(log, (str, os.PathLike)):
        with Path(log).open(newline="", encoding="utf-8-sig") as stream:
            rows: list[Mapping[str, Any]] = list(csv.DictReader(stream))
    else:
        rows = list(log)
    if not rows:
        raise ValueError("curves: the log has no rows")
    names = list(dict.fromkeys(name for row in rows for name in row if name is not None))
    return {name: np.array([_number(row.get(name)) for row in rows]) for name in names}


def _number(cell: Any) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return float("nan")
