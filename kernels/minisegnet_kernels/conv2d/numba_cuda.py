"""Convolution for a GPU in Numba, in the same two plain forms as ``kernel.cu``.

*Direct*: one thread = one result, the literal sum. *Tile*: the threads of a block stage in shared memory what they
share, a few channels at a time, and each adds up four output channels. `_channels_at_once` says which serves which case.
"""

from math import prod

import numpy as np

from ..cuda.jit import SIMULATED, THREADS, block_sum, cuda, device, kernel, launch, over, place
from ..layout import poisoned
from ._geometry import halo, is_worth_a_tile, outside, slabs, turned, window
from .formula import output_shape

# The sizes are this file's own: the tile in CUDA C++ (``ladder/rung2_tile.cu``) is another program and is tuned for itself.
_ROWS, _COLUMNS = (2, 8) if SIMULATED else (8, 32)  # pixels of a tile; small in the simulator, where a thread is expensive
_TILE, _PIXELS = (_ROWS, _COLUMNS), _ROWS * _COLUMNS
_OUTPUTS = 4  # output channels of a thread
_BUSY = 2**8 if SIMULATED else 2**16  # threads that keep a GPU busy
_CELLS, _BESIDE = 5120, 1024  # elements of shared memory: 48 KiB of float64, which every GPU has


# --- forward --------------------------------------------------------------------------------------


def forward(x, w, b, *, stride, padding, dilation, groups):
    return _convolve(x, w, b, stride, padding, dilation, groups, relu=False)


def forward_relu(x, w, b, *, stride, padding, dilation, groups):
    return _convolve(x, w, b, stride, padding, dilation, groups, relu=True)


def forward_statistics(x, w, b, *, stride, padding, dilation, groups):
    y = forward(x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups)
    mu, nu = poisoned(b, b.shape), poisoned(b, b.shape)
    launch(_moments, b.size, THREADS, y, mu, nu)
    return y, mu, nu


