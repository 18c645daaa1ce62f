"""The host side of rung 3, ``03_implicit_gemm.cu``."""

from __future__ import annotations

from ...cuda import Module, blocks
from ...layout import poisoned
from .._geometry import output_shape, window
from .rung import FOLDER, Rung, is_float

_cu = Module(FOLDER / "03_implicit_gemm")
_TILE = 16  # as in the file


def _forward(x, w, b, *, relu=False, stride, padding, dilation, groups):
    y = poisoned(x, output_shape(x, w, stride, padding, dilation))
    N, O, P, Q = y.shape
    grid = blocks(N * P * Q, _TILE) * groups * blocks(O // groups, _TILE)
    kernel = "conv2d_forward_relu__implicit_gemm" if relu else "conv2d_forward__implicit_gemm"
    if y.size:
        _cu.launch(kernel, (grid,), (_TILE * _TILE,), x, w, b, y, window(stride, padding, dilation), groups)
    return y


def _serves(x_shape, w_shape, options, dtype, channels_last=False):
    return is_float(dtype)


RUNGS = (
    Rung(
        3,
        "implicit_gemm",
        "implicit GEMM",
        "The convolution is a product of matrices; an index map reads one of them out of x, so that it is never made.",
        _cu.path,
        "conv2d.forward",
        "every case",
        _serves,
        _forward,
        (8, 12),
    ),
)
