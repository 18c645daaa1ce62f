"""The host side of rung 2, ``rung2_tile.cu``."""

from __future__ import annotations

from math import prod

from ...cuda import THREADS, Module, blocks
from ...layout import poisoned
from .._geometry import halo, outside, slabs, turned, window
from ..formula import output_shape
from . import rung1_direct
from .rung import FOLDER, Rung, is_float

_cu = Module(FOLDER / "rung2_tile.cu")
#: Bytes of shared memory that every GPU gives a block without being asked for more.
_SHARED = 48 * 1024
#: The largest number of channels that are staged at once: 8 channels of float32 are one 32-byte sector of memory with channels last.
_MOST = 8


def tile():
    """Rows and columns of a tile of outputs."""
    return _cu.constant("ROWS"), _cu.constant("COLUMNS")


def _forward(x, w, b, *, relu=False, stride, padding, dilation, groups):
    y = poisoned(x, output_shape(x, w, stride=stride, padding=padding, dilation=dilation))
    kernel = "conv2d_forward_relu__tile" if relu else "conv2d_forward__tile"
    _over_tiles(kernel, y, w, groups, stride, dilation, x, w, b, y, window(stride, padding, dilation))
    return y


def _grad_input(g, w, *, input_size, stride, padding, dilation, groups):
    xbar, w = poisoned(g, (g.shape[0], w.shape[1] * groups, *input_size)), turned(w, groups)
    at = (*stride, *outside(w.shape[2:], padding, dilation), *dilation)
    _over_tiles("conv2d_grad_input__tile", xbar, w, groups, stride, dilation, g, w, xbar, at)
    return xbar


def _over_tiles(kernel, y, w, groups, stride, dilation, *arguments):
    """One block for each tile of outputs and each OUTPUTS channels of y."""
    (N, O, P, Q), (rows, columns), outputs = y.shape, tile(), _cu.constant("OUTPUTS")
    channels = min(w.shape[1], _MOST, _channels_that_fit(w.shape[2:], stride, dilation, y.itemsize))
    grid = N * blocks(P, rows) * blocks(Q, columns) * groups * blocks(O // groups, outputs)
    cells = halo(tile(), w.shape[2:], stride, dilation) + prod(w.shape[2:]) * outputs
    if y.size:
        _cu.launch(kernel, (grid,), (rows * columns,), *arguments, groups, channels, shared=channels * cells * y.itemsize)


def _grad_weight(g, x, *, kernel_size, stride, padding, dilation, groups):
    (N, O, P, Q), Cg, taps = g.shape, x.shape[1] // groups, prod(kernel_size)
    (rows, columns), outputs = tile(), _cu.constant("OUTPUTS")
    wbar = poisoned(g, (O, Cg, *kernel_size))
    channels = min(Cg, THREADS // taps, _channels_beside_the_gradients(kernel_size, stride, dilation, g.itemsize))
    tiles = N * blocks(P, rows) * blocks(Q, columns)
    grid = groups * blocks(O // groups, outputs) * blocks(Cg, channels)
    parts = poisoned(g, (slabs(tiles, rows * columns, grid * THREADS, rung1_direct.BUSY) * O, Cg, *kernel_size))
    shared = (rows * columns * outputs + channels * halo(tile(), kernel_size, stride, dilation)) * g.itemsize
    threads = blocks(channels * taps, 32) * 32
    grid *= parts.shape[0] // O
    at = window(stride, padding, dilation)
    _cu.launch("conv2d_grad_weight__tile", (grid,), (threads,), g, x, parts, at, groups, channels, shared=shared)
    return rung1_direct.add_slabs(parts, wbar)


def _channels_that_fit(kernel_size, stride, dilation, itemsize):
    """How many channels of a tile's cells, with their weights for OUTPUTS channels, shared memory holds."""
    one = halo(tile(), kernel_size, stride, dilation) + prod(kernel_size) * _cu.constant("OUTPUTS")
    return _SHARED // (one * itemsize)


def _channels_beside_the_gradients(kernel_size, stride, dilation, itemsize):
    """How many channels of a tile's cells shared memory holds beside the tile's gradients for OUTPUTS channels."""
    gradients = prod(tile()) * _cu.constant("OUTPUTS") * itemsize
    return (_SHARED - gradients) // (halo(tile(), kernel_size, stride, dilation) * itemsize)


def _serves(case):
    return is_float(case) and _channels_that_fit(case.kernel_size, case.stride, case.dilation, case.dtype.itemsize) > 0


def _serves_grad_input(case):
    return _serves(case) and case.stride == (1, 1)


def _serves_grad_weight(case):
    fit = _channels_beside_the_gradients(case.kernel_size, case.stride, case.dilation, case.dtype.itemsize)
    return is_float(case) and fit > 0 and case.taps <= THREADS and prod(case.x_shape) > 0 and case.outputs > 0


def _rung(program, equation, idea, needs, serves):
    return Rung(
        number=2,
        name="tile",
        title="shared-memory tile with a halo",
        idea=idea,
        module=_cu,
        equation=equation,
        needs=f"every case in float32 or float64 {needs}",
        serves=serves,
        program=program,
    )


_FITS = "whose tile, one channel at a time, fits into 48 KiB of shared memory"
RUNGS = (
    _rung(
        _forward,
        "conv2d.forward",
        "The cells under a tile of 8 × 32 outputs are read from memory once, and shared by the threads of a block.",
        _FITS,
        _serves,
    ),
    _rung(
        _grad_input,
        "conv2d.grad_input",
        "With stride 1 it is the forward tile, on g with the kernel turned by 180°.",
        f"with stride 1 {_FITS}",
        _serves_grad_input,
    ),
    _rung(
        _grad_weight,
        "conv2d.grad_weight",
        "A block stages tiles of g and of x, and each thread keeps one tap of four output channels.",
        f"that is not empty, with at most {THREADS} taps, {_FITS}",
        _serves_grad_weight,
    ),
)
