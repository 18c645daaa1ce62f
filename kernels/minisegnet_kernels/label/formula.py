r"""Labelling: every point gets the label of the region of values that it lies in.

The documented formula is ``S(x,y) = l_k if F(x,y) ∈ R_k``. Three kinds of region R_k:

- `argmax`: R_k holds the vectors whose component k is the largest, which is how a network's
  scores become a label map;
- `intervals`: R_k is a half-open interval of a scalar map, a threshold in the simplest case;
- `prototypes`: R_k holds the vectors that are nearest to prototype k.

Index letters, here and in every view::

    n  image of the batch      c  channel of the input
    i, j  row and column       k  region

A point in several regions belongs to the one with the lowest k. A point in no region gets the
default label. The place of the first such point is a result too, so that the front door can raise.
"""

import numpy as np

from ..registry import equation

_LABELS = {
    "l": "labels of the regions, integers, (K,)",
    "S": "label map, (N, H, W)",
    "f": "the first region that holds the point",
    "k": "a region, 0 to K − 1",
}
_OUTSIDE = {"o": "place (n H + i) W + j of the first point that lies in no region, (1,); −1 if there is none"}
_FOUND = r"S_{n,i,j} = \begin{cases} l_{f_{n,i,j}} & f_{n,i,j} \ge 0 \\ \text{default} & \text{otherwise} \end{cases},\quad "
_NOWHERE = r",\quad o = \min \{ (nH + i) W + j : f_{n,i,j} = -1 \},\quad \min \varnothing = -1"


@equation(
    "label.argmax",
    tex=r"S_{n,i,j} = l_f,\quad f = \min \{ k : x_{n,k,i,j} = \max_c x_{n,c,i,j} \}",
    symbols={"x": "scores, (N, C, H, W)", **_LABELS, "c": "channel; every channel is a region"},
    reference="Long, Shelhamer & Darrell, CVPR 2015, section 4",
    shape=lambda x, l: (x.shape[0], *x.shape[2:]),
    dtypes=lambda x, l: [l.dtype],
    operations=lambda x, l: x.size,  # comparisons
)
def argmax(x, l):
    N, C, H, W = x.shape
    S = np.zeros((N, H, W), l.dtype)
    for n, i, j in np.ndindex(N, H, W):
        k = 0
        for c in range(C):
            if x[n, c, i, j] > x[n, k, i, j] or (
                np.isnan(x[n, c, i, j]) and not np.isnan(x[n, k, i, j])
            ):  # the first NaN wins, as in NumPy
                k = c  #: f
        S[n, i, j] = l[k]
    return S


@equation(
    "label.intervals",
    tex=_FOUND + r"f_{n,i,j} = \min \{ k : r_{k,0} \le x_{n,i,j} < r_{k,1} \}" + _NOWHERE,
    returns="S o",
    symbols={"x": "scalar map, (N, H, W)", "r": "regions: from r_{k,0} up to, not including, r_{k,1}, (K, 2)", **_LABELS, **_OUTSIDE},
    shape=lambda x, r, l, *, default: [x.shape, (1,)],
    dtypes=lambda x, r, l, *, default: [l.dtype, np.int64],
    operations=lambda x, r, l, *, default: 2 * x.size * len(l),
)
def intervals(x, r, l, *, default):
    (N, H, W), K = x.shape, len(l)
    S, o = np.full((N, H, W), 0 if default is None else default, l.dtype), np.full(1, -1, np.int64)
    for n, i, j in np.ndindex(N, H, W):
        for k in range(K):
            if r[k, 0] <= x[n, i, j] < r[k, 1]:  #: f
                S[n, i, j] = l[k]
                break
        else:
            if o[0] < 0:
                o[0] = (n * H + i) * W + j
    return S, o


def _nearest(d):
    """The first k with the least finite distance, or −1."""
    nearest = -1
    for k in range(len(d)):
        if d[k] < (np.inf if nearest < 0 else d[nearest]):
            nearest = k
    return nearest


@equation(
    "label.prototypes",
    tex=_FOUND + r"f_{n,i,j} = \min \{ k : d_{n,k,i,j} < \infty,\; d_{n,k,i,j} = \min_q d_{n,q,i,j} \}"
    r",\quad d_{n,k,i,j} = \sum_c (x_{n,c,i,j} - p_{k,c})^2" + _NOWHERE,
    returns="S o",
    symbols={
        "x": "features, (N, C, H, W)",
        "p": "prototypes, (K, C)",
        "d": "squared distances to the prototypes",
        "q": "a prototype",
        **_LABELS,
        **_OUTSIDE,
    },
    shape=lambda x, p, l, *, default: [(x.shape[0], *x.shape[2:]), (1,)],
    dtypes=lambda x, p, l, *, default: [l.dtype, np.int64],
    operations=lambda x, p, l, *, default: 3 * x.size * len(l),  # subtract, square, add
)
def prototypes(x, p, l, *, default):
    (N, C, H, W), K = x.shape, len(l)
    S, o = np.full((N, H, W), 0 if default is None else default, l.dtype), np.full(1, -1, np.int64)
    for n, i, j in np.ndindex(N, H, W):
        d = np.zeros(K)
        for k, c in np.ndindex(K, C):
            d[k] += (x[n, c, i, j] - p[k, c]) ** 2
        k = _nearest(d)  #: f
        if k >= 0:
            S[n, i, j] = l[k]
        elif o[0] < 0:
            o[0] = (n * H + i) * W + j
    return S, o
