"""Rungs 6 to 8 on the tensor cores: products of numbers rounded to TF32, added in float32."""

from __future__ import annotations

from math import prod

import numpy as np

from ...cuda import Module, blocks
from ...layout import poisoned
from .._geometry import output_shape, window
from .gradients import parts
from .rung import FOLDER, Rung, rows_of_weights

_plain, _tuned = Module(FOLDER / "06_tf32.cu"), Module(FOLDER / "07_tf32_tuned.cu")
_grad_input, _grad_weight = Module(FOLDER / "08_tf32_grad_input.cu"), Module(FOLDER / "08_tf32_grad_weight.cu")

#: As in 06_tf32.cu and tf32_pipeline.cuh: pixels and threads of a block, and outputs of one of rung 6.
_PIXELS, _THREADS, _OUTPUTS = 128, 128, 64
#: Pixels of a warp of rung 7: with statistics, a slab.
_SLAB = 64
#: As in 08_tf32_grad_weight.cu: outputs and entries of a block.
_SIDE = 64
#: Blocks that keep a GPU busy: two for each multiprocessor of an H100.
_BUSY = 264


def forward_plain(x, w, b, *, relu=False, stride, padding, dilation, groups):
    y = poisoned(x, output_shape(x, w, stride, padding, dilation))
    if y.size:
        at = window(stride, padding, dilation)
        _launch_plain(f"conv2d_forward{'_relu' if relu else ''}__tf32", y, w, x, w.reshape(len(w), -1), b, y, at)
    return y


def grad_input_plain(g, w, *, input_size, stride, padding, dilation, groups):
    xbar = poisoned(g, (len(g), w.shape[1], *input_size))
    for part, kernel, at in parts(xbar, w, stride, padding, dilation, groups):
        _launch_plain("conv2d_grad_input__tf32", part, kernel, g, kernel.reshape(len(kernel), -1), part, at)
    return xbar


