"""The host side of the side rung, ``side_winograd.cu``."""

from __future__ import annotations

import numpy as np

from ...cuda import Module, blocks
from ...layout import poisoned
from .._geometry import output_shape, window
from .gradients import parts
from .rung import FOLDER, Rung

_cu = Module(FOLDER / "side_winograd")
_TILES, _OUTPUTS, _THREADS = 32, 32, 256  # as in the file


def _forward(x, w, b, *, relu=False, stride, padding, dilation, groups):
    y = poisoned(x, output_shape(x, w, stride, padding, dilation))
    if y.size:
        kernel = "conv2d_forward_relu__winograd" if relu else "conv2d_forward__winograd"
        _launch(kernel, y, x, w, b, y, window(stride, padding, dilation))
    return y


def _grad_input(g, w, *, input_size, stride, padding, dilation, groups):
    xbar = poisoned(g, (len(g), w.shape[1], *input_size))
    for part, kernel, at in parts(xbar, w, stride, padding, dilation, groups):
        _launch("conv2d_grad_input__winograd", part, g, kernel, part, at)
    return xbar


def _launch(kernel, y, x, w, *arguments):
    grid = blocks(len(y) * blocks(y.shape[2], 2) * blocks(y.shape[3], 2), _TILES) * blocks(y.shape[1], _OUTPUTS)
    outputs_innermost = w.transpose(2, 3, 1, 0).copy().transpose(3, 2, 0, 1)
    _cu.launch(kernel, (grid,), (_THREADS,), x, outputs_innermost, *arguments)


def _serves(x_shape, w_shape, options, dtype, channels_last=False):
    geometry = (tuple(w_shape[2:]), options["stride"], options["dilation"], options["groups"])
    return bool(np.dtype(dtype) == np.float32 and geometry == ((3, 3), (1, 1), (1, 1), 1))


_NEEDS = "float32, 3 × 3, with stride 1, dilation 1 and one group; any C, any layout"
RUNGS = (
    Rung(
        4,
        "winograd",
        "Winograd's F(2 × 2, 3 × 3)",
        "Sums of cells and of weights are multiplied, 16 products for four outputs of 3 × 3 taps in the place of 36.",
        _cu.path,
        "conv2d.forward",
        _NEEDS,
        _serves,
        _forward,
        (30, 50),
        side=True,
        best_last=True,
    ),
)
GRADIENTS = (
    Rung(
        8,
        "winograd",
        "input gradient after Winograd",
        "With stride 1 the gradient of the input is a convolution of g with the kernel turned: the same side rung.",
        _cu.path,
        "conv2d.grad_input",
        _NEEDS,
        _serves,
        _grad_input,
        (30, 50),
        side=True,
        best_last=True,
    ),
)
