"""The convolution ladder: how a GPU is made fast, one idea at a time.

Every rung is a whole implementation of the equation that it names, in a file of its own that teaches it::

     1  direct          one thread an output
     2  tile            what a block reads is shared
     3  implicit GEMM   the convolution is a matrix product whose matrix is never made
     4  register tile   8 × 8 results a thread
     4s Winograd        a side rung: fewer products instead of faster ones
     5  asynchronous    copies overlap with products
     8  gradients       permuted weights; sums split into slabs
    ...

`RUNGS` is the table. ``conv2d/kernel.py`` has the rule that picks a rung for a case.

Examples
--------
>>> from minisegnet_kernels.conv2d.ladder import RUNGS
>>> RUNGS[0].name, RUNGS[0].equation
('direct', 'conv2d.forward')
"""

from . import asynchronous, gradients, implicit_gemm, plain, register_tile, tf32, winograd
from .rung import Rung, lies_channels_last

__all__ = ["RUNGS", "Rung", "find", "lies_channels_last"]

#: In order. Each module of this folder has the rungs of one `.cu` file.
RUNGS: tuple[Rung, ...] = (
    *plain.RUNGS,
    *implicit_gemm.RUNGS,
    *register_tile.RUNGS,
    *winograd.RUNGS,
    *asynchronous.RUNGS,
    *tf32.RUNGS,
    *gradients.RUNGS,
    *winograd.GRADIENTS,
)


def find(name: str, equation: str = "conv2d.forward") -> Rung:
    """The rung with this name.

    Raises
    ------
    KeyError
        If there is none.
    """
    for rung in RUNGS:
        if (rung.name, rung.equation) == (name, equation):
            return rung
    raise KeyError(f"no rung {name!r} of {equation}; there are {', '.join(r.name for r in RUNGS if r.equation == equation)}")
