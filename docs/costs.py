"""What the equations of an operation cost for a typical layer: the table on its page of the mapping."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from minisegnet.learn.symbols import axes
from minisegnet_kernels import cost, registry

#: The layer: 8 images of 128 × 128 with 16 channels in float32, as in the uppermost stage of a small U-Net.
LAYER = {"N": 8, "C": 16, "O": 16, "G": 1, "H": 128, "W": 128, "P": 128, "Q": 128, "U": 3, "V": 3, "K": 16}
WORDS = {
    "conv2d": "3 × 3 to 16 channels, padding 1",
    "pool2d": "windows of 2 × 2 with stride 2",
    "label": "16 regions",
    "cross_entropy": "16 classes",
    "resize": "to 256 × 256",
    "lrn": "5 neighbouring channels",
    "batch_norm": "in training and in evaluation",
    "activation": "element by element",
}
SIZES = {"pool2d": {"P": 64, "Q": 64, "U": 2, "V": 2}, "resize": {"P": 256, "Q": 256}}
INTEGERS = {"t": "uint8", "l": "int64"}


def _options(operation: str, v: dict[str, int]) -> dict[str, Any]:
    pad = 1 if operation == "conv2d" else 0
    return {
        "stride": (2, 2) if operation == "pool2d" else (1, 1),
        "padding": ((pad, pad), (pad, pad)),
        "dilation": (1, 1),
        "groups": 1,
        "kernel_size": (v["U"], v["V"]),
        "input_size": (v["H"], v["W"]),
        "output_size": (v["P"], v["Q"]),
        **{"ceil_mode": False, "count_include_pad": True, "align_corners": False, "default": None, "slope": 0.01},
        **{"size": 5, "alpha": 1e-4, "beta": 0.75, "k": 1.0, "eps": 1e-5},
        **{"ignore_index": 255, "label_smoothing": 0.0, "reduction": "mean"},
    }


def of(equation: registry.Equation) -> cost.Cost:
    """The cost of an equation for the layer."""
    v = LAYER | SIZES.get(equation.operation, {})
    options = _options(equation.operation, v)
    wanted = [p.name for p in inspect.signature(equation.oracle).parameters.values() if p.kind is p.KEYWORD_ONLY]
    chosen = {name: options[name] for name in wanted}
    if equation.name.endswith("unpool"):
        chosen |= {"output_size": (v["H"], v["W"])} if "output_size" in chosen else {}
    arrays = [_array(equation, name, v) for name in equation.arguments]
    return cost.of(equation.id, arrays, **chosen)


def _array(equation: registry.Equation, name: str, v: dict[str, int]) -> np.ndarray:
    shape = tuple(_size(axis, v) for axis in axes(equation.symbols[name])) or (v["N"], v["C"], v["H"], v["W"])
    if equation.operation == "cross_entropy" and name == "g":
        shape = ()
    dtype = ("int64" if equation.name.endswith("unpool") else "uint8") if name == "m" else INTEGERS.get(name, "float32")
    return np.broadcast_to(np.zeros((), dtype), shape)


def _size(axis: str, v: dict[str, int]) -> int:
    first, *divisors = (int(part) if part.isdigit() else v[part] for part in axis.split("/"))
    for divisor in divisors:
        first //= divisor
    return first


def table(operation: str) -> str:
    """The section of a page; empty for the optimisers, whose cost is that of their parameters."""
    if operation not in WORDS:
        return ""
    rows = [(e.id, of(e)) for e in registry.equations(operation)]
    lines = [f"| `{id}` | {_count(c.operations)} | {c.bytes / 2**20:.2f} | {c.intensity:.1f} |" for id, c in rows]
    head = "| equation | operations | MiB of memory, at least | operations for a byte |\n|---|---:|---:|---:|\n"
    return (
        "## What it costs\n\n"
        f"For 8 images of 128 × 128 with 16 channels in float32, {WORDS[operation]}. A multiply-add is two operations. The memory is the least that has "
        "to pass: each argument is read once, and each result written once. In the time in which a GPU moves one byte, it can compute 10 to 80 "
        "float32 operations; an equation with fewer waits for memory.\n\n" + head + "\n".join(lines) + "\n"
    )


def _count(number: int) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)
