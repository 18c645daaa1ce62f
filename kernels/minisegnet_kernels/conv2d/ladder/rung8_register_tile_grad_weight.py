"""The host side of rung 8's gradient for the kernel without asynchronous copies, ``rung8_register_tile_grad_weight.cu``."""

from __future__ import annotations

from ...cuda import Module
from .rung import FOLDER, Rung
from .rung8_grad_input import NEEDS, serves
from .rung8_grad_weight import by_slabs

_cu = Module(FOLDER / "rung8_register_tile_grad_weight.cu")


def _grad_weight(g, x, **options):
    return by_slabs(_cu, "conv2d_grad_weight__register_tile", g, x, **options)


RUNGS = (
    Rung(
        number=8,
        name="register_tile",
        title="the weight gradient with a split reduction, without asynchronous copies",
        idea="The next step waits in registers while this one is computed; the sum is split as in the form with asynchronous copies.",
        module=_cu,
        equation="conv2d.grad_weight",
        needs=NEEDS,
        serves=serves,
        program=_grad_weight,
    ),
)
