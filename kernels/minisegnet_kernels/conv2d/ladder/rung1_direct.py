"""The host side of rung 1, ``../kernel.cu``: the plain programs of convolution, its gradients and the gradient of the bias."""

from __future__ import annotations

from ...cuda import Module, blocks
from ...layout import is_channels_last, poisoned
from .._geometry import slabs, window
from ..formula import output_shape
from .rung import FOLDER, Rung, is_float

kernels = Module(FOLDER.parent / "kernel.cu")
#: Threads that keep a GPU busy.
BUSY = 2**16


def forward(x, w, b, *, relu=False, stride, padding, dilation, groups):
    y = poisoned(x, output_shape(x, w, stride=stride, padding=padding, dilation=dilation))
    kernel = "conv2d_forward_relu" if relu else "conv2d_forward"
    kernels.over(kernel, y.size, x, w, b, y, window(stride, padding, dilation), groups)
    return y


def grad_input(g, w, *, input_size, stride, padding, dilation, groups):
    xbar = poisoned(g, (g.shape[0], w.shape[1] * groups, *input_size))
    kernels.over("conv2d_grad_input", xbar.size, g, w, xbar, window(stride, padding, dilation), groups)
    return xbar


def grad_weight(g, x, *, kernel_size, stride, padding, dilation, groups):
    (N, O, P, Q), Cg = g.shape, x.shape[1] // groups
    wbar = poisoned(g, (O, Cg, *kernel_size))
    parts = poisoned(g, (slabs(N * P, Q, wbar.size, BUSY) * O, Cg, *kernel_size))
    kernels.over("conv2d_grad_weight", parts.size, g, x, parts, window(stride, padding, dilation), groups)
    return add_slabs(parts, wbar)


def add_slabs(parts, wbar):
    """The sum of the slabs of a weight gradient, which stand below each other in `parts`, (S·O, C/G, U, V)."""
    kernels.over("conv2d_grad_weight__sum", wbar.size, parts, wbar)
    return wbar


def grad_bias(g):
    N, O, P, Q = g.shape
    pixels = N * P * Q
    if is_channels_last(g):
        parts = poisoned(g, (slabs(pixels, 1, O, BUSY), O))
        kernels.over("conv2d_grad_bias__channels_last", parts.size, g, parts)
    else:
        parts = poisoned(g, (slabs(blocks(pixels, 128), 128, 128 * O, BUSY), O))
        if O:
            kernels.launch("conv2d_grad_bias", (parts.size,), (128,), g, parts, THREADS=128)
    bbar = poisoned(g, (O,))
    if O:
        kernels.launch("conv2d_grad_bias__sum", (O,), (32,), parts, bbar, THREADS=32)
    return bbar


def _rung(program, equation, idea):
    return Rung(
        number=1,
        name="direct",
        title="one thread an output",
        idea=idea,
        module=kernels,
        equation=equation,
        needs="every case in float32 or float64",
        serves=is_float,
        program=program,
    )


RUNGS = (
    _rung(forward, "conv2d.forward", "The literal sum: every thread reads its whole window, from memory or from a cache."),
    _rung(grad_input, "conv2d.grad_input", "Every thread gathers from the outputs whose window covers its cell."),
    _rung(grad_weight, "conv2d.grad_weight", "Every thread sums over a share of the pixels, and the shares are added."),
)
