"""Labelling for a GPU in Numba: one sweep over memory each.

Thread map: one thread = one point n, i, j. A point in no region gets the default label.
"""

import numba
import numpy as np

from ..cuda.jit import cuda, device, kernel, over
from ..layout import poisoned


@device
def _point(number, H, W):
    """n, i, j of a point of an (N, H, W) map."""
    return number // (H * W), number // W % H, number % W


@device
def _first_outside(outside, o):
    """o = the least place of a point in no region. It starts as −1, which is the largest unsigned number.

    A minimum of integers does not depend on the order of the atomics. Each block first finds its own first
    point, so that only one of its threads writes to the one place in global memory.
    """
    first = cuda.shared.array(1, numba.int32)
    if cuda.threadIdx.x == 0:
        first[0] = cuda.blockDim.x  # no point yet
    cuda.syncthreads()
    if outside:
        cuda.atomic.min(first, 0, cuda.threadIdx.x)
    cuda.syncthreads()
    if cuda.threadIdx.x == 0 and first[0] < cuda.blockDim.x:
        cuda.atomic.min(o, 0, np.uint64(cuda.grid(1) + first[0]))


def argmax(x, l):
    S = poisoned(l, (x.shape[0], *x.shape[2:]))
    over(_argmax, S.size, x, l, S)
    return S


@kernel
def _argmax(x, l, S):
    number = cuda.grid(1)
    if number < S.size:
        n, i, j = _point(number, S.shape[1], S.shape[2])
        best, k = x[n, 0, i, j], 0
        for c in range(1, x.shape[1]):
            score = x[n, c, i, j]
            if score > best or (score != score and best == best):  # the first NaN wins
                best, k = score, c  #: f
        S[n, i, j] = l[k]


def intervals(x, r, l, *, default):
    S, o = poisoned(l, x.shape), _nowhere(l)
    over(_intervals, S.size, x, r, l, l.dtype.type(default or 0), S, o.view("uint64"))
    return S, o


@kernel
def _intervals(x, r, l, default, S, o):
    number = cuda.grid(1)
    outside = False
    if number < S.size:
        n, i, j = _point(number, S.shape[1], S.shape[2])
        value, k = x[n, i, j], 0
        while k < l.size and not r[k, 0] <= value < r[k, 1]:  #: f, x
            k += 1
        outside = k == l.size
        S[n, i, j] = default if outside else l[k]
    _first_outside(outside, o)


def prototypes(x, p, l, *, default):
    S, o = poisoned(l, (x.shape[0], *x.shape[2:])), _nowhere(l)
    over(_prototypes, S.size, x, p, l, l.dtype.type(default or 0), S, o.view("uint64"))
    return S, o


@kernel
def _prototypes(x, p, l, default, S, o):
    number = cuda.grid(1)
    outside = False
    if number < S.size:
        n, i, j = _point(number, S.shape[1], S.shape[2])
        nearest, least = -1, x.dtype.type(np.inf)
        for k in range(l.size):
            d = x.dtype.type(0)
            for c in range(x.shape[1]):
                d += (x[n, c, i, j] - p[k, c]) * (x[n, c, i, j] - p[k, c])
            if d < least:
                nearest, least = k, d  #: f
        outside = nearest < 0
        S[n, i, j] = default if outside else l[nearest]
    _first_outside(outside, o)


def _nowhere(like):
    """Room for the place of the first point in no region; −1 at the start."""
    o = poisoned(like, (1,), "int64")
    o.fill(-1)
    return o
