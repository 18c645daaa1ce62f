"""Pooling for a GPU in Numba.

Thread map: one thread = one element of the result, unless a kernel says otherwise. Gradients gather: the
thread of an element visits the windows that reach it, in row-major order, so that no two threads add to
one place. ``at`` holds the geometry of the windows: stride, padding above and at the left, dilation.
"""

from ..cuda.jit import THREADS, block_sum, cuda, device, kernel, launch, over, place
from ..layout import poisoned
from .formula import pooled_shape, winner_dtype


def _at(stride, padding, dilation=(1, 1)):
    return *stride, padding[0][0], padding[1][0], *dilation


# --- the maximum ----------------------------------------------------------------------------


def forward(x, w, b, *, stride, padding, dilation, ceil_mode):
    y, m = _value_and_winner(x, kernel_size=w.shape[1:], stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode)
    over(_forward, y.size, x, w, b, y, m, _at(stride, padding, dilation))
    return y, m


def max(x, *, kernel_size, stride, padding, dilation, ceil_mode):
    y, m = _value_and_winner(x, kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode)
    over(_max, y.size, x, y, m, *kernel_size, _at(stride, padding, dilation))
    return y, m


def _value_and_winner(x, **options):
    shape = pooled_shape(x, **options)
    return poisoned(x, shape), poisoned(x, shape, winner_dtype(options["kernel_size"]))


@kernel
def _forward(x, w, b, y, m, at):
    number = cuda.grid(1)
    if number < y.size:
        n, c, i, j = place(number, y.shape[1], y.shape[2], y.shape[3])
        best, winner = _maximum(x, w, n, c, i, j, w.shape[1], w.shape[2], at)
        y[n, c, i, j], m[n, c, i, j] = best + b[c], winner


@kernel
def _max(x, y, m, U, V, at):
    number = cuda.grid(1)
    if number < y.size:
        n, c, i, j = place(number, y.shape[1], y.shape[2], y.shape[3])
        y[n, c, i, j], m[n, c, i, j] = _maximum(x, None, n, c, i, j, U, V, at)


@device
def _maximum(x, w, n, c, i, j, U, V, at):
    """The largest value of a window, and its place u V + v. Padding takes no part. Without weights, w is None."""
    sh, sw, ph, pw, dh, dw = at
    best, winner = x.dtype.type(0), -1
    for u in range(U):
        for v in range(V):
            k, l = i * sh + u * dh - ph, j * sw + v * dw - pw
            if 0 <= k < x.shape[2] and 0 <= l < x.shape[3]:
                value = x[n, c, k, l]
                if w is not None:
                    value = w[c, u, v] * value  #: x
                if winner < 0 or value > best or value != value:  # the first cell, a larger one, a NaN
                    best, winner = value, u * V + v
    return best, winner


# --- its gradients --------------------------------------------------------------------------


