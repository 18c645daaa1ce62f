"""The memory traffic of the rungs of the convolution ladder, counted in the emulator and compared with theory.

No clock is used, because an emulator's time says nothing about a GPU. The counts are what makes a kernel fast or slow there,
and they are the same on every machine: bytes that threads request from memory, sectors of 32 bytes that these requests
touch, and turns (wavefronts) of shared memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minisegnet_kernels import backends, cost, emulator
from minisegnet_kernels.conv2d import output_size, reference
from minisegnet_kernels.conv2d.ladder import RUNGS, Case, Rung
from minisegnet_kernels.layout import channels_last

from . import about


@dataclass(frozen=True)
class Layer:
    """A convolution with stride 1 and padding that keeps the size."""

    channels: int = 16
    outputs: int = 64
    size: int = 16
    kernel: int = 3
    batch: int = 1

    def __str__(self) -> str:
        return f"{self.kernel}×{self.kernel}, {self.channels} → {self.outputs} channels, {self.batch} × {self.size}²"

    @property
    def options(self) -> dict[str, Any]:
        p = self.kernel // 2
        return {"stride": (1, 1), "padding": ((p, p), (p, p)), "dilation": (1, 1), "groups": 1}

    def arguments(self, equation: str, last: bool, seed: int = 0) -> tuple[list[np.ndarray], dict[str, Any]]:
        """The arguments of an equation: arrays of small random numbers, and options."""
        rng = np.random.default_rng(seed)
        image = lambda channels: rng.standard_normal((self.batch, channels, *self._sizes(channels)), np.float32)
        lay = channels_last if last else np.asarray
        x, g = lay(image(self.channels)), lay(image(self.outputs))
        w = rng.standard_normal((self.outputs, self.channels, self.kernel, self.kernel), np.float32)
        b = rng.standard_normal(self.outputs, np.float32)
        if equation == "conv2d.forward":
            return [x, w, b], self.options
        if equation == "conv2d.grad_input":
            return [g, w], {"input_size": x.shape[2:], **self.options}
        return [g, x], {"kernel_size": w.shape[2:], **self.options}

    def _sizes(self, channels: int) -> tuple[int, int]:
        side = output_size(self.size, self.kernel, 1, self.options["padding"][0], 1)
        return side, side


@dataclass(frozen=True)
class Counted:
    """What the emulator counted for one rung on one layer.

    Attributes
    ----------
    label, name, title, equation
        The rung's label, name, title and equation.
    layout : str
        ``"rows first"`` (NCHW) or ``"channels last"`` (NHWC in memory).
    operations, least_bytes : int
        The minimum by the cost model: each array is read or written once.
    bytes : int
        Bytes that threads read and wrote in global memory. Every request counts, even if a cache could serve it.
    predicted_bytes : int or None
        The same by theory (`predicted`); None if the theory does not cover the rung.
    sectors, least_sectors : int
        Sectors of 32 bytes that the warps' requests touch, and the number that would hold the distinct bytes of each request.
    wavefronts, least_wavefronts : int
        Turns of shared memory, and the number without bank conflicts.
    error : float
        Largest difference from the reference in float64, relative to its largest value.
    lines : int
        Lines of code, without comments, in the rung's file and its own headers.
    kernels : list of dict
        ``name``, ``registers`` and bytes of static ``shared`` memory of each kernel, compiled for sm_90; empty without NVRTC.
    """

    label: str
    name: str
    title: str
    equation: str
    layout: str
    operations: int
    least_bytes: int
    bytes: int
    predicted_bytes: int | None
    sectors: int
    least_sectors: int
    wavefronts: int
    least_wavefronts: int
    error: float
    lines: int
    kernels: list[dict[str, Any]]

    @property
    def intensity(self) -> float:
        """Operations per requested byte."""
        return self.operations / self.bytes

    @property
    def turns(self) -> float:
        """Turns of shared memory per 1000 multiply-adds."""
        return 2000 * self.wavefronts / self.operations

    @property
    def conflicts(self) -> int:
        return self.wavefronts - self.least_wavefronts


def count(layer: Layer, rungs: Sequence[Rung] = RUNGS, progress: Callable[[str], None] = lambda message: None) -> list[Counted]:
    """Run rungs in the emulator and count. Rungs that serve the layer in neither layout are left out.

    Each rung gets the images in its best layout, or in the other one if it serves the layer only there.

    Raises
    ------
    BackendError
        If there is no compiler for the emulator; the message says how to get one.
    ArithmeticError
        If a rung's result is wrong.
    """
    here = backends.available()["cuda"]
    if not here:
        raise backends.BackendError(f"the ladder cannot be emulated here: {here.reason}. To fix it: {here.mend}")
    found = []
    for rung in rungs:
        last = next((last for last in (rung.best_last, not rung.best_last) if _serves(rung, layer, last)), None)
        if last is None:
            progress(f"{rung.label} {rung.name}: left out; it serves {rung.needs}")
            continue
        progress(f"{rung.label} {rung.name}, {rung.equation}")
        found.append(_count(rung, layer, last))
    return found


def _serves(rung: Rung, layer: Layer, last: bool) -> bool:
    shapes = (layer.batch, layer.channels, layer.size, layer.size), (layer.outputs, layer.channels, layer.kernel, layer.kernel)
    return rung.serves(Case(rung.equation, *shapes, **layer.options, dtype=np.dtype(np.float32), channels_last=last))


def _count(rung: Rung, layer: Layer, last: bool) -> Counted:
    arrays, options = layer.arguments(rung.equation, last)
    with emulator.options(watched=True), emulator.launches() as launches:
        result = rung.run(*arrays, **options)
    expected = getattr(reference, rung.equation.partition(".")[2])(*(a.astype(np.float64) for a in arrays), **options)
    error = float(np.abs(result - expected).max() / np.abs(expected).max())
    if not error <= (1e-2 if rung.tf32 else 1e-4):
        raise ArithmeticError(f"rung {rung.label} ({rung.name}) differs from the reference by {error:.1e} of the largest value")
    least = cost.of(rung.equation, arrays, **options)
    total = {name: sum(launch.counters[name] for launch in launches) for name in emulator.COUNTERS}
    return Counted(
        rung.label,
        rung.name,
        rung.title,
        rung.equation,
        "channels last" if last else "rows first",
        least.operations,
        least.bytes,
        total["global_bytes"],
        predicted(rung, layer, [launch.kernel for launch in launches]),
        total["sectors"],
        total["least_sectors"],
        total["shared_wavefronts"],
        total["least_wavefronts"],
        error,
        about.file_lines(rung.path),
        about.compiled(rung.path, [launch.kernel for launch in launches]),
    )


# --- theory -----------------------------------------------------------------------------------------


def predicted(rung: Rung, layer: Layer, launched: Sequence[str] = ()) -> int | None:
    """Bytes that a rung has to request from memory, from the size of its tile alone; None if the theory does not cover the rung.

    A block computes a tile of BM pixels × BN channels. It reads each cell of x once for all BN channels and each weight once
    for all BM pixels. All blocks together therefore read x ⌈O/BN⌉ times and w ⌈pixels/BM⌉ times. The direct form is a
    tile of 1 × 1. A halo tile reads the cells *under* its BM pixels once, not the whole window of each pixel; Winograd's does
    the same for 2 × 2 pixels. Each output is written once and reads its bias; padding is not read. Where a tile extends past
    the edge, a rung that re-reads the last row as a stand-in for missing rows requests more than this.

    Parameters
    ----------
    launched : sequence of str
        The kernel instances that ran. Some have the width of their tile as a template parameter.
    """
    if rung.equation == "conv2d.grad_weight":
        return None  # it sums over the pixels, split among blocks
    pixels = layer.batch * layer.size**2
    sources, results = (layer.channels, layer.outputs) if rung.equation == "conv2d.forward" else (layer.outputs, layer.channels)
    weights = layer.channels * layer.outputs * layer.kernel**2
    numbers = rung.module.source.constants
    rest = pixels * results * (2 if rung.equation == "conv2d.forward" else 1)  # each result, and the bias that it reads
    met = layer.batch * _inside(layer, 1) ** 2 * sources  # cells of all windows, without padding
    if rung.name == "direct":
        return 4 * (2 * met * results + rest)
    if rung.name == "tile":
        rows, columns, wide = numbers["ROWS"], numbers["COLUMNS"], numbers["OUTPUTS"]
        tiles = layer.batch * -(-layer.size // rows) * -(-layer.size // columns)
        under = layer.batch * _inside(layer, rows) * _inside(layer, columns) * sources
        return 4 * (under * -(-results // wide) + weights * tiles + rest)
    if rung.name == "winograd":
        tiles, under = layer.batch * (-(-layer.size // 2)) ** 2, layer.batch * _inside(layer, 2) ** 2 * sources
        return 4 * (under * -(-results // numbers["OUTPUTS"]) + weights * -(-tiles // numbers["TILES"]) + rest)
    tile = numbers.get("TILE", 0)
    tall, wide = numbers.get("PIXELS", tile), numbers.get("OUTPUTS", _width(launched) or tile)
    if not (tall and wide):
        return None
    return 4 * (met * -(-results // wide) + weights * -(-pixels // tall) + rest)


def _width(launched: Sequence[str]) -> int:
    """The template parameter in a kernel's name: 32 in ``conv2d_forward__tf32_tuned<32>``; 0 if there is none."""
    found = [int(n) for kernel in launched for n in re.findall(r"[<, ](\d+)[,>]", kernel)]
    return found[0] if found else 0


