"""The host side of rung 4, ``rung4_register_tile.cu``."""

from __future__ import annotations

from ...cuda import Module, blocks
from ...layout import poisoned
from .._geometry import window
from ..formula import output_shape
from .rung import FOLDER, Rung, is_float32, rows_of_weights

_cu = Module(FOLDER / "rung4_register_tile.cu")

#: The cases that rungs 4 and 5 serve, in words.
NEEDS = "float32 with channels last, a multiple of four in each group"


def serves(case):
    return is_float32(case) and case.channels_last and case.channels % 4 == 0


def outputs_of_a_tile(outputs: int) -> int:
    """128 output channels, or 64 where tiles of 128 would leave more than half a tile without work."""
    return 64 if blocks(outputs, 64) % 2 else 128


def tiles(outputs: int, group: int, groups: int, pixels: int, tall: int) -> int:
    """How many tiles of `tall` pixels × `outputs` channels the result has, with `group` channels in each of `groups`."""
    return blocks(pixels, tall) * groups * blocks(group, outputs)


def _forward(x, w, b, *, relu=False, stride, padding, dilation, groups):
    y = poisoned(x, output_shape(x, w, stride=stride, padding=padding, dilation=dilation))
    N, O, P, Q = y.shape
    outputs = outputs_of_a_tile(O // groups)
    grid = tiles(outputs, O // groups, groups, N * P * Q, _cu.constant("PIXELS"))
    kernel = "conv2d_forward_relu__register_tile" if relu else "conv2d_forward__register_tile"
    if y.size:
        at = window(stride, padding, dilation)
        _cu.launch(kernel, (grid,), (2 * outputs,), x, rows_of_weights(w), b, y, at, groups, OUTPUTS=outputs)
    return y


RUNGS = (
    Rung(
        number=4,
        name="register_tile",
        title="register tile",
        idea="A thread computes 8 × 8 results in registers, and numbers move in pieces of four, 16 bytes.",
        module=_cu,
        equation="conv2d.forward",
        needs=NEEDS,
        serves=serves,
        program=_forward,
    ),
)
