"""Local response normalisation on the CPU, compiled by Numba.

Thread map: one task = one block of consecutive points of one image, with all its channels. The
innermost loops run over neighbouring points and become vector code.
"""

import numpy as np

from ..jit import inline, kernel, prange

_BLOCK = 256  # points: with a few hundred channels, a block stays in the second-level cache


@inline
def _scale(x, c, before, after, factor, k, s):
    """s_c = k + factor · Σ x_m² over the channels from c − before to c + after, for each point of a block."""
    s[:] = 0
    for m in range(max(0, c - before), min(x.shape[0], c + after + 1)):
        for q in range(len(s)):
            s[q] += x[m, q] * x[m, q]
    for q in range(len(s)):
        s[q] = k + factor * s[q]


@inline
def _power(s, beta, power):
    """s^−β. The usual exponent ¾ is two square roots, which are many times faster than a power."""
    if beta == 0.75:
        one = s.dtype.type(1)  # an integer 1 would make float64 of float32
        for q in range(len(s)):
            root = np.sqrt(s[q])
            power[q] = one / (root * np.sqrt(root))
    else:
        for q in range(len(s)):
            power[q] = s[q] ** -beta


def _lines(a):
    """(N, C, H, W) → (N, C, H·W). Points are independent of each other, so rows do not matter."""
    return a.reshape(*a.shape[:2], a.shape[2] * a.shape[3])


def forward(x, *, size, alpha, beta, k):
    y = np.empty_like(x)
    constants = (x.dtype.type(value) for value in (alpha / size, beta, k))
    _forward(_lines(x), _lines(y), size, *constants)
    return y


@kernel
def _forward(x, y, size, factor, beta, k):
    N, C, points = x.shape
    blocks = (points + _BLOCK - 1) // _BLOCK
    for task in prange(N * blocks):
        n, start = task // blocks, task % blocks * _BLOCK
        stop = min(start + _BLOCK, points)
        s, power = np.empty(stop - start, x.dtype), np.empty(stop - start, x.dtype)
        for c in range(C):
            _scale(x[n, :, start:stop], c, size // 2, (size - 1) // 2, factor, k, s)
            _power(s, beta, power)
            for q in range(stop - start):
                y[n, c, start + q] = x[n, c, start + q] * power[q]


def grad_input(g, x, *, size, alpha, beta, k):
    xbar = np.empty_like(x)
    constants = (x.dtype.type(value) for value in (alpha / size, 2 * alpha * beta / size, beta, k))
    _grad_input(_lines(g), _lines(x), _lines(xbar), size, *constants)
    return xbar


@kernel
def _grad_input(g, x, xbar, size, factor, twice, beta, k):
    N, C, points = x.shape
    blocks = (points + _BLOCK - 1) // _BLOCK
    for task in prange(N * blocks):
        n, start = task // blocks, task % blocks * _BLOCK
        stop = min(start + _BLOCK, points)
        s, power = np.empty(stop - start, x.dtype), np.empty(stop - start, x.dtype)
        share = np.empty((C, stop - start), x.dtype)  # g_m x_m s_m^(−β−1): the term of channel m in the sums of its neighbours
        for c in range(C):
            _scale(x[n, :, start:stop], c, size // 2, (size - 1) // 2, factor, k, s)
            _power(s, beta, power)
            for q in range(stop - start):
                damped = g[n, c, start + q] * power[q]
                xbar[n, c, start + q] = damped
                share[c, q] = damped * x[n, c, start + q] / s[q]  #: g
        for c in range(C):
            s[:] = 0
            for m in range(max(0, c - (size - 1) // 2), min(C, c + size // 2 + 1)):
                for q in range(stop - start):
                    s[q] += share[m, q]
            for q in range(stop - start):
                xbar[n, c, start + q] -= twice * x[n, c, start + q] * s[q]
