r"""Convolution on a CPU: every case as a sum of shifted lines.

Lay the padded planes of the input one after another in memory. Then the cell
``x[c, i s + u d − p, j s + v d − p]`` of every output pixel lies at

    start(i, j) + offset(c, u, v),        start(i, j) = i · pitch + j

and a convolution with stride 1 is, for all pixels of the plane at once,

    y[o, start] = b[o] + Σ_t w[o, t] · x[start + offset[t]],        t = (c, u, v)

one long loop over lines of memory. The cells between Q and the pitch compute values that
nobody reads: the price of having no border and no row ends. A stride s is taken out when
the input is laid down: rows and columns are dealt onto s_h × s_w *phase* planes, each of
which is walked with stride 1. So one program serves every stride, dilation and kernel.

The input gradient is the same program: for each phase of the input, a sum of shifted lines
of g. The weight gradient is the inner product of the lines of g with the shifted lines of x.

The arithmetic happens in tiles of vector registers, see ``simd.py``.
"""

import numpy as np

from ..jit import kernel, prange
from ..simd import COLS, REGISTER_BYTES, ROWS, add_inner, add_outer, add_sums, store, zeros

_BAND = 1024  # about how many pixels a task computes: their sums stay in the cache
_TASKS = 32  # work is cut into at least so many tasks if it can be; never by the number of threads


def forward(x, w, b, *, stride, padding, dilation, groups):
    return _convolve(x, w, b, stride, padding, dilation, groups, relu=False)


def forward_relu(x, w, b, *, stride, padding, dilation, groups):
    return _convolve(x, w, b, stride, padding, dilation, groups, relu=True)


