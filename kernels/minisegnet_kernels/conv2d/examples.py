"""Typical layers described in words, and the rung that each goes to: for the pages that show an equation, and the doctor."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import options
from .kernel import RULE, by_rule, choose, why_not
from .ladder import Case, Rung, find

#: The equations that have rungs, and the equation whose rungs they are.
RUNGS_OF = {
    "conv2d.forward": "conv2d.forward",
    "conv2d.forward_relu": "conv2d.forward",
    "conv2d.forward_statistics": "conv2d.forward",
    "conv2d.grad_input": "conv2d.grad_input",
    "conv2d.grad_weight": "conv2d.grad_weight",
}
#: GPUs for which the rule chooses differently: compute capability, and whether TF32 is allowed.
GPUS = {
    "T4 (7.5)": ((7, 5), True),
    "A100 (8.0), RTX 4090 (8.9), H100 (9.0)": ((8, 0), True),
    "the same in float32": ((8, 0), False),
}
#: Layers that segmentation networks have.
LAYERS: dict[str, dict[str, Any]] = {
    "3×3, 3 → 64, 256²": {"x": (8, 3, 256, 256), "w": (64, 3, 3, 3), "padding": 1},
    "3×3, 64 → 64, 128²": {"x": (8, 64, 128, 128), "w": (64, 64, 3, 3), "padding": 1},
    "3×3, 64 → 64, 128², rows first": {"x": (8, 64, 128, 128), "w": (64, 64, 3, 3), "padding": 1, "layout": "rows first"},
    "3×3, 64 → 64, 128², float64": {"x": (8, 64, 128, 128), "w": (64, 64, 3, 3), "padding": 1, "dtype": "float64"},
    "3×3, 16 → 16, 128²": {"x": (8, 16, 128, 128), "w": (16, 16, 3, 3), "padding": 1},
    "3×3, stride 2, 64 → 128, 128²": {"x": (8, 64, 128, 128), "w": (128, 64, 3, 3), "padding": 1, "stride": 2},
    "3×3, depthwise, 64 channels, 128²": {"x": (8, 64, 128, 128), "w": (64, 1, 3, 3), "padding": 1, "groups": 64},
    "1×1, 256 → 64, 64²": {"x": (8, 256, 64, 64), "w": (64, 256, 1, 1)},
    "1×1, 64 → 2, 256²": {"x": (8, 64, 256, 256), "w": (2, 64, 1, 1)},
}


def described(
    equation: str,
    *,
    x: tuple[int, ...],
    w: tuple[int, ...],
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    dtype: Any = "float32",
    layout: str = "channels last",
    gpu: tuple[int, int] = (9, 0),
) -> tuple[Case, tuple[int, int]]:
    """A case from shapes and words, and the compute capability of the GPU.

    Parameters
    ----------
    equation : str
        One of the keys of `RUNGS_OF`.
    x, w : tuple of int
        Shapes, (N, C, H, W) and (O, C/G, U, V), whichever equation it is.
    stride, padding, dilation, groups
        As in ``conv2d.forward``.
    dtype : dtype
    layout : {"channels last", "rows first"}
        The layout of the images.
    gpu : (int, int)
        Compute capability: (7, 5) is a T4, (8, 0) an A100, (9, 0) an H100.

    Raises
    ------
    ValueError
        If a shape, an option or the layout does not fit.
    """
    if len(x) != 4 or len(w) != 4 or x[1] != w[1] * groups:
        raise ValueError(f"{equation}: expected x (N, C, H, W) and w (O, C/G, U, V); got x {x}, w {w}, groups {groups}")
    if layout not in ("channels last", "rows first"):
        raise ValueError(f"{equation}: no layout {layout!r}; choose 'channels last' or 'rows first'")
    fitted = options(equation, x[2:], w[2:], stride, padding, dilation, groups)
    case = Case(RUNGS_OF[equation], tuple(x), tuple(w), **fitted, dtype=np.dtype(dtype), channels_last=layout == "channels last")
    return case, (int(gpu[0]), int(gpu[1]))


def chosen(equation: str, **case: Any) -> Rung | None:
    """The rung that a case goes to, described as for `described`; None if the equation has only one CUDA program."""
    return choose(*described(equation, **case)) if equation in RUNGS_OF else None


def routes(equation: str, gpus: dict[str, tuple[tuple[int, int], bool]] = GPUS) -> dict[str, dict[str, Rung]]:
    """The rung that each of `LAYERS` goes to on each GPU: {layer: {GPU: Rung}}; empty if the equation has only one CUDA program."""
    if equation not in RUNGS_OF:
        return {}
    cases = {layer: described(equation, **words)[0] for layer, words in LAYERS.items()}
    return {layer: {gpu: by_rule(case, *needs) for gpu, needs in gpus.items()} for layer, case in cases.items()}


def reasons(equation: str, layer: str, gpu: tuple[int, int], tf32: bool) -> list[tuple[Rung, str]]:
    """Why one of `LAYERS` goes to its rung on a GPU: for each rung that the rule tries before, why it passes over that one."""
    case, tf32 = described(equation, **LAYERS[layer])[0], tf32 and gpu >= (8, 0)
    rungs = [find(name, case.equation) for name in RULE[case.equation]]
    return [(rung, why_not(rung, case, gpu, tf32)) for rung in rungs[: rungs.index(by_rule(case, gpu, tf32))]]
