"""Convolution and its transpose: equations ``conv2d.*``."""

from __future__ import annotations

import numpy as np

from minisegnet_kernels import checks
from minisegnet_kernels import conv2d as kernels
from minisegnet_kernels.activation import grad_relu

from ..tensor import differentiable
from .arguments import image_or_batch


@image_or_batch
@differentiable
def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Convolution: ``y[n,o,i,j] = b[o] + Σ w[o,c,u,v] · x[n, c, i·s + u·d − p, j·s + v·d − p]``.

    Parameters
    ----------
    input : Tensor, (N, C, H, W), or one image, (C, H, W)
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
    return y, _pullback(input, weight, bias is not None, options)


@image_or_batch
@differentiable
def conv2d_relu(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """``relu(conv2d(...))`` in one pass (equation ``conv2d.forward_relu``); arguments as `conv2d`."""
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    y = kernels.forward_relu(input, weight, bias, **options)
    pullback = _pullback(input, weight, bias is not None, options)
    return y, lambda g: pullback(grad_relu(g, y))


@differentiable
def conv2d_statistics(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """`conv2d`, and the mean and biased variance of each channel of its output (equation ``conv2d.forward_statistics``).

    A `BatchNorm2d` that follows takes them, so it need not read the output to compute them.
    Both are (O,) and treated as constants: the gradient through them is already part of `batch_norm`'s. Arguments as `conv2d`.
    """
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    results = kernels.forward_statistics(input, weight, bias, **options)
    return results, _pullback(input, weight, bias is not None, options)


def _pullback(x, w, has_bias, options):
    """The gradients of a convolution for its input, kernel and bias."""
    return lambda g: (
        lambda: kernels.grad_input(g, w, input_size=x.shape[2:], **options),
        lambda: kernels.grad_weight(g, x, kernel_size=w.shape[2:], **options),
        (lambda: kernels.grad_bias(g)) if has_bias else None,
    )


@image_or_batch
@differentiable
def conv_transpose2d(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """Transposed convolution: the input gradient of `conv2d`, read forwards.

    Parameters
    ----------
    input : Tensor, (N, C, P, Q), or one image, (C, P, Q)
    weight : Tensor, (C, O/groups, U, V)
    bias : Tensor, (O,), optional
    stride, padding, dilation, groups
        Those of the convolution whose gradient this is.
    output_padding : int or (int, int)
        Rows and columns added at the bottom and right. A strided convolution maps several input sizes to the same
        P, Q; this chooses one of them. It has to be less than the stride or less than the dilation.

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
    least = [(n - 1) * s[a] - 2 * p[a] + d[a] * (weight.shape[2 + a] - 1) + 1 for a, n in enumerate(input.shape[2:])]
    # A convolution gives the same P, Q for up to s − 1 rows more than the least. For further rows its padding at the end
    # shrinks. When that is used up, no element of the kernel reaches the remaining rows.
    met = [min(e, p[a] + s[a] - 1) for a, e in enumerate(extra)]
    size = tuple(n + e for n, e in zip(least, met, strict=True))
    options = {
        "stride": s,
        "padding": tuple((p[a], p[a] if e < s[a] else max(p[a] - e, 0)) for a, e in enumerate(met)),
        "dilation": d,
        "groups": groups,
    }
    y = kernels.grad_input(input, weight, input_size=size, **options)
    if met != list(extra):
        y = np.pad(y, ((0, 0), (0, 0), *((0, e - m) for e, m in zip(extra, met, strict=True))))
    has_bias, kernel_size = bias is not None, weight.shape[2:]
    if has_bias:
        y += bias[:, None, None]

    def pullback(g):
        reached = g[:, :, : size[0], : size[1]]
        return (
            lambda: kernels.forward(reached, weight, **options),
            lambda: kernels.grad_weight(input, reached, kernel_size=kernel_size, **options),
            (lambda: kernels.grad_bias(g)) if has_bias else None,
        )

    return y, pullback
