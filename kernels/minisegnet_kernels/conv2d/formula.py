r"""Convolution, as papers on networks write it and every framework computes it.

The documented formula ``F(x,y) = Σ_i Σ_j W(i,j)·I(x+i,y+j) + B`` is `forward` with one
channel, stride 1 and no padding. (A kernel that is not flipped is, strictly, a
cross-correlation; the field says convolution.)

Index letters, here and in every view::

    n  image of the batch      i, j  row and column of the output
    o  output channel          u, v  row and column of the kernel
    c  input channel           k, l  row and column of the input

The axes are N, C, H, W for the input, O, C/G, U, V for the kernel, N, O, P, Q for the output.
"""

from math import prod

import numpy as np

from ..registry import equation

_SYMBOLS = {
    "x": "input, (N, C, H, W)",
    "w": "kernel, (O, C/G, U, V)",
    "b": "bias, (O,)",
    "y": "output, (N, O, P, Q)",
    "mu": "mean of a channel of y, (O,)",
    "nu": "variance of a channel of y, (O,)",
    "M": "the number of values of a channel of y",
    "g": "gradient of the loss with respect to y, (N, O, P, Q)",
    "xbar": "gradient of the loss with respect to x, (N, C, H, W)",
    "wbar": "gradient of the loss with respect to w, (O, C/G, U, V)",
    "bbar": "gradient of the loss with respect to b, (O,)",
    "s_h": "option stride, of the rows; s_w of the columns",
    "p_h": "option padding, rows above; p_w columns at the left",
    "d_h": "option dilation, of the rows; d_w of the columns",
    "G": "option groups, their number",
}

#: The cell of x that output i, j meets under tap u, v; the sum over a window; and which cell it is.
_CELL = r"x_{n,\;\lfloor oG/O \rfloor C/G + c,\;k,\;l}"
_SUM = r"\sum_{c,u,v} w_{o,c,u,v}\; " + _CELL
_WHERE = r",\quad k = i s_h + u d_h - p_h,\quad l = j s_w + v d_w - p_w,\quad x = 0 \text{ outside}"


def _symbols(*names: str) -> dict[str, str]:
    return {name: _SYMBOLS[name] for name in (*names, "s_h", "p_h", "d_h", "G")}


def output_size(size: int, kernel: int, stride: int, padding: tuple[int, int], dilation: int) -> int:
    """P = ⌊(H + p_before + p_after − d (U − 1) − 1) / s⌋ + 1, for one axis."""
    return (size + sum(padding) - dilation * (kernel - 1) - 1) // stride + 1


def output_shape(x, w, b=None, *, stride, padding, dilation, groups=1):
    """(N, O, P, Q)."""
    return (len(x), len(w), *map(output_size, x.shape[2:], w.shape[2:], stride, padding, dilation))


def _operations(x, w, b, **options):
    """A multiply-add, which is two operations, for each of the C/G · U · V products of an output."""
    return 2 * prod(output_shape(x, w, b, **options)) * prod(w.shape[1:])


