"""The rungs of the convolution ladder in the emulator: what each moves and meets, beside what theory says.

It uses no clock: an emulator's time says nothing about a GPU. It counts what makes a kernel fast or slow there, and the counts
are the same on every machine: bytes that threads request from memory, sectors of 32 bytes that these requests touch, and
turns (wavefronts) of shared memory.
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
        """What the equation is called with: arrays of small random numbers, and options."""
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
    """One rung on one layer, as the emulator saw it.

    Attributes
    ----------
    label, name, title, equation
        Of the rung.
    layout : str
        ``"rows first"`` (NCHW) or ``"channels last"`` (NHWC in memory).
    operations, least_bytes : int
        By the cost model.
    bytes : int
        That threads read and wrote in global memory; every request counts, even if a cache could serve it.
    predicted_bytes : int or None
        The same by theory (`predicted`); None where there is none.
    sectors, least_sectors : int
        Of 32 bytes: touched by the warps' requests, and what the different bytes of each would need if they lay together.
    wavefronts, least_wavefronts : int
        Turns of shared memory, and what they would be without bank conflicts.
    error : float
        Largest difference from the reference in float64, relative to its largest value.
    lines : int
        Of code in the rung's file and its own headers, without comments.
    kernels : list of dict
        ``name``, ``registers`` and bytes of static ``shared`` memory of what was launched, compiled for sm_90; empty without NVRTC.
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
        """Operations for each byte that was asked for."""
        return self.operations / self.bytes

    @property
    def turns(self) -> float:
        """Of shared memory, for 1000 multiply-adds."""
        return 2000 * self.wavefronts / self.operations

    @property
    def conflicts(self) -> int:
        return self.wavefronts - self.least_wavefronts


def count(layer: Layer, rungs: Sequence[Rung] = RUNGS, progress: Callable[[str], None] = lambda message: None) -> list[Counted]:
    """Run rungs in the watched emulator; those that do not serve the layer in either layout are left out.

    A rung gets its images rows first if it serves that, unless it is faster where the channels lie last.

    Raises
    ------
    BackendError
        If there is no compiler for the emulator; tells how to get one.
    ArithmeticError
        If a rung's result is wrong.
    """
    here = backends.available()["cuda"]
    if not here:
        raise backends.BackendError(f"the ladder cannot be emulated here: {here.reason}. To mend it: {here.mend}")
    found = []
    for rung in rungs:
        last = next((last for last in (rung.best_last, not rung.best_last) if _serves(rung, layer, last)), None)
        if last is None:
            progress(f"{rung.label} {rung.name}: serves {rung.needs}, so not this layer")
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
        raise ArithmeticError(f"rung {rung.label} ({rung.name}) is wrong by {error:.1e} of its largest result")
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
    """Bytes that a rung has to ask memory for, from the size of its tile alone; None where the theory does not reach.

    A block that makes a tile of BM pixels × BN channels needs the cells of x for BN channels once, and the
    weights for BM pixels once: of K products each, x passes ⌈O/BN⌉ times and w ⌈pixels/BM⌉ times. The direct
    form is a tile of 1 × 1. The halo tile needs the cells *under* BM pixels instead of K for each of them, and Winograd's
    the cells under 2 × 2.
    Each output is written once and reads its bias; padding takes no memory. Where tiles hang over the edge, a rung that
    reads the last row again for each row that does not exist requests more than this.

    Parameters
    ----------
    launched : sequence of str
        The kernel instances, where the width of a tile is a template parameter.
    """
    if rung.equation == "conv2d.grad_weight":
        return None  # its sum runs over the pixels, and is split
    pixels = layer.batch * layer.size**2
    sources, results = (layer.channels, layer.outputs) if rung.equation == "conv2d.forward" else (layer.outputs, layer.channels)
    weights = layer.channels * layer.outputs * layer.kernel**2
    numbers = rung.module.source.constants
    rest = pixels * results * (2 if rung.equation == "conv2d.forward" else 1)  # results, and the bias of each
    met = layer.batch * _inside(layer, 1) ** 2 * sources  # cells of all windows, those on the padding left out
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
    """Of ``conv2d_forward__tf32_tuned<32>`` the 32."""
    found = [int(n) for kernel in launched for n in re.findall(r"[<, ](\d+)[,>]", kernel)]
    return found[0] if found else 0


def _inside(layer: Layer, tile: int) -> int:
    """Σ over the tiles of one axis: cells of the image in reach of a tile."""
    p = layer.kernel // 2
    starts = range(0, layer.size, tile)
    return sum(min(layer.size, start + tile - 1 - p + layer.kernel) - max(0, start - p) for start in starts)


# --- what is shown ----------------------------------------------------------------------------------


def listing(rungs: Sequence[Rung] = RUNGS) -> str:
    """The rungs with their ideas."""
    return "\n".join(
        f"{rung.label:>2}  {rung.title}  ({rung.path.name}, {rung.equation})\n"
        f"      {rung.idea}\n"
        f"      Serves {rung.needs}.{_instructions(rung)}{_estimate(rung)}"
        for rung in rungs
    )


def _instructions(rung: Rung) -> str:
    return f" Needs compute capability {'.'.join(map(str, rung.capability))}." if any(rung.capability) else ""


def _estimate(rung: Rung) -> str:
    if rung.expected is None:
        return ""
    low, high = rung.expected
    return f" Estimate for an H100 SXM, not measured: {low:g} to {high:g} TFLOP/s."


def table(found: Sequence[Counted], layer: Layer) -> str:
    """For the screen: memory that was asked for, sectors, operations for each byte; turns of shared memory, and for 1000 multiply-adds."""
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
