r"""Convolution on a CPU: every case as a sum of shifted lines.

Lay the padded planes of the input one after another in memory. Then the cell
``x[c, i s + u d − p, j s + v d − p]`` of every output pixel lies at

    start(i, j) + offset(c, u, v),        start(i, j) = i · pitch + j

and a convolution with stride 1 becomes, for all pixels of the plane,

    y[o, start] = b[o] + Σ_t w[o, t] · x[start + offset[t]],        t = (c, u, v)

a sum of shifted lines. It needs no test for the border, because the padding lies in the lines.
A stride s is removed when the input is laid down: its rows and columns are dealt onto s_h × s_w
*phase* planes, and each plane is walked with stride 1. So one program serves every stride,
dilation and kernel size.

The input gradient is the same program: for each phase of the input, a sum of shifted lines
of g. The weight gradient is the inner product of the lines of g with the shifted lines of x.

The arithmetic happens in tiles of vector registers (``simd.py``): ROWS output channels times
COLS registers of pixels, each filled with two *runs* of neighbouring columns. Rows of pixels
are numbered through all images, so that small images fill the registers too and share the
weights while these are in the cache.
"""

import numpy as np

from ..jit import inline, kernel, prange, total
from ..simd import COLS, REGISTER_BYTES, ROWS, add_inner, add_outer, add_sums, spill, store, zeros
from .formula import output_shape

_BAND = 1024  # pixels of a task, about: their sums stay in the cache
_TASKS = 32  # the least number of tasks, where the work can be cut so far; it never depends on the number of threads


def forward(x, w, b, *, stride, padding, dilation, groups):
    return _convolve(x, w, b, stride, padding, dilation, groups, relu=False)


def forward_relu(x, w, b, *, stride, padding, dilation, groups):
    return _convolve(x, w, b, stride, padding, dilation, groups, relu=True)


def forward_statistics(x, w, b, *, stride, padding, dilation, groups):
    y = forward(x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups)
    mu, nu = np.empty_like(b), np.empty_like(b)
    _moments(y, mu, nu)
    return y, mu, nu


