"""Initial values of parameters, in place; names and formulas are PyTorch's.

Random values come from `minisegnet.random.generator`. If the weights of a layer have variance gain²/fan, where fan is
the number of inputs of one output, signals neither vanish nor explode with depth. ReLU removes half of a signal's
power, so its gain² is 2.
"""

from __future__ import annotations

import math

import numpy as np

from minisegnet_kernels.modes import Here, Mode

from .. import random
from ..tensor import Tensor, no_grad

_drawing: Mode[bool] = Mode("drawing", True)


def skip() -> Here:
    """Skip random initial values, in this thread and task: ``with init.skip(): model = UNet(...)``.

    Parameters that would be random stay zero. Use it for a model whose weights are loaded next, or whose parameters are
    only counted: an array of zeros takes no memory until it is written to.
    """
    return _drawing.here(False)


def _fill(parameter: Tensor, values: np.ndarray) -> Tensor:
    with no_grad():
        return parameter.copy_(Tensor(values))


def constant_(parameter: Tensor, value: float) -> Tensor:
    """Every element is ``value``."""
    with no_grad():
        return parameter.fill_(value)


def zeros_(parameter: Tensor) -> Tensor:
    return constant_(parameter, 0.0)


def ones_(parameter: Tensor) -> Tensor:
    return constant_(parameter, 1.0)


def uniform_(parameter: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """Uniform between ``a`` and ``b``."""
    if not _drawing.get():
        return parameter
    values = random.generator().random(parameter.shape, dtype=parameter.dtype.type)
    values *= b - a
    values += a
    return _fill(parameter, values)


def normal_(parameter: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Normal with this mean and standard deviation."""
    if not _drawing.get():
        return parameter
    values = random.generator().standard_normal(parameter.shape, dtype=parameter.dtype.type)
    values *= std
    values += mean
    return _fill(parameter, values)


def fans(parameter: Tensor) -> tuple[int, int]:
    """``(fan_in, fan_out)`` of a weight (O, I, ...): I and O times the size of the kernel.

    As in PyTorch, the rule is the same for a transposed convolution. Its weight is (I, O, ...), so there the two are swapped.
    """
    if parameter.ndim < 2:
        raise ValueError(f"fan in and fan out need a weight with at least two axes (O, I, ...), got shape {parameter.shape}")
    area = math.prod(parameter.shape[2:])
    return parameter.shape[1] * area, parameter.shape[0] * area


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor on a nonlinearity's input that keeps the power of its output."""
    slope = {"relu": 0.0, "leaky_relu": 0.01 if param is None else param}.get(nonlinearity)
    if slope is not None:
        return math.sqrt(2 / (1 + slope**2))
    gains = {"linear": 1.0, "conv2d": 1.0, "conv_transpose2d": 1.0, "sigmoid": 1.0, "tanh": 5 / 3}
    if nonlinearity not in gains:
        raise ValueError(f"no gain for {nonlinearity!r}: choose one of relu, leaky_relu, {', '.join(gains)}")
    return gains[nonlinearity]


def _kaiming_std(weight: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f'mode must be "fan_in" or "fan_out", got {mode!r}')
    fan = fans(weight)[("fan_in", "fan_out").index(mode)]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan) if fan else 0.0


def kaiming_normal_(weight: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Tensor:
    """Normal with variance gain²/fan (He et al., ICCV 2015)."""
    return normal_(weight, 0.0, _kaiming_std(weight, a, mode, nonlinearity))


def kaiming_uniform_(weight: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Tensor:
    """Uniform with variance gain²/fan: a uniform on [−r, r] has variance r²/3."""
    bound = math.sqrt(3) * _kaiming_std(weight, a, mode, nonlinearity)
    return uniform_(weight, -bound, bound)


def xavier_normal_(weight: Tensor, gain: float = 1.0) -> Tensor:
    """Normal with variance 2·gain²/(fan_in + fan_out) (Glorot & Bengio, AISTATS 2010)."""
    return normal_(weight, 0.0, gain * math.sqrt(2 / sum(fans(weight))))


def xavier_uniform_(weight: Tensor, gain: float = 1.0) -> Tensor:
    """Uniform with variance 2·gain²/(fan_in + fan_out); Keras calls it Glorot uniform."""
    bound = gain * math.sqrt(6 / sum(fans(weight)))
    return uniform_(weight, -bound, bound)


def bilinear_(weight: Tensor) -> Tensor:
    """Make a transposed convolution with stride s = (U+1)//2 a bilinear enlargement.

    Class i is computed from class i alone (Long, Shelhamer & Darrell, CVPR 2015, section 3.3).
    Along each axis the kernel is a tent, ``1 − |u − centre| / s``.

    Parameters
    ----------
    weight : Tensor, (I, O/G, U, V)
        I = O/G (one group), or O/G = 1 (as many groups as channels).
    """
    channels, outputs, *sizes = weight.shape
    if weight.ndim != 4 or outputs not in (1, channels):
        raise ValueError(f"bilinear_: expected a weight (I, O/G, U, V) with O/G = I or 1, got {weight.shape}")

    def tent(size: int) -> np.ndarray:
        return 1 - np.abs(np.arange(size) - (size - 1) / 2) / ((size + 1) // 2)

    values = np.zeros(weight.shape, weight.dtype)
    own = np.arange(channels)
    values[own, own if outputs == channels else 0] = np.outer(*map(tent, sizes))
    return _fill(weight, values)
