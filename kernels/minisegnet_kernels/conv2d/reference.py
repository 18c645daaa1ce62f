"""Convolution in NumPy, written to be read beside ``formula.py``.

`_windows` shows ``x[n, c, i s + u d − p, j s + v d − p]`` as an array with the axes
``n g c i j u v``, without a copy. With it each equation becomes one ``einsum`` in its own letters.
"""

import numpy as np


def _windows(x, size, stride, padding, dilation, groups):
    """View of x with axes n, g (group), c (channel in the group), i, j, u, v."""
    (U, V), (sh, sw), (dh, dw) = size, stride, dilation
    padded = np.pad(x, ((0, 0), (0, 0), *padding))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (dh * (U - 1) + 1, dw * (V - 1) + 1), axis=(2, 3))
    windows = windows[:, :, ::sh, ::sw, ::dh, ::dw]  #: k, l
    return windows.reshape(x.shape[0], groups, -1, *windows.shape[2:])


def forward(x, w, b, *, stride, padding, dilation, groups):
    windows = _windows(x, w.shape[2:], stride, padding, dilation, groups)
    y = np.einsum("gocuv,ngcijuv->ngoij", _grouped(w, groups), windows, optimize=True)  #: w, x
    return y.reshape(y.shape[0], -1, *y.shape[3:]) + b[:, None, None]


def forward_relu(x, w, b, *, stride, padding, dilation, groups):
    return np.maximum(forward(x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups), 0)


def forward_statistics(x, w, b, *, stride, padding, dilation, groups):
    y = forward(x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups)
    mu = y.mean(axis=(0, 2, 3))
    return y, mu, np.square(y - mu[:, None, None]).mean(axis=(0, 2, 3))


def grad_input(g, w, *, input_size, stride, padding, dilation, groups):
    (N, _, P, Q), (_, Cg, U, V), (H, W) = g.shape, w.shape, input_size
    (sh, sw), ((pt, pb), (pl, pr)), (dh, dw) = stride, padding, dilation
    products = np.einsum("gocuv,ngoij->ngcuvij", _grouped(w, groups), g.reshape(N, groups, -1, P, Q), optimize=True)  #: w, g
    products = products.reshape(N, groups * Cg, U, V, P, Q)
    # Room for every row that a window touches, and for the rows of x that lie behind the last window.
    rows, columns = max(H + pt + pb, (P - 1) * sh + dh * (U - 1) + 1), max(W + pl + pr, (Q - 1) * sw + dw * (V - 1) + 1)
    padded = np.zeros_like(g, shape=(N, groups * Cg, rows, columns))
    for u in range(U):
        for v in range(V):
            padded[:, :, u * dh : u * dh + P * sh : sh, v * dw : v * dw + Q * sw : sw] += products[:, :, u, v]  #: xbar
    return padded[:, :, pt : pt + H, pl : pl + W].copy()


def grad_weight(g, x, *, kernel_size, stride, padding, dilation, groups):
    windows = _windows(x, kernel_size, stride, padding, dilation, groups)
    N, _, P, Q = g.shape
    wbar = np.einsum("ngoij,ngcijuv->gocuv", g.reshape(N, groups, -1, P, Q), windows, optimize=True)  #: g, x
    return wbar.reshape(-1, *wbar.shape[2:])


def grad_bias(g):
    return g.sum(axis=(0, 2, 3))  #: bbar, g


def _grouped(w, groups):
    """(O, C/G, U, V) → g, o (channel in the group), c, u, v."""
    return w.reshape(groups, -1, *w.shape[1:])
