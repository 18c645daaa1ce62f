"""The host side of rung 5, ``05_asynchronous.cu``."""

from __future__ import annotations

from ...cuda import Module, empty
from .._geometry import output_shape, window
from .register_tile import NEEDS, outputs_of_a_tile, serves, tiles
from .rung import FOLDER, Rung, rows_of_weights

_cu = Module(FOLDER / "05_asynchronous")


def _forward(x, w, b, *, relu=False, stride, padding, dilation, groups):
    y = empty(x, output_shape(x, w, stride, padding, dilation))
    N, O, P, Q = y.shape
    outputs = outputs_of_a_tile(O // groups)
    grid = tiles(outputs, O // groups, groups, N * P * Q)
    kernel = "conv2d_forward_relu__asynchronous" if relu else "conv2d_forward__asynchronous"
    if y.size:
        at = window(stride, padding, dilation)
        _cu.launch(kernel, (grid,), (2 * outputs,), x, rows_of_weights(w), b, y, at, groups, OUTPUTS=outputs)
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
    ),
)
