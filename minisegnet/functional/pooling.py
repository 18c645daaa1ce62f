"""Pooling and unpooling: equations ``pool2d.*``."""

from __future__ import annotations

from collections.abc import Sequence

from minisegnet_kernels import checks
from minisegnet_kernels import pool2d as kernels
from minisegnet_kernels.pool2d.formula import pooled_size

from ..tensor import differentiable
from .arguments import image_or_batch
from .resize import pad


@differentiable
def _max_pool(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices):
    window = {"kernel_size": kernel_size, "stride": stride, "padding": padding, "dilation": dilation}
    size = input.shape[2:]  # the pullback keeps the shape, not `input`, so that the array can be freed
    y, winner = kernels.max(input, **window, ceil_mode=ceil_mode)
    outputs = (y, kernels.flat_indices(winner, input_size=size, **window)) if return_indices else y
    return outputs, lambda g: (lambda: kernels.grad_max(g, winner, input_size=size, **window),)


@differentiable
def _weighted_max_pool(input, weight, bias, stride, padding, dilation, ceil_mode, return_indices):
    window = {"stride": stride, "padding": padding, "dilation": dilation}
    y, winner = kernels.forward(input, weight, bias, **window, ceil_mode=ceil_mode)
    whole, size = {"kernel_size": weight.shape[-2:], **window}, input.shape[2:]
    has_bias = bias is not None

    def grad_weight(g):
        full = kernels.grad_weight(g, winner, input, **whole)
        return full.sum(axis=0) if weight.ndim == 2 else full  # shared by the channels: their influences add up

    def pullback(g):
        return (
            lambda: kernels.grad_input(g, winner, weight, input_size=size, **window),
            lambda: grad_weight(g),
            (lambda: kernels.grad_bias(g)) if has_bias else None,
        )

    return (y, kernels.flat_indices(winner, input_size=size, **whole)) if return_indices else y, pullback


@image_or_batch
def max_pool2d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False, weight=None, bias=None):
    """The documented pooling: ``y = max over the window of { w[u,v] · x[i·s + u, j·s + v] + b }``.

    Parameters
    ----------
    input : Tensor, (N, C, H, W), or one image, (C, H, W)
    kernel_size : int or (int, int)
    stride : int or (int, int), optional
        The size of the window if not given.
    padding, dilation : int or (int, int)
        Padding cells never win the maximum.
    ceil_mode : bool
        Whether to keep a last window that reaches beyond the padded input.
    return_indices : bool
        Whether to return the position of each maximum too, as a flat index into its H × W plane.
    weight : Tensor, (U, V) or (C, U, V), optional
        Without it, all weights are 1: ordinary max pooling.
    bias : Tensor, () or (C,), optional

    Returns
    -------
    Tensor, (N, C, P, Q), and with `return_indices` an int64 Tensor of the same shape

    Raises
    ------
    ValueError
        If shapes, dtypes or options do not fit.

    Notes
    -----
    Equations ``pool2d.max`` (without weight and bias) and ``pool2d.forward``. Ties go to the
    first cell in row-major order.
    """
    stride = None if stride in ((), []) else stride
    if weight is None:
        pooled = _max_pool(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)
        if bias is None:
            return pooled
        # The bias is the same for all cells of a window, so it can be added after the maximum.
        bias = bias if bias.ndim == 0 else bias[:, None, None]
        return (pooled[0] + bias, pooled[1]) if return_indices else pooled + bias
    size = checks.pair("max_pool2d", "kernel_size", kernel_size, least=1)
    if tuple(weight.shape[-2:]) != size:
        checks.fail(
            "max_pool2d",
            "weight and kernel_size do not fit",
            expected=f"a weight of (…, {size[0]}, {size[1]})",
            actual=f"weight.shape = {weight.shape}",
        )
    return _weighted_max_pool(input, weight, bias, size if stride is None else stride, padding, dilation, ceil_mode, return_indices)


@differentiable
def _unpool(input, indices, output_size):
    return kernels.unpool(input, indices, output_size=output_size), lambda g: (lambda: kernels.grad_unpool(g, indices),)


