"""The convolution ladder: how a GPU is made fast, one idea at a time.

Every rung is a complete implementation of the equation that it names: a ``.cu`` file that teaches the idea, and a ``.py``
file of the same name that launches it::

     1  direct          one thread an output
     2  tile            the threads of a block share what they read
     3  implicit GEMM   the convolution is a matrix product whose matrix is never stored
     4  register tile   8 × 8 results a thread
     4s Winograd        a side rung: fewer products instead of faster ones
     5  asynchronous    copies overlap with products
     6  TF32            the tensor cores
     7  TF32, tuned     the tensor cores, fed without waiting and without bank conflicts
     8  gradients       permuted weights; sums split into slabs, in float32 and in TF32

The ``.cu`` file of rung 1 is ``conv2d/kernel.cu``: the plain program that is shown beside the formula is the first rung.
``conv2d/kernel.py`` has the rule that sends a case to a rung, and `use_rung` overrides it.

Examples
--------
>>> from minisegnet_kernels.conv2d.ladder import RUNGS
>>> RUNGS[0].name, RUNGS[0].equation
('direct', 'conv2d.forward')
"""

from .choice import allow_tf32, chosen_rung, tf32_allowed, use_rung
from .rung import Case, Rung, lies_channels_last
from .table import RUNGS, find

__all__ = ["RUNGS", "Case", "Rung", "allow_tf32", "chosen_rung", "find", "lies_channels_last", "tf32_allowed", "use_rung"]
