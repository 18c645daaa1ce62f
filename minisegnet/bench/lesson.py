"""The convolution ladder in tutorial 8: the rungs' counts, their times on a GPU if they are recorded, and a roofline that names them.

Counts are made in the emulator where there is a C++ compiler; elsewhere they are read from a record.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minisegnet_kernels.conv2d.ladder import RUNGS
from minisegnet_kernels.cost import Roof

from ..learn.recorded import NOTE, can_run
from ..viz.style import GREY, INK, finish, new_figure, quiet_axes
from .ladder import Counted, Layer, count
from .results import Run

#: NVIDIA's data sheet of the H100 SXM: float32 without tensor cores, and memory.
H100 = Roof(peak=67e12, bandwidth=3.35e12)
#: What one multiprocessor (SM) of the H100 does in a clock cycle: float32 multiply-adds, and reads of 4-byte numbers from shared memory.
SM_PRODUCTS, SM_NUMBERS = 128, 32
_RED, _BLUE, _ORANGE = "#b2182b", "#1b6ca8", "#e08214"
#: For each rung: the idea that its arrow shows, the bend of the arrow, and the position of the words.
_ARROWS = {
    "tile": ("shared memory", 0.25, (1.9, 0.9)),
    "implicit_gemm": ("one tile for\nall kernels", 0.35, (19, 3.6)),
    "register_tile": ("8 × 8 sums\nin a thread", -0.35, (3.4, 27)),
}


def counted(names: Sequence[str], record: Path, layer: Layer | None = None) -> list[Counted]:
    """The counts of rungs that compute ``conv2d.forward``, in the order of the ladder.

    Parameters
    ----------
    names : sequence of str
        Names of rungs, such as ``"tile"``.
    record : path
        A file that ``minisegnet ladder --emulate --json`` wrote. It is read only if there is no C++ compiler; a printed line then says so.
    layer : Layer, optional
        The layer to count; by default the record's.

    Raises
    ------
    ValueError
        If there is no C++ compiler and the record is of another layer.
    """
    found_layer, found = recorded(record)
    if can_run():
        rungs = [r for r in RUNGS if r.equation == "conv2d.forward" and r.name in names]
        return count(layer or found_layer, rungs)
    if layer not in (None, found_layer):
        raise ValueError(f"counting the layer {layer} needs a C++ compiler: {record.name} is a record of the layer {found_layer}")
    print(f"({NOTE})")
    return [c for c in found if c.equation == "conv2d.forward" and c.name in names]


def recorded(record: Path) -> tuple[Layer, list[Counted]]:
    """The layer and the counts of a record."""
    found = json.loads(record.read_text(encoding="utf-8"))
    return Layer(**found["layer"]), [Counted(**c) for c in found["counts"]]


# --- times --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Times:
    """The times of the rungs on a GPU.

    Attributes
    ----------
    gpu, date : str
    run : Run
    """

    gpu: str
    date: str
    run: Run

    def __str__(self) -> str:
        cases = list(dict.fromkeys(r.case for r in self.run.results if r.case.startswith("conv2d.forward")))
        lines = [f"measured on {self.gpu}, {self.date[:10]}"]
        for case in cases:
            lines += ["", f"{case}", f"  {'rung':24}{'µs':>10}{'TFLOP/s':>10}{'of the roof':>13}"]
            for r in (r for r in self.run.results if r.case == case):
                rate = r.operations / r.seconds / 1e12
                lines.append(f"  {r.library:24}{1e6 * r.seconds:10.1f}{rate:10.1f}{r.roof_seconds / r.seconds:13.0%}")
        return "\n".join(lines)


def newest_times(folder: Path) -> Times | None:
    """The newest record in a folder that has times of the rungs on a GPU; None if there is none."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            continue
        if isinstance(record, dict):
            found += list(_times(record, record.get("environment", {})))
    return max(found, key=lambda times: times.date, default=None)


def _times(record: dict[str, Any], environment: Any) -> list[Times]:
    """The times in a record, and in the records that it contains."""
    found = []
    if {"results", "roofs"} <= record.keys() and record.get("device") == "cuda":
        run = Run.from_dict(record)
        if any(r.library[:1].isdigit() and r.case.startswith("conv2d.forward") for r in run.results):
            about = record.get("environment", environment)
            found.append(Times(about.get("gpu", {}).get("name", "a GPU whose name is not recorded"), about.get("date", ""), run))
    for part in record.values():
        if isinstance(part, dict):
            found += _times(part, record.get("environment", environment))
    return found


