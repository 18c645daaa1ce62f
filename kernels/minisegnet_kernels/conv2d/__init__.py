"""Convolution: the front door. It checks the arguments and runs the selected view.

Equations: ``conv2d.forward``, ``conv2d.forward_relu``, ``conv2d.forward_statistics`` (for a
convolution in front of a batch normalisation), ``conv2d.grad_input`` (also the transposed convolution),
``conv2d.grad_weight``, ``conv2d.grad_bias``.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from .. import checks
from ..backends import run
from .formula import output_size

__all__ = ["forward", "forward_relu", "forward_statistics", "grad_bias", "grad_input", "grad_weight", "options", "output_size"]


def forward(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
    """Convolution (equation ``conv2d.forward``).

    Parameters
    ----------
    x : array, (N, C, H, W)
    w : array, (O, C/G, U, V)
    b : array, (O,), optional
    stride, dilation : int or (rows, columns)
    padding : int, (rows, columns), ((top, bottom), (left, right)), "valid" or "same"
        ``"valid"``: no padding. ``"same"`` (TensorFlow's rule): the output has ⌈H/stride⌉ rows; an odd padding
        cell goes to the bottom and right.
    groups : int

    Returns
    -------
    array, (N, O, P, Q)

    Raises
    ------
    ValueError
        If a shape, a dtype or an option does not fit.
    """
    return _forward("conv2d.forward", x, w, b, stride, padding, dilation, groups)


def forward_relu(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
    """Convolution and ReLU in one pass (equation ``conv2d.forward_relu``); arguments as `forward`."""
    return _forward("conv2d.forward_relu", x, w, b, stride, padding, dilation, groups)


def forward_statistics(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
    """Convolution, and the mean and variance of each channel of its output (equation ``conv2d.forward_statistics``).

    A batch normalisation starts with these statistics. A program that adds them up while it has y at hand saves one
    pass over memory; `batch_norm.inference` (or ``inference_relu``) then normalises y with them.

    Parameters
    ----------
    x, w, b, stride, padding, dilation, groups
        As in `forward`.

    Returns
    -------
    y : array, (N, O, P, Q)
    mu, nu : array, (O,)
        Mean, and biased variance.

    Raises
    ------
    ValueError
        As `forward`, and if a channel has fewer than two values.

    Notes
    -----
    The gradients are those of `forward`, with mu and nu treated as constants: the gradient through the statistics is
    already part of batch normalisation's gradient.
    """
    return _forward("conv2d.forward_statistics", x, w, b, stride, padding, dilation, groups)


def _forward(equation, x, w, b, stride, padding, dilation, groups):
    checks.rank(equation, "x", x, "N C H W")
    _check_kernel(equation, w, groups)
    if b is not None and b.shape != w.shape[:1]:
        checks.fail(
            equation,
            "bias and kernel do not fit",
            expected=f"b (O,) = ({w.shape[0]},)",
            actual=f"b.shape = {b.shape}, {checks.shape('O C/G U V', w)}",
        )
    checks.floats(equation, x=x, w=w, b=b)
    if x.shape[1] != w.shape[1] * groups:
        checks.fail(
            equation,
            "input and kernel do not fit",
            expected=f"C = {w.shape[1] * groups} input channels, which is w.shape[1] × groups = {w.shape[1]} × {groups}",
            actual=f"x {checks.shape('N C H W', x)}, w {checks.shape('O C/G U V', w)}, groups = {groups}",
        )
    fitted = options(equation, x.shape[2:], w.shape[2:], stride, padding, dilation, groups)
    if equation == "conv2d.forward_statistics":
        _check_count(equation, x, w, fitted)
    return run(equation, x, w, _no_bias(w) if b is None else b, **fitted)


_NO_BIAS: dict[tuple, Any] = {}


def _no_bias(w):
    """Zeros for a convolution without bias. No program writes to a bias, so all such calls share one array and none is filled in a step."""
    key = w.shape[0], w.dtype, getattr(w.device, "id", w.device)  # the number of a GPU, or "cpu"
    if key not in _NO_BIAS:
        _NO_BIAS[key] = np.zeros_like(w, shape=w.shape[0])
    return _NO_BIAS[key]


def grad_input(g, w, *, input_size, stride=1, padding=0, dilation=1, groups=1):
    """Gradient for the input (equation ``conv2d.grad_input``); also the transposed convolution.

    Parameters
    ----------
    g : array, (N, O, P, Q)
    w : array, (O, C/G, U, V)
    input_size : (int, int)
        H, W: the size of the result. With a stride above 1 several input sizes lead to the same P, Q.
    stride, padding, dilation, groups
        As in `forward`.

    Returns
    -------
    array, (N, C, H, W)
    """
    equation = "conv2d.grad_input"
    checks.rank(equation, "g", g, "N O P Q")
    _check_kernel(equation, w, groups)
    checks.floats(equation, g=g, w=w)
    input_size = checks.pair(equation, "input_size", input_size, least=1)
    fitted = options(equation, input_size, w.shape[2:], stride, padding, dilation, groups)
    _check_gradient(equation, g, w.shape[0], input_size, w.shape[2:], fitted)
    return run(equation, g, w, input_size=input_size, **fitted)


def grad_weight(g, x, *, kernel_size, stride=1, padding=0, dilation=1, groups=1):
    """Gradient for the kernel (equation ``conv2d.grad_weight``).

    Parameters
    ----------
    g : array, (N, O, P, Q)
    x : array, (N, C, H, W)
    kernel_size : (int, int)
        U, V.
    stride, padding, dilation, groups
        As in `forward`.

    Returns
    -------
    array, (O, C/G, U, V)
    """
    equation = "conv2d.grad_weight"
    checks.rank(equation, "g", g, "N O P Q")
    checks.rank(equation, "x", x, "N C H W")
    checks.floats(equation, g=g, x=x)
    kernel_size = checks.pair(equation, "kernel_size", kernel_size, least=1)
    fitted = options(equation, x.shape[2:], kernel_size, stride, padding, dilation, groups)
    _check_gradient(equation, g, g.shape[1], x.shape[2:], kernel_size, fitted)
    if g.shape[0] != x.shape[0] or x.shape[1] % groups or g.shape[1] % groups:
        checks.fail(
            equation,
            "gradient and input do not fit",
            expected=f"equal N, and channels that are multiples of groups = {groups}",
            actual=f"g {checks.shape('N O P Q', g)}, x {checks.shape('N C H W', x)}",
        )
    return run(equation, g, x, kernel_size=kernel_size, **fitted)


def grad_bias(g):
    """Gradient for the bias (equation ``conv2d.grad_bias``): (N, O, P, Q) → (O,)."""
    checks.rank("conv2d.grad_bias", "g", g, "N O P Q")
    checks.floats("conv2d.grad_bias", g=g)
    return run("conv2d.grad_bias", g)


def options(equation: str, input_size, kernel_size, stride, padding, dilation, groups) -> dict[str, Any]:
    """The options in the form that the views take: pairs, and the padding of each side.

    Raises
    ------
    ValueError
        If an option is malformed, or if the kernel is larger than the padded input.
    """
    if min(kernel_size) < 1:
        checks.fail(equation, "the kernel has no cells", expected="at least one row and one column", actual=f"{tuple(kernel_size)}")
    stride = checks.pair(equation, "stride", stride, least=1)
    dilation = checks.pair(equation, "dilation", dilation, least=1)
    reach = [d * (u - 1) + 1 for d, u in zip(dilation, kernel_size, strict=True)]
    if isinstance(padding, str):
        if padding not in ("valid", "same"):
            checks.fail(
                equation,
                "unknown padding",
                expected='"valid", "same", an int, (rows, columns) or ((top, bottom), (left, right))',
                actual=f"padding = {padding!r}",
            )
        wanted = [max((-(-h // s) - 1) * s + r - h, 0) for h, s, r in zip(input_size, stride, reach, strict=True)]
        missing = wanted if padding == "same" else (0, 0)
        padding = tuple((m // 2, m - m // 2) for m in missing)
    elif not np.isscalar(padding) and len(padding) == 2 and not np.isscalar(padding[0]):
        padding = tuple(checks.pair(equation, "padding", side, least=0) for side in padding)
    else:
        padding = tuple((p, p) for p in checks.pair(equation, "padding", padding, least=0))
    if any(h + sum(p) < r for h, p, r in zip(input_size, padding, reach, strict=True)):
        checks.fail(
            equation,
            "the kernel is larger than the padded input",
            expected=f"at least {reach[0]} × {reach[1]} (rows × columns), the reach of a dilated {kernel_size[0]} × {kernel_size[1]} kernel",
            actual=f"{input_size[0]} × {input_size[1]} with padding {padding}",
            hint="more padding, a smaller kernel, or a larger input",
        )
    return {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


def _check_kernel(equation, w, groups):
    checks.rank(equation, "w", w, "O C/G U V")
    if not isinstance(groups, int | np.integer) or groups < 1 or w.shape[0] % groups:
        checks.fail(
            equation,
            "groups do not fit",
            expected="groups ≥ 1 that divides the output channels O",
            actual=f"groups = {groups!r}, {checks.shape('O C/G U V', w)}",
        )


def _check_count(equation, x, w, fitted):
    axes = zip(x.shape[2:], w.shape[2:], fitted["stride"], fitted["padding"], fitted["dilation"], strict=True)
    count = len(x) * prod(output_size(*axis) for axis in axes) if len(w) else 0
    if count < 2 and len(x):
        checks.fail(
            equation,
            f"too few values per channel of the output ({count}): mean and variance need at least two",
            expected="N · P · Q ≥ 2",
            actual=f"x {checks.shape('N C H W', x)}, w {checks.shape('O C/G U V', w)}",
            hint="a larger batch or image",
        )


def _check_gradient(equation, g, channels, input_size, kernel_size, fitted):
    sizes = zip(input_size, kernel_size, fitted["stride"], fitted["padding"], fitted["dilation"], strict=True)
    expected = (channels, *(output_size(*axis) for axis in sizes))
    if g.shape[1:] != expected:
        checks.fail(
            equation,
            "the gradient does not have the shape of the output",
            expected=f"(O, P, Q) = {expected} for an input of {tuple(input_size)} and a kernel of {tuple(kernel_size)}",
            actual=f"g {checks.shape('N O P Q', g)}",
        )
