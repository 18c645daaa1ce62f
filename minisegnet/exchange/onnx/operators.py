"""The ONNX form of each function of the library (operator set 17)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .graph import Graph
from .program import ExportError, Instruction, Size, SizeError, Value

OPSET, IR_VERSION = 17, 8


class Translator:
    """Writes the instructions of a program into a graph, one by one.

    Parameters
    ----------
    graph : Graph
    instructions : list of Instruction
    """

    def __init__(self, graph: Graph, instructions: list[Instruction]):
        self.graph, self.instructions = graph, instructions
        self.makers = {result.number: step for step in instructions for result in step.results}
        self.indices: set[int] = set()  # values that are indices of maxima, which ONNX counts differently

    def run(self) -> None:
        """Translate all instructions.

        Raises
        ------
        ExportError
            At the first function that has no ONNX form; names it.
        """
        for step in self.instructions:
            if step.function not in OPERATORS:
                raise ExportError(f"the function {step.function.strip('_')} has no ONNX form here")
            if step.arguments.get("dtype") is not None:
                raise ExportError(f"{step.function.strip('_')} with a dtype has no ONNX form here: all tensors of the file are float32")
            used = {value.number for value in step.arguments.values() if isinstance(value, Value)}
            if used & self.indices and step.function != "_unpool":
                raise ExportError(f"{step.function.strip('_')} of a pool's indices has no ONNX form: only an unpool can use them")
            self.graph.names[step.results[0].number] = OPERATORS[step.function](self, step.arguments, step)

    # --- what the operators need ---------------------------------------------------------

    def of(self, value: Any, like: Any = None) -> str:
        """The name of a tensor; a number becomes a constant."""
        if isinstance(value, int | float):
            return self.graph.constant(value, np.float32)
        return self.graph.name(value)


def _pair(value: Any, what: str) -> list[int]:
    return [_fixed(size, what) for size in _both(value)]


def _both(value: Any) -> tuple:
    """The values for rows and columns; one stands for both."""
    return (value * 2)[:2] if isinstance(value, tuple) else (value, value)


def _fixed(value: Any, what: str) -> int:
    if isinstance(value, Size):
        raise SizeError(f"{what} depends on the size of the image, but is constant in ONNX")
    return int(value)


def _pads(padding: Any, what: str) -> dict[str, Any]:
    """Padding in ONNX's order: before each axis, then after each axis."""
    if padding == "same":
        return {"auto_pad": "SAME_UPPER"}
    if padding == "valid":
        return {}
    sides = [_both(side) for side in _both(padding)]
    return {"pads": [_fixed(before, what) for before, _ in sides] + [_fixed(after, what) for _, after in sides]}


# --- layers -------------------------------------------------------------------------------


def _conv2d(t: Translator, a: Mapping[str, Any], step: Instruction) -> str:
    inputs = [t.of(a[name]) for name in ("input", "weight", "bias") if a[name] is not None]
    return t.graph.add(
        "Conv",
        inputs,
        kernel_shape=t.graph.shape(a["weight"])[2:],
        strides=_pair(a["stride"], "conv2d's stride"),
        dilations=_pair(a["dilation"], "conv2d's dilation"),
        group=a["groups"],
        **_pads(a["padding"], "conv2d's padding"),
    )


def _conv_transpose2d(t: Translator, a: Mapping[str, Any], step: Instruction) -> str:
    inputs = [t.of(a[name]) for name in ("input", "weight", "bias") if a[name] is not None]
    return t.graph.add(
        "ConvTranspose",
        inputs,
        kernel_shape=t.graph.shape(a["weight"])[2:],
        strides=_pair(a["stride"], "conv_transpose2d's stride"),
        dilations=_pair(a["dilation"], "conv_transpose2d's dilation"),
        output_padding=_pair(a["output_padding"], "conv_transpose2d's output_padding"),
        group=a["groups"],
        **_pads(a["padding"], "conv_transpose2d's padding"),
    )


def _batch_norm(t: Translator, a: Mapping[str, Any], step: Instruction) -> str:
    if a["training"]:
        raise ExportError("batch_norm with the statistics of the batch (track_running_stats=False) has no ONNX form")
    channels = t.graph.shape(a["input"])[1]
    weight, bias = (
        t.graph.constant(np.full(channels, value, np.float32)) if a[name] is None else t.of(a[name])
        for name, value in (("weight", 1), ("bias", 0))
    )
    inputs = [t.of(a["input"]), weight, bias, t.of(a["running_mean"]), t.of(a["running_var"])]
    return t.graph.add("BatchNormalization", inputs, epsilon=float(a["eps"]))


