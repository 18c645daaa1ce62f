"""Labelling on the CPU, compiled by Numba.

Thread map: one task = one block of consecutive points of one image. For every point of a block
it keeps the number k of the best region so far, and goes through the regions (or channels) one
by one: the innermost loop runs over neighbouring points and becomes vector code.
"""

import numpy as np

from ..jit import inline, kernel, prange

_BLOCK = 1024  # points whose values and region numbers stay in the first-level cache


@inline
def _write(k, l, default, S, n, start):
    """Labels for the regions of a block; returns the place of its first point in no region, or −1."""
    first = -1
    for q in range(len(k)):
        if k[q] >= 0:
            S[n, start + q] = l[k[q]]
        else:
            S[n, start + q] = default
            if first < 0:
                first = n * S.shape[1] + start + q
    return first


def _first(outside):
    """The least place that a block has found, or −1."""
    outside = outside[outside >= 0]
    return np.array([outside.min() if outside.size else -1], np.int64)


def _blocks(images, points):
    """Room for one place for each block."""
    return np.full(images * -(-points // _BLOCK), -1, np.int64)


def argmax(x, l):
    N, C, H, W = x.shape
    S = np.empty((N, H, W), l.dtype)
    _argmax(x.reshape(N, C, H * W), l, S.reshape(N, H * W))
    return S


@kernel
def _argmax(x, l, S):
    N, C, points = x.shape
    blocks = (points + _BLOCK - 1) // _BLOCK
    for task in prange(N * blocks):
        n, start = task // blocks, task % blocks * _BLOCK
        count = min(_BLOCK, points - start)
        best = x[n, 0, start : start + count].copy()
        k = np.zeros(count, np.int32)
        for c in range(1, C):
            scores = x[n, c, start : start + count]
            for q in range(count):
                wins = (scores[q] > best[q]) | ((scores[q] != scores[q]) & (best[q] == best[q]))
                best[q] = scores[q] if wins else best[q]
                k[q] = c if wins else k[q]  #: f
        for q in range(count):
            S[n, start + q] = l[k[q]]


def intervals(x, r, l, *, default):
    N, H, W = x.shape
    S, outside = np.empty((N, H, W), l.dtype), _blocks(N, H * W)
    _intervals(x.reshape(N, H * W), r, l, np.array([0 if default is None else default], l.dtype), S.reshape(N, H * W), outside)
    return S, _first(outside)


@kernel
def _intervals(x, r, l, default, S, outside):
    N, points = x.shape
    blocks = (points + _BLOCK - 1) // _BLOCK
    for task in prange(N * blocks):
        n, start = task // blocks, task % blocks * _BLOCK
        count = min(_BLOCK, points - start)
        values = x[n, start : start + count]
        k = np.full(count, -1, np.int32)
        for back in range(len(l)):
            region = len(l) - 1 - back  # the lowest is written last and stays
            low, high = r[region, 0], r[region, 1]
            for q in range(count):
                k[q] = region if (low <= values[q]) & (values[q] < high) else k[q]  #: f, x, r
        outside[task] = _write(k, l, default[0], S, n, start)  #: o


def prototypes(x, p, l, *, default):
    N, C, H, W = x.shape
    S, outside = np.empty((N, H, W), l.dtype), _blocks(N, H * W)
    _prototypes(x.reshape(N, C, H * W), p, l, np.array([0 if default is None else default], l.dtype), S.reshape(N, H * W), outside)
    return S, _first(outside)


@kernel
def _prototypes(x, p, l, default, S, outside):
    N, C, points = x.shape
    blocks = (points + _BLOCK - 1) // _BLOCK
    for task in prange(N * blocks):
        n, start = task // blocks, task % blocks * _BLOCK
        count = min(_BLOCK, points - start)
        k = np.full(count, -1, np.int32)
        least, d = np.full(count, np.inf, x.dtype), np.empty(count, x.dtype)
        for region in range(len(l)):
            d[:] = 0
            for c in range(C):
                values, centre = x[n, c, start : start + count], p[region, c]
                for q in range(count):
                    d[q] += (values[q] - centre) * (values[q] - centre)  #: x, p
            for q in range(count):
                nearer = d[q] < least[q]
                least[q] = d[q] if nearer else least[q]
                k[q] = region if nearer else k[q]  #: f
        outside[task] = _write(k, l, default[0], S, n, start)  #: o
