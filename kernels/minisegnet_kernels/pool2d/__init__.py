"""Pooling and unpooling: the front door. It checks the arguments and runs the selected view.

Equations: ``pool2d.forward`` (the weighted maximum), ``pool2d.grad_input``,
``pool2d.grad_weight``, ``pool2d.grad_bias``, ``pool2d.max``, ``pool2d.grad_max``,
``pool2d.average``, ``pool2d.grad_average``, ``pool2d.adaptive_average``,
``pool2d.grad_adaptive_average``, ``pool2d.unpool``, ``pool2d.grad_unpool``.

Options that all of them share: ``padding`` is an int, (rows, columns) or ((top, bottom), (left, right)).
``stride`` is by default the size of the window. With ``ceil_mode`` a last window may hang over the end if it
starts in the input or in the padding before it. Every window must hold at least one cell of the input.
Gradients do not take ``ceil_mode``: the shape of g gives the number of windows.
"""

from __future__ import annotations

import numpy as np

from .. import checks
from ..backends import run
from . import _arguments
from .formula import pooled_size

__all__ = [
    "adaptive_average",
    "average",
    "flat_indices",
    "forward",
    "grad_adaptive_average",
    "grad_average",
    "grad_bias",
    "grad_input",
    "grad_max",
    "grad_unpool",
    "grad_weight",
    "max",
    "pooled_size",
    "unpool",
]


def forward(x, w, b=None, *, stride=None, padding=0, dilation=1, ceil_mode=False):
    """Weighted maximum of each window (equation ``pool2d.forward``).

    Padding is left out. Of equal products the first in row-major order wins; a NaN wins over all numbers.

    Parameters
    ----------
    x : array, (N, C, H, W)
    w : array, (C, U, V), or (U, V) for all channels
    b : array, (C,), or a number for all channels, optional
        Shared weights and bias are broadcast to (C, U, V) and (C,) before a program runs;
        `grad_weight` and `grad_bias` have these shapes.
    stride, padding, dilation, ceil_mode
        See the head of this module.

    Returns
    -------
    y : array, (N, C, P, Q)
    winner : uint8 array, (N, C, P, Q); int32 for windows of more than 256 cells
        The place u V + v in its window of the cell that won; `flat_indices` turns it into an index into the input.

    Raises
    ------
    ValueError
        If a shape, a dtype or an option does not fit, or a window contains only padding.
    """
    equation = "pool2d.forward"
    checks.rank(equation, "x", x, "N C H W")
    w = _arguments.weights(equation, w, x.shape[1])
    b = _arguments.bias(equation, b, x)
    checks.floats(equation, x=x, w=w, b=b)
    options = _arguments.options(equation, x.shape[2:], w.shape[1:], stride, padding, dilation, (ceil_mode,))
    del options["kernel_size"]
    return run(equation, x, w, b, **options, ceil_mode=bool(ceil_mode))


def grad_input(g, winner, w, *, input_size, stride=None, padding=0, dilation=1):
    """Gradient of the weighted maximum for its input (equation ``pool2d.grad_input``): w·g at the winners.

    Parameters
    ----------
    g : array, (N, C, P, Q)
    winner : integer array, (N, C, P, Q)
        The winners of `forward` with the same options.
    w : array, (C, U, V) or (U, V)
    input_size : (int, int)
        H, W.

    Returns
    -------
    array, (N, C, H, W)
    """
    equation = "pool2d.grad_input"
    _arguments.gradient_and_winner(equation, g, winner)
    w = _arguments.weights(equation, w, g.shape[1])
    checks.floats(equation, g=g, w=w)
    input_size = checks.pair(equation, "input_size", input_size, least=1)
    options = _arguments.options(equation, input_size, w.shape[1:], stride, padding, dilation, outputs=g.shape[2:])
    winner = _arguments.places(equation, winner, options.pop("kernel_size"))
    return run(equation, g, winner, w, input_size=input_size, **options)