def grad_input(g, w, *, input_size, stride, padding, dilation, groups):
    (N, O, _, _), (_, Cg, U, V), (H, W) = g.shape, w.shape, input_size
    xbar = np.empty((N, Cg * groups, H, W), g.dtype)
    stride = _needed(stride, g.shape[2:])
    rows = _phases(U, dilation[0], stride[0], padding[0][0], H)
    columns = _phases(V, dilation[1], stride[1], padding[1][0], W)
    before = [max(0, *(-s for phase in axis for s in phase[3])) for axis in (rows, columns)]
    height, pitch = (max(p[2] + s + z for p in axis for s in p[3]) for axis, z in zip((rows, columns), before, strict=True))
    lines = _lay_down(g, groups, (1, 1), before, (height, pitch))
    nothing, channel = np.zeros(Cg * groups, g.dtype), np.arange(O // groups) * height * pitch
    for us, k, P, up in rows:
        for vs, l, Q, across in columns:
            if not us or not vs:  # with a stride larger than the kernel, no window meets these cells
                xbar[:, :, k :: stride[0], l :: stride[1]] = 0
            elif P and Q:
                shifts = [(r + before[0]) * pitch + c + before[1] for r in up for c in across]
                offsets = np.add.outer(channel, np.array(shifts)).ravel()
                weights = _tile_order(w, groups, us, vs, swap=True)
                _sum_of_lines(lines, offsets, weights, nothing, xbar, pitch, P, Q, k, stride[0], l, stride[1], False)
    return xbar


def _needed(stride, output):
    """The stride, or 1 along an axis with a single window: phases for a larger one would be laid down for nothing."""
    return tuple(s if n > 1 else 1 for s, n in zip(stride, output, strict=True))


def _phases(kernel_size, dilation, stride, padding, size):
    """For each residue of the padded axis: the taps that reach it, its first cell in the input, the number of its cells, the taps' shifts."""
    found = []
    for a in range(stride):
        taps = [u for u in range(kernel_size) if u * dilation % stride == a]
        skipped = max(0, -((a - padding) // stride))  # padding cells, which need no gradient
        first = a - padding + skipped * stride
        found.append((taps, first, max(0, -(-(size - first) // stride)), [skipped - u * dilation // stride for u in taps]))
    return found


def grad_weight(g, x, *, kernel_size, stride, padding, dilation, groups):
    (_, O, P, Q), (U, V) = g.shape, kernel_size
    lines, offsets, pitch = _input_lines(x, (P, Q), kernel_size, stride, padding, dilation, groups)
    T = len(offsets)
    slabs = _inner_products(lines, np.pad(offsets, (0, -T % COLS), mode="edge"), g, pitch)
    wbar = slabs[0]
    for slab in slabs[1:]:  # always in this order, so that the sum is the same from run to run
        wbar += slab
    return np.ascontiguousarray(wbar[:, : O // groups, :T]).reshape(O, -1, U, V)


def grad_bias(g):
    bbar = np.empty(g.shape[1], g.dtype)
    _plane_sums(g, bbar)
    return bbar


def _convolve(x, w, b, stride, padding, dilation, groups, relu):
    U, V = w.shape[2:]
    y = np.empty(output_shape(x, w, stride=stride, padding=padding, dilation=dilation), x.dtype)
    P, Q = y.shape[2:]
    lines, offsets, pitch = _input_lines(x, (P, Q), (U, V), stride, padding, dilation, groups)
    _sum_of_lines(lines, offsets, _tile_order(w, groups, range(U), range(V)), b, y, pitch, P, Q, 0, 1, 0, 1, relu)
    return y


def _input_lines(x, output, kernel_size, stride, padding, dilation, groups):
    """The phase planes of x as lines, the offset of each tap t = (c, u, v), and the pitch."""
    stride = _needed(stride, output)
    u, v = (np.arange(size) * d for size, d in zip(kernel_size, dilation, strict=True))
    rows, pitch = output[0] + u[-1] // stride[0], output[1] + v[-1] // stride[1]
    lines = _lay_down(x, groups, stride, (padding[0][0], padding[1][0]), (rows, pitch))
    plane, phases = rows * pitch, stride[0] * stride[1]
    row = u % stride[0] * stride[1] * plane + u // stride[0] * pitch
    column = v % stride[1] * plane + v // stride[1]
    channel = np.arange(x.shape[1] // groups) * phases * plane
    return lines, (channel[:, None, None] + row[:, None] + column).ravel(), pitch


def _lay_down(x, groups, stride, before, size):
    """The planes of x with `before` cells of padding, dealt onto phase planes of `size`: (N, G, lines)."""
    N, C, _, _ = x.shape
    Cg, phases = C // groups, stride[0] * stride[1]
    length = Cg * phases * size[0] * size[1]
    slack = (COLS + 1) * REGISTER_BYTES // x.itemsize  # the last tile reads past the last line
    lines = np.empty((N, groups, length + slack), x.dtype)
    _fill_lines(x, lines, Cg, *stride, *before, *size)
    return lines


def _tile_order(w, groups, us, vs, swap=False):
    """(O, C/G, U, V) → (G, blocks, T, ROWS): the weights in the order in which a tile reads them.

    Rows of the product are the output channels, or the input channels if `swap`; the other
    channel and the taps `us`, `vs` are its terms t.
    """
    O, Cg = w.shape[0] // groups, w.shape[1]
    rows, channels = (Cg, O) if swap else (O, Cg)
    ordered = np.empty((groups, -(-rows // ROWS), channels * len(us) * len(vs), ROWS), w.dtype)
    _fill_weights(w, np.array(us), np.array(vs), swap, ordered)
    return ordered


@kernel
def _fill_weights(w, us, vs, swap, ordered):
    groups, blocks, T, _ = ordered.shape
    O, channels = w.shape[0] // groups, T // (us.size * vs.size)
    rows = w.shape[1] if swap else O
    for task in prange(groups * blocks):
        group, block = divmod(np.int64(task), blocks)
        t = 0
        for k in range(channels):
            for u in us:
                for v in vs:
                    for r in range(ROWS):
                        row = block * ROWS + r
                        if row >= rows:
                            ordered[group, block, t, r] = 0
                        elif swap:
                            ordered[group, block, t, r] = w[group * O + k, row, u, v]
                        else:
                            ordered[group, block, t, r] = w[group * O + row, k, u, v]
                    t += 1


@kernel
def _fill_lines(x, lines, Cg, sh, sw, top, left, rows, pitch):
    N, C, H, W = x.shape
    plane = rows * pitch
    for task in prange(N * C):
        n, c = divmod(np.int64(task), C)
        line = lines[n, c // Cg]
        start = c % Cg * sh * sw * plane
        for a in range(sh):
            for e in range(sw):
                first = min(max(-((e - left) // sw), 0), pitch)  # the columns of this phase that lie inside
                end = max(min((W - 1 + left - e) // sw + 1, pitch), first)
                for i in range(rows):
                    k, here = i * sh + a - top, start + i * pitch
                    if 0 <= k < H:
                        line[here : here + first] = 0
                        if sw == 1:
                            line[here + first : here + end] = x[n, c, k, first + e - left : end + e - left]  #: l
                        else:
                            for j in range(first, end):
                                line[here + j] = x[n, c, k, j * sw + e - left]
                        line[here + end : here + pitch] = 0
                    else:
                        line[here : here + pitch] = 0
                start += plane
        if c % Cg == Cg - 1:
            line[start:] = 0


@kernel
def _sum_of_lines(lines, offsets, w, b, y, pitch, P, Q, row0, row_step, column0, column_step, relu):
    """y[r at a pixel] = b[r] + Σ_t w[t, r] · lines[start of the pixel + offsets[t]]."""
    N, groups, size = lines.shape
    _, channels, H, W = y.shape
    O, plane = channels // groups, H * W
    blocks, run = (O + ROWS - 1) // ROWS, REGISTER_BYTES // y.itemsize // 2
    runs = (Q + run - 1) // run  # in a row of pixels
    together = max(1, _BAND // (runs * run))  # rows of a chunk; of small images several share the weights
    chunks = (N * P + together - 1) // together
    splits = min(blocks, (_TASKS + groups * chunks - 1) // (groups * chunks))
    whole = Q % run == 0 and column_step == 1  # every run is one store
    flat, out = lines.reshape(-1), y.reshape(-1)
    for task in prange(groups * chunks * splits):
        group, rest = divmod(np.int64(task), chunks * splits)
        chunk, split = divmod(rest, splits)
        first, last = chunk * together, min(N * P, (chunk + 1) * together)
        starts, to = _places(first, last, P, runs, run, groups * size, pitch, channels * plane, row_step * W, column_step)
        starts += group * size
        to += group * O * plane + row0 * W + column0
        count, spilled = (last - first) * runs, np.empty(ROWS * COLS * 2 * run, y.dtype)
        for block in range(split * blocks // splits, (split + 1) * blocks // splits):
            weights, o, rows = w[group, block].reshape(-1), group * O + block * ROWS, min(ROWS, O - block * ROWS)
            for h in range(0, count, 2 * COLS):
                tile = zeros(y)
                for t in range(offsets.size):
                    tile = add_outer(tile, weights, t * ROWS, flat, starts, h, offsets[t])  #: w, x, g
                if whole and h + 2 * COLS <= count:
                    store(tile, rows, out[block * ROWS * plane :], to, h, plane, b, o, relu)
                    continue
                spill(tile, spilled)
                for r in range(rows):
                    for m in range(min(2 * COLS, count - h)):
                        here = to[h + m] + (block * ROWS + r) * plane
                        for j in range(min(run, Q - (h + m) % runs * run)):
                            value = spilled[(r * 2 * COLS + m) * run + j] + b[o + r]
                            out[here + j * column_step] = 0 if relu and value < 0 else value


@inline
def _places(first, last, P, runs, run, image, pitch, out_image, out_row, out_column):
    """Where each run of pixels starts in the lines, and where it is stored; rows are numbered through all images."""
    count = (last - first) * runs
    starts, to = np.zeros(count + 2 * COLS, np.int64), np.zeros(count + 2 * COLS, np.int64)
    for h in range(count):
        n, i = divmod(first + h // runs, P)
        starts[h] = n * image + i * pitch + h % runs * run
        to[h] = n * out_image + i * out_row + h % runs * run * out_column
    return starts, to


@kernel
def _inner_products(lines, offsets, g, pitch):
    N, groups, size = lines.shape
    _, channels, P, Q = g.shape
    O, T = channels // groups, offsets.size
    blocks, run = (O + ROWS - 1) // ROWS, REGISTER_BYTES // g.itemsize // 2
    runs = (Q + run - 1) // run
    together = max(1, 2 * _BAND // (runs * run))
    chunks = (N * P + together - 1) // together
    slabs = min(chunks, (_TASKS + groups * blocks - 1) // (groups * blocks))
    partial = np.zeros((slabs, groups, blocks * ROWS, T), g.dtype)
    length = (together * runs + 1) // 2 * 2 * run
    flat = lines.reshape(-1)
    for task in prange(slabs * groups * blocks):
        slab, rest = divmod(np.int64(task), groups * blocks)
        group, block = divmod(rest, blocks)
        out, rows = partial[slab, group].reshape(-1), np.zeros(ROWS * length, g.dtype)
        for chunk in range(slab * chunks // slabs, (slab + 1) * chunks // slabs):
            first, last = chunk * together, min(N * P, (chunk + 1) * together)
            count = (last - first) * runs
            starts, _ = _places(first, last, P, runs, run, groups * size, pitch, 0, 0, 0)
            starts += group * size
            for r in range(min(ROWS, O - block * ROWS)):
                here = r * length
                for row in range(first, last):
                    n, i = divmod(row, P)
                    rows[here : here + Q] = g[n, group * O + block * ROWS + r, i]  # behind Q the row stays 0
                    here += runs * run
                rows[here : (r + 1) * length] = 0
            for t in range(0, T, COLS):
                tile = zeros(g)
                for h in range(0, count, 2):
                    tile = add_inner(tile, rows, h * run, length, flat, starts, h, offsets[t], offsets[t + 1], offsets[t + 2])  #: g, x
                add_sums(tile, out, block * ROWS * T + t, T)
    return partial


@kernel
def _plane_sums(g, bbar):
    for o in prange(bbar.size):
        bbar[o] = 0
        for n in range(g.shape[0]):
            bbar[o] += total(g[n, o].reshape(-1))


@kernel
def _moments(y, mu, nu):
    """Mean and variance of each channel, summed in float64 to keep the digits of float32."""
    N, O, P, Q = y.shape
    for o in prange(O):
        deviations = np.empty(Q, np.float64)
        mean, spread = 0.0, 0.0
        for n in range(N):
            for i in range(P):
                mean += total(y[n, o, i]) / (N * P * Q)
        for n in range(N):
            for i in range(P):
                for j in range(Q):
                    deviations[j] = (y[n, o, i, j] - mean) ** 2
                spread += total(deviations)
        mu[o] = mean
        nu[o] = spread / (N * P * Q)
