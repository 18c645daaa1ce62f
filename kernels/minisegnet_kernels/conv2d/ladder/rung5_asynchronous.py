"""The host side of rung 5, ``rung5_asynchronous.cu``."""

from __future__ import annotations

from ...cuda import Module, blocks
from ...layout import poisoned
from .._geometry import window
from ..formula import output_shape
from .rung import FOLDER, Rung, rows_of_weights
from .rung4_register_tile import NEEDS, outputs_of_a_tile, serves, tiles

_cu = Module(FOLDER / "rung5_asynchronous.cu")


def _forward(x, w, b, *, relu=False, stride, padding, dilation, groups):
    return _launched("conv2d_forward_relu" if relu else "conv2d_forward", x, w, b, stride, padding, dilation, groups)


def _forward_statistics(x, w, b, *, stride, padding, dilation, groups):
    O, P, Q = output_shape(x, w, stride=stride, padding=padding, dilation=dilation)[1:]
    slab = _cu.constant("PIXELS")  # the pixels of a block
    means, spreads = (poisoned(b, (O, blocks(len(x) * P * Q, slab))) for _ in range(2))
    y = _launched("conv2d_forward_statistics", x, w, b, stride, padding, dilation, groups, means, spreads)
    return y, (means, spreads, slab)


def _launched(equation, x, w, b, stride, padding, dilation, groups, *slabs):
    y = poisoned(x, output_shape(x, w, stride=stride, padding=padding, dilation=dilation))
    N, O, P, Q = y.shape
    outputs = outputs_of_a_tile(O // groups)
    grid = tiles(outputs, O // groups, groups, N * P * Q, _cu.constant("PIXELS"))
    if y.size:
        at = window(stride, padding, dilation)
        arguments = (x, rows_of_weights(w), b, y, at, groups, *slabs)
        _cu.launch(f"{equation}__asynchronous", (grid,), (2 * outputs,), *arguments, OUTPUTS=outputs)
    return y


RUNGS = (
    Rung(
        number=5,
        name="asynchronous",
        title="asynchronous copies",
        idea="The next step is copied while this one is computed; no division in the loop; bias and ReLU in registers.",
        module=_cu,
        equation="conv2d.forward",
        needs=NEEDS,
        serves=serves,
        program=_forward,
        capability=(8, 0),
        with_statistics=_forward_statistics,
    ),
)
