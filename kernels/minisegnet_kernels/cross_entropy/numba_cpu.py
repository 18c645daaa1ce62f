"""Cross-entropy on the CPU, compiled by Numba: one kernel, one sweep over the scores, for all three equations.

A task is a block of neighbouring pixels of one image. Its exponentials are computed once,
written to the place of the gradient, and scaled there while they are still in the cache.
Losses of a block are added in float64, and blocks in order, so that the sum does not depend on
the number of threads.
"""

import numpy as np

from ..jit import inline, kernel, prange

_BLOCK = 1024  # pixels


@inline
def _exp(d):
    """e^d for d ≤ 0, from operations that exist as vector instructions, to 15 digits.

    e^d = 2^k · e^r with an integer k and |r| ≤ ln(2)/2, where a polynomial is enough. 2^k is put
    together as the bits of a float64: its exponent, and zeros. With k = −1023 these bits mean 0.
    """
    z = np.maximum(np.float64(d) * 1.4426950408889634, -1023.0)
    k = np.rint(z)
    r = (z - k) * 0.6931471805599453
    series = 1 / 479001600.0  # 1 / 12!
    series = (series * r + 1 / 39916800.0) * r + 1 / 3628800.0
    series = (series * r + 1 / 362880.0) * r + 1 / 40320.0
    series = (series * r + 1 / 5040.0) * r + 1 / 720.0
    series = (series * r + 1 / 120.0) * r + 1 / 24.0
    series = ((series * r + 1 / 6.0) * r + 0.5) * r * r + r + 1.0
    return series * np.int64((np.int64(k) + 1023) << 52).view(np.float64)


@inline(inline="never")
def _block(x, t, w, seed, each, alpha, ignored, with_grad, ell, grad, n, start, stop):
    """Loss of the pixels start ... stop − 1 of image n, and their gradient; returns the sum of the losses.

    A separate function: inside the parallel loop it would take twice as long to compile.
    """
    C, size = x.shape[1], stop - start
    zero, even, all_weights = x.dtype.type(0), alpha / x.dtype.type(C), x.dtype.type(0)
    buffer, label = np.zeros((5, _BLOCK), x.dtype), t[n, start:stop]
    top, total, spread, factor, hit = buffer[0], buffer[1], buffer[2], buffer[3], buffer[4]

    for c in range(C):
        plane = x[n, c, start:stop]
        all_weights += w[c]
        for p in range(size):
            top[p] = plane[p] if plane[p] > top[p] or c == 0 else top[p]  #: m
    for c in range(C):
        plane, out = x[n, c, start:stop], grad[n, c, start:stop] if with_grad else factor
        for p in range(size):
            d = plane[p] - top[p]
            e = x.dtype.type(_exp(d))
            total[p] += e  #: s
            spread[p] += w[c] * d
            out[p] = e

    losses = 0.0
    for p in range(size):
        loss, share = zero, zero
        factor[p] = zero
        hit[p] = zero
        if label[p] != ignored:
            own = (1 - alpha) * w[label[p]]  #: q
            weight = own + even * all_weights
            loss = weight * np.log(total[p]) - own * (x[n, label[p], start + p] - top[p])  #: w
            if alpha != 0:
                loss -= even * spread[p]
            share = seed[n * each, (start + p) * each]
            factor[p] = share * weight / total[p]
            hit[p] = share * own
        spread[p] = share * even
        ell[n, start + p] = loss
        losses += loss

    for c in range(C * with_grad):
        out, weight = grad[n, c, start:stop], w[c]
        for p in range(size):
            taken = spread[p] * weight + (hit[p] if label[p] == c else zero)
            out[p] = zero if label[p] == ignored else factor[p] * out[p] - taken
    return losses


@kernel
def _pixels(x, t, w, seed, each, alpha, ignored, with_grad, ell, sums, grad):
    N, _, M = x.shape
    blocks = (M + _BLOCK - 1) // _BLOCK
    for task in prange(N * blocks):
        n, start = task // blocks, task % blocks * _BLOCK
        sums[task] = _block(x, t, w, seed, each, alpha, ignored, with_grad, ell, grad, n, start, min(start + _BLOCK, M))


@kernel
def _weigh(t, w, ignored, sums):
    N, M = t.shape
    for n in prange(N):
        total = 0.0
        for p in range(M):
            if t[n, p] != ignored:
                total += w[t[n, p]]
        sums[n] = total


def _pixel_rows(a):
    """(..., H, W) → (..., H W): a plane as one line of pixels."""
    return a.reshape(*a.shape[:-2], -1)


def _run(x, t, w, g, with_grad, ignore_index, label_smoothing, reduction):
    """Loss and, on request, its gradient times g, which is one number or one for each pixel."""
    scores, labels = _pixel_rows(x), _pixel_rows(t).astype("int64", copy=False)  # one dtype for all: compiling for each would take seconds
    N, _, M = scores.shape
    scale = 1.0
    if reduction == "mean":
        sums = np.empty(N)
        _weigh(labels, w, ignore_index, sums)
        Z = sums.sum()
        scale = 1 / Z if Z else 0.0
    each = int(np.ndim(g) > 0)  #: none
    seed = _pixel_rows(g) if each else np.full((1, 1), g * scale, x.dtype)
    xbar = np.empty_like(x) if with_grad else np.empty_like(x, shape=(1, 1, 1, 1))
    ell, sums = np.empty_like(x, shape=(N, M)), np.empty(N * -(-M // _BLOCK))
    _pixels(scores, labels, w, seed, each, x.dtype.type(label_smoothing), ignore_index, with_grad, ell, sums, _pixel_rows(xbar))
    return ell.reshape(t.shape) if reduction == "none" else np.asarray(sums.sum() * scale, x.dtype), xbar  #: L, none


def forward(x, t, w, *, ignore_index, label_smoothing, reduction):
    return _run(x, t, w, 1, 0, ignore_index, label_smoothing, reduction)[0]


def grad_input(g, x, t, w, *, ignore_index, label_smoothing, reduction):
    return _run(x, t, w, g, 1, ignore_index, label_smoothing, reduction)[1]


def forward_and_grad(x, t, w, *, ignore_index, label_smoothing, reduction):
    return _run(x, t, w, 1, 1, ignore_index, label_smoothing, reduction)
