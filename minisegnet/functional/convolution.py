"""Convolution and its transpose: equations ``conv2d.*``."""

from __future__ import annotations

from minisegnet_kernels import checks
from minisegnet_kernels import conv2d as kernels

from ..tensor import differentiable


@differentiable
def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Convolution: ``y[n,o,i,j] = b[o] + Σ w[o,c,u,v] · x[n, c, i·s + u·d − p, j·s + v·d − p]``.

    Parameters
    ----------
    input : Tensor, (N, C, H, W)
    weight : Tensor, (O, C/groups, U, V)
    bias : Tensor, (O,), optional
    stride, dilation : int or (int, int)
    padding : int, (int, int), ((top, bottom), (left, right)), "valid" or "same"
    groups : int

    Returns
    -------
    Tensor, (N, O, P, Q)
        ``P = ⌊(H + 2p − d(U − 1) − 1) / s⌋ + 1``.

    Raises
    ------
    ValueError
        If shapes, dtypes or options do not fit.

    Notes
    -----
    Equations ``conv2d.forward``, ``conv2d.grad_input``, ``conv2d.grad_weight``, ``conv2d.grad_bias``.
    """
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    y = kernels.forward(input, weight, bias, **options)
    return y, lambda g: _products(g, input, weight, bias, options)


@differentiable
def conv2d_relu(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """``relu(conv2d(...))`` in one pass (equation ``conv2d.forward_relu``); arguments as `conv2d`."""
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    y = kernels.forward_relu(input, weight, bias, **options)
    return y, lambda g: _products(g * (y > 0), input, weight, bias, options)


@differentiable
def conv2d_statistics(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """`conv2d`, with mean and variance of each channel of its output (equation ``conv2d.forward_statistics``).

    For a batch normalisation behind it, which takes them as `batch_mean` and `batch_var` and needs no pass of its own.
    Both are (O,) and constants: what a loss owes to them is in the gradient of `batch_norm`. Arguments as `conv2d`.
    """
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    results = kernels.forward_statistics(input, weight, bias, **options)
    return results, lambda g: _products(g, input, weight, bias, options)


def _products(g, x, w, b, options):
    return (
        lambda: kernels.grad_input(g, w, input_size=x.shape[2:], **options),
        lambda: kernels.grad_weight(g, x, kernel_size=w.shape[2:], **options),
        None if b is None else lambda: kernels.grad_bias(g),
    )


@differentiable
def conv_transpose2d(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """Transposed convolution: the input gradient of `conv2d`, read forwards.

    Parameters
    ----------
    input : Tensor, (N, C, P, Q)
    weight : Tensor, (C, O/groups, U, V)
    bias : Tensor, (O,), optional
    stride, padding, dilation, groups
        Those of the convolution whose gradient this is.
    output_padding : int or (int, int)
        Rows and columns added at the bottom and right, since several sizes of input lead a
        strided convolution to the same P, Q.

    Returns
    -------
    Tensor, (N, O, H, W)
        ``H = (P − 1)·s − 2p + d(U − 1) + output_padding + 1``.

    Raises
    ------
    ValueError
        If shapes, dtypes or options do not fit.

    Notes
    -----
    Equation ``conv2d.grad_input``; its gradients are ``conv2d.forward`` and ``conv2d.grad_weight``.
    """
    name = "conv_transpose2d"
    checks.rank(name, "input", input, "N C P Q")
    checks.rank(name, "weight", weight, "C O/G U V")
    if input.shape[1] != weight.shape[0]:
        shapes = f"input {checks.shape('N C P Q', input)}, weight {checks.shape('C O/G U V', weight)}"
        checks.fail(name, "input and weight do not fit", expected="equal C (the first axis of the weight)", actual=shapes)
    if bias is not None and tuple(bias.shape) != (weight.shape[1] * groups,):
        checks.fail(
            name,
            "bias and weight do not fit",
            expected=f"bias (O,) = ({weight.shape[1] * groups},)",
            actual=f"bias.shape = {tuple(bias.shape)}, weight {checks.shape('C O/G U V', weight)}, groups = {groups}",
        )
    checks.floats(name, input=input, weight=weight, bias=bias)
    s, d = checks.pair(name, "stride", stride, least=1), checks.pair(name, "dilation", dilation, least=1)
    p, extra = checks.pair(name, "padding", padding, least=0), checks.pair(name, "output_padding", output_padding, least=0)
    if any(e >= max(a, b) for e, a, b in zip(extra, s, d, strict=True)):
        checks.fail(
            name,
            "output_padding is too large",
            expected="less than the stride or the dilation",
            actual=f"{output_padding}, stride {s}, dilation {d}",
        )
    size = [(n - 1) * s[a] - 2 * p[a] + d[a] * (weight.shape[2 + a] - 1) + extra[a] + 1 for a, n in enumerate(input.shape[2:])]
    options = {"stride": s, "padding": p, "dilation": d, "groups": groups}
    y = kernels.grad_input(input, weight, input_size=size, **options)
    if bias is not None:
        y += bias[:, None, None]

    def pullback(g):
        return (
            lambda: kernels.forward(g, weight, **options),
            lambda: kernels.grad_weight(input, g, kernel_size=weight.shape[2:], **options),
            None if bias is None else lambda: kernels.grad_bias(g),
        )

    return y, pullback
