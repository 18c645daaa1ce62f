"""The host side of ``kernel.cu``: makes the results and launches the kernels."""

from ..cuda import Module, blocks
from ..layout import poisoned
from .formula import pooled_shape, winner_dtype

_cu = Module(__file__)


def _window(stride, padding, dilation=(1, 1)):
    """The struct ``Window`` of common.cuh."""
    return *stride, padding[0][0], padding[1][0], *dilation


def forward(x, w, b, *, stride, padding, dilation, ceil_mode):
    y, m = _value_and_winner(x, kernel_size=w.shape[1:], stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode)
    _cu.over("pool2d_forward", y.size, x, w, b, y, m, _window(stride, padding, dilation))
    return y, m


def max(x, *, kernel_size, stride, padding, dilation, ceil_mode):
    y, m = _value_and_winner(x, kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode)
    _cu.over("pool2d_max", y.size, x, y, m, *kernel_size, _window(stride, padding, dilation))
    return y, m


def _value_and_winner(x, **options):
    shape = pooled_shape(x, **options)
    return poisoned(x, shape), poisoned(x, shape, winner_dtype(options["kernel_size"]))


def grad_input(g, m, w, *, input_size, stride, padding, dilation):
    xbar = poisoned(g, (*g.shape[:2], *input_size))
    _cu.over("pool2d_grad_input", xbar.size, g, m, w, xbar, _window(stride, padding, dilation))
    return xbar


def grad_max(g, m, *, input_size, kernel_size, stride, padding, dilation):
    xbar = poisoned(g, (*g.shape[:2], *input_size))
    _cu.over("pool2d_grad_max", xbar.size, g, m, xbar, *kernel_size, _window(stride, padding, dilation))
    return xbar


def grad_weight(g, m, x, *, kernel_size, stride, padding, dilation):
    slabs, wbar = _slabs(g, kernel_size[0] * kernel_size[1]), poisoned(g, (g.shape[1], *kernel_size))
    _cu.over("pool2d_grad_weight__part", slabs[0].size, g, m, x, slabs, *kernel_size, _window(stride, padding, dilation))
    _cu.launch("pool2d_grad_weight", (slabs.shape[1], slabs.shape[0]), (_cu.constant("THREADS"),), slabs, wbar)
    return wbar


def grad_bias(g):
    slabs, bbar = _slabs(g, 1), poisoned(g, g.shape[1:2])
    _cu.over("pool2d_grad_bias__part", slabs[0].size, g, slabs)
    _cu.launch("pool2d_grad_bias", bbar.shape, (_cu.constant("THREADS"),), slabs, bbar)
    return bbar


def _slabs(g, sums):
    """Room for the S parts of each of `sums` sums of a channel: (sums, C, S), what neighbouring threads write side by side."""
    N, C, P, Q = g.shape
    parts = sorted((1, blocks(N * P * Q, 64), 4096))[1]  # of about 64 positions; 4096 fill the largest GPU
    if g.strides[1] == g.itemsize:
        return poisoned(g, (sums, parts, C), "float64").transpose(0, 2, 1)
    return poisoned(g, (sums, C, parts), "float64")


def average(x, *, kernel_size, stride, padding, ceil_mode, count_include_pad):
    y = poisoned(x, pooled_shape(x, kernel_size=kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode))
    edges = _edges(x.shape[2:], padding, count_include_pad)
    _cu.over("pool2d_average", y.size, x, y, *kernel_size, _window(stride, padding), edges)
    return y


def grad_average(g, *, input_size, kernel_size, stride, padding, count_include_pad):
    xbar = poisoned(g, (*g.shape[:2], *input_size))
    edges = _edges(input_size, padding, count_include_pad)
    _cu.over("pool2d_grad_average", xbar.size, g, xbar, *kernel_size, _window(stride, padding), edges)
    return xbar


def _edges(input_size, padding, count_include_pad):
    """The struct ``Edges`` of kernel.cu: the cells that count."""
    (H, W), ((top, bottom), (left, right)) = input_size, padding
    return (-top, H + bottom, -left, W + right) if count_include_pad else (0, H, 0, W)


def adaptive_average(x, *, output_size):
    (H, W), (P, Q) = x.shape[2:], output_size
    y = poisoned(x, (*x.shape[:2], P, Q))
    slabs = poisoned(x, (y.size, blocks(-(-H // P) * -(-W // Q), 64)), "float64")  # parts of about 64 cells
    _cu.over("pool2d_adaptive_average__part", slabs.size, x, y, slabs)
    _cu.over("pool2d_adaptive_average", y.size, slabs, y, H, W)
    return y


def grad_adaptive_average(g, *, input_size):
    xbar = poisoned(g, (*g.shape[:2], *input_size))
    _cu.over("pool2d_grad_adaptive_average", xbar.size, g, xbar)
    return xbar


def unpool(x, m, *, output_size):
    y = poisoned(x, (*x.shape[:2], *output_size))
    _cu.over("pool2d_unpool", y.size, x, _last(m, y), y)
    return y


def grad_unpool(g, m):
    xbar = poisoned(g, m.shape)
    _cu.over("pool2d_grad_unpool", xbar.size, g, m, _last(m, g), xbar)
    return xbar


def _last(m, like):
    """For every cell of (N, C, H, W) the place of the last value that goes there, −1 where none does."""
    last = poisoned(like, like.shape, "int32")
    last.fill(-1)
    _cu.over("pool2d_unpool__last", m.size, m, last)
    return last
