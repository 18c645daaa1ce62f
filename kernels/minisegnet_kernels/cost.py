"""What an equation costs at least, whatever program computes it: operations, and bytes of memory.

*Operations* are those of the formula, on floating-point numbers; a multiply-add is two. Taps of a convolution
that fall on the padding count too, as everybody counts them. Elsewhere the count is so many for each element
(a comparison or an exponential is one), which is rough and does no harm: those equations wait for memory.

*Bytes* are the least that has to pass between memory and a processor whose caches hold nothing beforehand and
less than an image: each argument is read once and each result written once, except where the formula itself
needs a second sweep (the mean of a batch must be known before its first element can be normalised), and what
is updated in place is read and written.

From both follows the *roof* (Williams, Waterman and Patterson, 2009): no program is faster than its arithmetic
at the machine's peak, nor than its bytes at the machine's bandwidth.

>>> import numpy as np
>>> x, w, b, y = (np.broadcast_to(np.float32(0), s) for s in ((8, 16, 128, 128), (16, 16, 3, 3), (16,), (8, 16, 128, 128)))
>>> layer = of("conv2d.forward", [x, w, b], y)
>>> layer.operations, layer.bytes, round(layer.intensity, 1)
(603979776, 16786496, 36.0)
>>> machine = Roof(peak=66.9e12, bandwidth=3.35e12)
>>> machine.bound(layer), round(1e6 * machine.seconds(layer), 1)
('arithmetic', 9.0)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any


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
    """What a machine does at most.

    Attributes
    ----------
    peak : float
        Floating-point operations a second.
    bandwidth : float
        Bytes a second between memory and processor.
    """

    peak: float
    bandwidth: float

    @property
    def ridge(self) -> float:
        """Intensity (FLOP/B) from which on arithmetic is the limit."""
        return self.peak / self.bandwidth

    def attainable(self, cost: Cost) -> float:
        """Operations a second under the roof."""
        return min(self.peak, cost.intensity * self.bandwidth)

    def seconds(self, cost: Cost) -> float:
        """The least time: of the arithmetic or of the bytes, whichever takes longer."""
        return max(cost.operations / self.peak, cost.bytes / self.bandwidth)

    def bound(self, cost: Cost) -> str:
        """``"arithmetic"`` or ``"memory"``: what that time is spent on."""
        return "arithmetic" if cost.intensity >= self.ridge else "memory"


def of(equation: str, arrays: Sequence[Any], result: Any, **options: Any) -> Cost:
    """The cost of one application of an equation.

    Parameters
    ----------
    equation : str
        An id, such as ``"conv2d.forward"``.
    arrays : sequence of arrays, or of lists of arrays
        The arguments of the equation in their order. Only their shapes and dtypes are looked at:
        ``numpy.broadcast_to(numpy.float32(0), shape)`` does, and takes no memory.
    result : array, or tuple of arrays, or None
        What it returns; None where it works in place.
    **options
        Those of the equation.

    Returns
    -------
    Cost

    Raises
    ------
    ValueError
        If there is no such equation.
    """
    if equation not in _OPERATIONS:
        raise ValueError(f"no cost is known of {equation!r}: choose one of {', '.join(_OPERATIONS)}")
    results = [] if result is None else list(result) if isinstance(result, tuple) else [result]
    sweeps = _SWEEPS.get(equation, {})
    read = sum(_bytes(a) * sweeps.get(k, 1) for k, a in enumerate(arrays))
    written = sum(map(_bytes, results))
    return Cost(_OPERATIONS[equation](arrays, results, options), read + written)


#: Arguments that pass more than once: by equation, {position: times}.
_SWEEPS = {
    "batch_norm.forward": {0: 2},  # x: for its mean and deviation, then to be normalised
    "batch_norm.forward_relu": {0: 2},
    "optimiser.sgd": {0: 2, 2: 2},  # θ, v: in place
    "optimiser.adam": {0: 2, 2: 2, 3: 2},  # θ, m, v
    "optimiser.rmsprop": {0: 2, 2: 2, 3: 2, 4: 2},  # θ, v, m, b
}


def _bytes(array: Any) -> int:
    if isinstance(array, list | tuple):
        return sum(map(_bytes, array))
    return prod(array.shape) * array.itemsize if hasattr(array, "itemsize") else 0  # a Python number


def _size(array: Any) -> int:
    return sum(map(_size, array)) if isinstance(array, list | tuple) else prod(array.shape)


def _each(operations: int) -> Callable:
    """So many operations for each element of the first argument."""
    return lambda arrays, results, options: operations * _size(arrays[0])


def _each_result(operations: int) -> Callable:
    return lambda arrays, results, options: operations * _size(results[0])


def _convolution(arrays: Sequence[Any], results: list[Any], options: dict[str, Any]) -> int:
    """Each output is a sum over C/G · U · V products."""
    return 2 * _size(results[0]) * prod(arrays[1].shape[1:])


def _convolution_statistics(arrays: Sequence[Any], results: list[Any], options: dict[str, Any]) -> int:
    """Of each output also its part of the mean, 1, and of the variance, 3."""
    return _convolution(arrays, results, options) + 4 * _size(results[0])


def _convolution_grad_input(arrays: Sequence[Any], results: list[Any], options: dict[str, Any]) -> int:
    """Each element of g meets C/G · U · V weights."""
    return 2 * _size(arrays[0]) * prod(arrays[1].shape[1:])


def _convolution_grad_weight(arrays: Sequence[Any], results: list[Any], options: dict[str, Any]) -> int:
    """Each element of g meets C/G · U · V elements of x."""
    return 2 * _size(arrays[0]) * prod(results[0].shape[1:])


def _window(operations: int) -> Callable:
    """So many operations for each cell of each window, whose size is an option or the weight's (forward: a result is a window)."""

    def count(arrays: Sequence[Any], results: list[Any], options: dict[str, Any]) -> int:
        window = options.get("kernel_size") or arrays[1].shape[1:]
        return operations * _size(results[0]) * prod(window)

    return count


