"""The host side of rung 6, ``rung6_tf32.cu``."""

from __future__ import annotations

from ...cuda import Module, blocks
from ...layout import poisoned
from .._geometry import window
from ..formula import output_shape
from .permuted import parts
from .rung import FOLDER, Rung, is_float32

_cu = Module(FOLDER / "rung6_tf32.cu")


def _forward(x, w, b, *, relu=False, stride, padding, dilation, groups):
    y = poisoned(x, output_shape(x, w, stride=stride, padding=padding, dilation=dilation))
    if y.size:
        at = window(stride, padding, dilation)
        _launch(f"conv2d_forward{'_relu' if relu else ''}__tf32", y, w, x, w.reshape(len(w), -1), b, y, at)
    return y


def _grad_input(g, w, *, input_size, stride, padding, dilation, groups):
    xbar = poisoned(g, (len(g), w.shape[1], *input_size))
    for part, kernel, at in parts(xbar, w, stride, padding, dilation, groups):
        _launch("conv2d_grad_input__tf32", part, kernel, g, kernel.reshape(len(kernel), -1), part, at)
    return xbar


def _launch(kernel, y, w, *arguments):
    grid = blocks(y.size // len(w), _cu.constant("PIXELS")) * blocks(len(w), _cu.constant("OUTPUTS"))
    _cu.launch(kernel, (grid,), (_cu.constant("THREADS"),), *arguments, *w.shape[2:])


def is_served_with_tf32(case):
    """Whether a case can be computed in TF32 at all."""
    return is_float32(case) and case.groups == 1


def _rung(program, equation, title, idea, needs):
    return Rung(
        number=6,
        name="tf32",
        title=title,
        idea=idea,
        module=_cu,
        equation=equation,
        needs=needs,
        serves=is_served_with_tf32,
        program=program,
        capability=(8, 0),
        tf32=True,
    )


RUNGS = (
    _rung(
        _forward,
        "conv2d.forward",
        "the tensor cores",
        "A warp multiplies 16 × 8 by 8 × 8 numbers, rounded to TF32, in one instruction; its lanes hold the fragments.",
        "float32 without groups, any layout, any C",
    ),
    _rung(
        _grad_input,
        "conv2d.grad_input",
        "the input gradient on the tensor cores",
        "The same program with the kernel turned and its channels swapped, for images that do not lie in pieces of 16 bytes.",
        "float32 without groups, any layout, any O",
    ),
)
