"""Which pixels an output pixel can see, by the rules of the layers and by measurement.

By the rules: the network is run without computing anything (backend "shapes"), and its graph is
walked from an output pixel back to the image. Each layer turns the rows that are needed of its
output into the rows that it needs of its input,

    convolution, pool:       first·s − p   to   last·s − p + d(k − 1)
    transposed, unpool:      ⌈(first + p − d(k − 1))/s⌉   to   ⌊(last + p)/s⌋

cut at the border; where paths meet, the smallest range that holds both is kept. (For a network that
enlarges maps, no single formula "size and stride" is right: what a pixel sees depends on its place.)

By measurement: the gradient of one output pixel, for random images. What has a gradient is a part of
what the rules allow, and how strong it is tells what the rules do not: most of a receptive field
hardly matters (Luo et al., "Understanding the Effective Receptive Field", NIPS 2016).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from minisegnet_kernels import backends, conv2d

from .. import nn
from ..nn.modes import evaluating
from ..tensor import Node, Tensor, enable_grad


class Range(NamedTuple):
    """Rows (or columns) from `first` to `last`, both of them included."""

    first: int
    last: int

    @property
    def size(self) -> int:
        return self.last - self.first + 1


class Field(NamedTuple):
    """The rectangle of the image that an output pixel can see."""

    rows: Range
    columns: Range

    @property
    def size(self) -> tuple[int, int]:
        """Numbers of rows and columns."""
        return self.rows.size, self.columns.size


@dataclass
class Trace:
    """A run of a network without values: what was computed, in order, and by which layer.

    Attributes
    ----------
    output : Tensor
    nodes : list of Node
        From the image to the output.
    image : Node
    layers : dict of Node to (str, Module)
        Path and module of the layer whose output a node is.
    """

    output: Tensor
    nodes: list[Node]
    image: Node
    layers: dict[Node, tuple[str, nn.Module]]


def trace(model: nn.Module, input_shape: tuple[int, ...]) -> Trace:
    """Run a network in evaluation mode on zeros of `input_shape`, (N, C, H, W), with nothing computed.

    Raises
    ------
    ValueError
        If the network does not take that shape.
    """
    layers: dict[Node, tuple[str, nn.Module]] = {}

    def remember(path: str, module: nn.Module) -> Callable:
        def hook(_: nn.Module, args: tuple, output: Any) -> None:
            made = output[0] if isinstance(output, tuple) else output
            if made._node is not None:  # a layer that gives back its input leaves that to the one before
                layers.setdefault(made._node, (path, module))

        return hook

    leaves = [(path, module) for path, module in model.named_modules() if not any(True for _ in module.children())]
    handles = [module.register_forward_hook(remember(path, module)) for path, module in leaves]
    dtype = next((p.dtype for p in model.parameters()), np.dtype(np.float32))
    x = Tensor(np.zeros(input_shape, dtype), requires_grad=True)
    try:
        with evaluating(model), enable_grad(), backends.use("shapes"):
            output = model(x)
    finally:
        for handle in handles:
            handle.remove()
    assert x._node is not None and output._node is not None
    nodes = _upstream(output._node)
    layers = {node: layer for node, layer in layers.items() if node is not x._node}
    return Trace(output, nodes, x._node, layers)


def _upstream(last: Node) -> list[Node]:
    """Every node that has inputs, from which `last` was computed; oldest first."""
    seen, waiting = {last}, [last]
    while waiting:
        for source in waiting.pop().inputs:
            if source is not None and source not in seen:
                seen.add(source)
                waiting.append(source)
    return sorted((node for node in seen if node.inputs), key=lambda node: node.serial)


# --- by the rules ---------------------------------------------------------------------------


def receptive_field(model: nn.Module, input_shape: tuple[int, ...], pixel: tuple[int, int] | None = None) -> Field:
    """The part of the image on which an output pixel can depend.

    Parameters
    ----------
    model : Module
    input_shape : (N, C, H, W)
    pixel : (row, column), optional
        Of the output; its middle if not given.

    Returns
    -------
    Field

    Notes
    -----
    Only dependences with a gradient count: not those by the indices of a pool that an unpool uses.
    """
    traced = trace(model, input_shape)
    assert traced.output._node is not None
    return Rules(traced).field(traced.output._node, pixel)


class Rules:
    """Receptive fields in a traced network."""

    def __init__(self, traced: Trace):
        self.trace = traced
        self._probed: dict[tuple[int, int, int, int], Range] = {}

    def field(self, node: Node, pixel: tuple[int, int] | None = None) -> Field:
        """What a pixel of a node, by default that in the middle, sees of the image."""
        rows, columns = pixel or (node.shape[2] // 2, node.shape[3] // 2)
        needed = {node: Field(Range(rows, rows), Range(columns, columns))}
        for current in reversed(_upstream(node)):
            wanted = needed.get(current)
            for k, source in enumerate(current.inputs):
                if wanted is None or source is None or len(source.shape) != 4 or not (source.inputs or source is self.trace.image):
                    continue
                ranges = [self._through(current, k, axis, wanted[axis]) for axis in (0, 1)]
                before = needed.get(source)
                if before is not None:
                    ranges = [Range(min(a.first, b.first), max(a.last, b.last)) for a, b in zip(ranges, before, strict=True)]
                needed[source] = Field(*ranges)
        return needed[self.trace.image]

    def _through(self, node: Node, k: int, axis: int, wanted: Range) -> Range:
        """The rows (axis 0) or columns of a node's k-th input that `wanted` of its output needs."""
        source: Any = node.inputs[k]
        size, made = source.shape[2 + axis], node.shape[2 + axis]
        _, module = self.trace.layers.get(node, ("", None))
        rule = next((rule for kind, rule in _RULES.items() if isinstance(module, kind)), None)
        if rule is not None:
            first, last = rule(module, axis, wanted, source.shape[2:], made)
            return Range(max(first, 0), min(last, size - 1))
        if size == made:
            return wanted  # pixel by pixel
        ends = [self._probe(node, k, axis, place) for place in wanted]
        return Range(min(end.first for end in ends), max(end.last for end in ends))

    def _probe(self, node: Node, k: int, axis: int, place: int) -> Range:
        """Ask the node's own pullback where the gradient of one row goes: crops, borders, interpolation."""
        key = (node.serial, k, axis, place)
        if key not in self._probed:
            g = np.zeros(node.shape, node.dtype)
            g[(0, slice(None), *((place, slice(None)) if axis == 0 else (slice(None), place)))] = 1
            assert node.pullback is not None
            with backends.use("numpy"):
                share = node.pullback(g)[k]()
            hit = np.flatnonzero(share.any(axis=(0, 1, 3 - axis)))
            self._probed[key] = Range(int(hit[0]), int(hit[-1])) if hit.size else Range(0, 0)
        return self._probed[key]


