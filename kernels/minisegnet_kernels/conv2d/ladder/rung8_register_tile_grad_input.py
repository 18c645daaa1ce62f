"""The host side of rung 8's gradient for the input without asynchronous copies, ``rung8_register_tile_grad_input.cu``."""

from __future__ import annotations

from ...cuda import Module
from .rung import FOLDER, Rung, is_float32
from .rung8_grad_input import by_classes

_cu = Module(FOLDER / "rung8_register_tile_grad_input.cu")


def _grad_input(g, w, **options):
    return by_classes(_cu, "conv2d_grad_input__register_tile", g, w, **options)


def _serves(case):
    return is_float32(case) and case.channels_last and case.outputs % 4 == 0


RUNGS = (
    Rung(
        number=8,
        name="register_tile",
        title="the input gradient with permuted weights, without asynchronous copies",
        idea="It is rung 4 with the kernel turned and its channels swapped, for GPUs that have no asynchronous copies.",
        module=_cu,
        equation="conv2d.grad_input",
        needs="float32 with channels last, a multiple of four output channels in each group",
        serves=_serves,
        program=_grad_input,
    ),
)
