"""From a ``.cu`` file to a launch: on a GPU through CuPy, on NumPy arrays in the emulator.

The host side of each ``kernel.cu`` is the ``kernel.py`` beside it::

    _cu = Module(__file__)                                   # the kernel.cu beside this file

    def relu(x):
        y = empty(x, x.shape)
        _cu.over("activation_relu", y.size, *flat(x, y))     # one thread an element
        return y

Nothing is compiled, and no GPU is touched, before the first launch.
"""

from .launch import THREADS, Module, blocks
from .memory import channels_last, dense, empty, flat, is_channels_last, new

__all__ = ["THREADS", "Module", "blocks", "channels_last", "dense", "empty", "flat", "is_channels_last", "new"]
