"""Activations on the CPU, compiled by Numba: one sweep over flat arrays, limited by memory.

Comparisons are written so that a NaN takes the side that keeps it.
"""

import numpy as np

from ..jit import kernel, prange


@kernel
def _relu(x, y):
    zero = x.dtype.type(0)
    for i in prange(x.size):
        y[i] = zero if x[i] <= zero else x[i]


@kernel
def _grad_relu(g, y, xbar):
    zero = g.dtype.type(0)
    for i in prange(g.size):
        xbar[i] = zero if y[i] <= zero else g[i]


@kernel
def _leaky(x, side, slope, y):
    zero = x.dtype.type(0)
    for i in prange(x.size):
        y[i] = x[i] if side[i] > zero else slope * x[i]


def relu(x):
    y = np.empty_like(x)
    _relu(x.reshape(-1), y.reshape(-1))
    return y


def grad_relu(g, y):
    xbar = np.empty_like(g)
    _grad_relu(g.reshape(-1), y.reshape(-1), xbar.reshape(-1))
    return xbar


def leaky_relu(x, *, slope):
    y = np.empty_like(x)
    _leaky(x.reshape(-1), x.reshape(-1), x.dtype.type(slope), y.reshape(-1))
    return y


def grad_leaky_relu(g, x, *, slope):
    xbar = np.empty_like(g)
    _leaky(g.reshape(-1), x.reshape(-1), g.dtype.type(slope), xbar.reshape(-1))
    return xbar
