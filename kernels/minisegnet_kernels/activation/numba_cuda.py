"""Activations for a GPU in Numba: one sweep over memory each.

Thread map: one thread = one element. In every comparison a NaN takes the branch that does not return 0.
"""

from ..cuda.jit import cuda, kernel, over
from ..layout import poisoned


def relu(x):
    y = poisoned(x, x.shape)
    over(_relu, x.size, x.reshape(-1), y.reshape(-1))
    return y


@kernel
def _relu(x, y):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = x.dtype.type(0) if x[i] <= 0 else x[i]


def grad_relu(g, y):
    xbar = poisoned(y, y.shape)
    over(_grad_relu, y.size, g.reshape(-1), y.reshape(-1), xbar.reshape(-1))
    return xbar


@kernel
def _grad_relu(g, y, xbar):
    i = cuda.grid(1)
    if i < xbar.size:
        xbar[i] = g.dtype.type(0) if y[i] <= 0 else g[i]


def leaky_relu(x, *, slope):
    y = poisoned(x, x.shape)
    over(_leaky, x.size, x.reshape(-1), x.reshape(-1), x.dtype.type(slope), y.reshape(-1))
    return y


def grad_leaky_relu(g, x, *, slope):
    xbar = poisoned(x, x.shape)
    over(_leaky, x.size, g.reshape(-1), x.reshape(-1), x.dtype.type(slope), xbar.reshape(-1))
    return xbar


@kernel
def _leaky(x, side, a, y):
    """y = x where side > 0, else a x: the function with side = x, its gradient with x = g."""
    i = cuda.grid(1)
    if i < y.size:
        y[i] = x[i] if side[i] > 0 else a * x[i]
