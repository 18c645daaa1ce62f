"""What a network computes, as a program: a list of instructions in which sizes may depend on the image.

`minisegnet.trace` runs the network for one size of image, and here the calls that it recorded become
instructions. To find out which numbers in them depend on the size of the image, this is done for several sizes
and the programs are compared. If they agree but a number changes with the image size, it has to be an
affine function of one axis of an earlier value, with the same factor and offset for every size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minisegnet_kernels import backends

from ...nn import Module
from ...tensor import Tensor
from ...trace import dry_run

Shape = tuple[int, ...]


class ExportError(ValueError):
    """A network, or one of its operations, cannot be written as ONNX; the message says which and why."""


class SizeError(ExportError):
    """Something depends on the size of the image that has to be a constant in ONNX."""


@dataclass(frozen=True)
class Value:
    """The image (number 0), or a result of an instruction."""

    number: int


@dataclass(frozen=True)
class Weight:
    """A parameter or buffer, by its name in the state_dict."""

    name: str


@dataclass(frozen=True)
class Size:
    """A number that depends on the image: ``factor · value.shape[axis] + offset``."""

    value: Value
    axis: int
    factor: int = 1
    offset: int = 0


@dataclass(frozen=True)
class Instruction:
    """A function, its arguments by name (tensors as `Value` or `Weight`), and its results."""

    function: str
    arguments: dict[str, Any]
    results: tuple[Value, ...]


@dataclass(frozen=True)
class Program:
    """What a network computes.

    Attributes
    ----------
    instructions : list of Instruction
    shapes : list of tuple
        The shape of each value, by its number, for the size of image for which the network was run.
    outputs : dict of str to Value
        What the network returns.
    dims : dict of str to tuple
        The shape of each output; None where it depends on the image in a way that `Size` cannot express.
    """

    instructions: list[Instruction]
    shapes: list[Shape]
    outputs: dict[str, Value]
    dims: dict[str, tuple[int | Size | None, ...]]


def program_of(model: Module, shape: Shape) -> Program:
    """The program of a network for images of one shape, (N, C, H, W).

    Raises
    ------
    ExportError
        If the network uses a tensor that is neither a parameter, nor a buffer, nor computed from the image by
        differentiable functions.
    ValueError
        If the network does not take images of this shape.
    """
    try:
        run = dry_run(model, shape)
    except backends.BackendError as error:
        raise ExportError(f"{str(error).partition(':')[0]} has no ONNX form here") from error
    numbers = {id(run.image): 0}
    shapes = [run.image.shape]
    names = {id(tensor): name for name, tensor in [*model.named_parameters(), *model.named_buffers()]}

    def place(value: Any, function: str) -> Any:
        if isinstance(value, Tensor):
            if id(value) in numbers:
                return Value(numbers[id(value)])
            if id(value) in names:
                return Weight(names[id(value)])
            raise _unknown(function, f"a tensor {value.shape}")
        return tuple(place(v, function) for v in value) if isinstance(value, tuple | list) else value

    instructions = []
    for function, given, results, *_ in run.calls:
        sizes = {name: value.shape for name, value in given.items() if isinstance(value, Tensor)}
        arguments = {name: place(value, function) for name, value in given.items()}
        arguments = _NORMALISED.get(function, lambda arguments, sizes: arguments)(arguments, sizes)
        for value in arguments.values():
            if isinstance(value, np.ndarray):
                raise _unknown(function, f"an array {value.shape}")
        for result in results:
            numbers[id(result)] = len(shapes)
            shapes.append(result.shape)
        instructions.append(Instruction(function, arguments, tuple(Value(numbers[id(result)]) for result in results)))
    outputs = {name: place(value, "the output of the network") for name, value in _named(run.returned)}
    return Program(instructions, shapes, outputs, {name: shapes[value.number] for name, value in outputs.items()})


def _unknown(function: str, what: str) -> ExportError:
    return ExportError(
        f"{function} is given {what} that is neither the image, nor a parameter or buffer, nor the result of a "
        "differentiable function: make a constant a buffer (register_buffer), and compute with ms.functional only"
    )


def _named(returned: Any) -> Iterator[tuple[str, Tensor]]:
    if isinstance(returned, Tensor):
        yield "scores", returned
    elif isinstance(returned, Mapping):
        yield from ((str(name), value) for name, value in returned.items())
    elif isinstance(returned, tuple | list):
        yield from ((f"scores_{k}", value) for k, value in enumerate(returned))
    else:
        raise ExportError(f"the network returns {type(returned).__name__}; expected a tensor, or several by name or in a tuple")


# --- arguments in a form that does not depend on the size of the image ------------------------


def _normalised_index(arguments: dict, shapes: dict) -> dict:
    """``x[..., 5:n]`` → for each axis (start, stop, step), or one index, whose axis disappears."""
    key = arguments["key"] if isinstance(arguments["key"], tuple) else (arguments["key"],)
    shape = shapes["a"]
    if not all(isinstance(k, int | slice | type(Ellipsis)) for k in key):
        raise ExportError(f"indexing with {key!r} has no ONNX form here: only slices and numbers have one")
    given = [k for k in key if k is not Ellipsis]
    before = list(key).index(Ellipsis) if len(given) < len(key) else len(key)
    full = [slice(None)] * (len(shape) - len(given))
    axes = [*given[:before], *full, *given[before:]]
    return {
        "a": arguments["a"],
        "axes": tuple(k if isinstance(k, int) else k.indices(n) for k, n in zip(axes, shape, strict=True)),
    }


def _normalised_constant_pad(arguments: dict, shapes: dict) -> dict:
    """The size after padding → the padding at the end of each axis."""
    before, size = arguments["before"], arguments["size"]
    after = tuple(s - n - b for s, n, b in zip(size, shapes["input"], before, strict=True))
    return {"input": arguments["input"], "mode": "constant", "before": before, "after": after, "value": float(arguments["value"])}


def _normalised_mirrored_pad(arguments: dict, shapes: dict) -> dict:
    """The place of each element of a reflection or replication, or None for an axis as it is → its mode and widths."""
    for mode in ("reflect", "edge"):
        pairs = [
            (0, 0) if places is None else _padding(np.asarray(places), n, mode)
            for places, n in zip(arguments["places"], shapes["input"], strict=True)
        ]
        found = [pair for pair in pairs if pair is not None]
        if len(found) == len(pairs):
            before, after = zip(*found, strict=True)
            return {"input": arguments["input"], "mode": mode, "before": before, "after": after, "value": 0.0}
    raise ExportError("this padding is neither reflection nor replication")


def _padding(index: np.ndarray, size: int, mode: Any) -> tuple[int, int] | None:
    extra = len(index) - size
    pairs = ((before, extra - before) for before in range(extra + 1) if mode == "edge" or max(before, extra - before) < size)
    return next((pair for pair in pairs if np.array_equal(np.pad(np.arange(size), pair, mode=mode), index)), None)


_NORMALISED: dict[str, Callable[[dict, dict], dict]] = {
    "index": _normalised_index,
    "_constant_pad": _normalised_constant_pad,
    "_mirrored_pad": _normalised_mirrored_pad,
}

# --- several sizes ------------------------------------------------------------------------


def merge(programs: Sequence[Program]) -> Program | str:
    """One program for all sizes of image, with a `Size` for each number that depends on it; or the reason why there is none."""
    first = programs[0]
    if len({tuple((step.function, step.results) for step in p.instructions) for p in programs}) > 1 or any(
        p.outputs != first.outputs for p in programs
    ):
        return "what is computed depends on the size"
    instructions = []
    for number, step in enumerate(first.instructions):
        known = range(step.results[0].number)  # values that exist before this instruction
        versions = [p.instructions[number].arguments for p in programs]
        inputs = [value.number for value in step.arguments.values() if isinstance(value, Value)]
        try:
            merged = {name: _merged([v[name] for v in versions], programs, [*inputs, *known]) for name in step.arguments}
        except LookupError as error:
            return f"{step.function}: {error.args[0]}"
        instructions.append(Instruction(step.function, merged, step.results))
    dims = {
        name: tuple(_dimension(list(sizes), programs) for sizes in zip(*(p.dims[name] for p in programs), strict=True))
        for name in first.dims
    }
    return Program(instructions, first.shapes, first.outputs, dims)


def _dimension(sizes: list[Any], programs: Sequence[Program]) -> int | Size | None:
    try:
        return _merged(sizes, programs, [0])
    except LookupError:
        return None


def _merged(versions: list[Any], programs: Sequence[Program], known: list[int]) -> Any:
    first = versions[0]
    if isinstance(first, tuple) and all(isinstance(v, tuple) and len(v) == len(first) for v in versions):
        return tuple(_merged(list(parts), programs, known) for parts in zip(*versions, strict=True))
    if all(type(v) is type(first) and v == first for v in versions):
        return first
    if all(type(v) is int for v in versions):
        return _size(versions, programs, known)
    raise LookupError(f"{first!r} for one size and {next(v for v in versions if v != first)!r} for another")


def _size(numbers: list[int], programs: Sequence[Program], known: list[int]) -> Size:
    """The simplest expression that gives these numbers: n is simpler than 2·n, and 2·n is simpler than n + 1."""
    found = []
    for order, value in enumerate(known):
        for axis in range(len(programs[0].shapes[value])):
            sizes = [p.shapes[value][axis] for p in programs]
            pair = next((k for k, size in enumerate(sizes) if size != sizes[0]), None)
            if pair is None:
                continue
            factor = (numbers[pair] - numbers[0]) // (sizes[pair] - sizes[0])
            offset = numbers[0] - factor * sizes[0]
            if factor > 0 and all(factor * size + offset == n for size, n in zip(sizes, numbers, strict=True)):
                found.append((abs(offset) + 1000 * (factor - 1) if offset else factor - 1, order, Size(Value(value), axis, factor, offset)))
    if not found:
        raise LookupError(
            f"a size is {numbers[0]} for one image and {numbers[-1]} for another, which is not an affine function of an earlier size"
        )
    return min(found, key=lambda entry: entry[:2])[2]