def grad_weight(g, winner, x, *, kernel_size, stride=None, padding=0, dilation=1):
    """Gradient of the weighted maximum for its weights (equation ``pool2d.grad_weight``).

    The gradient for w[c, u, v] is the sum of g times x over the windows that the cell at (u, v) won.

    Parameters
    ----------
    g : array, (N, C, P, Q)
    winner : integer array, (N, C, P, Q)
        The winners of `forward` with the same options.
    x : array, (N, C, H, W)
    kernel_size : int or (int, int)
        U, V.

    Returns
    -------
    array, (C, U, V)
        If all channels share their weights, their gradient is the sum over C.
    """
    equation = "pool2d.grad_weight"
    _arguments.gradient_and_winner(equation, g, winner)
    checks.rank(equation, "x", x, "N C H W")
    checks.floats(equation, g=g, x=x)
    if g.shape[:2] != x.shape[:2]:
        checks.fail(
            equation,
            "gradient and input do not fit",
            expected="equal N and C",
            actual=f"g {checks.shape('N C P Q', g)}, x {checks.shape('N C H W', x)}",
        )
    options = _arguments.options(equation, x.shape[2:], kernel_size, stride, padding, dilation, outputs=g.shape[2:])
    winner = _arguments.places(equation, winner, options["kernel_size"])
    return run(equation, g, winner, x, **options)


def grad_bias(g):
    """Gradient of the weighted maximum for its bias (equation ``pool2d.grad_bias``): (N, C, P, Q) → (C,)."""
    checks.rank("pool2d.grad_bias", "g", g, "N C P Q")
    checks.floats("pool2d.grad_bias", g=g)
    return run("pool2d.grad_bias", g)


