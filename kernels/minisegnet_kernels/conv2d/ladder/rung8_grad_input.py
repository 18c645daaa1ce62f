"""The host side of rung 8's gradient for the input in float32, ``rung8_grad_input.cu``."""

from __future__ import annotations

from ...cuda import Module
from ...layout import poisoned
from .permuted import parts
from .rung import FOLDER, Rung, is_float32, rows_of_weights
from .rung4_register_tile import outputs_of_a_tile, tiles

_cu = Module(FOLDER / "rung8_grad_input.cu")
#: The cases that rung 8 serves in float32, in words.
NEEDS = "float32 with channels last, multiples of four in each group, of the input and of the output"


def serves(case):
    return is_float32(case) and case.channels_last and case.channels % 4 == 0 and case.outputs % 4 == 0


def _grad_input(g, w, **options):
    return by_classes(_cu, "conv2d_grad_input__asynchronous", g, w, **options)


def by_classes(module, kernel, g, w, *, input_size, stride, padding, dilation, groups):
    """x̄, one launch of a kernel for each class of rows and columns (``permuted.parts``)."""
    N, C = g.shape[0], w.shape[1] * groups
    xbar = poisoned(g, (N, C, *input_size))
    outputs = outputs_of_a_tile(C // groups)
    for part, turned, at in parts(xbar, w, stride, padding, dilation, groups):
        grid = tiles(outputs, C // groups, groups, part.size // C, module.constant("PIXELS"))
        arrays = (g, rows_of_weights(turned), part)
        module.launch(kernel, (grid,), (2 * outputs,), *arrays, at, groups, OUTPUTS=outputs)
    return xbar


RUNGS = (
    Rung(
        number=8,
        name="asynchronous",
        title="the input gradient with permuted weights",
        idea="It is rung 5 with the kernel turned and its channels swapped; a stride cuts it into classes of rows and columns.",
        module=_cu,
        equation="conv2d.grad_input",
        needs=NEEDS,
        serves=serves,
        program=_grad_input,
        capability=(8, 0),
    ),
)
