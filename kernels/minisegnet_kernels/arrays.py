"""Array arithmetic that has to give the same results in NumPy and in CuPy.

CuPy differs from NumPy in two ways that matter here. Its element-wise functions always write rows first, whatever the
layout of their operands, so a channels-last network would lose its layout at the first ``+``. And its ``add.at``
adds with atomics, in an order that changes from run to run, and does not accept a tuple of indices.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from .layout import is_channels_last

_TO_ROWS, _TO_CHANNELS = (0, 2, 3, 1), (0, 3, 1, 2)


def alike(function: Callable, *operands: Any) -> Any:
    """``function(*operands)``, channels last if one of the operands is.

    Parameters
    ----------
    function : callable
        Works element by element, with broadcasting: a ufunc, ``where``, ...
    *operands : arrays or numbers

    Returns
    -------
    array
    """
    if not _flows_channels_last(operands):
        return function(*operands)
    return function(*map(_turned, operands)).transpose(_TO_CHANNELS)


def elementwise(function: Callable) -> Callable:
    """Decorate a value-and-pullback function that works element by element: its results have the layout of its operands.

    The order of the axes does not matter to an element-wise function. If an operand is an image batch in channels
    last, the function therefore gets every operand with the axes (N, H, W, C) and writes rows first, and the results
    are transposed back to (N, C, H, W).
    """

    @wraps(function)
    def apply(*operands: Any, **options: Any) -> Any:
        if not _flows_channels_last(operands):
            return function(*operands, **options)
        value, pullback = function(*map(_turned, operands), **options)

        def turned_pullback(g):
            products = pullback(_turned(g))
            return tuple(None if p is None else lambda p=p: p().transpose(_TO_CHANNELS) for p in products)

        return value.transpose(_TO_CHANNELS), turned_pullback

    return apply


def _flows_channels_last(operands: tuple) -> bool:
    last = False
    for a in operands:
        axes = getattr(a, "ndim", 0)
        if axes > 4:
            return False
        last = last or (axes == 4 and is_channels_last(a))
    return last


def _turned(a: Any) -> Any:
    """(N, C, H, W) → (N, H, W, C). Missing axes are first added in front with length 1, as in broadcasting; numbers stay."""
    if getattr(a, "ndim", 0) == 0:
        return a
    return a.reshape((1,) * (4 - a.ndim) + a.shape).transpose(_TO_ROWS)


def scatter(combine: np.ufunc, into: Any, index: Any, values: Any) -> None:
    """``into[index[k]] = combine(into[index[k]], values[k])`` for every k, also where an index occurs several times.

    The order is fixed, so the bits are the same in every run.

    Parameters
    ----------
    combine : ufunc
        Associative: ``np.add``, ``np.maximum``.
    into : array, (rows, ...)
        Changed in place.
    index : array of integers, (n,)
        Each at least 0 and less than the number of rows.
    values : array, (n, ...)
    """
    if isinstance(into, np.ndarray):
        combine.at(into, index, values)
    else:
        _scatter_in_pairs(combine, into, index, values)


def _scatter_in_pairs(combine: np.ufunc, into: Any, index: Any, values: Any) -> None:
    """`scatter` without atomics: the values for a row are combined in pairs, then the results in pairs again, and so on."""
    order = np.argsort(index, kind="stable")  # brings the values for a row next to each other
    index, values = index[order], values[order]
    while len(index):
        first = np.ones_like(index, dtype=bool)  # whether a value is the first one for its row
        first[1:] = index[1:] != index[:-1]
        if bool(first.all()):
            break
        starts = np.flatnonzero(first)
        rank = np.arange(len(index), like=index) - starts[np.cumsum(first) - 1]
        left = rank % 2 == 0
        pairs = np.flatnonzero(left[:-1] & ~first[1:])
        values[pairs] = combine(values[pairs], values[pairs + 1])
        index, values = index[left], values[left]
    into[index] = combine(into[index], values)