@device
def _windows_over(k, size, stride, padding, dilation, outputs):
    """First and last + 1 of the windows i that reach over row k: 0 ≤ k + p − i s ≤ (U − 1) d."""
    end = k + padding
    start = end - (size - 1) * dilation
    first = (start + stride - 1) // stride if start > 0 else 0
    return first, min(end // stride + 1, outputs)


@device
def _offset(k, i, stride, padding, dilation):
    """The u at which window i meets row k, i s + u d − p = k; −1 if the window, dilated, steps over the row."""
    steps = k + padding - i * stride
    u = steps // dilation
    return u if u * dilation == steps else -1


def grad_input(g, m, w, *, input_size, stride, padding, dilation):
    xbar = poisoned(g, (*g.shape[:2], *input_size))
    over(_grad_input, xbar.size, g, m, w, xbar, _at(stride, padding, dilation))
    return xbar


@kernel
def _grad_input(g, m, w, xbar, at):
    number = cuda.grid(1)
    if number < xbar.size:
        n, c, k, l = place(number, xbar.shape[1], xbar.shape[2], xbar.shape[3])
        xbar[n, c, k, l] = _sum_of_won(g, m, w, n, c, k, l, w.shape[1], w.shape[2], at)


def grad_max(g, m, *, input_size, kernel_size, stride, padding, dilation):
    xbar = poisoned(g, (*g.shape[:2], *input_size))
    over(_grad_max, xbar.size, g, m, xbar, *kernel_size, _at(stride, padding, dilation))
    return xbar


@kernel
def _grad_max(g, m, xbar, U, V, at):
    number = cuda.grid(1)
    if number < xbar.size:
        n, c, k, l = place(number, xbar.shape[1], xbar.shape[2], xbar.shape[3])
        xbar[n, c, k, l] = _sum_of_won(g, m, None, n, c, k, l, U, V, at)


@device
def _sum_of_won(g, m, w, n, c, k, l, U, V, at):
    """Σ w g, without weights (w is None) Σ g, over the windows that cell k, l has won."""
    sh, sw, ph, pw, dh, dw = at
    first_i, end_i = _windows_over(k, U, sh, ph, dh, g.shape[2])
    first_j, end_j = _windows_over(l, V, sw, pw, dw, g.shape[3])
    total = g.dtype.type(0)
    for i in range(first_i, end_i):
        u = _offset(k, i, sh, ph, dh)
        for j in range(first_j, end_j):
            v = _offset(l, j, sw, pw, dw)
            if u >= 0 and v >= 0 and m[n, c, i, j] == u * V + v:
                share = g[n, c, i, j]
                if w is not None:
                    share = w[c, u, v] * share  #: g
                total += share
    return total


# Sums over n, i, j, for each channel, take two passes. In the first one thread = one part s of one channel: the
# positions s, s + S, s + 2S, … of all S parts lie side by side, so that a warp reads neighbours. It leaves its sum
# in a slab in float64. In the second one block = one sum: it adds the slabs, always in the same order.


def _slabs(g, sums):
    """Room for the S parts of each of `sums` sums of a channel: (sums, C, S)."""
    N, C, P, Q = g.shape
    parts = sorted((1, -(-N * P * Q // 64), 4096))[1]  # of about 64 positions; 4096 fill the largest GPU
    return poisoned(g, (sums, C, parts), "float64")


@kernel
def _add_slabs(slabs, sums):
    """sums[o, c] = Σ_s slabs[o, c, s]. One block = one sum."""
    o, c = cuda.blockIdx.x // slabs.shape[1], cuda.blockIdx.x % slabs.shape[1]
    total = 0.0
    for s in range(cuda.threadIdx.x, slabs.shape[2], THREADS):
        total += slabs[o, c, s]
    total = block_sum(total)
    if cuda.threadIdx.x == 0:
        sums[c, o] = total


def grad_weight(g, m, x, *, kernel_size, stride, padding, dilation):
    slabs, wbar = _slabs(g, kernel_size[0] * kernel_size[1]), poisoned(g, (g.shape[1], *kernel_size))
    over(_grad_weight, slabs[0].size, g, m, x, slabs, *kernel_size, _at(stride, padding, dilation))
    launch(_add_slabs, wbar.size, THREADS, slabs, wbar.reshape(g.shape[1], -1))
    return wbar


@kernel
def _grad_weight(g, m, x, slabs, U, V, at):
    """Every window adds g x at the place of its winner. One thread = one part of one channel."""
    number = cuda.grid(1)
    C, S = slabs.shape[1], slabs.shape[2]
    if number < C * S:
        c, s = number // S, number % S
        N, P, Q = g.shape[0], g.shape[2], g.shape[3]
        sh, sw, ph, pw, dh, dw = at
        for o in range(U * V):
            slabs[o, c, s] = 0
        for position in range(s, N * P * Q, S):
            n, i, j = position // (P * Q), position // Q % P, position % Q
            o = int(m[n, c, i, j])
            k, l = i * sh + o // V * dh - ph, j * sw + o % V * dw - pw
            if 0 <= o < U * V and 0 <= k < x.shape[2] and 0 <= l < x.shape[3]:
                slabs[o, c, s] += g[n, c, i, j] * x[n, c, k, l]


def grad_bias(g):
    slabs, bbar = _slabs(g, 1), poisoned(g, g.shape[1:2])
    over(_grad_bias, slabs.size, g, slabs)
    launch(_add_slabs, bbar.size, THREADS, slabs, bbar.reshape(-1, 1))
    return bbar


@kernel
def _grad_bias(g, slabs):
    number = cuda.grid(1)
    C, S = slabs.shape[1], slabs.shape[2]
    if number < C * S:
        c, s = number // S, number % S
        P, Q = g.shape[2], g.shape[3]
        total = 0.0
        for position in range(s, g.shape[0] * P * Q, S):
            total += g[position // (P * Q), c, position // Q % P, position % Q]
        slabs[0, c, s] = total


# --- averages -------------------------------------------------------------------------------


def _edges(input_size, padding, count_include_pad):
    """The cells that count in a mean: rows top … bottom − 1, columns left … right − 1."""
    (H, W), ((top, bottom), (left, right)) = input_size, padding
    return (-top, H + bottom, -left, W + right) if count_include_pad else (0, H, 0, W)


@device
def _cells(start, size, low, high):
    """How many cells of a window count, along one axis."""
    return min(start + size, high) - (start if start > low else low)


def average(x, *, kernel_size, stride, padding, ceil_mode, count_include_pad):
    y = poisoned(x, pooled_shape(x, kernel_size=kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode))
    over(_average, y.size, x, y, *kernel_size, _at(stride, padding), _edges(x.shape[2:], padding, count_include_pad))
    return y


@kernel
def _average(x, y, U, V, at, edges):
    number = cuda.grid(1)
    if number < y.size:
        n, c, i, j = place(number, y.shape[1], y.shape[2], y.shape[3])
        sh, sw, ph, pw, _, _ = at
        top, bottom, left, right = edges
        total = x.dtype.type(0)
        for u in range(U):
            for v in range(V):
                k, l = i * sh + u - ph, j * sw + v - pw
                if 0 <= k < x.shape[2] and 0 <= l < x.shape[3]:
                    total += x[n, c, k, l]
        y[n, c, i, j] = total / x.dtype.type(_cells(i * sh - ph, U, top, bottom) * _cells(j * sw - pw, V, left, right))


def grad_average(g, *, input_size, kernel_size, stride, padding, count_include_pad):
    xbar = poisoned(g, (*g.shape[:2], *input_size))
    over(_grad_average, xbar.size, g, xbar, *kernel_size, _at(stride, padding), _edges(input_size, padding, count_include_pad))
    return xbar


@kernel
def _grad_average(g, xbar, U, V, at, edges):
    number = cuda.grid(1)
    if number < xbar.size:
        n, c, k, l = place(number, xbar.shape[1], xbar.shape[2], xbar.shape[3])
        sh, sw, ph, pw, _, _ = at
        top, bottom, left, right = edges
        first_i, end_i = _windows_over(k, U, sh, ph, 1, g.shape[2])
        first_j, end_j = _windows_over(l, V, sw, pw, 1, g.shape[3])
        total = g.dtype.type(0)
        for i in range(first_i, end_i):
            for j in range(first_j, end_j):
                total += g[n, c, i, j] / g.dtype.type(_cells(i * sh - ph, U, top, bottom) * _cells(j * sw - pw, V, left, right))
        xbar[n, c, k, l] = total


@device
def _region(i, size, regions):
    """First and last + 1 of the cells of region i, on an axis that is cut into regions."""
    return i * size // regions, ((i + 1) * size + regions - 1) // regions


def adaptive_average(x, *, output_size):
    (H, W), (P, Q) = x.shape[2:], output_size
    y = poisoned(x, (*x.shape[:2], P, Q))
    slabs = poisoned(x, (y.size, -(-(-(-H // P) * -(-W // Q)) // 64)), "float64")  # parts of about 64 cells
    over(_adaptive_average_part, slabs.size, x, y, slabs)
    over(_adaptive_average, y.size, slabs, y, H, W)
    return y


@kernel
def _adaptive_average_part(x, y, slabs):
    """A region may be a whole image, so S threads share it: one thread = one part s of one y, the cells s, s + S, s + 2S, …"""
    number = cuda.grid(1)
    if number < slabs.size:
        S = slabs.shape[1]
        element, s = number // S, number % S
        n, c, i, j = place(element, y.shape[1], y.shape[2], y.shape[3])
        top, bottom = _region(i, x.shape[2], y.shape[2])
        left, right = _region(j, x.shape[3], y.shape[3])
        width = right - left
        total = 0.0
        for cell in range(s, (bottom - top) * width, S):
            total += x[n, c, top + cell // width, left + cell % width]
        slabs[element, s] = total


@kernel
def _adaptive_average(slabs, y, H, W):
    element = cuda.grid(1)
    if element < y.size:
        n, c, i, j = place(element, y.shape[1], y.shape[2], y.shape[3])
        top, bottom = _region(i, H, y.shape[2])
        left, right = _region(j, W, y.shape[3])
        total = 0.0
        for s in range(slabs.shape[1]):
            total += slabs[element, s]
        y[n, c, i, j] = total / ((bottom - top) * (right - left))


def grad_adaptive_average(g, *, input_size):
    xbar = poisoned(g, (*g.shape[:2], *input_size))
    over(_grad_adaptive_average, xbar.size, g, xbar)
    return xbar


@kernel
def _grad_adaptive_average(g, xbar):
    number = cuda.grid(1)
    if number < xbar.size:
        n, c, k, l = place(number, xbar.shape[1], xbar.shape[2], xbar.shape[3])
        P, Q, H, W = g.shape[2], g.shape[3], xbar.shape[2], xbar.shape[3]
        first_i, end_i = _region(k, P, H)  # the regions that hold row k: the roles of cells and regions are exchanged
        first_j, end_j = _region(l, Q, W)
        total = g.dtype.type(0)
        for i in range(first_i, end_i):
            top, bottom = _region(i, H, P)
            for j in range(first_j, end_j):
                left, right = _region(j, W, Q)
                total += g[n, c, i, j] / g.dtype.type((bottom - top) * (right - left))
        xbar[n, c, k, l] = total


# --- unpooling ------------------------------------------------------------------------------


def _last(m, size):
    """For every cell of (N, C, H, W) the place i Q + j of the last value that goes there, −1 where none does."""
    last = poisoned(m, (*m.shape[:2], *size), "int32")
    last.fill(-1)
    over(_find_last, m.size, m, last)
    return last


@kernel
def _find_last(m, last):
    """One thread = one m. A maximum of integers does not depend on the order of the atomics."""
    number = cuda.grid(1)
    if number < m.size:
        n, c, i, j = place(number, m.shape[1], m.shape[2], m.shape[3])
        W = last.shape[3]
        cell = m[n, c, i, j]
        if 0 <= cell < last.shape[2] * W:
            cuda.atomic.max(last, (n, c, cell // W, cell % W), i * m.shape[3] + j)


def unpool(x, m, *, output_size):
    y = poisoned(x, (*x.shape[:2], *output_size))
    over(_unpool, y.size, x, _last(m, output_size), y)
    return y


@kernel
def _unpool(x, last, y):
    number = cuda.grid(1)
    if number < y.size:
        n, c, k, l = place(number, y.shape[1], y.shape[2], y.shape[3])
        origin = last[n, c, k, l]  #: e
        Q = x.shape[3]
        y[n, c, k, l] = x[n, c, origin // Q, origin % Q] if origin >= 0 else x.dtype.type(0)


def grad_unpool(g, m):
    xbar = poisoned(g, m.shape)
    over(_grad_unpool, xbar.size, g, m, _last(m, g.shape[2:]), xbar)
    return xbar


@kernel
def _grad_unpool(g, m, last, xbar):
    number = cuda.grid(1)
    if number < xbar.size:
        n, c, i, j = place(number, xbar.shape[1], xbar.shape[2], xbar.shape[3])
        W = g.shape[3]
        cell = m[n, c, i, j]
        xbar[n, c, i, j] = 0
        if 0 <= cell < g.shape[2] * W and last[n, c, cell // W, cell % W] == i * xbar.shape[3] + j:  #: e
            xbar[n, c, i, j] = g[n, c, cell // W, cell % W]
