"""The engine in thirty lines: reverse differentiation of single numbers, the literal twin of ``minisegnet/tensor.py``.

A `Value` is a number and a row of the tape. The row says from which values the number was computed, and its derivative with
respect to each of them. `Value.backward` walks the tape from the newest row to the oldest and multiplies: the chain rule.

===============  =================================================================================
here             in the engine
===============  =================================================================================
``Value``        `Tensor`, which holds an array
``tape``         the nodes' serial numbers; the graph alone holds the nodes, so that they can be freed
``slopes``       pullbacks: functions that multiply by a Jacobian without building it
``backward``     `Tensor.backward`, which visits only what the result was computed from
===============  =================================================================================

Examples
--------
>>> x, y = Value(2.0), Value(3.0)
>>> z = x * y + x * x
>>> z.backward()
>>> x.grad, y.grad
(7.0, 2.0)
"""

from __future__ import annotations

import math

tape: list[Value] = []


class Value:
    def __init__(self, data: float, sources: tuple[Value, ...] = (), slopes: tuple[float, ...] = ()):
        self.data, self.grad = data, 0.0
        self.sources, self.slopes = sources, slopes
        tape.append(self)

    def __add__(self, other: Value) -> Value:
        return Value(self.data + other.data, (self, other), (1.0, 1.0))

    def __sub__(self, other: Value) -> Value:
        return Value(self.data - other.data, (self, other), (1.0, -1.0))

    def __mul__(self, other: Value) -> Value:
        return Value(self.data * other.data, (self, other), (other.data, self.data))

    def __truediv__(self, other: Value) -> Value:
        y = self.data / other.data
        return Value(y, (self, other), (1 / other.data, -y / other.data))

    def exp(self) -> Value:
        y = math.exp(self.data)
        return Value(y, (self,), (y,))

    def backward(self) -> None:
        """Add to the ``grad`` of every value the derivative of this value with respect to it."""
        self.grad = 1.0
        for value in reversed(tape):  # newest first: a value's own gradient is complete before it is passed on
            for source, slope in zip(value.sources, value.slopes, strict=True):
                source.grad += value.grad * slope  # a value used twice: its influences add up
        tape.clear()
