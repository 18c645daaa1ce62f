"""The picture of `ladder`: how traffic falls from rung to rung."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..viz.style import GREY, INK, finish, new_figure, quiet_axes
from .ladder import Counted, Layer

BLUE, RED, PALE = "#1b6ca8", "#d1495b", "#9fc3dd"


def picture(found: Sequence[Counted], layer: Layer, path: Path) -> None:
    """Left: bytes requested from memory, beside theory and the minimum. Right: turns of shared memory, with those due to conflicts."""
    height = 0.42 * len(found) + 1.9
    figure = new_figure(11, height)
    rows = range(len(found))
    bottom, tall = 0.75 / height, 1 - 1.75 / height
    memory = figure.add_axes((0.18, bottom, 0.43, tall))
    memory.barh(rows, [c.bytes / 1024 for c in found], height=0.6, color=BLUE, label="requested from memory")
    theory = [(row, c.predicted_bytes / 1024) for row, c in enumerate(found) if c.predicted_bytes is not None]
    memory.plot([t for _, t in theory], [row for row, _ in theory], "|", color=INK, markersize=16, markeredgewidth=1.6, label="theory")
    memory.plot([c.least_bytes / 1024 for c in found], rows, "|", color=RED, markersize=16, markeredgewidth=1.6, label="minimum")
    for row, c in zip(rows, found, strict=True):
        memory.text(c.bytes / 1024 * 1.08, row, f"{c.intensity:.2g} FLOP/B", va="center", fontsize=8, color=GREY)
    low, high = min(c.least_bytes for c in found) / 1024, max(c.bytes for c in found) / 1024
    memory.set(xscale="log", xlim=(low / 1.6, high * 3.5), xlabel="KiB")
    memory.set_yticks(rows, [f"{c.label}  {c.name}\n{c.equation.removeprefix('conv2d.')}, {c.layout}" for c in found], fontsize=7.5)

    shared = figure.add_axes((0.66, bottom, 0.31, tall))
    each = [2e3 / c.operations for c in found]  # per thousand multiply-adds
    least = [c.least_wavefronts * k for c, k in zip(found, each, strict=True)]
    shared.barh(rows, least, height=0.6, color=PALE, label="without conflicts")
    shared.barh(
        rows, [c.conflicts * k for c, k in zip(found, each, strict=True)], left=least, height=0.6, color=RED, label="due to bank conflicts"
    )
    shared.set(xlabel="shared-memory turns per 1000 multiply-adds")
    shared.set_yticks(rows, [""] * len(found))
    for axes in (memory, shared):
        axes.set_ylim(len(found) - 0.4, -0.6)
        quiet_axes(axes)
        axes.grid(False, axis="y")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, fontsize=8)
    figure.text(0.02, 1 - 0.28 / height, "What each rung saves", fontsize=13, weight="bold", color=INK, va="center")
    below = f"{layer}, float32; counted by the emulator, which models neither caches nor time"
    figure.text(0.02, 1 - 0.52 / height, below, fontsize=9, color=GREY, va="center")
    finish(figure, path)
