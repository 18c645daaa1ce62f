"""The gradient for the input as convolutions of g with stride 1. Every rung for this gradient uses it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import gcd
from typing import Any


def parts(xbar, w, stride, padding, dilation, groups) -> Iterator[tuple[Any, Any, tuple[int, ...]]]:
    """The classes of x̄: for each a view of every s-th row and column, the kernel that computes it, and its `Window`.

    A class is the convolution of g with this kernel and stride 1. A class that no window covers is set to 0 and left out.
    """
    swapped = _channels_swapped(w, groups)
    axes = zip(stride, padding, dilation, w.shape[2:], strict=True)
    for rows, columns in product(*(_classes(s, p, d, taps) for s, (p, _), d, taps in axes)):
        part = xbar[:, :, rows.first :: stride[0], columns.first :: stride[1]]
        kernel = swapped[:, :, rows.taps, columns.taps]
        if part.size and kernel.size:
            yield part, kernel, (1, 1, rows.padding, columns.padding, rows.dilation, columns.dilation)
        elif part.size:
            part[...] = 0


def _channels_swapped(w: Any, groups: int) -> Any:
    """(O, C/G, U, V) → (C, O/G, U, V)."""
    O, C, U, V = w.shape
    return w.reshape(groups, O // groups, C, U, V).swapaxes(1, 2).reshape(groups * C, O // groups, U, V)


class _Class:
    """Rows first, first + s, … of x̄: the taps of the kernel that meet them, last tap first, and the convolution with these taps.

    Row k = first + s k′ meets tap u if i s + u d − p = k for some output row i. All such u are s / gcd(s, d) apart, starting
    from the least of them, u₀. With u = u₀ + t s / gcd(s, d) the output row is i = k′ + (first + p − u₀ d) / s − t d / gcd(s, d):
    a convolution of g, read backwards.
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
