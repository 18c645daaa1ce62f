"""The host side of ``kernel.cu``: makes the results and launches the kernels."""

from ..cuda import Module
from ..layout import poisoned

_cu = Module(__file__)


def bilinear(x, *, output_size, align_corners):
    y = poisoned(x, (*x.shape[:2], *output_size))
    _cu.over("resize_bilinear", y.size, x, y, *_axes(x.shape[2:], output_size, align_corners))
    return y


def grad_bilinear(g, *, input_size, align_corners):
    xbar = poisoned(g, (*g.shape[:2], *input_size))
    _cu.over("resize_grad_bilinear", xbar.size, g, xbar, *_axes(input_size, g.shape[2:], align_corners))
    return xbar


def nearest(x, *, output_size):
    _check(x.shape[2:], output_size)
    y = poisoned(x, (*x.shape[:2], *output_size))
    _cu.over("resize_nearest", y.size, x, y)
    return y


def grad_nearest(g, *, input_size):
    _check(input_size, g.shape[2:])
    xbar = poisoned(g, (*g.shape[:2], *input_size))
    _cu.over("resize_grad_nearest", xbar.size, g, xbar)
    return xbar


def _axes(input_size, output_size, align_corners):
    """The struct Axis of the rows and of the columns: `coordinate` of ``formula.py`` as a fraction of whole numbers."""
    _check(input_size, output_size)
    return [_axis(size, target, align_corners) for size, target in zip(input_size, output_size, strict=True)]


def _axis(size, target, align_corners):
    """step, offset, unit, size. On an axis with one pixel every coordinate is moved onto 0, so any step but 0 will do."""
    if align_corners:
        return max(size - 1, 1), 0, max(target - 1, 1), size
    return 2 * size, size - target, 2 * target, size


def _check(input_size, output_size):
    """The kernels multiply both sizes of an axis, in 32-bit integers."""
    for size, target in zip(input_size, output_size, strict=True):
        if 2 * (size + 1) * (target + 1) >= 2**31:
            raise ValueError(
                f"resize: from {size} to {target} pixels along one axis is more than the kernels' 32-bit integers hold "
                "(2 × input × output < 2³¹); resize in two steps, or cut the image into tiles"
            )
