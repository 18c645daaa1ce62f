"""Pictures of a benchmark: bars, the roofline, the waterfall of a training step, cost against size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..viz.style import GREY, INK, finish, new_figure, quiet_axes
from .breakdown import REST, Breakdown
from .cases import SWEEP
from .results import Result, Run

COLOURS = {
    "numpy": "#9a9a9a",
    "numba": "#1b6ca8",
    "numba_cuda": "#2a9d8f",
    "cuda-graph": "#7b1e2b",
    "cuda-fp32": "#eeb7bf",
    "cuda-last-fp32": "#e48a96",
    "cuda": "#dd6a7a",
    "cuda-last": "#d1495b",
    "torch": "#e9a03b",
    "torch-last": "#c77f1a",
    "torch-fp32": "#f3cd94",
    "torch-last-fp32": "#dfb169",
    "torch-compile": "#8a5a12",
}
#: Colours of the rungs of the ladder, by number.
RUNGS = ["#444444", "#5e3c99", "#3f6fb5", "#1b9aaa", "#2a9d5f", "#7fb02e", "#c0b000", "#e07b39", "#d1495b"]
KINDS = {"conv": "#1b6ca8", "batch": "#2a9d8f", "pool": "#8e6bbf", "cross": "#d1495b", "optim": "#e9a03b"}
#: The libraries that `bars` puts side by side: a reference, and the form of ours and of PyTorch that is meant to be fastest.
AGAINST = {"cpu": ("numpy", "numba", "torch"), "cuda": ("numba_cuda", "cuda-last", "torch-last")}
_MARKS = {"forward": "o", "backward": "s", "step": "D", "grad_input": "s", "grad_weight": "^"}


def _colour(library: str) -> str:
    number = library[:1]
    return RUNGS[int(number) % len(RUNGS)] if number.isdigit() else COLOURS.get(library, GREY)


def relative(run: Run, path: Path, *, threads: int) -> None:
    """Bars of each library's time relative to PyTorch (or to the first library, without PyTorch)."""
    libraries = list(dict.fromkeys(r.library for r in run.results))
    base = "torch" if "torch" in libraries else libraries[0]
    found = {(r.case, r.phase, r.library): r.seconds for r in run.results}
    rows = [(case, phase) for case, phase, library in found if library == base]
    others = [name for name in libraries if name != base]
    figure = new_figure(9, 0.34 * len(rows) + 1.4)
    height = figure.get_figheight()
    axes = figure.add_axes((0.42, 0.6 / height, 0.55, 1 - 0.95 / height))
    tall = 0.8 / max(1, len(others))
    for k, name in enumerate(others):
        ratio = [found[(*row, name)] / found[(*row, base)] if (*row, name) in found else float("nan") for row in rows]
        axes.barh([i + (k - (len(others) - 1) / 2) * tall for i in range(len(rows))], ratio, tall * 0.9, label=name, color=_colour(name))
    axes.axvline(1, color=INK, linewidth=1)
    axes.set(xscale="log", ylim=(len(rows) - 0.4, -0.6))
    axes.set_xlabel(f"time relative to {base}, {threads} threads each (1 = equal; left of it = faster)")
    axes.set_yticks(range(len(rows)), [f"{case}  {phase}" for case, phase in rows], fontsize=8)
    quiet_axes(axes)
    axes.tick_params(axis="y", labelsize=8)
    axes.grid(False, axis="y")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False, fontsize=8)
    finish(figure, path)


def bars(runs: Sequence[Run], path: Path) -> None:
    """Milliseconds of each case, all its phases together: the libraries of `AGAINST`, on the CPU and on the GPU.

    Raises
    ------
    ValueError
        If none of these libraries has times.
    """
    times: dict[tuple[str, str, str], float] = {}
    for run in runs:
        own: dict[tuple[str, str, str], float] = {}
        for r in run.results:
            if r.library in AGAINST[run.device]:
                key = r.case, run.device, r.library
                own[key] = own.get(key, 0.0) + 1e3 * r.seconds
        times |= {key: ms for key, ms in own.items() if key not in times}  # the first of two measurements counts
    if not times:
        raise ValueError("nothing to compare: the records contain no times of " + ", ".join(sum(AGAINST.values(), ())))
    cases = list(dict.fromkeys(case for case, _, _ in times))
    who = [(device, name) for device, names in AGAINST.items() for name in names if any(key[1:] == (device, name) for key in times)]
    figure = new_figure(9, (0.13 * len(who) + 0.14) * len(cases) + 1.9)
    height = figure.get_figheight()
    axes = figure.add_axes((0.38, 0.6 / height, 0.59, 1 - 1.75 / height))
    tall = 0.84 / len(who)
    for k, (device, name) in enumerate(who):
        rows = [(i, times[case, device, name]) for i, case in enumerate(cases) if (case, device, name) in times]
        y = [i + (k - (len(who) - 1) / 2) * tall for i, _ in rows]
        label = f"{'GPU' if device == 'cuda' else 'CPU'}: {name}"
        axes.barh(
            y,
            [ms for _, ms in rows],
            tall * 0.92,
            color=_colour(name),
            label=label,
            hatch="" if device == "cpu" else "///",
            edgecolor="white",
        )
    axes.set(xscale="log", ylim=(len(cases) - 0.4, -0.6), xlabel="milliseconds, forward and backward together")
    axes.set_yticks(range(len(cases)), cases, fontsize=8)
    quiet_axes(axes)
    axes.grid(False, axis="y")
    axes.legend(loc="lower center", bbox_to_anchor=(0.35, 1.0), ncols=3, frameon=False, fontsize=8)
    gpu = any(device == "cuda" for device, _ in who)
    below = "hatched: on the GPU, channels last, with TF32 where the library has it" if gpu else "CPU only: these records contain no GPU"
    _title(figure, "CPU against GPU" if gpu else "Time of each operation on a CPU", below)
    finish(figure, path)


