r"""Resizing: images on another grid, by the nearest pixel or by straight lines between pixels.

Index letters, here and in every view::

    n  image of the batch      i, j  row and column of the output
    c  channel                 k, l  row and column of the input

The axes are N, C, H, W for the input and N, C, P, Q for the output. A bar marks the gradient of
the loss with respect to what is under it.

Bilinear interpolation is a sum over all input pixels with the tent Λ(t) = max(0, 1 − |t|) as
weight: it is 0 from the distance 1 on, so at most two rows and two columns take part. Read the
other way round, as a sum over the output, the same weights give the gradient.
"""

from math import prod

import numpy as np

from ..registry import equation

_FORWARD = {"x": "input, (N, C, H, W)", "y": "output, (N, C, P, Q)"}
_GRADIENT = {"g": "gradient of the loss with respect to y, (N, C, P, Q)", "xbar": "gradient of the loss with respect to x, (N, C, H, W)"}
_TENT = {
    "h": "where output row i lies between the input rows",
    "w": "where output column j lies between the input columns",
    "Lambda": "weight of a pixel at a distance",
}
_BETWEEN = (
    r",\quad \Lambda(t) = \max(0,\, 1 - |t|)"
    r",\quad h_i = \begin{cases} \frac{i(H-1)}{\max(1,\, P-1)} & \text{align corners} \\"
    r" \min(H-1,\, \max(0,\, \frac{(2i+1)H}{2P} - \frac{1}{2})) & \text{otherwise} \end{cases}"
    r",\quad w_j = \begin{cases} \frac{j(W-1)}{\max(1,\, Q-1)} & \text{align corners} \\"
    r" \min(W-1,\, \max(0,\, \frac{(2j+1)W}{2Q} - \frac{1}{2})) & \text{otherwise} \end{cases}"
)
_NEAREST = {"k": "row of the input that output row i shows; l the column"}


def _resized(x, *, output_size, **options):
    return (*x.shape[:2], *output_size)


def _original(g, *, input_size, **options):
    return (*g.shape[:2], *input_size)


def coordinate(i, size, target, align_corners):
    """Where position i of an axis with `target` pixels lies on an axis with `size` pixels.

    Pixels are squares with their centre at i. With `align_corners` the centres of the first and the
    last pixel stay in place. Without it the outer edges stay in place, and a coordinate beyond the
    outermost centre is moved onto it.
    """
    if align_corners:
        return i * (size - 1) / (target - 1) if target > 1 else 0.0
    return min(max((i + 0.5) * size / target - 0.5, 0.0), size - 1.0)


def tent(t):
    """Λ(t), the weight of a pixel at the distance t."""
    return max(0.0, 1.0 - abs(t))


@equation(
    "resize.bilinear",
    tex=r"y_{n,c,i,j} = \sum_{k,l} \Lambda(h_i - k)\,\Lambda(w_j - l)\; x_{n,c,k,l}" + _BETWEEN,
    symbols=_FORWARD | _TENT,
    shape=_resized,
    operations=lambda x, **options: 7 * prod(_resized(x, **options)),  # four products, three sums
)
def bilinear(x, *, output_size, align_corners):
    (N, C, H, W), (P, Q) = x.shape, output_size
    y = np.zeros((N, C, P, Q), x.dtype)
    for n, c, i, j in np.ndindex(N, C, P, Q):
        h, w = coordinate(i, H, P, align_corners), coordinate(j, W, Q, align_corners)
        for k, l in np.ndindex(H, W):
            y[n, c, i, j] += tent(h - k) * tent(w - l) * x[n, c, k, l]
    return y


@equation(
    "resize.grad_bilinear",
    grad_of="resize.bilinear",
    wrt="x",
    tex=r"\bar x_{n,c,k,l} = \sum_{i,j} \Lambda(h_i - k)\,\Lambda(w_j - l)\; g_{n,c,i,j}" + _BETWEEN,
    symbols=_GRADIENT | _TENT,
    shape=_original,
    operations=lambda g, **options: 8 * g.size,
)
def grad_bilinear(g, *, input_size, align_corners):
    (N, C, P, Q), (H, W) = g.shape, input_size
    xbar = np.zeros((N, C, H, W), g.dtype)
    for n, c, k, l in np.ndindex(N, C, H, W):
        for i, j in np.ndindex(P, Q):
            h, w = coordinate(i, H, P, align_corners), coordinate(j, W, Q, align_corners)
            xbar[n, c, k, l] += tent(h - k) * tent(w - l) * g[n, c, i, j]
    return xbar


@equation(
    "resize.nearest",
    tex=r"y_{n,c,i,j} = x_{n,c,k,l},\quad k = \lfloor iH/P \rfloor,\quad l = \lfloor jW/Q \rfloor",
    symbols=_FORWARD | _NEAREST,
    shape=_resized,
    operations=lambda x, **options: 0,
)
def nearest(x, *, output_size):
    (N, C, H, W), (P, Q) = x.shape, output_size
    y = np.zeros((N, C, P, Q), x.dtype)
    for n, c, i, j in np.ndindex(N, C, P, Q):
        k, l = i * H // P, j * W // Q
        y[n, c, i, j] = x[n, c, k, l]
    return y


@equation(
    "resize.grad_nearest",
    grad_of="resize.nearest",
    wrt="x",
    tex=r"\bar x_{n,c,k,l} = \sum_{\lfloor iH/P \rfloor = k} \; \sum_{\lfloor jW/Q \rfloor = l} g_{n,c,i,j}",
    symbols=_GRADIENT | _NEAREST,
    shape=_original,
    operations=lambda g, **options: g.size,
)
def grad_nearest(g, *, input_size):
    (N, C, P, Q), (H, W) = g.shape, input_size
    xbar = np.zeros((N, C, H, W), g.dtype)
    for n, c, k, l in np.ndindex(N, C, H, W):
        for i, j in np.ndindex(P, Q):
            if i * H // P == k and j * W // Q == l:
                xbar[n, c, k, l] += g[n, c, i, j]
    return xbar