@equation(
    "conv2d.forward",
    tex=r"y_{n,o,i,j} = b_o + " + _SUM + _WHERE,
    symbols=_symbols("x", "w", "b", "y"),
    reference="Long, Shelhamer & Darrell, CVPR 2015, section 3",
    shape=output_shape,
    operations=_operations,
)
def forward(x, w, b, *, stride, padding, dilation, groups):
    (N, C, H, W), (O, _, U, V), G = x.shape, w.shape, groups
    (sh, sw), ((ph, _), (pw, _)), (dh, dw) = stride, padding, dilation
    P = output_size(H, U, sh, padding[0], dh)
    Q = output_size(W, V, sw, padding[1], dw)
    y = np.zeros((N, O, P, Q), np.result_type(x, w, b))
    for n, o, i, j in np.ndindex(N, O, P, Q):
        y[n, o, i, j] = b[o]
        for c, u, v in np.ndindex(C // G, U, V):
            k, l = i * sh + u * dh - ph, j * sw + v * dw - pw
            if 0 <= k < H and 0 <= l < W:
                y[n, o, i, j] += w[o, c, u, v] * x[n, o * G // O * (C // G) + c, k, l]
    return y


@equation(
    "conv2d.forward_relu",
    tex=r"y_{n,o,i,j} = \max\Big(0,\; b_o + " + _SUM + r"\Big)" + _WHERE,
    symbols=_symbols("x", "w", "b", "y"),
    shape=output_shape,
    operations=_operations,
)
def forward_relu(x, w, b, *, stride, padding, dilation, groups):
    (N, C, H, W), (O, _, U, V), G = x.shape, w.shape, groups
    (sh, sw), ((ph, _), (pw, _)), (dh, dw) = stride, padding, dilation
    P = output_size(H, U, sh, padding[0], dh)
    Q = output_size(W, V, sw, padding[1], dw)
    y = np.zeros((N, O, P, Q), np.result_type(x, w, b))
    for n, o, i, j in np.ndindex(N, O, P, Q):
        y[n, o, i, j] = b[o]
        for c, u, v in np.ndindex(C // G, U, V):
            k, l = i * sh + u * dh - ph, j * sw + v * dw - pw
            if 0 <= k < H and 0 <= l < W:
                y[n, o, i, j] += w[o, c, u, v] * x[n, o * G // O * (C // G) + c, k, l]
        if y[n, o, i, j] < 0:
            y[n, o, i, j] = 0
    return y


@equation(
    "conv2d.forward_statistics",
    tex=r"y_{n,o,i,j} = b_o + "
    + _SUM
    + _WHERE
    + r",\quad \mu_o = \frac{1}{M} \sum_{n,i,j} y_{n,o,i,j},\quad \nu_o = \frac{1}{M} \sum_{n,i,j} (y_{n,o,i,j} - \mu_o)^2,\quad M = NPQ",
    returns="y mu nu",
    symbols=_symbols("x", "w", "b", "y", "M", "mu", "nu"),
    reference="Ioffe & Szegedy, arXiv 1502.03167, algorithm 1: the statistics that a batch normalisation of y starts with",
    shape=lambda x, w, b, **options: [output_shape(x, w, b, **options), b.shape, b.shape],
    operations=lambda x, w, b, **options: (
        _operations(x, w, b, **options) + 4 * prod(output_shape(x, w, b, **options))
    ),  # mean 1, variance 3
)
def forward_statistics(x, w, b, *, stride, padding, dilation, groups):
    (N, C, H, W), (O, _, U, V), G = x.shape, w.shape, groups
    (sh, sw), ((ph, _), (pw, _)), (dh, dw) = stride, padding, dilation
    P = output_size(H, U, sh, padding[0], dh)
    Q = output_size(W, V, sw, padding[1], dw)
    y, M = np.zeros((N, O, P, Q), np.result_type(x, w, b)), N * P * Q
    mu, nu = np.zeros(O, y.dtype), np.zeros(O, y.dtype)
    for n, o, i, j in np.ndindex(N, O, P, Q):
        y[n, o, i, j] = b[o]
        for c, u, v in np.ndindex(C // G, U, V):
            k, l = i * sh + u * dh - ph, j * sw + v * dw - pw
            if 0 <= k < H and 0 <= l < W:
                y[n, o, i, j] += w[o, c, u, v] * x[n, o * G // O * (C // G) + c, k, l]
        mu[o] += y[n, o, i, j] / M
    for n, o, i, j in np.ndindex(N, O, P, Q):
        nu[o] += (y[n, o, i, j] - mu[o]) * (y[n, o, i, j] - mu[o]) / M
    return y, mu, nu


@equation(
    "conv2d.grad_input",
    grad_of="conv2d.forward",
    wrt="x",
    tex=r"\bar x_{n,c,k,l} = \sum_{\lfloor oG/O \rfloor = \lfloor cG/C \rfloor} \; \sum_{\substack{i s_h + u d_h - p_h = k \\ j s_w + v d_w - p_w = l}}"
    r" w_{o,\,c \bmod C/G,\,u,v}\; g_{n,o,i,j}",
    symbols=_symbols("w", "g", "xbar"),
    reference="Dumoulin & Visin, arXiv 1603.07285, section 4: the transposed convolution is this equation read forwards",
    shape=lambda g, w, *, input_size, groups, **options: (len(g), w.shape[1] * groups, *input_size),
    operations=lambda g, w, **options: 2 * g.size * prod(w.shape[1:]),  # each g meets C/G · U · V weights
)
def grad_input(g, w, *, input_size, stride, padding, dilation, groups):
    (N, O, P, Q), (_, _, U, V), (H, W), G = g.shape, w.shape, input_size, groups
    (sh, sw), ((ph, _), (pw, _)), (dh, dw), C = stride, padding, dilation, w.shape[1] * groups
    xbar = np.zeros((N, C, H, W), np.result_type(g, w))
    for n, c, k, l in np.ndindex(N, C, H, W):
        for o, i, j, u, v in np.ndindex(O, P, Q, U, V):
            if o * G // O == c * G // C and i * sh + u * dh - ph == k and j * sw + v * dw - pw == l:
                xbar[n, c, k, l] += w[o, c % (C // G), u, v] * g[n, o, i, j]
    return xbar


@equation(
    "conv2d.grad_weight",
    grad_of="conv2d.forward",
    wrt="w",
    tex=r"\frac{\partial L}{\partial w_{o,c,u,v}} = \sum_{n,i,j} g_{n,o,i,j}\; " + _CELL + _WHERE,
    symbols=_symbols("x", "g", "wbar"),
    shape=lambda g, x, *, kernel_size, groups, **options: (g.shape[1], x.shape[1] // groups, *kernel_size),
    operations=lambda g, x, *, kernel_size, groups, **options: 2 * g.size * (x.shape[1] // groups) * prod(kernel_size),
)
def grad_weight(g, x, *, kernel_size, stride, padding, dilation, groups):
    (N, C, H, W), (_, O, P, Q), (U, V), G = x.shape, g.shape, kernel_size, groups
    (sh, sw), ((ph, _), (pw, _)), (dh, dw) = stride, padding, dilation
    wbar = np.zeros((O, C // G, U, V), np.result_type(g, x))
    for o, c, u, v in np.ndindex(O, C // G, U, V):
        for n, i, j in np.ndindex(N, P, Q):
            k, l = i * sh + u * dh - ph, j * sw + v * dw - pw
            if 0 <= k < H and 0 <= l < W:
                wbar[o, c, u, v] += g[n, o, i, j] * x[n, o * G // O * (C // G) + c, k, l]
    return wbar


@equation(
    "conv2d.grad_bias",
    grad_of="conv2d.forward",
    wrt="b",
    tex=r"\bar b_o = \sum_{n,i,j} g_{n,o,i,j}",
    symbols={"g": _SYMBOLS["g"], "bbar": _SYMBOLS["bbar"]},
    shape=lambda g: g.shape[1:2],
    operations=lambda g: g.size,
)
def grad_bias(g):
    N, O, P, Q = g.shape
    bbar = np.zeros(O, g.dtype)
    for o, n, i, j in np.ndindex(O, N, P, Q):
        bbar[o] += g[n, o, i, j]
    return bbar