def _then_relu(first: Callable) -> Callable:
    return lambda t, a, step: t.graph.add("Relu", [first(t, a, step)])


def _window(a: Mapping[str, Any], name: str) -> dict[str, Any]:
    kernel = _pair(a["kernel_size"], name)
    stride = kernel if a["stride"] is None else _pair(a["stride"], name)
    return {"kernel_shape": kernel, "strides": stride, "ceil_mode": int(a["ceil_mode"]), **_pads(a["padding"], name)}


def _max_pool(t: Translator, a: Mapping[str, Any], step: Instruction) -> str:
    made = t.graph.add(
        "MaxPool", [t.of(a["input"])], len(step.results), dilations=_pair(a["dilation"], "max_pool2d"), **_window(a, "max_pool2d")
    )
    for result in step.results[1:]:  # the indices, if the pool returns them
        t.indices.add(result.number)
        t.graph.names[result.number] = f"{made}:1"
    return made


def _unpool(t: Translator, a: Mapping[str, Any], step: Instruction) -> str:
    """Scatter the values into a flattened tensor of zeros.

    (The operator MaxUnpool works for even sizes only: it refuses an output that is smaller because the last window was
    cut off.) ONNX's indices count through the whole tensor, so the output must have the shape of the pooled tensor.
    """
    pool = t.makers.get(a["indices"].number) if isinstance(a["indices"], Value) else None
    if pool is None or pool.function != "_max_pool":
        raise ExportError("max_unpool2d needs the indices of a max_pool2d of the same network")
    pooled, window = pool.arguments["input"], _window(pool.arguments, "max_unpool2d")
    if t.graph.shape(step.results[0]) != t.graph.shape(pooled):
        raise ExportError(
            f"max_unpool2d to {t.graph.shape(step.results[0])} from a pool over {t.graph.shape(pooled)}: ONNX needs equal shapes"
        )
    if any(step < size for step, size in zip(window["strides"], window["kernel_shape"], strict=True)):
        raise ExportError("max_unpool2d from overlapping windows has no ONNX form: two values may have the same index")
    shape, line = t.graph.whole_numbers(t.graph.dims(pooled)), t.graph.constant([-1], np.int64)
    zeros = t.graph.add("ConstantOfShape", [t.graph.add("ReduceProd", [shape], axes=[0], keepdims=1)])
    places, values = (t.graph.add("Reshape", [t.of(a[name]), line]) for name in ("indices", "input"))
    return t.graph.add("Reshape", [t.graph.add("ScatterElements", [zeros, places, values], axis=0), shape])


def _avg_pool2d(t: Translator, a: Mapping[str, Any], step: Instruction) -> str:
    window = _window(a, "avg_pool2d")
    if a["ceil_mode"] and any(window["pads"]) and a["count_include_pad"]:
        raise ExportError(
            "avg_pool2d with ceil_mode, padding and count_include_pad has no ONNX form: the last window is counted differently"
        )
    return t.graph.add("AveragePool", [t.of(a["input"])], count_include_pad=int(a["count_include_pad"]), **window)


def _adaptive_avg_pool2d(t: Translator, a: Mapping[str, Any], step: Instruction) -> str:
    """Averaging over regions as matrix products, rows · image · columns. The matrices are computed when the file runs."""
    size = _pair(a["output_size"], "adaptive_avg_pool2d's output_size")
    if size == [1, 1]:
        return t.graph.add("GlobalAveragePool", [t.of(a["input"])])
    rows, columns = (_averaging(t.graph, Size(a["input"], 2 + axis), count) for axis, count in enumerate(size))
    across = t.graph.add("MatMul", [t.of(a["input"]), t.graph.add("Transpose", [columns], perm=[1, 0])])
    return t.graph.add("MatMul", [rows, across])


