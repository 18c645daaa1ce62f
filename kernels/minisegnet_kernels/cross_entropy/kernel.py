"""The host side of ``kernel.cu``: makes the results and launches the kernels. Nothing waits for the device."""

import numpy as np

from ..cuda import Module, blocks
from ..layout import full, poisoned

_cu = Module(__file__)


def forward(x, t, w, *, ignore_index, label_smoothing, reduction):
    each, ell, slabs = _room(x, t, reduction)
    _each_pixel("cross_entropy_forward", t, x, t, w, ignore_index, label_smoothing, ell, slabs, EACH=each)
    return ell if each else _sum(x, slabs, reduction)


def grad_input(g, x, t, w, *, ignore_index, label_smoothing, reduction):
    xbar = poisoned(x, x.shape)
    g = _scaled(g, t, w, ignore_index, reduction)
    _each_pixel("cross_entropy_grad_input", t, g, x, t, w, ignore_index, label_smoothing, xbar)
    return xbar


def forward_and_grad(x, t, w, *, ignore_index, label_smoothing, reduction):
    each, ell, slabs = _room(x, t, reduction)
    xbar = poisoned(x, x.shape)
    g = _scaled(full(w, (), 1), t, w, ignore_index, reduction)
    _each_pixel("cross_entropy_forward_and_grad", t, g, x, t, w, ignore_index, label_smoothing, ell, slabs, xbar, EACH=each)
    return ell if each else _sum(x, slabs, reduction), xbar


def _each_pixel(kernel, t, *arguments, **template):
    """One thread per pixel, and at least one block, so that the sums of no pixels become 0."""
    _cu.launch(kernel, (_blocks(t),), (_cu.constant("THREADS"),), *arguments, **template)


def _blocks(t):
    return blocks(t.size, _cu.constant("THREADS"))


def _room(x, t, reduction):
    """Whether the loss of every pixel is wanted, and an array for these losses or for the sums of the blocks."""
    each = reduction == "none"
    return each, poisoned(x, t.shape if each else (1, 1, 1)), poisoned(x, (2, 1 if each else _blocks(t)), "float64")


def _sum(x, slabs, reduction):
    L = poisoned(x, (1,))
    _cu.launch("cross_entropy_forward__sum", (1,), (_cu.constant("THREADS"),), slabs, L, MEAN=reduction == "mean")
    return L.reshape(())


def _scaled(g, t, w, ignore_index, reduction):
    """g (for the mean g / Z) as a map over the pixels; one number for all pixels is broadcast and takes no memory."""
    if reduction == "mean":
        slabs, scale = poisoned(w, (2, _blocks(t)), "float64"), poisoned(w, (1,))
        _each_pixel("cross_entropy_grad_input__weigh", t, t, w, ignore_index, slabs)
        _cu.launch("cross_entropy_grad_input__scale", (1,), (_cu.constant("THREADS"),), slabs, g.reshape(1), scale)
        g = scale
    return np.broadcast_to(g, t.shape)
