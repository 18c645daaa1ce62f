"""A table of a network's layers: shapes, parameters, operations, memory, receptive field.

Nothing is computed for it (backend "shapes"), and a network that is made inside ``nn.init.skip()`` needs no memory for
its weights. Even the largest network takes only a moment:

>>> from minisegnet import nn
>>> from minisegnet.models import create, summary
>>> with nn.init.skip():
...     network = create("deconvnet", 3, 21)
>>> summary(network, (1, 3, 224, 224)).parameters
251805653
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .. import nn
from ..tensor import Node
from ..trace import Trace, dry_run
from .receptive import Rules, upstream

_VIEWS = ("index", "reshape", "permute")  # these return views of the same memory


@dataclass(frozen=True)
class Step:
    """One application of a layer or of a function.

    Attributes
    ----------
    name : str
        Path of the layer, or the function's name in brackets.
    kind : str
        Class of the layer, or the function's name.
    shape : tuple of int
        Shape of the output.
    parameters, frozen : int
        Trainable and frozen parameters, counted where a layer is first used.
    operations : int
        Floating-point operations of the equations that the step runs, as `minisegnet_kernels.cost` counts them; 0 for
        plain array arithmetic, such as an addition of two maps.
    multiply_adds : int
        The multiply-adds of convolutions. Each counts as two operations.
    bytes : int
        Memory of the output; 0 for a view.
    receptive_field : (rows, columns) or None
        Size of the area of the image that the middle pixel of the output can see.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    frozen: int
    operations: int
    multiply_adds: int
    bytes: int
    receptive_field: tuple[int, int] | None


@dataclass(frozen=True)
class Summary:
    """All steps of a network for one input shape; ``print`` shows the table.

    Attributes
    ----------
    model : str
    input_shape : tuple of int
    steps : tuple of Step
    parameters, frozen : int
        Parameters of the whole network, including layers that this input does not use, such as an auxiliary head.
    """

    model: str
    input_shape: tuple[int, ...]
    steps: tuple[Step, ...]
    parameters: int
    frozen: int

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.steps[-1].shape

    @property
    def operations(self) -> int:
        return sum(step.operations for step in self.steps)

    @property
    def multiply_adds(self) -> int:
        return sum(step.multiply_adds for step in self.steps)

    @property
    def bytes(self) -> int:
        """Memory of all outputs together, which training keeps if no layers are fused."""
        return sum(step.bytes for step in self.steps)

    def __str__(self) -> str:
        head = ("layer", "kind", "output", "parameters", "operations", "memory", "sees")
        rows = [head, *(_cells(step) for step in self.steps)]
        widths = [max(len(row[k]) for row in rows) for k in range(len(head))]
        # text is left-aligned, numbers are right-aligned
        lines = [
            "  ".join(cell.ljust(w) if k < 3 else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, widths, strict=True)))
            for row in rows
        ]
        lines.insert(1, "─" * len(lines[0]))
        frozen = f" and {self.frozen:,} frozen" if self.frozen else ""
        lines += [
            lines[1],
            f"{self.model}, {_times(self.input_shape)} → {_times(self.output_shape)}",
            f"{self.parameters:,} parameters{frozen}, {_large(self.operations)} operations, {_memory(self.bytes)} of outputs",
        ]
        return "\n".join(line.rstrip() for line in lines)


def summary(model: nn.Module, input_shape: tuple[int, ...] = (1, 3, 224, 224)) -> Summary:
    """Run a network without computing anything and list its layers.

    Parameters
    ----------
    model : Module
        Run in evaluation mode.
    input_shape : (N, C, H, W)

    Returns
    -------
    Summary

    Raises
    ------
    ValueError
        If the network does not take that shape.
    """
    run = dry_run(model, input_shape, graph=True)
    rules = Rules(run)
    met: set[nn.Module] = set()
    steps = tuple(_step(node, run, rules, met) for node in upstream(run.returned._node))
    learnt = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return Summary(type(model).__name__, tuple(input_shape), steps, learnt, sum(p.numel() for p in model.parameters()) - learnt)


def _step(node: Node, run: Trace, rules: Rules, met: set[nn.Module]) -> Step:
    function = node.name.strip("_")
    path, module = run.layers.get(node, (f"({function})", None))
    own = list(module.parameters()) if module is not None and module not in met else []
    if module is not None:
        met.add(module)
    learnt = sum(p.numel() for p in own if p.requires_grad)
    applications = run.applications.get(node, ())
    return Step(
        name=path,
        kind=type(module).__name__ if module is not None else function,
        shape=node.shape,
        parameters=learnt,
        frozen=sum(p.numel() for p in own) - learnt,
        operations=sum(of.cost.operations for of in applications),
        multiply_adds=sum(of.cost.operations for of in applications if of.equation.startswith("conv2d.")) // 2,
        bytes=0 if module is None and function in _VIEWS else math.prod(node.shape) * node.dtype.itemsize,
        receptive_field=rules.field(node).size if len(node.shape) == 4 else None,
    )


def _cells(step: Step) -> tuple[str, ...]:
    return (
        step.name,
        step.kind,
        _times(step.shape),
        f"{step.parameters:,}" if step.parameters else f"({step.frozen:,})" if step.frozen else "",
        _large(step.operations) if step.operations else "",
        _memory(step.bytes) if step.bytes else "",
        _times(step.receptive_field) if step.receptive_field else "",
    )


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


def _large(number: int) -> str:
    """``12,345`` → ``12.3 k``."""
    for unit, size in (("T", 10**12), ("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)


def _memory(size: int) -> str:
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size} B"