def _window(module: Any, axis: int, wanted: Range, sizes: tuple, made: int) -> tuple[int, int]:
    kernel, stride, padding, dilation = _geometry(module, axis, sizes)
    return wanted.first * stride - padding, wanted.last * stride - padding + dilation * (kernel - 1)


def _transposed(module: Any, axis: int, wanted: Range, sizes: tuple, made: int) -> tuple[int, int]:
    kernel, stride, padding, dilation = _geometry(module, axis, sizes)
    return -(-(wanted.first + padding - dilation * (kernel - 1)) // stride), (wanted.last + padding) // stride


def _adaptive(module: Any, axis: int, wanted: Range, sizes: tuple, made: int) -> tuple[int, int]:
    return wanted.first * sizes[axis] // made, -(-(wanted.last + 1) * sizes[axis] // made) - 1


def _geometry(module: Any, axis: int, sizes: tuple) -> tuple[int, int, int, int]:
    """Kernel, stride, padding before, dilation along an axis."""
    kernel, stride, padding, dilation = (_pair(getattr(module, name, 1)) for name in ("kernel_size", "stride", "padding", "dilation"))
    if isinstance(module, nn.Conv2d):
        padding = tuple(before for before, _ in conv2d.options("", sizes, kernel, stride, module.padding, dilation, 1)["padding"])
    return kernel[axis], stride[axis], padding[axis], dilation[axis]


def _pair(value: Any) -> Any:
    return value if isinstance(value, tuple | str) else (value, value)


_RULES: dict[Any, Callable] = {
    (nn.Conv2d, nn.MaxPool2d, nn.WeightedMaxPool2d, nn.AvgPool2d): _window,
    (nn.ConvTranspose2d, nn.MaxUnpool2d): _transposed,
    nn.AdaptiveAvgPool2d: _adaptive,
}


# --- by measurement -------------------------------------------------------------------------


def measured_receptive_field(
    model: nn.Module, input_shape: tuple[int, ...], pixel: tuple[int, int] | None = None, images: int = 8, seed: int = 0
) -> np.ndarray:
    """How strongly one output pixel depends on each pixel of the image.

    Parameters
    ----------
    model : Module
        In evaluation mode for the measurement. In float64, weak influences do not vanish.
    input_shape : (N, C, H, W)
        N images at a time.
    pixel : (row, column), optional
        Of the output; its middle if not given.
    images : int
        Batches of random images, uniform in [0, 1).
    seed : int

    Returns
    -------
    array, (H, W)
        Mean of the absolute gradient of the pixel's scores (with random signs of the classes); 0 where
        no image had an influence. `extent` gives its bounding box.
    """
    rng = np.random.default_rng(seed)
    dtype = next((p.dtype for p in model.parameters()), np.dtype(np.float32))
    total = np.zeros(input_shape[2:])
    with evaluating(model), enable_grad():
        for _ in range(images):
            x = Tensor(rng.random(input_shape).astype(dtype), requires_grad=True)
            y = model(x)
            rows, columns = pixel or (y.shape[2] // 2, y.shape[3] // 2)
            g = np.zeros(y.shape, y.dtype)
            g[:, :, rows, columns] = rng.choice([-1, 1], size=y.shape[:2])
            y.backward(g)
            assert x.grad is not None
            total += np.abs(x.grad.array).sum(axis=(0, 1))
    model.zero_grad()
    return total / (images * input_shape[0])


def extent(heat: np.ndarray) -> Field:
    """The smallest rectangle that holds everything above 0.

    Raises
    ------
    ValueError
        If nothing is.
    """
    found = [np.flatnonzero(heat.any(axis=axis)) for axis in (1, 0)]
    if not found[0].size:
        raise ValueError("no pixel has an influence: the network's output is constant near this pixel (closed ReLUs, zero weights)")
    return Field(*(Range(int(hit[0]), int(hit[-1])) for hit in found))
