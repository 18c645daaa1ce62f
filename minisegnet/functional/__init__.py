"""Differentiable functions on tensors: a value and its pullback each.

Names, arguments and defaults are PyTorch's wherever PyTorch has the function.
"""

from . import in_place  # noqa: F401  (gives Tensor its changes in place)
from .activation import leaky_relu, log_softmax, relu, softmax
from .arithmetic import (
    abs,
    add,
    amax,
    argmax,
    clip,
    div,
    exp,
    log,
    matmul,
    max,
    maximum,
    mean,
    mul,
    neg,
    pow,
    sigmoid,
    sqrt,
    sub,
    sum,
    tanh,
    where,
)
from .convolution import conv2d, conv2d_relu, conv2d_statistics, conv_transpose2d
from .normalisation import batch_norm, batch_norm_relu, dropout, dropout2d, local_response_norm
from .pooling import adaptive_avg_pool2d, avg_pool2d, max_pool2d, max_unpool2d
from .resize import interpolate, pad
from .segmentation import ArgmaxRegions, Intervals, Prototypes, cross_entropy, label
from .shape import cat, flatten, permute, reshape, squeeze, stack, transpose, unsqueeze

__all__ = [
    "ArgmaxRegions",
    "Intervals",
    "Prototypes",
    "abs",
    "adaptive_avg_pool2d",
    "add",
    "amax",
    "argmax",
    "avg_pool2d",
    "batch_norm",
    "batch_norm_relu",
    "cat",
    "clip",
    "conv2d",
    "conv2d_relu",
    "conv2d_statistics",
    "conv_transpose2d",
    "cross_entropy",
    "div",
    "dropout",
    "dropout2d",
    "exp",
    "flatten",
    "interpolate",
    "label",
    "leaky_relu",
    "local_response_norm",
    "log",
    "log_softmax",
    "matmul",
    "max",
    "max_pool2d",
    "max_unpool2d",
    "maximum",
    "mean",
    "mul",
    "neg",
    "pad",
    "permute",
    "pow",
    "relu",
    "reshape",
    "sigmoid",
    "softmax",
    "sqrt",
    "squeeze",
    "stack",
    "sub",
    "sum",
    "tanh",
    "transpose",
    "unsqueeze",
    "where",
]