def _convolve(x, w, b, stride, padding, dilation, groups, relu):
    y = poisoned(x, output_shape(x, w, stride=stride, padding=padding, dilation=dilation))
    at, most = window(stride, padding, dilation), min(8, _BESIDE // (prod(w.shape[2:]) * _OUTPUTS))
    channels = _channels_at_once(w.shape[1], w.shape[2:], y.shape[2:], stride, dilation, most)
    if channels:
        _over_tiles(x, w, b, y, at, groups, channels, relu)
    else:
        over(_direct, y.size, x, w, b, y, at, groups, relu)
    return y


@kernel
def _direct(x, w, b, y, at, groups, relu):
    """Thread map: one thread = one y[n, o, i, j]."""
    number = cuda.grid(1)
    if number >= y.size:
        return
    n, o, i, j = place(number, y.shape[1], y.shape[2], y.shape[3])
    sh, sw, ph, pw, dh, dw = at
    first = o // (w.shape[0] // groups) * w.shape[1]  # channel of the input
    total = b[o]
    for c in range(w.shape[1]):
        for u in range(w.shape[2]):
            k = i * sh + u * dh - ph
            if 0 <= k < x.shape[2]:
                for v in range(w.shape[3]):
                    l = j * sw + v * dw - pw
                    if 0 <= l < x.shape[3]:
                        total += w[o, c, u, v] * x[n, first + c, k, l]
    y[n, o, i, j] = x.dtype.type(0) if relu and total < 0 else total


def _over_tiles(x, w, b, y, at, groups, channels, relu):
    """One block for each tile of pixels of y and each four of its channels."""
    N, O, P, Q = y.shape
    grid = N * -(-P // _ROWS) * -(-Q // _COLUMNS) * groups * -(-(O // groups) // _OUTPUTS)
    if grid:
        launch(_tile, grid, _PIXELS, x, w, b, y, at, groups, channels, relu)


@kernel
def _tile(x, w, b, y, at, groups, channels, relu):
    """Thread map: a block = one tile of pixels of four output channels; one thread = y[n, o ... o+3, i, j]."""
    sh, sw, ph, pw, dh, dw = at
    O, C, U, V = w.shape[0] // groups, w.shape[1], w.shape[2], w.shape[3]  # channels of a group
    height, width = (_ROWS - 1) * sh + (U - 1) * dh + 1, (_COLUMNS - 1) * sw + (V - 1) * dw + 1
    cells = cuda.shared.array(_CELLS, x.dtype)  # [channels][height][width]
    weights = cuda.shared.array(_BESIDE, x.dtype)  # [channels][U][V][_OUTPUTS]

    number, thread = cuda.blockIdx.x, cuda.threadIdx.x
    quads, across, down = -(-O // _OUTPUTS), -(-y.shape[3] // _COLUMNS), -(-y.shape[2] // _ROWS)
    quad, group = number % quads * _OUTPUTS, number // quads % groups
    number //= quads * groups
    i0, j0, n = number // across % down * _ROWS, number % across * _COLUMNS, number // (across * down)
    row, column = thread // _COLUMNS, thread % _COLUMNS
    o, outputs = group * O + quad, min(_OUTPUTS, O - quad)

    zero = x.dtype.type(0)
    a0, a1, a2, a3 = zero, zero, zero, zero
    for c0 in range(0, C, channels):
        some = min(channels, C - c0)
        _stage(x, n, group * C + c0, i0 * sh - ph, j0 * sw - pw, some, height, width, cells)
        for t in range(thread, some * U * V * _OUTPUTS, _PIXELS):
            tap, r = t // _OUTPUTS, t % _OUTPUTS
            weights[t] = w[o + r, c0 + tap // (U * V), tap // V % U, tap % V] if r < outputs else zero
        cuda.syncthreads()
        for c in range(some):
            for u in range(U):
                for v in range(V):
                    cell = cells[(c * height + row * sh + u * dh) * width + column * sw + v * dw]
                    tap = ((c * U + u) * V + v) * _OUTPUTS
                    a0 += weights[tap] * cell
                    a1 += weights[tap + 1] * cell
                    a2 += weights[tap + 2] * cell
                    a3 += weights[tap + 3] * cell
        cuda.syncthreads()  # before the next channels overwrite these
    i, j = i0 + row, j0 + column
    if i < y.shape[2] and j < y.shape[3]:
        for r in range(outputs):
            total = b[o + r] + (a0 if r == 0 else a1 if r == 1 else a2 if r == 2 else a3)
            y[n, o + r, i, j] = zero if relu and total < 0 else total


@device
def _stage(x, n, c0, k0, l0, channels, height, width, cells):
    """Cells of `channels` channels of x, from c0, k0, l0 on, into shared memory; 0 outside."""
    for t in range(cuda.threadIdx.x, channels * height * width, cuda.blockDim.x):
        c, k, l = t // (height * width), k0 + t // width % height, l0 + t % width
        inside = 0 <= k < x.shape[2] and 0 <= l < x.shape[3]
        cells[t] = x[n, c0 + c, k, l] if inside else x.dtype.type(0)


@kernel
def _moments(y, mu, nu):
    """Thread map: one block = one channel o; a thread takes every THREADS-th of its values, for the mean and then for the variance."""
    N, _, P, Q = y.shape
    o, count = cuda.blockIdx.x, N * P * Q
    mean, result = 0.0, 0.0
    for sweep in range(2):
        part = 0.0
        for number in range(cuda.threadIdx.x, count, THREADS):
            value = y[number // (P * Q), o, number // Q % P, number % Q]
            part += value if sweep == 0 else (value - mean) * (value - mean)
        result = block_sum(part) / count
        if sweep == 0:
            mean = result
    if cuda.threadIdx.x == 0:
        mu[o] = mean
        nu[o] = result


# --- gradient for the input -----------------------------------------------------------------------


def grad_input(g, w, *, input_size, stride, padding, dilation, groups):
    xbar = poisoned(g, (g.shape[0], w.shape[1] * groups, *input_size))
    most = min(8, _BESIDE // (prod(w.shape[2:]) * _OUTPUTS))
    channels = _channels_at_once(w.shape[0] // groups, w.shape[2:], input_size, stride, dilation, most)
    if stride == (1, 1) and channels:  # a convolution of g with the turned kernel
        at = (*stride, *outside(w.shape[2:], padding, dilation), *dilation)
        no_bias = np.zeros_like(g, shape=xbar.shape[1])
        _over_tiles(g, turned(w, groups).copy(), no_bias, xbar, at, groups, channels, False)
    else:
        over(_gather, xbar.size, g, w, xbar, window(stride, padding, dilation), groups)
    return xbar


@kernel
def _gather(g, w, xbar, at, groups):
    """Thread map: one thread = one x̄[n, c, k, l], which looks for the pixels i, j whose window meets it."""
    number = cuda.grid(1)
    if number >= xbar.size:
        return
    n, c, k, l = place(number, xbar.shape[1], xbar.shape[2], xbar.shape[3])
    sh, sw, ph, pw, dh, dw = at
    O, C = w.shape[0] // groups, w.shape[1]
    first = c // C * O
    total = g.dtype.type(0)
    for u in range(w.shape[2]):
        row = k + ph - u * dh  # i s_h
        if row >= 0 and row % sh == 0 and row // sh < g.shape[2]:
            for v in range(w.shape[3]):
                column = l + pw - v * dw
                if column >= 0 and column % sw == 0 and column // sw < g.shape[3]:
                    for o in range(first, first + O):
                        total += w[o, c % C, u, v] * g[n, o, row // sh, column // sw]
    xbar[n, c, k, l] = total


# --- gradient for the kernel ----------------------------------------------------------------------


def grad_weight(g, x, *, kernel_size, stride, padding, dilation, groups):
    (N, O, P, Q), Cg, taps = g.shape, x.shape[1] // groups, prod(kernel_size)
    wbar, at = poisoned(x, (O, Cg, *kernel_size)), window(stride, padding, dilation)
    channels = _channels_at_once(Cg, kernel_size, (P, Q), stride, dilation, most=256 // taps)
    if channels and g.size:
        tiles = N * -(-P // _ROWS) * -(-Q // _COLUMNS)
        grid = groups * -(-(O // groups) // _OUTPUTS) * -(-Cg // channels)
        parts = poisoned(x, (slabs(tiles, _PIXELS, grid * 256, _BUSY) * O, Cg, *kernel_size))
        launch(_weight_tile, grid * (parts.shape[0] // O), channels * taps, g, x, parts, at, groups, channels)
    else:
        parts = poisoned(x, (slabs(N * P, Q, wbar.size, _BUSY) * O, Cg, *kernel_size))
        over(_weight_direct, parts.size, g, x, parts, at, groups)
    over(_weight_sum, wbar.size, parts.reshape(-1), wbar.reshape(-1))
    return wbar


@kernel
def _weight_direct(g, x, slabs, at, groups):
    """Thread map: one thread = one slab's w̄[o, c, u, v], a sum over some of the rows n, i."""
    number = cuda.grid(1)
    if number >= slabs.size:
        return
    so, c, u, v = place(number, slabs.shape[1], slabs.shape[2], slabs.shape[3])
    sh, sw, ph, pw, dh, dw = at
    O, P, Q = g.shape[1], g.shape[2], g.shape[3]
    s, o = so // O, so % O
    channel = o // (O // groups) * slabs.shape[1] + c
    share = -(-g.shape[0] * P // (slabs.shape[0] // O))
    total = g.dtype.type(0)
    for line in range(s * share, min((s + 1) * share, g.shape[0] * P)):
        n, i = line // P, line % P
        k = i * sh + u * dh - ph
        if 0 <= k < x.shape[2]:
            for j in range(Q):
                l = j * sw + v * dw - pw
                if 0 <= l < x.shape[3]:
                    total += g[n, o, i, j] * x[n, channel, k, l]
    slabs[so, c, u, v] = total


@kernel
def _weight_tile(g, x, slabs, at, groups, channels):
    """Thread map: a block = 4 output channels, some input channels and all u, v of a slab; one thread = w̄[o ... o+3, c, u, v] of it."""
    sh, sw, ph, pw, dh, dw = at
    O, C, U, V = g.shape[1] // groups, slabs.shape[1], slabs.shape[2], slabs.shape[3]  # channels of a group
    height, width = (_ROWS - 1) * sh + (U - 1) * dh + 1, (_COLUMNS - 1) * sw + (V - 1) * dw + 1
    cells = cuda.shared.array(_CELLS, x.dtype)  # [channels][height][width]
    gradients = cuda.shared.array(_BESIDE, x.dtype)  # [_ROWS][_COLUMNS][_OUTPUTS]

    number, thread = cuda.blockIdx.x, cuda.threadIdx.x
    quads, parts = -(-O // _OUTPUTS), -(-C // channels)
    quad, c0 = number % quads * _OUTPUTS, number // quads % parts * channels
    group, s = number // (quads * parts) % groups, number // (quads * parts * groups)
    o, outputs, some = group * O + quad, min(_OUTPUTS, O - quad), min(channels, C - c0)
    c, u, v = thread // (U * V), thread // V % U, thread % V

    across, down = -(-g.shape[3] // _COLUMNS), -(-g.shape[2] // _ROWS)
    tiles = g.shape[0] * down * across
    share = -(-tiles // (slabs.shape[0] // g.shape[1]))
    zero = x.dtype.type(0)
    a0, a1, a2, a3 = zero, zero, zero, zero
    for tile in range(s * share, min((s + 1) * share, tiles)):
        i0, j0, n = tile // across % down * _ROWS, tile % across * _COLUMNS, tile // (across * down)
        rows, columns = min(_ROWS, g.shape[2] - i0), min(_COLUMNS, g.shape[3] - j0)
        _stage(x, n, group * C + c0, i0 * sh - ph, j0 * sw - pw, some, height, width, cells)
        for t in range(thread, rows * columns * _OUTPUTS, cuda.blockDim.x):
            r, i, j = t // (rows * columns), t // columns % rows, t % columns
            gradients[(i * _COLUMNS + j) * _OUTPUTS + r] = g[n, o + r, i0 + i, j0 + j] if r < outputs else zero
        cuda.syncthreads()
        if c < some:
            for i in range(rows):
                for j in range(columns):
                    cell = cells[(c * height + i * sh + u * dh) * width + j * sw + v * dw]
                    pixel = (i * _COLUMNS + j) * _OUTPUTS
                    a0 += gradients[pixel] * cell
                    a1 += gradients[pixel + 1] * cell
                    a2 += gradients[pixel + 2] * cell
                    a3 += gradients[pixel + 3] * cell
        cuda.syncthreads()  # before the next tile overwrites this one
    if c < some:
        for r in range(outputs):
            slabs[s * g.shape[1] + o + r, c0 + c, u, v] = a0 if r == 0 else a1 if r == 1 else a2 if r == 2 else a3


@kernel
def _weight_sum(slabs, wbar):
    """Thread map: one thread = one element of w̄, the sum of the slabs in their order."""
    t = cuda.grid(1)
    if t < wbar.size:
        total = slabs[t]
        for s in range(1, slabs.size // wbar.size):
            total += slabs[s * wbar.size + t]
        wbar[t] = total


# --- gradient for the bias ------------------------------------------------------------------------


def grad_bias(g):
    N, O, P, Q = g.shape
    bbar = poisoned(g, (O,))
    parts = poisoned(g, (slabs(-(-N * P * Q // (4 * THREADS)), 4 * THREADS, O * THREADS, _BUSY), O))
    if O:
        launch(_bias, parts.size, THREADS, g, parts)
        over(_weight_sum, O, parts.reshape(-1), bbar)
    return bbar


@kernel
def _bias(g, slabs):
    """Thread map: one block = one slab's b̄[o], a sum over some of the pixels n, i, j; a thread takes every THREADS-th."""
    O, P, Q, thread = g.shape[1], g.shape[2], g.shape[3], cuda.threadIdx.x
    o, s = cuda.blockIdx.x % O, cuda.blockIdx.x // O
    pixels = g.shape[0] * P * Q
    share = -(-pixels // slabs.shape[0])
    total = g.dtype.type(0)
    for pixel in range(s * share + thread, min((s + 1) * share, pixels), THREADS):
        total += g[pixel // (P * Q), o, pixel // Q % P, pixel % Q]
    total = block_sum(total)
    if thread == 0:
        slabs[s, o] = total


# --- what the host decides ------------------------------------------------------------------------


def _channels_at_once(channels, kernel_size, output, stride, dilation, most):
    """How many input channels a block stages; 0 where the direct form suits the case better or shared memory is too small."""
    if not is_worth_a_tile(_TILE, kernel_size, output):
        return 0
    return min(channels, most, _CELLS // halo(_TILE, kernel_size, stride, dilation))
