"""The host side of rung 5, ``05_asynchronous.cu``."""

from __future__ import annotations

from ...cuda import Module, blocks
from ...layout import poisoned
from .._geometry import output_shape, window
from .register_tile import NEEDS, outputs_of_a_tile, serves, tiles
from .rung import FOLDER, Rung, rows_of_weights

_cu = Module(FOLDER / "05_asynchronous")


#: Pixels of a block, as in the file: with statistics, a slab.
_SLAB = 128


def _forward(x, w, b, *, relu=False, stride, padding, dilation, groups):
    return _launched("conv2d_forward_relu" if relu else "conv2d_forward", x, w, b, stride, padding, dilation, groups)


def _forward_statistics(x, w, b, *, stride, padding, dilation, groups):
    O, P, Q = output_shape(x, w, stride, padding, dilation)[1:]
    means, spreads = (poisoned(b, (O, blocks(len(x) * P * Q, _SLAB))) for _ in range(2))
    y = _launched("conv2d_forward_statistics", x, w, b, stride, padding, dilation, groups, means, spreads)
    return y, (means, spreads, _SLAB)


def _launched(equation, x, w, b, stride, padding, dilation, groups, *slabs):
    y = poisoned(x, output_shape(x, w, stride, padding, dilation))
    N, O, P, Q = y.shape
    outputs = outputs_of_a_tile(O // groups)
    grid = tiles(outputs, O // groups, groups, N * P * Q)
    if y.size:
        at = window(stride, padding, dilation)
        arguments = (x, rows_of_weights(w), b, y, at, groups, *slabs)
        _cu.launch(f"{equation}__asynchronous", (grid,), (2 * outputs,), *arguments, OUTPUTS=outputs)
    return y


RUNGS = (
    Rung(
        5,
        "asynchronous",
        "asynchronous copies",
        "The next step is copied while this one is computed; no division in the loop; bias and ReLU in registers.",
        _cu.path,
        "conv2d.forward",
        NEEDS,
        serves,
        _forward,
        (28, 40),
        with_statistics=_forward_statistics,
    ),
)
