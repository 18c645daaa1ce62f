"""The host side of rung 8 in float32, ``08_gradients.cu``: weights are permuted, sums are split."""

from __future__ import annotations

from itertools import product
from math import gcd, prod
from typing import Any

import numpy as np

from ...cuda import Module, blocks
from ...layout import poisoned
from .._geometry import window
from .register_tile import outputs_of_a_tile, tiles
from .rung import FOLDER, Rung, rows_of_weights

_cu = Module(FOLDER / "08_gradients")
#: As in the file: a tile of w̄ is 64 outputs × 128 terms, and 16 pixels are a step.
_ROWS, _TERMS, _DEPTH, _THREADS = 64, 128, 16, 128
#: Blocks that keep a GPU busy: two on each multiprocessor of the largest.
_BUSY = 264
#: Pixels of a slab, at least: with fewer, to write the slabs and to add them would cost more than the sums.
_LEAST = 128


def _serves(x_shape, w_shape, options, dtype, channels_last=False):
    outputs = w_shape[0] // options["groups"]
    return bool(np.dtype(dtype) == np.float32 and channels_last and w_shape[1] % 4 == 0 and outputs % 4 == 0)


# --- gradient for the kernel ------------------------------------------------------------------------


def _grad_weight(g, x, *, kernel_size, stride, padding, dilation, groups):
    (N, O, P, Q), C = g.shape, x.shape[1] // groups
    wbar = poisoned(g, (O, C, *kernel_size))
    grid = groups * blocks(O // groups, _ROWS) * blocks(C * prod(kernel_size), _TERMS)
    share = _share(N * P * Q, grid)
    count = blocks(N * P * Q, share)
    slabs = poisoned(g, (count * O * prod(kernel_size) * C,)).reshape(count * O, *kernel_size, C).transpose(0, 3, 1, 2)
    at = window(stride, padding, dilation)
    _cu.launch("conv2d_grad_weight__asynchronous", (grid * count,), (_THREADS,), g, x, slabs, at, groups, share)
    _cu.over("conv2d_grad_weight__asynchronous_sum", wbar.size, slabs, wbar)
    return wbar


def _share(pixels: int, grid: int) -> int:
    """Pixels of a slab, whole steps: so many that all blocks are busy, and at most 4096, for the digits of a float32 sum."""
    wanted = max(blocks(_BUSY, grid), blocks(pixels, 4096))
    return blocks(max(blocks(pixels, wanted), _LEAST), _DEPTH) * _DEPTH


# --- gradient for the input -------------------------------------------------------------------------


def _grad_input(g, w, *, input_size, stride, padding, dilation, groups):
    N, C = g.shape[0], w.shape[1] * groups
    xbar = poisoned(g, (N, C, *input_size))
    for part, kernel, at in parts(xbar, w, stride, padding, dilation, groups):
        outputs = outputs_of_a_tile(C // groups)
        grid = tiles(outputs, C // groups, groups, part.size // C)
        arrays = (g, rows_of_weights(kernel), part)
        _cu.launch("conv2d_grad_input__asynchronous", (grid,), (2 * outputs,), *arrays, at, groups, OUTPUTS=outputs)
    return xbar


def parts(xbar, w, stride, padding, dilation, groups):
    """Every s-th row and column of x̄, the kernel that makes them by a convolution of g with stride 1, and its `Window`.

    Parts that no window reaches are set to 0 and left out.
    """
    turned = _channels_changed_over(w, groups)
    axes = zip(stride, padding, dilation, w.shape[2:], strict=True)
    for rows, columns in product(*(_classes(s, p, d, taps) for s, (p, _), d, taps in axes)):
        part = xbar[:, :, rows.first :: stride[0], columns.first :: stride[1]]
        kernel = turned[:, :, rows.taps, columns.taps]
        if part.size and kernel.size:
            yield part, kernel, (1, 1, rows.padding, columns.padding, rows.dilation, columns.dilation)
        elif part.size:
            part[...] = 0


def _channels_changed_over(w: Any, groups: int) -> Any:
    """(O, C/G, U, V) → (C, O/G, U, V)."""
    O, C, U, V = w.shape
    return w.reshape(groups, O // groups, C, U, V).swapaxes(1, 2).reshape(groups * C, O // groups, U, V)


class _Class:
    """Rows first, first + s, … of x̄: the taps of the kernel that reach them, last tap first, and the convolution that these make.

    Row k = first + s k′ meets tap u where i s + u d − p = k. All such u lie s / gcd(s, d) apart, from the least of them, u₀, on;
    with u = u₀ + t s / gcd(s, d) it is i = k′ + (first + p − u₀ d) / s − t d / gcd(s, d): a convolution of g, read backwards.
    """

    def __init__(self, first: int, stride: int, padding: int, dilation: int, kernel: int):
        self.first = first
        every = stride // gcd(stride, dilation)
        least = next((u for u in range(kernel) if (first + padding - u * dilation) % stride == 0), kernel)
        reached = range(least, kernel, every)
        before = reached.start - every
        self.taps = slice(reached[-1], before if before >= 0 else None, -every) if reached else slice(0, 0)
        self.dilation = dilation // gcd(stride, dilation)
        self.padding = (len(reached) - 1) * self.dilation - (first + padding - least * dilation) // stride


def _classes(stride: int, padding: int, dilation: int, kernel: int) -> list[_Class]:
    return [_Class(first, stride, padding, dilation, kernel) for first in range(stride)]


_NEEDS = "float32 with channels last, multiples of four in each group, of the input and of the output"
RUNGS = (
    Rung(
        8,
        "asynchronous",
        "input gradient with permuted weights",
        "The gradient of the input is rung 5 with the kernel turned; a stride cuts it into classes of rows and columns.",
        _cu.path,
        "conv2d.grad_input",
        _NEEDS,
        _serves,
        _grad_input,
        (20, 36),
    ),
    Rung(
        8,
        "asynchronous",
        "weight gradient with split reduction",
        "The sum over pixels is split into slabs, which are added in a fixed order.",
        _cu.path,
        "conv2d.grad_weight",
        _NEEDS,
        _serves,
        _grad_weight,
        (14, 25),
    ),
)
