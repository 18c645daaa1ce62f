"""The host side of ``kernel.cu``: makes the results and launches the kernels."""

from ..cuda import Module
from ..layout import poisoned

_cu = Module(__file__)


def forward(x, *, size, alpha, beta, k):
    y = poisoned(x, x.shape)
    _cu.over("lrn_forward", y.size, x, y, size, alpha / size, beta, k)
    return y


def grad_input(g, x, *, size, alpha, beta, k):
    xbar = poisoned(x, x.shape)
    _cu.over("lrn_grad_input", xbar.size, g, x, xbar, size, alpha / size, beta, k)
    return xbar
