"""Resizing for a GPU in Numba: every result gathers from a few pixels, in a fixed order.

The position of an output pixel on the input is a fraction of integers, h_i = (step·i + offset) / unit, so which
pixels take part is decided exactly, and the weights Λ(h_i − k) = max(0, 1 − |h_i − k|) are rounded once.
"""

from ..cuda.jit import cuda, device, kernel, over, place
from ..layout import poisoned


def bilinear(x, *, output_size, align_corners):
    y = poisoned(x, (*x.shape[:2], *output_size))
    over(_bilinear, y.size, x, y, *_axes(x.shape[2:], output_size, align_corners))
    return y


@kernel
def _bilinear(x, y, rows, columns):
    """Thread map: one thread = one y[n, c, i, j]."""
    number = cuda.grid(1)
    if number >= y.size:
        return
    n, c, i, j = place(number, y.shape[1], y.shape[2], y.shape[3])
    h, w = _coordinate(rows, i), _coordinate(columns, j)
    k0, l0 = h // rows[2], w // columns[2]
    total = x.dtype.type(0)
    for k in range(k0, min(k0 + 2, x.shape[2])):
        for l in range(l0, min(l0 + 2, x.shape[3])):
            weight = _tent(rows, h, k, x) * _tent(columns, w, l, x)
            if weight > 0:
                total += weight * x[n, c, k, l]
    y[n, c, i, j] = total


def grad_bilinear(g, *, input_size, align_corners):
    xbar = poisoned(g, (*g.shape[:2], *input_size))
    over(_grad_bilinear, xbar.size, g, xbar, *_axes(input_size, g.shape[2:], align_corners))
    return xbar


@kernel
def _grad_bilinear(g, xbar, rows, columns):
    """Thread map: one thread = one x̄[n, c, k, l]; it takes the outputs with k − 1 < h_i < k + 1, and likewise for the columns."""
    number = cuda.grid(1)
    if number >= xbar.size:
        return
    n, c, k, l = place(number, xbar.shape[1], xbar.shape[2], xbar.shape[3])
    total = g.dtype.type(0)
    i, left = _first_reader(rows, k), _first_reader(columns, l)
    while i < g.shape[2] and _coordinate(rows, i) < (k + 1) * rows[2]:
        weight, j = _tent(rows, _coordinate(rows, i), k, g), left
        while j < g.shape[3] and _coordinate(columns, j) < (l + 1) * columns[2]:
            total += weight * _tent(columns, _coordinate(columns, j), l, g) * g[n, c, i, j]  #: w
            j += 1
        i += 1
    xbar[n, c, k, l] = total


def _axes(input_size, output_size, align_corners):
    return [_axis(size, target, align_corners) for size, target in zip(input_size, output_size, strict=True)]


def _axis(size, target, align_corners):
    """step, offset, unit, size: `coordinate` of ``formula.py`` as a fraction of integers."""
    if align_corners:  # an input of one pixel is always moved onto pixel 0, but the step must not be 0
        return max(size - 1, 1), 0, max(target - 1, 1), size
    return 2 * size, size - target, 2 * target, size


@device
def _coordinate(axis, i):
    """unit · h_i, moved onto the pixels 0 ... size − 1."""
    step, offset, unit, size = axis
    return min(max(step * i + offset, 0), (size - 1) * unit)


@device
def _tent(axis, h, k, like):
    """Λ(h_i − k) in the dtype of an array: 0 at a distance of 1 or more."""
    unit = axis[2]
    distance = abs(h - k * unit)
    return like.dtype.type(unit - distance) / like.dtype.type(unit) if distance < unit else like.dtype.type(0)


@device
def _first_reader(axis, k):
    """The first output with h_i > k − 1: none before it reads pixel k."""
    step, offset, unit, _ = axis
    return max(0, ((k - 1) * unit - offset) // step + 1)


def nearest(x, *, output_size):
    y = poisoned(x, (*x.shape[:2], *output_size))
    over(_nearest, y.size, x, y)
    return y


@kernel
def _nearest(x, y):
    """Thread map: one thread = one y[n, c, i, j]."""
    number = cuda.grid(1)
    if number < y.size:
        n, c, i, j = place(number, y.shape[1], y.shape[2], y.shape[3])
        y[n, c, i, j] = x[n, c, i * x.shape[2] // y.shape[2], j * x.shape[3] // y.shape[3]]  #: k, l


def grad_nearest(g, *, input_size):
    xbar = poisoned(g, (*g.shape[:2], *input_size))
    over(_grad_nearest, xbar.size, g, xbar)
    return xbar


@kernel
def _grad_nearest(g, xbar):
    """Thread map: one thread = one x̄[n, c, k, l]; ⌊iH/P⌋ = k is ⌈kP/H⌉ ≤ i < ⌈(k+1)P/H⌉."""
    number = cuda.grid(1)
    if number >= xbar.size:
        return
    n, c, k, l = place(number, xbar.shape[1], xbar.shape[2], xbar.shape[3])
    H, W, P, Q = xbar.shape[2], xbar.shape[3], g.shape[2], g.shape[3]
    total = g.dtype.type(0)
    for i in range(-(-k * P // H), -(-(k + 1) * P // H)):
        for j in range(-(-l * Q // W), -(-(l + 1) * Q // W)):
            total += g[n, c, i, j]
    xbar[n, c, k, l] = total
