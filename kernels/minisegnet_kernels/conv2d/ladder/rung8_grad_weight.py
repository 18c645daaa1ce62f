"""The host side of rung 8's gradient for the kernel in float32, ``rung8_grad_weight.cu``."""

from __future__ import annotations

from math import prod

from ...cuda import Module, blocks
from ...layout import poisoned
from .._geometry import window
from .rung import FOLDER, Rung
from .rung1_direct import add_slabs
from .rung8_grad_input import NEEDS, serves

_cu = Module(FOLDER / "rung8_grad_weight.cu")
#: Blocks that keep a GPU busy: two on each of the 132 multiprocessors of an H100.
BUSY = 264
#: Pixels of a slab, at least: with fewer, writing and adding the slabs would cost more than the sums.
_LEAST = 128


def _grad_weight(g, x, **options):
    return by_slabs(_cu, "conv2d_grad_weight__asynchronous", g, x, **options)


def by_slabs(module, kernel, g, x, *, kernel_size, stride, padding, dilation, groups):
    """w̄: a kernel computes the slabs, which are then added."""
    (N, O, P, Q), C = g.shape, x.shape[1] // groups
    wbar = poisoned(g, (O, C, *kernel_size))
    grid = groups * blocks(O // groups, module.constant("ROWS")) * blocks(C * prod(kernel_size), module.constant("TERMS"))
    share = _share(N * P * Q, grid, module.constant("DEPTH"))
    count = blocks(N * P * Q, share)
    parts = poisoned(g, (count * O * prod(kernel_size) * C,)).reshape(count * O, *kernel_size, C).transpose(0, 3, 1, 2)
    at = window(stride, padding, dilation)
    module.launch(kernel, (grid * count,), (module.constant("THREADS"),), g, x, parts, at, groups, share)
    return add_slabs(parts, wbar)


def _share(pixels: int, grid: int, step: int) -> int:
    """Pixels of a slab, a multiple of `step`: few enough that all blocks are busy, and at most 4096, which keeps float32's digits."""
    wanted = max(blocks(BUSY, grid), blocks(pixels, 4096))
    return blocks(max(blocks(pixels, wanted), _LEAST), step) * step


RUNGS = (
    Rung(
        number=8,
        name="asynchronous",
        title="the weight gradient with a split reduction",
        idea="The sum over pixels is split into slabs, which are added in a fixed order.",
        module=_cu,
        equation="conv2d.grad_weight",
        needs=NEEDS,
        serves=serves,
        program=_grad_weight,
        capability=(8, 0),
    ),
)
