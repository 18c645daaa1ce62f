"""The host side of ``kernel.cu``: makes the results and launches the kernels."""

from ..cuda import Module
from ..layout import flat, poisoned

_cu = Module(__file__)


def relu(x):
    y = poisoned(x, x.shape)
    _cu.over("activation_relu", x.size, *flat(x, y))
    return y


def grad_relu(g, y):
    xbar = poisoned(y, y.shape)
    y, g, flat_xbar = flat(y, g, xbar)
    _cu.over("activation_grad_relu", y.size, g, y, flat_xbar)
    return xbar


def leaky_relu(x, *, slope):
    y = poisoned(x, x.shape)
    flat_x, flat_y = flat(x, y)
    _cu.over("activation_leaky_relu", x.size, flat_x, slope, flat_y)
    return y


def grad_leaky_relu(g, x, *, slope):
    xbar = poisoned(x, x.shape)
    x, g, flat_xbar = flat(x, g, xbar)
    _cu.over("activation_grad_leaky_relu", x.size, g, x, slope, flat_xbar)
    return xbar