# --- the picture --------------------------------------------------------------------------------------


def shared_limit(turns: float, peak: float = H100.peak) -> float:
    """The highest rate that shared memory allows, in operations per second.

    Parameters
    ----------
    turns : float
        Turns of shared memory per 1000 multiply-adds.
    peak : float
        The machine's peak, in operations per second: each SM does `SM_PRODUCTS` multiply-adds in the time of one turn.
    """
    return float("inf") if turns == 0 else peak * (1000 / turns) / SM_PRODUCTS


def roofline(found: Sequence[Counted], machine: Roof = H100, title: str = "") -> Any:
    """Draw the rungs under a machine's roofline, at the limits that their memory requests and their turns of shared memory set.

    Parameters
    ----------
    found : sequence of Counted
        The counts of one layer and one equation, in the order of the ladder.
    machine : Roof
    title : str

    Returns
    -------
    PIL.Image.Image
    """
    figure = new_figure(7.6, 4.9)
    figure.set_dpi(100)
    axes = figure.add_axes((0.1, 0.12, 0.87, 0.78))
    least = found[0].operations / found[0].least_bytes
    ends = np.array([0.1, machine.ridge, 300])
    axes.plot(ends, np.minimum(machine.peak, ends * machine.bandwidth) / 1e12, color=INK, linewidth=1.6)
    axes.text(300, machine.peak / 1e12 * 1.12, f"arithmetic: {machine.peak / 1e12:g} TFLOP/s", ha="right", fontsize=9, color=INK)
    axes.text(
        0.62, 3.0, f"memory: {machine.bandwidth / 1e12:g} TB/s", rotation=39, rotation_mode="anchor", ha="center", fontsize=9, color=INK
    )
    axes.axvline(least, color=GREY, linewidth=1, linestyle=":")
    axes.text(least * 1.06, 0.34, "every number\nmoved once", fontsize=8, color=GREY)
    places: dict[tuple[float, float], list[str]] = {}
    before: tuple[float, float] | None = None
    for c in found:
        roof = min(machine.peak, c.intensity * machine.bandwidth) / 1e12
        limit = min(roof, shared_limit(c.turns, machine.peak) / 1e12)
        if limit < roof:
            axes.plot([c.intensity] * 2, [limit, roof], color=_RED, linewidth=1.2, linestyle="--")
            axes.plot(c.intensity, roof, "o", markersize=6, markerfacecolor="white", markeredgecolor=_RED)
        axes.plot(c.intensity, limit, "o", markersize=9, color=_RED if limit < roof else _BLUE, zorder=3)
        if before and c.name in _ARROWS:
            idea, bend, words = _ARROWS[c.name]
            arrow = {"arrowstyle": "->", "color": _ORANGE, "lw": 1.6, "shrinkA": 7, "shrinkB": 7, "connectionstyle": f"arc3,rad={bend}"}
            axes.annotate("", (c.intensity, limit), before, arrowprops=arrow)
            axes.text(*words, idea, fontsize=8.5, color="#b35806", ha="center", va="center")
        before = (c.intensity, limit)
        places.setdefault((round(c.intensity, 1), round(limit, 1)), []).append(c.label)
    for (x, y), labels in places.items():
        name = ", ".join(dict.fromkeys(labels))
        axes.annotate(name, (x, y), (9, -11), textcoords="offset points", fontsize=11, weight="bold", color=INK)
    axes.plot([], [], "o", color=_BLUE, label="as far as its requests to memory allow")
    axes.plot([], [], "o", color=_RED, label="less: shared memory is the limit")
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(0.1, 300),
        ylim=(0.25, 150),
        xlabel="operations for each byte requested (FLOP/B)",
        ylabel="TFLOP/s",
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, place: f"{value:g}")
        axis.set_minor_formatter(lambda value, place: "")
    quiet_axes(axes)
    axes.set_title(title or "The rungs under the roof of an H100: limits from counts, not times", loc="left", fontsize=10, color=INK)
    axes.legend(loc="upper left", bbox_to_anchor=(0.0, 0.99), frameon=False, fontsize=8)
    return finish(figure, None)