def _averaging(graph: Graph, length: Size, count: int) -> str:
    """The (count, n) matrix whose row i is 1/(e − s) from s = ⌊i·n/count⌋ to e = ⌈(i + 1)·n/count⌉ (pool2d.adaptive_average)."""
    n = graph.whole_numbers([length])
    number = graph.constant(np.arange(count)[:, None], np.int64)
    pieces = graph.constant([count], np.int64)
    start = graph.add("Div", [graph.add("Mul", [number, n]), pieces])
    following = graph.add("Mul", [graph.constant(np.arange(1, count + 1)[:, None], np.int64), n])
    end = graph.add("Div", [graph.add("Add", [following, graph.constant([count - 1], np.int64)]), pieces])
    scalar = graph.add("Squeeze", [n, graph.constant([0], np.int64)])
    place = graph.add("Range", [graph.constant(0, np.int64), scalar, graph.constant(1, np.int64)])
    inside = graph.add("And", [graph.add("GreaterOrEqual", [place, start]), graph.add("Less", [place, end])])
    share = graph.add("Cast", [graph.add("Sub", [end, start])], to=1)
    return graph.add("Div", [graph.add("Cast", [inside], to=1), share])


def _nearest(t: Translator, a: Mapping[str, Any], step: Instruction) -> str:
    """Pixel ⌊i·n/m⌋ for each i < m. By a whole factor as Resize; else in whole numbers, because programs that run ONNX round the quotient."""
    given = t.graph.dims(a["input"])[2:]
    shape = t.graph.shape(a["input"])[2:]
    if all(_whole_factor(t.graph, size, before, n) for size, before, n in zip(a["size"], given, shape, strict=True)):
        return _resize("nearest")(t, a, step)
    found = t.of(a["input"])
    for axis, size in enumerate(a["size"], start=2):
        n, m = (t.graph.whole_numbers([number]) for number in (given[axis - 2], size))
        scalar = t.graph.add("Squeeze", [m, t.graph.constant([0], np.int64)])
        place = t.graph.add("Range", [t.graph.constant(0, np.int64), scalar, t.graph.constant(1, np.int64)])
        place = t.graph.add("Div", [t.graph.add("Mul", [place, n]), m])
        found = t.graph.add("Gather", [found, place], axis=axis)
    return found


def _whole_factor(graph: Graph, size: Any, before: Any, n: int) -> bool:
    """Whether a size is a whole multiple of the size before, for every image that the file takes."""
    if isinstance(size, Size):
        return (size.value, size.axis, size.offset) == (before.value, before.axis, 0)
    return graph.fixed and size % n == 0


def _resize(mode: str) -> Callable:
    def resize(t: Translator, a: Mapping[str, Any], step: Instruction) -> str:
        how = "asymmetric" if mode == "nearest" else "align_corners" if a["align_corners"] else "half_pixel"
        size = t.graph.whole_numbers([*t.graph.dims(a["input"], slice(2)), *a["size"]])
        rounding = "floor" if mode == "nearest" else None
        return t.graph.add("Resize", [t.of(a["input"]), "", "", size], mode=mode, coordinate_transformation_mode=how, nearest_mode=rounding)

    return resize


def _lrn(t: Translator, a: Mapping[str, Any], step: Instruction) -> str:
    if a["size"] % 2 == 0:
        raise ExportError(f"local_response_norm over {a['size']} channels: for an even number ONNX uses other neighbours")
    return t.graph.add("LRN", [t.of(a["input"])], alpha=float(a["alpha"]), beta=float(a["beta"]), bias=float(a["k"]), size=a["size"])


# --- shapes -------------------------------------------------------------------------------


def _pad(t: Translator, a: Mapping[str, Any], step: Instruction) -> str:
    widths = t.graph.whole_numbers([*a["before"], *a["after"]])
    return t.graph.add("Pad", [t.of(a["input"]), widths, t.graph.constant(a["value"], np.float32)], mode=a["mode"])


def _index(t: Translator, a: Mapping[str, Any], step: Instruction) -> str:
    name, shape = t.of(a["a"]), t.graph.shape(a["a"])
    cut = [
        (axis, *part)
        for axis, part in enumerate(a["axes"])
        if isinstance(part, tuple) and part not in ((0, shape[axis], 1), (0, Size(a["a"], axis), 1))
    ]
    if any(not isinstance(step, Size) and step < 0 for *_, step in cut):
        raise ExportError("indexing with a negative step has no ONNX form here")
    if cut:
        axes, starts, stops, steps = zip(*cut, strict=True)
        name = t.graph.add("Slice", [name, *(t.graph.whole_numbers(numbers) for numbers in (starts, stops, axes, steps))])
    for axis, part in reversed(list(enumerate(a["axes"]))):
        if not isinstance(part, tuple):  # one index, whose axis disappears
            name = t.graph.add("Gather", [name, t.graph.constant(_fixed(part, "the index"), np.int64)], axis=axis)
    return name


