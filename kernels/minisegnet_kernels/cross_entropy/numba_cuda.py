"""Cross-entropy for a GPU in Numba.

Thread map: one thread = one pixel n, i, j, which sweeps over its C scores, once for the loss and again
for the gradient. Losses, and the weights whose sum is Z, are added in float64: a block leaves the sums of its
pixels in a slab, and one block adds the slabs, always in the same order. 1/Z stays on the device: to compute
it, the labels are read a first time before the scores. Each dtype of labels has its own compiled program.
"""

import math

import numpy as np

from ..cuda.jit import THREADS, block_sum, cuda, device, kernel, launch
from ..layout import full, poisoned


def forward(x, t, w, *, ignore_index, label_smoothing, reduction):
    return _run(full(w, (), 1), x, t, w, False, ignore_index, label_smoothing, reduction)[0]


def forward_and_grad(x, t, w, *, ignore_index, label_smoothing, reduction):
    return _run(full(w, (), 1), x, t, w, True, ignore_index, label_smoothing, reduction)


def grad_input(g, x, t, w, *, ignore_index, label_smoothing, reduction):
    return _run(g, x, t, w, True, ignore_index, label_smoothing, reduction)[1]


def _run(g, x, t, w, with_grad, ignore_index, label_smoothing, reduction):
    """Loss, and on request its gradient times g, which is one number or one for each pixel."""
    ell, slabs = poisoned(x, t.shape), poisoned(x, (2, _blocks(t)), "float64")
    xbar = poisoned(x, x.shape if with_grad else (1, 1, 1, 1))
    g = g.reshape(-1)  #: none
    if with_grad and reduction == "mean":  #: sum
        scale = poisoned(x, (1,))
        _each_pixel(_weigh, t, t, w, ignore_index, slabs)
        launch(_scale, 1, THREADS, slabs, g, scale)
        g = scale
    _each_pixel(_pixels, t, g, x, t, w, ignore_index, x.dtype.type(label_smoothing), with_grad, ell, slabs, xbar)
    if reduction == "none":
        return ell, xbar  #: none
    L = poisoned(x, (1,))
    launch(_sum, 1, THREADS, slabs, reduction == "mean", L)  #: sum
    return L.reshape(()), xbar


def _blocks(t):
    """One thread a pixel, and at least one block, which writes sums of 0 if there are no pixels."""
    return sorted((1, -(-t.size // THREADS)))[1]


def _each_pixel(program, t, *arguments):
    launch(program, _blocks(t), THREADS, *arguments)


@device
def _pixel(number, t):
    """n, i, j of a pixel of the (N, H, W) target."""
    _, H, W = t.shape
    return number // (H * W), number // W % H, number % W


@device
def _softmax(x, w, n, i, j):
    """m, s = Σ exp(x_c − m), Σ w_c (x_c − m), Σ w_c of a pixel, in one sweep.

    When a larger score comes, the sums so far are rescaled to it (the online softmax: Milakov & Gimelshein, 2018),
    so that the maximum needs no separate sweep.
    """
    zero, one = x.dtype.type(0), x.dtype.type(1)
    m, s, spread, weights = x[n, 0, i, j], one, zero, w[0]
    for c in range(1, x.shape[1]):
        score = x[n, c, i, j]
        d = zero if score == m else score - m  # also where both are −∞
        e = math.exp(-abs(d))
        if d > 0:
            s = s * e + one
            spread -= weights * d
            m = score
        else:
            s += e
            spread += w[c] * d
        weights += w[c]
    return m, s + (m - m), spread, weights  # m − m: adds 0, or NaN where m is infinite, because exp(∞ − ∞) is NaN


@device
def _weight(target, w):
    """w_t, or NaN if the target is not a class: on a GPU targets are not checked first, so a bad one shows in the loss."""
    return w[target] if 0 <= target < w.size else w.dtype.type(np.nan)


@device
def _to_slab(loss, weight, slabs):
    """Write the sums of a block to its slab: row 0 the losses, row 1 the weights."""
    loss, weight = block_sum(loss), block_sum(weight)
    if cuda.threadIdx.x == 0:
        slabs[0, cuda.blockIdx.x], slabs[1, cuda.blockIdx.x] = loss, weight


@device
def _from_slabs(slabs):
    """Add both rows of the slabs, in one block."""
    loss, weight = 0.0, 0.0
    for b in range(cuda.threadIdx.x, slabs.shape[1], THREADS):
        loss += slabs[0, b]
        weight += slabs[1, b]
    return block_sum(loss), block_sum(weight)


@kernel
def _pixels(g, x, t, w, ignored, alpha, with_grad, ell, slabs, xbar):
    number = cuda.grid(1)
    C = x.shape[1]
    loss, weight = x.dtype.type(0), x.dtype.type(0)
    if number < t.size:
        n, i, j = _pixel(number, t)
        target = t[n, i, j]
        if target != ignored:
            m, s, spread, weights = _softmax(x, w, n, i, j)
            weight = _weight(target, w)
            own, even = (x.dtype.type(1) - alpha) * weight, alpha / x.dtype.type(C)  # w_c q_c = even w_c, plus own for the true class  #: q
            wq = own + even * weights
            loss = wq * math.log(s)
            if alpha != 1 and 0 <= target < C:  # 0 · log 0 = 0
                loss -= own * (x[n, target, i, j] - m)
            if alpha != 0:
                loss -= even * spread
            if with_grad:
                seed = g[number] if g.size > 1 else g[0]  #: r
                for c in range(C):
                    taken = even * w[c] + (own if c == target else x.dtype.type(0))
                    xbar[n, c, i, j] = seed * (math.exp(x[n, c, i, j] - m) / s * wq - taken)
        elif with_grad:
            for c in range(C):
                xbar[n, c, i, j] = 0
        ell[n, i, j] = loss
    _to_slab(loss, weight, slabs)


@kernel
def _sum(slabs, mean, L):
    """Σ ℓ, for the mean divided by Z. One block."""
    loss, Z = _from_slabs(slabs)
    if cuda.threadIdx.x == 0:
        if not mean:
            Z = 1.0
        L[0] = loss / Z if Z != 0 else 0 * loss


@kernel
def _weigh(t, w, ignored, slabs):
    """Σ w_t of each block."""
    number = cuda.grid(1)
    weight = w.dtype.type(0)
    if number < t.size:
        n, i, j = _pixel(number, t)
        target = t[n, i, j]
        if target != ignored:
            weight = _weight(target, w)
    _to_slab(w.dtype.type(0), weight, slabs)


@kernel
def _scale(slabs, g, scale):
    """g / Z, or 0 where nothing counts. One block."""
    _, Z = _from_slabs(slabs)
    if cuda.threadIdx.x == 0:
        scale[0] = g[0] / Z if Z != 0 else 0.0