def _inside(layer: Layer, tile: int) -> int:
    """Along one axis, the sum over the tiles of the cells of the image that a tile reads."""
    p = layer.kernel // 2
    starts = range(0, layer.size, tile)
    return sum(min(layer.size, start + tile - 1 - p + layer.kernel) - max(0, start - p) for start in starts)


# --- output -----------------------------------------------------------------------------------------


def listing(rungs: Sequence[Rung] = RUNGS) -> str:
    """The rungs with their ideas."""
    return "\n".join(
        f"{rung.label:>2}  {rung.title}  ({rung.path.name}, {rung.equation})\n"
        f"      {rung.idea}\n"
        f"      Serves {rung.needs}.{_instructions(rung)}"
        for rung in rungs
    )


def _instructions(rung: Rung) -> str:
    return f" Needs compute capability {'.'.join(map(str, rung.capability))}." if any(rung.capability) else ""


def table(found: Sequence[Counted], layer: Layer) -> str:
    """A table for the screen: requested memory, sectors, operations per byte, turns of shared memory. `docs/ladder.md` explains it."""
    wide = max(len(f"{c.label} {c.name}") for c in found)
    head = ("equation", "memory", "asked KiB", "theory", "× least", "sectors", "least", "FLOP/B", "turns", "least", "conflicts", "/1000 MA")
    lines = [f"{layer}, float32; at least {found[0].least_bytes / 1024:.0f} KiB for {found[0].operations / 1e6:.1f} MFLOP", ""]
    rows = [(f"{'rung':{wide}}", *head)]
    for c in found:
        rows.append(
            (
                f"{f'{c.label} {c.name}':{wide}}",
                c.equation.removeprefix("conv2d."),
                c.layout,
                f"{c.bytes / 1024:.0f}",
                "-" if c.predicted_bytes is None else f"{c.predicted_bytes / 1024:.0f}",
                f"{c.bytes / c.least_bytes:.1f}",
                f"{c.sectors}",
                f"{c.least_sectors}",
                f"{c.intensity:.2f}",
                f"{c.wavefronts}",
                f"{c.least_wavefronts}",
                f"{c.conflicts / c.least_wavefronts:.0%}" if c.least_wavefronts else "-",
                f"{c.turns:.1f}",
            )
        )
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    for row in rows:
        lines.append("  ".join(cell.ljust(w) if k < 3 else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, widths, strict=True))))
    return "\n".join(lines)
