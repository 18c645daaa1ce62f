"""The host side of the side rung, ``side_winograd.cu``."""

from __future__ import annotations

import numpy as np

from ...cuda import Module, blocks, empty
from .._geometry import output_shape, window
from .rung import FOLDER, Rung

_cu = Module(FOLDER / "side_winograd")
_TILES, _OUTPUTS, _THREADS = 32, 32, 256  # as in the file


def _forward(x, w, b, *, relu=False, stride, padding, dilation, groups):
    y = empty(x, output_shape(x, w, stride, padding, dilation))
    N, O, P, Q = y.shape
    grid = blocks(N * blocks(P, 2) * blocks(Q, 2), _TILES) * blocks(O, _OUTPUTS)
    kernel = "conv2d_forward_relu__winograd" if relu else "conv2d_forward__winograd"
    if y.size:
        outputs_innermost = w.transpose(2, 3, 1, 0).copy().transpose(3, 2, 0, 1)
        _cu.launch(kernel, (grid,), (_THREADS,), x, outputs_innermost, b, y, window(stride, padding, dilation))
    return y


def _serves(x_shape, w_shape, options, dtype, channels_last=False):
    geometry = (tuple(w_shape[2:]), options["stride"], options["dilation"], options["groups"])
    return bool(np.dtype(dtype) == np.float32 and geometry == ((3, 3), (1, 1), (1, 1), 1))


RUNGS = (
    Rung(
        4,
        "winograd",
        "Winograd's F(2 × 2, 3 × 3)",
        "Sums of cells and of weights are multiplied, 16 products for four outputs of 3 × 3 taps in the place of 36.",
        _cu.path,
        "conv2d.forward",
        "float32, 3 × 3, with stride 1, dilation 1 and one group; any C, any layout",
        _serves,
        _forward,
        (30, 50),
        side=True,
        best_last=True,
    ),
)