def _launch_plain(kernel, y, w, *arguments):
    grid = (blocks(y.size // len(w), _PIXELS) * blocks(len(w), _OUTPUTS),)
    _plain.launch(kernel, grid, (_THREADS,), *arguments, *w.shape[2:])


def forward_tuned(x, w, b, *, relu=False, stride, padding, dilation, groups):
    y = poisoned(x, output_shape(x, w, stride, padding, dilation))
    _over_pixels(
        _tuned, f"conv2d_forward{'_relu' if relu else ''}", y, x, _matrix(w), b, y, window(stride, padding, dilation), *w.shape[2:]
    )
    return y


def forward_statistics_tuned(x, w, b, *, stride, padding, dilation, groups):
    y = poisoned(x, output_shape(x, w, stride, padding, dilation))
    means, spreads = (poisoned(b, (len(w), blocks(y.size // len(w), _SLAB))) for _ in range(2))
    at = window(stride, padding, dilation)
    _over_pixels(_tuned, "conv2d_forward_statistics", y, x, _matrix(w), b, y, at, *w.shape[2:], means, spreads)
    return y, (means, spreads, _SLAB)


def grad_input_tuned(g, w, *, input_size, stride, padding, dilation, groups):
    xbar = poisoned(g, (len(g), w.shape[1], *input_size))
    for part, kernel, at in parts(xbar, w, stride, padding, dilation, groups):
        _over_pixels(_grad_input, "conv2d_grad_input", part, g, _matrix(kernel), part, at, *kernel.shape[2:])
    return xbar


def grad_weight_tuned(g, x, *, kernel_size, stride, padding, dilation, groups):
    O, C = g.shape[1], x.shape[1]
    wbar, entries, pixels = poisoned(g, (O, C, *kernel_size)), C * prod(kernel_size), g.size // O
    tiles = blocks(O, _SIDE) * blocks(entries, _SIDE)
    slabs = poisoned(g, (_slabs(pixels, tiles), O, entries))
    at = window(stride, padding, dilation)
    _grad_weight.launch("conv2d_grad_weight__tf32_tuned", (tiles * len(slabs),), (_THREADS,), g, x, slabs, at, *kernel_size)
    _grad_weight.over("conv2d_grad_weight__tf32_tuned_sum", wbar.size, slabs, wbar)
    return wbar


def _slabs(pixels, tiles):
    """Into how many slabs the sum over pixels is cut; it depends on nothing but shapes.

    Enough for a busy GPU and for no more than 4096 products one after another, which would cost digits, but none
    with less than 128 pixels, where the slabs would cost more than the sums.
    """
    return min(max(blocks(_BUSY, tiles), blocks(pixels, 4096)), blocks(pixels, 128))


def _over_pixels(module, equation, y, *arguments):
    """One block for each 128 pixels and OUTPUTS channels of y: the narrowest that holds them all, or 128."""
    outputs = next((width for width in (32, 64) if y.shape[1] <= width), 128)
    if y.size:
        grid = (blocks(y.size // y.shape[1], _PIXELS) * blocks(y.shape[1], outputs),)
        module.launch(f"{equation}__tf32_tuned", grid, (_THREADS,), *arguments, OUTPUTS=outputs)


def _matrix(w):
    """(O, C, U, V) → the matrix O × U V C of the pipeline; a copy, unless w lies channels last."""
    return rows_of_weights(w).transpose(0, 2, 3, 1).reshape(len(w), -1)


def _is_plain(options, dtype):
    return np.dtype(dtype) == np.float32 and options["groups"] == 1


def _serves_plain(x_shape, w_shape, options, dtype, channels_last=False):
    return _is_plain(options, dtype)


def _serves_tuned(x_shape, w_shape, options, dtype, channels_last=False):
    return _is_plain(options, dtype) and channels_last and x_shape[1] % 4 == 0


def _serves_grad_input(x_shape, w_shape, options, dtype, channels_last=False):
    return _is_plain(options, dtype) and channels_last and w_shape[0] % 4 == 0


def _serves_grad_weight(x_shape, w_shape, options, dtype, channels_last=False):
    return _serves_tuned(x_shape, w_shape, options, dtype, channels_last) and w_shape[0] % 4 == 0


RUNGS = (
    Rung(
        6,
        "tf32",
        "the tensor cores",
        "A warp multiplies 16 × 8 by 8 × 8 numbers in one instruction, rounded to TF32; its lanes hold the fragments.",
        _plain.path,
        "conv2d.forward",
        "float32 without groups, any layout, any C",
        _serves_plain,
        forward_plain,
        (40, 70),
        tf32=True,
    ),
    Rung(
        7,
        "tf32_tuned",
        "feed the tensor cores",
        "Copies of 16 bytes, three steps ahead, into swizzled shared memory; 64 × 64 sums a warp.",
        _tuned.path,
        "conv2d.forward",
        "float32 without groups, x channels last with C a multiple of 4",
        _serves_tuned,
        forward_tuned,
        (100, 180),
        tf32=True,
        with_statistics=forward_statistics_tuned,
    ),
    Rung(
        8,
        "tf32",
        "the gradient for the input, on the plain path",
        "It is rung 6 with the kernel turned and its channels changed over, for what does not lie in pieces of 16 bytes.",
        _plain.path,
        "conv2d.grad_input",
        "float32 without groups, any layout, any O",
        _serves_plain,
        grad_input_plain,
        (40, 70),
        tf32=True,
    ),
    Rung(
        8,
        "tf32_tuned",
        "the gradient for the input, with permuted weights",
        "It is rung 7 with the kernel turned and its channels changed over; a stride cuts it into classes of rows and columns.",
        _grad_input.path,
        "conv2d.grad_input",
        "float32 without groups, g channels last with O a multiple of 4",
        _serves_grad_input,
        grad_input_tuned,
        (70, 180),
        tf32=True,
    ),
    Rung(
        8,
        "tf32_tuned",
        "the gradient for the kernel, with a split reduction",
        "The sum over all pixels is dealt out to slabs, so that a small result has work for a whole GPU.",
        _grad_weight.path,
        "conv2d.grad_weight",
        "float32 without groups, g and x channels last with O and C multiples of 4",
        _serves_grad_weight,
        grad_weight_tuned,
        (40, 125),
        tf32=True,
    ),
)
