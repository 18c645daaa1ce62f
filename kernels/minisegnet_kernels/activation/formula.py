r"""Activations with a kink: negative values are cut off, or multiplied by a small slope.

The index i runs over all elements of an array of any shape. A bar marks the gradient of the
loss with respect to what is under it. At zero itself the derivative is that of the lower
side, as in PyTorch; a NaN stays a NaN.
"""

import numpy as np

from ..registry import equation

_X = {"x": "input, any shape", "i": "index of an element"}
_Y = {"y": "output, the shape of x"}
_G = {"g": "gradient of the loss with respect to y", "xbar": "gradient for x"}
_A = {"a": "option slope, the factor below zero"}


@equation(
    "activation.relu",
    tex=r"y_i = \max(0,\; x_i)",
    symbols=_X | _Y,
    reference="Nair & Hinton, ICML 2010",
    shape=lambda x: x.shape,
    operations=lambda x: x.size,
)
def relu(x):
    y = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        y[i] = 0 if x[i] <= 0 else x[i]
    return y


@equation(
    "activation.grad_relu",
    grad_of="activation.relu",
    wrt="x",
    tex=r"\bar x_i = [y_i > 0]\; g_i",
    symbols=_Y | _G | {"i": _X["i"]},
    shape=lambda g, y: g.shape,
    operations=lambda g, y: g.size,
)
def grad_relu(g, y):
    xbar = np.zeros_like(g)
    for i in np.ndindex(g.shape):
        xbar[i] = 0 if y[i] <= 0 else g[i]
    return xbar


@equation(
    "activation.leaky_relu",
    tex=r"y_i = \begin{cases} x_i & x_i > 0 \\ a\,x_i & \text{otherwise} \end{cases}",
    symbols=_X | _Y | _A,
    reference="Maas, Hannun & Ng, ICML 2013 workshop",
    shape=lambda x, *, slope: x.shape,
    operations=lambda x, *, slope: 2 * x.size,
)
def leaky_relu(x, *, slope):
    y, a = np.zeros_like(x), slope
    for i in np.ndindex(x.shape):
        y[i] = x[i] if x[i] > 0 else a * x[i]
    return y


@equation(
    "activation.grad_leaky_relu",
    grad_of="activation.leaky_relu",
    wrt="x",
    tex=r"\bar x_i = \begin{cases} g_i & x_i > 0 \\ a\,g_i & \text{otherwise} \end{cases}",
    symbols=_X | _G | _A,
    shape=lambda g, x, *, slope: g.shape,
    operations=lambda g, x, *, slope: 2 * g.size,
)
def grad_leaky_relu(g, x, *, slope):
    xbar, a = np.zeros_like(g), slope
    for i in np.ndindex(g.shape):
        xbar[i] = g[i] if x[i] > 0 else a * g[i]
    return xbar
