r"""Pooling: each window of the input leaves one value, its largest or its mean.

The documented formula ``P(x,y) = max_{i,j} { W(i,j)·F(x+i,y+j) + B }`` is `forward`: a
maximum whose weights and bias can be learnt. `max` is the same with W = 1 and B = 0, and
`average` stands beside it.

Index letters, here and in every view::

    n  image of the batch      u, v  row and column of the window
    c  channel                 k, l  row and column of the input
    i, j  row and column of the output

The axes are N, C, H, W for the input, C, U, V for the weights, N, C, P, Q for the output.

Padding never wins a maximum: its cells are left out, and not filled with 0 or −∞ (with a
negative weight, −∞ would win). Of equal values the first in row-major order wins. A NaN wins
over everything before it, so that a fault upstream stays visible.

The winner of a window is kept as its place there, 0 to U V − 1, counted along the rows: of a 2 × 2
window 0 and 1 stand above 2 and 3. That takes one byte, where an index into the image would take
eight, and the place names at once the weight that it met and, with i and j, the cell. `unpool`, which
knows of no window, takes flat indices k W + l; ``pool2d.flat_indices`` makes them.
"""

from math import prod

import numpy as np

from ..registry import equation

_SYMBOLS = {
    "x": "input, (N, C, H, W)",
    "w": "weights of the window, (C, U, V)",
    "b": "bias, (C,)",
    "y": "output, (N, C, P, Q)",
    "m": "winner: place u V + v in its window of the cell that is the maximum, (N, C, P, Q)",
    "g": "gradient of the loss with respect to y, (N, C, P, Q)",
    "xbar": "gradient of the loss with respect to x, (N, C, H, W)",
    "wbar": "gradient of the loss with respect to w, (C, U, V)",
    "bbar": "gradient of the loss with respect to b, (C,)",
    "U": "rows of the window; V its columns",
    "s_h": "option stride, of the rows; s_w of the columns",
    "p_h": "option padding, rows above; p_w columns at the left",
    "d_h": "option dilation, of the rows; d_w of the columns",
    "q_h": "option padding, rows below; q_w columns at the right",
    "k": "row of the input; l its column",
    "a": "number of cells of window i, j that count: those of the input, or those of the padded input",
    "A": "rows of the input in region i",
    "B": "columns of the input in region j",
}

_CELL = r"\quad k = i s_h + u d_h - p_h,\quad l = j s_w + v d_w - p_w"
_LARGEST = r"\max_{\substack{u,\, v \\ 0 \le k < H \\ 0 \le l < W}} "
_WINNER = r"\quad m_{n,c,i,j} = \min \{ uV + v : 0 \le k < H,\; 0 \le l < W,\; "
_MET = r"\substack{i s_h + u d_h - p_h = k \\ j s_w + v d_w - p_w = l}"
_MET_UNDILATED = r"\substack{i s_h + u - p_h = k \\ j s_w + v - p_w = l}"
_COUNTED = (
    r"\quad a_{i,j} = \begin{cases}"
    r" |\{ (u, v) : i s_h + u < p_h + H + q_h,\; j s_w + v < p_w + W + q_w \}| & \text{count include pad} \\"
    r" |\{ (u, v) : 0 \le i s_h + u - p_h < H,\; 0 \le j s_w + v - p_w < W \}| & \text{otherwise} \end{cases}"
)
_REGIONS = (
    r"A_i = \{ k : \lfloor iH/P \rfloor \le k < \lceil (i+1)H/P \rceil \}"
    r",\quad B_j = \{ l : \lfloor jW/Q \rfloor \le l < \lceil (j+1)W/Q \rceil \}"
)


def _symbols(*names: str) -> dict[str, str]:
    return {name: _SYMBOLS[name] for name in names}


_WINDOW = ("U", "s_h", "p_h", "d_h", "k")


