"""The graph of an ONNX file under construction: nodes, constants, and sizes that are computed when the file runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...tensor import Tensor
from . import protobuf
from .program import Shape, Size, Value, Weight


class Graph:
    """Nodes in the order in which they run, and constant tensors.

    Parameters
    ----------
    weights : mapping of str to Tensor
        Parameters and buffers. Those that are used are written to the file.
    shapes : list of shapes
        The shape of each value, for the size of image for which the network was run.
    fixed : bool
        Whether the file takes only images of that size.
    """

    def __init__(self, weights: Mapping[str, Tensor], shapes: Sequence[Shape], fixed: bool = False):
        self.weights, self.shapes, self.fixed = weights, shapes, fixed
        self.nodes: list[dict[str, Any]] = []
        self.constants: dict[str, np.ndarray] = {}
        self.names: dict[int, str] = {0: "image"}
        self.counts: Counter[str] = Counter()
        self._sizes: dict[Size, str] = {}

    def name(self, value: Value | Weight) -> str:
        """The name of a value or weight in the file."""
        if isinstance(value, Value):
            return self.names[value.number]
        if value.name not in self.constants:
            self.constants[value.name] = self.weights[value.name].detach().cpu().array
        return value.name

    def shape(self, value: Value | Weight) -> Shape:
        return self.shapes[value.number] if isinstance(value, Value) else self.weights[value.name].shape

    def add(self, op: str, inputs: Sequence[str], outputs: int | Sequence[str] = 1, **attributes: Any) -> str:
        """Add a node; returns the name of its first output. Attributes that are None are left out."""
        self.counts[op] += 1
        name = f"{op}_{self.counts[op]}"
        made = [f"{name}:{k}" if k else name for k in range(outputs)] if isinstance(outputs, int) else list(outputs)
        given = [protobuf.attribute(key, value) for key, value in attributes.items() if value is not None]
        self.nodes.append({"input": list(inputs), "output": made, "name": name, "op_type": op, "attribute": given})
        return made[0]

    def constant(self, array: Any, dtype: Any = None) -> str:
        """The name of a constant with these numbers; equal constants are stored once."""
        array = np.asarray(array, dtype)
        name = f"constant:{array.dtype}:{list(array.shape)}:{array.tobytes().hex()}"[:160]
        if len(name) == 160:
            name = f"constant:{len(self.constants)}"
        self.constants[name] = array
        return name

    # --- sizes ---------------------------------------------------------------------------

    def whole_numbers(self, numbers: Sequence[int | Size]) -> str:
        """The name of an int64 vector with these numbers; those that depend on the image are computed when the file runs."""
        if not any(isinstance(n, Size) for n in numbers):
            return self.constant(list(numbers), np.int64)
        parts = [self._size(n) if isinstance(n, Size) else self.constant([n], np.int64) for n in numbers]
        return parts[0] if len(parts) == 1 else self.add("Concat", parts, axis=0)

    def _size(self, size: Size) -> str:
        if size not in self._sizes:
            name = self.add("Shape", [self.name(size.value)], start=size.axis, end=size.axis + 1)
            if size.factor != 1:
                name = self.add("Mul", [name, self.constant([size.factor], np.int64)])
            if size.offset:
                name = self.add("Add", [name, self.constant([size.offset], np.int64)])
            self._sizes[size] = name
        return self._sizes[size]

    def dims(self, value: Value, axes: slice = slice(None)) -> list[int | Size]:
        """The sizes of a value when the file runs."""
        return [Size(value, axis) for axis in range(len(self.shape(value)))[axes]]
