"""Pictures of a benchmark: the roofline, the waterfall of a training step, cost against size."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..viz.style import GREY, INK, finish, new_figure, quiet_axes
from .breakdown import REST, Breakdown
from .cases import SWEEP
from .runner import Result, Run

COLOURS = {"numpy": "#9a9a9a", "numba": "#1b6ca8", "numba_cuda": "#2a9d8f", "cuda": "#d1495b", "cuda-fp32": "#e48a96", "torch": "#e9a03b"}
KINDS = {"conv": "#1b6ca8", "batch": "#2a9d8f", "pool": "#8e6bbf", "cross": "#d1495b", "optim": "#e9a03b"}
_MARKS = {"forward": "o", "backward": "s", "step": "D"}


def roofline(run: Run, path: Path) -> None:
    """What each case reached (FLOP/s) against its intensity (FLOP/B), under the roofs of the same run."""
    figure = new_figure(9, 6)
    axes = figure.add_axes((0.09, 0.11, 0.88, 0.78))
    shown = [r for r in run.results if r.operations and r.bytes]
    if not shown:
        raise ValueError("a roofline needs a case with arithmetic: no equation of these has any")
    intensity = [r.operations / r.bytes for r in shown]
    ends = np.array([min(intensity) / 2, max(*intensity, max(roof.ridge for roof in run.roofs.values())) * 3])
    for kind, roof in run.roofs.items():
        corners = np.array([ends[0], roof.ridge, ends[1]])
        axes.plot(corners, np.minimum(roof.peak, corners * roof.bandwidth) / 1e9, color=INK, linewidth=1.4, zorder=1)
        axes.text(ends[1], 1.06 * roof.peak / 1e9, f"{kind}: {roof.peak / 1e9:,.0f} GFLOP/s", ha="right", fontsize=9, color=INK)
    left = next(iter(run.roofs.values()))
    at = (ends[0] * left.ridge) ** 0.5  # halfway up the slope
    axes.text(at / 1.15, 1.15 * at * left.bandwidth / 1e9, f"{left.bandwidth / 1e9:,.1f} GB/s", fontsize=9, color=INK, ha="right")
    for library in dict.fromkeys(r.library for r in shown):
        for phase, mark in _MARKS.items():
            points = [r for r in shown if (r.library, r.phase) == (library, phase)]
            axes.scatter(
                [r.operations / r.bytes for r in points],
                [r.operations / r.seconds / 1e9 for r in points],
                s=26,
                marker=mark,
                color=COLOURS.get(library),
                edgecolors="white",
                linewidths=0.5,
                alpha=0.9,
                label=f"{library}, {phase}" if points else None,
                zorder=2,
            )
    axes.set(xscale="log", yscale="log", xlim=ends, xlabel="operations for each byte of the least traffic (FLOP/B)", ylabel="GFLOP/s")
    quiet_axes(axes)
    axes.legend(loc="lower right", frameon=False, fontsize=8, ncols=2)
    _title(figure, "Under the roof", "the roof is measured in the same run: the best matrix product and the best copy of any library")
    finish(figure, path)


def waterfall(found: Breakdown, path: Path) -> None:
    """One training step from left to right: each equation begins where the one before it ends."""
    figure = new_figure(10, 0.3 * len(found.shares) + 1.5)
    height = figure.get_figheight()
    axes = figure.add_axes((0.25, 0.55 / height, 0.72, 1 - 1.35 / height))
    at = 0.0
    for row, share in enumerate(found.shares):
        ms = 1e3 * share.seconds
        colour = next((c for word, c in KINDS.items() if share.equation.startswith(word)), GREY)
        axes.barh(row, ms, left=at, height=0.72, color=colour)
        axes.text(at + ms, row, f"  {ms:.2f}", va="center", fontsize=8, color=INK)
        at += ms
        axes.plot([at, at], [row + 0.36, row + 0.64], color=GREY, linewidth=0.6)
    names = [f"{s.equation}  × {s.calls}" if s.equation != REST else REST for s in found.shares]
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set(xlabel="milliseconds", xlim=(0, 1.1 * at), ylim=(len(names) - 0.4, -0.6))
    quiet_axes(axes)
    axes.grid(False, axis="y")
    _title(figure, "Where the time of a training step goes", f"a U-Net of width ¼ on 8 images of 128²; median {1e3 * found.seconds:.1f} ms")
    finish(figure, path)


def sweep(run: Run, path: Path) -> None:
    """Milliseconds of a training step against the side of the image, and against the batch."""
    figure = new_figure(10, 4.6)
    for k, (label, varied, fixed) in enumerate((("side of the image, batches of 4", 1, 0), ("images in a batch, 64² each", 0, 1))):
        axes = figure.add_axes((0.08 + 0.49 * k, 0.15, 0.40, 0.64))
        common = (4, 64)[fixed]
        for library in dict.fromkeys(r.library for r in run.results):
            points = sorted(_points(run.results, library, varied, fixed, common))
            axes.plot(*zip(*points, strict=True), marker="o", markersize=4, label=library, color=COLOURS.get(library))
        axes.set(xscale="log", yscale="log", xlabel=label, ylabel="milliseconds a step")
        ticks = sorted({case[varied] for case in SWEEP.values() if case[fixed] == common})
        axes.set_xticks(ticks, list(map(str, ticks)))
        axes.xaxis.minorticks_off()
        quiet_axes(axes)
        axes.legend(frameon=False, fontsize=9)
    _title(figure, "What a training step costs", "a U-Net of width ¼; forward, loss, backward and Adam")
    finish(figure, path)


def _points(results: Iterable[Result], library: str, varied: int, fixed: int, common: int) -> list[tuple[int, float]]:
    return [
        (SWEEP[r.case][varied], 1e3 * r.seconds)
        for r in results
        if r.library == library and r.case in SWEEP and SWEEP[r.case][fixed] == common
    ]


def _title(figure: Any, title: str, below: str) -> None:
    height = figure.get_figheight()
    figure.text(0.02, 1 - 0.3 / height, title, fontsize=13, weight="bold", color=INK, va="center")
    figure.text(0.02, 1 - 0.55 / height, below, fontsize=9, color=GREY, va="center")
