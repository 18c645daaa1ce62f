"""The node cases of the ONNX package (inputs, attributes and outputs of one operator each) on our functions, forward and backward."""

import math
import re
from collections import Counter
from importlib import import_module

import numpy as np
import pytest
from support.onnx_operators import OPERATORS, NotOffered

from minisegnet.tensor import Tensor

DTYPES = {"float32", "float64", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"}
#: Where the file of an operator's cases has another name than the operator.
MODULES = {
    "And": "and_",
    "BatchNormalization": "batch_normalization",
    "GreaterOrEqual": "greater_or_equal",
    "LessOrEqual": "less_or_equal",
    "Not": "not_",
    "Or": "or_",
    "SoftmaxCrossEntropyLoss": "softmax_cross_entropy_loss",
}
#: Inputs that have no gradient, neither here nor in PyTorch.
CONSTANTS = {"BatchNormalization": {3, 4}, "Dropout": {1}, "Pad": {2}, "Resize": {1, 2}, "SoftmaxCrossEntropyLoss": {2}}

# Where ours differs: the operator, the case and what happens, and why. One that no case meets fails.
DIFFERENT: list[tuple[str, str, str]] = [
    *(
        (op, r"NotOffered: [13] axes of places", "sequences and volumes; here are images")
        for op in ("AveragePool", "ConvTranspose", "MaxPool")
    ),
    *((op, r"NotOffered: select_last_index", "the first of equal values, as in PyTorch") for op in ("ArgMax", "ArgMin")),
    *((op, r"empty_set.*: ValueError: am", "the extreme of nothing is an error, as in PyTorch") for op in ("ReduceMax", "ReduceMin")),
    ("AveragePool", r"NotOffered: dilations", "PyTorch's has no dilation"),
    ("BatchNormalization", r"training_mode: output 2: value", "the running variance is unbiased, as in PyTorch"),
    ("Clip", r"ValueError: clip: give min, max or both", "as in PyTorch"),
    ("CumSum", r"NotOffered: (exclusive|reverse)", "PyTorch's has neither"),
    ("CumSum", r"int64, not \S+ int32|int64, not \(\d, \d\) int32", "integers add up to int64, as in PyTorch"),
    ("Div", r"float32, not \([\d, ]+\) u?int", "/ of integers is a fraction, as in PyTorch"),
    ("Dropout", r"NotOffered: the random numbers", "another generator"),
    ("MaxPool", r"there is no kernel for this dtype", "the kernels compute in float32 and float64"),
    ("MaxPool", r"NotOffered: storage_order", "PyTorch counts rows first"),
    ("MaxUnpool", r"NotOffered: an output size", "PyTorch's indices count in planes of the size that is asked for"),
    ("Mod", r"NotOffered: fmod", "% has the sign of the divisor, as in PyTorch"),
    ("Pow", r"float32, not \(3,\) int", "integers to the power of fractions are fractions, as in PyTorch"),
    (
        "Resize",
        r"NotOffered: (nearest pixels by another rule|nearest_mode|coordinate_transformation)",
        "PyTorch rounds down; the export writes that rule",
    ),
    ("Resize", r"NotOffered: cubic|NotOffered: exclude_outside", "nearest and bilinear only"),
    ("Resize", r"NotOffered: linear, (tf_crop|pytorch_half_pixel|half_pixel_symmetric)", "PyTorch's rule is half_pixel"),
    ("Resize", r"NotOffered: (antialias|keep_aspect_ratio)", "PyTorch's option, or none of PyTorch's"),
    ("Resize", r"linear_align_corners: output 0: value", "PyTorch takes the corners from the whole number of rows, not from the fraction"),
]


def cases_of(op):
    """The cases of an operator: name, node, inputs by position (None for one that is left out), outputs."""
    node_cases = pytest.importorskip("onnx.backend.test.case.node")
    from onnx import helper, numpy_helper

    import_module(f"{node_cases.__name__}.{MODULES.get(op, op.lower())}")
    plain = lambda v: numpy_helper.to_array(v) if hasattr(v, "data_type") else v
    for case in node_cases._NodeTestCases:
        node = case.model.graph.node[0]
        if len(case.model.graph.node) > 1 or node.op_type != op or "_expanded" in case.name:
            continue
        ((inputs, outputs),) = case.data_sets
        given = iter(inputs)
        text = lambda v: v.decode() if isinstance(v, bytes) else v
        attributes = {a.name: text(helper.get_attribute_value(a)) for a in node.attribute}
        if op == "Split":
            attributes["num_outputs"] = len(node.output)
        yield case.name, attributes, [plain(next(given)) if name else None for name in node.input], [plain(v) for v in outputs]


def results_of(function, arrays, attributes, gradients=()):
    tensors = [None if a is None else Tensor(a, requires_grad=k in gradients) for k, a in enumerate(arrays)]
    with np.errstate(all="ignore"):
        results = function(*tensors, **attributes)
    return tensors, list(results) if isinstance(results, tuple) else [results]


def difference(op, attributes, inputs, outputs):
    """What differs for one case; empty if nothing does."""
    function = OPERATORS[op][1]
    try:
        _, results = results_of(function, inputs, attributes)
    except (ValueError, TypeError, RuntimeError, IndexError, NotOffered) as error:
        return f"{type(error).__name__}: {error}"
    for number, (found, wanted) in enumerate(zip(results, outputs, strict=False)):
        if found.shape != wanted.shape or found.dtype != wanted.dtype:
            return f"output {number}: {found.shape} {found.dtype}, not {wanted.shape} {wanted.dtype}"
        if not np.allclose(found.array, wanted, rtol=1e-3, atol=1e-5, equal_nan=True):
            return f"output {number}: value"
    return gradient(op, function, attributes, inputs)


def gradient(op, function, attributes, inputs):
    """Compare the gradient along a random direction, from a random seed, with a difference quotient in float64."""
    rng = np.random.default_rng(0)
    variable = [k for k, a in enumerate(inputs) if a is not None and a.dtype.kind == "f" and k not in CONSTANTS.get(op, ())]
    # A little to the side, because the cases have ties and corners.
    moved = [a.astype(np.float64) + 0.01 * rng.random(a.shape) if k in variable else a for k, a in enumerate(inputs)]
    wide = [a.astype(np.float64) if a is not None and a.dtype.kind == "f" else a for a in moved]
    tensors, results = results_of(function, wide, attributes, variable)
    results = [y for y in results if y.requires_grad]
    if not results:
        return "" if not variable or op in WITHOUT_A_GRADIENT else "no gradient"
    seeds = [rng.normal(size=y.shape) for y in results]
    for y, g in zip(results, seeds, strict=True):
        y.backward(g, retain_graph=True)
    towards = {k: rng.normal(size=wide[k].shape) for k in variable}

    def loss(step):
        arrays = [a + step * towards[k] if k in variable else a for k, a in enumerate(wide)]
        values = results_of(function, arrays, attributes)[1]
        return sum(float((y.array * g).sum()) for y, g in zip([y for y in values if y.dtype.kind == "f"], seeds, strict=False))

    quotient = (loss(1e-6) - loss(-1e-6)) / 2e-6
    product = sum(float((tensors[k].grad.array * towards[k]).sum()) for k in variable if tensors[k].grad is not None)
    alike = math.isclose(product, quotient, rel_tol=1e-4, abs_tol=1e-5) or math.isnan(product + quotient)
    return "" if alike else f"gradient: {product}, not {quotient}"


WITHOUT_A_GRADIENT = {"ArgMax", "ArgMin", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"}


@pytest.mark.parametrize("op", OPERATORS)
def test_onnxs_cases(op):
    listed = [pattern for name, pattern, _ in DIFFERENT if name == op]
    met, wrong, count = set(), [], Counter()
    for name, attributes, inputs, outputs in cases_of(op):
        if {str(a.dtype) if hasattr(a, "dtype") else type(a).__name__ for a in (*inputs, *outputs) if a is not None} - DTYPES:
            count["of other dtypes"] += 1
            continue
        found = difference(op, attributes, inputs, outputs)
        count["tried"] += 1
        count["held"] += not found
        known = [pattern for pattern in listed if found and re.search(pattern, f"{name}: {found}")]
        met.update(known)
        if found and not known:
            wrong.append(f"{name}: {found}")
    print(f"{OPERATORS[op][0]} ({op}): held {count['held']} of {count['tried']}, {count['of other dtypes']} of other dtypes")
    assert count["tried"]
    assert not wrong, "\n".join(wrong)
    assert met == set(listed), "a listed difference that differs no more"
