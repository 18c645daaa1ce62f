"""Rungs 1 and 2: the two plain forms of ``conv2d/kernel.cu``, which stands beside this folder."""

from __future__ import annotations

from .. import kernel
from .rung import FOLDER, Rung, is_float

_PATH = FOLDER.parent / "kernel.cu"


def _serves_direct(x_shape, w_shape, options, dtype, channels_last=False):
    return is_float(dtype)


def _serves_tile(x_shape, w_shape, options, dtype, channels_last=False):
    return is_float(dtype) and kernel._fits_in_shared(w_shape[2:], options["stride"], options["dilation"], dtype.itemsize) > 0


RUNGS = (
    Rung(
        1,
        "direct",
        "one thread an output",
        "The literal sum: every thread reads its whole window, from whatever cache has it.",
        _PATH,
        "conv2d.forward",
        "every case",
        _serves_direct,
        kernel._direct,
        (3, 5),
    ),
    Rung(
        2,
        "tile",
        "shared-memory tile with a halo",
        "The cells of x under a tile of 8 × 32 outputs are read from memory once, and shared by the threads of a block.",
        _PATH,
        "conv2d.forward",
        "every case whose tile, one channel at a time, fits into 48 KiB of shared memory",
        _serves_tile,
        kernel._tile,
        (6, 10),
    ),
)
