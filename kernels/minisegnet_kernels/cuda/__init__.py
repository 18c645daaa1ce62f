"""From a ``.cu`` file to a launch: on a GPU through CuPy, on NumPy arrays in the emulator.

The host side of a ``kernel.cu`` is the ``kernel.py`` beside it::

    _cu = Module(__file__)                                   # the kernel.cu beside this file

    def relu(x):
        y = poisoned(x, x.shape)                             # a result; see layout.py
        _cu.over("activation_relu", y.size, *flat(x, y))     # one thread an element
        return y

Nothing is compiled, and no GPU is touched, before the first launch.
"""

from .launch import THREADS, Module, blocks, capability_of, emulate_with

__all__ = ["THREADS", "Module", "blocks", "capability_of", "emulate_with"]
