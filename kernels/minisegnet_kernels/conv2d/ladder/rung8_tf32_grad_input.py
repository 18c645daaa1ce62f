"""The host side of rung 8's gradient for the input on the tensor cores, ``rung8_tf32_grad_input.cu``."""

from __future__ import annotations

from ...cuda import Module
from ...layout import poisoned
from .permuted import parts
from .rung import FOLDER, Rung, rows_of_weights
from .rung6_tf32 import is_served_with_tf32
from .rung7_tf32_tuned import over_pixels

_cu = Module(FOLDER / "rung8_tf32_grad_input.cu")


def _grad_input(g, w, *, input_size, stride, padding, dilation, groups):
    xbar = poisoned(g, (len(g), w.shape[1], *input_size))
    for part, kernel, at in parts(xbar, rows_of_weights(w), stride, padding, dilation, groups):
        over_pixels(_cu, "conv2d_grad_input", part, g, kernel.swapaxes(0, 1), part, at, *kernel.shape[2:])
    return xbar


def _serves(case):
    return is_served_with_tf32(case) and case.channels_last and case.outputs % 4 == 0 and case.channels % 4 == 0


RUNGS = (
    Rung(
        number=8,
        name="tf32_tuned",
        title="the input gradient on the tensor cores",
        idea="It is rung 7 with the kernel turned, read along its other channels; a stride cuts it into classes of rows and columns.",
        module=_cu,
        equation="conv2d.grad_input",
        needs="float32 without groups, g channels last with O and C multiples of 4",
        serves=_serves,
        program=_grad_input,
        capability=(8, 0),
        tf32=True,
    ),
)
