"""Pooling on the CPU, compiled by Numba.

Thread map: one task = one row of the output, or one row of the input for the gradient of an
average, or one plane for a gradient that follows the winners in order. No two tasks write to the
same place, so the result does not depend on the number of threads.

A task computes its row one offset (u, v) at a time, for all j at which the offset meets the input
(`_columns`). It first copies the cells that the offset meets side by side (`_side_by_side`). The
innermost loop then has no test for padding and no gaps, and becomes vector code.
"""

import numpy as np

from ..jit import inline, kernel, prange, total
from .formula import pooled_shape, winner_dtype


def _planes(a):
    """(N, C, …) → (N·C, …): channels are independent of each other."""
    return a.reshape(-1, *a.shape[2:])


def _lines(a):
    """(N, C, H, W) → (N·C, H·W): a plane in row-major order."""
    return a.reshape(a.shape[0] * a.shape[1], a.shape[2] * a.shape[3])


def _at(stride, padding, dilation=(1, 1)):
    return *stride, padding[0][0], padding[1][0], *dilation


@inline
def _columns(v, windows, size, stride, padding, dilation):
    """First and last + 1 of the j with 0 ≤ j s + v d − p < size; then the l of the first."""
    start = v * dilation - padding
    first = 0 if start >= 0 else (stride - 1 - start) // stride
    return first, min(windows, (size - start + stride - 1) // stride), start + first * stride


@inline
def _side_by_side(line, l, count, stride, buffer):
    """The cells l, l + s, l + 2 s, … of a line, without the gaps between them."""
    if stride == 1:
        return line[l : l + count]
    for j in range(count):
        buffer[j] = line[l + j * stride]
    return buffer[:count]


# --- the maximum ----------------------------------------------------------------------------


def max(x, *, kernel_size, stride, padding, dilation, ceil_mode):
    y, m = _value_and_winner(x, kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode)
    if _halves(kernel_size, stride, padding, dilation, x.shape[2:], y.shape[2:]):
        _max_2x2(_planes(x), _planes(y), _planes(m))
    else:
        _maximum(_planes(x), None, None, _planes(y), _planes(m), *kernel_size, *_at(stride, padding, dilation))
    return y, m


def forward(x, w, b, *, stride, padding, dilation, ceil_mode):
    y, m = _value_and_winner(x, kernel_size=w.shape[1:], stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode)
    _maximum(_planes(x), w, b, _planes(y), _planes(m), *w.shape[1:], *_at(stride, padding, dilation))
    return y, m


def _value_and_winner(x, **options):
    shape = pooled_shape(x, **options)
    return np.empty(shape, x.dtype), np.empty(shape, winner_dtype(options["kernel_size"]))


def _halves(kernel_size, stride, padding, dilation, input_size, outputs):
    """Whether the windows are whole 2 × 2 tiles: the pooling of nearly every network."""
    tiles = tuple(kernel_size) == tuple(stride) == (2, 2) and tuple(dilation) == (1, 1)
    return tiles and (padding[0][0], padding[1][0]) == (0, 0) and 2 * outputs[0] <= input_size[0] and 2 * outputs[1] <= input_size[1]


@kernel
def _max_2x2(x, y, m):
    planes, P, Q = y.shape
    for task in prange(planes * P):
        t, i = task // P, task % P
        upper, lower = x[t, 2 * i], x[t, 2 * i + 1]
        for j in range(Q):
            best, winner = upper[2 * j], 0
            value = upper[2 * j + 1]
            wins = (value > best) | (value != value)
            best, winner = value if wins else best, 1 if wins else winner
            value = lower[2 * j]
            wins = (value > best) | (value != value)
            best, winner = value if wins else best, 2 if wins else winner
            value = lower[2 * j + 1]
            wins = (value > best) | (value != value)
            best, winner = value if wins else best, 3 if wins else winner
            y[t, i, j], m[t, i, j] = best, winner


@kernel
def _maximum(x, w, b, y, m, U, V, sh, sw, ph, pw, dh, dw):
    """Without weights, w and b are None."""
    planes, P, Q = y.shape
    _, H, W = x.shape
    for task in prange(planes * P):
        t, i = task // P, task % P
        buffer, winners = np.empty(Q, x.dtype), np.full(Q, -1, np.int32)
        y[t, i] = 0
        for u in range(U):
            k = i * sh + u * dh - ph
            if 0 <= k < H:
                for v in range(V):
                    first, last, l = _columns(v, Q, W, sw, pw, dw)
                    cells = _side_by_side(x[t, k], l, last - first, sw, buffer)
                    best, winner, place = y[t, i, first:last], winners[first:last], np.int32(u * V + v)
                    for j in range(last - first):
                        value = cells[j]
                        if w is not None:
                            value *= w[t % w.shape[0], u, v]  #: x
                        wins = (winner[j] < 0) | (value > best[j]) | (value != value)
                        best[j] = value if wins else best[j]
                        winner[j] = place if wins else winner[j]
        for j in range(Q):
            m[t, i, j] = winners[j]
            if b is not None:
                y[t, i, j] += b[t % b.size]


# --- gradients of the maximum: one task follows the winners of a plane in row-major order ---


def grad_max(g, m, *, input_size, kernel_size, stride, padding, dilation):
    return _to_winners(g, m, None, input_size, kernel_size, stride, padding, dilation)


def grad_input(g, m, w, *, input_size, stride, padding, dilation):
    return _to_winners(g, m, w.reshape(w.shape[0], -1), input_size, w.shape[1:], stride, padding, dilation)


def _to_winners(g, m, w, input_size, kernel_size, *options):
    xbar, (steps, *layout) = np.empty((*g.shape[:2], *input_size), g.dtype), _layout(input_size, kernel_size, g.shape[2:], *options)
    if w is not None:
        w = np.pad(w, ((0, 0), (0, steps.size - w.shape[1])))  # places behind the window get the weight 0
    _add_to_winners(_planes(g), _planes(m), w, _planes(xbar), steps, *layout)
    return xbar


def _layout(input_size, kernel_size, windows, stride, padding, dilation):
    """The layout of a padded plane that has room for every place of every window, so that a winner needs no test for its position.

    Returns the distance of each place u V + v from the start of its window, of a window from the one above and
    from the one before; then the numbers of rows and columns of the plane, and of those before the input.
    """
    (U, V), (dh, dw), before = kernel_size, dilation, [p[0] for p in padding]
    axes = zip(before, input_size, windows, stride, kernel_size, dilation, strict=True)
    rows, columns = (sorted((p + h, (n - 1) * s + (u - 1) * d + 1))[1] for p, h, n, s, u, d in axes)
    steps = np.zeros(1 << (U * V - 1 | 255).bit_length(), np.int64)  # a power of two: `place & last` never leaves it
    steps[: U * V] = np.add.outer(np.arange(U) * dh * columns, np.arange(V) * dw).reshape(-1)
    return steps, stride[0] * columns, stride[1], rows, columns, *before


@kernel
def _add_to_winners(g, m, w, xbar, steps, down, right, rows, columns, top, left):
    """Without weights, w is None."""
    planes, P, Q = g.shape
    _, H, W = xbar.shape
    last = steps.size - 1
    for t in prange(planes):
        padded = np.zeros(rows * columns, xbar.dtype)
        for i in range(P):
            values, winners, window = g[t, i], m[t, i], padded[i * down :]
            for j in range(Q):
                place = winners[j] & last
                share = values[j] if w is None else w[t % w.shape[0], place] * values[j]  #: g
                window[j * right + steps[place]] += share
        for k in range(H):
            row, line = xbar[t, k], padded[(k + top) * columns + left :]
            for l in range(W):
                row[l] = line[l]


def grad_weight(g, m, x, *, kernel_size, stride, padding, dilation):
    steps, *layout = _layout(x.shape[2:], kernel_size, g.shape[2:], stride, padding, dilation)
    planes = np.zeros((*g.shape[:2], steps.size))  # one part for each plane, added in order
    _grad_weight(_planes(g), _planes(m), _planes(x), _planes(planes), steps, *layout)
    U, V = kernel_size
    return planes[..., : U * V].sum(axis=0).astype(g.dtype).reshape(-1, U, V)


@kernel
def _grad_weight(g, m, x, wbar, steps, down, right, rows, columns, top, left):
    planes, P, Q = g.shape
    _, H, W = x.shape
    last = steps.size - 1
    for t in prange(planes):
        padded = np.zeros(rows * columns, x.dtype)
        for k in range(H):
            row, line = x[t, k], padded[(k + top) * columns + left :]
            for l in range(W):
                line[l] = row[l]
        for i in range(P):
            values, winners, window = g[t, i], m[t, i], padded[i * down :]
            for j in range(Q):
                place = winners[j] & last
                wbar[t, place] += values[j] * window[j * right + steps[place]]  #: g, x


def grad_bias(g):
    planes = np.zeros(g.shape[:2])
    _grad_bias(_lines(g), planes.reshape(-1))
    return planes.sum(axis=0).astype(g.dtype)


@kernel
def _grad_bias(g, bbar):
    for t in prange(g.shape[0]):
        bbar[t] = total(g[t])


# --- averages -------------------------------------------------------------------------------


def _count(windows, size, kernel, stride, padding, count_include_pad):
    """How many cells of each window count, along one axis."""
    start = np.arange(windows) * stride - padding[0]
    low, high = (-padding[0], size + padding[1]) if count_include_pad else (0, size)
    return np.minimum(start + kernel, high) - np.maximum(start, low)


def average(x, *, kernel_size, stride, padding, ceil_mode, count_include_pad):
    ((top, _), (left, _)) = padding
    y = np.empty(pooled_shape(x, kernel_size=kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode), x.dtype)
    axes = zip(y.shape[2:], x.shape[2:], kernel_size, stride, padding, strict=True)
    _average(_planes(x), _planes(y), *(_count(*axis, count_include_pad) for axis in axes), *kernel_size, *stride, top, left)
    return y


@kernel
def _average(x, y, rows, columns, U, V, sh, sw, ph, pw):
    planes, P, Q = y.shape
    _, H, W = x.shape
    for task in prange(planes * P):
        t, i = task // P, task % P
        buffer = np.empty(Q, x.dtype)
        y[t, i] = 0
        for u in range(U):
            k = i * sh + u - ph
            if 0 <= k < H:
                for v in range(V):
                    first, last, l = _columns(v, Q, W, sw, pw, 1)
                    cells, total = _side_by_side(x[t, k], l, last - first, sw, buffer), y[t, i, first:last]
                    for j in range(last - first):
                        total[j] += cells[j]
        for j in range(Q):
            y[t, i, j] /= rows[i] * columns[j]


def grad_average(g, *, input_size, kernel_size, stride, padding, count_include_pad):
    ((top, _), (left, _)) = padding
    axes = zip(g.shape[2:], input_size, kernel_size, stride, padding, strict=True)
    rows, columns = (_count(*axis, count_include_pad) for axis in axes)
    xbar = np.empty((*g.shape[:2], *input_size), g.dtype)
    _grad_average(_planes(g), _planes(xbar), (1 / (rows[:, None] * columns)).astype(g.dtype), *kernel_size, *stride, top, left)
    return xbar


@kernel
def _grad_average(g, xbar, share, U, V, sh, sw, ph, pw):
    planes, P, Q = g.shape
    _, H, W = xbar.shape
    for task in prange(planes * H):
        t, k = task // H, task % H
        xbar[t, k] = 0
        for u in range(U):
            i = (k + ph - u) // sh
            if i * sh + u - ph == k and 0 <= i < P:
                for v in range(V):
                    first, last, l = _columns(v, Q, W, sw, pw, 1)
                    values, shares = g[t, i, first:last], share[i, first:last]
                    if sw == 1:
                        cells = xbar[t, k, l : l + last - first]
                        for j in range(last - first):
                            cells[j] += values[j] * shares[j]
                    else:
                        for j in range(last - first):
                            xbar[t, k, l + j * sw] += values[j] * shares[j]


def adaptive_average(x, *, output_size):
    y = np.empty((*x.shape[:2], *output_size), x.dtype)
    _adaptive_average(_planes(x), _planes(y))
    return y


@kernel
def _adaptive_average(x, y):
    planes, P, Q = y.shape
    _, H, W = x.shape
    for task in prange(planes * P):
        t, i = task // P, task % P
        top, bottom = i * H // P, ((i + 1) * H + P - 1) // P
        for j in range(Q):
            left, right = j * W // Q, ((j + 1) * W + Q - 1) // Q
            total = 0.0  # a float64: a region may be a whole image
            for k in range(top, bottom):
                for l in range(left, right):
                    total += x[t, k, l]
            y[t, i, j] = total / ((bottom - top) * (right - left))


def grad_adaptive_average(g, *, input_size):
    xbar = np.zeros((*g.shape[:2], *input_size), g.dtype)
    _grad_adaptive_average(_planes(g), _planes(xbar))
    return xbar


@kernel
def _grad_adaptive_average(g, xbar):
    planes, P, Q = g.shape
    _, H, W = xbar.shape
    for task in prange(planes * H):
        t, k = task // H, task % H
        for i in range(k * P // H, ((k + 1) * P + H - 1) // H):  # the regions that hold row k
            rows = ((i + 1) * H + P - 1) // P - i * H // P
            for j in range(Q):
                left, right = j * W // Q, ((j + 1) * W + Q - 1) // Q
                share = g[t, i, j] / (rows * (right - left))
                for l in range(left, right):
                    xbar[t, k, l] += share


# --- unpooling ------------------------------------------------------------------------------


def unpool(x, m, *, output_size):
    y = np.zeros((*x.shape[:2], *output_size), x.dtype)
    _unpool(_lines(x), _lines(m), _lines(y))
    return y


@kernel
def _unpool(x, m, y):
    for t in prange(x.shape[0]):
        for place in range(x.shape[1]):
            y[t, m[t, place]] = x[t, place]  # in row-major order, so the last one stays  #: e


def grad_unpool(g, m):
    xbar = np.empty(m.shape, g.dtype)
    _grad_unpool(_lines(g), _lines(m), _lines(xbar))
    return xbar


@kernel
def _grad_unpool(g, m, xbar):
    planes, places = xbar.shape
    for t in prange(planes):
        taken = np.zeros(g.shape[1], np.uint8)
        for back in range(places):  # from the last to the first: the first one met here is the one that stayed
            place = places - 1 - back
            cell = m[t, place]
            xbar[t, place] = 0 if taken[cell] else g[t, cell]  #: e
            taken[cell] = 1
