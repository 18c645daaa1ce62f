"""The host side of rung 7, ``rung7_tf32_tuned.cu``."""

from __future__ import annotations

from ...cuda import Module, blocks
from ...layout import poisoned
from .._geometry import window
from ..formula import output_shape
from .rung import FOLDER, Rung, rows_of_weights
from .rung6_tf32 import is_served_with_tf32

_cu = Module(FOLDER / "rung7_tf32_tuned.cu")


def _forward(x, w, b, *, relu=False, stride, padding, dilation, groups):
    y, at = poisoned(x, output_shape(x, w, stride=stride, padding=padding, dilation=dilation)), window(stride, padding, dilation)
    over_pixels(_cu, f"conv2d_forward{'_relu' if relu else ''}", y, x, matrix(w), b, y, at, *w.shape[2:])
    return y


def _forward_statistics(x, w, b, *, stride, padding, dilation, groups):
    y, at = poisoned(x, output_shape(x, w, stride=stride, padding=padding, dilation=dilation)), window(stride, padding, dilation)
    slab = _cu.constant("WARP_PIXELS")
    means, spreads = (poisoned(b, (len(w), blocks(y.size // len(w), slab))) for _ in range(2))
    over_pixels(_cu, "conv2d_forward_statistics", y, x, matrix(w), b, y, at, *w.shape[2:], means, spreads)
    return y, (means, spreads, slab)


def over_pixels(module, equation, y, *arguments):
    """One block for each PIXELS pixels and OUTPUTS channels of y; OUTPUTS is the least of 32, 64, 128 that holds them all, or 128."""
    outputs = next((width for width in (32, 64) if y.shape[1] <= width), 128)
    if y.size:
        grid = blocks(y.size // y.shape[1], module.constant("PIXELS")) * blocks(y.shape[1], outputs)
        module.launch(f"{equation}__tf32_tuned", (grid,), (module.constant("THREADS"),), *arguments, OUTPUTS=outputs)


def matrix(w):
    """(O, C, U, V) → the matrix O × U V C of the pipeline; a copy unless w lies channels last."""
    return rows_of_weights(w).transpose(0, 2, 3, 1).reshape(len(w), -1)


def _serves(case):
    return is_served_with_tf32(case) and case.channels_last and case.channels % 4 == 0


RUNGS = (
    Rung(
        number=7,
        name="tf32_tuned",
        title="feed the tensor cores",
        idea="Copies of 16 bytes, three steps ahead, into swizzled shared memory; a warp computes 64 × 64 sums.",
        module=_cu,
        equation="conv2d.forward",
        needs="float32 without groups, x channels last with C a multiple of 4",
        serves=_serves,
        program=_forward,
        capability=(8, 0),
        tf32=True,
        with_statistics=_forward_statistics,
    ),
)