def roofline(runs: Sequence[Run], path: Path) -> None:
    """FLOP/s of each case against its arithmetic intensity (FLOP/B), under the roofs of its run; one panel per run.

    Raises
    ------
    ValueError
        If no case has a floating-point operation.
    """
    runs = [run for run in runs if any(r.operations and r.bytes for r in run.results)]
    if not runs:
        raise ValueError("no case in these records has floating-point operations, so there is no roofline to draw")
    figure = new_figure(9, 5.6 * len(runs) + 0.6)
    height = figure.get_figheight()
    for k, run in enumerate(runs):
        _panel(figure.add_axes((0.09, (height - 0.75 - 5.6 * (k + 1) + 0.75) / height, 0.88, 4.7 / height)), run)
    _title(figure, "Under the roof", "the roof is measured in the same run: the fastest matrix product and the fastest copy of any library")
    finish(figure, path)


def _panel(axes: Any, run: Run) -> None:
    shown = [r for r in run.results if r.operations and r.bytes]
    ladder = any(r.library[:1].isdigit() for r in shown)
    intensity = [r.operations / r.bytes for r in shown]
    ridges = [roof.ridge for roof in run.roofs.values()]
    ends = np.array([min(*intensity, min(ridges) / 5) / 2, max(*intensity, *ridges) * 3])  # shows both slope and plateau
    for kind, roof in run.roofs.items():
        corners = np.array([ends[0], roof.ridge, ends[1]])
        axes.plot(corners, np.minimum(roof.peak, corners * roof.bandwidth) / 1e9, color=INK, linewidth=1.4, zorder=1)
        axes.text(ends[1], 1.06 * roof.peak / 1e9, f"{kind}: {roof.peak / 1e9:,.0f} GFLOP/s", ha="right", fontsize=9, color=INK)
    left = next(iter(run.roofs.values()))
    at = (ends[0] * left.ridge) ** 0.5  # halfway up the slope
    axes.text(at / 1.15, 1.15 * at * left.bandwidth / 1e9, f"{left.bandwidth / 1e9:,.1f} GB/s", fontsize=9, color=INK, ha="right")
    for r in shown:
        x, y = r.operations / r.bytes, r.operations / r.seconds / 1e9
        mark = _MARKS.get(r.phase, "o")
        axes.scatter(x, y, s=26, marker=mark, color=_colour(r.library), edgecolors="white", linewidths=0.5, alpha=0.9, zorder=2)
        if r.library[:1].isdigit():
            axes.annotate(r.library.split()[0], (x, y), (4, 0), textcoords="offset points", fontsize=7, va="center", color=INK)
    for library in dict.fromkeys(r.library for r in shown):
        axes.scatter([], [], s=26, color=_colour(library), label=library)
    for phase in dict.fromkeys(r.phase for r in shown):
        axes.scatter([], [], s=26, marker=_MARKS.get(phase, "o"), facecolors="none", edgecolors=GREY, label=phase)
    axes.set(xscale="log", yscale="log", xlim=ends, xlabel="operations per byte of the minimal traffic (FLOP/B)", ylabel="GFLOP/s")
    axes.xaxis.set_minor_formatter(lambda value, place: "")
    where = "GPU" if run.device == "cuda" else "CPU"
    axes.set_title(f"{where}: the rungs of the convolution ladder" if ladder else where, loc="left", fontsize=10, color=INK)
    quiet_axes(axes)
    axes.legend(loc="lower right", frameon=False, fontsize=8, ncols=2)


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
    clock = "on a GPU, timed by events" if found.device == "cuda" else "on a CPU"
    below = f"a U-Net of width ¼ on 8 images of 128², {clock}; median {1e3 * found.seconds:.1f} ms"
    _title(figure, "Where the time of a training step goes", below)
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
        axes.set(xscale="log", yscale="log", xlabel=label, ylabel="milliseconds per step")
        ticks = sorted({case[varied] for case in SWEEP.values() if case[fixed] == common})
        axes.set_xticks(ticks, list(map(str, ticks)))
        axes.xaxis.minorticks_off()
        quiet_axes(axes)
        axes.legend(frameon=False, fontsize=9)
    _title(figure, "Time of a training step", "a U-Net of width ¼; forward, loss, backward and Adam")
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