def pooled_size(size: int, kernel: int, stride: int, padding: tuple[int, int], dilation: int, ceil_mode: bool) -> int:
    """Number of windows along one axis.

    With ``ceil_mode`` a last window may hang over the end, if it starts in the input or in
    the padding before it.
    """
    steps = size + sum(padding) - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return steps // stride + 1
    windows = -(-steps // stride) + 1
    return windows - 1 if (windows - 1) * stride >= size + padding[0] else windows


def pooled_shape(x, *, kernel_size, stride, padding, dilation=(1, 1), ceil_mode, **options):
    """(N, C, P, Q)."""
    axes = zip(x.shape[2:], kernel_size, stride, padding, dilation, strict=True)
    return (*x.shape[:2], *(pooled_size(*axis, ceil_mode) for axis in axes))


def _cells(x, **options):
    """The cells of all windows, padding included."""
    return prod(pooled_shape(x, **options)) * prod(options["kernel_size"])


def _before(g, *arrays, input_size, **options):
    """(N, C, H, W), the shape of what was pooled."""
    return (*g.shape[:2], *input_size)


def winner_dtype(kernel_size: tuple[int, int]) -> np.dtype:
    """A byte holds the places of a window of up to 256 cells; those of a larger one are int32."""
    return np.dtype(np.uint8 if kernel_size[0] * kernel_size[1] <= 256 else np.int32)


def _wins(challenger, holder) -> bool:
    return challenger > holder or np.isnan(challenger)


@equation(
    "pool2d.forward",
    tex=r"y_{n,c,i,j} = "
    + _LARGEST
    + r"\{ w_{c,u,v}\; x_{n,c,k,l} + b_c \},"
    + _WINNER
    + r"w_{c,u,v}\; x_{n,c,k,l} + b_c = y_{n,c,i,j} \},"
    + _CELL,
    returns="y m",
    symbols=_symbols("x", "w", "b", "y", "m", *_WINDOW),
    shape=lambda x, w, b, **options: [pooled_shape(x, kernel_size=w.shape[1:], **options)] * 2,
    dtypes=lambda x, w, b, **options: [x.dtype, winner_dtype(w.shape[1:])],
    operations=lambda x, w, b, **options: 3 * _cells(x, kernel_size=w.shape[1:], **options),  # w x + b, compare
)
def forward(x, w, b, *, stride, padding, dilation, ceil_mode):
    (N, C, H, W), (_, U, V) = x.shape, w.shape
    (sh, sw), ((ph, _), (pw, _)), (dh, dw) = stride, padding, dilation
    P = pooled_size(H, U, sh, padding[0], dh, ceil_mode)
    Q = pooled_size(W, V, sw, padding[1], dw, ceil_mode)
    y, m = np.zeros((N, C, P, Q), np.result_type(x, w, b)), np.full((N, C, P, Q), -1)
    for n, c, i, j in np.ndindex(N, C, P, Q):
        for u, v in np.ndindex(U, V):
            k, l = i * sh + u * dh - ph, j * sw + v * dw - pw
            if 0 <= k < H and 0 <= l < W and (m[n, c, i, j] < 0 or _wins(w[c, u, v] * x[n, c, k, l], y[n, c, i, j])):
                y[n, c, i, j], m[n, c, i, j] = w[c, u, v] * x[n, c, k, l], u * V + v
        y[n, c, i, j] += b[c]  # the same for every u, v: it raises the maximum and does not choose it
    return y, m.astype(winner_dtype((U, V)))


@equation(
    "pool2d.grad_input",
    grad_of="pool2d.forward",
    wrt="x",
    tex=r"\bar x_{n,c,k,l} = \sum_{" + _MET + r"} [m_{n,c,i,j} = uV + v]\; w_{c,u,v}\; g_{n,c,i,j}",
    symbols=_symbols("w", "g", "m", "xbar", *_WINDOW),
    shape=_before,
    operations=lambda g, *_, **options: 2 * g.size,
)
def grad_input(g, m, w, *, input_size, stride, padding, dilation):
    (N, C, P, Q), (_, U, V), (H, W) = g.shape, w.shape, input_size
    (sh, sw), ((ph, _), (pw, _)), (dh, dw) = stride, padding, dilation
    xbar = np.zeros((N, C, H, W), np.result_type(g, w))
    for n, c, k, l in np.ndindex(N, C, H, W):
        for i, j, u, v in np.ndindex(P, Q, U, V):
            if i * sh + u * dh - ph == k and j * sw + v * dw - pw == l and m[n, c, i, j] == u * V + v:
                xbar[n, c, k, l] += w[c, u, v] * g[n, c, i, j]
    return xbar


@equation(
    "pool2d.grad_weight",
    grad_of="pool2d.forward",
    wrt="w",
    tex=r"\frac{\partial L}{\partial w_{c,u,v}} = \sum_{n,i,j} [m_{n,c,i,j} = uV + v]\; g_{n,c,i,j}\; x_{n,c,k,l},"
    + _CELL
    + r",\quad x = 0 \text{ outside}",
    symbols=_symbols("x", "g", "m", "wbar", *_WINDOW),
    shape=lambda g, m, x, *, kernel_size, **options: (x.shape[1], *kernel_size),
    operations=lambda g, *_, **options: 2 * g.size,
)
def grad_weight(g, m, x, *, kernel_size, stride, padding, dilation):
    (N, C, P, Q), (_, _, H, W), (U, V) = g.shape, x.shape, kernel_size
    (sh, sw), ((ph, _), (pw, _)), (dh, dw) = stride, padding, dilation
    wbar = np.zeros((C, U, V), np.result_type(g, x))
    for c, u, v in np.ndindex(C, U, V):
        for n, i, j in np.ndindex(N, P, Q):
            k, l = i * sh + u * dh - ph, j * sw + v * dw - pw
            if 0 <= k < H and 0 <= l < W and m[n, c, i, j] == u * V + v:
                wbar[c, u, v] += g[n, c, i, j] * x[n, c, k, l]
    return wbar


@equation(
    "pool2d.grad_bias",
    grad_of="pool2d.forward",
    wrt="b",
    tex=r"\bar b_c = \sum_{n,i,j} g_{n,c,i,j}",
    symbols=_symbols("g", "bbar"),
    shape=lambda g: g.shape[1:2],
    operations=lambda g: g.size,
)
def grad_bias(g):
    N, C, P, Q = g.shape
    bbar = np.zeros(C, g.dtype)
    for c, n, i, j in np.ndindex(C, N, P, Q):
        bbar[c] += g[n, c, i, j]
    return bbar


@equation(
    "pool2d.max",
    tex=r"y_{n,c,i,j} = " + _LARGEST + r"x_{n,c,k,l}," + _WINNER + r"x_{n,c,k,l} = y_{n,c,i,j} \}," + _CELL,
    returns="y m",
    symbols=_symbols("x", "y", "m", *_WINDOW),
    shape=lambda x, **options: [pooled_shape(x, **options)] * 2,
    dtypes=lambda x, *, kernel_size, **options: [x.dtype, winner_dtype(kernel_size)],
    operations=lambda x, **options: _cells(x, **options),
)
def max(x, *, kernel_size, stride, padding, dilation, ceil_mode):
    (N, C, H, W), (U, V) = x.shape, kernel_size
    (sh, sw), ((ph, _), (pw, _)), (dh, dw) = stride, padding, dilation
    P = pooled_size(H, U, sh, padding[0], dh, ceil_mode)
    Q = pooled_size(W, V, sw, padding[1], dw, ceil_mode)
    y, m = np.zeros((N, C, P, Q), x.dtype), np.full((N, C, P, Q), -1)
    for n, c, i, j in np.ndindex(N, C, P, Q):
        for u, v in np.ndindex(U, V):
            k, l = i * sh + u * dh - ph, j * sw + v * dw - pw
            if 0 <= k < H and 0 <= l < W and (m[n, c, i, j] < 0 or _wins(x[n, c, k, l], y[n, c, i, j])):
                y[n, c, i, j], m[n, c, i, j] = x[n, c, k, l], u * V + v
    return y, m.astype(winner_dtype((U, V)))


@equation(
    "pool2d.grad_max",
    grad_of="pool2d.max",
    wrt="x",
    tex=r"\bar x_{n,c,k,l} = \sum_{" + _MET + r"} [m_{n,c,i,j} = uV + v]\; g_{n,c,i,j}",
    symbols=_symbols("g", "m", "xbar", *_WINDOW),
    shape=_before,
    operations=lambda g, m, **options: g.size,
)
def grad_max(g, m, *, input_size, kernel_size, stride, padding, dilation):
    (N, C, P, Q), (U, V), (H, W) = g.shape, kernel_size, input_size
    (sh, sw), ((ph, _), (pw, _)), (dh, dw) = stride, padding, dilation
    xbar = np.zeros((N, C, H, W), g.dtype)
    for n, c, k, l in np.ndindex(N, C, H, W):
        for i, j, u, v in np.ndindex(P, Q, U, V):
            if i * sh + u * dh - ph == k and j * sw + v * dw - pw == l and m[n, c, i, j] == u * V + v:
                xbar[n, c, k, l] += g[n, c, i, j]
    return xbar


def _cells_that_count(outputs, input_size, kernel_size, stride, padding, count_include_pad):
    """a_{i,j}: with padding, the cells of the padded input; without, those of the input."""
    (H, W), (U, V), (sh, sw), ((pt, pb), (pl, pr)) = input_size, kernel_size, stride, padding
    (top, bottom), (left, right) = ((-pt, H + pb), (-pl, W + pr)) if count_include_pad else ((0, H), (0, W))
    a = np.zeros(outputs)
    for i, j in np.ndindex(*outputs):
        for u, v in np.ndindex(U, V):
            k, l = i * sh + u - pt, j * sw + v - pl
            a[i, j] += top <= k < bottom and left <= l < right
    return a


@equation(
    "pool2d.average",
    tex=r"y_{n,c,i,j} = \frac{1}{a_{i,j}} \sum_{u,v} x_{n,c,k,l},\quad k = i s_h + u - p_h,\quad l = j s_w + v - p_w,\quad x = 0 \text{ outside},"
    + _COUNTED,
    symbols=_symbols("x", "y", "a", "s_h", "p_h", "q_h"),
    shape=pooled_shape,
    operations=lambda x, **options: _cells(x, **options),
)
def average(x, *, kernel_size, stride, padding, ceil_mode, count_include_pad):
    (N, C, H, W), (U, V), (sh, sw), ((ph, _), (pw, _)) = x.shape, kernel_size, stride, padding
    P = pooled_size(H, U, sh, padding[0], 1, ceil_mode)
    Q = pooled_size(W, V, sw, padding[1], 1, ceil_mode)
    a = _cells_that_count((P, Q), (H, W), kernel_size, stride, padding, count_include_pad)
    y = np.zeros((N, C, P, Q), x.dtype)
    for n, c, i, j in np.ndindex(N, C, P, Q):
        for u, v in np.ndindex(U, V):
            k, l = i * sh + u - ph, j * sw + v - pw
            if 0 <= k < H and 0 <= l < W:
                y[n, c, i, j] += x[n, c, k, l]
        y[n, c, i, j] /= a[i, j]
    return y


@equation(
    "pool2d.grad_average",
    grad_of="pool2d.average",
    wrt="x",
    tex=r"\frac{\partial L}{\partial x_{n,c,k,l}} = \sum_{" + _MET_UNDILATED + r"} \frac{g_{n,c,i,j}}{a_{i,j}}," + _COUNTED,
    symbols=_symbols("g", "a", "xbar", "s_h", "p_h", "q_h"),
    shape=_before,
    operations=lambda g, *, input_size, **options: prod(g.shape[:2]) * prod(input_size),
)
def grad_average(g, *, input_size, kernel_size, stride, padding, count_include_pad):
    (N, C, P, Q), (H, W), (U, V) = g.shape, input_size, kernel_size
    (sh, sw), ((ph, _), (pw, _)) = stride, padding
    a = _cells_that_count((P, Q), (H, W), kernel_size, stride, padding, count_include_pad)
    xbar = np.zeros((N, C, H, W), g.dtype)
    for n, c, k, l in np.ndindex(N, C, H, W):
        for i, j, u, v in np.ndindex(P, Q, U, V):
            if i * sh + u - ph == k and j * sw + v - pw == l:
                xbar[n, c, k, l] += g[n, c, i, j] / a[i, j]
    return xbar


def _region(i, size, regions):
    """Cells of region i when an axis is cut into regions that may share their border cells."""
    return range(i * size // regions, -(-(i + 1) * size // regions))


@equation(
    "pool2d.adaptive_average",
    tex=r"y_{n,c,i,j} = \frac{1}{|A_i|\,|B_j|} \sum_{k \in A_i} \sum_{l \in B_j} x_{n,c,k,l},\quad " + _REGIONS,
    symbols=_symbols("x", "y", "A", "B", "k"),
    reference="He, Zhang, Ren & Sun, ECCV 2014 (spatial pyramid pooling); the regions are PyTorch's",
    shape=lambda x, *, output_size: (*x.shape[:2], *output_size),
    operations=lambda x, *, output_size: x.size,
)
def adaptive_average(x, *, output_size):
    (N, C, H, W), (P, Q) = x.shape, output_size
    y = np.zeros((N, C, P, Q), x.dtype)
    for n, c, i, j in np.ndindex(N, C, P, Q):
        A, B = _region(i, H, P), _region(j, W, Q)
        for k in A:
            for l in B:
                y[n, c, i, j] += x[n, c, k, l]
        y[n, c, i, j] /= len(A) * len(B)
    return y


@equation(
    "pool2d.grad_adaptive_average",
    grad_of="pool2d.adaptive_average",
    wrt="x",
    tex=r"\frac{\partial L}{\partial x_{n,c,k,l}} = \sum_{i :\, k \in A_i} \; \sum_{j :\, l \in B_j} \frac{g_{n,c,i,j}}{|A_i|\,|B_j|},\quad "
    + _REGIONS,
    symbols=_symbols("g", "A", "B", "xbar", "k"),
    shape=_before,
    operations=lambda g, *, input_size: prod(g.shape[:2]) * prod(input_size),
)
def grad_adaptive_average(g, *, input_size):
    (N, C, P, Q), (H, W) = g.shape, input_size
    xbar = np.zeros((N, C, H, W), g.dtype)
    for n, c, k, l in np.ndindex(N, C, H, W):
        for i, j in np.ndindex(P, Q):
            A, B = _region(i, H, P), _region(j, W, Q)
            if k in A and l in B:
                xbar[n, c, k, l] += g[n, c, i, j] / (len(A) * len(B))
    return xbar


_LAST = r"\quad e_{n,c,k,l} = \max \{ iQ + j : m_{n,c,i,j} = kW + l \},\quad \max \varnothing = -1"
_UNPOOLED = {
    "e": "place i Q + j of the last pooled value that came from k, l; −1 if there is none",
    "m": "where each came from: flat index k W + l in the output, (N, C, P, Q)",
    "k": "row of the output; l its column",
}


@equation(
    "pool2d.unpool",
    tex=r"y_{n,c,k,l} = \sum_{i,j} [iQ + j = e_{n,c,k,l}]\; x_{n,c,i,j}," + _LAST,
    symbols={"x": "pooled values, (N, C, P, Q)", "y": "output, (N, C, H, W)"} | _UNPOOLED,
    reference="Badrinarayanan, Kendall & Cipolla, TPAMI 2017 (SegNet), section 3",
    shape=lambda x, m, *, output_size: (*x.shape[:2], *output_size),
    operations=lambda x, m, *, output_size: 0,
)
def unpool(x, m, *, output_size):
    (N, C, P, Q), (H, W) = x.shape, output_size
    y = np.zeros((N, C, H, W), x.dtype)
    for n, c, k, l in np.ndindex(N, C, H, W):
        for i, j in np.ndindex(P, Q):
            if m[n, c, i, j] == k * W + l:  #: e
                y[n, c, k, l] = x[n, c, i, j]
    return y


@equation(
    "pool2d.grad_unpool",
    grad_of="pool2d.unpool",
    wrt="x",
    tex=r"\frac{\partial L}{\partial x_{n,c,i,j}} = \sum_{k,l} [iQ + j = e_{n,c,k,l}]\; g_{n,c,k,l}," + _LAST,
    symbols={"g": "gradient of the loss with respect to y, (N, C, H, W)", "xbar": "gradient of the loss with respect to x, (N, C, P, Q)"}
    | _UNPOOLED,
    shape=lambda g, m: m.shape,
    operations=lambda g, m: 0,
)
def grad_unpool(g, m):
    (N, C, P, Q), (_, _, H, W) = m.shape, g.shape
    xbar = np.zeros((N, C, P, Q), g.dtype)
    for n, c, k, l in np.ndindex(N, C, H, W):
        for i, j in reversed(list(np.ndindex(P, Q))):
            if m[n, c, i, j] == k * W + l:  #: e
                xbar[n, c, i, j] = g[n, c, k, l]
                break
    return xbar
