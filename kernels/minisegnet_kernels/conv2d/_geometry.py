"""Sizes that the host sides of both GPU programs, CUDA C++ and Numba, compute in the same way."""

from __future__ import annotations

from math import prod
from typing import Any

Pair = tuple[int, int]


def window(stride: Any, padding: Any, dilation: Any) -> tuple[int, ...]:
    """s_h, s_w, p_h, p_w, d_h, d_w: the struct ``Window`` of common.cuh. Padding counts above and at the left."""
    return (*stride, *(before for before, _ in padding), *dilation)


def turned(w: Any, groups: int) -> Any:
    """The kernel (O, C/G, U, V) turned by 180° with its channel axes swapped, (C, O/G, U, V).

    It is a view unless there are several groups of several channels.
    """
    O, Cg, U, V = w.shape
    grouped = w.reshape(groups, O // groups, Cg, U, V).swapaxes(1, 2)
    return grouped.reshape(groups * Cg, O // groups, U, V)[:, :, ::-1, ::-1]


def outside(kernel_size: Any, padding: Any, dilation: Any) -> tuple[int, ...]:
    """Padding with which a convolution of g with the `turned` kernel is the gradient of the input, for stride 1."""
    return tuple(d * (u - 1) - before for d, u, (before, _) in zip(dilation, kernel_size, padding, strict=True))


def halo(tile: Pair, kernel_size: Any, stride: Any, dilation: Any) -> int:
    """Cells of one input channel that the windows of a tile of outputs cover: those under it and the border around them."""
    axes = zip(tile, kernel_size, stride, dilation, strict=True)
    return prod((outputs - 1) * s + (taps - 1) * d + 1 for outputs, taps, s, d in axes)


def is_worth_a_tile(tile: Pair, kernel_size: Any, output: Any) -> bool:
    """Whether tiles of outputs (rung 2) suit a case better than one thread an output (rung 1).

    A tile is worth it if its outputs share cells, which takes a kernel of more than one cell, and if at least half of its
    threads have an output.
    """
    filled = prod(-(-size // outputs) * outputs for size, outputs in zip(output, tile, strict=True))
    return prod(kernel_size) > 1 and 2 * prod(output) >= filled


def slabs(shares: int, terms: int, results: int, busy: int) -> int:
    """Into how many slabs (partial sums) a sum over `shares` × `terms` products is split.

    Enough that `busy` threads have work although there are few `results`, and that no thread adds more than 4096 products
    one after another, which would cost time and, in float32, digits. It depends on shapes alone, so the order of
    additions is the same in every run.
    """
    wanted = max(-(-busy // max(results, 1)), -(-shares * terms // 4096))
    return max(1, min(shares, wanted))
