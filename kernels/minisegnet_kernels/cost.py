"""What an equation costs at least, whatever program computes it: operations, and bytes of memory.

*Operations* are the floating-point operations of the formula; a multiply-add is two, a comparison or an
exponential is one. Each equation's count is written beside its LaTeX. A product with a padding cell counts too, as
is usual for convolutions.

*Bytes* are the least that has to pass between memory and a processor whose caches are empty at the start and
smaller than an image: each argument is read once and each result written once. Two kinds of argument count
twice: those that the formula needs again (the mean of a batch must be known before its first element can be
normalised), and those that are updated in place, which are read and written. An argument that the options leave
unused, such as the velocities of SGD without momentum, counts as nothing.

Both together give the *roof* (Williams, Waterman and Patterson, 2009): no program is faster than its arithmetic
at the machine's peak, nor than its bytes at the machine's bandwidth.

>>> import numpy as np
>>> x, w, b = (np.broadcast_to(np.float32(0), s) for s in ((8, 16, 128, 128), (16, 16, 3, 3), (16,)))
>>> layer = of("conv2d.forward", [x, w, b], stride=(1, 1), padding=((1, 1), (1, 1)), dilation=(1, 1), groups=1)
>>> layer.operations, layer.bytes, round(layer.intensity, 1)
(603979776, 16786496, 36.0)
>>> machine = Roof(peak=66.9e12, bandwidth=3.35e12)
>>> machine.bound(layer), round(1e6 * machine.seconds(layer), 1)
('arithmetic', 9.0)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from . import registry


@dataclass(frozen=True)
class Cost:
    """Floating-point operations, and the least bytes read and written. Costs of several equations add up."""

    operations: int = 0
    bytes: int = 0

    @property
    def intensity(self) -> float:
        """Operations for each byte (FLOP/B)."""
        return self.operations / self.bytes if self.bytes else 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.operations + other.operations, self.bytes + other.bytes)


@dataclass(frozen=True)
class Roof:
    """The two limits of a machine.

    Attributes
    ----------
    peak : float
        Floating-point operations per second.
    bandwidth : float
        Bytes per second between memory and processor.
    """

    peak: float
    bandwidth: float

    @property
    def ridge(self) -> float:
        """The intensity (FLOP/B) above which arithmetic is the limit."""
        return self.peak / self.bandwidth

    def attainable(self, cost: Cost) -> float:
        """The most operations per second at the intensity of `cost`."""
        return min(self.peak, cost.intensity * self.bandwidth)

    def seconds(self, cost: Cost) -> float:
        """The least time in seconds: the arithmetic's or the bytes', whichever is longer."""
        return max(cost.operations / self.peak, cost.bytes / self.bandwidth)

    def bound(self, cost: Cost) -> str:
        """``"arithmetic"`` or ``"memory"``: the limit that is reached first."""
        return "arithmetic" if cost.intensity >= self.ridge else "memory"


def of(equation: str, arrays: Sequence[Any], **options: Any) -> Cost:
    """The cost of one application of an equation.

    Parameters
    ----------
    equation : str
        An id, such as ``"conv2d.forward"``.
    arrays : sequence of arrays, or of lists of arrays
        The arguments of the equation, in order. Only their shapes and dtypes are read:
        ``numpy.broadcast_to(numpy.float32(0), shape)`` will do, and takes no memory.
    **options
        The options of the equation, in the form that the views take.

    Returns
    -------
    Cost

    Raises
    ------
    KeyError
        If no equation has this id.
    """
    entry = registry.get(equation)
    passes = entry.passes(*arrays, **options) if entry.passes else {}
    read = sum(_bytes(a) * passes.get(name, 1) for name, a in zip(entry.arguments, arrays, strict=True))
    written = sum(prod(shape) * dtype.itemsize for shape, dtype in entry.results(*arrays, **options))
    return Cost(entry.operations(*arrays, **options), read + written)


def _bytes(array: Any) -> int:
    if isinstance(array, list | tuple):
        return sum(map(_bytes, array))
    return prod(array.shape) * array.itemsize if hasattr(array, "itemsize") else 0  # a Python number