def max(x, *, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """Largest value of each window (equation ``pool2d.max``): `forward` with weights 1 and bias 0.

    Parameters
    ----------
    x : array, (N, C, H, W)
    kernel_size : int or (int, int)
    stride, padding, dilation, ceil_mode
        See the head of this module.

    Returns
    -------
    y : array, (N, C, P, Q)
    winner : uint8 or int32 array, (N, C, P, Q)
        As in `forward`; an argument of `grad_max`.

    Raises
    ------
    ValueError
        If a shape, a dtype or an option does not fit, or a window contains only padding.
    """
    equation = "pool2d.max"
    checks.rank(equation, "x", x, "N C H W")
    checks.floats(equation, x=x)
    options = _arguments.options(equation, x.shape[2:], kernel_size, stride, padding, dilation, (ceil_mode,))
    return run(equation, x, **options, ceil_mode=bool(ceil_mode))


def grad_max(g, winner, *, input_size, kernel_size, stride=None, padding=0, dilation=1):
    """Gradient of `max` (equation ``pool2d.grad_max``): each cell gets the g of the windows that it won.

    Parameters
    ----------
    g : array, (N, C, P, Q)
    winner : integer array, (N, C, P, Q)
        The winners of `max` with the same options.
    input_size : (int, int)
        H, W.

    Returns
    -------
    array, (N, C, H, W)
    """
    equation = "pool2d.grad_max"
    _arguments.gradient_and_winner(equation, g, winner)
    checks.floats(equation, g=g)
    input_size = checks.pair(equation, "input_size", input_size, least=1)
    options = _arguments.options(equation, input_size, kernel_size, stride, padding, dilation, outputs=g.shape[2:])
    winner = _arguments.places(equation, winner, options["kernel_size"])
    return run(equation, g, winner, input_size=input_size, **options)


def flat_indices(winner, *, input_size, kernel_size, stride=None, padding=0, dilation=1):
    """Where the winners of `max` or `forward` lie in their planes of the input: the indices that `unpool` takes.

    Parameters
    ----------
    winner : integer array, (N, C, P, Q)
    input_size : (int, int)
        H, W.
    kernel_size, stride, padding, dilation
        Those of the pooling.

    Returns
    -------
    int64 array, (N, C, P, Q)
        k W + l, with k and l as in equation ``pool2d.max``.
    """
    name = "pool2d.flat_indices"
    checks.rank(name, "winner", winner, "N C P Q")
    _arguments.integers(name, winner)
    input_size = checks.pair(name, "input_size", input_size, least=1)
    options = _arguments.options(name, input_size, kernel_size, stride, padding, dilation, outputs=winner.shape[2:])
    winner = _arguments.places(name, winner, options["kernel_size"])
    (sh, sw), ((ph, _), (pw, _)), (dh, dw) = options["stride"], options["padding"], options["dilation"]
    i, j, u, v = (np.arange(n, dtype=np.int64, like=winner) for n in (*winner.shape[2:], *options["kernel_size"]))
    corner = (i * sh - ph)[:, None] * input_size[1] + j * sw - pw  # where a window begins
    step = (u * dh)[:, None] * input_size[1] + v * dw  # from there to each of its places
    return corner + step.reshape(-1)[winner]


def average(x, *, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    """Mean of each window (equation ``pool2d.average``).

    Parameters
    ----------
    x : array, (N, C, H, W)
    kernel_size : int or (int, int)
    stride, padding, ceil_mode
        See the head of this module.
    count_include_pad : bool
        Whether padding cells count, as zeros. Cells behind the padding, under a window that hangs over, never count.

    Returns
    -------
    array, (N, C, P, Q)
    """
    equation = "pool2d.average"
    checks.rank(equation, "x", x, "N C H W")
    checks.floats(equation, x=x)
    options = _arguments.options(equation, x.shape[2:], kernel_size, stride, padding, 1, (ceil_mode,))
    del options["dilation"]
    return run(equation, x, **options, ceil_mode=bool(ceil_mode), count_include_pad=bool(count_include_pad))


def grad_average(g, *, input_size, kernel_size, stride=None, padding=0, count_include_pad=True):
    """Gradient of `average` (equation ``pool2d.grad_average``): (N, C, P, Q) → (N, C, H, W), with the options of `average`."""
    equation = "pool2d.grad_average"
    checks.rank(equation, "g", g, "N C P Q")
    checks.floats(equation, g=g)
    input_size = checks.pair(equation, "input_size", input_size, least=1)
    options = _arguments.options(equation, input_size, kernel_size, stride, padding, 1, outputs=g.shape[2:])
    del options["dilation"]
    return run(equation, g, input_size=input_size, **options, count_include_pad=bool(count_include_pad))


def adaptive_average(x, *, output_size):
    """Means of P × Q regions that cover the input (equation ``pool2d.adaptive_average``).

    ``output_size=1`` is the global average. Where P does not divide H, regions share border rows.

    Parameters
    ----------
    x : array, (N, C, H, W)
    output_size : int or (int, int)
        P, Q; more than H, W is allowed.

    Returns
    -------
    array, (N, C, P, Q)
    """
    equation = "pool2d.adaptive_average"
    checks.rank(equation, "x", x, "N C H W")
    checks.floats(equation, x=x)
    _arguments.not_empty(equation, x.shape[2:])
    return run(equation, x, output_size=checks.pair(equation, "output_size", output_size, least=1))


def grad_adaptive_average(g, *, input_size):
    """Gradient of `adaptive_average` (equation ``pool2d.grad_adaptive_average``): (N, C, P, Q) → (N, C, H, W)."""
    equation = "pool2d.grad_adaptive_average"
    checks.rank(equation, "g", g, "N C P Q")
    checks.floats(equation, g=g)
    _arguments.not_empty(equation, g.shape[2:])
    return run(equation, g, input_size=checks.pair(equation, "input_size", input_size, least=1))


def unpool(x, winner, *, output_size):
    """Put pooled values back where they came from, and zeros elsewhere (equation ``pool2d.unpool``).

    If several values go to one cell, because windows overlapped, the last in row-major order stays.

    Parameters
    ----------
    x : array, (N, C, P, Q)
    winner : integer array, (N, C, P, Q)
        Flat indices k W + l into the planes of the output, from `flat_indices`.
    output_size : (int, int)
        H, W: the size before pooling.

    Returns
    -------
    array, (N, C, H, W)

    Raises
    ------
    ValueError
        If shapes or dtypes do not fit, or an index lies outside the output. Indices on a GPU are not
        checked, because the CPU would have to wait for them; a kernel skips those outside.
    """
    equation = "pool2d.unpool"
    _arguments.gradient_and_winner(equation, x, winner, name="x")
    checks.floats(equation, x=x)
    output_size = checks.pair(equation, "output_size", output_size, least=1)
    winner = _arguments.indices(equation, winner, output_size)
    return run(equation, x, winner, output_size=output_size)


def grad_unpool(g, winner):
    """Gradient of `unpool` (equation ``pool2d.grad_unpool``).

    Parameters
    ----------
    g : array, (N, C, H, W)
    winner : integer array, (N, C, P, Q)

    Returns
    -------
    array, (N, C, P, Q)
        g at the winners; 0 for a value that a later one has overwritten.
    """
    equation = "pool2d.grad_unpool"
    checks.rank(equation, "g", g, "N C H W")
    checks.rank(equation, "winner", winner, "N C P Q")
    checks.floats(equation, g=g)
    if g.shape[:2] != winner.shape[:2]:
        checks.fail(
            equation,
            "gradient and winners do not fit",
            expected="equal N and C",
            actual=f"g {checks.shape('N C H W', g)}, winner {checks.shape('N C P Q', winner)}",
        )
    _arguments.integers(equation, winner)
    winner = _arguments.indices(equation, winner, g.shape[2:])
    return run(equation, g, winner)
