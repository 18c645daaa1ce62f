"""The host side of rung 3, ``rung3_implicit_gemm.cu``."""

from __future__ import annotations

from ...cuda import Module, blocks
from ...layout import poisoned
from .._geometry import window
from ..formula import output_shape
from .rung import FOLDER, Rung, is_float

_cu = Module(FOLDER / "rung3_implicit_gemm.cu")


def _forward(x, w, b, *, relu=False, stride, padding, dilation, groups):
    y, tile = poisoned(x, output_shape(x, w, stride=stride, padding=padding, dilation=dilation)), _cu.constant("TILE")
    N, O, P, Q = y.shape
    grid = blocks(N * P * Q, tile) * groups * blocks(O // groups, tile)
    kernel = "conv2d_forward_relu__implicit_gemm" if relu else "conv2d_forward__implicit_gemm"
    if y.size:
        _cu.launch(kernel, (grid,), (tile * tile,), x, w, b, y, window(stride, padding, dilation), groups)
    return y


RUNGS = (
    Rung(
        number=3,
        name="implicit_gemm",
        title="implicit GEMM",
        idea="The convolution is a matrix product; an index map reads one of the matrices out of x, so that it is never stored.",
        module=_cu,
        equation="conv2d.forward",
        needs="every case in float32 or float64",
        serves=is_float,
        program=_forward,
    ),
)
