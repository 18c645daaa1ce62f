"""The host side of rung 4, ``04_register_tile.cu``."""

from __future__ import annotations

import numpy as np

from ...cuda import Module, blocks
from ...layout import poisoned
from .._geometry import output_shape, window
from .rung import FOLDER, Rung, rows_of_weights

_cu = Module(FOLDER / "04_register_tile")
_PIXELS = 128  # as in the file

#: What rungs 4 and 5 need, in words.
NEEDS = "float32 with channels last, a multiple of four in each group"


def outputs_of_a_tile(outputs: int) -> int:
    """128, or 64 where the tiles of 128 would have more than half a tile without work."""
    return 64 if blocks(outputs, 64) % 2 else 128


def tiles(outputs: int, group: int, groups: int, pixels: int) -> int:
    """How many blocks make the product, with tiles of so many `outputs`."""
    return blocks(pixels, _PIXELS) * groups * blocks(group, outputs)


def serves(x_shape, w_shape, options, dtype, channels_last=False):
    return np.dtype(dtype) == np.float32 and channels_last and w_shape[1] % 4 == 0


def _forward(x, w, b, *, relu=False, stride, padding, dilation, groups):
    y = poisoned(x, output_shape(x, w, stride, padding, dilation))
    N, O, P, Q = y.shape
    outputs = outputs_of_a_tile(O // groups)
    grid = tiles(outputs, O // groups, groups, N * P * Q)
    kernel = "conv2d_forward_relu__register_tile" if relu else "conv2d_forward__register_tile"
    if y.size:
        at = window(stride, padding, dilation)
        _cu.launch(kernel, (grid,), (2 * outputs,), x, rows_of_weights(w), b, y, at, groups, OUTPUTS=outputs)
    return y


RUNGS = (
    Rung(
        4,
        "register_tile",
        "register tile",
        "A thread makes 8 × 8 results in registers, and numbers travel in fours of 16 bytes.",
        _cu.path,
        "conv2d.forward",
        NEEDS,
        serves,
        _forward,
        (20, 30),
    ),
)
