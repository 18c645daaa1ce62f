"""The picture that ``architectures.py`` draws: the IoU of each network, and its labels of one image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from lineup import Outcome, unpacked

from minisegnet.viz.style import GREY, INK, finish, new_figure, quiet_axes

_COLUMNS = 10


def grey(image: np.ndarray) -> np.ndarray:
    """An image (C, H, W) of any range as uint8 (H, W), from its darkest pixel to its brightest."""
    values = image.mean(axis=0)
    low, high = values.min(), values.max()
    return ((values - low) * (255 / max(high - low, 1e-12))).astype(np.uint8)


def picture(outcomes: list[Outcome], path: Path, about: dict[str, Any]) -> None:
    """Bars of IoU with parameters and seconds beside them; below, a held-out image as each network labels it.

    Parameters
    ----------
    outcomes : list of Outcome
    path : path
        PNG.
    about : dict
        ``budget``, ``data`` and ``sample`` of the record.
    """
    ranked = sorted(outcomes, key=lambda outcome: -outcome.iou)
    rows = -(-(len(ranked) + 2) // _COLUMNS)
    bars, tiles = 0.27 * len(ranked) + 0.6, 1.25 * rows
    height = bars + tiles + 1.1
    figure = new_figure(12, height)
    budget, data = about["budget"], about["data"]
    figure.text(0.02, 1 - 0.32 / height, "All architectures under one budget", fontsize=14, weight="bold", color=INK)
    figure.text(
        0.02,
        1 - 0.58 / height,
        f"{budget['steps']} steps of Adam ({budget['learning_rate']:g}, poly), {budget['batch_size']} crops of {budget['crop']}², {data['train']} images of {data['folder']}, "
        f"at most {budget['budget'] / 1e6:g} M multiply-adds a crop; IoU on {data['held_out']} images held out",
        fontsize=9.5,
        color=GREY,
    )
    _bars(figure.add_axes((0.12, (tiles + 0.65) / height, 0.86, (bars - 0.45) / height)), ranked, budget["steps"])
    sample = about["sample"]
    maps = [("truth", sample["truth"]), *((f"{outcome.name}  {outcome.iou:.2f}", outcome.labels) for outcome in ranked)]
    panels = [("image", sample["image"], "gray"), *((title, text, "") for title, text in maps)]
    wide = 0.96 / _COLUMNS
    for k, (title, text, colours) in enumerate(panels):
        values = unpacked(text, sample["size"])
        row, column = divmod(k, _COLUMNS)
        axes = figure.add_axes((0.02 + column * wide, (tiles - 1.25 * (row + 1) + 0.05) / height, wide * 0.94, 1.0 / height))
        # An ignored label (255) would stretch the scale of the others.
        axes.imshow(values if colours else np.where(values == 255, 0, values), cmap=colours or "viridis", interpolation="nearest")
        axes.set_title(title, fontsize=7.5, color=INK, pad=2)
        axes.set_axis_off()
    finish(figure, path)


def _bars(axes: Any, ranked: list[Outcome], steps: int) -> None:
    quiet_axes(axes)
    places = range(len(ranked))
    axes.barh(places, [outcome.iou for outcome in ranked], height=0.72, color="#1b6ca8")
    axes.set_yticks(places, [outcome.name for outcome in ranked], color=INK)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.4)
    axes.set_xticks(np.arange(0, 1.01, 0.2))
    axes.grid(axis="y", visible=False)
    for place, outcome in zip(places, ranked, strict=True):
        axes.text(outcome.iou + 0.008, place, f"{outcome.iou:.3f}", va="center", fontsize=8.5, color=INK)
        note = f"width 1/{1 / outcome.width:g},  {outcome.parameters / 1e3:,.0f} k parameters,  {outcome.seconds / steps:.2f} s a step"
        axes.text(1.02, place, note, va="center", fontsize=8, color=GREY)
    axes.set_xlabel("IoU", color=GREY)
