"""Run a network and write down what happened: which functions were applied to what, and which layers returned what.

Three parts of the library use it. The ONNX export needs every function with its arguments, `models.summary` and
the receptive fields need the graph and the layers that made it, and `diagnostics` needs the outputs of layers.

`functions_recorded` and `layers_recorded` watch whatever runs inside them. `dry_run` runs the network itself,
with both of them, on an image of zeros and without computing anything: the backend "shapes" only derives the
shape of each result.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from minisegnet_kernels import backends, cost
from minisegnet_kernels.cost import Cost

from .nn import Module
from .nn.modes import evaluating, watching
from .tensor import Node, Tensor, enable_grad, no_grad, observed


class Application(NamedTuple):
    """One application of an equation.

    Attributes
    ----------
    equation : str
        Its id, such as ``"conv2d.forward"``.
    shapes : tuple of tuple of int
        Shapes of the array arguments, in order; ``()`` for a list of arrays.
    options : dict of str to object
        In the form that the views take: ``stride``, ``padding``, ... as pairs.
    cost : Cost
    """

    equation: str
    shapes: tuple[tuple[int, ...], ...]
    options: dict[str, Any]
    cost: Cost


class Call(NamedTuple):
    """One application of a differentiable function.

    Attributes
    ----------
    function : str
        Its name.
    arguments : dict of str to object
        All arguments by name, defaults included.
    results : tuple of Tensor
    node : Node or None
        The node of the first result when the function returned; None where no graph is built.
    applications : tuple of Application
        The equations that the function ran; none for plain array arithmetic.
    """

    function: str
    arguments: dict[str, Any]
    results: tuple[Tensor, ...]
    node: Node | None
    applications: tuple[Application, ...]


class Output(NamedTuple):
    """What a layer returned; of a layer that returns several tensors, such as a pool with its indices, the first.

    Attributes
    ----------
    path : str
    layer : Module
    tensor : Tensor
    node : Node or None
        The node of the tensor at that time. A function that changes the tensor in place later gives it another one.
    """

    path: str
    layer: Module
    tensor: Tensor
    node: Node | None


@contextmanager
def functions_recorded() -> Iterator[list[Call]]:
    """Inside, a list is filled with every differentiable function that is applied, in order."""
    calls: list[Call] = []
    applications: list[Application] = []

    def apply(equation: str, program: Callable, *arrays: Any, **options: Any) -> Any:
        shapes = tuple(getattr(array, "shape", ()) for array in arrays)
        applications.append(Application(equation, shapes, options, cost.of(equation, arrays, **options)))
        return program(*arrays, **options)

    def note(function: Callable, args: tuple, options: dict, results: tuple) -> None:
        bound = inspect.signature(function).bind(*args, **options)
        bound.apply_defaults()
        calls.append(Call(function.__name__, bound.arguments, results, results[0]._node, tuple(applications)))
        applications.clear()

    with backends.calling(apply), observed(note):
        yield calls


@contextmanager
def layers_recorded(layers: Mapping[str, Module]) -> Iterator[list[Output]]:
    """Inside, a list is filled with the output of each of these layers, every time that one is called.

    Neighbours in a `Sequential` are not fused meanwhile: each layer computes its own output.

    Parameters
    ----------
    layers : mapping of str to Module
        By their paths, as in ``model.named_modules()``; see `leaves`.
    """
    outputs: list[Output] = []
    paths = {layer: path for path, layer in layers.items()}

    def note(layer: Module, args: tuple, output: Any) -> None:
        tensor = output[0] if isinstance(output, tuple) else output
        outputs.append(Output(paths[layer], layer, tensor, tensor._node))

    with watching(paths, note):
        yield outputs


def leaves(model: Module) -> dict[str, Module]:
    """The layers of a network, by their paths: the modules that contain no others."""
    return {path: module for path, module in model.named_modules() if next(module.children(), None) is None}


@dataclass
class Trace:
    """A dry run.

    Attributes
    ----------
    image : Tensor
        The zeros that were given to the network.
    returned : object
        What the network returned: a tensor, or several in a tuple or dictionary.
    calls : list of Call
    outputs : list of Output
    """

    image: Tensor
    returned: Any
    calls: list[Call]
    outputs: list[Output]

    @cached_property
    def layers(self) -> dict[Node, tuple[str, Module]]:
        """Path and module of the layer that made each node. A layer that returns its input unchanged has made nothing."""
        made: dict[Node, tuple[str, Module]] = {}
        for path, layer, _, node in self.outputs:
            if node is not None and node is not self.image._node:
                made.setdefault(node, (path, layer))
        return made

    @cached_property
    def applications(self) -> dict[Node, tuple[Application, ...]]:
        """The equations that computed each node."""
        return {call.node: call.applications for call in self.calls if call.node is not None}


def dry_run(model: Module, shape: tuple[int, ...], *, graph: bool = False) -> Trace:
    """Run a network in evaluation mode on an image of zeros, without computing anything.

    Parameters
    ----------
    model : Module
    shape : (N, C, H, W)
    graph : bool
        Whether to build the graph for the chain rule and to record the layers. Without it, neighbours that
        can be fused are recorded as the one function that they then are.

    Returns
    -------
    Trace

    Raises
    ------
    ValueError
        If the network does not take this shape.
    BackendError
        If the network uses a function whose shapes cannot be derived.
    """
    dtype = next((p.dtype for p in model.parameters()), np.dtype(np.float32))
    image = Tensor(np.zeros(shape, dtype), requires_grad=graph)
    with (
        evaluating(model),
        enable_grad() if graph else no_grad(),
        backends.shapes_only(),
        np.errstate(all="ignore"),  # nothing is computed, so the values mean nothing
        functions_recorded() as calls,
        layers_recorded(leaves(model) if graph else {}) as outputs,
    ):
        returned = model(image)
    return Trace(image, returned, calls, outputs)
