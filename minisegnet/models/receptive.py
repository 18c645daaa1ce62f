"""The receptive field of an output pixel, by the geometry of the equations and by measurement.

By geometry: the network is run without computing anything (backend "shapes"), and its graph is followed from an output
pixel back to the image. The options of each equation that moves a window say on which rows of its input a range of rows
of its output depends,

    convolution, pool:       first·s − p   to   last·s − p + d(k − 1)
    transposed, unpool:      ⌈(first + p − d(k − 1))/s⌉   to   ⌊(last + p)/s⌋

cut off at the border. Where paths meet, the smallest range that contains both is kept. (For a network that enlarges
maps, no formula with one size and one stride is right, because the receptive field depends on the place of the pixel.)

By measurement: the gradient of one output pixel, for random images. The pixels with a gradient are a part of the
geometric field, and the gradient also shows how much each matters: most of a receptive field hardly does (Luo et al.,
"Understanding the Effective Receptive Field", NIPS 2016).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minisegnet_kernels import backends

from .. import nn
from ..nn.modes import evaluating
from ..tensor import Node, Tensor, enable_grad
from ..trace import Application, Trace, dry_run


class Range(NamedTuple):
    """Rows (or columns) from `first` to `last`, both included."""

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
        """The number of rows and of columns."""
        return self.rows.size, self.columns.size


def upstream(last: Node) -> list[Node]:
    """All nodes with inputs from which `last` was computed, and `last` itself; oldest first."""
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
        A pixel of the output; by default its middle.

    Returns
    -------
    Field

    Notes
    -----
    Only dependences that have a gradient count. The indices of a pool, which an unpool uses, have none.
    """
    run = dry_run(model, input_shape, graph=True)
    return Rules(run).field(run.returned._node, pixel)


class Window(NamedTuple):
    """A window along one axis: its size, stride and dilation, and the padding before the first cell."""

    kernel_size: int
    stride: int
    padding: int
    dilation: int
    transposed: bool  # spreads each cell of its input over the output, as a transposed convolution does

    @classmethod
    def of(cls, applied: Application, axis: int) -> Window:
        """The window of an equation, from its options; None without one. A gradient for the input (it has `input_size`) is transposed."""
        options = applied.options
        sizes = options["kernel_size"] if "kernel_size" in options else applied.shapes[1][-2:]  # else the second argument is the kernel
        dilation = options.get("dilation", (1, 1))
        return cls(sizes[axis], options["stride"][axis], options["padding"][axis][0], dilation[axis], "input_size" in options)

    def read(self, made: Range) -> Range:
        """The cells of the input, borders not yet cut off, on which the cells `made` of the output depend."""
        reach = self.dilation * (self.kernel_size - 1)
        if self.transposed:
            return Range(-(-(made.first + self.padding - reach) // self.stride), (made.last + self.padding) // self.stride)
        return Range(made.first * self.stride - self.padding, made.last * self.stride - self.padding + reach)


class Rules:
    """Receptive fields by geometry, for a network of which `dry_run` has built the graph."""

    def __init__(self, run: Trace):
        self.run, self.image = run, run.image._node
        self._probed: dict[tuple[int, int, int, int], Range] = {}

    def field(self, node: Node, pixel: tuple[int, int] | None = None) -> Field:
        """The part of the image on which a pixel of a node depends; by default the pixel in the middle."""
        rows, columns = pixel or (node.shape[2] // 2, node.shape[3] // 2)
        needed = {node: Field(Range(rows, rows), Range(columns, columns))}
        for current in reversed(upstream(node)):
            wanted = needed.get(current)
            for k, source in enumerate(current.inputs):
                if wanted is None or source is None or len(source.shape) != 4 or not (source.inputs or source is self.image):
                    continue
                ranges = [self._through(current, k, axis, wanted[axis]) for axis in (0, 1)]
                before = needed.get(source)
                if before is not None:
                    ranges = [Range(min(a.first, b.first), max(a.last, b.last)) for a, b in zip(ranges, before, strict=True)]
                needed[source] = Field(*ranges)
        assert self.image is not None
        return needed[self.image]

    def _through(self, node: Node, k: int, axis: int, wanted: Range) -> Range:
        """The rows (axis 0) or columns (axis 1) of a node's k-th input on which the range `wanted` of its output depends."""
        source: Any = node.inputs[k]
        size, made = source.shape[2 + axis], node.shape[2 + axis]
        if (window := self._window(node, axis)) is not None:
            read = window.read(wanted)
            return Range(max(read.first, 0), min(read.last, size - 1))
        if size == made:
            return wanted  # pixel by pixel
        ends = [self._probe(node, k, axis, place) for place in wanted]
        return Range(min(end.first for end in ends), max(end.last for end in ends))

    def _window(self, node: Node, axis: int) -> Window | None:
        """The window that made a node, if there is one."""
        for applied in self.run.applications.get(node, ()):
            if "stride" in applied.options:
                return Window.of(applied, axis)
        _, layer = self.run.layers.get(node, ("", None))
        if isinstance(layer, nn.MaxUnpool2d):  # its equation takes indices, which a dry run does not compute, and has no window
            return Window(layer.kernel_size[axis], layer.stride[axis], layer.padding[axis], 1, transposed=True)
        return None

    def _probe(self, node: Node, k: int, axis: int, place: int) -> Range:
        """Use the node's pullback to find where the gradient of one row goes, for crops, borders, interpolation and adaptive averages."""
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


# --- by measurement -------------------------------------------------------------------------


def measured_receptive_field(
    model: nn.Module, input_shape: tuple[int, ...], pixel: tuple[int, int] | None = None, images: int = 8, seed: int = 0
) -> np.ndarray:
    """How strongly one output pixel depends on each pixel of the image.

    Parameters
    ----------
    model : Module
        Measured in evaluation mode and left unchanged, its gradients included. In float64 weak influences do not underflow.
    input_shape : (N, C, H, W)
        N images per batch.
    pixel : (row, column), optional
        A pixel of the output; by default its middle.
    images : int
        Number of batches of random images, uniform in [0, 1).
    seed : int

    Returns
    -------
    array, (H, W)
        The mean absolute gradient of the pixel's scores, with random signs for the classes; 0 for pixels without
        influence. `extent` gives its bounding box.
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
            y.backward(g, inputs=x)
            assert x.grad is not None
            total += np.abs(x.grad.array).sum(axis=(0, 1))
    return total / (images * input_shape[0])


def extent(heat: np.ndarray) -> Field:
    """The smallest rectangle that contains all values above 0.

    Raises
    ------
    ValueError
        If no value is above 0.
    """
    found = [np.flatnonzero(heat.any(axis=axis)) for axis in (1, 0)]
    if not found[0].size:
        raise ValueError("no pixel has an influence: the network's output is constant at this pixel (inactive ReLUs, zero weights)")
    return Field(*(Range(int(hit[0]), int(hit[-1])) for hit in found))
