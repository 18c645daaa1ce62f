"""Resizing on the CPU, compiled by Numba: one kernel for all four equations.

Each is a sum over a few rows and a few columns with known weights. These are looked up in
tables, made once for each pair of sizes: entry (a, i) is the a-th source row that target row i
reads, and its weight. For the gradients the tables are turned round, so that an input pixel
gathers from the outputs that read it, in a fixed order, and no two tasks write to one place.

The rows are combined first, into one line that stays in the cache and whose columns are
combined afterwards: with K rows and K columns that is 2 K products an output, and not K².
"""

from functools import lru_cache

import numpy as np

from ..jit import kernel, prange

_BAND = 16  # target rows of one task


@kernel
def _resample(x, rows, row_weights, columns, column_weights, y):
    planes, _, W = x.shape
    _, P, Q = y.shape
    bands = (P + _BAND - 1) // _BAND
    for task in prange(planes * bands):
        plane, first = task // bands, task % bands * _BAND
        line = np.empty(W, x.dtype)
        for i in range(first, min(first + _BAND, P)):
            line[:] = 0
            for a in range(rows.shape[0]):
                source, weight = x[plane, rows[a, i]], row_weights[a, i]  #: g
                if weight != 0:
                    for l in range(W):
                        line[l] += weight * source[l]
            out = y[plane, i]  #: xbar
            out[:] = 0
            for a in range(columns.shape[0]):
                index, weights = columns[a], column_weights[a]
                for j in range(Q):
                    out[j] += weights[j] * line[index[j]]


def _coordinates(size, target, align_corners):
    """`coordinate` of every position, in its own arithmetic."""
    i = np.arange(target)
    if align_corners:
        return i * (size - 1) / (target - 1) if target > 1 else np.zeros(1)
    return np.clip((i + 0.5) * size / target - 0.5, 0.0, size - 1.0)


@lru_cache(maxsize=256)
def _tents(size, target, align_corners, dtype):
    """Input positions and weights for each output position."""
    h = _coordinates(size, target, align_corners)  #: w
    low = h.astype(np.int64)
    part = h - low
    return np.stack([low, np.minimum(low + 1, size - 1)]), np.stack([1 - part, part]).astype(dtype)


@lru_cache(maxsize=256)
def _tents_turned(size, target, align_corners, dtype):
    """Output positions and weights for each input position: those nearer than 1."""
    h, k = _coordinates(size, target, align_corners), np.arange(size)  #: w
    index, taken = _between(np.searchsorted(h, k - 1, "right"), np.searchsorted(h, k + 1, "left"))
    return index, np.where(taken, 1 - np.abs(h[index] - k), 0).astype(dtype)


@lru_cache(maxsize=256)
def _picks(size, target, dtype):
    return (np.arange(target) * size // target)[None], np.ones((1, target), dtype)  #: k, l


@lru_cache(maxsize=256)
def _picks_turned(size, target, dtype):
    rows, k = np.arange(target) * size // target, np.arange(size)
    index, taken = _between(np.searchsorted(rows, k, "left"), np.searchsorted(rows, k, "right"))
    return index, taken.astype(dtype)


def _between(low, high):
    """For each output the input positions low ... high − 1, padded to one length by repeating the first, and a mask of the real ones."""
    offsets = np.arange(max((high - low).max(), 1))[:, None]
    taken = low + offsets < high
    return np.where(taken, low + offsets, np.minimum(low, max(high.max() - 1, 0))), taken


def _run(x, output_size, tables):
    y = np.empty_like(x, shape=(*x.shape[:2], *output_size))  # first: a size that memory cannot hold is refused before tables are made
    (rows, row_weights), (columns, column_weights) = tables()
    _resample(x.reshape(-1, *x.shape[2:]), rows, row_weights, columns, column_weights, y.reshape(-1, *output_size))
    return y


def bilinear(x, *, output_size, align_corners):
    axes = zip(x.shape[2:], output_size, strict=True)
    return _run(x, output_size, lambda: [_tents(*axis, align_corners, x.dtype) for axis in axes])


def grad_bilinear(g, *, input_size, align_corners):
    axes = zip(input_size, g.shape[2:], strict=True)
    return _run(g, input_size, lambda: [_tents_turned(*axis, align_corners, g.dtype) for axis in axes])


def nearest(x, *, output_size):
    axes = zip(x.shape[2:], output_size, strict=True)
    return _run(x, output_size, lambda: [_picks(*axis, x.dtype) for axis in axes])


def grad_nearest(g, *, input_size):
    axes = zip(input_size, g.shape[2:], strict=True)
    return _run(g, input_size, lambda: [_picks_turned(*axis, g.dtype) for axis in axes])
