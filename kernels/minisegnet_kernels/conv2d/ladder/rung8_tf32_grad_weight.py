"""The host side of rung 8's gradient for the kernel on the tensor cores, ``rung8_tf32_grad_weight.cu``."""

from __future__ import annotations

from math import prod

from ...cuda import Module, blocks
from ...layout import poisoned
from .._geometry import window
from .rung import FOLDER, Rung
from .rung1_direct import add_slabs
from .rung6_tf32 import is_served_with_tf32
from .rung8_grad_weight import BUSY

_cu = Module(FOLDER / "rung8_tf32_grad_weight.cu")


def _grad_weight(g, x, *, kernel_size, stride, padding, dilation, groups):
    O, C, side = g.shape[1], x.shape[1], _cu.constant("SIDE")
    wbar, entries, pixels = poisoned(g, (O, C, *kernel_size)), C * prod(kernel_size), g.size // O
    tiles = blocks(O, side) * blocks(entries, side)
    slabs = poisoned(g, (_slabs(pixels, tiles), O, entries))
    at, threads = window(stride, padding, dilation), _cu.constant("THREADS")
    _cu.launch("conv2d_grad_weight__tf32_tuned", (tiles * len(slabs),), (threads,), g, x, slabs, at, *kernel_size)
    return add_slabs(slabs.reshape(-1, *kernel_size, C).transpose(0, 3, 1, 2), wbar)


def _slabs(pixels, tiles):
    """Into how many slabs the sum over pixels is split; it depends on shapes alone.

    Enough for a busy GPU and for at most 4096 products one after another, which keeps the digits; but none with fewer
    than 128 pixels, where the slabs would cost more than the sums.
    """
    return min(max(blocks(BUSY, tiles), blocks(pixels, 4096)), blocks(pixels, 128))


def _serves(case):
    return is_served_with_tf32(case) and case.channels_last and case.channels % 4 == 0 and case.outputs % 4 == 0


RUNGS = (
    Rung(
        number=8,
        name="tf32_tuned",
        title="the weight gradient with a split reduction, on the tensor cores",
        idea="The sum over all pixels is split into slabs, so that a small result has work for a whole GPU.",
        module=_cu,
        equation="conv2d.grad_weight",
        needs="float32 without groups, g and x channels last with O and C multiples of 4",
        serves=_serves,
        program=_grad_weight,
        capability=(8, 0),
        tf32=True,
    ),
)
