"""Networks as ONNX files, which onnxruntime, OpenVINO, TensorRT and browsers can run.

`program` lists what a network computes, `operators` has the ONNX form of each function, `graph` collects nodes and
constants, and `protobuf` writes the file. The package ``onnx`` is not needed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...files import write_atomically
from ...nn import Module
from ...tensor import Tensor
from ...version import __version__
from . import protobuf
from .graph import Graph
from .operators import IR_VERSION, OPSET, Translator
from .program import ExportError, Program, Shape, Size, SizeError, Value, merge, program_of

__all__ = ["ExportError", "Exported", "export_onnx"]

STEPS = (1, 2, 4, 8, 16, 32, 64)  # candidate distances between the image sizes that a file accepts
_OUTPUTS = ("scores", "probabilities", "labels")


@dataclass(frozen=True)
class Exported:
    """The file that `export_onnx` wrote; ``print`` shows a summary.

    Attributes
    ----------
    path : Path
    input_shape : tuple
        Shape of the input "image". A name stands for an axis whose size may vary.
    outputs : dict of str to tuple
        Shape of each output.
    step : int or None
        Rows and columns may differ by multiples of it from those that were given; None if they are fixed.
    sizes : str
        The same in words.
    why_fixed : str
        The reason if rows and columns are fixed.
    operators : dict of str to int
        The number of nodes of each kind.
    """

    path: Path
    input_shape: tuple[int | str, ...]
    outputs: dict[str, tuple[int | str, ...]]
    step: int | None
    sizes: str
    why_fixed: str
    operators: dict[str, int]

    def __str__(self) -> str:
        shapes = [f"  {name:<14} {' × '.join(map(str, shape))}" for name, shape in {"image": self.input_shape, **self.outputs}.items()]
        images = "any number of images" if isinstance(self.input_shape[0], str) else f"{self.input_shape[0]} at a time"
        fixed = f", fixed: {self.why_fixed}" if self.step is None else ""
        nodes = ", ".join(f"{count} {op}" for op, count in sorted(self.operators.items(), key=lambda item: (-item[1], item[0])))
        return "\n".join(
            [
                f"{self.path}: {self.path.stat().st_size:,} bytes, operator set {OPSET}",
                *shapes,
                f"  {images}; {self.sizes}{fixed}",
                f"  {nodes}",
            ]
        )


def export_onnx(
    model: Module,
    path: str | os.PathLike,
    input_shape: Shape = (1, 3, 256, 256),
    *,
    dynamic: bool = True,
    output: str = "scores",
) -> Exported:
    """Write a network, as it is in evaluation mode, to an ONNX file.

    Parameters
    ----------
    model : Module
        In float32. Dropout is left out, and batch normalisation uses its running averages.
    path : path
        Ends in ``.onnx``.
    input_shape : (N, C, H, W)
        A shape that the network takes.
    dynamic : bool
        Whether the file should accept other numbers of images and other sizes. The sizes may differ by multiples of a
        step, which is determined automatically: 1 for many networks, 16 for "unet", which halves images four times.
        If the size has to be fixed, the result says why.
    output : {"scores", "probabilities", "labels"}
        "probabilities" adds a softmax, "labels" the index of the largest score (int64, (N, H, W)). For a network with one logit
        these are the probabilities and labels of two classes.

    Returns
    -------
    Exported

    Raises
    ------
    ExportError
        A `ValueError`: an operation has no ONNX form (the message names it), the network is not in float32, or the
        file would be larger than the 2 GiB that programs accept.
    ValueError
        If the network does not take `input_shape`, or the path has another ending.

    Notes
    -----
    The network is run on images of zeros of a few sizes, without computing anything. If its ``forward`` branches on the
    values of a tensor, the exported branch is arbitrary. Images must be prepared as in training.
    """
    path = Path(path)
    if path.suffix.lower() != ".onnx":
        raise ValueError(f"{path}: name it {path.stem}.onnx")
    if output not in _OUTPUTS:
        raise ValueError(f"output={output!r}: expected one of {', '.join(_OUTPUTS)}")
    if len(input_shape) != 4 or min(input_shape) < 1:
        raise ValueError(f"input_shape is (N, C, H, W), four positive numbers; got {tuple(input_shape)}")
    other = {value.dtype.name for value in model.parameters()} - {"float32"}
    if other:
        raise ExportError(f"the network is in {', '.join(sorted(other))}, but programs that run ONNX need float32: model.float()")
    shape = tuple(map(int, input_shape))
    first = program_of(model, shape)
    program, free, step, why = _for_sizes(model, first, shape) if dynamic else (first, {}, None, "as asked for")
    weights = dict([*model.named_parameters(), *model.named_buffers()])
    try:
        graph = _translated(program, weights, fixed=step is None)
    except SizeError as error:
        program, free, step, why = first, {}, None, str(error)
        graph = _translated(program, weights, fixed=True)
    image = tuple(free.get(axis, n) for axis, n in enumerate(shape))
    outputs = {_finish(graph, name, value, output): _declared(name, program, free, output) for name, value in program.outputs.items()}
    content = protobuf.encode("ModelProto", _model(graph, model, image, outputs, output, _sizes(shape, step)))
    if protobuf.length(content) > protobuf.LARGEST:
        raise ExportError(f"the file would have {protobuf.length(content):,} bytes; an ONNX file has at most 2 GiB")
    write_atomically(path, lambda stream: stream.writelines(content))
    return Exported(path, image, outputs, step, _sizes(shape, step), why, dict(graph.counts))


def _translated(program: Program, weights: dict[str, Tensor], fixed: bool) -> Graph:
    graph = Graph(weights, program.shapes, fixed)
    Translator(graph, program.instructions).run()
    return graph


def _for_sizes(model: Module, first: Program, shape: Shape) -> tuple[Program, dict[int, str], int | None, str]:
    """The program for as many shapes as possible, the names of the free axes, and the step between sizes or the reason why they are fixed."""
    n, c, h, w = shape
    why = ""
    for step in STEPS:
        found = _together(model, first, [(n + k, c, h + a * step, w + b * step) for k, a, b in _probes(h // step, w // step)])
        if isinstance(found, Program):
            return found, {0: "batch", 2: "height", 3: "width"}, step, ""
        why = why or found
    found = _together(model, first, [(n + 1, c, h, w), (n + 2, c, h, w)])
    return (found, {0: "batch"}, None, why) if isinstance(found, Program) else (first, {}, None, why)


def _probes(h: int, w: int) -> Iterator[tuple[int, int, int]]:
    """By how much the probes differ from the first shape (N, H, W), in steps.

    Two numbers of a program that are equal for all probes count as one. A network rounds sizes when it halves images, so that
    neighbouring images have maps of equal size, and square images cannot tell rows from columns. The probes are therefore close
    together and far apart, larger and smaller, wide and high.
    """
    yield from ((0, 1, 2), (1, 3, 1), (0, 6, 11), (2, 7, 4), (0, 29, 101), (1, 151, 13), (0, 64, 37), (0, 17, 250))
    yield from ((k, -a, -b) for k, a, b in ((0, h // 2, w // 5), (1, h // 6, w // 2), (0, 3 * h // 4, 4 * w // 5)) if a or b)


def _together(model: Module, first: Program, shapes: list[Shape]) -> Program | str:
    programs = [first]
    for shape in shapes:
        try:
            programs.append(program_of(model, shape))
        except ValueError as error:
            if shape[2] < first.shapes[0][2] or shape[3] < first.shapes[0][3]:  # smaller than any image that the network takes
                continue
            return str(error).splitlines()[0]
        if len(programs[-1].instructions) != len(first.instructions):
            break  # no need for the others
    return merge(programs)


def _finish(graph: Graph, name: str, value: Value, output: str) -> str:
    """Add the last node of an output; returns its name in the file."""
    name = name.replace("scores", output)
    given = graph.name(value)
    if output == "scores":
        graph.add("Identity", [given], [name])
        return name
    if graph.shape(value)[1] == 1:  # as `functional.class_scores`
        given = graph.add("Concat", [graph.add("Mul", [given, graph.constant(half, np.float32)]) for half in (-0.5, 0.5)], axis=1)
    if output == "probabilities":
        graph.add("Softmax", [given], [name], axis=1)
    else:
        graph.add("ArgMax", [given], [name], axis=1, keepdims=0)  # the first at a tie, as in label.argmax
    return name


def _declared(name: str, program: Program, free: dict[int, str], output: str) -> tuple[int | str, ...]:
    dims: list[int | str] = []
    for axis, size in enumerate(program.dims[name]):
        same = isinstance(size, Size) and (size.factor, size.offset) == (1, 0)
        dims.append(size if isinstance(size, int) else free[size.axis] if same else f"{name}_{axis}")  # type: ignore[union-attr]
    if output != "scores" and dims[1] == 1:  # one logit tells two classes apart
        dims[1] = 2
    return tuple(dims[:1] + dims[2:] if output == "labels" else dims)


def _model(
    graph: Graph, model: Module, image: tuple[int | str, ...], outputs: dict[str, tuple[int | str, ...]], output: str, sizes: str
) -> dict[str, Any]:
    """The ModelProto."""
    about = getattr(model, "about", None)
    facts = {"sizes": sizes, "recipe": json.dumps(getattr(model, "recipe", None))}
    if about is not None:
        facts |= {"classes": json.dumps(about.classes), "palette": json.dumps(about.palette), "standardise": about.standardise}
    dtype = "int64" if output == "labels" else "float32"
    return {
        "ir_version": IR_VERSION,
        "producer_name": "minisegnet",
        "producer_version": __version__,
        "opset_import": [{"domain": "", "version": OPSET}],
        "metadata_props": [{"key": key, "value": value} for key, value in facts.items()],
        "graph": {
            "name": type(model).__name__,
            "node": graph.nodes,
            "initializer": [protobuf.tensor(name, np.asarray(array)) for name, array in graph.constants.items()],
            "input": [protobuf.value_info("image", "float32", list(image))],
            "output": [protobuf.value_info(name, dtype, list(shape)) for name, shape in outputs.items()],
        },
    }


def _sizes(shape: Shape, step: int | None) -> str:
    rows, columns = shape[2:]
    if step is None:
        return f"{rows} rows and {columns} columns"
    if step == 1:
        return "any rows and columns that the network takes"
    if rows % step == columns % step:
        return f"rows and columns in multiples of {step}" + (f" plus {rows % step}" if rows % step else "")
    return f"rows in multiples of {step} plus {rows % step}, columns plus {columns % step}"
