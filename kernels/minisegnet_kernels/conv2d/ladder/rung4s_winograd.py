"""The host side of the side rung, ``rung4s_winograd.cu``."""

from __future__ import annotations

from ...cuda import Module, blocks
from ...layout import poisoned
from .._geometry import window
from ..formula import output_shape
from .permuted import parts
from .rung import FOLDER, Rung, is_float32

_cu = Module(FOLDER / "rung4s_winograd.cu")


def _forward(x, w, b, *, relu=False, stride, padding, dilation, groups):
    y = poisoned(x, output_shape(x, w, stride=stride, padding=padding, dilation=dilation))
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
    tiles = len(y) * blocks(y.shape[2], 2) * blocks(y.shape[3], 2)
    grid = blocks(tiles, _cu.constant("TILES")) * blocks(y.shape[1], _cu.constant("OUTPUTS"))
    outputs_innermost = w.transpose(2, 3, 1, 0).copy().transpose(3, 2, 0, 1)
    _cu.launch(kernel, (grid,), (_cu.constant("THREADS"),), x, outputs_innermost, *arguments)


def _serves(case):
    geometry = (case.kernel_size, case.stride, case.dilation, case.groups)
    return is_float32(case) and geometry == ((3, 3), (1, 1), (1, 1), 1)


def _rung(program, equation, title, idea):
    return Rung(
        number=4,
        side=True,
        name="winograd",
        title=title,
        idea=idea,
        module=_cu,
        equation=equation,
        needs="float32, 3 × 3, with stride 1, dilation 1 and one group; any C, any layout",
        serves=_serves,
        program=program,
        best_last=True,
    )


RUNGS = (
    _rung(
        _forward,
        "conv2d.forward",
        "Winograd's F(2 × 2, 3 × 3)",
        "Sums of cells and of weights are multiplied: 16 products for four outputs of 3 × 3 taps instead of 36.",
    ),
    _rung(
        _grad_input,
        "conv2d.grad_input",
        "the input gradient by Winograd",
        "With stride 1 the gradient for the input is a convolution of g with the kernel turned: the same program.",
    ),
)
