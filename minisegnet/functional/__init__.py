"""Differentiable functions on tensors: a value and its pullback each.

Names, arguments and defaults are PyTorch's wherever PyTorch has the function.
"""

from . import in_place  # noqa: F401  (gives Tensor its changes in place)
from .activation import leaky_relu, log_softmax, relu, softmax
from .arguments import tensor_first
from .arithmetic import (
    abs,
    add,
    bitwise_and,
    bitwise_not,
    bitwise_or,
    bitwise_xor,
    clip,
    div,
    exp,
    floor_divide,
    log,
    masked_fill,
    matmul,
    maximum,
    minimum,
    mul,
    neg,
    pow,
    remainder,
    sigmoid,
    sqrt,
    sub,
    tanh,
    where,
)
from .convolution import conv2d, conv2d_relu, conv2d_statistics, conv_transpose2d
from .normalisation import batch_norm, batch_norm_relu, dropout, dropout2d, local_response_norm
from .pooling import adaptive_avg_pool2d, avg_pool2d, max_pool2d, max_unpool2d
from .reduction import amax, amin, argmax, argmin, cumsum, max, mean, min, norm, prod, std, sum, var
from .resize import interpolate, pad
from .segmentation import ArgmaxRegions, Intervals, Prototypes, binary_cross_entropy_with_logits, class_scores, cross_entropy, label
from .shape import cat, chunk, clone, expand, flatten, permute, repeat, reshape, split, squeeze, stack, transpose, unsqueeze

__all__ = [
    "ArgmaxRegions",
    "Intervals",
    "Prototypes",
    "abs",
    "adaptive_avg_pool2d",
    "add",
    "amax",
    "amin",
    "argmax",
    "argmin",
    "avg_pool2d",
    "batch_norm",
    "batch_norm_relu",
    "binary_cross_entropy_with_logits",
    "bitwise_and",
    "bitwise_not",
    "bitwise_or",
    "bitwise_xor",
    "cat",
    "chunk",
    "class_scores",
    "clip",
    "clone",
    "conv2d",
    "conv2d_relu",
    "conv2d_statistics",
    "conv_transpose2d",
    "cross_entropy",
    "cumsum",
    "div",
    "dropout",
    "dropout2d",
    "exp",
    "expand",
    "flatten",
    "floor_divide",
    "interpolate",
    "label",
    "leaky_relu",
    "local_response_norm",
    "log",
    "log_softmax",
    "masked_fill",
    "matmul",
    "max",
    "max_pool2d",
    "max_unpool2d",
    "maximum",
    "mean",
    "min",
    "minimum",
    "mul",
    "neg",
    "norm",
    "pad",
    "permute",
    "pow",
    "prod",
    "relu",
    "remainder",
    "repeat",
    "reshape",
    "sigmoid",
    "softmax",
    "split",
    "sqrt",
    "squeeze",
    "stack",
    "std",
    "sub",
    "sum",
    "tanh",
    "transpose",
    "unsqueeze",
    "var",
    "where",
]

#: Functions whose first argument may be something else: a number, or several tensors.
_OTHERS = {"add", "sub", "mul", "div", "pow", "maximum", "minimum", "floor_divide", "remainder", "bitwise_and", "bitwise_or", "bitwise_xor"}
_OTHERS |= {"where", "cat", "stack", "ArgmaxRegions", "Intervals", "Prototypes"}
for _name in set(__all__) - _OTHERS:
    globals()[_name] = tensor_first(globals()[_name], __name__)