def max_unpool2d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """Put each pooled value back at the position of its maximum, with zeros elsewhere (equation ``pool2d.unpool``).

    Parameters
    ----------
    input : Tensor, (N, C, P, Q), or one image, (C, P, Q)
    indices : int64 Tensor, the shape of the input
        From ``max_pool2d(..., return_indices=True)``.
    kernel_size, stride, padding : int or (int, int)
        Those of the pooling. They determine the output size if `output_size` is not given.
    output_size : (int, int) or (int, int, int, int), optional
        H, W: the size before pooling, since several sizes pool to the same P, Q.

    Returns
    -------
    Tensor, (N, C, H, W)

    Notes
    -----
    If an index occurs several times, as it does where windows overlap, the last value stays, and it alone gets the gradient. PyTorch sends
    the gradient to all of them.
    """
    if input.ndim == 3:
        return max_unpool2d(input[None], indices[None], kernel_size, stride, padding, output_size)[0]
    checks.rank("max_unpool2d", "input", input, "N C P Q")
    if output_size is None:
        size = checks.pair("max_unpool2d", "kernel_size", kernel_size, least=1)
        step = size if stride is None else checks.pair("max_unpool2d", "stride", stride, least=1)
        pad = checks.pair("max_unpool2d", "padding", padding, least=0)
        output_size = tuple((n - 1) * step[a] - 2 * pad[a] + size[a] for a, n in enumerate(input.shape[2:]))
    return _unpool(input, indices, tuple(output_size)[-2:])


@differentiable
def _average(input, kernel_size, stride, padding, ceil_mode, count_include_pad):
    window = {"kernel_size": kernel_size, "stride": stride, "padding": padding, "count_include_pad": count_include_pad}
    size = input.shape[2:]
    y = kernels.average(input, **window, ceil_mode=ceil_mode)
    return y, lambda g: (lambda: kernels.grad_average(g, input_size=size, **window),)


@image_or_batch
def avg_pool2d(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
    """Mean of each window (equation ``pool2d.average``).

    Parameters
    ----------
    input : Tensor, (N, C, H, W), or one image, (C, H, W)
    kernel_size, stride, padding, ceil_mode
        As in `max_pool2d`.
    count_include_pad : bool
        Whether the padding counts, as zeros.
    divisor_override : int, optional
        Divide the sum of each window by this number instead of the number of its cells.

    Returns
    -------
    Tensor, (N, C, P, Q)

    Raises
    ------
    ValueError
        If shapes, dtypes or options do not fit, or the divisor is 0.
    """
    stride = None if stride in ((), []) else stride
    if divisor_override is None:
        return _average(input, kernel_size, stride, padding, ceil_mode, count_include_pad)
    name = "avg_pool2d"
    if divisor_override == 0:
        checks.fail(name, "a division by zero", expected="divisor_override ≠ 0", actual="divisor_override = 0")
    checks.rank(name, "input", input, "N C H W")
    size = checks.pair(name, "kernel_size", kernel_size, least=1)
    step = size if stride is None else checks.pair(name, "stride", stride, least=1)
    border = checks.pair(name, "padding", padding, least=0)
    # The padding, and what the last window reaches beyond it, become real zeros. Then every window has the same number of cells.
    windows = [pooled_size(*axis, 1, ceil_mode) for axis in zip(input.shape[2:], size, step, [(b, b) for b in border], strict=True)]
    behind = [max((p - 1) * step[a] + size[a] - input.shape[2 + a] - border[a], 0) for a, p in enumerate(windows)]
    padded = pad(input, (border[1], behind[1], border[0], behind[0])) if any((*border, *behind)) else input
    return _average(padded, size, step, 0, False, True) * (size[0] * size[1] / divisor_override)


@differentiable
def _adaptive_average(input, output_size):
    size = input.shape[2:]
    y = kernels.adaptive_average(input, output_size=output_size)
    return y, lambda g: (lambda: kernels.grad_adaptive_average(g, input_size=size),)


@image_or_batch
def adaptive_avg_pool2d(input, output_size):
    """Means of P × Q windows that cover the input (equation ``pool2d.adaptive_average``).

    Parameters
    ----------
    input : Tensor, (N, C, H, W), or one image, (C, H, W)
    output_size : int or (int, int)
        1 is the global average; None for an axis keeps the size of the input.

    Returns
    -------
    Tensor, (N, C, P, Q)

    Raises
    ------
    ValueError
        If shape, dtype or size do not fit.
    """
    checks.rank("adaptive_avg_pool2d", "input", input, "N C H W")
    wanted = tuple(output_size) if isinstance(output_size, Sequence) else (output_size, output_size)
    if len(wanted) == 2:
        wanted = tuple(n if size is None else size for n, size in zip(input.shape[2:], wanted, strict=True))
    return _adaptive_average(input, checks.pair("adaptive_avg_pool2d", "output_size", wanted, least=1))
