"""The table of all rungs."""

from __future__ import annotations

from . import (
    rung1_direct,
    rung2_tile,
    rung3_implicit_gemm,
    rung4_register_tile,
    rung4s_winograd,
    rung5_asynchronous,
    rung6_tf32,
    rung7_tf32_tuned,
    rung8_grad_input,
    rung8_grad_weight,
    rung8_register_tile_grad_input,
    rung8_register_tile_grad_weight,
    rung8_tf32_grad_input,
    rung8_tf32_grad_weight,
)
from .rung import Rung

#: In order. Each module has the rungs of the `.cu` file of its name, one for each equation.
RUNGS: tuple[Rung, ...] = (
    *rung1_direct.RUNGS,
    *rung2_tile.RUNGS,
    *rung3_implicit_gemm.RUNGS,
    *rung4_register_tile.RUNGS,
    *rung4s_winograd.RUNGS,
    *rung5_asynchronous.RUNGS,
    *rung6_tf32.RUNGS,
    *rung7_tf32_tuned.RUNGS,
    *rung8_register_tile_grad_input.RUNGS,
    *rung8_register_tile_grad_weight.RUNGS,
    *rung8_grad_input.RUNGS,
    *rung8_grad_weight.RUNGS,
    *rung8_tf32_grad_input.RUNGS,
    *rung8_tf32_grad_weight.RUNGS,
)


def find(name: str, equation: str = "conv2d.forward") -> Rung:
    """The rung with this name.

    Raises
    ------
    KeyError
        If the equation has none; the message lists those that it has.
    """
    for rung in RUNGS:
        if (rung.name, rung.equation) == (name, equation):
            return rung
    raise KeyError(f"no rung {name!r} of {equation}; there are {', '.join(r.name for r in RUNGS if r.equation == equation)}")
