"""Resizing in NumPy, written to be read beside ``formula.py``.

Rows and columns are resized independently, so that every equation is one product with two
matrices: ``a[i, k]`` is the weight of input row k in output row i, ``b[j, l]`` that of the columns.
"""

import numpy as np

from .formula import coordinate


def _tents(size, target, align_corners, like):
    """Λ(h_i − k), (P, H)."""
    h = np.asarray([coordinate(i, size, target, align_corners) for i in range(target)], like=like)  #: w
    return np.maximum(0, 1 - np.abs(h[:, None] - np.arange(size, like=like))).astype(like.dtype)


def _picks(size, target, like):
    """[⌊iH/P⌋ = k], (P, H)."""
    k = np.arange(target, like=like) * size // target
    return (k[:, None] == np.arange(size, like=like)).astype(like.dtype)


def bilinear(x, *, output_size, align_corners):
    a, b = (_tents(*axis, align_corners, x) for axis in zip(x.shape[2:], output_size, strict=True))
    return np.einsum("ik,nckl,jl->ncij", a, x, b, optimize=True)  #: y, x


def grad_bilinear(g, *, input_size, align_corners):
    a, b = (_tents(*axis, align_corners, g) for axis in zip(input_size, g.shape[2:], strict=True))
    return np.einsum("ik,ncij,jl->nckl", a, g, b, optimize=True)  #: xbar, g


def nearest(x, *, output_size):
    k, l = (np.arange(target, like=x) * size // target for size, target in zip(x.shape[2:], output_size, strict=True))
    return x[:, :, k[:, None], l]  #: y


def grad_nearest(g, *, input_size):
    a, b = (_picks(*axis, g) for axis in zip(input_size, g.shape[2:], strict=True))
    return np.einsum("ik,ncij,jl->nckl", a, g, b, optimize=True)  #: xbar, g
