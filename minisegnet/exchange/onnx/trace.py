"""What a network computes, written down: a list of calls, in which sizes may depend on the image.

A network is run in evaluation mode with nothing computed (backend "shapes"), while the engine tells of
every differentiable function. To find out which of the numbers in the calls depend on the size of the
image, it is run for several sizes. Where the calls are the same, a number that is not must be
``factor · (size of an axis of an earlier value) + offset``, with the same factor and offset for all of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minisegnet_kernels import backends

from ...nn import Module
from ...nn.modes import evaluating
from ...tensor import Tensor, no_grad, observed

Shape = tuple[int, ...]


class ExportError(ValueError):
    """A network, or one of its operations, has no form in ONNX; says which and why."""


class SizeError(ExportError):
    """Something depends on the size of the image that in ONNX cannot."""


@dataclass(frozen=True)
class Value:
    """The image (number 0), or a result of a call."""

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
class Call:
    """A function, its arguments by name (tensors as `Value` or `Weight`), and its results."""

    function: str
    arguments: dict[str, Any]
    results: tuple[Value, ...]


@dataclass(frozen=True)
class Trace:
    """All calls of a run, the shapes of all values, what the network returned and its shapes (None: depends on the image in some way)."""

    calls: list[Call]
    shapes: list[Shape]
    outputs: dict[str, Value]
    dims: dict[str, tuple[int | Size | None, ...]]


def trace(model: Module, shape: Shape) -> Trace:
    """Run a network on zeros of a shape, (N, C, H, W), with nothing computed.

    Raises
    ------
    ExportError
        If it uses a tensor that no function here has made, and that is no parameter or buffer.
    ValueError
        If it does not take that shape.
    """
    image = Tensor(np.zeros(shape, np.float32))
    numbers = {id(image): 0}
    kept: list[Tensor] = [image]  # a tensor that is gone could leave its id to another
    names = {id(tensor): name for name, tensor in [*model.named_parameters(), *model.named_buffers()]}
    calls: list[Call] = []

    def stranger(function: str, what: str) -> ExportError:
        return ExportError(
            f"{function} is given {what} that is neither the image, nor a parameter or buffer, nor the result of a "
            "differentiable function: make a constant a buffer (register_buffer), and compute with ms.functional only"
        )

    def place(value: Any, function: str) -> Any:
        if isinstance(value, Tensor):
            if id(value) in numbers:
                return Value(numbers[id(value)])
            if id(value) in names:
                return Weight(names[id(value)])
            raise stranger(function, f"a tensor {value.shape}")
        return tuple(place(v, function) for v in value) if isinstance(value, tuple | list) else value

    def note(function: Callable, args: tuple, options: dict, results: tuple) -> None:
        bound = inspect.signature(function).bind(*args, **options)
        bound.apply_defaults()
        shapes = {name: value.shape for name, value in bound.arguments.items() if isinstance(value, Tensor)}
        arguments = {name: place(value, function.__name__) for name, value in bound.arguments.items()}
        for result in results:
            numbers[id(result)] = len(kept)
            kept.append(result)
        arguments = _PLAIN.get(function.__name__, lambda arguments, shapes: arguments)(arguments, shapes)
        for value in arguments.values():
            if isinstance(value, np.ndarray):
                raise stranger(function.__name__, f"an array {value.shape}")
        calls.append(Call(function.__name__, arguments, tuple(Value(numbers[id(result)]) for result in results)))

    with evaluating(model), no_grad(), backends.use("shapes"), observed(note), np.errstate(all="ignore"):
        try:
            returned = model(image)
        except backends.BackendError as error:
            raise ExportError(f"{str(error).partition(':')[0]} has no ONNX form here") from error
    outputs = {name: place(value, "the output of the network") for name, value in _named(returned)}
    shapes = [tensor.shape for tensor in kept]
    return Trace(calls, shapes, outputs, {name: shapes[value.number] for name, value in outputs.items()})


def _named(returned: Any) -> Iterator[tuple[str, Tensor]]:
    if isinstance(returned, Tensor):
        yield "scores", returned
    elif isinstance(returned, Mapping):
        yield from ((str(name), value) for name, value in returned.items())
    elif isinstance(returned, tuple | list):
        yield from ((f"scores_{k}", value) for k, value in enumerate(returned))
    else:
        raise ExportError(f"the network returns {type(returned).__name__}; expected a tensor, or several by name or in a tuple")


# --- arguments that say the same for every size --------------------------------------------


def _plain_index(arguments: dict, shapes: dict) -> dict:
    """``x[..., 5:n]`` → for each axis (start, stop, step), or the index of a row that is taken out."""
    key = arguments["key"] if isinstance(arguments["key"], tuple) else (arguments["key"],)
    shape = shapes["a"]
    if not all(isinstance(k, int | slice | type(Ellipsis)) for k in key):
        raise ExportError(f"indexing with {key!r} has no ONNX form here: slices and numbers have")
    given = [k for k in key if k is not Ellipsis]
    before = list(key).index(Ellipsis) if len(given) < len(key) else len(key)
    full = [slice(None)] * (len(shape) - len(given))
    axes = [*given[:before], *full, *given[before:]]
    return {
        "a": arguments["a"],
        "axes": tuple(k if isinstance(k, int) else k.indices(n) for k, n in zip(axes, shape, strict=True)),
    }


def _plain_constant_pad(arguments: dict, shapes: dict) -> dict:
    """The size after padding → what is added behind each axis."""
    before, size = arguments["before"], arguments["size"]
    after = tuple(s - n - b for s, n, b in zip(size, shapes["input"], before, strict=True))
    return {"input": arguments["input"], "mode": "constant", "before": before, "after": after, "value": float(arguments["value"])}


def _plain_take_pad(arguments: dict, shapes: dict) -> dict:
    """Indices of rows and columns → reflection or replication, and by how much."""
    wanted = (arguments["rows"], arguments["columns"])
    for mode in ("reflect", "edge"):
        found = [_padding(np.asarray(index), n, mode) for index, n in zip(wanted, shapes["input"][2:], strict=True)]
        if None not in found:
            pairs: list[Any] = [(0, 0), (0, 0), *found]
            return {
                "input": arguments["input"],
                "mode": mode,
                "before": tuple(b for b, _ in pairs),
                "after": tuple(a for _, a in pairs),
                "value": 0.0,
            }
    raise ExportError("pad: neither reflection nor replication")


def _padding(index: np.ndarray, size: int, mode: Any) -> tuple[int, int] | None:
    extra = len(index) - size
    pairs = ((before, extra - before) for before in range(extra + 1) if mode == "edge" or max(before, extra - before) < size)
    return next((pair for pair in pairs if np.array_equal(np.pad(np.arange(size), pair, mode=mode), index)), None)


_PLAIN: dict[str, Callable[[dict, dict], dict]] = {
    "index": _plain_index,
    "_constant_pad": _plain_constant_pad,
    "_take_pad": _plain_take_pad,
}

# --- several sizes ------------------------------------------------------------------------


def merge(traces: Sequence[Trace]) -> Trace | str:
    """One trace for all of these sizes, with `Size` for what depends on it; or why there is none."""
    first = traces[0]
    if len({tuple((call.function, call.results) for call in t.calls) for t in traces}) > 1 or any(
        t.outputs != first.outputs for t in traces
    ):
        return "what is computed depends on the size"
    calls = []
    for number, call in enumerate(first.calls):
        known = range(call.results[0].number)  # values that are there before this call
        versions = [t.calls[number].arguments for t in traces]
        inputs = [value.number for value in call.arguments.values() if isinstance(value, Value)]
        try:
            merged = {name: _merged([v[name] for v in versions], traces, [*inputs, *known]) for name in call.arguments}
        except LookupError as error:
            return f"{call.function}: {error.args[0]}"
        calls.append(Call(call.function, merged, call.results))
    dims = {
        name: tuple(_dimension(list(sizes), traces) for sizes in zip(*(t.dims[name] for t in traces), strict=True)) for name in first.dims
    }
    return Trace(calls, first.shapes, first.outputs, dims)


def _dimension(sizes: list[Any], traces: Sequence[Trace]) -> int | Size | None:
    try:
        return _merged(sizes, traces, [0])
    except LookupError:
        return None


def _merged(versions: list[Any], traces: Sequence[Trace], known: list[int]) -> Any:
    first = versions[0]
    if isinstance(first, tuple) and all(isinstance(v, tuple) and len(v) == len(first) for v in versions):
        return tuple(_merged(list(parts), traces, known) for parts in zip(*versions, strict=True))
    if all(type(v) is type(first) and v == first for v in versions):
        return first
    if all(type(v) is int for v in versions):
        return _size(versions, traces, known)
    raise LookupError(f"{first!r} for one size and {next(v for v in versions if v != first)!r} for another")


def _size(numbers: list[int], traces: Sequence[Trace], known: list[int]) -> Size:
    """The simplest expression that gives these numbers; 1·n + 0 before 2·n, and that before n + 1."""
    found = []
    for order, value in enumerate(known):
        for axis in range(len(traces[0].shapes[value])):
            sizes = [t.shapes[value][axis] for t in traces]
            pair = next((k for k, size in enumerate(sizes) if size != sizes[0]), None)
            if pair is None:
                continue
            factor = (numbers[pair] - numbers[0]) // (sizes[pair] - sizes[0])
            offset = numbers[0] - factor * sizes[0]
            if factor > 0 and all(factor * size + offset == n for size, n in zip(sizes, numbers, strict=True)):
                found.append((abs(offset) + 1000 * (factor - 1) if offset else factor - 1, order, Size(Value(value), axis, factor, offset)))
    if not found:
        raise LookupError(f"a size that is {numbers[0]} for one image and {numbers[-1]} for another, and not in proportion")
    return min(found, key=lambda entry: entry[:2])[2]