_OPERATIONS: dict[str, Callable[[Sequence[Any], list[Any], dict[str, Any]], int]] = {
    "conv2d.forward": _convolution,
    "conv2d.forward_relu": _convolution,
    "conv2d.forward_statistics": _convolution_statistics,
    "conv2d.grad_input": _convolution_grad_input,
    "conv2d.grad_weight": _convolution_grad_weight,
    "conv2d.grad_bias": _each(1),
    "pool2d.forward": _window(3),  # w x + b, compare
    "pool2d.grad_input": _each(2),
    "pool2d.grad_weight": _each(2),
    "pool2d.grad_bias": _each(1),
    "pool2d.max": _window(1),
    "pool2d.grad_max": _each(1),
    "pool2d.average": _window(1),
    "pool2d.grad_average": _each_result(1),
    "pool2d.adaptive_average": _each(1),
    "pool2d.grad_adaptive_average": _each_result(1),
    "pool2d.unpool": _each(0),
    "pool2d.grad_unpool": _each(0),
    "label.argmax": _each(1),
    "label.intervals": lambda arrays, results, options: 2 * _size(arrays[0]) * len(arrays[1]),
    "label.prototypes": lambda arrays, results, options: 3 * _size(arrays[0]) * arrays[1].shape[0],  # subtract, square, add
    "cross_entropy.forward": _each(4),  # compare, subtract, exp, add
    "cross_entropy.grad_input": lambda arrays, results, options: 6 * _size(arrays[1]),
    "cross_entropy.forward_and_grad": _each(6),
    "batch_norm.forward": _each(8),  # mean 1, deviation 3, normalised 4
    "batch_norm.forward_relu": _each(9),
    "batch_norm.grad_affine": _each(5),
    "batch_norm.grad_affine_relu": _each(8),  # the ReLU's mask is computed anew
    "batch_norm.grad_input": _each(6),
    "batch_norm.grad_input_relu": _each(9),
    "batch_norm.inference": _each(2),
    "batch_norm.inference_relu": _each(3),
    "batch_norm.grad_inference": _each(1),
    "activation.relu": _each(1),
    "activation.grad_relu": _each(1),
    "activation.leaky_relu": _each(2),
    "activation.grad_leaky_relu": _each(2),
    "resize.bilinear": _each_result(7),  # four products, three sums
    "resize.grad_bilinear": _each(8),
    "resize.nearest": _each_result(0),
    "resize.grad_nearest": _each(1),
    "lrn.forward": lambda arrays, results, options: _size(arrays[0]) * (2 * options["size"] + 4),
    "lrn.grad_input": lambda arrays, results, options: _size(arrays[0]) * (4 * options["size"] + 8),
    "optimiser.sgd": _each(6),
    "optimiser.adam": _each(15),
    "optimiser.rmsprop": _each(15),  # centered, with momentum
}
