"""Layers: functions of `minisegnet.functional` with parameters that they own.

Names, arguments, defaults and ``state_dict`` keys are PyTorch's.
"""

from . import init, utils
from .activation import Dropout, Dropout2d, Identity, LeakyReLU, ReLU, Sigmoid, Softmax, Tanh
from .containers import ModuleList, Sequential, chain
from .convolution import Conv2d, ConvTranspose2d
from .folding import fold
from .geometry import Flatten, ReflectionPad2d, Upsample, ZeroPad2d
from .linear import Linear
from .loss import BCEWithLogitsLoss, CrossEntropyLoss, MSELoss
from .module import Module
from .normalisation import BatchNorm2d, LocalResponseNorm
from .parameter import Buffer, Parameter
from .pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d, MaxUnpool2d, WeightedMaxPool2d

__all__ = [
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BCEWithLogitsLoss",
    "BatchNorm2d",
    "Buffer",
    "Conv2d",
    "ConvTranspose2d",
    "CrossEntropyLoss",
    "Dropout",
    "Dropout2d",
    "Flatten",
    "Identity",
    "LeakyReLU",
    "Linear",
    "LocalResponseNorm",
    "MSELoss",
    "MaxPool2d",
    "MaxUnpool2d",
    "Module",
    "ModuleList",
    "Parameter",
    "ReLU",
    "ReflectionPad2d",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "Upsample",
    "WeightedMaxPool2d",
    "ZeroPad2d",
    "chain",
    "fold",
    "init",
    "utils",
]