def _reshape(t: Translator, a: Mapping[str, Any], step: Instruction) -> str:
    return t.graph.add("Reshape", [t.of(a["a"]), t.graph.whole_numbers(a["shape"])])


def _cat(t: Translator, a: Mapping[str, Any], step: Instruction) -> str:
    return t.graph.add("Concat", [t.of(value) for value in a["arrays"]], axis=a["dim"])


# --- arithmetic ---------------------------------------------------------------------------


def _plain(op: str, *names: str, **fixed: Any) -> Callable:
    """An operator with the arguments of these names as its inputs."""
    return lambda t, a, step: t.graph.add(op, [t.of(a[name]) for name in names], **fixed)


def _along(op: str) -> Callable:
    return lambda t, a, step: t.graph.add(op, [t.of(a["input"])], axis=_fixed(a["dim"], op))


def _clip(t: Translator, a: Mapping[str, Any], step: Instruction) -> str:
    return t.graph.add("Clip", [t.of(a["a"]), *("" if a[name] is None else t.of(a[name]) for name in ("min", "max"))])


def _reduce(op: str) -> Callable:
    def reduce(t: Translator, a: Mapping[str, Any], step: Instruction) -> str:
        axes = None if a["dim"] is None else list(a["dim"]) if isinstance(a["dim"], tuple) else [a["dim"]]
        if op == "ReduceSum":  # its axes are an input; those of the other reductions are an attribute
            return t.graph.add(
                op, [t.of(a["a"]), *([] if axes is None else [t.graph.constant(axes, np.int64)])], keepdims=int(a["keepdim"])
            )
        return t.graph.add(op, [t.of(a["a"])], axes=axes, keepdims=int(a["keepdim"]))

    return reduce


OPERATORS: dict[str, Callable[[Translator, Mapping[str, Any], Instruction], str]] = {
    "conv2d": _conv2d,
    "conv2d_relu": _then_relu(_conv2d),
    "conv_transpose2d": _conv_transpose2d,
    "batch_norm": _batch_norm,
    "batch_norm_relu": _then_relu(_batch_norm),
    "_max_pool": _max_pool,
    "_unpool": _unpool,
    "_average": _avg_pool2d,
    "_adaptive_average": _adaptive_avg_pool2d,
    "_bilinear": _resize("linear"),
    "_nearest": _nearest,
    "local_response_norm": _lrn,
    "_constant_pad": _pad,
    "_mirrored_pad": _pad,
    "index": _index,
    "_reshape": _reshape,
    "_permute": lambda t, a, step: t.graph.add("Transpose", [t.of(a["a"])], perm=list(a["dims"])),
    "_cat": _cat,
    "relu": _plain("Relu", "input"),
    "leaky_relu": lambda t, a, step: t.graph.add("LeakyRelu", [t.of(a["input"])], alpha=float(a["negative_slope"])),
    "softmax": _along("Softmax"),
    "log_softmax": _along("LogSoftmax"),
    "add": _plain("Add", "a", "b"),
    "sub": _plain("Sub", "a", "b"),
    "mul": _plain("Mul", "a", "b"),
    "div": _plain("Div", "a", "b"),
    "pow": _plain("Pow", "a", "b"),
    "maximum": _plain("Max", "a", "b"),
    "matmul": _plain("MatMul", "a", "b"),
    "neg": _plain("Neg", "a"),
    "exp": _plain("Exp", "a"),
    "log": _plain("Log", "a"),
    "sqrt": _plain("Sqrt", "a"),
    "abs": _plain("Abs", "a"),
    "sigmoid": _plain("Sigmoid", "a"),
    "tanh": _plain("Tanh", "a"),
    "clip": _clip,
    "sum": _reduce("ReduceSum"),
    "mean": _reduce("ReduceMean"),
    "amax": _reduce("ReduceMax"),
}
