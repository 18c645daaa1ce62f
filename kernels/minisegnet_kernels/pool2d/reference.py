"""Pooling in NumPy, written to be read beside ``formula.py``.

Every window is visited at one offset (u, v) at a time: `_offsets` gives the slices that cut,
out of the padded input, the cell that the offset meets in each window, an array with the axes
``i j``.
"""

import numpy as np

from ..arrays import scatter
from .formula import pooled_shape, winner_dtype


def forward(x, w, b, *, stride, padding, dilation, ceil_mode):
    y, m = _maximum(x, w, w.shape[1:], stride, padding, dilation, ceil_mode)
    return y + b[:, None, None], m


def max(x, *, kernel_size, stride, padding, dilation, ceil_mode):
    return _maximum(x, None, kernel_size, stride, padding, dilation, ceil_mode)


def _maximum(x, w, kernel_size, stride, padding, dilation, ceil_mode):
    shape = pooled_shape(x, kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode)
    windows = shape[2:]
    room = _room(x.shape[2:], kernel_size, windows, stride, padding, dilation)
    padded, inside = np.pad(x, ((0, 0), (0, 0), *room)), np.pad(np.ones_like(x, shape=x.shape[2:], dtype=bool), room)
    y, m = np.zeros_like(x, shape=shape), np.full_like(x, -1, shape=shape, dtype=np.int32)
    for place, u, v, cells in _offsets(kernel_size, windows, stride, dilation):
        value = padded[cells] if w is None else w[:, u, v, None, None] * padded[cells]  #: x, k, l
        wins = inside[cells] & ((m < 0) | (value > y) | np.isnan(value))
        y, m = np.where(wins, value, y), np.where(wins, place, m)
    return y, m.astype(winner_dtype(kernel_size))


def grad_input(g, m, w, *, input_size, stride, padding, dilation):
    return _to_winners(g, m, w, input_size, w.shape[1:], stride, padding, dilation)


def grad_max(g, m, *, input_size, kernel_size, stride, padding, dilation):
    return _to_winners(g, m, None, input_size, kernel_size, stride, padding, dilation)


def _to_winners(g, m, w, input_size, kernel_size, stride, padding, dilation):
    room = _room(input_size, kernel_size, g.shape[2:], stride, padding, dilation)
    xbar = _padded_zeros(g, input_size, room)
    for place, u, v, cells in _offsets(kernel_size, g.shape[2:], stride, dilation):
        share = g if w is None else w[:, u, v, None, None] * g  #: g
        xbar[cells] += np.where(m == place, share, 0)
    return _inside(xbar, input_size, room)


def grad_weight(g, m, x, *, kernel_size, stride, padding, dilation):
    room = _room(x.shape[2:], kernel_size, g.shape[2:], stride, padding, dilation)
    padded = np.pad(x, ((0, 0), (0, 0), *room))
    wbar = np.zeros_like(g, shape=(g.shape[1], *kernel_size))
    for place, u, v, cells in _offsets(kernel_size, g.shape[2:], stride, dilation):
        wbar[:, u, v] = np.where(m == place, g * padded[cells], 0).sum(axis=(0, 2, 3), dtype=np.float64)  #: g, x, k, l
    return wbar


def grad_bias(g):
    return g.sum(axis=(0, 2, 3), dtype=np.float64).astype(g.dtype)  #: bbar, g


def average(x, *, kernel_size, stride, padding, ceil_mode, count_include_pad):
    shape = pooled_shape(x, kernel_size=kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode)
    windows = shape[2:]
    room = _room(x.shape[2:], kernel_size, windows, stride, padding, (1, 1))
    padded = np.pad(x, ((0, 0), (0, 0), *room))
    y = np.zeros_like(x, shape=shape)
    for *_, cells in _offsets(kernel_size, windows, stride, (1, 1)):
        y += padded[cells]  #: k, l, x
    return y / _count(x, x.shape[2:], windows, kernel_size, stride, padding, count_include_pad)


def grad_average(g, *, input_size, kernel_size, stride, padding, count_include_pad):
    windows = g.shape[2:]
    room = _room(input_size, kernel_size, windows, stride, padding, (1, 1))
    share = g / _count(g, input_size, windows, kernel_size, stride, padding, count_include_pad)
    xbar = _padded_zeros(g, input_size, room)
    for *_, cells in _offsets(kernel_size, windows, stride, (1, 1)):
        xbar[cells] += share  #: g
    return _inside(xbar, input_size, room)


