"""Floor 1 of minisegnet: formulas on plain arrays.

Each operation is one folder, which contains everything that belongs to it. Five files show the same equations:

=================  ==========================================================
``formula.py``     LaTeX and literal loops (the oracle), with shapes and costs
``reference.py``   NumPy, written to be read beside the formula
``numba_cpu.py``   compiled and parallel, for every laptop
``numba_cuda.py``  Numba CUDA
``kernel.cu``      CUDA C++
=================  ==========================================================

A function has the same name in every view, and the name is the equation's id:
``conv2d.grad_weight`` is ``grad_weight`` in each file of ``conv2d/``. The call
``minisegnet_kernels.conv2d.grad_weight(...)`` checks the arguments and runs the view
that :mod:`minisegnet_kernels.backends` selects.

This package does not know autograd.
"""

from importlib import import_module

from .registry import OPERATIONS

__all__ = [*OPERATIONS, "backends", "registry"]


def __getattr__(name: str):
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
