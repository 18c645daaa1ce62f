"""Resizing: the front door. It checks the arguments and runs the selected view.

Equations: ``resize.bilinear``, ``resize.grad_bilinear``, ``resize.nearest``, ``resize.grad_nearest``.
"""

from __future__ import annotations

from .. import checks
from ..backends import run

__all__ = ["bilinear", "grad_bilinear", "grad_nearest", "nearest"]


def bilinear(x, *, output_size, align_corners=False):
    """Bilinear interpolation (equation ``resize.bilinear``).

    Parameters
    ----------
    x : array, (N, C, H, W)
    output_size : int or (int, int)
        P, Q.
    align_corners : bool
        True: the centres of the corner pixels stay in place. False: the outer edges of the
        image do, which is right for a factor of 2 between feature maps.

    Returns
    -------
    array, (N, C, P, Q)

    Raises
    ------
    ValueError
        If a shape, a size or the dtype does not fit.

    Notes
    -----
    The scale is computed from the two sizes, as in PyTorch when ``size`` is given.
    """
    size = _check("resize.bilinear", "x", x, "N C H W", "output_size", output_size)
    return run("resize.bilinear", x, output_size=size, align_corners=bool(align_corners))


def grad_bilinear(g, *, input_size, align_corners=False):
    """Gradient for the input of `bilinear` (equation ``resize.grad_bilinear``).

    Parameters
    ----------
    g : array, (N, C, P, Q)
    input_size : int or (int, int)
        H, W: the size of the result.
    align_corners : bool
        As in `bilinear`.

    Returns
    -------
    array, (N, C, H, W)
    """
    size = _check("resize.grad_bilinear", "g", g, "N C P Q", "input_size", input_size)
    return run("resize.grad_bilinear", g, input_size=size, align_corners=bool(align_corners))


def nearest(x, *, output_size):
    """The pixel at ⌊iH/P⌋, ⌊jW/Q⌋ (equation ``resize.nearest``), PyTorch's mode "nearest".

    Parameters
    ----------
    x : array, (N, C, H, W)
    output_size : int or (int, int)
        P, Q.

    Returns
    -------
    array, (N, C, P, Q)

    Raises
    ------
    ValueError
        If a shape, a size or the dtype does not fit.

    Notes
    -----
    The index is computed with integers. PyTorch computes it in float32, and for few pairs of
    sizes (2 → 82 is the smallest) is one pixel off at a whole number iH/P.
    """
    size = _check("resize.nearest", "x", x, "N C H W", "output_size", output_size)
    return run("resize.nearest", x, output_size=size)


def grad_nearest(g, *, input_size):
    """Gradient for the input of `nearest` (equation ``resize.grad_nearest``).

    Parameters
    ----------
    g : array, (N, C, P, Q)
    input_size : int or (int, int)
        H, W: the size of the result.

    Returns
    -------
    array, (N, C, H, W)
    """
    size = _check("resize.grad_nearest", "g", g, "N C P Q", "input_size", input_size)
    return run("resize.grad_nearest", g, input_size=size)


def _check(equation, name, array, axes, option, size):
    checks.rank(equation, name, array, axes)
    checks.floats(equation, **{name: array})
    if min(array.shape[2:]) < 1:
        checks.fail(
            equation, f"{name} has no pixels", expected="at least one row and one column", actual=f"{name} {checks.shape(axes, array)}"
        )
    return checks.pair(equation, option, size, least=1)