def _count(like, input_size, windows, kernel_size, stride, padding, count_include_pad):
    """a_{i,j}: how many cells of each window count."""
    room = _room(input_size, kernel_size, windows, stride, padding, (1, 1))
    beyond = [(0, r[1] - p[1]) for r, p in zip(room, padding, strict=True)]
    counts = np.pad(np.ones_like(like, shape=input_size), padding, constant_values=float(count_include_pad))
    counts = np.pad(counts, beyond)  # where a window of ceil_mode hangs over: never counted
    a = np.zeros_like(like, shape=tuple(windows))
    for *_, cells in _offsets(kernel_size, windows, stride, (1, 1)):
        a += counts[cells]
    return a


def adaptive_average(x, *, output_size):
    y = np.zeros_like(x, shape=(*x.shape[:2], *output_size))
    for i, j in np.ndindex(*output_size):
        y[:, :, i, j] = x[_region(i, j, x.shape[2:], output_size)].mean(axis=(2, 3), dtype=np.float64)
    return y


def grad_adaptive_average(g, *, input_size):
    xbar = np.zeros_like(g, shape=(*g.shape[:2], *input_size))
    for i, j in np.ndindex(*g.shape[2:]):
        region = xbar[_region(i, j, input_size, g.shape[2:])]  # a view: regions may share their border
        region += g[:, :, i, j, None, None] / (region.shape[2] * region.shape[3])
    return xbar


def _region(i, j, input_size, output_size):
    (H, W), (P, Q) = input_size, output_size
    return ..., slice(i * H // P, -(-(i + 1) * H // P)), slice(j * W // Q, -(-(j + 1) * W // Q))


def unpool(x, m, *, output_size):
    last, planes, _ = _last(m, output_size[0] * output_size[1])
    y = np.where(last >= 0, _lines(x)[planes, last], 0)  #: e, x
    return y.reshape(*x.shape[:2], *output_size)


def grad_unpool(g, m):
    last, planes, order = _last(m, g.shape[2] * g.shape[3])
    xbar = np.where(last[planes, _lines(m)] == order, _lines(g)[planes, _lines(m)], 0)  #: e, g
    return xbar.reshape(m.shape)


def _lines(a):
    """(N, C, H, W) → (N·C, H·W): a plane in row-major order."""
    return a.reshape(a.shape[0] * a.shape[1], a.shape[2] * a.shape[3])


def _last(m, size):
    """For every cell of every plane the place of the last value that goes there, −1 where none does.

    Also the numbers of the planes, as a column, and the places in their order.
    """
    places = m.shape[2] * m.shape[3]
    planes = np.arange(m.shape[0] * m.shape[1], like=m)[:, None]
    order = np.broadcast_to(np.arange(places, like=m), (planes.size, places))
    last = np.full_like(m, -1, shape=(planes.size, size))
    scatter(np.maximum, last.reshape(-1), (planes * size + _lines(m)).reshape(-1), order.reshape(-1))
    return last, planes, order


def _room(input_size, kernel_size, windows, stride, padding, dilation):
    """Padding of each side with room for every cell that a window meets, also beyond the end."""
    needed = [(p - 1) * s + d * (u - 1) + 1 for p, u, s, d in zip(windows, kernel_size, stride, dilation, strict=True)]
    after = [sorted([pad[1], n - h - pad[0]])[1] for n, h, pad in zip(needed, input_size, padding, strict=True)]
    return [(pad[0], a) for pad, a in zip(padding, after, strict=True)]


def _padded_zeros(like, input_size, room):
    return np.zeros_like(like, shape=(*like.shape[:2], *(sum(r) + size for r, size in zip(room, input_size, strict=True))))


def _inside(xbar, input_size, room):
    """The padded input without its padding."""
    (H, W), ((top, _), (left, _)) = input_size, room
    return xbar[:, :, top : top + H, left : left + W].copy()


def _offsets(kernel_size, windows, stride, dilation):
    """Place u V + v, u, v, and what cuts out of the padded input the cell that (u, v) meets in each window."""
    (U, V), (P, Q), (sh, sw), (dh, dw) = kernel_size, windows, stride, dilation
    for u, v in np.ndindex(U, V):
        rows, columns = slice(u * dh, u * dh + (P - 1) * sh + 1, sh), slice(v * dw, v * dw + (Q - 1) * sw + 1, sw)
        yield u * V + v, u, v, (..., rows, columns)