def grad_input(g, w, *, input_size, stride, padding, dilation, groups):
    (N, O, _, _), (_, Cg, U, V), (H, W), (sh, sw) = g.shape, w.shape, input_size, stride
    (top, _), (left, _) = padding
    x = np.empty((N, Cg * groups, H, W), g.dtype)
    nothing = np.zeros(Cg * groups, g.dtype)
    for a in range(sh):
        for e in range(sw):
            # The taps that reach the rows ≡ a, the columns ≡ e of the padded input, and their shifts.
            us = [u for u in range(U) if u * dilation[0] % sh == a]
            vs = [v for v in range(V) if v * dilation[1] % sw == e]
            up, across = [u * dilation[0] // sh for u in us], [v * dilation[1] // sw for v in vs]
            first = (a - top, e - left)
            if not us or not vs:  # a stride wider than the kernel leaves cells that no window meets
                x[:, :, first[0] % sh :: sh, first[1] % sw :: sw] = 0
                continue
            over, before = max(up), max(across)
            P1, Q1 = -(-(H - first[0]) // sh), -(-(W - first[1]) // sw)
            rows, pitch = P1 + over, Q1 + before
            lines = _lay_down(g, groups, (1, 1), (over, before), (rows, pitch))
            shifts = [(over - r) * pitch + before - c for r in up for c in across]
            offsets = np.add.outer(np.arange(O // groups) * rows * pitch, np.array(shifts, np.int64)).ravel()
            weights = _tile_order(w, groups, us, vs, swap=True)
            _sum_of_lines(lines, offsets, weights, nothing, x, pitch, P1, Q1, first[0], sh, first[1], sw, False)
    return x


def grad_weight(g, x, *, kernel_size, stride, padding, dilation, groups):
    (_, O, P, Q), (U, V) = g.shape, kernel_size
    lines, offsets, pitch = _input_lines(x, (P, Q), kernel_size, stride, padding, dilation, groups)
    cotangents = _lay_down(g, groups, (1, 1), (0, 0), (P, pitch))
    offsets = np.pad(offsets, (0, -len(offsets) % COLS), mode="edge")
    slabs = _inner_products(lines, offsets, cotangents, O // groups, P, pitch)
    w = slabs[0]
    for slab in slabs[1:]:  # always in this order, so that the sum is the same from run to run
        w += slab
    # (group, block of ROWS channels, COLS taps together) → (O, C/G, U, V)
    w = w.reshape(groups, -1, len(offsets) // COLS, ROWS, COLS).transpose(0, 1, 3, 2, 4).reshape(groups, -1, len(offsets))
    return np.ascontiguousarray(w[:, : O // groups, : x.shape[1] // groups * U * V]).reshape(O, -1, U, V)


def grad_bias(g):
    b = np.empty(g.shape[1], g.dtype)
    _plane_sums(g, b)
    return b


def _convolve(x, w, b, stride, padding, dilation, groups, relu):
    (_, _, H, W), (O, _, U, V) = x.shape, w.shape
    P = (H + sum(padding[0]) - dilation[0] * (U - 1) - 1) // stride[0] + 1
    Q = (W + sum(padding[1]) - dilation[1] * (V - 1) - 1) // stride[1] + 1
    y = np.empty((x.shape[0], O, P, Q), x.dtype)
    lines, offsets, pitch = _input_lines(x, (P, Q), (U, V), stride, padding, dilation, groups)
    _sum_of_lines(lines, offsets, _tile_order(w, groups, range(U), range(V)), b, y, pitch, P, Q, 0, 1, 0, 1, relu)
    return y


def _input_lines(x, output, kernel_size, stride, padding, dilation, groups):
    """The phase planes of x as lines, the offset of each tap t = (c, u, v), and the pitch."""
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
    """(O, C/G, U, V) → (G, blocks, T, ROWS), in the order in which a tile meets the weights.

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
        for r in range(ROWS):
            row, t = block * ROWS + r, 0
            if row >= rows:
                ordered[group, block, :, r] = 0
                continue
            for k in range(channels):
                o, c = (group * O + k, row) if swap else (group * O + row, k)
                for u in us:
                    for v in vs:
                        ordered[group, block, t, r] = w[o, c, u, v]
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
    N, groups, _ = lines.shape
    _, blocks, T, _ = w.shape
    O, H, W = y.shape[1] // groups, y.shape[2], y.shape[3]
    step = COLS * (REGISTER_BYTES // y.itemsize)
    band = max(1, _BAND // pitch)  # rows that are computed together
    bands = (P + band - 1) // band  # in one image
    together = max(1, _BAND // (pitch * P))  # small images share the weights while these are in the cache
    chunks = (N * bands + together - 1) // together
    splits = min(blocks, (_TASKS + groups * chunks - 1) // (groups * chunks))
    length = (min(band, P) * pitch + step - 1) // step * step
    j0, j1 = max(0, -(column0 // column_step)), min(Q, (W - 1 - column0) // column_step + 1)
    for task in prange(groups * chunks * splits):
        group, rest = divmod(np.int64(task), chunks * splits)
        chunk, split = divmod(rest, splits)
        sums = np.empty(ROWS * length, y.dtype)
        for block in range(split * blocks // splits, (split + 1) * blocks // splits):
            weights = w[group, block].reshape(-1)
            for number in range(chunk * together, min((chunk + 1) * together, N * bands)):
                n, place = divmod(number, bands)
                i0, i1 = place * band, min(P, (place + 1) * band)
                line = lines[n, group]
                for start in range(0, (i1 - i0) * pitch, step):
                    tile = zeros(y)
                    for t in range(T):
                        tile = add_outer(tile, weights, t * ROWS, line, i0 * pitch + start + offsets[t])
                    store(tile, sums, start, length)
                for r in range(min(ROWS, O - block * ROWS)):
                    o = group * O + block * ROWS + r
                    for i in range(i0, i1):
                        k, here = i * row_step + row0, r * length + (i - i0) * pitch
                        if 0 <= k < H:
                            for j in range(j0, j1):
                                value = sums[here + j] + b[o]
                                y[n, o, k, j * column_step + column0] = max(value, 0) if relu else value


@kernel
def _inner_products(lines, offsets, cotangents, O, P, pitch):
    N, groups, size = lines.shape
    blocks, T = (O + ROWS - 1) // ROWS, offsets.size
    plane, lane = P * pitch, REGISTER_BYTES // lines.itemsize
    band = max(1, 2 * _BAND // pitch)
    bands = (P + band - 1) // band
    together = max(1, 2 * _BAND // (pitch * P))  # small images share one sum over the lanes
    slabs = min(N * bands, (_TASKS + groups * blocks - 1) // (groups * blocks))
    partial = np.zeros((slabs, groups, blocks, T * ROWS), lines.dtype)
    flat = lines.reshape(-1)
    for task in prange(slabs * groups * blocks):
        slab, rest = divmod(np.int64(task), groups * blocks)
        group, block = divmod(rest, blocks)
        out = partial[slab, group, block]
        length = (min(band, P) * pitch + lane - 1) // lane * lane
        rows = np.zeros(ROWS * together * length, lines.dtype)
        begin, end = slab * N * bands // slabs, (slab + 1) * N * bands // slabs
        for some in range(begin, end, together):
            some_end = min(some + together, end)
            for number in range(some, some_end):
                n, place = divmod(number, bands)
                first, last = place * band * pitch, min(P, (place + 1) * band) * pitch
                for r in range(min(ROWS, O - block * ROWS)):
                    source, target = (block * ROWS + r) * plane, (r * together + number - some) * length
                    rows[target : target + last - first] = cotangents[n, group, source + first : source + last]
                    rows[target + last - first : target + length] = 0
            for t in range(0, T, COLS):
                tile = zeros(lines)
                for number in range(some, some_end):
                    n, place = divmod(number, bands)
                    first, last = place * band * pitch, min(P, (place + 1) * band) * pitch
                    here = (n * groups + group) * size + first
                    a, e, f = here + offsets[t], here + offsets[t + 1], here + offsets[t + 2]
                    row = (number - some) * length
                    for q in range(0, last - first, lane):
                        tile = add_inner(tile, rows, row + q, together * length, flat, a + q, e + q, f + q)
                add_sums(tile, out, t * ROWS)
    return partial


@kernel
def _plane_sums(g, b):
    N, O, P, Q = g.shape
    for o in prange(O):
        total = 0.0  # in float64 for either dtype
        for n in range(N):
            for i in range(P):
                for j in range(Q):
                    total += g[n, o, i, j]
        b[o] = total
